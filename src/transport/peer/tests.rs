//! What two processes hold of each other, and what is malformed: with real sockets and real segments.

use std::fs::{self, File};
use std::io::{ErrorKind as IoKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};

use super::super::wire::{Inflow, Piece};
use super::super::{FRAME_MAX, Receiver, connect, pair};
use super::*;
use crate::id::{Place, WorkerId};
use crate::protocol::samples::{SEGMENT, messages, name};
use crate::spec::Definition;
use crate::store::{Boards, Mark, Room, Slot, Table};

static TEST: Definition = Definition::internal("test");

/// Larger than what goes inline.
const LARGE: usize = INLINE_MAX + 1_000;

/// Lends whatever is named, as a parent does.
struct Lends;

impl Naming for Lends {
    fn object(&self, peer: &Peer, id: ObjectId, hold: &Counted<dyn Object>) -> Result<()> {
        peer.lend_object(id, hold.clone())
    }

    fn actor(&self, peer: &Peer, id: ActorId, hold: &ActorRef) -> Result<()> {
        peer.lend_actor(id, hold.core().handle().expect("it lives"))
    }
}

/// One process of two.
struct Side {
    peer: Arc<Peer>,
    receiver: Receiver,
    arena: Arc<Arena>,
}

impl Side {
    fn new(stream: UnixStream, worker: u32, is_parent: bool) -> Self {
        Self::with(stream, Arena::alone(WorkerId(worker)), is_parent)
    }

    fn with(stream: UnixStream, arena: Arc<Arena>, is_parent: bool) -> Self {
        let (sender, receiver) = connect(stream).expect("it is open");
        let peer = Peer::new(sender, is_parent, arena.clone(), Box::new(Lends));
        Self { peer, receiver, arena }
    }

    fn send(&self, bytes: &[u8], buffers: Vec<Bytes>, kept: Vec<Kept>) -> Result<()> {
        let values = Encoded { bytes: bytes.to_vec(), buffers, kept };
        self.peer.send(&Message::Item { call: 1 }, Some(&values), When::Now)
    }

    /// Reads until there is a message that is not about what was returned or given back, which is handled.
    fn next(&mut self) -> Result<(Message, Load)> {
        loop {
            let frame = self.receiver.next()?.expect("the other side has not closed");
            match self.peer.read(frame)? {
                Some((Message::Returned { extents, objects, actors }, _)) => {
                    self.peer.returned(extents, objects, actors)?;
                }
                Some((Message::Forget { segments }, _)) => self.peer.forgotten(&segments)?,
                // Refused where a test gave back what its arena still has.
                Some((Message::Vacated { segments }, _)) => drop(self.peer.vacated(&segments)),
                Some(read) => return Ok(read),
                None => {}
            }
        }
    }

    /// Handles all that the other side sent until now.
    fn settle(&mut self, other: &Side) {
        other.peer.send(&Message::Rebuilt, None, When::Now).expect("it is open");
        assert!(matches!(self.next(), Ok((Message::Rebuilt, _))));
    }

    fn claimed(&self) -> (usize, usize, usize) {
        let borrowed = lock(&self.peer.borrowed);
        (borrowed.extents.len(), borrowed.objects.len(), borrowed.actors.len())
    }
}

fn sides() -> (Side, Side) {
    let (here, there) = pair().expect("a pair");
    (Side::new(here, 1, true), Side::new(there, 2, false))
}

/// An object with an id, and what names it in bytes.
fn object(table: &Arc<Table<dyn Object>>) -> (ObjectId, Counted<dyn Object>) {
    let object: Arc<dyn Object> = Slot::full(&TEST, 7_i64);
    let id = object.head().id(&Arc::downgrade(&object), WorkerId(0), table);
    (id, Counted::new(object))
}

fn large(arena: &Arc<Arena>) -> Bytes {
    arena.write(LARGE, |extent| extent.fill(3)).expect("there is room")
}

#[test]
fn what_is_named_is_held_until_it_was_read_and_returned() {
    let (mut parent, mut worker) = sides();
    let table = Arc::default();
    let (id, hold) = object(&table);
    let weak = Arc::downgrade(hold.object());
    parent.send(b"first", vec![large(&parent.arena)], vec![Arc::new(hold.clone())]).expect("it is sent");
    parent.send(b"second", Vec::new(), vec![Arc::new(hold)]).expect("it is sent");
    assert_eq!(parent.peer.lent_counts(), (1, 1, 0));
    let (_, first) = worker.next().expect("it is well");
    let kept = worker.peer.share_object(id).expect("it is lent");
    let actor = ActorId { owner: id.owner, place: id.place };
    let unknown = ObjectId { owner: WorkerId(99), ..id };
    assert!(worker.peer.share_object(unknown).is_none() && worker.peer.share_actor(actor).is_none());
    assert_eq!(
        (&first.bytes[..], first.buffers[0].len(), worker.claimed()),
        (&b"first"[..], LARGE, (1, 1, 0))
    );
    let view = first.buffers[0].slice(10..20);
    drop((first, worker.next().expect("it is well")));
    parent.settle(&worker);
    assert_eq!(parent.peer.lent_counts(), (1, 1, 0));
    drop((kept, view));
    parent.settle(&worker);
    assert_eq!((parent.peer.lent_counts(), worker.claimed()), ((0, 0, 0), (0, 0, 0)));
    assert_eq!((weak.strong_count(), parent.arena.stats().used), (0, 0));
}

#[test]
fn what_came_goes_back_without_a_copy_and_without_a_second_mapping() {
    let (mut parent, mut worker) = sides();
    let (here, there) = (large(&parent.arena), large(&worker.arena));
    parent.send(b"", vec![here.clone()], Vec::new()).expect("it is sent");
    worker.send(b"", vec![there.clone()], Vec::new()).expect("it is sent");
    let (came, gone) = (worker.next().expect("it is well").1, parent.next().expect("it is well").1);
    worker.send(b"", came.buffers.clone(), Vec::new()).expect("it is sent");
    parent.send(b"", gone.buffers.clone(), Vec::new()).expect("it is sent");
    let (back, again) = (parent.next().expect("it is well").1, worker.next().expect("it is well").1);
    assert_eq!((back.buffers[0].as_ptr(), again.buffers[0].as_ptr()), (here.as_ptr(), there.as_ptr()));
    drop((came, gone, back, again, here, there));
    for _ in 0..2 {
        parent.settle(&worker);
        worker.settle(&parent);
    }
    for side in [&parent, &worker] {
        assert_eq!((side.peer.lent_counts(), side.claimed()), ((0, 0, 0), (0, 0, 0)));
        assert_eq!(side.arena.stats().used, 0);
    }
}

#[test]
fn what_could_not_be_sent_is_not_lent() {
    let (parent, _worker) = sides();
    let table = Arc::default();
    let named = || -> Kept { Arc::new(object(&table).1) };
    // The message itself is too large.
    let values = Encoded { bytes: vec![1; LARGE], buffers: vec![large(&parent.arena)], kept: vec![named()] };
    let message = Message::Ended { death: Error::new(ErrorKind::TaskFailed, "x".repeat(FRAME_MAX)) };
    let error = parent.peer.send(&message, Some(&values), When::Now).expect_err("it is too large");
    drop(values);
    assert_eq!((error.kind(), parent.peer.lent_counts()), (ErrorKind::Encode, (0, 0, 0)));
    // What cannot be named, after what could.
    let nameless: Counted<dyn Object> = Counted::new(Slot::full(&TEST, 7_i64));
    let kept: Vec<Kept> = vec![named(), Arc::new(nameless)];
    let error = parent.send(b"", vec![large(&parent.arena)], kept).expect_err("it has no id");
    assert_eq!((error.kind(), parent.peer.lent_counts()), (ErrorKind::Encode, (0, 0, 0)));
    assert_eq!((parent.arena.stats().used, table.len()), (0, 0));
    // No room for the second.
    let (parent, _worker) = sides();
    let first = large(&parent.arena);
    parent.arena.room().set_limit(parent.arena.stats().committed);
    let buffers = vec![first, Bytes::from(vec![1; 16 << 20])];
    let error = parent.send(b"", buffers, vec![named()]).expect_err("there is no room");
    assert_eq!((error.kind(), parent.peer.lent_counts()), (ErrorKind::StoreFull, (0, 0, 0)));
    assert_eq!((parent.arena.stats().used, table.len()), (0, 0));
}

#[test]
fn what_is_too_much_for_a_frame_together_lies_beside_it() {
    let (parent, mut worker) = sides();
    let buffer = |n: usize| Bytes::from(vec![n as u8; INLINE_MAX - 1]);
    parent.send(b"body", (0..200).map(buffer).collect(), Vec::new()).expect("it is sent");
    let (_, load) = worker.next().expect("it is well");
    assert!(load.buffers.iter().enumerate().all(|(n, bytes)| *bytes == buffer(n)));
    assert_eq!((&load.bytes[..], load.buffers.len()), (&b"body"[..], 200));
    let sent = worker.receiver.traffic().bytes_in as usize;
    assert!((INLINE_SUM_MAX / 2..INLINE_SUM_MAX * 2).contains(&sent), "{sent}");
}

#[test]
fn to_who_is_gone_nothing_is_lent() {
    let (parent, worker) = sides();
    let table = Arc::default();
    let (_, hold) = object(&table);
    parent.send(b"", vec![large(&parent.arena)], vec![Arc::new(hold.clone())]).expect("it is sent");
    drop(worker);
    parent.peer.end();
    let error = parent.send(b"", vec![large(&parent.arena)], vec![Arc::new(hold)]).expect_err("it is gone");
    assert_eq!((error.kind(), parent.peer.lent_counts()), (ErrorKind::WorkerCrashed, (0, 0, 0)));
    assert_eq!((parent.arena.stats().used, table.len()), (0, 0));
}

#[test]
fn what_was_never_lent_cannot_come_back() {
    let (mut parent, worker) = sides();
    let table = Arc::default();
    let (id, hold) = object(&table);
    let bytes = large(&parent.arena);
    let extent = parent.arena.locate(&bytes).expect("ours");
    parent.send(b"", vec![bytes], vec![Arc::new(hold)]).expect("it is sent");
    let other = ObjectId { place: Place { index: 99, generation: 0 }, ..id };
    let longer = Extent { len: extent.len + 1, ..extent };
    let actor = ActorId { owner: id.owner, place: id.place };
    let cases = [
        (vec![(extent, 0)], vec![], vec![]),
        (vec![(extent, 2)], vec![], vec![]),
        (vec![(longer, 1)], vec![], vec![]),
        (vec![], vec![(id, 0)], vec![]),
        (vec![], vec![(id, u64::MAX)], vec![]),
        (vec![], vec![(other, 1)], vec![]),
        (vec![], vec![], vec![(actor, 1)]),
    ];
    for (extents, objects, actors) in cases {
        let message = Message::Returned { extents, objects, actors };
        worker.peer.send(&message, None, When::Now).expect("it is open");
        assert_eq!(parent.next().err().expect("it is refused").kind(), ErrorKind::Decode, "{message:?}");
        assert_eq!(parent.peer.lent_counts(), (1, 1, 0), "{message:?}");
    }
}

// Segments that are given back.

/// Has an arena give back all segments of which nothing is lent.
fn give_back(arena: &Arc<Arena>) {
    arena.room().set_limit(0);
    assert_eq!(kind(arena.write(SIZE as usize, |_| {})), ErrorKind::StoreFull);
    arena.room().set_limit(u64::MAX);
}

/// A worker, its parent, and another worker to which the parent passes on what the first one wrote.
struct Three {
    writer: Side,
    /// The parent, as the writer has it.
    parent: Side,
    /// The parent, as the reader has it.
    hub: Side,
    reader: Side,
    segment: SegmentId,
}

impl Three {
    /// With what the reader views of the writer's segment.
    fn new() -> (Self, Bytes) {
        let (mut parent, writer) = sides();
        let (here, there) = pair().expect("a pair");
        let hub = Side::with(here, parent.arena.clone(), true);
        let mut reader = Side::new(there, 3, false);
        let bytes = large(&writer.arena);
        let segment = writer.arena.locate(&bytes).expect("ours").segment;
        writer.send(b"", vec![bytes], Vec::new()).expect("it is sent");
        let came = parent.next().expect("it is well").1;
        hub.send(b"", came.buffers.clone(), Vec::new()).expect("it is sent");
        let view = reader.next().expect("it is well").1.buffers[0].slice(10..20);
        (Self { writer, parent, hub, reader, segment }, view)
    }

    /// Has all that was said be heard, from the writer's words on.
    fn settle(&mut self) {
        self.parent.settle(&self.writer);
        self.reader.settle(&self.hub);
        self.hub.settle(&self.reader);
        self.writer.settle(&self.parent);
    }

    /// Whether the parent, and the other worker, have the writer's segment mapped.
    fn are_attached(&self) -> [bool; 2] {
        [&self.parent, &self.reader].map(|side| side.arena.is_attached(self.segment))
    }
}

#[test]
fn a_segment_that_its_writer_gave_back_is_forgotten_by_all_who_saw_it() {
    let (mut three, view) = Three::new();
    give_back(&three.writer.arena);
    three.settle();
    assert_eq!((&view[..], three.are_attached()), (&[3; 10][..], [true; 2]), "what is lent stays");
    drop(view);
    three.settle();
    assert_eq!((three.writer.arena.stats().used, three.are_attached()), (0, [true; 2]));
    give_back(&three.writer.arena);
    assert_eq!(three.writer.arena.stats().segments, 0);
    assert!(three.writer.arena.room().own() > 0, "its memory counts while others have it mapped");
    three.settle();
    assert_eq!(three.are_attached(), [false; 2]);
    three.hub.settle(&three.reader);
    three.writer.settle(&three.parent);
    assert_eq!(three.writer.arena.room().own(), 0);
    for side in [&three.writer, &three.parent, &three.hub, &three.reader] {
        let known = lock(&side.peer.known);
        assert!(known.shown.is_empty() && known.seen.is_empty());
    }
    // What is written next lies in another one.
    three.writer.send(b"", vec![large(&three.writer.arena)], Vec::new()).expect("it is sent");
    let came = three.parent.next().expect("it is well").1;
    let place = three.parent.arena.locate(&came.buffers[0]).expect("it is mapped").segment;
    assert_eq!(place, SegmentId { index: three.segment.index + 1, ..three.segment });
}

#[test]
fn a_segment_whose_writer_has_gone_is_forgotten_by_the_others_when_it_can_be() {
    let (mut three, view) = Three::new();
    three.parent.peer.end();
    three.parent.arena.detach(three.segment.worker);
    three.reader.settle(&three.hub);
    assert_eq!((&view[..], three.are_attached()), (&[3; 10][..], [true; 2]), "what is lent stays");
    drop(view);
    three.hub.settle(&three.reader);
    three.reader.settle(&three.hub);
    assert_eq!(three.are_attached(), [false; 2]);
}

#[test]
fn what_is_viewed_stays_also_if_its_writer_gave_it_back_too_early() {
    let (mut three, view) = Three::new();
    let message = Message::Forget { segments: vec![three.segment] };
    three.writer.peer.send(&message, None, When::Now).expect("it is open");
    three.settle();
    assert_eq!((&view[..], three.are_attached()), (&[3; 10][..], [true; 2]));
    drop(view);
    three.settle();
    three.reader.settle(&three.hub);
    assert_eq!(three.are_attached(), [false; 2]);
}

#[test]
fn what_was_never_shown_cannot_be_given_back() {
    let (mut three, view) = Three::new();
    let own = large(&three.hub.arena);
    let shown = three.hub.arena.locate(&own).expect("ours").segment;
    three.hub.send(b"", vec![own], Vec::new()).expect("it is sent");
    let more = three.reader.next().expect("it is well").1;
    let unknown = SegmentId { index: 7, ..three.segment };
    // The reader has shown nothing, and the others were shown to it.
    for segments in [vec![unknown], vec![three.segment], vec![shown], vec![shown, three.segment]] {
        let message = Message::Forget { segments };
        three.reader.peer.send(&message, None, When::Now).expect("it is open");
        assert_eq!(three.hub.next().err().expect("it is refused").kind(), ErrorKind::Decode, "{message:?}");
    }
    // Nor anything twice, nor more than what was shown.
    for segments in [vec![three.segment, unknown], vec![three.segment]] {
        let message = Message::Forget { segments };
        three.writer.peer.send(&message, None, When::Now).expect("it is open");
        let error = three.parent.next().err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Decode, "{message:?}");
    }
    assert_eq!((&view[..], three.are_attached()), (&[3; 10][..], [true; 2]));
    drop(more);
}

// What is malformed.

/// A file as the kernel tells it from others.
fn number(fd: impl AsFd) -> (u64, u64) {
    let stat = rustix::fs::fstat(fd).expect("it is open");
    (stat.st_dev, stat.st_ino)
}

/// How many descriptors of this process stand for a file.
fn open(file: (u64, u64)) -> usize {
    let all = fs::read_dir("/proc/self/fd").expect("there is a list").flatten();
    // Other tests close theirs meanwhile.
    let is_it = |path: PathBuf| rustix::fs::stat(path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == file);
    all.filter(|entry| is_it(entry.path())).count()
}

fn memfd(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("a descriptor");
    rustix::fs::ftruncate(&fd, len).expect("it can grow");
    rustix::fs::fcntl_add_seals(&fd, seals).expect("it can be sealed");
    fd
}

const SEALS: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// The size of a segment, as arenas make them.
const SIZE: u64 = 64 << 20;

/// One side that reads frames which nobody has sent.
struct Rig {
    side: Side,
    /// What it answers goes there.
    there: UnixStream,
    /// A segment of another process, whose descriptor comes with whatever wants one.
    fd: OwnedFd,
}

impl Rig {
    fn new(is_parent: bool) -> Self {
        let (here, there) = pair().expect("a pair");
        there.set_nonblocking(true).expect("it is open");
        Self { side: Side::new(here, 0, is_parent), there, fd: memfd(SIZE, SEALS) }
    }

    /// Nothing of it is open then, whatever came.
    fn close(self) {
        let (fd, file) = (self.fd.try_clone().expect("a descriptor"), number(&self.fd));
        drop(self);
        assert_eq!(open(file), 1);
        drop(fd);
    }

    /// Reads a frame.
    fn read(
        &self,
        message: &Message,
        cargo: Option<&Cargo>,
        inline: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<Load> {
        let mut bytes = Vec::new();
        protocol::write(message, cargo, &mut bytes)?;
        bytes.extend_from_slice(inline);
        let read = self.side.peer.read(Frame { bytes: bytes[..].into(), fds })?;
        Ok(read.map_or_else(Load::default, |(_, load)| load))
    }

    fn attach(&self, size: u64, fds: Vec<OwnedFd>) -> Result<Load> {
        self.read(&Message::Segment { id: SEGMENT, size }, None, b"", fds)
    }

    /// Reads what a socket gave, as whoever reads a connection does.
    fn play(&self, stream: &[u8], fds: usize) -> Result<Vec<(Message, Load)>> {
        let fds = (0..fds).map(|_| self.fd.try_clone().expect("a descriptor")).collect();
        let mut inflow = Inflow::new();
        inflow.take_in(stream, fds);
        let mut read = Vec::new();
        while let Some(piece) = inflow.next()? {
            if let Piece::Frame(frame) = piece {
                read.extend(self.side.peer.read(frame)?);
            }
        }
        inflow.end()?;
        Ok(read)
    }

    /// Does with what was read what can be done without knowing more; nothing is left then.
    fn finish(&mut self, read: Result<Vec<(Message, Load)>>) {
        for (message, load) in read.unwrap_or_else(|error| {
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            Vec::new()
        }) {
            let _ = load.unpacker().value::<i64>();
            let _ = load.unpacker().value::<String>();
            let _ = load.unpacker().value::<Vec<f64>>();
            let _ = load.unpacker().value::<Vec<(String, Option<f64>)>>();
            let mut all = load.unpacker();
            while !all.is_at_end() && all.item().is_ok() {}
            let handled = match message {
                Message::Returned { extents, objects, actors } => {
                    self.side.peer.returned(extents, objects, actors)
                }
                Message::Forget { segments } => self.side.peer.forgotten(&segments),
                Message::Vacated { segments } => self.side.peer.vacated(&segments),
                _ => Ok(()),
            };
            if let Err(error) = handled {
                assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            }
        }
        assert_eq!(self.side.claimed(), (0, 0, 0));
        let mut answers = [0; 4096];
        while let Ok(1..) | Err(IoKind::Interrupted) = self.there.read(&mut answers).map_err(|e| e.kind()) {}
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("it is refused").kind()
}

fn item() -> Message {
    Message::Item { call: 1 }
}

#[test]
fn a_cargo_that_is_not_what_came_is_refused() {
    let mut rig = Rig::new(false);
    let inline = |body, buffers: &[u32]| Cargo {
        body: Carried::Inline(body),
        buffers: buffers.iter().map(|length| Carried::Inline(*length)).collect(),
        ..Cargo::default()
    };
    let cases = [
        (inline(6, &[]), &b"five."[..]),
        (inline(u32::MAX, &[]), b"five."),
        (inline(5, &[1]), b"five."),
        (inline(0, &[3, 3]), b"five."),
        (inline(0, &[0, 6]), b"five."),
        (inline(1, &[u32::MAX, u32::MAX]), b"five."),
        // More than it says.
        (inline(4, &[]), b"five."),
        (inline(0, &[2, 2]), b"five."),
        (Cargo::default(), b"five."),
    ];
    for (cargo, bytes) in cases {
        assert_eq!(kind(rig.read(&item(), Some(&cargo), bytes, Vec::new())), ErrorKind::Decode, "{cargo:?}");
    }
    assert_eq!(kind(rig.read(&item(), None, b"bytes of no cargo", Vec::new())), ErrorKind::Decode);
    let load = rig.read(&item(), Some(&inline(2, &[0, 3])), b"five.", Vec::new()).expect("it is well");
    assert_eq!((&load.bytes[..], &load.buffers[..]), (&b"fi"[..], &[Bytes::new(), Bytes::from("ve.")][..]));
    rig.finish(Ok(Vec::new()));
}

#[test]
fn an_extent_that_is_not_there_is_refused() {
    let mut rig = Rig::new(false);
    let size = SIZE;
    let far = |segment, offset, len| Carried::Far(Extent { segment, offset, len });
    let elsewhere = SegmentId { index: 1, ..SEGMENT };
    let own = SegmentId { worker: WorkerId(0), index: 0 };
    let cases = [
        far(SEGMENT, size, 1),
        far(SEGMENT, size - 1, 2),
        far(SEGMENT, 0, size + 1),
        far(SEGMENT, 1, u64::MAX),
        far(SEGMENT, u64::MAX, 1),
        far(SEGMENT, u64::MAX, u64::MAX),
        far(elsewhere, 0, 1),
        far(own, 0, 1),
    ];
    // Before the segment came, and after.
    for is_there in [false, true] {
        if is_there {
            rig.attach(size, vec![rig.fd.try_clone().expect("a descriptor")]).expect("it is sealed");
        }
        for wrong in cases {
            for at in 0..3 {
                let well = if is_there { far(SEGMENT, 64, 64) } else { Carried::Inline(0) };
                let mut places = [well; 3];
                places[at] = wrong;
                let [body, buffers @ ..] = places;
                let cargo = Cargo { body, buffers: buffers.to_vec(), ..Cargo::default() };
                let read = rig.read(&item(), Some(&cargo), b"", Vec::new());
                assert_eq!(kind(read), ErrorKind::Decode, "{cargo:?}");
                rig.finish(Ok(Vec::new()));
            }
        }
    }
    assert_eq!(rig.side.arena.stats().borrowed, 0);
}

#[test]
fn a_descriptor_that_is_no_segment_is_refused_and_closed() {
    let rig = Rig::new(false);
    let size = SIZE;
    assert_eq!(kind(rig.attach(size, Vec::new())), ErrorKind::Decode, "none");
    let file = || -> OwnedFd { tempfile::tempfile().expect("a file").into() };
    let cases: [(&str, u64, Vec<OwnedFd>); 10] = [
        ("a file", size, vec![file()]),
        ("a device", size, vec![File::open("/dev/null").expect("it is there").into()]),
        ("a socket", size, vec![pair().expect("a pair").0.into()]),
        ("unsealed", size, vec![memfd(size, SealFlags::empty())]),
        ("half sealed", size, vec![memfd(size, SealFlags::SHRINK)]),
        ("too small", size, vec![memfd(size / 2, SEALS)]),
        ("too large", size, vec![memfd(size * 2, SEALS)]),
        ("of no size", 0, vec![memfd(0, SEALS)]),
        ("two", size, vec![memfd(size, SEALS), memfd(size, SEALS)]),
        ("beyond all memory", u64::MAX, vec![memfd(size, SEALS)]),
    ];
    for (what, size, fds) in cases {
        let files: Vec<_> = fds.iter().map(number).collect();
        // `/dev/null` and what it stands for is open for others, too.
        let before: Vec<_> = files.iter().map(|file| open(*file) - 1).collect();
        assert_eq!(kind(rig.attach(size, fds)), ErrorKind::Decode, "{what}");
        let after: Vec<_> = files.iter().map(|file| open(*file)).collect();
        assert!(what == "a device" || after == before, "{what}: {before:?} {after:?}");
        assert!(!rig.side.arena.is_attached(SEGMENT), "{what}");
    }
    let own = SegmentId { worker: WorkerId(0), index: 0 };
    let message = Message::Segment { id: own, size };
    assert_eq!(kind(rig.read(&message, None, b"", vec![memfd(size, SEALS)])), ErrorKind::Decode);
    for message in messages().iter().filter(|message| !has_descriptor(&name(message))) {
        let fd = memfd(size, SEALS);
        let file = number(&fd);
        let cargo = Cargo::default();
        assert_eq!(kind(rig.read(message, Some(&cargo), b"", vec![fd])), ErrorKind::Decode, "{message:?}");
        assert_eq!(open(file), 0, "{message:?}");
    }
}

#[test]
fn a_segment_is_open_once_however_often_it_comes_and_closed_with_the_arena() {
    let rig = Rig::new(false);
    let fd = rig.fd.try_clone().expect("a descriptor");
    let file = number(&fd);
    for _ in 0..10 {
        rig.attach(SIZE, vec![rig.fd.try_clone().expect("a descriptor")]).expect("it is sealed");
    }
    let extent = Extent { segment: SEGMENT, offset: 0, len: 10 };
    let cargo = Cargo { body: Carried::Far(extent), ..Cargo::default() };
    let load = rig.read(&item(), Some(&cargo), b"", Vec::new()).expect("it is there");
    assert_eq!((open(file), rig.side.claimed()), (3, (1, 0, 0)));
    let bytes = load.bytes.clone();
    drop((load, rig));
    assert_eq!((open(file), &bytes[..]), (2, &[0; 10][..]));
    drop(bytes);
    assert_eq!(open(file), 1);
}

// Real frames, and what becomes of them when they are changed.

/// Where frames are that were recorded or found: what a socket gave, one message a file, with the segment
/// before it if it needs one. Whatever breaks a reader is put beside them.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz")
}

/// All of them, in the order of their names.
fn streams() -> Vec<(String, Vec<u8>)> {
    let all = fs::read_dir(corpus()).expect("it is there");
    let mut paths: Vec<_> = all.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).expect("it is a file"))).collect()
}

/// Whether a descriptor comes with messages of this name, which say nothing else.
fn has_descriptor(name: &str) -> bool {
    name.starts_with("Segment") || name.starts_with("Mark") || name.starts_with("Board")
}

/// A frame of each kind, as a socket gives it.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for message in messages() {
        let name = name(&message);
        let is_same = |(other, _): &&(String, Vec<u8>)| other.split('-').next() == Some(&name);
        let number = all.iter().filter(is_same).count();
        let (here, mut there) = pair().expect("a pair");
        let side = Side::new(here, SEGMENT.worker.0, true);
        let is_loaded = matches!(
            message,
            Message::Run { .. }
                | Message::Build { .. }
                | Message::Call { .. }
                | Message::Done { error: None, .. }
                | Message::Item { .. }
                | Message::Submit { .. }
                | Message::Post { .. }
                | Message::Create { .. }
                | Message::Filled { error: None, .. }
                | Message::Yielded { .. }
                | Message::Export { .. }
        );
        if is_loaded {
            let table = Arc::default();
            let values = Encoded {
                bytes: b"\x00\x00\x00\x01\x00\x00\x00\x07".to_vec(),
                buffers: vec![Bytes::from_static(b"beside"), large(&side.arena), Bytes::from(vec![3; LARGE])],
                kept: vec![Arc::new(object(&table).1), Arc::new(object(&table).1)],
            };
            side.peer.send(&message, Some(&values), When::Now).expect("it is small");
        } else if let Message::Mark = message {
            side.peer.show_mark(&Mark::new().expect("there is memory")).expect("it is small");
        } else if let Message::Board { slot, wait_ms } = message {
            let boards = Boards::open(&Room::new()).expect("there is memory");
            side.peer.show_board(&boards, slot, Duration::from_millis(wait_ms)).expect("it is small");
        } else if let Message::Segment { id, .. } = message {
            let _bytes = large(&side.arena);
            let (fd, _) = side.arena.descriptor(id).expect("it was made");
            let mut frame = Vec::new();
            protocol::write(&message, None, &mut frame).expect("it is small");
            side.peer.sender.send(&frame, vec![fd], When::Now).expect("it is small");
        } else {
            side.peer.send(&message, None, When::Now).expect("it is small");
        }
        drop(side);
        let mut stream = Vec::new();
        there.read_to_end(&mut stream).expect("it was closed");
        all.push((format!("{name}-{number}"), stream));
    }
    all
}

/// How many descriptors come with a recorded stream.
fn descriptors(stream: &[u8]) -> usize {
    stream.get(4).map_or(0, |count| usize::from(*count).min(3))
}

/// Whoever changes a message changes the version, and then has them recorded again.
#[test]
fn the_recorded_frames_are_those_of_this_version() {
    let version = format!("v{}-", protocol::VERSION);
    let record = std::env::var_os("MOBULA_RECORD").is_some();
    let recorded = recorded();
    for (name, stream) in &recorded {
        let path = corpus().join(format!("{version}{name}"));
        if record {
            fs::write(&path, stream).expect("it is there");
        }
        let known = fs::read(&path).expect("recorded with MOBULA_RECORD=1");
        assert!(known == *stream, "{name} is another message now: is the version?");
    }
    let of_this = streams().iter().filter(|(name, _)| name.starts_with(&version)).count();
    assert_eq!(of_this, recorded.len());
}

#[test]
fn recorded_frames_are_read_by_both_sides() {
    for (name, stream) in recorded() {
        for is_parent in [true, false] {
            let mut rig = Rig::new(is_parent);
            let read = rig.play(&stream, descriptors(&stream));
            // The descriptor that came is of a segment; boards are looked at where they are.
            if name.starts_with("Board") {
                assert_eq!(read.as_ref().err().map(Error::kind), Some(ErrorKind::Decode), "{name}");
                rig.finish(read);
                continue;
            }
            let count = read.as_ref().map_err(|error| format!("{name}: {error}")).map(Vec::len);
            assert_eq!(count, Ok(usize::from(!has_descriptor(&name))), "{name}");
            rig.finish(read);
        }
    }
}

/// All that a stream can be changed to by one cut or one flipped bit.
#[test]
fn a_changed_frame_is_an_error_or_another_message_and_leaves_nothing() {
    for is_parent in [true, false] {
        let mut rig = Rig::new(is_parent);
        for (name, stream) in streams() {
            let fds = descriptors(&stream);
            for at in 0..stream.len() {
                // A cut between two frames is none.
                let read = rig.play(&stream[..at], fds);
                assert!(read.is_err() || at == 0 || fds > 0, "{name} is cut at {at}");
                rig.finish(read);
                for bit in 0..8 {
                    let mut changed = stream.clone();
                    changed[at] ^= 1 << bit;
                    let read = rig.play(&changed, fds);
                    rig.finish(read);
                }
            }
        }
        rig.close();
    }
}

/// Many changes at once: pieces of other frames, numbers that mean something, bytes put in and taken out.
/// `MOBULA_FUZZ` is how many frames are tried instead, from a seed that differs each time.
#[test]
fn a_mangled_frame_is_an_error_or_another_message_and_leaves_nothing() {
    let streams: Vec<_> = streams().into_iter().map(|(_, stream)| stream).collect();
    let wanted = std::env::var("MOBULA_FUZZ").ok().and_then(|count| count.parse::<u64>().ok());
    let (first, count) = wanted.map_or((0, 30_000), |count| (fastrand::u64(..u64::MAX / 2), count));
    let mut rig = Rig::new(true);
    for seed in first..first + count {
        let mut rng = fastrand::Rng::with_seed(seed);
        let stream = &streams[rng.usize(..streams.len())];
        let fds = if rng.u8(..10) == 0 { rng.usize(..3) } else { descriptors(stream) };
        let mangled = if rng.u8(..4) == 0 {
            let mut mangled = stream.clone();
            mangle(&mut mangled, &streams, &mut rng);
            mangled
        } else {
            mangle_inside(stream, &streams, &mut rng)
        };
        let played = std::panic::AssertUnwindSafe(|| {
            let read = rig.play(&mangled, fds);
            rig.finish(read);
        });
        if let Err(panic) = std::panic::catch_unwind(played) {
            eprintln!("seed {seed}, with {fds} descriptors: {mangled:02x?}");
            std::panic::resume_unwind(panic);
        }
        if seed % 1_000 == 999 {
            rig.close();
            rig = Rig::new(seed % 2_000 == 999);
        }
    }
}

/// Changes the bytes of one frame, and mostly has the lengths before it fit again.
fn mangle_inside(stream: &[u8], others: &[Vec<u8>], rng: &mut fastrand::Rng) -> Vec<u8> {
    let length = |at: usize| u32::from_be_bytes(std::array::from_fn(|n| stream[at + n])) as usize + 4;
    let mut starts = vec![0];
    while let Some(next) = starts.last().map(|at| at + length(*at)).filter(|next| next + 9 <= stream.len()) {
        starts.push(next);
    }
    let start = starts[rng.usize(..starts.len())];
    let end = (start + length(start)).min(stream.len());
    let mut body = stream[start + 9..end].to_vec();
    let before = body.len();
    for _ in 0..rng.usize(1..4) {
        mangle(&mut body, others, rng);
    }
    let head = u32::from_le_bytes(std::array::from_fn(|n| stream[start + 5 + n]));
    let fits = if rng.u8(..8) == 0 { 0 } else { body.len() as u32 };
    let head = head.wrapping_add(fits.wrapping_sub(before as u32));
    let whole = (body.len() as u32 + 5).to_be_bytes();
    [&stream[..start], &whole, &stream[start + 4..=start + 4], &head.to_le_bytes(), &body, &stream[end..]]
        .concat()
}

fn mangle(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=bytes.len());
    let end = (at + rng.usize(..12)).min(bytes.len());
    match rng.u8(..5) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let other = &others[rng.usize(..others.len())];
            let from = rng.usize(..other.len());
            let to = (from + rng.usize(1..40)).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        2 => {
            let telling = [0, 1, 0x7f, 0x80, 0x90, 0xc0, 0xc6, 0xcf, 0xdb, 0xdd, 0xdf, 0xff];
            bytes[at..end].fill(telling[rng.usize(..telling.len())]);
        }
        3 => {
            let telling = [0, 1, 63, 64, u64::MAX, 1 << 32, 1 << 63, 64 << 20, LARGE as u64];
            let number = telling[rng.usize(..telling.len())].to_be_bytes();
            drop(bytes.splice(at..end, [0xcf].into_iter().chain(number)));
        }
        _ => bytes[at..end].iter_mut().for_each(|byte| *byte = rng.u8(..)),
    }
}
