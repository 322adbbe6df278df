//! For tests of programs that use Mobula: what is left over.

use std::time::{Duration, Instant};

use crate::api::session;
use crate::error::Result;
use crate::event::Wait;
use crate::runtime::{self, Answer, Question};
use crate::store;
use crate::value::{self, Value};

/// What exists in this process now, beyond what was there before any session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// Actors that have not ended.
    pub actors: usize,
    /// Objects that have not been dropped.
    pub objects: usize,
    /// Threads of the session, other than those that serve it as a whole.
    pub threads: usize,
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Counts the live actors, objects and threads of this process, giving what is ending a moment (at most
/// 2 s) to do so.
///
/// Idle members of the function pool count as threads until they go, 100 ms after their last task.
pub fn leftovers() -> Leftovers {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let (threads, actors, _) = session::current().map_or((0, 0, 0), |session| session.counts());
        let objects = usize::try_from(store::live()).unwrap_or(0);
        let left = Leftovers { actors, objects, threads };
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What `value` becomes by way of bytes, as when it goes to another process: refs and handles inside it
/// name the same objects and actors afterwards.
///
/// `Encode` or `Decode` if its own `Serialize` or `Deserialize` fails.
pub fn by_way_of_bytes<T: Value>(value: &T) -> Result<T> {
    let encoded = value::encode(value)?;
    // What the bytes name is kept until they are read.
    let read = value::decode_with(&encoded.bytes, &encoded.buffers);
    drop(encoded.kept);
    read
}

/// Everything that waits in this process now, each with its reason: threads in `get` and `wait`, pending
/// futures, calls that wait for arguments, resources, a CPU or their actor.
///
/// What waits for a moment only may have gone on by the time that this returns.
pub fn waits() -> Vec<Wait> {
    let mut waits = runtime::all_waiting();
    if let Some(Ok(Ok(Answer::Waits(queued)))) = runtime::with_current(|runtime| runtime.ask(Question::Waits))
    {
        waits.extend(queued);
    }
    waits
}

/// What has gone over the sockets between this process and its workers, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages.
    pub frames: u64,
    /// Bytes, without what went through shared memory.
    pub bytes: u64,
    /// Calls of the operating system that carried them.
    pub calls: u64,
}

/// What has gone over the sockets to the workers of this session, those that have ended included; nothing
/// without a session.
pub fn traffic() -> Traffic {
    let session = session::current();
    let [frames, bytes, calls] = session.map(|session| session.traffic()).unwrap_or_default();
    Traffic { frames, bytes, calls }
}

/// The most threads that the session had at once for tasks and actors; 0 without a session.
pub fn threads_peak() -> usize {
    session::current().map_or(0, |session| session.threads_peak())
}
