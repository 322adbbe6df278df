//! What `#[remote]` generates calls into: typed calls become untyped jobs here.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use super::arg::Args;
use super::handle::{ActorHandle, Class, Concrete, ConcreteClass, Link};
use super::object::ObjectRef;
use super::session;
use super::stream::{ObjectStream, Sink, StreamJob};
use crate::error::{Error, ErrorKind, Result};
use crate::registry::{self, Casts, ClassEntry, Entry, Opener, Opening};
use crate::runtime::{self, Creation, Runtime, Task};
use crate::spec::{ClassDefinition, Definition, Options};
use crate::store::{self, Built, Job, LocalFuture, Object, Of, Progress, Seat, Slot};
use crate::value::{Packer, Value};

/// The body of a remote function.
pub enum FunctionBody<A, T> {
    /// A plain function.
    Sync(fn(A) -> Result<T>),
    /// An `async fn`.
    Async(fn(A) -> LocalFuture<'static, Result<T>>),
    /// One that yields items.
    Stream(fn(A, &mut Sink<T>) -> Result<()>),
}

/// The body of a remote method.
pub enum MethodBody<C: ?Sized, A, T> {
    /// `&mut self`.
    Exclusive(for<'a> fn(&'a mut C, A) -> Result<T>),
    /// `&self`.
    Shared(for<'a> fn(&'a C, A) -> Result<T>),
    /// `async`, `&mut self`.
    AsyncExclusive(for<'a> fn(&'a mut C, A) -> LocalFuture<'a, Result<T>>),
    /// `async`, `&self`.
    AsyncShared(for<'a> fn(&'a C, A) -> LocalFuture<'a, Result<T>>),
    /// `&mut self`, yields items.
    StreamExclusive(for<'a> fn(&'a mut C, A, &mut Sink<T>) -> Result<()>),
    /// `&self`, yields items.
    StreamShared(for<'a> fn(&'a C, A, &mut Sink<T>) -> Result<()>),
}

/// A remote function.
pub trait Function: 'static {
    /// Its arguments.
    type Args: Args;
    /// What it makes.
    type Output: Value;
    /// As its author wrote it.
    const DEFINITION: &'static Definition;
    /// Whether its attribute says nothing.
    const PLAIN: bool;
    /// Its code.
    const BODY: FunctionBody<Self::Args, Self::Output>;
    /// What its attribute says.
    fn options() -> Options;
}

/// A remote method.
pub trait Method: 'static {
    /// Its class or remote trait.
    type Class: Class + ?Sized;
    /// Its arguments.
    type Args: Args;
    /// What it makes.
    type Output: Value;
    /// As its author wrote it.
    const DEFINITION: &'static Definition;
    /// Whether its attribute says nothing.
    const PLAIN: bool;
    /// Its code.
    const BODY: MethodBody<Self::Class, Self::Args, Self::Output>;
    /// What its attribute says.
    fn options() -> Options;
}

/// The constructor of a remote class.
pub trait Construct: 'static {
    /// The class.
    type Class: Class<Kind = Concrete> + Send + 'static;
    /// The constructor's arguments.
    type Args: Args;
    /// [`SyncFlow`] or [`AsyncFlow`].
    type Flow;
    /// As its author wrote it.
    const DEFINITION: &'static ClassDefinition;
    /// Whether the attribute says nothing.
    const PLAIN: bool;
    /// What the attribute says.
    fn options() -> Options;
    /// Makes the state.
    fn construct(args: Self::Args) -> Result<Self::Class>;
}

/// A class without an `async fn`.
pub struct SyncFlow;
/// A class with one.
pub struct AsyncFlow;

/// Whether `&self` calls of `C` may overlap in this flow.
#[diagnostic::on_unimplemented(
    message = "`{C}` is not `Sync`, so its `&self` methods cannot overlap on several threads",
    note = "leave `max_concurrency` at 1, make `{C}` `Sync`, or write `async fn` methods"
)]
pub trait Overlap<C> {
    /// How the state becomes one that several threads may read, where threads are what overlaps.
    const SHARING: Option<crate::spec::Sharing>;
}

impl<C> Overlap<C> for AsyncFlow {
    const SHARING: Option<crate::spec::Sharing> = None;
}

#[diagnostic::do_not_recommend]
impl<C: Send + Sync + 'static> Overlap<C> for SyncFlow {
    const SHARING: Option<crate::spec::Sharing> =
        Some(|state| state.downcast::<C>().expect("the constructor makes its own class"));
}

/// Options with `max_concurrency`, where the class allows it.
pub fn overlap<K: Construct>(options: Options, most: usize) -> Options
where
    K::Flow: Overlap<K::Class>,
{
    options.max_concurrency(most).sharing(<K::Flow as Overlap<K::Class>>::SHARING)
}

/// A class whose `&self` calls may overlap.
pub trait Overlaps {
    /// Options with `max_concurrency`.
    fn overlap(options: Options, most: usize) -> Options;
}

impl<C: ConcreteClass + Any> Overlaps for C
where
    C::Flow: Overlap<C>,
{
    fn overlap(options: Options, most: usize) -> Options {
        options.max_concurrency(most).sharing(<C::Flow as Overlap<C>>::SHARING)
    }
}

/// What a function's `Err` becomes: the same error if it is one of ours already.
pub fn failed<E: std::fmt::Display + 'static>(error: E) -> Error {
    if let Some(own) = (&error as &dyn Any).downcast_ref::<Error>() {
        return own.clone();
    }
    Error::new(ErrorKind::TaskFailed, error.to_string())
}

/// The state of an actor.
#[diagnostic::on_unimplemented(
    message = "the state of an actor moves to its thread, and `{Self}` is not `Send`",
    label = "not `Send`",
    note = "hold what is not `Send` by something that is: `Arc` instead of `Rc`, `Mutex` instead of `RefCell`"
)]
pub trait State: Send + 'static {}
impl<T: Send + 'static> State for T {}

/// Compiles if `T` can be the state of an actor.
pub const fn assert_state<T: State>() {}
/// Compiles if `T` can be an argument or a result.
pub const fn assert_value<T: Value>() {}

/// Completes a call's slot with what its code returned.
pub(super) fn complete<T: Value>(slot: &Arc<dyn Object>, result: Result<T>) -> Progress {
    match result {
        Ok(value) => {
            let slot = slot.as_any().downcast_ref::<Slot<T>>();
            slot.expect("a job is made with the slot of its own type").deposit(value);
            Progress::Done
        }
        Err(error) => Progress::Failed(error),
    }
}

/// Arguments for an attempt, and what is kept for another one unless this is the last.
fn for_attempt<A: Args>(args: A, last: bool) -> (A, Option<A>) {
    if last {
        return (args, None);
    }
    let (now, later) = args.fork();
    (now, Some(later))
}

/// Why a job is still there when an attempt begins.
const KEPT: &str = "kept until the last attempt";

/// The objects among arguments that are not there, or have failed.
pub(super) fn needs_of<A: Args>(args: &A) -> Vec<Arc<dyn Object>> {
    args.needs().into_iter().map(|need| need.0).collect()
}

struct FunctionJob<F: Function>(F::Args);

impl<F: Function> Job for FunctionJob<F> {
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, _: Seat<'_>, last: bool) -> Progress {
        let (args, kept) = for_attempt(this.take().expect(KEPT).0, last);
        *this = kept.map(Self);
        match F::BODY {
            FunctionBody::Sync(code) => complete(slot, code(args)),
            FunctionBody::Async(code) => {
                let slot = slot.clone();
                let future = code(args);
                Progress::Pending(Box::pin(async move { complete(&slot, future.await) }))
            }
            FunctionBody::Stream(_) => unreachable!("a stream has a job of its own"),
        }
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        self.0.bytes() + size_of::<Slot<F::Output>>()
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        self.0.pack(packer)
    }
}

/// What the registry knows of a function.
pub const fn function_entry<F: Function>() -> Entry {
    Entry::Function(F::DEFINITION, Opener(open_function::<F>))
}

fn open_function<F: Function>(opening: &mut Opening<'_>) -> Result<Arc<dyn Object>> {
    let args = F::Args::unpack(&mut opening.args)?;
    opening.needs = needs_of(&args);
    if let FunctionBody::Stream(code) = F::BODY {
        let job = StreamJob::new(sink_of(opening)?, args, false, move |_, args, sink| code(args, sink));
        let call: Arc<dyn Of<()>> = store::call(F::DEFINITION, opening.caller, None, job);
        return Ok(call);
    }
    let call: Arc<dyn Of<F::Output>> =
        store::call(F::DEFINITION, opening.caller, None, FunctionJob::<F>(args));
    Ok(call)
}

fn sink_of<T: Value>(opening: &mut Opening<'_>) -> Result<Sink<T>> {
    let lost = || Error::new(ErrorKind::Decode, "a stream that nobody is to read");
    opening.items.take().map(Sink::away).ok_or_else(lost)
}

/// Starts a task; what goes wrong fails the ref.
pub fn call_function<F: Function>(options: Option<Options>, args: F::Args) -> ObjectRef<F::Output> {
    let needs = needs_of(&args);
    let job = FunctionJob::<F>(args);
    submit(F::DEFINITION, or_of_attribute(options, F::PLAIN, F::options), needs, job)
}

/// As [`call_function`], for one that yields items.
pub fn stream_function<F: Function>(options: Option<Options>, args: F::Args) -> ObjectStream<F::Output> {
    let FunctionBody::Stream(code) = F::BODY else { unreachable!("called for streams only") };
    let needs = needs_of(&args);
    let (stream, sink) = ObjectStream::new(F::DEFINITION);
    let job = StreamJob::new(sink, args, false, move |_, args, sink| code(args, sink));
    let options = or_of_attribute(options, F::PLAIN, F::options);
    stream.produced_by(submit(F::DEFINITION, options, needs, job))
}

fn or_of_attribute(options: Option<Options>, plain: bool, attribute: fn() -> Options) -> Option<Options> {
    options.or_else(|| (!plain).then(attribute))
}

/// Starts a task that `job` is.
pub(super) fn submit<T: Value, J: Job>(
    definition: &'static Definition,
    options: Option<Options>,
    needs: Vec<Arc<dyn Object>>,
    job: J,
) -> ObjectRef<T> {
    let mut job = Some(job);
    let started = session::with_runtime(|runtime| {
        let job = job.take().expect("taken once");
        let call = store::call(definition, runtime::this_caller(runtime), None, job);
        let result = ObjectRef::new(call.clone());
        match runtime::back_pressure(runtime, false) {
            Ok(()) => runtime.submit(Task { object: call, needs, options }),
            Err(error) => drop(call.fail(error)),
        }
        result
    });
    started.unwrap_or_else(|error| {
        runtime::refused();
        ObjectRef::failed(definition, error)
    })
}

struct MethodJob<M: Method> {
    args: M::Args,
    casts: &'static Casts<M::Class>,
}

impl<M: Method> Job for MethodJob<M> {
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "the host lends the state only where the borrow holds"
    )]
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, seat: Seat<'_>, last: bool) -> Progress {
        let Self { args, casts } = this.take().expect(KEPT);
        let (args, kept) = for_attempt(args, last);
        *this = kept.map(|args| Self { args, casts });
        let Casts { by_ref, by_mut } = *casts;
        match (M::BODY, seat) {
            (MethodBody::Exclusive(code), Seat::Exclusive(state)) => {
                complete(slot, code(by_mut(state), args))
            }
            (MethodBody::Exclusive(code), Seat::Local(state)) => {
                let mut state = state.borrow_mut();
                let result = code(by_mut(&mut **state), args);
                drop(state);
                complete(slot, result)
            }
            (MethodBody::Shared(code), Seat::Exclusive(state)) => complete(slot, code(by_ref(state), args)),
            (MethodBody::Shared(code), Seat::Shared(state)) => complete(slot, code(by_ref(state), args)),
            (MethodBody::Shared(code), Seat::Local(state)) => {
                let state = state.borrow();
                let result = code(by_ref(&**state), args);
                drop(state);
                complete(slot, result)
            }
            (MethodBody::AsyncExclusive(code), Seat::Local(state)) => {
                let (state, slot) = (Rc::clone(state), slot.clone());
                Progress::Pending(Box::pin(async move {
                    let mut state = state.borrow_mut();
                    let result = code(by_mut(&mut **state), args).await;
                    drop(state);
                    complete(&slot, result)
                }))
            }
            (MethodBody::AsyncShared(code), Seat::Local(state)) => {
                let (state, slot) = (Rc::clone(state), slot.clone());
                Progress::Pending(Box::pin(async move {
                    let state = state.borrow();
                    let result = code(by_ref(&**state), args).await;
                    drop(state);
                    complete(&slot, result)
                }))
            }
            _ => unreachable!("async methods run on arbiters, streams have a job of their own"),
        }
    }

    fn is_exclusive(&self) -> bool {
        matches!(M::BODY, MethodBody::Exclusive(_) | MethodBody::AsyncExclusive(_))
    }

    fn bytes(&self) -> usize {
        self.args.bytes() + size_of::<Slot<M::Output>>()
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        self.args.pack(packer)
    }
}

/// What the registry knows of a method.
pub const fn method_entry<M: Method>() -> Entry {
    Entry::Method(M::DEFINITION, Opener(open_method::<M>))
}

fn open_method<M: Method>(opening: &mut Opening<'_>) -> Result<Arc<dyn Object>> {
    let no_actor = || Error::new(ErrorKind::Decode, "a method came without its actor");
    let (actor, class) = opening.actor.ok_or_else(no_actor)?;
    let casts = registry::casts_of(class, std::any::TypeId::of::<M::Class>());
    let casts = casts.and_then(|casts| casts.downcast::<&'static Casts<M::Class>>().ok());
    let wrong = || {
        let text = format!("{actor} has no method `{}`", M::DEFINITION.name);
        Error::new(ErrorKind::WrongType, text)
    };
    let casts = *casts.ok_or_else(wrong)?;
    let args = M::Args::unpack(&mut opening.args)?;
    opening.needs = needs_of(&args);
    if let MethodBody::StreamExclusive(_) | MethodBody::StreamShared(_) = M::BODY {
        let job = stream_job::<M>(sink_of(opening)?, args, casts);
        let call: Arc<dyn Of<()>> = store::call(M::DEFINITION, opening.caller, Some(actor), job);
        return Ok(call);
    }
    let job = MethodJob::<M> { args, casts };
    let call: Arc<dyn Of<M::Output>> = store::call(M::DEFINITION, opening.caller, Some(actor), job);
    Ok(call)
}

/// The job of a method that yields items.
fn stream_job<M: Method>(
    sink: Sink<M::Output>,
    args: M::Args,
    casts: &'static Casts<M::Class>,
) -> impl Job + use<M> {
    let Casts { by_ref, by_mut } = *casts;
    let is_exclusive = matches!(M::BODY, MethodBody::StreamExclusive(_));
    StreamJob::new(sink, args, is_exclusive, move |seat: Seat<'_>, args, sink: &mut Sink<M::Output>| {
        match (M::BODY, seat) {
            (MethodBody::StreamExclusive(code), Seat::Exclusive(state)) => code(by_mut(state), args, sink),
            (MethodBody::StreamExclusive(code), Seat::Local(state)) => {
                code(by_mut(&mut **state.borrow_mut()), args, sink)
            }
            (MethodBody::StreamShared(code), Seat::Exclusive(state)) => code(by_ref(state), args, sink),
            (MethodBody::StreamShared(code), Seat::Shared(state)) => code(by_ref(state), args, sink),
            (MethodBody::StreamShared(code), Seat::Local(state)) => {
                code(by_ref(&**state.borrow()), args, sink)
            }
            _ => unreachable!("called for streams only, with the state that the host has"),
        }
    })
}

/// Calls a method; what goes wrong fails the ref.
pub fn call_method<M: Method>(
    link: &Link<M::Class>,
    options: Option<Options>,
    args: M::Args,
) -> ObjectRef<M::Output> {
    let needs = needs_of(&args);
    let job = MethodJob::<M> { args, casts: link.casts };
    post(link, M::DEFINITION, or_of_attribute(options, M::PLAIN, M::options), needs, job)
}

/// As [`call_method`], for one that yields items.
pub fn stream_method<M: Method>(
    link: &Link<M::Class>,
    options: Option<Options>,
    args: M::Args,
) -> ObjectStream<M::Output> {
    let needs = needs_of(&args);
    let (stream, sink) = ObjectStream::new(M::DEFINITION);
    let job = stream_job::<M>(sink, args, link.casts);
    let options = or_of_attribute(options, M::PLAIN, M::options);
    stream.produced_by(post(link, M::DEFINITION, options, needs, job))
}

fn post<C: ?Sized + 'static, T: Value, J: Job>(
    link: &Link<C>,
    definition: &'static Definition,
    options: Option<Options>,
    needs: Vec<Arc<dyn Object>>,
    job: J,
) -> ObjectRef<T> {
    let actor = &link.actor;
    let runtime = actor.runtime();
    let call = store::call(definition, runtime::this_caller(runtime), Some(actor.id()), job);
    let result = ObjectRef::new(call.clone());
    let call: Arc<dyn Object> = call;
    match admit(link, runtime, options, &call) {
        Ok(true) => actor.call(call, needs),
        Ok(false) => {}
        Err(error) => drop(call.fail(error)),
    }
    result
}

/// Checks what was said of a call to an actor; `false` if it is over already.
fn admit<C: ?Sized + 'static>(
    link: &Link<C>,
    runtime: &Arc<dyn Runtime>,
    options: Option<Options>,
    slot: &Arc<dyn Object>,
) -> Result<bool> {
    let policy = link.actor.policy();
    runtime::back_pressure(runtime, true)?;
    if let Some(most) = policy.pending_max
        && link.actor.queued() >= most as usize
    {
        let text = format!("{most} calls wait for actor `{}` already", link.actor.name());
        return Err(Error::new(ErrorKind::QueueFull, text));
    }
    let mut allowed = policy.timeout;
    if let Some(options) = options {
        if let Some(retry) = options.call_retry() {
            slot.head().set_retry(retry);
        }
        allowed = options.time_allowed().or(allowed);
    }
    if allowed.is_none() && !runtime::in_call() {
        return Ok(true);
    }
    Ok(runtime.adopt(slot, allowed))
}

struct ConstructJob<K: Construct> {
    args: K::Args,
    sharing: Option<crate::spec::Sharing>,
}

impl<K: Construct> Job for ConstructJob<K> {
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, seat: Seat<'_>, last: bool) -> Progress {
        let Seat::Vacant(place) = seat else { unreachable!("a constructor finds no state") };
        let Self { args, sharing } = this.take().expect(KEPT);
        let (args, kept) = for_attempt(args, last);
        *this = kept.map(|args| Self { args, sharing });
        let state = match K::construct(args) {
            Ok(state) => state,
            Err(error) => return Progress::Failed(error),
        };
        *place = Some(match sharing {
            Some(share) => Built::Shared(share(Box::new(state))),
            None => Built::Own(Box::new(state)),
        });
        complete(slot, Ok(()))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        self.args.bytes()
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        self.args.pack(packer)
    }
}

/// What the registry knows of a class; `sharing` says how its `&self` calls may overlap on threads.
pub const fn class_entry<K: Construct>(sharing: fn() -> Option<crate::spec::Sharing>) -> Entry {
    let entry =
        ClassEntry { class: std::any::TypeId::of::<K::Class>, open: Opener(open_class::<K>), sharing };
    Entry::Class(K::DEFINITION, entry)
}

fn open_class<K: Construct>(opening: &mut Opening<'_>) -> Result<Arc<dyn Object>> {
    let args = K::Args::unpack(&mut opening.args)?;
    opening.needs = needs_of(&args);
    let job = ConstructJob::<K> { args, sharing: opening.sharing };
    let call: Arc<dyn Of<()>> = store::call(&K::DEFINITION.constructor, opening.caller, None, job);
    Ok(call)
}

/// Whether a class is `Sync`, asked by generated code, which knows the class.
pub struct Probe<C>(std::marker::PhantomData<fn() -> C>);

impl<C> Probe<C> {
    /// The question.
    pub const NEW: Self = Self(std::marker::PhantomData);
}

/// The answer for a class that is.
pub trait MaybeSync {
    /// How its state becomes one that several threads may read.
    fn sharing(&self) -> Option<crate::spec::Sharing>;
}

impl<C: Send + Sync + 'static> MaybeSync for Probe<C> {
    fn sharing(&self) -> Option<crate::spec::Sharing> {
        <SyncFlow as Overlap<C>>::SHARING
    }
}

/// The answer for one that is not: found second, since it takes one more borrow.
pub trait NotSync {
    /// It does not.
    fn sharing(&self) -> Option<crate::spec::Sharing> {
        None
    }
}

impl<C> NotSync for &Probe<C> {}

/// Makes an actor; what goes wrong fails its calls.
pub fn create_actor<K: Construct>(options: Option<Options>, args: K::Args) -> ActorHandle<K::Class> {
    let options = options.unwrap_or_else(|| if K::PLAIN { Options::new() } else { K::options() });
    let needs = needs_of(&args);
    let job = ConstructJob::<K> { args, sharing: options.shared_by() };
    let caller = runtime::caller_anywhere();
    let ready: Arc<dyn Of<()>> = store::call(&K::DEFINITION.constructor, caller, None, job);
    let creation = Creation {
        class: K::DEFINITION,
        class_type: std::any::TypeId::of::<K::Class>(),
        ready,
        needs,
        options,
        id: None,
    };
    ActorHandle::new(session::create(creation), Link::<K::Class>::CASTS)
}
