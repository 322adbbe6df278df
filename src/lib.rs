//! Mobula is Ray Core for Rust: remote functions, actors with state, and futures over an object store,
//! built on the actix actor crate. (A mobula is a ray.)
//!
//! An attribute makes a function a task and an `impl` an actor; calling them returns at once, with a ref
//! to what is to come. Refs are arguments like any other, so a program is a graph of calls that runs as
//! far in parallel as it can, on as many CPUs as there are.
//!
//! ```
//! use mobula::prelude::*;
//!
//! #[remote]
//! fn square(x: i64) -> i64 { x * x }
//!
//! #[derive(Default)]
//! pub struct Counter { value: i64 }
//!
//! #[remote]
//! impl Counter {
//!     pub fn new() -> Self { Self::default() }
//!     pub fn increment(&mut self) -> i64 { self.value += 1; self.value }
//! }
//!
//! fn main() -> mobula::Result<()> {
//!     let _session = mobula::init()?;
//!     let squares: Vec<_> = (0..4).map(square::remote).collect();
//!     println!("{:?}", mobula::get(&squares)?);             // [0, 1, 4, 9]
//!     let counter = Counter::remote();
//!     counter.increment.remote();
//!     println!("{}", counter.increment.remote().get()?);    // 2
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! | to | see |
//! |---|---|
//! | make functions, classes and traits remote | [`remote`], the attribute, and its options |
//! | start a session, set what it has | [`init`], [`Config`] |
//! | have results | [`ObjectRef`], [`get`], [`wait()`], [`as_completed`], [`ObjectStream`] |
//! | store, combine | [`put`], [`put_async`], [`tree_reduce`] |
//! | pass large data without copies | [`Array`], [`Buffer`], [`store_stats`] |
//! | hold, find and end actors | [`ActorHandle`], [`get_actor`], [`kill`], [`exit_actor`] |
//! | stop work | [`cancel`], [`is_cancelled`], `options().timeout(..)` |
//! | know what failed, and why | [`Error`], [`ErrorKind`] |
//! | ask where code runs | [`context`], [`gpu_ids`], [`nodes`] |
//! | test programs that use this | [`testing`] |
//! | come from Ray, see patterns and what to avoid | [`guide`] |
//!
//! # Cargo features
//!
//! | feature | | adds |
//! |---|---|---|
//! | `process` | on by default | worker processes, on Linux: `isolation = "process"`, `max_calls`, `env`; [`Array`] in shared memory |
//! | `ndarray` | off | [`Array`] from and as the arrays of that crate |
//!
//! Without `process` (`default-features = false`) all runs on threads, and eleven crates fewer are built. The
//! same code compiles; what asks for a process fails with [`ErrorKind::Unsupported`], which names the feature.
//! On other systems than Linux the feature adds nothing.
//!
//! # How it is built
//!
//! The code is in rooms on floors. A file imports only from strictly lower floors and from its own room,
//! so nothing goes in circles; `tests/architecture.rs` holds the floors and compares this picture.
//!
//! ```text
//! 11  guide      pages for who knows Ray: docs alone, whose programs are run
//! 11  testing    for users' tests: what is left over
//! 10  api        what users type: typed shells over the untyped refs; Config
//!  8  embedded   a driver by itself: the kernel driven, its effects performed, its workers led
//!  8  attached   a worker process: what its parent has it run, and what its code calls
//!  7  executor   actix: mailboxes, function pool, supervision; catches panics
//!  7  transport  bytes between processes: frames, and file descriptors beside them
//!  7  process    starts, watches and ends child processes of the same executable
//!  6  runtime    trait Runtime, the running call's context, the counted untyped refs
//!  5  registry   what #[remote] registered at link time: names, docs, signature hash
//!  5  scheduler  pure decisions: who gets which resources, and who waits for whom
//!  5  directory  pure decisions: which actor has which name
//!  5  ownership  pure decisions: what keeps alive what several processes use
//!  4  store      the object store: slots, their table, shared memory; the only unsafe code
//!  4  protocol   messages between processes: plain versioned data, no sockets
//!  3  event      what tasks, actors and threads are at: who waits, and why
//!  3  spec       what to run: definitions, options, retry and placement policy
//!  2  value      value to bytes and back; notes the ids in it
//!  1  error      Error, ErrorKind, Result; knows ids only
//!  0  id         typed ids, and how one derives another
//!  0  resource   sets of resources in fixed-point numbers
//!  0  clock      time, passed in
//! ```
//!
//! The macro is a crate of its own, in `remote/`: parse, model, expand.
//!
//! A call of a method whose arguments are there goes from its handle straight into the actor's mailbox and
//! touches no table. Whatever waits, is placed or fails goes through the kernel: state machines of floor 5
//! that take an event and the time and return what is to be done, and know no thread, clock or socket.
//!
//! To read the code, start with `api/mod.rs` (the semantics, in thirteen points), follow one call from
//! `api/call.rs` through `runtime/mod.rs` to `executor/mod.rs`, and read `store/mod.rs` for what a ref
//! is. Each room's `mod.rs` is its front page.

#![warn(clippy::print_stdout)]
// A build with processes tells of what nobody uses.
#![cfg_attr(
    not(all(feature = "process", target_os = "linux")),
    allow(dead_code, unused_imports, reason = "what makes calls travel waits for processes to travel to")
)]

extern crate self as mobula;

mod api;
mod clock;
mod directory;
mod embedded;
mod error;
mod event;
mod executor;
pub mod guide;
mod id;
mod registry;
mod resource;
mod runtime;
mod scheduler;
mod spec;
mod store;
pub mod testing;
mod value;

#[cfg(all(feature = "process", target_os = "linux"))]
mod attached;
#[cfg(all(feature = "process", target_os = "linux"))]
mod ownership;
#[cfg(all(feature = "process", target_os = "linux"))]
mod process;
#[cfg(all(feature = "process", target_os = "linux"))]
mod protocol;
#[cfg(all(feature = "process", target_os = "linux"))]
mod transport;

pub use api::{
    ActorHandle, Arg, Array, Buffer, Class, Completed, Config, Get, Holder, IntoArg, Node, Number,
    ObjectFuture, ObjectRef, ObjectStream, ReadyAndRest, RuntimeContext, Session, StoreStats, View, WaitList,
    as_completed, available_resources, cancel, cluster_resources, context, exit_actor, get, get_actor,
    get_actor_in, get_timeout, gpu_ids, init, is_cancelled, is_initialized, kill, node_ip, nodes, put,
    put_async, shutdown, store_stats, tree_reduce, tree_reduce_unordered, wait,
};
pub use error::{Error, ErrorKind, Result};
pub use event::{Wait, WaitReason};
pub use id::{ActorId, CallerId, JobId, NodeId, ObjectId, Place, TaskId, WorkerId};
pub use mobula_remote::remote;
pub use spec::Placement;
pub use value::Value;

/// The names that almost every program uses. Functions are called by their path, as in `mobula::get`.
pub mod prelude {
    pub use crate::{
        ActorHandle, Arg, Config, ErrorKind, IntoArg, ObjectRef, ObjectStream, Session, as_completed, remote,
        tree_reduce,
    };
}

/// What `#[remote]` generates code against. Not for use by hand: it changes with the macro.
#[doc(hidden)]
pub mod __private {
    pub use linkme;

    pub use crate::api::arg::{Args, Input, Lent, OneArg, Owned, Param};
    pub use crate::api::call::{
        AsyncFlow, Construct, Function, FunctionBody, MaybeSync, Method, MethodBody, NotSync, Overlap,
        Overlaps, Probe, State, SyncFlow, assert_state, assert_value, call_function, call_method,
        class_entry, create_actor, failed, function_entry, method_entry, overlap, stream_function,
        stream_method,
    };
    pub use crate::api::handle::{
        Abstract, ActorHandle, Class, Concrete, ConcreteClass, Implementation, Implements, Link,
    };
    pub use crate::api::{IntoArg, ObjectRef, ObjectStream, Sink};
    pub use crate::error::Error;
    pub use crate::registry::{ENTRIES, Entry};
    pub use crate::spec::{ClassDefinition, Definition, Options, Parameter, Placement};
    pub use crate::store::{LocalFuture, Pins};
    pub use crate::{
        __class_options as class_options, __method_options as method_options, __task_options as task_options,
    };
}

/// The README's code blocks are run as tests; one has a process.
#[cfg(all(doctest, feature = "process"))]
#[doc = include_str!("../README.md")]
struct Readme;
