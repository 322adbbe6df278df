//! Typed ids, and how one derives another.
//!
//! ```text
//! JobId ── one run of a driver program
//! NodeId ── one machine            WorkerId ── one process on a node
//! ObjectId (worker, slot, generation) ──► TaskId: a task is named by the object it makes
//! ActorId  (worker, slot, generation)
//! CallerId: the driver, one task or one actor; with a [`Sequence`] it orders actor calls
//! ```
//!
//! Invariant: an id never names two things, since a slot's generation grows with each reuse.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One run of a driver program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u32);

/// One machine of the cluster; the embedded system is node 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// One process that runs tasks and hosts actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

/// A place in an arena, with the generation that tells its occupants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Index in the arena.
    pub index: u32,
    /// How often the place was taken before.
    pub generation: u32,
}

/// An object: a value that is there or still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId {
    /// The process that owns the object.
    pub owner: WorkerId,
    /// Where it stands in the owner's table.
    pub place: Place,
}

impl ObjectId {
    /// The task that makes this object.
    pub fn task(self) -> TaskId {
        TaskId(self)
    }
}

/// A task or actor call, named by the object that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(ObjectId);

impl TaskId {
    /// The object that the task makes.
    pub fn object(self) -> ObjectId {
        self.0
    }
}

/// An actor, over all its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId {
    /// The process that owns the actor.
    pub owner: WorkerId,
    /// Where it stands in the owner's table.
    pub place: Place,
}

/// Whose calls are kept in order: the driver program, one task, or one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallerId {
    /// The driver program, with all its threads.
    Driver(JobId),
    /// One task; the number is unique in its worker.
    Task(WorkerId, u64),
    /// One actor, over all its calls.
    Actor(ActorId),
}

/// The position of a call among those of its caller to one actor; grows, never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sequence(pub(crate) u64);

/// A piece of memory that one process writes and others can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SegmentId {
    /// Who writes it.
    pub(crate) worker: WorkerId,
    /// Never used twice by one worker.
    pub(crate) index: u32,
}

/// Bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

macro_rules! show {
    ($($name:ident => $format:literal, $($field:tt).+ $(, $more:tt.$most:tt)*;)*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.$($field).+ $(, self.$more.$most)*)
            }
        })*
    };
}

show! {
    JobId => "job-{}", 0;
    NodeId => "node-{}", 0;
    WorkerId => "worker-{}", 0;
    ObjectId => "object-{}-{}-{}", owner.0, place.index, place.generation;
    ActorId => "actor-{}-{}-{}", owner.0, place.index, place.generation;
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectId { owner, place } = self.0;
        write!(f, "task-{}-{}-{}", owner.0, place.index, place.generation)
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(job) => write!(f, "driver of {job}"),
            Self::Task(worker, number) => write!(f, "task caller {number} of {worker}"),
            Self::Actor(actor) => write!(f, "{actor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_its_object() {
        let object = ObjectId { owner: WorkerId(1), place: Place { index: 7, generation: 2 } };
        assert_eq!(object.task().object(), object);
        assert_eq!(object.to_string(), "object-1-7-2");
        assert_eq!(object.task().to_string(), "task-1-7-2");
    }
}
