//! [`ActorHandle`]: an actor as its users hold it.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object::ObjectRef;
use super::session;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ActorId;
use crate::registry::{self, Casts, casts_of};
use crate::runtime::{ActorCore, ActorRef, Answer, Question};
use crate::store::Of;
use crate::value;

/// The kind of a class: something can be constructed from it.
pub enum Concrete {}
/// The kind of a remote trait: handles of classes convert to it.
pub enum Abstract {}

/// A remote class, or a remote trait as `dyn Trait`; implemented by `#[remote]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a remote class",
    label = "no `#[remote] impl` for it",
    note = "write `#[remote] impl {Self} {{ pub fn new(..) -> Self .. }}`, or `#[remote]` on the trait"
)]
pub trait Class: 'static {
    /// A class, or a trait.
    type Kind;
    /// The remote methods, a field each.
    type Methods: Send + Sync + 'static;
    /// The name as written.
    const NAME: &'static str;
    /// The methods of one actor.
    #[doc(hidden)]
    fn methods(link: &Link<Self>) -> Self::Methods;
}

/// A class that has a remote trait; implemented by `#[remote] impl Trait for Class`.
pub trait Implements<D: Class + ?Sized>: Class {
    /// The state as the trait.
    fn cast(&self) -> &D;
    /// The state as the trait, to change it.
    fn cast_mut(&mut self) -> &mut D;
}

/// A class from which actors are made.
#[doc(hidden)]
pub trait ConcreteClass: Class<Kind = Concrete> {
    /// [`SyncFlow`](super::call::SyncFlow) or [`AsyncFlow`](super::call::AsyncFlow).
    type Flow;
}

/// How a method reaches its actor. It does not keep the actor alive: the handle around it does.
#[doc(hidden)]
pub struct Link<C: ?Sized + 'static> {
    pub(super) actor: Arc<ActorCore>,
    pub(super) casts: &'static Casts<C>,
}

impl<C: ?Sized + 'static> Clone for Link<C> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), casts: self.casts }
    }
}

impl<C: Any> Link<C> {
    /// The state of an actor as the class that it is.
    pub(super) const CASTS: &'static Casts<C> = &Casts {
        by_ref: |state| state.downcast_ref().expect("a handle names the class of its actor"),
        by_mut: |state| state.downcast_mut().expect("a handle names the class of its actor"),
    };
}

/// The state of a `C` as its remote trait `D`.
struct AsTrait<C, D: ?Sized>(PhantomData<(C, D)>);

impl<C: Implements<D> + Any, D: Class + ?Sized> AsTrait<C, D> {
    const CASTS: &'static Casts<D> = &Casts {
        by_ref: |state| C::cast((Link::<C>::CASTS.by_ref)(state)),
        by_mut: |state| C::cast_mut((Link::<C>::CASTS.by_mut)(state)),
    };
}

/// Makes the registry's entries for what a class can be seen as.
#[doc(hidden)]
pub struct Implementation;

impl Implementation {
    /// A class that has a remote trait.
    pub const fn of<C: Implements<D> + Any, D: Class + ?Sized>() -> registry::Implementation {
        registry::Implementation::new(TypeId::of::<C>, TypeId::of::<D>, || Box::new(AsTrait::<C, D>::CASTS))
    }

    /// A class itself, so that a handle to it is found again by id or name.
    pub const fn of_self<C: Class + Any>() -> registry::Implementation {
        registry::Implementation::new(TypeId::of::<C>, TypeId::of::<C>, || Box::new(Link::<C>::CASTS))
    }
}

/// A handle to an actor: clone it, pass it, store it; the actor lives while one is left anywhere.
///
/// Each remote method is a field, as in `counter.increment.remote()`. A handle to a class converts into
/// a handle to a remote trait that the class has: `let tracked: ActorHandle<dyn Tracked> = handle.into();`.
/// A cycle of handles (two actors that hold each other) keeps both alive until [`kill`](crate::kill) or
/// the end of the session.
pub struct ActorHandle<C: Class + ?Sized, K = <C as Class>::Kind> {
    inner: Arc<Inner<C>>,
    kind: PhantomData<fn() -> K>,
}

struct Inner<C: Class + ?Sized> {
    actor: ActorRef,
    methods: C::Methods,
}

impl<C: Class + ?Sized, K> ActorHandle<C, K> {
    pub(super) fn new(actor: ActorRef, casts: &'static Casts<C>) -> Self {
        let methods = C::methods(&Link { actor: actor.core().clone(), casts });
        Self { inner: Arc::new(Inner { actor, methods }), kind: PhantomData }
    }

    pub(super) fn core(&self) -> &Arc<ActorCore> {
        self.inner.actor.core()
    }

    /// A ref that is there once the constructor has run, and fails if it did.
    pub fn ready(&self) -> ObjectRef<()> {
        let ready = self.core().ready().clone().typed().downcast::<Arc<dyn Of<()>>>();
        ObjectRef::new(*ready.expect("a constructor makes nothing but its state"))
    }

    /// The actor's id.
    pub fn id(&self) -> ActorId {
        self.core().id()
    }
}

/// A handle to `actor` as a `C`, a class or a remote trait; `WrongType` if it is neither.
pub(super) fn typed<C: Class + ?Sized, K>(actor: ActorRef) -> Result<ActorHandle<C, K>> {
    let found = casts_of(actor.core().class_type(), TypeId::of::<C>());
    if let Some(casts) = found.and_then(|casts| casts.downcast::<&'static Casts<C>>().ok()) {
        return Ok(ActorHandle::new(actor, *casts));
    }
    let text = format!("actor {} is a `{}`, not a `{}`", actor.core().id(), actor.core().name(), C::NAME);
    Err(Error::new(ErrorKind::WrongType, text))
}

impl<C: Class + ?Sized, K> Deref for ActorHandle<C, K> {
    type Target = C::Methods;

    fn deref(&self) -> &C::Methods {
        &self.inner.methods
    }
}

impl<C: Class + ?Sized, K> Clone for ActorHandle<C, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), kind: PhantomData }
    }
}

impl<C: Class + ?Sized, K> fmt::Debug for ActorHandle<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorHandle<{}>({})", C::NAME, self.id())
    }
}

impl<C, D> From<ActorHandle<C, Concrete>> for ActorHandle<D, Abstract>
where
    C: Implements<D> + Any,
    D: Class + ?Sized,
{
    fn from(handle: ActorHandle<C, Concrete>) -> Self {
        Self::from(&handle)
    }
}

impl<C, D> From<&ActorHandle<C, Concrete>> for ActorHandle<D, Abstract>
where
    C: Implements<D> + Any,
    D: Class + ?Sized,
{
    fn from(handle: &ActorHandle<C, Concrete>) -> Self {
        // The handle that is converted keeps the actor open.
        let actor = handle.core().handle().expect("an actor with a handle is not closed");
        Self::new(actor, AsTrait::<C, D>::CASTS)
    }
}

impl<C: Class + ?Sized, K> Serialize for ActorHandle<C, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if value::is_weighing() {
            return serializer.serialize_unit();
        }
        let handle = self.core().handle().expect("an actor with a handle is not closed");
        let class = self.core().class().constructor.key();
        value::write_counted((self.id(), class), Arc::new(handle), serializer)
    }
}

impl<'de, C: Class + ?Sized, K> Deserialize<'de> for ActorHandle<C, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (id, class): (ActorId, u64) = value::read_counted(deserializer)?;
        find(id, class).map_err(serde::de::Error::custom)
    }
}

fn find<C: Class + ?Sized, K>(id: ActorId, class: u64) -> Result<ActorHandle<C, K>> {
    match session::with_runtime(|runtime| runtime.ask(Question::Actor(id, class)))?? {
        Answer::Actor(actor) => typed(actor),
        _ => unreachable!("asked for an actor"),
    }
}

/// Finds an actor by the name it was made with, in the session's namespace.
///
/// `NotFound` if none of that name lives, `WrongType` if it is of another class.
pub fn get_actor<C: Class + ?Sized>(name: &str) -> Result<ActorHandle<C>> {
    get_actor_in(name, None)
}

/// Finds an actor by name in a namespace, `None` being the session's own. Errors as [`get_actor`].
pub fn get_actor_in<C: Class + ?Sized>(name: &str, namespace: Option<&str>) -> Result<ActorHandle<C>> {
    match session::with_runtime(|runtime| runtime.ask(Question::Named(name, namespace)))?? {
        Answer::Actor(actor) => typed(actor),
        _ => unreachable!("asked for an actor"),
    }
}

/// Ends an actor at once: queued calls fail with `ActorDied`, what runs is told to stop and fails for
/// its callers, and it is never restarted. Nothing happens if it is dead.
///
/// `Shutdown` after the end of the session.
pub fn kill<C: Class + ?Sized, K>(handle: &ActorHandle<C, K>) -> Result<()> {
    let runtime = handle.core().runtime();
    if runtime.is_ending() {
        return Err(crate::runtime::ended());
    }
    runtime.ask(Question::Kill(handle.core())).map(drop)
}
