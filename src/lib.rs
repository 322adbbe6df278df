//! Mobula: tasks, actors and futures in the manner of Ray Core, on the actix actor crate.

extern crate self as mobula;

mod api;
mod clock;
mod directory;
mod embedded;
mod error;
mod executor;
mod id;
mod registry;
mod resource;
mod runtime;
mod scheduler;
mod spec;
mod store;
pub mod testing;
mod value;

pub use api::{
    ActorHandle, Arg, Class, Completed, Config, Get, IntoArg, Node, ObjectFuture, ObjectRef, ObjectStream,
    RuntimeContext, Session, View, WaitList, as_completed, available_resources, cancel, cluster_resources,
    context, exit_actor, get, get_actor, get_actor_in, get_timeout, gpu_ids, init, is_cancelled, is_initialized,
    kill, node_ip, nodes, put, shutdown, tree_reduce, tree_reduce_unordered, wait,
};
pub use error::{Error, ErrorKind, Result};
pub use id::{ActorId, CallerId, JobId, NodeId, ObjectId, Place, TaskId, WorkerId};
pub use mobula_remote::remote;
pub use spec::Placement;
pub use value::Value;

/// The dozen names that almost every program uses.
pub mod prelude {
    pub use crate::{
        ActorHandle, Arg, Config, ErrorKind, IntoArg, ObjectRef, ObjectStream, Session, as_completed, remote,
        tree_reduce,
    };
}

/// What `#[remote]` generates code against. Not for use by hand: it changes with the macro.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::api::arg::{Args, Input, Lent, OneArg, Owned, Param};
    pub use crate::api::call::{
        AsyncFlow, Construct, Function, FunctionBody, Method, MethodBody, Overlap, Overlaps, State, SyncFlow,
        assert_state, assert_value, call_function, call_method, create_actor, failed, overlap, stream_function,
        stream_method,
    };
    pub use crate::api::handle::{
        Abstract, ActorHandle, Class, Concrete, ConcreteClass, Implementation, Implements, Link,
    };
    pub use crate::api::{IntoArg, ObjectRef, ObjectStream, Sink};
    pub use crate::error::Error;
    pub use crate::registry::Entry;
    pub use crate::spec::{ClassDefinition, Definition, Options, Parameter, Placement};
    pub use crate::store::LocalFuture;
    pub use crate::{__class_options as class_options, __method_options as method_options, __task_options as task_options};
}
