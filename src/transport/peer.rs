//! The process at the other end: messages with values, and what each side has lent to the other.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::{Frame, Sender, When};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActorId, ObjectId};
use crate::id::{Extent, SegmentId};
use crate::ownership::{Claims, Loans};
use crate::protocol::{self, Cargo, Carried, Message};
use crate::runtime::ActorRef;
use crate::store::{self, Arena, Boards, Counted, Mark, MarkView, Object, Witness, join_board, room};
use crate::value::{Encoded, INLINE_MAX, Kept, Opaque, Unpacker};

/// The most bytes of values in a frame: with its head it stays far below the largest.
const INLINE_SUM_MAX: usize = 1024 * 1024;

/// Bytes that go inside of a frame.
#[derive(Default)]
struct Inlines<'a> {
    all: Vec<&'a [u8]>,
    len: usize,
}

/// What a process does before an id leaves it.
pub(crate) trait Naming: Send + Sync {
    /// An object is about to be named to the other side.
    fn object(&self, peer: &Peer, id: ObjectId, hold: &Counted<dyn Object>) -> Result<()>;
    /// An actor is.
    fn actor(&self, peer: &Peer, id: ActorId, hold: &ActorRef) -> Result<()>;
}

/// Whose names stand in bytes.
pub(crate) trait Names: Send + Sync {
    /// The object that they call `id`.
    fn object(&self, id: ObjectId) -> Option<Counted<dyn Object>>;
    /// The actor.
    fn actor(&self, id: ActorId) -> Option<ActorRef>;
}

/// An object as bytes that nobody here can read name it.
struct NamedObject(ObjectId, Counted<dyn Object>);

/// An actor likewise.
struct NamedActor(ActorId, ActorRef);

/// The names in bytes that came.
#[derive(Default)]
struct OpaqueNames(Vec<Kept>);

impl Names for OpaqueNames {
    fn object(&self, id: ObjectId) -> Option<Counted<dyn Object>> {
        let named = self.0.iter().filter_map(|kept| kept.downcast_ref::<NamedObject>());
        named.into_iter().find(|named| named.0 == id).map(|named| named.1.clone())
    }

    fn actor(&self, id: ActorId) -> Option<ActorRef> {
        let named = self.0.iter().filter_map(|kept| kept.downcast_ref::<NamedActor>());
        named.into_iter().find(|named| named.0 == id).and_then(|named| named.1.core().handle())
    }
}

/// One other process.
pub(crate) struct Peer {
    me: Weak<Self>,
    sender: Sender,
    /// Whether this is the side that lends: a parent owns whatever both know.
    is_parent: bool,
    arena: Arc<Arena>,
    naming: Box<dyn Naming>,
    known: Mutex<Known>,
    lent: Mutex<Lent>,
    borrowed: Mutex<Borrowed>,
    /// How far the other side has come.
    mark: OnceLock<MarkView>,
}

/// The segments whose descriptor both sides have.
#[derive(Default)]
struct Known {
    /// This side sent it, and will say when the segment is no more.
    shown: HashSet<SegmentId>,
    /// The other side did, and will.
    seen: HashSet<SegmentId>,
    /// This side has said that they are no more, and the other has not yet.
    leaving: HashSet<SegmentId>,
    /// The other side has said that, and this one has not yet.
    parting: HashSet<SegmentId>,
}

/// What the other side has of this one.
#[derive(Default)]
struct Lent {
    extents: Loans<Extent, Bytes>,
    objects: Loans<ObjectId, Counted<dyn Object>>,
    actors: Loans<ActorId, ActorRef>,
    is_over: bool,
}

/// What this side has of the other.
#[derive(Default)]
struct Borrowed {
    extents: Claims<Extent>,
    objects: Claims<ObjectId>,
    actors: Claims<ActorId>,
}

/// A user of something borrowed; the last one returns it.
pub(crate) struct Receipt {
    peer: Arc<Peer>,
    key: Key,
}

#[derive(Clone, Copy)]
enum Key {
    Extent(Extent),
    Object(ObjectId),
    Actor(ActorId),
}

/// What came with a message: a value, or the arguments of a call.
#[derive(Default)]
pub(crate) struct Load {
    bytes: Bytes,
    buffers: Vec<Bytes>,
    /// What a parent has lent of what the bytes name: it stays until they have been read, also when
    /// the other side returns it meanwhile.
    names: Arc<OpaqueNames>,
    /// Kept until the values have been read.
    _receipts: Vec<Receipt>,
}

impl Load {
    /// The values in it.
    pub(crate) fn unpacker(&self) -> Unpacker<'_> {
        Unpacker::new(&self.bytes, &self.buffers)
    }

    /// What the bytes name.
    pub(crate) fn names(&self) -> Arc<dyn Names> {
        self.names.clone()
    }

    /// The bytes as they are, with what they name.
    pub(crate) fn opaque(&self) -> Opaque {
        // What came in a frame is copied: it would keep all that was received with it.
        let kept = |bytes: &Bytes| {
            let is_inline = bytes.len() < INLINE_MAX && store::arena().locate(bytes).is_none();
            if is_inline { Bytes::copy_from_slice(bytes) } else { bytes.clone() }
        };
        Opaque {
            bytes: kept(&self.bytes),
            buffers: self.buffers.iter().map(kept).collect(),
            kept: self.names.0.clone(),
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("malformed frame: {what}"))
}

/// The one descriptor that comes with a segment.
fn only(fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let [fd] = <[OwnedFd; 1]>::try_from(fds).map_err(|_| malformed("a segment has one descriptor"))?;
    Ok(fd)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    pub(crate) fn new(
        sender: Sender,
        is_parent: bool,
        arena: Arc<Arena>,
        naming: Box<dyn Naming>,
    ) -> Arc<Self> {
        let peer = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            sender,
            is_parent,
            arena,
            naming,
            known: Mutex::default(),
            lent: Mutex::default(),
            borrowed: Mutex::default(),
            mark: OnceLock::new(),
        });
        peer.arena.attend(peer.me.clone());
        peer
    }

    /// Shows the other side how far this one has come.
    pub(crate) fn show_mark(&self, mark: &Mark) -> Result<()> {
        let mut frame = Vec::new();
        protocol::write(&Message::Mark, None, &mut frame)?;
        self.sender.send(&frame, vec![mark.descriptor().clone()], When::Batch)
    }

    /// Has the other side count among the processes of the session.
    pub(crate) fn show_board(&self, boards: &Boards, slot: u64, wait: Duration) -> Result<()> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut frame = Vec::new();
        protocol::write(&Message::Board { slot, wait_ms }, None, &mut frame)?;
        self.sender.send(&frame, vec![boards.descriptor().clone()], When::Batch)
    }

    /// How far the other side had come when it wrote that last, if it shows that.
    pub(crate) fn mark(&self) -> Option<u64> {
        self.mark.get().map(MarkView::get)
    }

    /// What carries the messages.
    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends a message, with a value or arguments.
    pub(crate) fn send(&self, message: &Message, values: Option<&Encoded>, when: When) -> Result<()> {
        let mut frame = Vec::with_capacity(128);
        let Some(values) = values else {
            protocol::write(message, None, &mut frame)?;
            return self.sender.send(&frame, Vec::new(), when);
        };
        let mut cargo = Cargo::default();
        let sent = self
            .load(message, values, &mut cargo, &mut frame)
            .and_then(|()| self.sender.send(&frame, Vec::new(), when));
        // Of what a broken connection still carried nobody knows; its end gives everything back.
        if sent.as_ref().is_err_and(|error| error.kind() != ErrorKind::Io) {
            self.take_back(&cargo);
        }
        sent
    }

    /// Writes a message with its cargo, and lends what goes with it.
    fn load(
        &self,
        message: &Message,
        values: &Encoded,
        cargo: &mut Cargo,
        frame: &mut Vec<u8>,
    ) -> Result<()> {
        for kept in &values.kept {
            self.name(kept, cargo)?;
        }
        let mut inlines = Inlines::default();
        cargo.body = self.carry(&values.bytes, &mut inlines)?;
        for buffer in &values.buffers {
            cargo.buffers.push(self.carry_buffer(buffer, &mut inlines)?);
        }
        protocol::write(message, Some(cargo), frame)?;
        for inline in inlines.all {
            frame.extend_from_slice(inline);
        }
        Ok(())
    }

    /// What was lent with a message that does not go.
    fn take_back(&self, cargo: &Cargo) {
        let mut lent = lock(&self.lent);
        let (mut bytes, mut held, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for carried in cargo.buffers.iter().chain([&cargo.body]) {
            if let Carried::Far(extent) = carried {
                bytes.extend(lent.extents.returned(*extent, 1));
            }
        }
        // A worker has lent none of these: its objects are its parent's by now.
        held.extend(cargo.objects.iter().map(|id| lent.objects.returned(*id, 1)));
        handles.extend(cargo.actors.iter().map(|id| lent.actors.returned(*id, 1)));
        drop(lent);
        drop((bytes, held, handles));
    }

    /// Notes what a message names.
    fn name(&self, kept: &Kept, cargo: &mut Cargo) -> Result<()> {
        if let Some(hold) = kept.downcast_ref::<Counted<dyn Object>>() {
            let id = hold.object().head().known_id();
            let id = id.ok_or_else(|| Error::new(ErrorKind::Encode, "an object is named without an id"))?;
            self.naming.object(self, id, hold)?;
            cargo.objects.push(id);
        } else if let Some(hold) = kept.downcast_ref::<ActorRef>() {
            self.naming.actor(self, hold.core().id(), hold)?;
            cargo.actors.push(hold.core().id());
        } else if let Some(NamedObject(id, hold)) = kept.downcast_ref::<NamedObject>() {
            self.naming.object(self, *id, hold)?;
            cargo.objects.push(*id);
        } else if let Some(NamedActor(id, hold)) = kept.downcast_ref::<NamedActor>() {
            self.naming.actor(self, *id, hold)?;
            cargo.actors.push(*id);
        }
        Ok(())
    }

    /// The names in the bytes of a value of unknown type.
    pub(crate) fn names_in(opaque: &Opaque) -> Arc<dyn Names> {
        Arc::new(OpaqueNames(opaque.kept.clone()))
    }

    /// Bytes go inline if they are few, and few go there so far.
    fn carry<'a>(&self, bytes: &'a [u8], inlines: &mut Inlines<'a>) -> Result<Carried> {
        if bytes.len() < INLINE_MAX && inlines.len + bytes.len() <= INLINE_SUM_MAX {
            inlines.len += bytes.len();
            inlines.all.push(bytes);
            return Ok(Carried::Inline(bytes.len() as u32));
        }
        let far = self.arena.copy(bytes)?;
        self.lend_extent(far)
    }

    fn carry_buffer<'a>(&self, buffer: &'a Bytes, inlines: &mut Inlines<'a>) -> Result<Carried> {
        if self.arena.locate(buffer).is_some() {
            return self.lend_extent(buffer.clone());
        }
        self.carry(buffer, inlines)
    }

    /// Hands out bytes that lie in shared memory; the segment's descriptor goes first, if it must.
    fn lend_extent(&self, bytes: Bytes) -> Result<Carried> {
        let lost = || Error::new(ErrorKind::ObjectLost, "bytes that lie in no segment");
        let extent = self.arena.locate(&bytes).ok_or_else(lost)?;
        let mut known = lock(&self.known);
        if !known.seen.contains(&extent.segment) && !known.shown.contains(&extent.segment) {
            let (fd, size) = self.arena.descriptor(extent.segment).ok_or_else(lost)?;
            let mut frame = Vec::new();
            protocol::write(&Message::Segment { id: extent.segment, size }, None, &mut frame)?;
            self.sender.send(&frame, vec![fd], When::Batch)?;
            known.shown.insert(extent.segment);
        }
        drop(known);
        let spare = self.lent()?.extents.lend(extent, bytes);
        drop(spare);
        Ok(Carried::Far(extent))
    }

    fn lent(&self) -> Result<MutexGuard<'_, Lent>> {
        let lent = lock(&self.lent);
        if lent.is_over {
            return Err(Error::new(ErrorKind::WorkerCrashed, "the process is gone"));
        }
        Ok(lent)
    }

    /// Keeps an object alive while the other side has it.
    pub(crate) fn lend_object(&self, id: ObjectId, hold: Counted<dyn Object>) -> Result<()> {
        let spare = self.lent()?.objects.lend(id, hold);
        drop(spare);
        Ok(())
    }

    /// Keeps an actor alive while the other side has a handle to it.
    pub(crate) fn lend_actor(&self, id: ActorId, hold: ActorRef) -> Result<()> {
        let spare = self.lent()?.actors.lend(id, hold);
        drop(spare);
        Ok(())
    }

    /// The object that the other side has under `id`.
    pub(crate) fn lent_object(&self, id: ObjectId) -> Option<Counted<dyn Object>> {
        lock(&self.lent).objects.get(id).cloned()
    }

    /// The actor that the other side has under `id`.
    pub(crate) fn lent_actor(&self, id: ActorId) -> Option<ActorRef> {
        lock(&self.lent).actors.get(id).and_then(|hold| hold.core().handle())
    }

    #[cfg(test)]
    /// What the other side has of this one: extents, objects, actors.
    pub(crate) fn lent_counts(&self) -> (usize, usize, usize) {
        let lent = lock(&self.lent);
        (lent.extents.len(), lent.objects.len(), lent.actors.len())
    }

    /// The other side has returned what it borrowed.
    pub(crate) fn returned(
        &self,
        extents: Vec<(Extent, u64)>,
        objects: Vec<(ObjectId, u64)>,
        actors: Vec<(ActorId, u64)>,
    ) -> Result<()> {
        let never = |_| Error::new(ErrorKind::Decode, "what was never lent came back");
        let mut lent = lock(&self.lent);
        let (mut bytes, mut held, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        let take = || {
            for (key, count) in extents {
                bytes.extend(lent.extents.returned(key, count).map_err(never)?);
            }
            for (key, count) in objects {
                held.extend(lent.objects.returned(key, count).map_err(never)?);
            }
            for (key, count) in actors {
                handles.extend(lent.actors.returned(key, count).map_err(never)?);
            }
            Ok(())
        };
        let taken = take();
        // What is dropped here may drop values of users: no lock is held then.
        drop(lent);
        taken
    }

    /// The other side has segments no more that it showed: they go as soon as nothing of them is read here.
    pub(crate) fn forgotten(&self, segments: &[SegmentId]) -> Result<()> {
        let mut known = lock(&self.known);
        // Forgotten here first, so that nobody is told of them who told this side.
        let are_known = segments.iter().all(|segment| known.seen.remove(segment));
        known.parting.extend(segments);
        drop(known);
        if !are_known {
            return Err(Error::new(ErrorKind::Decode, "a segment was given back that was never shown"));
        }
        self.arena.detach_segments(segments);
        // Those that were never mapped here have been told of to nobody.
        let unmapped: Vec<_> =
            segments.iter().copied().filter(|segment| !self.arena.is_attached(*segment)).collect();
        self.vanished(&unmapped);
        Ok(())
    }

    /// The other side has segments no more that this one gave back.
    pub(crate) fn vacated(&self, segments: &[SegmentId]) -> Result<()> {
        let mut known = lock(&self.known);
        let are_known = segments.iter().all(|segment| known.leaving.remove(segment));
        drop(known);
        if !are_known {
            return Err(Error::new(ErrorKind::Decode, "a segment was forgotten that was not given back"));
        }
        self.arena.returned(segments);
        Ok(())
    }

    /// The other side is gone: all that it had comes back.
    pub(crate) fn end(&self) {
        let mut lent = lock(&self.lent);
        lent.is_over = true;
        let all = (lent.extents.end(), lent.objects.end(), lent.actors.end());
        drop(lent);
        drop(all);
        // What it had mapped is unmapped with it.
        let mut known = lock(&self.known);
        known.shown.clear();
        let leaving: Vec<_> = known.leaving.drain().collect();
        drop(known);
        self.arena.returned(&leaving);
    }

    /// Reads a frame. Segments are attached here and give no message.
    pub(crate) fn read(&self, frame: Frame) -> Result<Option<(Message, Load)>> {
        let bytes = frame.bytes.freeze();
        let (message, cargo, at) = protocol::read(&bytes)?;
        let mut rest = bytes.slice(at..);
        if matches!(message, Message::Mark) {
            let mark = MarkView::open(only(frame.fds)?)?;
            let is_first = cargo.is_none() && rest.is_empty() && self.mark.set(mark).is_ok();
            return if is_first { Ok(None) } else { Err(malformed("a second mark")) };
        }
        if let Message::Board { slot, wait_ms } = message {
            if self.is_parent || cargo.is_some() || !rest.is_empty() {
                return Err(malformed("a board from a worker"));
            }
            let limit = join_board(&only(frame.fds)?, slot, room())?;
            self.arena.fit(limit);
            room().set_wait(Duration::from_millis(wait_ms));
            return Ok(None);
        }
        if let Message::Segment { id, size } = message {
            self.arena.attach(id, only(frame.fds)?, size)?;
            lock(&self.known).seen.insert(id);
            return Ok(None);
        }
        if !frame.fds.is_empty() {
            return Err(malformed("descriptors of no segment"));
        }
        let Some(cargo) = cargo else {
            return if rest.is_empty() {
                Ok(Some((message, Load::default())))
            } else {
                Err(malformed("bytes of no cargo"))
            };
        };
        let receipts = self.claim(&cargo);
        let body = self.take(cargo.body, &mut rest)?;
        let mut buffers = Vec::with_capacity(cargo.buffers.len());
        for carried in &cargo.buffers {
            buffers.push(self.take(*carried, &mut rest)?);
        }
        if !rest.is_empty() {
            return Err(malformed("more than its cargo"));
        }
        let names = Arc::new(OpaqueNames(self.names_of(&cargo)));
        Ok(Some((message, Load { bytes: body, buffers, names, _receipts: receipts })))
    }

    fn names_of(&self, cargo: &Cargo) -> Vec<Kept> {
        if !self.is_parent {
            return Vec::new();
        }
        let objects = cargo.objects.iter().filter_map(|id| {
            let kept: Kept = Arc::new(NamedObject(*id, self.lent_object(*id)?));
            Some(kept)
        });
        let actors = cargo.actors.iter().filter_map(|id| {
            let kept: Kept = Arc::new(NamedActor(*id, self.lent_actor(*id)?));
            Some(kept)
        });
        objects.chain(actors).collect()
    }

    fn claim(&self, cargo: &Cargo) -> Vec<Receipt> {
        let (Some(peer), false) = (self.me.upgrade(), self.is_parent) else { return Vec::new() };
        let mut borrowed = lock(&self.borrowed);
        let receipt = |key| Receipt { peer: peer.clone(), key };
        let mut receipts = Vec::new();
        for id in &cargo.objects {
            borrowed.objects.receive(*id);
            receipts.push(receipt(Key::Object(*id)));
        }
        for id in &cargo.actors {
            borrowed.actors.receive(*id);
            receipts.push(receipt(Key::Actor(*id)));
        }
        receipts
    }

    fn take(&self, carried: Carried, rest: &mut Bytes) -> Result<Bytes> {
        match carried {
            Carried::Inline(length) if length as usize <= rest.len() => Ok(rest.split_to(length as usize)),
            Carried::Inline(_) => Err(malformed("cut short")),
            Carried::Far(extent) => {
                let peer =
                    self.me.upgrade().ok_or_else(|| Error::new(ErrorKind::Io, "the connection is over"))?;
                lock(&self.borrowed).extents.receive(extent);
                let receipt = Receipt { peer, key: Key::Extent(extent) };
                self.arena.borrow(extent, move || drop(receipt))
            }
        }
    }

    /// One user more of an object that was lent to this process, if it still is.
    pub(crate) fn share_object(&self, id: ObjectId) -> Option<Receipt> {
        let peer = self.me.upgrade()?;
        let is_shared = lock(&self.borrowed).objects.share(id);
        is_shared.then(|| Receipt { peer, key: Key::Object(id) })
    }

    /// One user more of an actor that was lent to this process, if it still is.
    pub(crate) fn share_actor(&self, id: ActorId) -> Option<Receipt> {
        let peer = self.me.upgrade()?;
        let is_shared = lock(&self.borrowed).actors.share(id);
        is_shared.then(|| Receipt { peer, key: Key::Actor(id) })
    }

    /// Takes something as lent that the other side learns of with the next message.
    pub(crate) fn claim_actor(&self, id: ActorId) -> Option<Receipt> {
        let peer = self.me.upgrade()?;
        lock(&self.borrowed).actors.receive(id);
        Some(Receipt { peer, key: Key::Actor(id) })
    }

    /// The message did not go that was to tell of a claimed actor.
    pub(crate) fn withdraw_actor(&self, id: ActorId) {
        lock(&self.borrowed).actors.withdraw(id);
    }

    /// As [`withdraw_actor`](Self::withdraw_actor), of an object.
    pub(crate) fn withdraw_object(&self, id: ObjectId) {
        lock(&self.borrowed).objects.withdraw(id);
    }

    /// As [`claim_actor`](Self::claim_actor), of an object.
    pub(crate) fn claim_object(&self, id: ObjectId) -> Option<Receipt> {
        let peer = self.me.upgrade()?;
        lock(&self.borrowed).objects.receive(id);
        Some(Receipt { peer, key: Key::Object(id) })
    }
}

impl Witness for Peer {
    fn gone(&self, segments: &[SegmentId]) -> Vec<SegmentId> {
        let mut known = lock(&self.known);
        let segments: Vec<_> = segments.iter().copied().filter(|it| known.shown.remove(it)).collect();
        known.leaving.extend(&segments);
        drop(known);
        if !segments.is_empty() {
            // Behind all that named them; a peer that is gone has nothing mapped, as its end says.
            let _ = self.send(&Message::Forget { segments: segments.clone() }, None, When::Now);
        }
        segments
    }

    fn vanished(&self, segments: &[SegmentId]) {
        let mut known = lock(&self.known);
        let segments: Vec<_> = segments.iter().copied().filter(|it| known.parting.remove(it)).collect();
        drop(known);
        if !segments.is_empty() {
            let _ = self.send(&Message::Vacated { segments }, None, When::Now);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut borrowed = lock(&self.peer.borrowed);
        let (mut extents, mut objects, mut actors) = (Vec::new(), Vec::new(), Vec::new());
        match self.key {
            Key::Extent(key) => extents.extend(borrowed.extents.leave(key).map(|count| (key, count))),
            Key::Object(key) => objects.extend(borrowed.objects.leave(key).map(|count| (key, count))),
            Key::Actor(key) => actors.extend(borrowed.actors.leave(key).map(|count| (key, count))),
        }
        if extents.is_empty() && objects.is_empty() && actors.is_empty() {
            return;
        }
        drop(borrowed);
        let message = Message::Returned { extents, objects, actors };
        // The end of a call is told at once, and takes along what waits.
        let when = if crate::runtime::in_call() { When::Batch } else { When::Now };
        // A peer that is gone has everything back already.
        let _ = self.peer.send(&message, None, when);
    }
}

#[cfg(test)]
mod tests;
