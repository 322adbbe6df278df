//! The writing half: a queue, and whoever writes it out.

use std::collections::VecDeque;
use std::io::{Error as IoError, ErrorKind as IoKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::socket::{Flow, Socket, Traffic, failed};
use super::wire::{DESCRIPTORS_MAX, HEAD, Signal, head};
use crate::error::{Error, Result};
use crate::store::{Inlet, RING};

/// What [`When::Batch`] lets wait.
const BATCH: usize = 8 * 1024;

/// The capacity that a buffer keeps when it is empty.
const KEPT_MAX: usize = 1024 * 1024;

/// How many writes a sender does for the others before a thread takes over: its own call has to return.
const TURNS_MAX: usize = 64;

/// When a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At once, with all that is queued.
    Now,
    /// With the next one that goes at once, at the next flush, or when 8 KiB are queued.
    Batch,
}

/// The writing half of a connection, shared by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Sender(Arc<Line>);

#[derive(Debug)]
pub(super) struct Line {
    socket: Arc<Socket>,
    /// Bytes that the writer has taken and not written yet.
    taken: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: Load,
    /// Bytes that were queued so far.
    pushed: u64,
    /// An empty one whose memory is used again.
    spare: Load,
    /// Somebody writes, and looks into the queue again before leaving.
    writing: bool,
    /// Why nothing can be sent any more.
    gone: Option<Error>,
    ring: Option<Ring>,
}

/// The ring that the other side reads from.
#[derive(Debug)]
struct Ring {
    inlet: Inlet,
    /// Frames go by it.
    is_on: bool,
}

/// Frames on their way.
#[derive(Debug, Default)]
struct Load {
    bytes: Vec<u8>,
    /// How much of that is written.
    done: usize,
    parcels: VecDeque<Parcel>,
}

/// The descriptors of the frame that starts at `at`.
#[derive(Debug)]
struct Parcel {
    at: usize,
    fds: Vec<Arc<OwnedFd>>,
}

/// How far a write came.
enum Written {
    All,
    /// The socket is full.
    Full,
    /// The kernel is short of something for now.
    Short,
}

impl Sender {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self(Arc::new(Line { socket, taken: AtomicUsize::new(0), state: Mutex::default() }))
    }

    /// Queues a frame, and writes it unless it may wait or another thread is writing, which then takes
    /// it along. Never waits for the other side.
    ///
    /// Fails with `Encode` if it is too large or has too many descriptors, with `Io` if the other side is
    /// gone. That it was queued does not say that it will be read.
    pub(crate) fn send(&self, frame: &[u8], fds: Vec<Arc<OwnedFd>>, when: When) -> Result<()> {
        let head = head(frame.len(), fds.len())?;
        let mut state = self.0.lock();
        if let Some(error) = &state.gone {
            return Err(error.clone());
        }
        Flow::add(&self.0.socket.out.frames, 1);
        let is_in_ring = state.put_in_ring(head, frame, !fds.is_empty());
        if is_in_ring {
            Flow::add(&self.0.socket.by_ring, (HEAD + frame.len()) as u64);
            state.ring_bell(if when == When::Now { 1 } else { BATCH });
        } else {
            state.queue(head, frame, fds);
        }
        let may_wait = !is_in_ring && when == When::Batch && state.queue.bytes.len() < BATCH;
        if state.writing || may_wait || state.queue.bytes.is_empty() {
            return Ok(());
        }
        self.write_out(state)
    }

    /// Has everything written that is queued. Never waits for the other side.
    pub(crate) fn flush(&self) {
        let mut state = self.0.lock();
        state.ring_bell(1);
        if !state.writing && !state.queue.bytes.is_empty() {
            // Whoever sends next is told.
            let _ = self.write_out(state);
        }
    }

    /// Waits until what is queued now is written, by whomever, or nothing can be any more.
    pub(crate) fn settle(&self) {
        let until = self.0.lock().pushed;
        let mut nap = Duration::ZERO;
        loop {
            self.flush();
            let state = self.0.lock();
            let left = state.queue.bytes.len() + self.0.taken.load(Ordering::Relaxed);
            if state.gone.is_some() || state.pushed - left as u64 >= until {
                return;
            }
            drop(state);
            // Mostly it is over at once; a side that reads nothing may take for ever.
            thread::sleep(nap);
            nap = (nap * 2).clamp(Duration::from_micros(1), Duration::from_millis(1));
        }
    }

    /// Bytes that are not written yet.
    pub(crate) fn queued(&self) -> usize {
        let state = self.0.lock();
        state.queue.bytes.len() + self.0.taken.load(Ordering::Relaxed)
    }

    pub(super) fn line(&self) -> Weak<Line> {
        Arc::downgrade(&self.0)
    }

    /// Ends the connection in both directions; what is still queued is dropped.
    pub(crate) fn close(&self) {
        // Nobody reads there any more; whoever sends is told by the socket.
        self.0.lock().ring = None;
        // Fails only if it is closed already.
        let _ = self.0.socket.stream.shutdown(Shutdown::Both);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.0.socket.traffic()
    }

    /// Takes loads from the queue and writes them until it is empty, or leaves that to a thread.
    fn write_out(&self, mut state: MutexGuard<'_, State>) -> Result<()> {
        state.writing = true;
        let mut load = self.0.take_load(&mut state);
        drop(state);
        for _ in 0..TURNS_MAX {
            if !matches!(self.0.write(&mut load)?, Written::All) {
                break;
            }
            match self.0.next_load(load) {
                Some(next) => load = next,
                None => return Ok(()),
            }
        }
        self.leave(load)
    }

    /// Leaves a load and what is queued after it to a thread.
    fn leave(&self, load: Load) -> Result<()> {
        let (line, rest) = (Arc::clone(&self.0), Arc::new(Mutex::new(load)));
        let taken = Arc::clone(&rest);
        let take =
            |rest: &Mutex<Load>| std::mem::take(&mut *rest.lock().unwrap_or_else(PoisonError::into_inner));
        let body = move || {
            // Whoever sends next is told.
            let _ = line.write_patiently(take(&taken));
        };
        match thread::Builder::new().name("mobula-writer".into()).spawn(body) {
            Ok(_) => Ok(()),
            // No more threads: waiting here is better than frames that nobody writes.
            Err(_) => self.0.write_patiently(take(&rest)),
        }
    }
}

impl State {
    /// Puts a frame in the ring, if it can go there and all before it did or is written; otherwise this and
    /// what follows goes by the socket, for now.
    fn put_in_ring(&mut self, head: [u8; HEAD], frame: &[u8], has_fds: bool) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        let fits = !has_fds && frame.len() <= RING / 4;
        if ring.is_on {
            // There is always room for the signal.
            if fits && ring.inlet.push(&[&head, frame], HEAD) {
                return true;
            }
            ring.is_on = false;
            if !ring.inlet.push(&[&Signal::ToSocket.frame()], 0) {
                // The other side's numbers cannot be, and it waits for the ring: it gets no answer any more.
                self.ring = None;
            }
            return false;
        }
        let is_quiet = !self.writing && self.queue.bytes.is_empty();
        if !fits || !is_quiet || ring.inlet.room() < RING / 2 {
            return false;
        }
        ring.is_on = true;
        let is_in = ring.inlet.push(&[&head, frame], HEAD);
        self.queue(Signal::ToRing.frame(), &[], Vec::new());
        debug_assert!(is_in, "half of it is free");
        is_in
    }

    /// Wakes a reader that sleeps while so many bytes of the ring are news to it.
    fn ring_bell(&mut self, unheard: usize) {
        if let Some(ring) = &mut self.ring
            && ring.inlet.unheard() >= unheard
            && ring.inlet.must_ring()
        {
            self.queue(Signal::Bell.frame(), &[], Vec::new());
        }
    }

    fn queue(&mut self, head: [u8; HEAD], frame: &[u8], fds: Vec<Arc<OwnedFd>>) {
        self.queue.push(head, frame, fds);
        self.pushed += (head.len() + frame.len()) as u64;
    }
}

impl Line {
    /// Shows the other side rings, of which it is to read this one.
    pub(super) fn offer(self: &Arc<Self>, inlet: Inlet, fd: Arc<OwnedFd>) {
        let mut state = self.lock();
        state.queue(Signal::Rings.frame(), &[], vec![fd]);
        state.ring = Some(Ring { inlet, is_on: false });
        drop(state);
        Sender(self.clone()).flush();
    }

    /// The other side reads this ring.
    pub(super) fn write_to(&self, inlet: Inlet) {
        self.lock().ring = Some(Ring { inlet, is_on: false });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under it would be an allocation's, and leaves whole frames.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the queue is empty, waiting for room whenever there is none.
    fn write_patiently(&self, mut load: Load) -> Result<()> {
        loop {
            match self.write(&mut load)? {
                Written::All => match self.next_load(load) {
                    Some(next) => load = next,
                    None => return Ok(()),
                },
                Written::Full => {
                    let mut wanted = [PollFd::new(&self.socket.stream, PollFlags::OUT)];
                    // The next write tells what is wrong, if anything.
                    let _ = poll(&mut wanted, None);
                }
                Written::Short => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Writes as much of a load as goes now.
    fn write(&self, load: &mut Load) -> Result<Written> {
        while load.done < load.bytes.len() {
            let (bytes, fds) = load.next_piece();
            Flow::add(&self.socket.out.calls, 1);
            match send(&self.socket, bytes, fds) {
                Ok(count) => {
                    load.advance(count);
                    self.taken.store(load.bytes.len() - load.done, Ordering::Relaxed);
                    Flow::add(&self.socket.out.bytes, count as u64);
                }
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) if error.kind() == IoKind::WouldBlock => return Ok(Written::Full),
                Err(error) if is_short(&error) => return Ok(Written::Short),
                Err(error) => return Err(self.give_up(&error)),
            }
        }
        Ok(Written::All)
    }

    /// The other side is gone: nothing will be read any more.
    fn give_up(&self, error: &IoError) -> Error {
        let error = failed("the other side is gone", error);
        let mut state = self.lock();
        *state = State { gone: Some(error.clone()), ..State::default() };
        self.taken.store(0, Ordering::Relaxed);
        error
    }

    /// Takes what is queued, for whoever writes.
    fn take_load(&self, state: &mut State) -> Load {
        let spare = std::mem::take(&mut state.spare);
        let load = std::mem::replace(&mut state.queue, spare);
        self.taken.store(load.bytes.len(), Ordering::Relaxed);
        load
    }

    /// What is to be written after `done`; if nothing, the writer has left.
    fn next_load(&self, done: Load) -> Option<Load> {
        let state = &mut *self.lock();
        state.spare = done.emptied();
        state.writing = state.gone.is_none() && !state.queue.bytes.is_empty();
        state.writing.then(|| self.take_load(state))
    }
}

impl Drop for Line {
    /// What was left for a batch goes, as far as it goes without waiting.
    fn drop(&mut self) {
        let mut state = self.lock();
        state.ring_bell(1);
        let mut load = self.take_load(&mut state);
        drop(state);
        let _ = self.write(&mut load);
    }
}

impl Load {
    fn push(&mut self, head: [u8; HEAD], frame: &[u8], fds: Vec<Arc<OwnedFd>>) {
        if !fds.is_empty() {
            self.parcels.push_back(Parcel { at: self.bytes.len(), fds });
        }
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(frame);
    }

    /// What one system call can carry: the kernel hangs descriptors on its first byte, so that it starts
    /// where a frame with descriptors starts, and ends before the next one.
    fn next_piece(&self) -> (&[u8], &[Arc<OwnedFd>]) {
        let mut parcels = self.parcels.iter();
        let (fds, next) = match parcels.next() {
            Some(first) if first.at == self.done => (&*first.fds, parcels.next()),
            other => (&[][..], other),
        };
        let end = next.map_or(self.bytes.len(), |parcel| parcel.at);
        (&self.bytes[self.done..end], fds)
    }

    fn advance(&mut self, count: usize) {
        if count > 0 && self.parcels.front().is_some_and(|parcel| parcel.at == self.done) {
            self.parcels.pop_front();
        }
        self.done += count;
    }

    fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_MAX);
        self.parcels.clear();
        self.done = 0;
        self
    }
}

fn send(socket: &Socket, bytes: &[u8], fds: &[Arc<OwnedFd>]) -> Result<usize, IoError> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if fds.is_empty() {
        return Ok(rustix::net::send(&socket.stream, bytes, flags)?);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
    debug_assert!(fits, "a frame has no more descriptors than there is space for");
    Ok(rustix::net::sendmsg(&socket.stream, &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Whether trying again later helps: the kernel has no memory, or too many descriptors are on their way.
fn is_short(error: &IoError) -> bool {
    use rustix::io::Errno;
    [Errno::NOBUFS, Errno::NOMEM, Errno::TOOMANYREFS]
        .iter()
        .any(|short| error.raw_os_error() == Some(short.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::super::{FRAME_MAX, Receiver, connect, pair, peer};
    use super::*;
    use crate::error::ErrorKind;

    /// Longer than any of these waits takes.
    const LONG: Duration = Duration::from_secs(20);

    /// Both halves of a connection, at either end.
    type Ends = ((Sender, Receiver), (Sender, Receiver));

    fn ends() -> Ends {
        let (here, there) = pair().expect("a pair");
        (connect(here).expect("it is open"), connect(there).expect("it is open"))
    }

    /// As [`ends`], with rings.
    fn ends_with_rings() -> Ends {
        let ((here, mut inbound), (there, mut outbound)) = ends();
        inbound.offer_rings();
        // Each has said something by its ring.
        here.send(b"one", Vec::new(), When::Now).expect("it is open");
        assert_eq!(next(&mut outbound), b"one");
        there.send(b"two", Vec::new(), When::Now).expect("it is open");
        assert_eq!(next(&mut inbound), b"two");
        assert!(here.is_by_ring() && there.is_by_ring());
        ((here, inbound), (there, outbound))
    }

    impl Sender {
        fn offer_again(&self) {
            let (rings, fd) = crate::store::Rings::new().expect("there is memory");
            self.0.offer(rings.inlet, fd);
        }

        fn is_by_ring(&self) -> bool {
            self.0.lock().ring.as_ref().is_some_and(|ring| ring.is_on)
        }
    }

    fn half() -> (Sender, Receiver, UnixStream) {
        let (here, there) = pair().expect("a pair");
        there.set_read_timeout(Some(LONG)).expect("it is open");
        let (sender, receiver) = connect(here).expect("it is open");
        (sender, receiver, there)
    }

    fn next(receiver: &mut Receiver) -> Vec<u8> {
        receiver.set_timeout(Some(LONG));
        receiver.next().expect("the stream is whole").expect("it has not ended").bytes.to_vec()
    }

    #[test]
    fn a_frame_at_once_is_one_write_and_one_read() {
        let ((sender, _), (_, mut receiver)) = ends();
        for n in 0..10_u8 {
            sender.send(&[n], Vec::new(), When::Now).expect("it is open");
            assert_eq!(next(&mut receiver), [n]);
        }
        let out = sender.traffic();
        assert_eq!((out.frames_out, out.writes, out.bytes_out), (10, 10, 60));
        assert_eq!(sender.queued(), 0);
        let back = receiver.traffic();
        assert_eq!((back.frames_in, back.reads, back.bytes_in), (10, 10, 60));
    }

    #[test]
    fn what_is_settled_is_written() {
        what_is_settled_is_written_of(ends);
        what_is_settled_is_written_of(ends_with_rings);
    }

    fn what_is_settled_is_written_of(ends: fn() -> Ends) {
        let ((sender, _), (_, mut receiver)) = ends();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..1_000_u32 {
                        sender
                            .send(
                                &n.to_be_bytes(),
                                Vec::new(),
                                if n % 2 == 0 { When::Now } else { When::Batch },
                            )
                            .expect("it is open");
                        sender.settle();
                    }
                });
            }
            for _ in 0..4_000 {
                next(&mut receiver);
            }
        });
        assert_eq!(sender.queued(), 0);
        drop(receiver);
        while sender.send(&[0; 1024], Vec::new(), When::Now).is_ok() {}
        sender.settle();
    }

    #[test]
    fn a_batch_waits_and_goes_in_one_write() {
        let ((sender, _), (_, mut receiver)) = ends();
        for n in 0..100_u8 {
            sender.send(&[n], Vec::new(), When::Batch).expect("it is open");
        }
        assert_eq!((sender.traffic().writes, sender.queued()), (0, 600));
        sender.flush();
        sender.flush();
        assert_eq!((sender.traffic().writes, sender.queued()), (1, 0));
        for n in 0..100_u8 {
            assert_eq!(receiver.has_buffered(), n > 0);
            assert_eq!(next(&mut receiver), [n]);
        }
        for _ in 0..9 {
            sender.send(&[0; 1024], Vec::new(), When::Batch).expect("it is open");
        }
        assert_eq!(sender.traffic().writes, 2, "8 KiB do not wait");
        sender.send(&[1], Vec::new(), When::Batch).expect("it is open");
        drop(sender);
        for _ in 0..9 {
            assert_eq!(next(&mut receiver).len(), 1024);
        }
    }

    #[test]
    fn a_reader_that_has_stopped_stalls_no_sender() {
        a_reader_that_has_stopped_stalls_no_sender_of(ends);
        a_reader_that_has_stopped_stalls_no_sender_of(ends_with_rings);
    }

    fn a_reader_that_has_stopped_stalls_no_sender_of(ends: fn() -> Ends) {
        const FRAMES: usize = 2_000;
        let ((sender, _), (_, mut receiver)) = ends();
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..FRAMES / 4 {
                        sender.send(&[7; 8 * 1024], Vec::new(), When::Now).expect("it is open");
                    }
                });
            }
        });
        assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
        assert!(sender.queued() > 8 * 1024 * 1024, "the socket took {} bytes", sender.queued());
        for _ in 0..FRAMES {
            assert_eq!(next(&mut receiver), [7; 8 * 1024]);
        }
        // Whoever wrote the last of it notes that when the other side may have read it already.
        while (sender.queued() > 0 || sender.traffic().frames_out < FRAMES as u64) && started.elapsed() < LONG
        {
            thread::yield_now();
        }
        assert_eq!(sender.traffic().frames_out, receiver.traffic().frames_in);
        assert_eq!(sender.queued(), 0);
    }

    #[test]
    fn the_order_of_each_of_four_senders_is_kept_both_ways() {
        the_order_of_each_of_four_senders_is_kept_both_ways_of(ends);
        the_order_of_each_of_four_senders_is_kept_both_ways_of(ends_with_rings);
    }

    fn the_order_of_each_of_four_senders_is_kept_both_ways_of(ends: fn() -> Ends) {
        const FRAMES: u32 = 25_000;
        let ((here, mut inbound), (there, mut outbound)) = ends();
        let before = here.traffic();
        let send = |sender: Sender, thread: u8| {
            move || {
                for n in 0..FRAMES {
                    let when = if n % 7 == 0 { When::Now } else { When::Batch };
                    let frame = [&[thread][..], &n.to_be_bytes()].concat();
                    sender.send(&frame, Vec::new(), when).expect("it is open");
                }
                sender.flush();
            }
        };
        let receive = |receiver: &mut Receiver| {
            let mut expected = [0; 4];
            for _ in 0..4 * FRAMES {
                let frame = next(receiver);
                let (thread, n) = frame.split_first().expect("it has five bytes");
                let wanted: &mut u32 = &mut expected[usize::from(*thread)];
                assert_eq!(n, wanted.to_be_bytes());
                *wanted += 1;
            }
            assert!(!receiver.has_buffered());
        };
        thread::scope(|scope| {
            for n in 0..4 {
                scope.spawn(send(here.clone(), n));
                scope.spawn(send(there.clone(), n));
            }
            scope.spawn(|| receive(&mut inbound));
            receive(&mut outbound);
        });
        let traffic = here.traffic();
        assert_eq!(traffic.frames_out - before.frames_out, 100_000);
        assert_eq!(traffic.frames_in - before.frames_in, 100_000);
        assert!(traffic.writes < traffic.frames_out / 2, "{traffic:?}");
    }

    #[test]
    fn descriptors_arrive_with_their_frame_however_frames_are_batched() {
        descriptors_arrive_with_their_frame_however_frames_are_batched_of(ends);
        descriptors_arrive_with_their_frame_however_frames_are_batched_of(ends_with_rings);
    }

    fn descriptors_arrive_with_their_frame_however_frames_are_batched_of(ends: fn() -> Ends) {
        let ((sender, _), (_, mut receiver)) = ends();
        let counts: Vec<usize> = (0..200).map(|n| [0, 0, 1, 0, 32, 3, 3][n % 7]).collect();
        let all = sender.clone();
        let wanted = counts.clone();
        let writing = thread::spawn(move || {
            for (n, count) in wanted.into_iter().enumerate() {
                let fds = (0..count).map(|at| {
                    let mut file = tempfile::tempfile().expect("a file");
                    write!(file, "{n} {at}").expect("it is writable");
                    Arc::new(file.into())
                });
                let when = if n % 50 == 49 { When::Now } else { When::Batch };
                let bytes = vec![n as u8; n * 10];
                all.send(&bytes, fds.collect(), when).expect("it is open");
            }
            all.flush();
        });
        receiver.set_timeout(Some(LONG));
        for (n, count) in counts.iter().enumerate() {
            let frame = receiver.next().expect("the stream is whole").expect("it has not ended");
            assert_eq!(frame.bytes, vec![n as u8; n * 10]);
            assert_eq!(frame.fds.len(), *count, "frame {n}");
            for (at, fd) in frame.fds.into_iter().enumerate() {
                assert!(
                    rustix::io::fcntl_getfd(&fd).expect("it is open").contains(rustix::io::FdFlags::CLOEXEC)
                );
                let mut file = File::from(fd);
                let mut text = String::new();
                std::io::Seek::rewind(&mut file).expect("it is a file");
                file.read_to_string(&mut text).expect("it is text");
                assert_eq!(text, format!("{n} {at}"));
            }
        }
        writing.join().expect("all were sent");
    }

    #[test]
    fn after_the_peer_is_gone_sending_fails_and_the_queue_is_dropped() {
        let (sender, mut receiver, there) = half();
        // The socket is full, and a thread waits for room.
        while sender.queued() == 0 {
            sender.send(&vec![0; 64 * 1024], Vec::new(), When::Now).expect("it is open");
        }
        drop(there);
        let started = Instant::now();
        while sender.send(&[0], Vec::new(), When::Now).is_ok() {
            assert!(started.elapsed() < LONG, "nobody noticed");
            thread::yield_now();
        }
        let error = sender.send(&[0], Vec::new(), When::Batch).expect_err("it is gone");
        assert_eq!((error.kind(), sender.queued()), (ErrorKind::Io, 0));
        assert_eq!(receiver.next().expect_err("it went with our frames unread").kind(), ErrorKind::Io);
    }

    #[test]
    fn a_closed_connection_ends_in_order_on_both_sides() {
        a_closed_connection_ends_in_order_on_both_sides_of(ends);
        a_closed_connection_ends_in_order_on_both_sides_of(ends_with_rings);
    }

    fn a_closed_connection_ends_in_order_on_both_sides_of(ends: fn() -> Ends) {
        let ((here, mut inbound), (_there, mut outbound)) = ends();
        here.send(b"last", Vec::new(), When::Now).expect("it is open");
        assert_eq!(next(&mut outbound), b"last");
        inbound.set_timeout(Some(LONG));
        thread::scope(|scope| {
            // Whichever comes first, the wait or the end of it.
            let waiting = scope.spawn(|| inbound.next());
            here.close();
            here.close();
            let waited = waiting.join().expect("it only reads");
            assert!(waited.expect("it ended in order").is_none());
        });
        assert!(outbound.next().expect("it ended in order").is_none());
        assert_eq!(
            here.send(b"more", Vec::new(), When::Now).expect_err("it is closed").kind(),
            ErrorKind::Io
        );
    }

    #[test]
    fn a_cut_off_frame_and_a_claim_of_four_gigabytes_are_errors() {
        for (bytes, text) in
            [(&[0, 0, 0, 9, 0, 1][..], "ended after 6 of 13"), (&[255; 9], "4294967294 bytes")]
        {
            let (_sender, mut receiver, mut there) = half();
            there.write_all(bytes).expect("it is open");
            drop(there);
            let error = receiver.next().expect_err("it is no frame");
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.message().contains(text), "{error}");
        }
    }

    #[test]
    fn a_wait_ends_in_time_and_goes_on_where_it_was() {
        let (sender, mut receiver, mut there) = half();
        there.write_all(&[0, 0, 0, 3, 0]).expect("it is open");
        receiver.set_timeout(Some(Duration::from_millis(20)));
        assert_eq!(receiver.next().expect_err("half a frame is none").kind(), ErrorKind::Timeout);
        there.write_all(b"ok").expect("it is open");
        receiver.set_timeout(None);
        assert_eq!(receiver.next().expect("it is whole").expect("it is there").bytes, &b"ok"[..]);
        let error = sender.send(&vec![0; FRAME_MAX + 1], Vec::new(), When::Now).expect_err("it is too large");
        assert_eq!(error.kind(), ErrorKind::Encode);
        sender.send(b"small", Vec::new(), When::Now).expect("the connection goes on");
    }

    #[test]
    fn the_kernel_knows_the_peer() {
        let (here, _there) = pair().expect("a pair");
        let found = peer(&here).expect("it is a Unix socket");
        assert_eq!(found.pid, std::process::id());
        assert_eq!(found.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn small_frames_to_one_who_reads_need_no_system_call() {
        let ((sender, _back), (_, mut receiver)) = ends_with_rings();
        let before = (sender.traffic(), receiver.traffic());
        for n in 0..500_u32 {
            sender.send(&n.to_be_bytes(), Vec::new(), When::Batch).expect("it is open");
        }
        let out = sender.traffic();
        assert_eq!((out.frames_out, out.writes), (before.0.frames_out + 500, before.0.writes));
        assert_eq!(out.bytes_out, before.0.bytes_out + 500 * 9);
        for n in 0..500_u32 {
            assert!(receiver.has_buffered());
            assert_eq!(next(&mut receiver), n.to_be_bytes());
        }
        let back = receiver.traffic();
        assert_eq!((back.frames_in, back.reads), (before.1.frames_in + 500, before.1.reads));
        assert!(!receiver.has_buffered());
    }

    #[test]
    fn a_bell_wakes_who_sleeps() {
        let ((sender, _back), (_, mut receiver)) = ends_with_rings();
        let reading = thread::spawn(move || (0..20).map(|_| next(&mut receiver)).collect::<Vec<_>>());
        for n in 0..20_u8 {
            thread::sleep(Duration::from_millis(5));
            if n % 2 == 0 {
                sender.send(&[n], Vec::new(), When::Now).expect("it is open");
            } else {
                sender.send(&[n], Vec::new(), When::Batch).expect("it is open");
                sender.flush();
            }
        }
        let came = reading.join().expect("all came");
        assert_eq!(came, (0..20).map(|n| vec![n]).collect::<Vec<_>>());
    }

    #[test]
    fn what_does_not_fit_goes_by_the_socket_and_the_rest_by_the_ring_again() {
        let ((sender, _back), (_, mut receiver)) = ends_with_rings();
        for round in 0..50_u8 {
            sender.send(&[round], Vec::new(), When::Now).expect("it is open");
            assert!(sender.is_by_ring());
            sender.send(&vec![round; 40_000], Vec::new(), When::Now).expect("it is open");
            assert!(!sender.is_by_ring());
            assert_eq!(next(&mut receiver), [round]);
            assert_eq!(next(&mut receiver), vec![round; 40_000]);
        }
    }

    #[test]
    fn what_was_sent_before_the_end_is_read_after_it() {
        let ((sender, back), (_there, mut receiver)) = ends_with_rings();
        for n in 0..100_u8 {
            sender.send(&[n], Vec::new(), When::Batch).expect("it is open");
        }
        // As when its process is killed: nobody rings any more.
        std::mem::forget(sender.clone());
        sender.close();
        drop(back);
        for n in 0..100_u8 {
            assert_eq!(next(&mut receiver), [n]);
        }
        assert!(receiver.next().expect("it ended in order").is_none());
    }

    #[test]
    fn signals_out_of_turn_and_rings_that_are_none_break_the_stream() {
        for signal in [Signal::ToRing, Signal::ToSocket] {
            let (_sender, mut receiver, mut there) = half();
            there.write_all(&signal.frame()).expect("it is open");
            assert_eq!(receiver.next().expect_err("out of turn").kind(), ErrorKind::Decode);
        }
        let ((here, _inbound), (_there, mut outbound)) = ends();
        let file = tempfile::tempfile().expect("a file can be made");
        let mut state = here.0.lock();
        state.queue(Signal::Rings.frame(), &[], vec![Arc::new(file.into())]);
        drop(state);
        here.flush();
        assert_eq!(outbound.next().expect_err("no rings").kind(), ErrorKind::Decode);
        // By the ring a frame comes only after its signal.
        let ((here, _inbound), (_there, mut outbound)) = ends_with_rings();
        here.0.lock().queue([0, 0, 0, 2, 0], b"x", Vec::new());
        here.flush();
        let error = outbound.next().expect_err("out of turn");
        assert!(error.message().contains("out of turn"), "{error}");
        let ((here, _inbound), (_there, mut outbound)) = ends_with_rings();
        here.offer_again();
        assert_eq!(outbound.next().expect_err("a second pair").kind(), ErrorKind::Decode);
    }
}
