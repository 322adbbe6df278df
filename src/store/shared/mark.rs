//! A number that a process leaves behind, however it ends: how far it had come.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};

use super::region::check_size;
use crate::error::{Error, ErrorKind, Result};

/// The one page that holds it.
const PAGE: usize = 4096;
/// Nobody can take the page away from who reads it.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A number in memory of which another process has the descriptor.
pub(crate) struct Mark {
    page: MmapRaw,
    fd: Arc<OwnedFd>,
}

/// The number of another process, readable also when that is gone.
pub(crate) struct MarkView(MmapRaw);

/// Not `Io`: who shows a mark takes that for the end of the connection.
fn failed(error: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::StoreFull, format!("no memory for a mark: {}", error.into()))
}

fn number(page: &MmapRaw) -> &AtomicU64 {
    // SAFETY: the page is mapped, aligned, larger than a number, and as long as `page`, since the seals
    // forbid to shrink it; whoever has it reads and writes the number as an atomic.
    unsafe { &*page.as_ptr().cast() }
}

impl Mark {
    /// Zero.
    pub(crate) fn new() -> Result<Self> {
        check_size(PAGE).map_err(failed)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("mobula-mark", flags).map_err(failed)?;
        ftruncate(&fd, PAGE as u64).map_err(failed)?;
        fcntl_add_seals(&fd, SEALS).map_err(failed)?;
        let page = MmapOptions::new().len(PAGE).map_raw(fd.as_raw_fd()).map_err(failed)?;
        Ok(Self { page, fd: Arc::new(fd) })
    }

    /// What another process reads it by, with [`MarkView::open`].
    pub(crate) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Says how far it has come.
    pub(crate) fn set(&self, to: u64) {
        number(&self.page).store(to, Ordering::Release);
    }

    /// So much further; how far now.
    pub(crate) fn add(&self, by: u64) -> u64 {
        number(&self.page).fetch_add(by, Ordering::AcqRel) + by
    }

    /// Sets these bits.
    pub(crate) fn set_bits(&self, bits: u64) {
        number(&self.page).fetch_or(bits, Ordering::AcqRel);
    }
}

impl MarkView {
    /// Fails with `Decode` if the descriptor is of no mark.
    pub(crate) fn open(fd: impl AsFd) -> Result<Self> {
        let fd = fd.as_fd();
        let is_sealed = fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS));
        if !is_sealed || !fstat(fd).is_ok_and(|stat| stat.st_size.cast_unsigned() >= PAGE as u64) {
            return Err(Error::new(ErrorKind::Decode, "a descriptor that is of no mark"));
        }
        let page = MmapOptions::new().len(PAGE).map_raw_read_only(fd.as_raw_fd()).map_err(failed)?;
        Ok(Self(page))
    }

    pub(crate) fn get(&self) -> u64 {
        number(&self.0).load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "the system's memory")]
    fn what_was_set_last_is_read_when_the_mark_is_gone() {
        let mark = Mark::new().expect("there is memory");
        let view = MarkView::open(mark.descriptor()).expect("it is a mark");
        assert_eq!(view.get(), 0);
        mark.set(6);
        mark.set_bits(1);
        assert_eq!((view.get(), mark.add(2), view.get()), (7, 9, 9));
        mark.set(u64::MAX - 1);
        drop(mark);
        assert_eq!(view.get(), u64::MAX - 1);
        let file = tempfile::tempfile().expect("a file can be made");
        file.set_len(PAGE as u64).expect("it can be that long");
        assert_eq!(MarkView::open(&file).err().map(|error| error.kind()), Some(ErrorKind::Decode));
    }
}
