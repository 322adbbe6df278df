//! What users type: typed shells over the untyped runtime.
//!
//! ```text
//! square::remote(x)  ─┐                     ┌─► ObjectRef<i64>   get, await, view, wait
//! counter.add.remote ─┼─ call: typed → job ─┤
//! Counter::remote    ─┘                     └─► ActorHandle<Counter>
//! ```
//!
//! # Semantics
//!
//! 1. **Order.** Calls from one caller (the driver, one task, one actor) to one actor start in the order
//!    they were made. Callers do not wait for each other.
//! 2. **Serial.** One method of an actor runs at a time; `&self` methods overlap up to
//!    `max_concurrency`: 1 in a sync class, 1,000 in a class with any `async fn`.
//! 3. **Dependencies.** A call starts when every ref among its arguments is there. If one failed, the
//!    call fails with that error and never starts. A ref inside of an argument, as in a list, is passed on
//!    as it is, and not waited for. Dropping a ref cancels nothing.
//! 4. **Blocking.** [`get`] and [`wait`] inside a task let others have its CPU; it takes the CPU back
//!    before it goes on. On a thread that async calls share they are refused with `BlockingInAsync`.
//!    Calls of one actor that overlap share its CPU, which is away for as long as one of them waits.
//! 5. **Lifetime.** An actor lives while a handle to it does, anywhere, and until what is queued has
//!    run. A name keeps nothing alive; `detached` does, until [`kill`] or the end of the session. A cycle
//!    of handles keeps its actors alive until then, too.
//! 6. **Failure.** `Err` fails the call. A panic crashes the actor: the call fails, the actor is rebuilt
//!    from its constructor's arguments up to `max_restarts` times, queued calls run on the new one; when
//!    no restart is left every further call gets `ActorDied` with the cause. Tasks are tried again after
//!    `Err` or panic with `retry_on_error`, `max_retries` times. A failure that nobody read is logged.
//!    So is a panic in the `Drop` of a value in the store, which goes no further.
//!    With `panic = "abort"` in the profile nothing of this is possible; [`init`] warns of it.
//! 7. **Resources** are counted, not measured. A task takes one CPU, an actor none while it lives. What
//!    could never be had fails with `Infeasible` at once.
//! 8. **Cancel and deadlines.** [`cancel`] and `timeout` tell the caller at once. Children are cancelled
//!    with their parent and inherit what is left of its time. A thread cannot be stopped: what a call
//!    holds comes back when it has returned.
//! 9. **No silent hang.** A wait that would close a circle of waits is refused with `Deadlock`; a wait
//!    for resources of 10 s is spoken of in the log.
//! 10. **Back-pressure.** Calls queue up to a quarter of the machine's memory. Beyond, `remote` blocks
//!     the driver, and fails with `QueueFull` in a task. Tasks that send to actors faster than those
//!     can follow are slowed down before.
//! 11. **Room.** Values have [`Config::object_store_memory`] together, in all processes of the session. Beyond,
//!     those that were read longest ago leave memory for files and come back when they are read; a view, an
//!     argument of a running call keeps its value in memory. Values below 1 KiB stay. [`put`] waits for
//!     room up to [`Config::store_wait`], then it is `StoreFull`, as it is at once in an async method; there
//!     [`put_async`] awaits it. A result is never refused: others make way. What cannot be read back as it
//!     was written is `ObjectLost`.
//! 12. **Isolation.** Remote code runs on threads, between which values move as they are. With
//!     `isolation = "process"` it runs in a child process of the same executable, where `main` never runs:
//!     values travel as bytes, large ones through shared memory. All points above hold there too. What ends
//!     the process fails what ran in it, with `WorkerCrashed` or `OutOfMemory`; tasks are tried again
//!     `max_retries` times, an actor is built again `max_restarts` times. A cancelled task that does not stop
//!     within the session's grace is ended with its process. `max_calls` replaces the process of a function
//!     after so many calls; an actor keeps its own. In a build without the feature `process`, and on other
//!     systems than Linux, what asks for a process fails with `Unsupported`.
//! 13. **Shutdown.** Queued calls get `Shutdown`; running ones see [`is_cancelled`] and have a grace of
//!     2 s; then they are left behind. One that goes on making calls all the same is not waited for.

pub(crate) mod arg;
mod array;
pub(crate) mod call;
mod completed;
mod context;
pub(crate) mod handle;
mod machine;
mod object;
mod options;
pub(crate) mod session;
mod slice;
mod store;
mod stream;
mod tree;

pub use arg::{Arg, IntoArg};
pub use array::{Array, Buffer, Number};
pub use completed::{Completed, as_completed};
pub use context::{
    Node, RuntimeContext, available_resources, cluster_resources, context, exit_actor, gpu_ids, is_cancelled,
    node_ip, nodes,
};
pub use handle::{ActorHandle, Class, get_actor, get_actor_in, kill};
pub use object::{
    Get, ObjectFuture, ObjectRef, ReadyAndRest, View, WaitList, cancel, get, get_timeout, put, put_async,
    wait,
};
pub use session::{Config, Session, init, is_initialized, shutdown};
pub use store::{Holder, StoreStats, store_stats};
pub use stream::{ObjectStream, Sink};
pub use tree::{tree_reduce, tree_reduce_unordered};
