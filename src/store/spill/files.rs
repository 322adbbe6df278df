//! The files that spilled values are in.
//!
//! ```text
//! base/ ─► session-1234-x/ ─► lock          held by the session, whose directory it is, while it lives
//!                             └ 1234-0.spill   values one after the other, bytes as they are; 64 MiB and more
//! ```
//!
//! Where a value lies and what its bytes hash to is known in memory alone, so nothing in a file is trusted.
//! A file that is full takes no more; it goes with the last value in it, and the space of each value that
//! goes before is given back to the system where that can be done. Files stay readable while anybody has
//! values in them, also when their directory is gone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crc32fast::Hasher;

use super::hurries;

/// When a file is full, in bytes.
const FULL: u64 = 64 << 20;
/// What is given back to the system in the midst of a file is at least as large, in bytes.
const HOLE_MIN: u64 = 64 << 10;

/// Where the values of this process are spilled to.
pub(crate) struct Files {
    state: Mutex<State>,
    /// When a file takes no more.
    full: u64,
}

struct State {
    /// Where directories of sessions are, and this session's own once there is one.
    base: PathBuf,
    /// Whom to ask for the directory, where it is another process's.
    source: Option<Source>,
    directory: Option<Arc<Directory>>,
    current: Option<Arc<SpillFile>>,
    next: u64,
}

type Source = Box<dyn Fn() -> io::Result<PathBuf> + Send>;

/// A session's directory, removed when nobody writes there any more.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Locked while it is in use; `None` in a worker, whose parent holds the lock.
    lock: Option<File>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A file of values.
#[derive(Debug)]
struct SpillFile {
    file: File,
    path: PathBuf,
    /// Where the next value goes.
    end: AtomicU64,
    _directory: Arc<Directory>,
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Bytes in a file; their space is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Spilled {
    file: Arc<SpillFile>,
    offset: u64,
    /// The lengths of its parts, one after the other.
    parts: Box<[u64]>,
    /// CRC-32: no flipped byte, nor any 32 bits in a row, goes unseen.
    hash: u32,
}

impl Spilled {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().sum()
    }

    /// The lengths of its parts.
    pub(crate) fn parts(&self) -> &[u64] {
        &self.parts
    }

    /// Reads its parts, one after the other.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { spilled: self, at: self.offset, hash: Hasher::new() }
    }

    /// Where it is, for who looks after a fault.
    pub(crate) fn place(&self) -> String {
        format!("{} at {}", self.file.path.display(), self.offset)
    }
}

/// Reads a value's parts.
pub(crate) struct Reader<'a> {
    spilled: &'a Spilled,
    at: u64,
    hash: Hasher,
}

impl Reader<'_> {
    /// Reads the next part, which is as long as `part`.
    pub(crate) fn next(&mut self, part: &mut [u8]) -> io::Result<()> {
        self.spilled.file.file.read_exact_at(part, self.at)?;
        self.at += part.len() as u64;
        self.hash.update(part);
        Ok(())
    }

    /// Compares what was read with what was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.hash.finalize() == self.spilled.hash {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes are not those that were written"))
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let len = self.len();
        if len >= HOLE_MIN {
            give_back(&self.file.file, self.offset, len);
        }
    }
}

/// Gives the space of a part of a file back to the system; where it cannot be, it comes back with the file.
#[cfg(all(feature = "process", target_os = "linux"))]
fn give_back(file: &File, offset: u64, len: u64) {
    use rustix::fs::FallocateFlags;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, flags, offset, len);
}

#[cfg(not(all(feature = "process", target_os = "linux")))]
fn give_back(_: &File, _: u64, _: u64) {}

impl Files {
    /// Nothing is made before the first write.
    pub(crate) fn new(base: PathBuf) -> Self {
        Self::filling(base, FULL)
    }

    fn filling(base: PathBuf, full: u64) -> Self {
        let state = State { base, source: None, directory: None, current: None, next: 0 };
        Self { state: Mutex::new(state), full }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where directories of sessions are made from now on.
    pub(crate) fn set_base(&self, base: PathBuf) {
        self.lock().base = base;
    }

    /// The directory of this session, made if there is none yet, for another process to write in.
    pub(crate) fn directory(&self) -> io::Result<PathBuf> {
        let mut state = self.lock();
        Ok(state.directory()?.path.clone())
    }

    /// Writes into the directory of another process, which sees to its end. `source` waits for that; on a
    /// thread that must not wait, nothing is written before somebody else has asked.
    pub(crate) fn follow(&self, source: impl Fn() -> io::Result<PathBuf> + Send + 'static) {
        self.lock().source = Some(Box::new(source));
    }

    /// Removes what a process that is gone has left in the directory.
    pub(crate) fn sweep(&self, pid: u32) {
        let directory = self.lock().directory.clone();
        let Some(entries) = directory.and_then(|directory| fs::read_dir(&directory.path).ok()) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{pid}-")) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the directory; what was written can be read as long as it is held.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.current = None;
        if let Some(directory) = state.directory.take()
            && directory.lock.is_some()
        {
            let _ = fs::remove_dir_all(&directory.path);
        }
    }

    /// Writes values' parts one after the other. After an error the file is as if nothing had been written.
    pub(crate) fn write(&self, parts: &[&[u8]]) -> io::Result<Spilled> {
        let mut hash = Hasher::new();
        for part in parts {
            hash.update(part);
        }
        let hash = hash.finalize();
        let mut state = self.lock();
        let file = state.current(self.full)?;
        let offset = file.end.load(Ordering::Relaxed);
        let mut at = offset;
        for part in parts {
            if let Err(error) = file.file.write_all_at(part, at) {
                // Half a value takes no space.
                let _ = file.file.set_len(offset);
                return Err(error);
            }
            at += part.len() as u64;
        }
        file.end.store(at, Ordering::Relaxed);
        let lens = parts.iter().map(|part| part.len() as u64).collect();
        Ok(Spilled { file, offset, parts: lens, hash })
    }
}

impl State {
    fn directory(&mut self) -> io::Result<Arc<Directory>> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let directory = match &self.source {
            Some(_) if hurries() => return Err(io::ErrorKind::WouldBlock.into()),
            Some(source) => Directory { path: source()?, lock: None },
            None => Directory::make(&self.base)?,
        };
        let directory = Arc::new(directory);
        Ok(self.directory.insert(directory).clone())
    }

    /// The file that takes the next value.
    fn current(&mut self, full: u64) -> io::Result<Arc<SpillFile>> {
        if let Some(file) = &self.current {
            // Nothing in it is wanted any more: it begins anew.
            if Arc::strong_count(file) == 1 && file.file.set_len(0).is_ok() {
                file.end.store(0, Ordering::Relaxed);
            }
            if file.end.load(Ordering::Relaxed) < full {
                return Ok(file.clone());
            }
        }
        let file = match self.make_file() {
            // Somebody removed the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.directory.take_if(|directory| directory.lock.is_some());
                self.make_file()?
            }
            made => made?,
        };
        Ok(self.current.insert(file).clone())
    }

    fn make_file(&mut self) -> io::Result<Arc<SpillFile>> {
        let directory = self.directory()?;
        let path = directory.path.join(format!("{}-{}.spill", std::process::id(), self.next));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        self.next += 1;
        Ok(Arc::new(SpillFile { file, path, end: AtomicU64::new(0), _directory: directory }))
    }
}

impl Directory {
    /// A new one, after those of sessions that are gone were removed.
    fn make(base: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        make_private(base)?;
        sweep_sessions(base);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // It has its name when it is locked, so that nobody takes it for one whose session is gone.
        let (unlocked, path) = (base.join(format!("new-{name}")), base.join(format!("session-{name}")));
        // Left by a process that had our number and died at this very place.
        let _ = fs::remove_dir_all(&unlocked);
        make_private(&unlocked)?;
        let lock = File::create(unlocked.join("lock"))?;
        lock.lock()?;
        let _ = fs::remove_dir_all(&path);
        fs::rename(&unlocked, &path)?;
        Ok(Self { path, lock: Some(lock) })
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Removes the directories of sessions that are gone: those that nobody has locked.
fn sweep_sessions(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("session-") {
            continue;
        }
        let lock = File::open(entry.path().join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory can be made")
    }

    fn read(spilled: &Spilled) -> io::Result<Vec<Vec<u8>>> {
        let mut parts: Vec<Vec<u8>> = spilled.parts().iter().map(|len| vec![0; *len as usize]).collect();
        let mut reader = spilled.reader();
        parts.iter_mut().try_for_each(|part| reader.next(part))?;
        reader.finish()?;
        Ok(parts)
    }

    fn entries(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).expect("it is there").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    #[test]
    #[cfg_attr(miri, ignore = "files")]
    fn what_was_written_is_read_back_and_a_file_goes_with_its_last_value() {
        let base = base();
        let files = Files::filling(base.path().into(), 1_000);
        assert!(entries(base.path()).is_empty(), "nothing is made before the first write");
        let first = files.write(&[b"one", b"", &[7; 2_000]]).expect("there is space");
        let second = files.write(&[b"two"]).expect("there is space");
        assert_eq!(read(&first).expect("as written"), [b"one".to_vec(), Vec::new(), vec![7; 2_000]]);
        assert_eq!((read(&second).expect("as written"), second.len()), (vec![b"two".to_vec()], 3));
        let directory = files.directory().expect("there is one");
        assert_eq!(entries(&directory).len(), 3, "the lock, a file that is full, and another");
        drop(first);
        assert_eq!(entries(&directory).len(), 2);
        files.end();
        assert!(entries(base.path()).is_empty());
        assert_eq!(read(&second).expect("it is still held"), [b"two".to_vec()]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "files")]
    fn any_byte_that_is_flipped_and_any_cut_is_seen() {
        let base = base();
        let files = Files::new(base.path().into());
        let spilled = files.write(&[b"head", &[3; 300]]).expect("there is space");
        let mut bytes = fs::read(&spilled.file.path).expect("it is there");
        for at in 0..bytes.len() {
            bytes[at] ^= 1 << (at % 8);
            fs::write(&spilled.file.path, &bytes).expect("it can be written");
            let error = read(&spilled).expect_err("it was changed");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{at}");
            bytes[at] ^= 1 << (at % 8);
        }
        for len in 0..bytes.len() {
            fs::write(&spilled.file.path, &bytes[..len]).expect("it can be written");
            assert_eq!(read(&spilled).expect_err("it was cut").kind(), io::ErrorKind::UnexpectedEof);
        }
        fs::write(&spilled.file.path, &bytes).expect("it can be written");
        read(&spilled).expect("it is as it was");
    }

    #[test]
    #[cfg_attr(miri, ignore = "files")]
    fn directories_of_sessions_that_are_gone_are_swept_and_others_are_not() {
        let base = base();
        let gone = base.path().join("session-1-1");
        fs::create_dir(&gone).expect("it can be made");
        fs::write(gone.join("lock"), "").expect("it can be written");
        fs::write(gone.join("1-0.spill"), "bytes").expect("it can be written");
        fs::write(base.path().join("session-notes"), "of somebody else").expect("it can be written");
        let (one, other) = (Files::new(base.path().into()), Files::new(base.path().into()));
        let kept = one.write(&[b"one"]).expect("there is space");
        let _other = other.write(&[b"other"]).expect("there is space");
        let names = entries(base.path());
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(!gone.exists() && one.directory().expect("there is one").exists());
        read(&kept).expect("as written");
    }

    #[test]
    #[cfg_attr(miri, ignore = "files")]
    fn a_directory_that_is_removed_is_made_again() {
        let base = base();
        let files = Files::filling(base.path().into(), 10);
        let first = files.write(&[&[1; 20]]).expect("there is space");
        fs::remove_dir_all(base.path()).expect("it is there");
        let second = files.write(&[&[2; 20]]).expect("it is made again");
        assert_eq!(
            (read(&first).expect("held"), read(&second).expect("held")),
            (vec![vec![1; 20]], vec![vec![2; 20]])
        );
        drop((first, second));
        files.end();
        assert!(entries(base.path()).is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore = "files")]
    fn space_of_what_is_dropped_comes_back() {
        use std::os::unix::fs::MetadataExt;
        let base = base();
        let files = Files::new(base.path().into());
        let kept = files.write(&[&[1; 4096]]).expect("there is space");
        let large = files.write(&[&vec![2; 4 << 20]]).expect("there is space");
        let taken = || kept.file.file.metadata().expect("it is there").blocks() * 512;
        let before = taken();
        drop(large);
        assert!(taken() <= before - (4 << 20) + 8192, "{before} {}", taken());
        read(&kept).expect("as written");
    }
}
