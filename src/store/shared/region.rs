//! Where extents lie: memory that processes share, and its double on the heap.
//!
//! ```text
//! writer   memfd ─► size set ─► mapped to write ─► sealed: no other size, no further writer
//! reader            └─ descriptor ─► seals and size looked at ─► mapped to read
//! ```
//!
//! A segment is as large as it will ever be from the start and costs nothing but addresses; memory comes
//! with [`Region::commit`], which is asked before anybody writes. So running out of memory is an error of
//! the commit and no signal in the midst of a copy.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Initialised memory of a fixed size at a fixed place.
///
/// # Safety
///
/// Until it is dropped, `len` bytes from `base` are mapped and initialised at that one place, nothing
/// else of this process has them, and they can be written where they were committed, unless the region
/// was made by [`attach`].
pub(super) unsafe trait Region: Send + Sync {
    /// Where it begins: at a multiple of 64.
    fn base(&self) -> *mut u8;
    /// Its size in bytes.
    fn len(&self) -> usize;
    /// Has the system provide the memory of a part, so that writing there cannot fail.
    fn commit(&self, part: Range<usize>) -> Result<()>;
    /// What another process needs in order to map it, if another process can.
    fn descriptor(&self) -> Option<Arc<OwnedFd>>;
}

/// A region on the heap: for tests, and for miri, which knows no mappings.
#[derive(Debug)]
struct Heap {
    base: *mut u8,
    layout: Layout,
}

// SAFETY: the memory belongs to the region as a `Box<[u8]>` would; who reads and writes it is settled by
// those who make slices of it.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

// SAFETY: the allocation is zeroed, of that size and alignment, and freed by `drop` alone.
unsafe impl Region for Heap {
    fn base(&self) -> *mut u8 {
        self.base
    }

    fn len(&self) -> usize {
        self.layout.size()
    }

    fn commit(&self, _: Range<usize>) -> Result<()> {
        Ok(())
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this layout.
        unsafe { dealloc(self.base, self.layout) }
    }
}

/// A region that no other process can map.
pub(super) fn heap(len: usize) -> Result<Arc<dyn Region>> {
    let layout = Layout::from_size_align(len.max(1), 64).map_err(|_| no_memory(len))?;
    // SAFETY: the size is not zero.
    let base = unsafe { alloc_zeroed(layout) };
    if base.is_null() {
        return Err(no_memory(len));
    }
    Ok(Arc::new(Heap { base, layout }))
}

fn no_memory(len: usize) -> Error {
    Error::new(ErrorKind::StoreFull, format!("the system has no {len} bytes of shared memory"))
}

/// What a failed system call means to who wanted `len` bytes.
fn failed(doing: &str, len: usize, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge => {
            no_memory(len)
        }
        _ => Error::new(ErrorKind::Io, format!("{doing} a segment of {len} bytes: {error}")),
    }
}

/// Refuses a file of `len` bytes where the system would: that would end the process by a signal.
pub(super) fn check_size(len: usize) -> io::Result<()> {
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if allowed.is_some_and(|allowed| len as u64 > allowed) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

pub(super) use memfd::{attach, create};

mod memfd {
    use memmap2::{Advice, MmapOptions, MmapRaw};
    use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

    use super::{Arc, Error, ErrorKind, OwnedFd, Range, Region, Result, check_size, failed, io, no_memory};

    /// What a reader relies on: bytes that were there stay there, and nobody but their writer changes them.
    const SEALS: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

    /// A mapping of a memfd; the writer's can be written, as no later one.
    #[derive(Debug)]
    struct Shared {
        map: MmapRaw,
        fd: Arc<OwnedFd>,
    }

    // SAFETY: `map` keeps its place until it is dropped; a memfd begins as zeros, and its seals forbid to
    // shrink it.
    unsafe impl Region for Shared {
        fn base(&self) -> *mut u8 {
            self.map.as_mut_ptr()
        }

        fn len(&self) -> usize {
            self.map.len()
        }

        fn commit(&self, part: Range<usize>) -> Result<()> {
            let (start, len) = (part.start, part.len());
            loop {
                let Err(error) = self.map.advise_range(Advice::PopulateWrite, start, len) else {
                    return Ok(());
                };
                match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    // The page would have been a SIGBUS.
                    Some(rustix::io::Errno::FAULT) => return Err(no_memory(len)),
                    // A kernel before 5.14.
                    Some(rustix::io::Errno::INVAL) => return self.allocate(start, len),
                    _ => return Err(failed("touching", len, &error)),
                }
            }
        }

        fn descriptor(&self) -> Option<Arc<OwnedFd>> {
            Some(self.fd.clone())
        }
    }

    impl Shared {
        /// Provides memory without touching it here: the copy still meets a fault a page, but no signal.
        fn allocate(&self, start: usize, len: usize) -> Result<()> {
            let allocate =
                || rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), start as u64, len as u64);
            rustix::io::retry_on_intr(allocate).map_err(|error| failed("touching", len, &error.into()))
        }
    }

    /// A segment that this process alone can write.
    pub(in super::super) fn create(len: usize) -> Result<Arc<dyn Region>> {
        let make = || -> io::Result<Shared> {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            check_size(len)?;
            let fd = rustix::fs::memfd_create("mobula-segment", flags)?;
            rustix::fs::ftruncate(&fd, len as u64)?;
            let map = MmapOptions::new().len(len).map_raw(&fd)?;
            rustix::fs::fcntl_add_seals(&fd, SEALS)?;
            Ok(Shared { map, fd: Arc::new(fd) })
        };
        // More than any system has is no argument that `ftruncate` takes.
        if i64::try_from(len).is_err() {
            return Err(no_memory(len));
        }
        Ok(Arc::new(make().map_err(|error| failed("making", len, &error))?))
    }

    /// Another process's segment, to read; `Decode` if it is not what [`create`] makes.
    pub(in super::super) fn attach(fd: OwnedFd, size: u64) -> Result<Arc<dyn Region>> {
        let malformed = |what: String| Error::new(ErrorKind::Decode, format!("no segment: {what}"));
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|error| malformed(error.to_string()))?;
        if !seals.contains(SEALS) {
            return Err(malformed(format!("its seals are {seals:?}")));
        }
        let stat = rustix::fs::fstat(&fd).map_err(|error| malformed(error.to_string()))?;
        let len =
            usize::try_from(size).ok().filter(|len| *len > 0 && u64::try_from(stat.st_size) == Ok(size));
        let len = len.ok_or_else(|| malformed(format!("it has {} bytes, not {size}", stat.st_size)))?;
        let map = MmapOptions::new().len(len).map_raw_read_only(&fd);
        let map = map.map_err(|error| failed("mapping", len, &error))?;
        Ok(Arc::new(Shared { map, fd: Arc::new(fd) }))
    }
}
