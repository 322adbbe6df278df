//! Which files to count, and how they are handed out.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::{Deserialize, Serialize};

/// Bytes of a task at least: below, the call costs more than the work.
const BATCH_BYTES_MIN: u64 = 256 * 1024;
/// Bytes of a task at most, if its files allow.
const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Tasks for each CPU that there should be, so that none idles long while another ends.
const BATCHES_PER_CPU: u64 = 8;

/// The files of one task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Where they are.
    pub(crate) paths: Vec<PathBuf>,
}

/// All files to count, with their sizes, and what is in the way.
#[derive(Debug, Default)]
pub(crate) struct FileList {
    files: Vec<(PathBuf, u64)>,
    skipped: Vec<String>,
}

impl FileList {
    /// The files at and below `paths`.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        let mut list = Self::default();
        for path in paths {
            list.walk(path, |_| true);
        }
        list
    }

    /// The Rust sources that Cargo has unpacked on this machine.
    pub(crate) fn of_cargo() -> Result<Self, String> {
        let home =
            env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
        let sources = home.unwrap_or_default().join("registry").join("src");
        let mut list = Self::default();
        if sources.is_dir() {
            list.walk(&sources, |path| path.extension().is_some_and(|extension| extension == "rs"));
        }
        if list.files.is_empty() {
            return Err(format!("Cargo has unpacked no sources in {}: name a folder", sources.display()));
        }
        Ok(list)
    }

    /// Adds what is at and below `root`. Links to folders are not followed, so that there is no circle;
    /// what is neither file nor folder is not opened, since that might wait for ever.
    fn walk(&mut self, root: &Path, is_wanted: impl Fn(&Path) -> bool) {
        let mut left = vec![root.to_path_buf()];
        while let Some(path) = left.pop() {
            let below = match fs::metadata(&path) {
                Ok(data) if data.is_dir() && (path == root || !path.is_symlink()) => children(&path),
                Ok(data) if is_wanted(&path) => self.add(&path, &data),
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            match below {
                Ok(below) => left.extend(below),
                Err(error) => self.skipped.push(format!("{}: {error}", path.display())),
            }
        }
    }

    fn add(&mut self, path: &Path, data: &Metadata) -> io::Result<Vec<PathBuf>> {
        if !data.is_file() {
            let what = if data.is_dir() { "a link to a folder is not followed" } else { "not a file" };
            return Err(io::Error::other(what));
        }
        self.files.push((path.into(), data.len()));
        Ok(Vec::new())
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> u64 {
        self.files.len() as u64
    }

    /// How large they are together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// What could not be looked at, and why.
    pub(crate) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The files themselves.
    pub(crate) fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The files in batches of about the same size in bytes.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let share = (self.bytes() / (cpus * BATCHES_PER_CPU)).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        let mut batches = Vec::new();
        let (mut batch, mut size) = (Batch::default(), 0);
        for (path, bytes) in &self.files {
            if size > 0 && size + bytes > share {
                batches.push(std::mem::take(&mut batch));
                size = 0;
            }
            batch.paths.push(path.clone());
            size += bytes;
        }
        if !batch.paths.is_empty() {
            batches.push(batch);
        }
        batches
    }
}

/// What is in a folder, the last name first, so that a stack yields the first one first.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}
