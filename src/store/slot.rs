//! One object: the call that makes it, who waits for it, and its value.
//!
//! Small values stay where they are as long as their object. Others may leave memory for a file while
//! nobody reads them: who reads one pins it first, see [`stay`].

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;

use super::count::Tally;
use super::meter::{charge, settle};
use super::notify::{Waiter, defer_drop, notify};
use super::spill::{Size, watch};
use super::sync::{AtomicU8, AtomicU16, AtomicU32, Mutex, MutexGuard, Turn, fence};
use super::table::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActorId, CallerId, NodeId, ObjectId, Place, WorkerId};
use crate::spec::{Definition, Retry};
use crate::value::{Encoded, Packer, Unpacker, Value};

/// A future that stays on its thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where an attempt finds the state it works on.
pub(crate) enum Seat<'a> {
    /// A function: there is none.
    Free,
    /// An actor on a thread of its own.
    Exclusive(&'a mut dyn Any),
    /// An actor whose `&self` methods overlap on several threads.
    Shared(&'a dyn Any),
    /// An actor on a shared arbiter; the host lends it only where the borrow holds.
    Local(&'a Rc<RefCell<Box<dyn Any + Send>>>),
    /// A constructor: it leaves the new state here.
    Vacant(&'a mut Option<Built>),
}

/// A state fresh from its constructor.
pub(crate) enum Built {
    /// For one thread at a time.
    Own(Box<dyn Any + Send>),
    /// For several at once.
    Shared(Box<dyn Any + Send + Sync>),
}

/// How an attempt ended.
pub(crate) enum Progress {
    /// The slot is complete.
    Done,
    /// The user's code returned `Err`, or an argument could not be had.
    Failed(Error),
    /// To be polled on; says how it ended.
    Pending(LocalFuture<'static, Progress>),
}

/// The user's code with its arguments.
pub(crate) trait Job: Send + Sized + 'static {
    /// Runs the code once. The job stays in its place for another attempt unless this is the `last`.
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, seat: Seat<'_>, last: bool) -> Progress;
    /// Whether it needs the state for itself.
    fn is_exclusive(&self) -> bool;
    /// What it occupies while queued, in bytes.
    fn bytes(&self) -> usize;
    /// Writes its arguments, for another process to run it.
    fn pack(&self, packer: &mut Packer) -> Result<()>;
    /// Hands on an item of its stream that came from there. What is complete once there is room for
    /// more, if there is none.
    fn feed(&self, _item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        Err(Error::new(ErrorKind::Decode, "an item of what is no stream"))
    }
}

/// What stands for an object whose value is in another process; dropped with the object.
pub(crate) trait Away: Send + Sync {
    /// Somebody waits for the value: have it sent. Called once.
    fn wanted(&self);
}

/// What few objects have: what a call was told beyond its arguments, and what came of that.
#[derive(Default)]
pub(crate) struct Terms {
    /// How often it is tried; `None` leaves it to the class.
    pub(crate) retry: Option<Retry>,
    /// When it is to have ended.
    pub(crate) deadline: Option<Instant>,
    /// The calls it made, to be cancelled with it.
    pub(crate) children: Vec<Weak<dyn Object>>,
    /// How long `children` may get before those that are gone are dropped.
    children_max: usize,
    /// The attempt that runs, or ran last, from the second on; 0 before.
    attempt: u32,
    id: Option<Registered>,
    away: Option<AwayBox>,
    /// Attempts of the call in processes that are gone.
    before: u32,
    /// The value's bytes where other processes read them, once one did.
    shared: Option<Arc<std::sync::Mutex<Option<Bytes>>>>,
    /// Where the call is to run, if not on a thread here.
    place: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether the value is in memory, if it may leave it.
    stay: Option<Box<Stay>>,
}

struct AwayBox(Arc<dyn Away>);

/// Who waits; most objects have one waiter, which needs no allocation.
#[derive(Default)]
pub(crate) enum Waiters {
    #[default]
    None,
    One(Waiter),
    Many(Vec<Waiter>),
}

impl Waiters {
    fn push(&mut self, waiter: Waiter) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(waiter),
            Self::One(first) => Self::Many(vec![first, waiter]),
            Self::Many(mut all) => {
                all.push(waiter);
                Self::Many(all)
            }
        };
    }

    /// Tells them all; no lock may be held.
    fn tell(self, failed: bool) {
        match self {
            Self::None => {}
            Self::One(waiter) => notify([waiter], failed),
            Self::Many(all) => notify(all, failed),
        }
    }

    fn forget(&mut self, listener: *const ()) {
        let is_it = |waiter: &Waiter| Arc::as_ptr(&waiter.listener).cast() == listener;
        match self {
            Self::One(waiter) if is_it(waiter) => *self = Self::None,
            Self::Many(all) => all.retain(|waiter| !is_it(waiter)),
            Self::None | Self::One(_) => {}
        }
    }
}

/// The part of a slot that only its lock opens.
#[derive(Default)]
pub(crate) struct Control {
    waiters: Waiters,
    terms: Option<Box<Terms>>,
}

const EMPTY: u8 = 0;
/// Somebody writes the value.
const CLAIMED: u8 = 1;
/// The value of the call is there, but the call has not put its things away yet.
const DEPOSITED: u8 = 2;
const READY: u8 = 3;
const FAILED: u8 = 4;
const TAKEN: u8 = 5;

/// Flag: the call is to stop.
const CANCELLED: u8 = 1;
/// Flag: somebody read the failure.
const SEEN: u8 = 2;
/// Flag: the job belongs to who set this: who runs it, or who drops it because it never will.
const STARTED: u8 = 4;
/// Flag: the job needs its actor's state for itself.
const EXCLUSIVE: u8 = 8;
/// Flag: the value is in another process, which has not been asked for it.
const AWAY: u8 = 16;
/// Flag: the call has gone to another process, where it waits for those before it.
const AHEAD: u8 = 32;
/// Flag: the call waits for nothing but a thread and one CPU.
const PLAIN: u8 = 64;
/// Flag, set before the value is shown: it may leave memory, so who reads it pins it.
const SPILLS: u8 = 128;

/// The part of a slot that does not depend on its type.
pub(crate) struct Head {
    state: AtomicU8,
    flags: AtomicU8,
    /// What a value takes that stays, in units of 16 bytes, as long as it is counted.
    weight: AtomicU16,
    /// Counted refs. Only who holds the last one may move the value out.
    users: AtomicU32,
    /// What the call occupies while queued; 0 where there is no call.
    bytes: u32,
    definition: &'static Definition,
    /// The actor whose method this is, or `NOBODY`.
    actor: ActorId,
    /// Who made the call.
    caller: Option<CallerId>,
    control: Mutex<Control>,
}

/// In place of an actor, where none makes the object: an arena never counts so far.
const NOBODY: ActorId =
    ActorId { owner: WorkerId(u32::MAX), place: Place { index: u32::MAX, generation: u32::MAX } };

#[derive(Debug)]
struct Registered {
    id: ObjectId,
    table: Weak<Table<dyn Object>>,
}

/// An object of any type.
pub(crate) trait Object: Any + Send + Sync {
    /// What does not depend on the type.
    fn head(&self) -> &Head;
    /// The same, while nobody else knows the object.
    fn head_mut(&mut self) -> &mut Head;
    /// Completes the slot with an error; `false` if it was complete already.
    fn fail(&self, error: Error) -> bool;
    /// The error, if it failed.
    fn error(&self) -> Option<&Error>;
    /// The slot, for a downcast.
    fn as_any(&self) -> &dyn Any;
    /// An `Arc<dyn Of<T>>` of its type, for a downcast.
    fn typed(self: Arc<Self>) -> Box<dyn Any>;
    /// Runs the job once.
    ///
    /// # Safety
    ///
    /// The caller has set `STARTED`, and nobody else is inside this or `drop_job`.
    unsafe fn attempt(&self, this: &Arc<dyn Object>, seat: Seat<'_>, last: bool) -> Progress;
    /// Drops the job with its arguments.
    ///
    /// # Safety
    ///
    /// As for `attempt`.
    unsafe fn drop_job(&self);
    /// Writes the job's arguments.
    ///
    /// # Safety
    ///
    /// As for `attempt`.
    unsafe fn pack_job(&self, packer: &mut Packer) -> Result<()>;
    /// Hands an item to the reader of the job's stream.
    ///
    /// # Safety
    ///
    /// As for `attempt`.
    unsafe fn feed_job(&self, item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>>;
    /// Writes the value, or says why there is none.
    ///
    /// # Safety
    ///
    /// The caller has a counted ref, and the object is complete.
    unsafe fn pack_value(&self, packer: &mut Packer) -> Result<()>;
    /// Takes the value out of memory.
    ///
    /// # Safety
    ///
    /// The caller has moved the value's stay to `Moving`, and nobody else has pinned it.
    unsafe fn evict(&self);
    /// Puts a value back that was taken out.
    ///
    /// # Safety
    ///
    /// As for `evict`.
    unsafe fn restore(&self, value: Encoded) -> Result<()>;
    /// Leaves a value that came as bytes in the slot, to be shown later.
    fn deposit_bytes(&self, value: &mut Unpacker<'_>) -> Result<()>;
    /// Completes the slot with a value that came as bytes, or with why it cannot be read.
    fn fill(&self, value: &mut Unpacker<'_>) -> bool;
}

/// An object whose value is a `T`.
pub(crate) trait Of<T: 'static>: Object {
    /// Where the value is.
    fn slot(&self) -> &Slot<T>;
}

/// A call and its result in one piece of memory.
struct Call<T: 'static, J: 'static> {
    slot: Slot<T>,
    job: Turn<Option<J>>,
}

// SAFETY: the job is touched only by the one thread that set `STARTED` under the lock (see `start` and
// `Head::show`), or by `Drop`, which is alone; it moves between threads, hence `J: Send` (of `Job`).
unsafe impl<T: Send + Sync, J: Job> Sync for Call<T, J> {}

/// The value of an object: one that is there from the start, or that somebody completes.
pub(crate) struct Slot<T: 'static> {
    head: Head,
    value: Turn<Option<Result<T>>>,
}

// SAFETY: the value is written once, by whoever moved `state` from `EMPTY` to `CLAIMED`, before `state`
// becomes `READY` or `FAILED` (release); it is read only after `state` was seen as `READY` or `FAILED` (acquire), shared between
// threads as `&T` (hence `T: Sync`), and moved out to another thread (hence `T: Send`) only by the
// holder of the last counted ref, see `Counted::take`.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

/// Slots that exist in this process.
static LIVE: Tally = Tally::new();

impl Head {
    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes the object.
    pub(crate) fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// The actor that makes it, if one does.
    pub(crate) fn actor(&self) -> Option<ActorId> {
        (self.actor != NOBODY).then_some(self.actor)
    }

    /// Says whose constructor this is.
    pub(crate) fn set_actor(&mut self, actor: ActorId) {
        self.actor = actor;
    }

    /// An error that nobody has said the place of arose here.
    pub(crate) fn placed(&self, error: Error) -> Error {
        let attempt = self.lock().terms.as_ref().map_or(0, |terms| terms.attempt);
        error.at(self.definition.name, NodeId(0), attempt.max(1))
    }

    /// Who made the call.
    pub(crate) fn caller(&self) -> Option<CallerId> {
        self.caller
    }

    /// Whether the call needs its actor's state for itself.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & EXCLUSIVE != 0
    }

    /// Whether there is a value or an error.
    pub(crate) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) >= READY
    }

    /// Whether there is an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == FAILED
    }

    /// Whether the call is to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & CANCELLED != 0
    }

    /// Tells the call to stop, if it can hear.
    pub(crate) fn set_cancelled(&self) {
        self.flags.fetch_or(CANCELLED, Ordering::Relaxed);
    }

    /// Whether the call runs, or ran.
    pub(crate) fn is_under_way(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (STARTED | AHEAD) == STARTED
    }

    /// Says whether the call waits in another process for those before it.
    pub(crate) fn set_ahead(&self, is_ahead: bool) {
        if is_ahead {
            self.flags.fetch_or(AHEAD, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!AHEAD, Ordering::Relaxed);
        }
    }

    /// Says that the call waits for nothing but a thread and one CPU.
    pub(crate) fn set_plain(&self) {
        self.flags.fetch_or(PLAIN, Ordering::Relaxed);
    }

    /// Whether any thread that has a CPU may run it.
    pub(crate) fn is_plain(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & PLAIN != 0
    }

    /// Says where the call is to run, if not on a thread here.
    pub(crate) fn set_place(&self, place: Arc<dyn Any + Send + Sync>) {
        self.lock().terms.get_or_insert_default().place = Some(place);
    }

    /// Where it is to run.
    pub(crate) fn place(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.lock().terms.as_ref()?.place.clone()
    }

    /// Where the value's bytes are kept for other processes, once they were placed.
    fn shared(&self) -> Arc<std::sync::Mutex<Option<Bytes>>> {
        self.lock().terms.get_or_insert_default().shared.get_or_insert_default().clone()
    }

    /// Says how many attempts there were in processes that are gone.
    pub(crate) fn set_before(&self, attempts: u32) {
        self.lock().terms.get_or_insert_default().before = attempts;
    }

    /// Whether the call has left its queue.
    pub(crate) fn has_started(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & STARTED != 0
    }

    /// Notes that somebody learned of the failure.
    pub(crate) fn set_seen(&self) {
        self.flags.fetch_or(SEEN, Ordering::Relaxed);
    }

    /// How many counted refs there are.
    pub(crate) fn users(&self) -> u32 {
        self.users.load(Ordering::Acquire)
    }

    /// Has `waiter` told when the object is complete; gives it back if it is so already.
    pub(crate) fn listen(&self, waiter: Waiter) -> Option<Waiter> {
        if self.is_complete() {
            return Some(waiter);
        }
        let mut control = self.lock();
        if self.is_complete() {
            return Some(waiter);
        }
        control.waiters.push(waiter);
        let away = self.ask_for_it(&control);
        drop(control);
        if let Some(away) = away {
            away.wanted();
        }
        None
    }

    /// Who is to be told, once, that the value is wanted here.
    fn ask_for_it(&self, control: &Control) -> Option<Arc<dyn Away>> {
        let was_away = self.flags.fetch_and(!AWAY, Ordering::Relaxed) & AWAY != 0;
        let away = was_away.then(|| control.terms.as_ref()?.away.as_ref());
        away.flatten().map(|away| away.0.clone())
    }

    /// The id, if it has one.
    pub(crate) fn known_id(&self) -> Option<ObjectId> {
        self.lock().terms.as_ref()?.id.as_ref().map(|registered| registered.id)
    }

    /// Has the value sent, if it is in another process and nobody has asked for it.
    pub(crate) fn want(&self) {
        if self.flags.load(Ordering::Relaxed) & AWAY == 0 {
            return;
        }
        let away = self.ask_for_it(&self.lock());
        if let Some(away) = away {
            away.wanted();
        }
    }

    /// Says that the value is in another process, under this id; `away` goes with the object.
    pub(crate) fn set_away(&self, id: ObjectId, away: Arc<dyn Away>, ask: bool) {
        let mut control = self.lock();
        let terms = control.terms.get_or_insert_default();
        terms.id.get_or_insert(Registered { id, table: Weak::<Table<dyn Object>>::new() });
        terms.away = Some(AwayBox(away));
        if ask {
            self.flags.fetch_or(AWAY, Ordering::Relaxed);
        }
    }

    /// Forgets the waits of `listener`.
    pub(crate) fn unlisten(&self, listener: *const ()) {
        if !self.is_complete() {
            let mut control = self.lock();
            control.waiters.forget(listener);
        }
    }

    /// Sets how often the call is tried.
    pub(crate) fn set_retry(&self, retry: Retry) {
        self.lock().terms.get_or_insert_default().retry = Some(retry);
    }

    /// Sets when the call is to have ended.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        self.lock().terms.get_or_insert_default().deadline = Some(deadline);
    }

    /// When the call is to have ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lock().terms.as_ref().and_then(|terms| terms.deadline)
    }

    /// Notes a call that this one made; `false` if this one was cancelled before.
    pub(crate) fn adopt(&self, child: &Arc<dyn Object>) -> bool {
        let mut control = self.lock();
        let terms = control.terms.get_or_insert_default();
        if terms.children.len() >= terms.children_max.max(16) {
            terms.children.retain(|child| child.upgrade().is_some_and(|child| !child.head().is_complete()));
            terms.children_max = terms.children.len() * 2;
        }
        terms.children.push(Arc::downgrade(child));
        !self.is_cancelled()
    }

    fn children(&self) -> Vec<Weak<dyn Object>> {
        let mut control = self.lock();
        control.terms.as_mut().map(|terms| std::mem::take(&mut terms.children)).unwrap_or_default()
    }

    /// The object's id, made when first asked for.
    pub(crate) fn id(
        &self,
        this: &Weak<dyn Object>,
        owner: WorkerId,
        table: &Arc<Table<dyn Object>>,
    ) -> ObjectId {
        let mut control = self.lock();
        let make = || Registered {
            id: ObjectId { owner, place: table.insert(this.clone()) },
            table: Arc::downgrade(table),
        };
        control.terms.get_or_insert_default().id.get_or_insert_with(make).id
    }
}

impl fmt::Debug for dyn Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object of `{}`", self.head().definition.name)
    }
}

impl dyn Object {
    /// Completes the call with `error`, and the calls that it made with it.
    pub(crate) fn cancel(&self, error: &Error) {
        // Failed first: what returns because it was told to stop must not look as if it had succeeded.
        self.fail(error.clone());
        self.head().set_cancelled();
        let mut rest = self.head().children();
        while let Some(child) = rest.pop() {
            let Some(child) = child.upgrade() else { continue };
            child.fail(error.clone());
            child.head().set_cancelled();
            rest.extend(child.head().children());
        }
    }
}

impl<T: Value> Slot<T> {
    /// A slot whose value is there.
    pub(crate) fn full(definition: &'static Definition, value: T) -> Arc<Self> {
        let size = Size::of(&value);
        size.charge();
        Self::counted(definition, value, size)
    }

    /// As `full`, of a value that was counted.
    pub(crate) fn counted(definition: &'static Definition, value: T, size: Size) -> Arc<Self> {
        LIVE.add(1);
        let head = Head::new(definition, READY);
        head.note_size(size);
        Arc::new(Self { head, value: Turn::new(Some(Ok(value))) })
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// A slot that somebody will complete.
    pub(crate) fn empty(definition: &'static Definition) -> Arc<Self> {
        LIVE.add(1);
        Arc::new(Self { head: Head::new(definition, EMPTY), value: Turn::new(None) })
    }

    fn failure(&self) -> Option<&Error> {
        if !self.head.has_failed() {
            return None;
        }
        // SAFETY: the state is `FAILED` (acquire), after which the value is never written nor moved.
        match unsafe { &*self.value.read() } {
            Some(Err(error)) => Some(error),
            _ => None,
        }
    }
}

impl<T: Value> Slot<T> {
    /// Writes `result` if nobody else completes the slot; gives it back otherwise.
    fn claim(&self, result: Result<T>) -> std::result::Result<(), Result<T>> {
        let claimed = self.head.state.compare_exchange(EMPTY, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_err() {
            return Err(result);
        }
        if let Ok(value) = &result {
            let size = Size::of(value);
            size.charge();
            self.head.note_size(size);
        }
        // SAFETY: only one thread ever moves `state` from `EMPTY` to `CLAIMED`, and nobody reads the
        // value before `state` says more than that.
        unsafe { *self.value.write() = Some(result) };
        Ok(())
    }

    /// Leaves the call's value in the slot, to be shown by [`publish`] once the call has put its things
    /// away; dropped if the slot was completed from outside.
    pub(crate) fn deposit(&self, value: T) {
        match self.claim(Ok(value)) {
            Ok(()) => self.head.state.store(DEPOSITED, Ordering::Release),
            Err(late) => defer_drop(late),
        }
    }

    /// Completes the slot; `false`, and `result` dropped, if it was complete already.
    pub(crate) fn complete(&self, result: Result<T>) -> bool {
        self.complete_then(result, || {})
    }

    /// As `complete`; `never_started` follows if the job now belongs to the caller, before anyone is told.
    fn complete_then(&self, result: Result<T>, never_started: impl FnOnce()) -> bool {
        let state = if result.is_ok() { READY } else { FAILED };
        let result = result.map_err(|error| self.head.placed(error));
        if let Err(late) = self.claim(result) {
            defer_drop(late);
            return false;
        }
        let (waiters, owns_job) = self.head.show(state);
        if owns_job {
            never_started();
        }
        waiters.tell(state == FAILED);
        true
    }
}

/// A call that left its queue: the one right to run it.
pub(crate) struct Started {
    object: Arc<dyn Object>,
    retry: Option<Retry>,
    attempts: u32,
    before: u32,
    has_yielded: bool,
}

/// Takes a call out of its queue; `None` if it was completed from outside, or has started already.
pub(crate) fn start(object: Arc<dyn Object>) -> Option<Started> {
    let head = object.head();
    let control = head.lock();
    if head.has_started() || head.state.load(Ordering::Relaxed) != EMPTY {
        return None;
    }
    head.flags.fetch_or(STARTED, Ordering::Relaxed);
    let terms = control.terms.as_ref();
    let (retry, before) = (terms.and_then(|terms| terms.retry), terms.map_or(0, |terms| terms.before));
    drop(control);
    settle(head.bytes as usize);
    Some(Started { object, retry, attempts: 0, before, has_yielded: false })
}

impl Started {
    /// The object that the call makes.
    pub(crate) fn object(&self) -> &Arc<dyn Object> {
        &self.object
    }

    /// Writes the arguments, for another process to run the call.
    pub(crate) fn pack(&self, packer: &mut Packer) -> Result<()> {
        // SAFETY: `start` gave this the one right to the job.
        unsafe { self.object.pack_job(packer) }
    }

    /// Leaves a value that came from another process in the object, to be shown by `publish`.
    pub(crate) fn deposit(&self, value: &mut Unpacker<'_>) -> Result<()> {
        self.object.deposit_bytes(value)
    }

    /// Attempts in processes that are gone.
    pub(crate) fn before(&self) -> u32 {
        self.before
    }

    /// Hands an item that came from another process to the reader of the call's stream.
    pub(crate) fn feed(&mut self, item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        self.has_yielded = true;
        // SAFETY: as in `pack`.
        unsafe { self.object.feed_job(item) }
    }

    /// Whether an item came from another process: what was yielded cannot be taken back.
    pub(crate) fn has_yielded(&self) -> bool {
        self.has_yielded
    }

    /// How often it is tried, if the call itself says so.
    pub(crate) fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// Runs the code once. Arguments are kept for another attempt unless this is the `last`.
    pub(crate) fn attempt(&mut self, seat: Seat<'_>, last: bool) -> Progress {
        self.attempts += 1;
        if self.attempts > 1 {
            self.object.head().lock().terms.get_or_insert_default().attempt = self.attempts;
        }
        // SAFETY: `start` made this, after it alone set `STARTED`; `&mut self` keeps others out.
        unsafe { self.object.attempt(&self.object, seat, last) }
    }

    /// Drops the arguments.
    pub(crate) fn put_away(&mut self) {
        // SAFETY: as in `attempt`.
        unsafe { self.object.drop_job() }
    }

    /// Shows the value that the call has deposited, if it has, and tells who waits for it. The thread's
    /// hold on the object ends before anyone is told, so that mostly the thread that made the object
    /// frees its memory, too.
    pub(crate) fn publish(self) {
        let waiters = self.object.head().reveal();
        let watched = self.object.head().spills().then(|| self.object.clone());
        drop(self);
        waiters.tell(false);
        if let Some(object) = watched {
            watch(&object);
        }
    }

    /// As [`Started::publish`], keeping the call for another attempt.
    pub(crate) fn show(&self) {
        self.object.head().reveal().tell(false);
        watch(&self.object);
    }
}

impl Head {
    /// Makes a deposited value visible, and tells who waits for it.
    pub(crate) fn show_deposited(&self) {
        self.reveal().tell(false);
    }

    /// Makes a deposited value visible; who waits for it.
    fn reveal(&self) -> Waiters {
        if self.state.load(Ordering::Acquire) != DEPOSITED {
            return Waiters::None;
        }
        let mut control = self.lock();
        self.state.store(READY, Ordering::Release);
        std::mem::take(&mut control.waiters)
    }

    /// Makes the state visible. Who waits, and whether the job has become the caller's.
    fn show(&self, state: u8) -> (Waiters, bool) {
        let mut control = self.lock();
        self.state.store(state, Ordering::Release);
        let waiters = std::mem::take(&mut control.waiters);
        let owns_job = self.flags.fetch_or(STARTED, Ordering::Relaxed) & STARTED == 0;
        drop(control);
        if owns_job {
            settle(self.bytes as usize);
        }
        (waiters, owns_job)
    }
}

/// A call that `job` is, queued nowhere yet.
pub(crate) fn call<T: Value, J: Job>(
    definition: &'static Definition,
    caller: CallerId,
    actor: Option<ActorId>,
    job: J,
) -> Arc<dyn Of<T>> {
    let flags = if job.is_exclusive() { EXCLUSIVE } else { 0 };
    let bytes = u32::try_from(job.bytes()).unwrap_or(u32::MAX);
    charge(bytes as usize);
    LIVE.add(1);
    let mut head = Head::new(definition, EMPTY);
    (head.caller, head.bytes) = (Some(caller), bytes);
    head.actor = actor.unwrap_or(NOBODY);
    head.flags = AtomicU8::new(flags);
    let slot = Slot { head, value: Turn::new(None) };
    Arc::new(Call { slot, job: Turn::new(Some(job)) })
}

impl<T: Value, J: Job> Object for Call<T, J> {
    fn head(&self) -> &Head {
        &self.slot.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.slot.head
    }

    fn fail(&self, error: Error) -> bool {
        // SAFETY: `show` has just set `STARTED` for this thread alone.
        self.slot.complete_then(Err(error), || unsafe { self.drop_job() })
    }

    fn error(&self) -> Option<&Error> {
        self.slot.error()
    }

    fn as_any(&self) -> &dyn Any {
        &self.slot
    }

    fn typed(self: Arc<Self>) -> Box<dyn Any> {
        let typed: Arc<dyn Of<T>> = self;
        Box::new(typed)
    }

    unsafe fn attempt(&self, this: &Arc<dyn Object>, seat: Seat<'_>, last: bool) -> Progress {
        // SAFETY: the caller alone may touch the job.
        J::attempt(unsafe { &mut *self.job.write() }, this, seat, last)
    }

    unsafe fn drop_job(&self) {
        // SAFETY: the caller alone may touch the job.
        defer_drop(unsafe { (*self.job.write()).take() });
    }

    unsafe fn pack_job(&self, packer: &mut Packer) -> Result<()> {
        // SAFETY: the caller alone may touch the job.
        let job = unsafe { &*self.job.read() };
        job.as_ref().ok_or_else(spent)?.pack(packer)
    }

    unsafe fn feed_job(&self, item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        // SAFETY: the caller alone may touch the job.
        let job = unsafe { &*self.job.read() };
        job.as_ref().ok_or_else(spent)?.feed(item)
    }

    unsafe fn pack_value(&self, packer: &mut Packer) -> Result<()> {
        // SAFETY: passed on.
        unsafe { self.slot.pack_value(packer) }
    }

    unsafe fn evict(&self) {
        // SAFETY: passed on.
        unsafe { self.slot.evict() }
    }

    unsafe fn restore(&self, value: Encoded) -> Result<()> {
        // SAFETY: passed on.
        unsafe { self.slot.restore(value) }
    }

    fn deposit_bytes(&self, value: &mut Unpacker<'_>) -> Result<()> {
        self.slot.deposit(value.value::<T>()?);
        Ok(())
    }

    fn fill(&self, value: &mut Unpacker<'_>) -> bool {
        let result = value.value::<T>();
        // SAFETY: `show` has just set `STARTED` for this thread alone.
        self.slot.complete_then(result, || unsafe { self.drop_job() })
    }
}

/// A job that has had its last attempt.
fn spent() -> Error {
    Error::new(ErrorKind::Unsupported, "the call has had its last attempt")
}

impl<T: Value, J: Job> Of<T> for Call<T, J> {
    fn slot(&self) -> &Slot<T> {
        &self.slot
    }
}

impl<T: 'static, J: 'static> Drop for Call<T, J> {
    fn drop(&mut self) {
        defer_drop(self.job.get_mut().take());
    }
}

impl Head {
    fn new(definition: &'static Definition, state: u8) -> Self {
        Self {
            state: AtomicU8::new(state),
            flags: AtomicU8::new(0),
            users: AtomicU32::new(0),
            definition,
            actor: NOBODY,
            caller: None,
            bytes: 0,
            weight: AtomicU16::new(0),
            control: Mutex::default(),
        }
    }
}

impl<T: Value> Object for Slot<T> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fail(&self, error: Error) -> bool {
        self.complete(Err(error))
    }

    fn error(&self) -> Option<&Error> {
        self.failure()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn typed(self: Arc<Self>) -> Box<dyn Any> {
        let typed: Arc<dyn Of<T>> = self;
        Box::new(typed)
    }

    unsafe fn attempt(&self, _: &Arc<dyn Object>, _: Seat<'_>, _: bool) -> Progress {
        unreachable!("what has no call is never started")
    }

    unsafe fn drop_job(&self) {}

    unsafe fn pack_job(&self, _: &mut Packer) -> Result<()> {
        Err(spent())
    }

    unsafe fn feed_job(&self, _: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        Err(spent())
    }

    unsafe fn pack_value(&self, packer: &mut Packer) -> Result<()> {
        // SAFETY: the state says that the value was written, and the caller's counted ref keeps it there.
        match unsafe { &*self.value.read() } {
            Some(Ok(value)) if self.head.state.load(Ordering::Acquire) == READY => {
                packer.value_once(value, || self.head.shared())
            }
            Some(Err(error)) => Err(error.clone()),
            _ => Err(moved_out()),
        }
    }

    unsafe fn evict(&self) {
        // SAFETY: nobody reads it, since nobody has pinned it, nor writes it, since the caller alone moves it.
        defer_drop(unsafe { (*self.value.write()).take() });
    }

    unsafe fn restore(&self, value: Encoded) -> Result<()> {
        let value = value.read::<T>()?;
        // SAFETY: as in `evict`.
        unsafe { *self.value.write() = Some(Ok(value)) };
        Ok(())
    }

    fn deposit_bytes(&self, value: &mut Unpacker<'_>) -> Result<()> {
        self.deposit(value.value::<T>()?);
        Ok(())
    }

    fn fill(&self, value: &mut Unpacker<'_>) -> bool {
        self.complete(value.value::<T>())
    }
}

impl<T: Value> Of<T> for Slot<T> {
    fn slot(&self) -> &Slot<T> {
        self
    }
}

impl<T: 'static> Drop for Slot<T> {
    fn drop(&mut self) {
        LIVE.add(-1);
        let control = self.head.control.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(registered) = control.terms.as_mut().and_then(|terms| terms.id.take())
            && let Some(table) = registered.table.upgrade()
        {
            table.remove(registered.id.place);
        }
        if !self.head.has_started() {
            settle(self.head.bytes as usize);
        }
        self.head.uncount();
        match self.value.get_mut().take() {
            Some(Err(error)) => log_unread(&self.head, &error),
            Some(Ok(value)) => defer_drop(value),
            None => {}
        }
    }
}

/// A failure that nobody read is said once; that it was cancelled or shut down is no news.
fn log_unread(head: &Head, error: &Error) {
    let quiet = matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Shutdown);
    if !quiet && head.flags.load(Ordering::Relaxed) & SEEN == 0 {
        tracing::warn!(target: "mobula", "nobody read the failure of `{}`: {error:?}", head.definition.name);
    }
}

/// How many slots exist in this process.
pub(crate) fn live() -> i64 {
    LIVE.sum()
}

/// A ref that counts: while one exists the value stays, and only the last one can move it out.
///
/// All counted refs to an object share one count of the `Arc`: who raises `users` from zero brings it,
/// who lowers it to zero drops it. So a clone is one atomic operation.
pub(crate) struct Counted<O: Object + ?Sized> {
    object: ManuallyDrop<Arc<O>>,
}

impl<O: Object + ?Sized> Counted<O> {
    /// The first ref to an object that nobody else can reach yet, or one more beside another.
    pub(crate) fn new(object: Arc<O>) -> Self {
        let is_first = object.head().users.fetch_add(1, Ordering::Relaxed) == 0;
        Self::keep(object, is_first)
    }

    /// A ref to an object that was found by its id; `None` if its value was moved out.
    pub(crate) fn found(object: Arc<O>) -> Option<Self> {
        let control = object.head().lock();
        let taken = object.head().state.load(Ordering::Acquire) == TAKEN;
        let is_first = !taken && object.head().users.fetch_add(1, Ordering::Relaxed) == 0;
        drop(control);
        (!taken).then(|| Self::keep(object, is_first))
    }

    /// Keeps the count of `object` for all refs, or gives it back if they have one.
    fn keep(object: Arc<O>, is_first: bool) -> Self {
        let this = Self { object: ManuallyDrop::new(object) };
        if !is_first {
            // SAFETY: `users` was not zero, so the refs hold one count of the `Arc` already and will drop
            // it after `users`, which counts this one too, is zero. The copy is the count given back.
            drop(unsafe { ptr::read(&raw const *this.object) });
        }
        this
    }

    /// The object, uncounted: it may be completed and waited for, but not read.
    pub(crate) fn object(&self) -> &Arc<O> {
        &self.object
    }
}

impl<O: Object + ?Sized> Clone for Counted<O> {
    fn clone(&self) -> Self {
        self.object.head().users.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `users` counts the copy, and the refs' one count of the `Arc` stays until it is zero.
        let object = ManuallyDrop::new(unsafe { ptr::read(&raw const *self.object) });
        Self { object }
    }
}

impl<O: Object + ?Sized> Drop for Counted<O> {
    fn drop(&mut self) {
        if self.object.head().users.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: this lowered `users` to zero, so it is this ref that drops the refs' one count; it
            // is dropped once, since `drop` runs once. A ref made from now on brings a count of its own.
            unsafe { ManuallyDrop::drop(&mut self.object) };
        }
    }
}

impl<T: Send + Sync + 'static> Counted<dyn Of<T>> {
    /// The value or the error, if it is complete. Whoever reads an error has seen it. A value that may leave
    /// memory is read by way of [`pin`](Self::pin).
    pub(crate) fn value(&self) -> Option<std::result::Result<&T, &Error>> {
        if self.object.head().spills() {
            return None;
        }
        // SAFETY: it does not leave memory.
        unsafe { self.look() }
    }

    /// As [`value`](Self::value).
    ///
    /// # Safety
    ///
    /// The value does not leave memory while it is borrowed: it never does, or somebody has pinned it.
    unsafe fn look(&self) -> Option<std::result::Result<&T, &Error>> {
        let slot = self.object.slot();
        match slot.head.state.load(Ordering::Acquire) {
            // SAFETY: the state says that the value was written and, since this ref is counted and
            // lives as long as the borrow, `take` cannot have moved it nor move it meanwhile; nor does it
            // leave memory, as the caller says.
            READY => match unsafe { &*slot.value.read() } {
                Some(Ok(value)) => Some(Ok(value)),
                _ => None,
            },
            FAILED => {
                slot.head.set_seen();
                slot.failure().map(Err)
            }
            _ => None,
        }
    }

    /// What `f` makes of the value, which stays in memory meanwhile.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&T) -> R) -> Result<R> {
        let pins = Pins::default();
        pins.read(self).map(f)
    }

    /// Moves the value out if this is the last counted ref and the value is there.
    pub(crate) fn take(self) -> std::result::Result<T, Self> {
        // Who cannot have it back in memory says so when it is read.
        if self.object.head().users() > 1 || self.enter().is_err() {
            return Err(self);
        }
        let slot = self.object.slot();
        let head = &slot.head;
        let control = head.lock();
        let last = head.users.load(Ordering::Relaxed) == 1;
        if !last || head.state.load(Ordering::Acquire) != READY {
            drop(control);
            head.unpin();
            return Err(self);
        }
        // Refs that were dropped on other threads have done their reading.
        fence(Ordering::Acquire);
        head.state.store(TAKEN, Ordering::Release);
        // SAFETY: this is the only counted ref, so nobody else has pinned the value, and it stays in memory, since
        // it was pinned here; a new ref can be had from another (there is none) or
        // by id through `found`, which needs the lock held here and then sees `TAKEN`. Uncounted
        // holders never read a value. So nobody else reads it now or later.
        let value = unsafe { (*slot.value.write()).take() };
        drop(control);
        match value {
            Some(Ok(value)) => {
                head.uncount();
                Ok(value)
            }
            _ => unreachable!("a slot that is ready holds a value"),
        }
    }
}

/// A ref that keeps the value in memory.
pub(crate) struct Pinned<O: Object + ?Sized>(Counted<O>);

impl<T: Send + Sync + 'static> Pinned<dyn Of<T>> {
    /// The value, or why there is none.
    pub(crate) fn value(&self) -> Result<&T> {
        // SAFETY: this has pinned it, and lives as long as the borrow.
        found(unsafe { self.0.look() })
    }
}

fn found<'a, T>(looked: Option<std::result::Result<&'a T, &Error>>) -> Result<&'a T> {
    looked.ok_or_else(moved_out)?.map_err(Error::clone)
}

/// Values that are read: they stay in memory until this is dropped.
#[derive(Default)]
pub struct Pins(std::sync::Mutex<Vec<Box<dyn Any + Send + Sync>>>);

impl Pins {
    /// The value of a ref, or why there is none.
    pub(crate) fn read<'a, T: Send + Sync + 'static>(
        &'a self,
        counted: &'a Counted<dyn Of<T>>,
    ) -> Result<&'a T> {
        if !counted.object.head().spills() {
            return found(counted.value());
        }
        let pinned = Box::new(counted.pin()?);
        let value: *const T = pinned.value()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pinned);
        // SAFETY: the pinned ref is dropped with this alone, which lives as long as the borrow; until then the
        // value stays where it is.
        Ok(unsafe { &*value })
    }
}

fn moved_out() -> Error {
    Error::new(ErrorKind::ObjectLost, "the value was moved out")
}

impl<O: Object + ?Sized> fmt::Debug for Pinned<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<O: Object + ?Sized> fmt::Debug for Counted<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ref to the result of `{}`", self.object.head().definition.name)
    }
}

mod stay;

use stay::Stay;

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(test)]
mod tests;
