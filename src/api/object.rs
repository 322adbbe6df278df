//! [`ObjectRef`]: a value that is there or still to come, and what one does with it.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::session;
use crate::error::{Error, ErrorKind, Result};
use crate::executor;
use crate::id::ObjectId;
use crate::runtime::{self, Answer, Pause, Question, Station, Waiting, Wanted, with_frame};
use crate::spec::Definition;
use crate::store::{self, Counted, Listener, Object, Of, Pinned, Pins, Slot, Waiter};
use crate::value;

/// A ref to the result of a call, or to a value that was [`put`].
///
/// Pass it to other calls, which then wait for it; clone it, store it, return it. The value lives while
/// a ref to it does. Dropping a ref does not cancel the call.
pub struct ObjectRef<T: Send + Sync + 'static>(Counted<dyn Of<T>>);

impl<T: Send + Sync + 'static> ObjectRef<T> {
    pub(super) fn new(object: Arc<dyn Of<T>>) -> Self {
        Self(Counted::new(object))
    }

    /// A ref that has failed from the start.
    pub(super) fn failed(definition: &'static Definition, error: Error) -> Self
    where
        T: value::Value,
    {
        let slot = Slot::empty(definition);
        slot.fail(error);
        Self::new(slot)
    }

    /// Writes the value, which is there, for another process.
    pub(super) fn pack(&self, packer: &mut value::Packer) -> Result<()> {
        self.0.pack(packer)
    }

    /// Its id, and what keeps it alive while bytes name it.
    pub(super) fn named(&self) -> Result<(ObjectId, value::Kept)> {
        let kept: Counted<dyn Object> = Counted::new(self.object());
        Ok((self.id()?, Arc::new(kept)))
    }

    pub(super) fn slot(&self) -> &Arc<dyn Of<T>> {
        self.0.object()
    }

    /// The object, uncounted and untyped.
    pub(super) fn object(&self) -> Arc<dyn Object> {
        self.0.object().clone()
    }

    fn is_ready(&self) -> bool {
        self.slot().head().is_complete()
    }

    /// Why there is no value, if it failed.
    pub(super) fn failure(&self) -> Option<Error> {
        self.0.read(|_| ()).err()
    }

    /// The value where it lies, and stays as long as `pins`; for a call whose arguments are there.
    pub(super) fn peek<'a>(&'a self, pins: &'a Pins) -> Result<&'a T> {
        pins.read(&self.0)
    }

    /// A copy of the value; on a thread that others share it waits for no room.
    fn read_now(&self) -> Result<T>
    where
        T: Clone,
    {
        store::hurrying(|| self.0.read(T::clone))
    }

    /// The value, moved if this is the last ref.
    pub(super) fn take_or_clone(self) -> Result<T>
    where
        T: Clone,
    {
        self.0.take().or_else(|counted| counted.read(T::clone))
    }

    /// Waits until the value is there, at most until a time.
    fn wait(&self, until: Option<Instant>) -> Result<()> {
        runtime::may_block()?;
        if self.is_ready() {
            return Ok(());
        }
        let wanted = Wanted { count: 1, or_failure: false, until };
        if runtime::wait_for(&[self.object()], wanted)? {
            return Ok(());
        }
        Err(too_late(self.slot().head().definition().name))
    }

    /// Waits for the value and clones it.
    ///
    /// The error is that of the call; `BlockingInAsync` on a thread that async calls share, and
    /// `Deadlock` if the value could never come because it waits for the caller.
    pub fn get(&self) -> Result<T>
    where
        T: Clone,
    {
        self.wait(None)?;
        self.0.read(T::clone)
    }

    /// As [`get`](Self::get), but `Timeout` if the value has not come after `timeout`. The call goes on.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T>
    where
        T: Clone,
    {
        self.wait(Instant::now().checked_add(timeout))?;
        self.0.read(T::clone)
    }

    /// Waits for the value and borrows it where it lies, without a copy. Errors as [`get`](Self::get).
    pub fn view(&self) -> Result<View<T>> {
        self.wait(None)?;
        let pinned = self.0.pin()?;
        pinned.value()?;
        Ok(View(pinned))
    }

    /// Waits for the value and moves it out, if this is the last ref to it.
    ///
    /// Errors as [`get`](Self::get), and `Unsupported` if there are other refs.
    pub fn into_inner(self) -> Result<T> {
        self.wait(None)?;
        self.0.take().map_err(|counted| match counted.read(|_| ()) {
            Err(error) => error,
            Ok(()) => Error::new(ErrorKind::Unsupported, "other refs to this object exist: use get or view"),
        })
    }

    /// The object's id. Looking at ids costs a table entry for each object, until it goes.
    pub fn id(&self) -> Result<ObjectId> {
        match session::with_runtime(|runtime| runtime.ask(Question::Identify(&self.object())))?? {
            Answer::Id(id) => Ok(id),
            _ => unreachable!("asked for an id"),
        }
    }
}

fn too_late(name: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("`{name}` was not there in time; it goes on"))
}

impl<A, B> ObjectRef<(A, B)>
where
    A: value::Value + Clone,
    B: value::Value + Clone,
{
    /// Two refs, one to each half, as from a call with two results. They are there when the pair is. More
    /// than two results are pairs of pairs.
    pub fn split(self) -> (ObjectRef<A>, ObjectRef<B>) {
        let definition = self.slot().head().definition();
        let (a, b) = (Slot::empty(definition), Slot::empty(definition));
        let halves = (ObjectRef::new(a.clone()), ObjectRef::new(b.clone()));
        let source = self.object();
        let split = Arc::new(Split(Mutex::new(Some((self, a, b)))));
        if let Some(waiter) = source.head().listen(Waiter { listener: split, token: 0 }) {
            waiter.listener.ready(0, false);
        }
        halves
    }
}

/// Hands the halves of a pair to their refs.
struct Split<A, B>(Mutex<Option<Halves<A, B>>>)
where
    A: Send + Sync + 'static,
    B: Send + Sync + 'static;

type Halves<A, B> = (ObjectRef<(A, B)>, Arc<Slot<A>>, Arc<Slot<B>>);

impl<A, B> Listener for Split<A, B>
where
    A: value::Value + Clone,
    B: value::Value + Clone,
{
    fn ready(&self, _: usize, _: bool) {
        let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((pair, a, b)) = halves else { return };
        // The clone is users' code, and runs on whatever thread completes the pair.
        match executor::caught(|| pair.take_or_clone()) {
            Ok((left, right)) => {
                a.complete(Ok(left));
                b.complete(Ok(right));
            }
            Err(error) => {
                a.fail(error.clone());
                b.fail(error);
            }
        }
    }
}

impl<T: Send + Sync + 'static> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.slot().head();
        let state = match (head.is_complete(), head.has_failed()) {
            (false, _) => "pending",
            (true, false) => "ready",
            (true, true) => "failed",
        };
        write!(f, "ObjectRef<{}>(`{}`, {state})", std::any::type_name::<T>(), head.definition().name)
    }
}

/// Two refs are equal if they are refs to one object, whatever its value is.
impl<T: Send + Sync + 'static> PartialEq for ObjectRef<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.0.object(), other.0.object())
    }
}

impl<T: Send + Sync + 'static> Eq for ObjectRef<T> {}

impl<T: Send + Sync + 'static> Hash for ObjectRef<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(self.0.object()).cast::<()>().hash(state);
    }
}

impl<T: Send + Sync + 'static> Serialize for ObjectRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if value::is_weighing() {
            return serializer.serialize_unit();
        }
        let (id, kept) = self.named().map_err(serde::ser::Error::custom)?;
        value::write_counted(id, kept, serializer)
    }
}

impl<'de, T: value::Value> Deserialize<'de> for ObjectRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let id: ObjectId = value::read_counted(deserializer)?;
        find(id).map_err(serde::de::Error::custom)
    }
}

/// The object whose id another process wrote.
pub(super) fn read_ref<T: value::Value>(id: &[u8]) -> Result<ObjectRef<T>> {
    find(value::decode(id)?)
}

pub(super) fn find<T: value::Value>(id: ObjectId) -> Result<ObjectRef<T>> {
    static ELSEWHERE: Definition = Definition::internal("object of another process");
    let is_it = |kept: &value::Kept| {
        let object: &Counted<dyn Object> = kept.downcast_ref()?;
        (object.object().head().known_id() == Some(id)).then(|| object.object().clone())
    };
    if let Some(object) = value::at_hand(is_it) {
        return typed(id, object);
    }
    let make = || -> Arc<dyn Object> { Slot::<T>::empty(&ELSEWHERE) };
    let answer = session::with_runtime(|runtime| runtime.ask(Question::Object(id, &make)))??;
    let Answer::Object(object) = answer else { unreachable!("asked for an object") };
    typed(id, object)
}

fn typed<T: value::Value>(id: ObjectId, object: Arc<dyn Object>) -> Result<ObjectRef<T>> {
    let text = || format!("{id} is not a `{}`", std::any::type_name::<T>());
    let typed = object.typed().downcast::<Arc<dyn Of<T>>>();
    let object = *typed.map_err(|_| Error::new(ErrorKind::WrongType, text()))?;
    let lost = || Error::new(ErrorKind::ObjectLost, format!("the value of {id} was moved out"));
    Counted::found(object).map(ObjectRef).ok_or_else(lost)
}

/// A value borrowed where it lies in the store; it stays while a view of it does.
#[derive(Clone, Debug)]
pub struct View<T: Send + Sync + 'static>(Pinned<dyn Of<T>>);

impl<T: Send + Sync + 'static> Deref for View<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value().expect("a view is made of a value that is there and counts as a ref")
    }
}

/// The future of an [`ObjectRef`].
#[derive(Debug)]
pub struct ObjectFuture<T: Send + Sync + 'static> {
    object: ObjectRef<T>,
    wake: Option<Arc<WakeUp>>,
    pause: Option<(Arc<dyn Object>, u64)>,
    waiting: Option<Waiting>,
}

/// Wakes whoever polled last.
#[derive(Debug)]
pub(super) struct WakeUp(Mutex<Waker>);

impl WakeUp {
    pub(super) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self(Mutex::new(waker)))
    }

    pub(super) fn set(&self, waker: &Waker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(waker);
    }
}

impl Listener for WakeUp {
    fn ready(&self, _: usize, _: bool) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.wake();
    }
}

impl<T: Send + Sync + 'static> ObjectFuture<T> {
    /// A call that awaits lets others have its CPU, and is not let into a circle of waits.
    fn enter(&mut self) -> Result<()> {
        let Some(call) = with_frame(|frame| frame.call().cloned()) else { return Ok(()) };
        let on = [self.object.object()];
        let token = pause(&call, &on, |runtime, pause| runtime.pause(pause))?;
        self.pause = Some((call, token));
        Ok(())
    }

    fn leave(&mut self) {
        self.waiting = None;
        if let Some((call, token)) = self.pause.take() {
            let left = pause(&call, &[], |runtime, pause| {
                runtime.resume(pause, token);
                Ok(0)
            });
            drop(left);
        }
    }
}

/// Tells the runtime of a wait of `call`.
fn pause(
    call: &Arc<dyn Object>,
    on: &[Arc<dyn Object>],
    tell: impl FnOnce(&Arc<dyn runtime::Runtime>, &Pause<'_>) -> Result<u64>,
) -> Result<u64> {
    let base = with_frame(|frame| frame.base().clone());
    let blocks = base.station == Station::Pool;
    let pause = Pause { call, base: &base, on, needed: on.len(), blocks };
    let told = runtime::with_current(|runtime| tell(runtime, &pause));
    told.unwrap_or_else(|| Err(runtime::ended()))?.map_err(|error| call.head().placed(error))
}

impl<T: Clone + Send + Sync + 'static> Future for ObjectFuture<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if self.object.is_ready() {
            self.leave();
            return Poll::Ready(self.object.read_now());
        }
        if let Some(wake) = &self.wake {
            wake.set(cx.waker());
        } else {
            if let Err(error) = self.enter() {
                return Poll::Ready(Err(error));
            }
            self.waiting = Some(runtime::begin_wait(runtime::results(&[self.object.object()])));
            let wake = WakeUp::new(cx.waker().clone());
            let waiter = Waiter { listener: wake.clone(), token: 0 };
            self.wake = Some(wake);
            if self.object.slot().head().listen(waiter).is_none() {
                return Poll::Pending;
            }
        }
        if !self.object.is_ready() {
            return Poll::Pending;
        }
        self.leave();
        Poll::Ready(self.object.read_now())
    }
}

impl<T: Send + Sync + 'static> Drop for ObjectFuture<T> {
    fn drop(&mut self) {
        if let Some(wake) = &self.wake {
            self.object.slot().head().unlisten(Arc::as_ptr(wake).cast());
        }
        self.leave();
    }
}

impl<T: Clone + Send + Sync + 'static> IntoFuture for ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = ObjectFuture<T>;

    fn into_future(self) -> ObjectFuture<T> {
        ObjectFuture { object: self, wake: None, pause: None, waiting: None }
    }
}

impl<T: Clone + Send + Sync + 'static> IntoFuture for &ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = ObjectFuture<T>;

    fn into_future(self) -> ObjectFuture<T> {
        self.clone().into_future()
    }
}

/// What [`get`] takes: a ref, a list of refs, or a tuple of either.
pub trait Get {
    /// The value, or the list of values.
    type Output;
    /// Waits at most until a time.
    #[doc(hidden)]
    fn get_until(&self, until: Option<Instant>) -> Result<Self::Output>;
}

impl<T: Clone + Send + Sync + 'static> Get for ObjectRef<T> {
    type Output = T;

    fn get_until(&self, until: Option<Instant>) -> Result<T> {
        self.wait(until)?;
        self.0.read(T::clone)
    }
}

impl<T: Clone + Send + Sync + 'static> Get for [ObjectRef<T>] {
    type Output = Vec<T>;

    fn get_until(&self, until: Option<Instant>) -> Result<Vec<T>> {
        runtime::may_block()?;
        let ready = self.iter().take_while(|object| object.is_ready()).count();
        if ready < self.len() && !self[..ready].iter().any(|object| object.slot().head().has_failed()) {
            let objects: Vec<_> = self.iter().map(ObjectRef::object).collect();
            let wanted = Wanted { count: objects.len(), or_failure: true, until };
            if !runtime::wait_for(&objects, wanted)? {
                let late = self.iter().find(|object| !object.is_ready());
                return Err(too_late(late.map_or("", |object| object.slot().head().definition().name)));
            }
        }
        self.iter().map(|object| object.0.read(T::clone)).collect()
    }
}

impl<T: Clone + Send + Sync + 'static> Get for Vec<ObjectRef<T>> {
    type Output = Vec<T>;

    fn get_until(&self, until: Option<Instant>) -> Result<Vec<T>> {
        self.as_slice().get_until(until)
    }
}

impl<T: Clone + Send + Sync + 'static, const N: usize> Get for [ObjectRef<T>; N] {
    type Output = Vec<T>;

    fn get_until(&self, until: Option<Instant>) -> Result<Vec<T>> {
        self.as_slice().get_until(until)
    }
}

macro_rules! get_tuples {
    ($(($($name:ident)*))*) => {
        $(impl<$($name: Get),*> Get for ($($name,)*) {
            type Output = ($($name::Output,)*);

            #[allow(non_snake_case, reason = "a value for each type, by its name")]
            fn get_until(&self, until: Option<Instant>) -> Result<Self::Output> {
                let ($($name,)*) = self;
                Ok(($($name.get_until(until)?,)*))
            }
        })*
    };
}

get_tuples! { (A B) (A B C) (A B C D) }

impl<G: Get + ?Sized> Get for &G {
    type Output = G::Output;

    fn get_until(&self, until: Option<Instant>) -> Result<G::Output> {
        (**self).get_until(until)
    }
}

/// Waits for a value, or for a list or a tuple of values, and clones them.
///
/// Of several, the first error in their order comes back, without waiting for those behind it. Further
/// errors as [`ObjectRef::get`].
pub fn get<G: Get + ?Sized>(refs: &G) -> Result<G::Output> {
    refs.get_until(None)
}

/// As [`get`], but `Timeout` if not all is there after `timeout`. The calls go on.
pub fn get_timeout<G: Get + ?Sized>(refs: &G, timeout: Duration) -> Result<G::Output> {
    refs.get_until(Instant::now().checked_add(timeout))
}

/// What [`wait`] takes: a `Vec` of refs, which it moves, or a slice, which it clones.
pub trait WaitList<T: Send + Sync + 'static> {
    /// The refs, as they are.
    #[doc(hidden)]
    fn refs(&self) -> &[ObjectRef<T>];
    /// The refs, moved or cloned.
    #[doc(hidden)]
    fn into_refs(self) -> Vec<ObjectRef<T>>;
}

macro_rules! wait_list {
    ($([$($generics:tt)*] $list:ty, $it:ident => $into:expr;)*) => {
        $(impl<T: Send + Sync + 'static $($generics)*> WaitList<T> for $list {
            fn refs(&self) -> &[ObjectRef<T>] {
                &self[..]
            }

            fn into_refs(self) -> Vec<ObjectRef<T>> {
                let $it = self;
                $into
            }
        })*
    };
}

wait_list! {
    [] Vec<ObjectRef<T>>, refs => refs;
    [] &[ObjectRef<T>], refs => refs.to_vec();
    [] &Vec<ObjectRef<T>>, refs => refs.clone();
    [, const N: usize] [ObjectRef<T>; N], refs => refs.into();
    [, const N: usize] &[ObjectRef<T>; N], refs => refs.to_vec();
}

/// What [`wait`] answers: the refs that are there, and the others.
pub type ReadyAndRest<T> = (Vec<ObjectRef<T>>, Vec<ObjectRef<T>>);

/// Waits until `count` of `refs` are there or `timeout` is over: `(ready, remaining)`, both in the
/// order given, `ready` with at most `count`. A ref that failed is there, too.
///
/// `InvalidOption` if `count` is zero or more than there are, or a ref is given twice;
/// `BlockingInAsync` and `Deadlock` as [`ObjectRef::get`].
pub fn wait<T: Send + Sync + 'static>(
    refs: impl WaitList<T>,
    count: usize,
    timeout: Option<Duration>,
) -> Result<ReadyAndRest<T>> {
    runtime::may_block()?;
    let given = refs.refs();
    if count == 0 || count > given.len() {
        let text = format!("wait for {count} of {} refs: it is between one and all", given.len());
        return Err(Error::new(ErrorKind::InvalidOption, text));
    }
    let mut known = Distinct::of(given);
    if !known.is_known() && has_duplicates(given) {
        return Err(Error::new(ErrorKind::InvalidOption, "a ref is given twice"));
    }
    let mut refs = refs.into_refs();
    let ready_now =
        |refs: &[ObjectRef<T>]| refs.iter().filter(|object| object.is_ready()).take(count).count();
    if ready_now(&refs) < count {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let objects: Vec<_> = refs.iter().map(ObjectRef::object).collect();
        runtime::wait_for(&objects, Wanted { count, or_failure: false, until })?;
    }
    let mut ready = Vec::new();
    let mut at = 0;
    while ready.len() < count && at < refs.len() {
        if refs[at].is_ready() {
            known.remove(&refs[at]);
            ready.push(refs.remove(at));
        } else {
            at += 1;
        }
    }
    known.remember();
    Ok((ready, refs))
}

/// A list without duplicates by its length and by the sum and the exclusive or of its addresses: what is
/// left of such a list has none either, so that waiting for a list one by one does not look at each
/// object each time. That another list of refs has all three in common is as good as impossible.
#[derive(Clone, Copy, PartialEq)]
struct Distinct {
    count: usize,
    sum: usize,
    xor: usize,
}

thread_local! {
    static LAST: Cell<Distinct> = const { Cell::new(Distinct { count: 0, sum: 0, xor: 0 }) };
}

impl Distinct {
    fn of<T: Send + Sync + 'static>(refs: &[ObjectRef<T>]) -> Self {
        let mut all = Self { count: refs.len(), sum: 0, xor: 0 };
        for object in refs {
            all.sum = all.sum.wrapping_add(address_of(object));
            all.xor ^= address_of(object);
        }
        all
    }

    fn is_known(self) -> bool {
        LAST.get() == self
    }

    fn remove<T: Send + Sync + 'static>(&mut self, object: &ObjectRef<T>) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(address_of(object));
        self.xor ^= address_of(object);
    }

    fn remember(self) {
        LAST.set(self);
    }
}

fn address_of<T: Send + Sync + 'static>(object: &ObjectRef<T>) -> usize {
    Arc::as_ptr(object.slot()).cast::<()>() as usize
}

/// Whether two refs name one object. Only an object with several refs can be named twice, so most
/// lists are settled by a glance at each count.
fn has_duplicates<T: Send + Sync + 'static>(refs: &[ObjectRef<T>]) -> bool {
    let shared = refs.iter().filter(|object| object.slot().head().users() > 1);
    let mut seen: Vec<*const ()> = shared.map(|object| Arc::as_ptr(object.slot()).cast()).collect();
    seen.sort_unstable();
    seen.windows(2).any(|pair| pair[0] == pair[1])
}

static PUT: Definition = Definition::internal("put");

/// Stores a value and returns a ref to it.
///
/// Where there is no room, other values leave memory for files; if none can, this waits, see
/// [`Config::store_wait`](crate::Config::store_wait), but not in an async method: there it is
/// [`put_async`] that waits.
///
/// `StoreFull`, naming the largest objects, if there is no room in time; `Shutdown` after the end of the
/// session.
pub fn put<T: value::Value>(value: T) -> Result<ObjectRef<T>> {
    session::with_runtime(|_| ())?;
    let put = || store::put(&PUT, value).map(|slot| ObjectRef::new(slot));
    // A thread that async calls share waits for nothing.
    if runtime::may_block().is_ok() { put() } else { store::hurrying(put) }
}

/// As [`put`], but where there is no room it awaits some, and lets others go on meanwhile.
pub async fn put_async<T: value::Value>(value: T) -> Result<ObjectRef<T>> {
    session::with_runtime(|_| ())?;
    // Room may take a while, which a thread of its own waits for.
    let slot = match store::try_put(&PUT, value) {
        Ok(slot) => slot,
        Err(value) => store::elsewhere(move || store::put(&PUT, value)).await?,
    };
    Ok(ObjectRef::new(slot))
}

/// Cancels the call that makes an object, and the calls that it made: queued work goes, async work is
/// dropped at its next await, sync work sees [`is_cancelled`](super::context::is_cancelled). The ref fails with
/// `Cancelled` at once; nothing happens if the value is there.
///
/// `Shutdown` after the end of the session.
pub fn cancel<T: Send + Sync + 'static>(object: &ObjectRef<T>) -> Result<()> {
    session::with_runtime(|_| {
        let name = object.slot().head().definition().name;
        let error = Error::new(ErrorKind::Cancelled, format!("`{name}` was cancelled"));
        let object: Arc<dyn Object> = object.object();
        if !object.head().is_complete() {
            object.cancel(&error);
        }
    })
}
