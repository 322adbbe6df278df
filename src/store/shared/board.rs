//! What each process of a session has of the object store, in memory that all of them map.
//!
//! ```text
//! [ limit | slots in use | who claims | slot 0: the parent | slot 1 | slot 2 | ... ]   numbers of 64 bits
//! ```

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};

use super::region::check_size;
use crate::error::{Error, ErrorKind, Result};
use crate::store::room::{Room, Slots, total};

/// Its size in bytes.
const SIZE: usize = 32 * 1024;
/// The numbers before the slots.
const FIRST: usize = 3;
/// How many processes a session counts one by one; further ones count in the last slot, together.
const SLOTS: usize = SIZE / size_of::<u64>() - FIRST;
/// Nobody can take it away from who has it.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// The numbers of all, and which is this process's own.
struct Board {
    map: MmapRaw,
    own: usize,
}

fn failed(error: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorKind::StoreFull, format!("no memory for the room of a session: {}", error.into()))
}

impl Board {
    fn map(fd: &OwnedFd, own: usize) -> Result<Self> {
        let map = MmapOptions::new().len(SIZE).map_raw(fd.as_raw_fd()).map_err(failed)?;
        Ok(Self { map, own })
    }

    fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: so many bytes are mapped, aligned to a page, as long as `map`, since the seals forbid to
        // shrink them; whoever has them reads and writes them as atomics.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), SIZE / size_of::<u64>()) }
    }

    fn slots(&self) -> &[AtomicU64] {
        &self.numbers()[FIRST..]
    }
}

impl Slots for Board {
    fn limit(&self) -> &AtomicU64 {
        &self.numbers()[0]
    }

    fn own(&self) -> &AtomicU64 {
        &self.slots()[self.own]
    }

    fn sum(&self) -> u64 {
        let used = usize::try_from(self.numbers()[1].load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        total(&self.slots()[..used.min(SLOTS)])
    }

    fn claim(&self) -> &AtomicU64 {
        &self.numbers()[2]
    }

    fn number(&self) -> u64 {
        self.own as u64 + 1
    }
}

/// The board of a session, as the parent of its processes has it.
pub(crate) struct Boards {
    board: Board,
    fd: Arc<OwnedFd>,
    /// The slots of processes that are gone.
    free: Mutex<Vec<usize>>,
}

/// The slot of one process; emptied when dropped, since the process is gone.
pub(crate) struct BoardSlot {
    boards: Arc<Boards>,
    index: usize,
}

impl Boards {
    /// A board of which this process has the first slot, where `room` counts from now on.
    pub(crate) fn open(room: &Room) -> Result<Arc<Self>> {
        check_size(SIZE).map_err(failed)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("mobula-board", flags).map_err(failed)?;
        ftruncate(&fd, SIZE as u64).map_err(failed)?;
        fcntl_add_seals(&fd, SEALS).map_err(failed)?;
        let board = Board::map(&fd, 0)?;
        board.limit().store(room.limit(), Ordering::SeqCst);
        board.numbers()[1].store(1, Ordering::SeqCst);
        room.join(Box::new(Board::map(&fd, 0)?));
        Ok(Arc::new(Self { board, fd: Arc::new(fd), free: Mutex::default() }))
    }

    /// A slot for another process.
    pub(crate) fn slot(self: &Arc<Self>) -> BoardSlot {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = || {
            let next = self.board.numbers()[1].fetch_add(1, Ordering::SeqCst);
            usize::try_from(next).unwrap_or(usize::MAX).min(SLOTS - 1)
        };
        BoardSlot { boards: self.clone(), index: free.unwrap_or_else(fresh) }
    }

    /// What another process maps it by, with [`join_board`].
    pub(crate) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.fd
    }
}

impl BoardSlot {
    pub(crate) fn index(&self) -> u64 {
        self.index as u64
    }
}

impl Drop for BoardSlot {
    fn drop(&mut self) {
        // The last one is shared.
        if self.index < SLOTS - 1 {
            let board = &self.boards.board;
            board.slots()[self.index].store(0, Ordering::SeqCst);
            let number = self.index as u64 + 1;
            let _ = board.claim().compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst);
            self.boards.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        }
    }
}

/// Has `room` count in that slot of a parent's board from now on; what the limit is. `Decode` if it is no board.
pub(crate) fn join_board(fd: &OwnedFd, slot: u64, room: &Room) -> Result<u64> {
    let is_sealed = fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS));
    let is_long = fstat(fd).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(SIZE as u64));
    let own = usize::try_from(slot).ok().filter(|slot| *slot < SLOTS);
    let (true, true, Some(own)) = (is_sealed, is_long, own) else {
        return Err(Error::new(ErrorKind::Decode, "a descriptor or a slot that is of no board"));
    };
    let board = Board::map(fd, own)?;
    let limit = board.limit().load(Ordering::SeqCst);
    room.join(Box::new(board));
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "the system's memory")]
    fn processes_count_in_slots_that_are_emptied_when_they_are_gone() {
        let room = Room::new();
        room.set_limit(1_000);
        let boards = Boards::open(&room).expect("there is memory");
        let (one, other) = (boards.slot(), boards.slot());
        let board = |slot: &BoardSlot| Board::map(boards.descriptor(), slot.index).expect("it is one");
        board(&one).own().fetch_add(600, Ordering::SeqCst);
        board(&other).own().fetch_add(300, Ordering::SeqCst);
        assert_eq!((room.sum(), room.take(101)), (900, false));
        let index = one.index();
        drop(one);
        assert_eq!(room.sum(), 300);
        assert_eq!(boards.slot().index(), index, "it is free again");
        let (worker, third) = (Room::new(), boards.slot());
        assert!(worker.take(50));
        assert_eq!(join_board(boards.descriptor(), third.index(), &worker).ok(), Some(1_000));
        assert_eq!((worker.sum(), room.sum(), worker.take(651), room.take(650)), (350, 350, false, true));
    }

    #[test]
    #[cfg_attr(miri, ignore = "the system's memory")]
    fn what_is_no_board_is_refused() {
        let file: OwnedFd = tempfile::tempfile().expect("a file can be made").into();
        let room = Room::new();
        assert_eq!(join_board(&file, 0, &room).err().map(|error| error.kind()), Some(ErrorKind::Decode));
        let boards = Boards::open(&room).expect("there is memory");
        let refused = join_board(boards.descriptor(), SLOTS as u64, &room);
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Decode));
    }
}
