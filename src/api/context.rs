//! Where the running code is: [`context`], [`gpu_ids`], [`is_cancelled`], and the nodes.

use std::collections::BTreeMap;

use super::handle::{ActorHandle, Class, typed};
use super::session;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActorId, CallerId, JobId, NodeId, TaskId, WorkerId};
use crate::runtime::{self, Answer, NodeView, Question, with_frame};

/// What is known of the running code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeContext {
    /// The job: one run of a driver program. `None` before the first session.
    pub job: Option<JobId>,
    /// The node.
    pub node: NodeId,
    /// The worker process.
    pub worker: WorkerId,
    /// The running task or actor call; `None` in the driver.
    pub task: Option<TaskId>,
    /// The actor whose method runs.
    pub actor: Option<ActorId>,
    /// Who made the call.
    pub caller: Option<CallerId>,
    /// The running function or method, as in `Counter.increment`.
    pub function: Option<&'static str>,
    /// Which attempt this is, from 1; 0 in the driver.
    pub attempt: u32,
    /// The resources held, by name, in their units.
    pub resources: BTreeMap<String, f64>,
}

impl RuntimeContext {
    /// The handle of the actor whose method runs.
    ///
    /// `NotFound` outside of an actor, `WrongType` if it is not a `C`.
    pub fn actor<C: Class + ?Sized>(&self) -> Result<ActorHandle<C>> {
        let outside = || Error::new(ErrorKind::NotFound, "no method of an actor runs here");
        let actor = with_frame(|frame| frame.base().actor.clone()).ok_or_else(outside)?;
        match runtime::own_handle(&actor)? {
            Some(handle) => typed(handle),
            None => Err(Error::new(ErrorKind::ActorDied, "the actor has no handle left and is ending")),
        }
    }
}

/// Where the running code is.
pub fn context() -> RuntimeContext {
    let identity = runtime::with_current(|runtime| runtime.identity()).and_then(Result::ok);
    let call = with_frame(|frame| frame.call().cloned());
    let task = call.as_ref().and_then(|call| {
        let id = runtime::with_current(|runtime| runtime.ask(Question::Identify(call)))?.ok()?.ok()?;
        match id {
            Answer::Id(id) => Some(id.task()),
            _ => None,
        }
    });
    with_frame(|frame| RuntimeContext {
        job: identity.map(|identity| identity.job),
        node: identity.map_or(NodeId(0), |identity| identity.node),
        worker: identity.map_or(WorkerId(0), |identity| identity.worker),
        task,
        actor: frame.base().actor.as_ref().map(|actor| actor.id()),
        caller: call.as_ref().and_then(|call| call.head().caller()),
        function: call.as_ref().map(|call| call.head().definition().name),
        attempt: frame.call().map_or(0, |_| frame.attempt()),
        resources: frame
            .base()
            .lease
            .as_ref()
            .map_or_else(BTreeMap::new, |lease| units(&lease.lock().resources)),
    })
}

fn units(set: &crate::resource::ResourceSet) -> BTreeMap<String, f64> {
    set.iter().map(|(name, amount)| (name.to_owned(), amount.units())).collect()
}

/// The GPUs that the running task or actor holds, by id; empty where there are none.
pub fn gpu_ids() -> Vec<u32> {
    with_frame(|frame| {
        let lease = frame.base().lease.as_ref()?;
        Some(lease.lock().gpus.iter().map(|(id, _)| *id).collect())
    })
    .unwrap_or_default()
}

/// Whether the running call is to stop: it was cancelled, its time is over, its actor was killed, or the
/// session ends. Sync code that runs long asks now and then; `false` outside of calls.
pub fn is_cancelled() -> bool {
    with_frame(|frame| {
        let Some(call) = frame.call() else { return false };
        let is_killed = || frame.base().actor.as_ref().is_some_and(|actor| actor.is_dead());
        call.head().is_cancelled() || is_killed() || !runtime::is_running()
    })
}

/// Ends the actor whose method runs, once that method has returned; its result is delivered, what is
/// queued behind it fails with `ActorDied`, and it is not restarted. Outside of an actor it is logged
/// and does nothing.
pub fn exit_actor() {
    let (actor, call) = with_frame(|frame| (frame.base().actor.clone(), frame.call().cloned()));
    if let (Some(actor), Some(call)) = (actor, call) {
        actor.exit(&call);
    } else {
        tracing::warn!(target: "mobula", "exit_actor() outside of an actor does nothing");
    }
}

/// A node of the cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Node {
    /// The id.
    pub id: NodeId,
    /// The address by which others reach it.
    pub ip: String,
    /// Whether it answers.
    pub is_alive: bool,
    /// What it has, by resource name, in its units.
    pub resources: BTreeMap<String, f64>,
    /// What is free of it.
    pub available: BTreeMap<String, f64>,
}

fn views() -> Result<Vec<NodeView>> {
    match session::with_runtime(|runtime| runtime.ask(Question::Nodes))?? {
        Answer::Nodes(nodes) => Ok(nodes),
        _ => unreachable!("asked for nodes"),
    }
}

/// The nodes; the embedded system is one. `Shutdown` after the end of the session.
pub fn nodes() -> Result<Vec<Node>> {
    let node = |view: NodeView| Node {
        id: view.id,
        ip: node_ip(),
        is_alive: true,
        resources: units(&view.total),
        available: units(&view.free),
    };
    Ok(views()?.into_iter().map(node).collect())
}

/// The address of this node; the loopback address in the embedded system.
pub fn node_ip() -> String {
    "127.0.0.1".into()
}

fn sum(part: impl Fn(&NodeView) -> &crate::resource::ResourceSet) -> Result<BTreeMap<String, f64>> {
    let mut all = crate::resource::ResourceSet::new();
    for view in views()? {
        all.give(part(&view));
    }
    Ok(units(&all))
}

/// What all nodes together have, by resource name. `Shutdown` after the end of the session.
pub fn cluster_resources() -> Result<BTreeMap<String, f64>> {
    sum(|view| &view.total)
}

/// What is free of it now. `Shutdown` after the end of the session.
pub fn available_resources() -> Result<BTreeMap<String, f64>> {
    sum(|view| &view.free)
}
