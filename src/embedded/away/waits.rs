//! The waits of an actor's calls and of its constructor, and the CPU that it lends meanwhile.

use std::sync::Arc;

use super::super::pauses::Pauses;
use super::super::worker::{Guest, News, Worker};
use super::{AwayHost, Stage};
use crate::executor::Desk;
use crate::protocol::Told;
use crate::runtime::Base;
use crate::store::Object;

/// Waits that have ended, each with its call, and what is to be done once the actor has its CPU again.
pub(super) struct WaitsOver {
    pub(super) worker: Arc<Worker>,
    pub(super) base: Base,
    pub(super) waits: Vec<(Arc<dyn Object>, Pauses)>,
    pub(super) then: Then,
}

#[derive(Clone, Copy)]
pub(super) enum Then {
    /// The call that waited has ended.
    Nothing,
    /// The call goes on.
    Answer(u64),
    /// The actor is built again.
    Hire,
}

impl WaitsOver {
    /// Whether what they lent is to be taken back.
    fn needs_cpus(&self) -> bool {
        let has_lent = || self.base.lease.as_ref().is_some_and(|lease| !lease.lock().lent.is_zero());
        self.waits.iter().any(|(_, pauses)| pauses.any_blocks()) && has_lent()
    }

    fn take_cpus(&self) {
        for (call, pauses) in &self.waits {
            pauses.end(&self.worker, call, &self.base);
        }
    }

    /// Where nothing goes on, or goes on without.
    pub(super) fn drop_cpus(&self) {
        for (call, pauses) in &self.waits {
            pauses.drop_cpus(&self.worker, call, &self.base);
        }
    }
}

impl AwayHost {
    /// A call begins to wait, or has waited.
    pub(super) fn pause(&self, worker: &Arc<Worker>, call: u64, news: News) {
        let Some((object, base)) = self.stand_in(call) else { return worker.dismiss(&news) };
        match news {
            News::Pause { ticket, on, needed, blocks } => {
                let answer = worker.pause(&object, &base, &on, needed, blocks);
                if let Ok(token) = answer {
                    match self.lock().pauses_of(call) {
                        Some(pauses) => pauses.note(token, blocks),
                        // The actor has ended meanwhile.
                        None => worker.resume(&object, &base, token, false),
                    }
                }
                worker.reply(ticket, answer.map(Told::Token));
            }
            News::Resume { ticket, token, blocks } => {
                if let Some(pauses) = self.lock().pauses_of(call) {
                    pauses.forget(token);
                }
                let mut pauses = Pauses::default();
                pauses.note(token, blocks);
                let (worker, waits) = (worker.clone(), vec![(object, pauses)]);
                self.go_on(WaitsOver { worker, base, waits, then: Then::Answer(ticket) });
            }
            _ => {}
        }
    }

    /// A call has ended, and perhaps not the waits in which it was cancelled.
    pub(super) fn end_pauses(&self, worker: &Arc<Worker>, object: &Arc<dyn Object>, pauses: Pauses) {
        if !pauses.is_empty() {
            let (worker, base) = (worker.clone(), self.base());
            self.go_on(WaitsOver {
                worker,
                base,
                waits: vec![(object.clone(), pauses)],
                then: Then::Nothing,
            });
        }
    }

    /// Waits are over. Where the actor may have to wait for its CPU, that is done on a thread of its own: this
    /// one waits for nobody.
    pub(super) fn go_on(&self, over: WaitsOver) {
        let this = self.me.upgrade().expect("called through an Arc");
        if !over.needs_cpus() {
            over.take_cpus();
            return this.after(&over);
        }
        let over = Arc::new(over);
        let on_thread = over.clone();
        let wait = move || {
            on_thread.take_cpus();
            this.after(&on_thread);
        };
        if std::thread::Builder::new().name("mobula-resume".into()).spawn(wait).is_err() {
            // Where no thread is to be had on which to wait, it goes on without.
            over.drop_cpus();
            self.after(&over);
        }
    }

    fn after(&self, over: &WaitsOver) {
        let is_over = matches!(self.lock().stage, Stage::Over);
        // It has ended while it waited for its CPU, and has nothing any more.
        if is_over && let (Some(host), Some(lease)) = (self.host.upgrade(), self.lease()) {
            host.give_back(lease);
        }
        match over.then {
            Then::Nothing => {}
            Then::Answer(ticket) => over.worker.reply(ticket, Ok(Told::Done)),
            Then::Hire if is_over => {}
            Then::Hire => self.hire(),
        }
    }
}
