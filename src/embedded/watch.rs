//! Who waits in the tables and queues of a session.

use std::sync::{Arc, Weak};

use super::{CallRef, Embedded, lock};
use crate::event::{Wait, WaitReason};
use crate::runtime::{ActorCore, missing};
use crate::scheduler::Held;
use crate::store::Object;

impl Embedded {
    /// Calls that are held back, that wait for resources, for a thread, in the mailbox of an actor.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let mut waits = self.held();
        waits.extend(self.ledger.waits(self.now()));
        let (for_cpu, for_thread) = self.pool.queued();
        waits.extend(many("tasks", for_cpu, WaitReason::Cpu));
        waits.extend(many("tasks", for_thread, WaitReason::Thread));
        for actor in self.actors.entries().iter().filter_map(Weak::upgrade) {
            waits.extend(in_mailbox(&actor));
        }
        waits
    }

    fn held(&self) -> Vec<Wait> {
        let of = |held: &Held<CallRef>| {
            let objects = |calls: &[CallRef]| calls.iter().map(|call| call.0.clone()).collect();
            let arguments: Vec<Arc<dyn Object>> = objects(&held.on[..held.arguments]);
            (held.call.0.clone(), arguments)
        };
        // What is cloned may become the last ref, so it is dropped under no lock.
        let all: Vec<_> = lock(&self.waits).held().map(of).collect();
        let wait = |(call, arguments): &(Arc<dyn Object>, Vec<_>)| {
            let missing = missing(arguments);
            let reason = missing.map_or(WaitReason::Turn, |(of, calls)| WaitReason::Arguments { of, calls });
            Wait::new(call.head().definition().name, reason)
        };
        all.iter().map(wait).collect()
    }
}

fn in_mailbox(actor: &ActorCore) -> Option<Wait> {
    let is_made = actor.ready().head().is_complete();
    let reason = if is_made { WaitReason::Actor } else { WaitReason::Constructor };
    many(actor.name(), actor.in_mailbox(), reason)
}

fn many(who: &str, calls: usize, reason: WaitReason) -> Option<Wait> {
    (calls > 0).then(|| Wait { calls, ..Wait::new(who, reason) })
}
