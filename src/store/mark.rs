//! A number that a process leaves behind, however it ends: how far it had come.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{Error, ErrorKind, Result};

/// The one page that holds it.
const PAGE: usize = 4096;

/// A number in memory of which another process has the descriptor.
pub(crate) struct Mark {
    number: NonNull<AtomicU64>,
    fd: Arc<OwnedFd>,
}

// SAFETY: the number is atomic, and the mapping belongs to the mark until it is dropped.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

fn failed(error: rustix::io::Errno) -> Error {
    Error::new(ErrorKind::Io, format!("no memory for a mark: {error}"))
}

impl Mark {
    /// Zero.
    pub(crate) fn new() -> Result<Self> {
        let fd = memfd_create("mobula-mark", MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&fd, PAGE as u64).map_err(failed)?;
        let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at a place that the system chooses aliases nothing of this process.
        let page = unsafe { mmap(std::ptr::null_mut(), PAGE, flags.0, flags.1, fd.as_fd(), 0) };
        let number = NonNull::new(page.map_err(failed)?.cast()).expect("a mapping is not at zero");
        Ok(Self { number, fd: Arc::new(fd) })
    }

    /// What another process reads it by, with [`read_mark`].
    pub(crate) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Says how far it has come.
    pub(crate) fn set(&self, number: u64) {
        // SAFETY: the page is mapped, aligned, and of this size as long as `self` lives; others only read
        // it, through the descriptor.
        unsafe { self.number.as_ref() }.store(number, Ordering::Release);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: made by `new` with this size, unmapped once, and nobody borrows from it.
        let _ = unsafe { munmap(self.number.as_ptr().cast(), PAGE) };
    }
}

/// The number of a mark, also when its process is gone; `None` if the descriptor is of none.
pub(crate) fn read_mark(fd: impl AsFd) -> Option<u64> {
    let mut bytes = [0; 8];
    let read = rustix::io::pread(fd, &mut bytes, 0).ok()?;
    (read == bytes.len()).then(|| u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "the system's memory")]
    fn what_was_set_last_is_read_when_the_mark_is_gone() {
        let mark = Mark::new().expect("there is memory");
        let fd = mark.descriptor().clone();
        assert_eq!(read_mark(&fd), Some(0));
        mark.set(7);
        mark.set(u64::MAX - 1);
        drop(mark);
        assert_eq!(read_mark(&fd), Some(u64::MAX - 1));
        let file = tempfile::tempfile().expect("a file can be made");
        assert_eq!(read_mark(&file), None);
    }
}
