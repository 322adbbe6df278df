//! The actix side of a session: its System, its Foreman and its shared arbiters.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use actix::{Actor, Addr, Context, Handler, Message, SyncArbiter, SyncContext};
use actix_rt::{Arbiter, ArbiterHandle, System};

use super::attempt;
use super::threads::{Permit, Threads};
use crate::error::{Error, ErrorKind, Result};
use crate::store;

type Body = Box<dyn FnOnce() + Send>;

/// Starts threads on the System's own arbiter, which no user code ever occupies.
struct Foreman;

impl Actor for Foreman {
    type Context = Context<Self>;
}

/// Something to be done on a thread of its own, or, where there is none to be had, something else instead.
///
/// After the end a mailbox drops its messages without a word, on the way to the thread, too; so the second
/// is done whenever the first is dropped before it began.
struct Work(Option<(Body, Body)>);

impl Work {
    fn begin(mut self) {
        if let Some((body, _)) = self.0.take() {
            body();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some((body, refused)) = self.0.take() {
            drop(body);
            refused();
        }
    }
}

/// Start a thread of this name for the work.
struct Hire {
    name: String,
    work: Work,
}

impl Message for Hire {
    type Result = ();
}

impl Handler<Hire> for Foreman {
    type Result = ();

    fn handle(&mut self, Hire { name, work }: Hire, _: &mut Context<Self>) {
        let builder = || thread::Builder::new().name(name.clone());
        // It panics where the system refuses the thread.
        match attempt::guard(|| SyncArbiter::start_with_thread_builder(1, builder, || Hand)) {
            Ok(hand) => hand.do_send(Serve(work)),
            Err(error) => {
                tracing::warn!(target: "mobula", "the system gives no more threads: {}", error.message());
            }
        }
    }
}

/// A thread's actor. It gets one message, which lasts as long as it serves.
struct Hand;

impl Actor for Hand {
    type Context = SyncContext<Self>;
}

struct Serve(Work);

impl Message for Serve {
    type Result = ();
}

impl Handler<Serve> for Hand {
    type Result = ();

    fn handle(&mut self, Serve(work): Serve, _: &mut SyncContext<Self>) {
        work.begin();
    }
}

/// The threads on which a session plays.
pub(crate) struct Stage {
    system: System,
    foreman: Addr<Foreman>,
    arbiters: Vec<ArbiterHandle>,
    next: AtomicUsize,
    threads: Arc<Threads>,
    joins: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Stage {
    /// Starts the System and `arbiters` shared arbiters.
    pub(crate) fn start(arbiters: usize, threads: Arc<Threads>) -> Result<Self> {
        let (ready, started) = mpsc::channel();
        let main = thread::Builder::new().name("mobula-system".into()).spawn(move || {
            let system = System::new();
            system.block_on(async {
                let _ = ready.send((System::current(), Foreman.start()));
            });
            let _ = system.run();
        });
        let failed = |error: std::io::Error| Error::new(ErrorKind::Io, error.to_string());
        let main = main.map_err(failed)?;
        let gone = |_| Error::new(ErrorKind::Io, "the actix system did not start");
        let (system, foreman) = started.recv().map_err(gone)?;
        let mut stage = Self {
            system,
            foreman,
            arbiters: Vec::new(),
            next: AtomicUsize::new(0),
            threads,
            joins: Mutex::new(vec![main]),
        };
        for n in 0..arbiters {
            stage.add_arbiter(n)?;
        }
        Ok(stage)
    }

    /// A shared arbiter: a tokio runtime on a thread that is a [`Hand`] of no one else.
    fn add_arbiter(&mut self, n: usize) -> Result<()> {
        let (ready, started) = mpsc::channel();
        let spawned = thread::Builder::new().name(format!("mobula-arbiter-{n}")).spawn({
            let system = self.system.clone();
            move || {
                System::set_current(system);
                let arbiter = Arbiter::new();
                // Many calls share it.
                arbiter.spawn_fn(store::hurry);
                let _ = ready.send(arbiter.handle());
                let _ = arbiter.join();
            }
        });
        let join = spawned.map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        let gone = |_| Error::new(ErrorKind::Io, "an arbiter did not start");
        self.arbiters.push(started.recv().map_err(gone)?);
        self.joins.get_mut().unwrap_or_else(PoisonError::into_inner).push(join);
        Ok(())
    }

    pub(crate) fn threads(&self) -> &Arc<Threads> {
        &self.threads
    }

    /// Starts a thread that does `body`; `None`, and nothing done, if there may be no more. If the system
    /// refuses it, `refused` is done on another thread.
    pub(crate) fn hire(
        &self,
        name: String,
        body: impl FnOnce() + Send + 'static,
        refused: impl FnOnce() + Send + 'static,
    ) -> Option<()> {
        let permit = self.threads.reserve()?;
        self.hire_with(permit, name, body, refused);
        Some(())
    }

    pub(crate) fn hire_with(
        &self,
        permit: Permit,
        name: String,
        body: impl FnOnce() + Send + 'static,
        refused: impl FnOnce() + Send + 'static,
    ) {
        let body = Box::new(move || {
            body();
            drop(permit);
        });
        self.foreman.do_send(Hire { name, work: Work(Some((body, Box::new(refused)))) });
    }

    /// One of the shared arbiters, in turn.
    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        &self.arbiters[n % self.arbiters.len()]
    }

    /// Ends all arbiters and the System; joins their threads if `all_idle`.
    pub(crate) fn stop(&self, all_idle: bool) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        self.system.stop();
        let joins = std::mem::take(&mut *self.joins.lock().unwrap_or_else(PoisonError::into_inner));
        if all_idle {
            for join in joins {
                let _ = join.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_is_asked_for_after_the_end_is_refused() {
        let stage = Stage::start(1, Threads::new(4)).expect("there are threads");
        let (said, heard) = mpsc::channel();
        let hire = |stage: &Stage| {
            let (runs, refused) = (said.clone(), said.clone());
            let body = move || runs.send("runs").expect("somebody hears it");
            let refused = move || refused.send("refused").expect("somebody hears it");
            stage.hire("mobula-test".into(), body, refused).expect("a permit");
        };
        let soon = Duration::from_secs(10);
        hire(&stage);
        assert_eq!(heard.recv_timeout(soon), Ok("runs"));
        stage.stop(true);
        hire(&stage);
        assert_eq!(heard.recv_timeout(soon), Ok("refused"));
        assert!(heard.recv_timeout(Duration::from_millis(10)).is_err(), "once");
        assert_eq!(stage.threads().live(), 0, "its permit came back");
    }

    #[test]
    fn whatever_is_asked_for_as_the_end_comes_runs_or_is_refused() {
        for _ in 0..200 {
            let stage = Stage::start(0, Threads::new(64)).expect("there are threads");
            let (said, heard) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let (runs, refused) = (said.clone(), said.clone());
                        let body = move || runs.send("runs").expect("somebody hears it");
                        let refused = move || refused.send("refused").expect("somebody hears it");
                        stage.hire("mobula-test".into(), body, refused).expect("a permit");
                    }
                });
                stage.stop(true);
            });
            for n in 0..20 {
                let word = heard.recv_timeout(Duration::from_secs(10));
                assert!(word.is_ok(), "{n} said a word, and no more do");
            }
        }
    }
}
