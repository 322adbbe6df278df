//! The messages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{ActorId, CallerId, JobId, NodeId, ObjectId, WorkerId};
use crate::id::{Extent, SegmentId};
use crate::resource::{Quantity, ResourceSet};
use crate::spec::{Options, Retry};

/// The version that both sides must speak: changed with every change of a message.
pub(crate) const VERSION: u32 = 4;

/// What goes with a message beside its head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cargo {
    /// The bytes themselves.
    pub(crate) body: Carried,
    /// The buffers beside them.
    pub(crate) buffers: Vec<Carried>,
    /// The objects named in the bytes, once for each time.
    pub(crate) objects: Vec<ObjectId>,
    /// The actors named in them, likewise.
    pub(crate) actors: Vec<ActorId>,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Carried {
    /// In the frame, the next so many.
    Inline(u32),
    /// In shared memory.
    Far(Extent),
}

impl Default for Carried {
    fn default() -> Self {
        Self::Inline(0)
    }
}

/// A message. The number of a call is its parent's; an id is its owner's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The parent's first: who the worker is. The secret proves that it comes from who started it.
    Welcome {
        version: u32,
        secret: String,
        worker: WorkerId,
        job: JobId,
        node: NodeId,
        namespace: String,
        log_level: String,
    },
    /// The worker's first.
    Hello { version: u32 },
    /// A segment of shared memory, whose descriptor comes with the frame.
    Segment { id: SegmentId, size: u64 },
    /// Segments that the sender showed and has no more: nothing of them is lent, and no others will have
    /// their ids.
    Forget { segments: Vec<SegmentId> },
    /// Segments that the other side said to forget: the sender has them mapped no more.
    Vacated { segments: Vec<SegmentId> },
    /// A number that the sender changes, whose descriptor comes with the frame. A worker's says which call
    /// of a serial actor has begun last, of another how many `Begun` were sent; a parent's is a [`Gate`].
    Mark,
    /// Count in this slot of the session's board, whose descriptor comes with the frame. Writes wait so long
    /// for room.
    Board { slot: u64, wait_ms: u64 },
    /// Somebody of the session needs room for so many bytes: of all others, if a worker says it; of this one,
    /// if its parent does.
    Relieve { bytes: u64 },
    /// Run a function. With arguments.
    Run { call: u64, function: u64, caller: CallerId, attempt: u32, lease: Leased },
    /// Build the worker's actor. With arguments.
    Build {
        call: u64,
        actor: ActorId,
        class: u64,
        attempt: u32,
        restarts: u32,
        retry: Option<Retry>,
        concurrency: u64,
        is_shared: bool,
        lease: Leased,
    },
    /// Run a method of it. With arguments.
    Call { call: u64, method: u64, caller: CallerId, attempt: u32, retry: Option<Retry> },
    /// Tell a call to stop; with the error that it has come to, if nobody waits for its result any more.
    /// `number` is the gate's, if the worker has one.
    Cancel { call: u64, error: Option<Error>, number: u64 },
    /// A call has come to a value, which is the cargo, or to an error. `is_over` if its code has
    /// returned, too; else `Over` follows.
    Done { call: u64, error: Option<Error>, is_over: bool },
    /// The code of a call has returned.
    Over { call: u64 },
    /// The code of a call to an actor, whose calls overlap, is about to run.
    Begun { call: u64 },
    /// The worker's actor was rebuilt after a panic.
    Rebuilt,
    /// The worker's actor has ended: by its own wish, of a crash, or because it was told to.
    Ended { death: Error },
    /// An item of the stream that a call yields; the cargo.
    Item { call: u64 },
    /// The reader of a stream has taken so many items.
    Taken { call: u64, count: u32 },
    /// Call a function: `object` is the caller's name for the result. With arguments.
    Submit {
        object: ObjectId,
        within: Option<u64>,
        function: u64,
        caller: CallerId,
        options: Option<Box<Options>>,
    },
    /// Call a method. With arguments.
    Post {
        object: ObjectId,
        within: Option<u64>,
        actor: ActorId,
        method: u64,
        caller: CallerId,
        retry: Option<Retry>,
        timeout_us: Option<u64>,
    },
    /// Make an actor. With arguments.
    Create {
        actor: ActorId,
        ready: ObjectId,
        /// Where the answer is awaited: which actor it is, if one that lives may be taken.
        ticket: Option<u64>,
        within: Option<u64>,
        class: u64,
        caller: CallerId,
        options: Box<Options>,
    },
    /// A call that the worker made is to stop.
    Stop { object: ObjectId, error: Error },
    /// The value of an object is the cargo, or an error.
    Filled { object: ObjectId, error: Option<Error> },
    /// An item of a stream that the worker reads; the cargo.
    Yielded { object: ObjectId },
    /// The reader of a stream has taken so many items.
    Read { object: ObjectId, count: u32 },
    /// Send the value of an object when it is there.
    Fetch { object: ObjectId },
    /// Say when an actor is ready, as the value of `object`.
    FetchReady { actor: ActorId, object: ObjectId },
    /// An object of the worker's own, whose id is about to leave it. Its value is the cargo, or an
    /// error; or it comes later, as `Filled`.
    Export { object: ObjectId, is_complete: bool, error: Option<Error> },
    /// The worker holds a handle to its own actor.
    HoldSelf { actor: ActorId },
    /// What the sender has borrowed and needs no more, with how often it was lent.
    Returned { extents: Vec<(Extent, u64)>, objects: Vec<(ObjectId, u64)>, actors: Vec<(ActorId, u64)> },
    /// A question that is answered under its ticket.
    Ask { ticket: u64, question: Said },
    /// The answer.
    Answer { ticket: u64, answer: Result<Told, Error> },
    /// End: drop the actor, hand over, go.
    Leave,
    /// The worker has handed over all, and goes.
    Goodbye,
}

/// A parent's mark: what a worker looks at before each call of its actor, since a word of the parent's may
/// still be on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Nothing begins any more.
    pub(crate) is_shut: bool,
    /// The number of the last cancel that was sent.
    pub(crate) cancels: u64,
}

impl Gate {
    /// In a mark, the bit that shuts it.
    pub(crate) const SHUT: u64 = 1;
    /// What each cancel adds to the mark.
    pub(crate) const CANCEL: u64 = 2;

    pub(crate) fn of(mark: u64) -> Self {
        Self { is_shut: mark & Self::SHUT != 0, cancels: mark / Self::CANCEL }
    }
}

/// What a task or actor holds of its node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Leased {
    pub(crate) resources: ResourceSet,
    pub(crate) gpus: Vec<(u32, Quantity)>,
}

/// What a worker asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Ends the session.
    Shutdown,
    /// Ends an actor for good.
    Kill(ActorId),
    /// Finds an actor by name.
    Named(String, Option<String>),
    /// The nodes, with all and free resources.
    Nodes,
    /// The directory that values are spilled to.
    SpillDirectory,
    /// A call waits: of its objects, so many.
    Pause { call: u64, on: Vec<ObjectId>, needed: u64, blocks: bool },
    /// It waits no more.
    Resume { call: u64, token: u64, blocks: bool },
}

/// What it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Done,
    /// An actor, and the key of its class.
    Actor(ActorId, u64),
    /// Nodes, with all and free resources.
    Nodes(Vec<(NodeId, ResourceSet, ResourceSet)>),
    /// The token of a pause.
    Token(u64),
    /// A directory.
    Directory(PathBuf),
}
