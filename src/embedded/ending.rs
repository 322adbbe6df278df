//! The end of a session.
//!
//! ```text
//! 1 nothing new begins            calls get `Shutdown`
//! 2 what is queued fails          in the pool, in the ledger, in the mailboxes
//! 3 what runs is told, and has a grace
//! 4 what still runs fails for its callers and is left behind
//! 5 threads end, and are joined where nobody was left behind
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Embedded, lock, shutdown};
use crate::event::WaitReason;
use crate::runtime::{ActorCore, begin_wait};

impl Embedded {
    /// Starts the timer; apart from `start`, which has no `Arc` to give it.
    pub(crate) fn start_timer(&self) -> std::io::Result<()> {
        self.timer.run(self.me.clone())
    }

    /// Ends the session; returns when nothing runs any more or the grace is over. `close` shuts the door
    /// to new calls, once those that come through it are refused.
    pub(crate) fn end_after(&self, close: impl FnOnce()) {
        if self.ending.swap(true, Ordering::SeqCst) {
            return;
        }
        close();
        self.pool.fail_queued(&shutdown());
        self.ledger.close(self);
        for actor in self.living() {
            self.kill_for(&actor, shutdown());
            for call in actor.running().lock().iter() {
                call.head().set_cancelled();
            }
        }
        for call in self.pool.running() {
            call.head().set_cancelled();
        }
        self.elsewhere.iter().for_each(|elsewhere| elsewhere.dismiss());
        self.pool.wake_all();
        let until = self.now() + self.settings.grace;
        let is_idle = || {
            self.pool.wake_all();
            self.living().iter().all(|actor| actor.is_dead()) && self.actors.len() == 0
        };
        let waiting = begin_wait(WaitReason::Ending);
        let threads_gone = self.stage.threads().wait_for_none(until, is_idle);
        drop(waiting);
        let all_idle = threads_gone && self.actors.len() == 0;
        self.leave_behind();
        self.elsewhere.iter().for_each(|elsewhere| elsewhere.close());
        self.timer.stop();
        self.stage.stop(all_idle);
        crate::store::files().end();
        let detached = std::mem::take(&mut *lock(&self.detached));
        drop(detached);
    }

    fn living(&self) -> Vec<Arc<ActorCore>> {
        self.actors.entries().iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    /// Fails, for those who wait, what has not returned.
    fn leave_behind(&self) {
        for call in self.pool.running() {
            call.cancel(&shutdown());
        }
        for actor in self.living() {
            actor.fail_running(&shutdown());
        }
        self.pool.fail_queued(&shutdown());
    }
}
