//! The waits of a call that runs in a worker, as the runtime here knows them.

use std::sync::Arc;

use super::worker::Worker;
use crate::runtime::Base;
use crate::store::Object;

/// Waits that a call has begun and not ended. A process that is gone, or a call that was cancelled in a wait,
/// ends none of them: whoever stands for the call does.
#[derive(Default)]
pub(super) struct Pauses(Vec<Open>);

#[derive(Clone, Copy)]
struct Open {
    token: u64,
    blocks: bool,
}

impl Pauses {
    pub(super) fn note(&mut self, token: u64, blocks: bool) {
        self.0.push(Open { token, blocks });
    }

    pub(super) fn forget(&mut self, token: u64) {
        self.0.retain(|open| open.token != token);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a thread waits in one of them, which has lent its CPUs.
    pub(super) fn any_blocks(&self) -> bool {
        self.0.iter().any(|open| open.blocks)
    }

    /// Ends them; the call or its actor goes on, with the CPUs that it had.
    pub(super) fn end(&self, worker: &Worker, call: &Arc<dyn Object>, base: &Base) {
        for open in &self.0 {
            worker.resume(call, base, open.token, open.blocks);
        }
    }

    /// Ends them where nothing goes on, or goes on without: what was lent stays with the others.
    pub(super) fn drop_cpus(&self, worker: &Worker, call: &Arc<dyn Object>, base: &Base) {
        for open in &self.0 {
            worker.resume(call, base, open.token, false);
        }
    }
}
