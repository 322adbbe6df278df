//! What is not to run on a thread of this process: who runs it, if this build has anybody.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Embedded;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Blueprint, Courier};
use crate::id::{ActorId, ObjectId};
use crate::runtime::{ActorCore, ActorRef, Mailbox};
use crate::spec::{ClassDefinition, Definition, Isolation, Options};
use crate::store::Object;

/// Runs tasks and actors in other processes.
pub(super) trait Elsewhere: Any + Send + Sync {
    /// Who carries a task there.
    fn courier(
        &self,
        host: &Weak<Embedded>,
        task: &'static Definition,
        options: &Options,
    ) -> Arc<dyn Courier>;
    /// The mailbox of an actor there, and what is done once its arguments and resources are there.
    fn actor(
        &self,
        host: &Weak<Embedded>,
        class: &'static ClassDefinition,
        options: &Options,
    ) -> (Arc<dyn Mailbox>, Begin);
    /// The object that the bytes that are read on this thread call `id`; `make` makes one of the type that is
    /// wanted, for one whose type was not known until now.
    fn named_object(&self, id: ObjectId, make: &dyn Fn() -> Arc<dyn Object>) -> Option<Arc<dyn Object>>;
    /// The actor likewise.
    fn named_actor(&self, id: ActorId) -> Option<ActorRef>;
    /// Lets those go that have been idle for long.
    fn sweep(&self, now: Instant);
    /// The session ends: those that are idle go at once.
    fn dismiss(&self);
    /// Ends all that is left, and waits until it is gone.
    fn close(&self);
    /// The object store needs room for so many bytes.
    fn relieve(&self, bytes: u64);
    /// How many messages, their bytes, and the system calls that carried them, there and back.
    fn traffic(&self) -> [u64; 3];
}

/// Has an actor begin.
pub(super) type Begin = Box<dyn FnOnce(Arc<ActorCore>, Blueprint) + Send>;

/// Whoever there is in this build.
#[allow(clippy::unnecessary_wraps, reason = "there is nobody in a build without processes")]
pub(super) fn elsewhere() -> Option<Box<dyn Elsewhere>> {
    cfg_select! {
        all(feature = "process", target_os = "linux") => { Some(Box::<super::workforce::Workforce>::default()) }
        _ => { None }
    }
}

/// What those get who want a process where there are none.
pub(super) fn no_process(what: &str) -> Error {
    let text = format!("{what} needs the feature `process` of mobula, and Linux");
    Error::new(ErrorKind::Unsupported, text)
}

impl Embedded {
    /// Who runs what is not to run here; `Unsupported` where nobody does.
    pub(super) fn elsewhere(&self) -> Result<&dyn Elsewhere> {
        self.elsewhere.as_deref().ok_or_else(|| no_process("isolation = \"process\""))
    }

    /// Where a call or an actor is to run.
    pub(super) fn isolation(&self, options: &Options) -> Result<Isolation> {
        match (options.isolation_checked(self.settings.isolation), &self.elsewhere) {
            (Ok(Isolation::Process), None) => self.elsewhere().map(|_| Isolation::Process),
            // What is unsupported is what a thread cannot have: a process is no way out here.
            (Err(error), None) if error.kind() == ErrorKind::Unsupported => {
                Err(no_process(&format!("{}; that", error.message())))
            }
            (checked, _) => checked,
        }
    }
}
