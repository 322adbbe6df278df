//! The same work by other crates: kameo and ractor for actors, rayon for tasks.
//!
//! As in `floor`, the actor adds one to its count of calls and answers `i`, for each `i` in `0..count`, and
//! each function returns the time it took and the sum of the answers. Both crates run on a tokio runtime
//! with a worker for each core; the caller is the thread that blocks on it.

use std::hint::black_box;
use std::time::Duration;

use kameo::actor::{ActorRef, Spawn};
use kameo::message::{Context, Message};
use ractor::concurrency::oneshot;
use ractor::{ActorProcessingErr, RpcReplyPort};
use rayon::prelude::*;
use tokio::runtime::Runtime;

use crate::floor::IN_FLIGHT;
use crate::timed;

#[derive(kameo::Actor)]
struct Kameo {
    calls: u64,
}

struct Echo(u64);

impl Message<Echo> for Kameo {
    type Reply = u64;

    async fn handle(&mut self, Echo(i): Echo, _: &mut Context<Self, u64>) -> u64 {
        self.calls += 1;
        i
    }
}

struct Ractor;

struct Call(u64, RpcReplyPort<u64>);

impl ractor::Actor for Ractor {
    type Msg = Call;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ractor::ActorRef<Call>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<Call>,
        Call(i, reply): Call,
        calls: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *calls += 1;
        reply.send(i)?;
        Ok(())
    }
}

/// An actor of each crate, standing.
pub struct Peers {
    runtime: Runtime,
    kameo: ActorRef<Kameo>,
    ractor: ractor::ActorRef<Call>,
}

impl Peers {
    /// Starts the runtime and the actors.
    ///
    /// # Panics
    ///
    /// If the system refuses a thread.
    pub fn new(workers: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
        let runtime = runtime.expect("threads can be had");
        let (kameo, ractor) = runtime.block_on(async {
            let kameo = Kameo::spawn_with_mailbox(Kameo { calls: 0 }, kameo::mailbox::unbounded());
            let (ractor, _) = ractor::Actor::spawn(None, Ractor, ()).await.expect("it starts");
            (kameo, ractor)
        });
        Self { runtime, kameo, ractor }
    }

    /// kameo, one call at a time.
    pub fn kameo_one(&self, count: u64) -> (Duration, u64) {
        let calls = async {
            let mut sum = 0;
            for i in 0..count {
                sum += self.kameo.ask(Echo(i)).await.expect("it answers");
            }
            sum
        };
        timed(|| self.runtime.block_on(calls))
    }

    /// kameo, [`IN_FLIGHT`] calls in flight.
    pub fn kameo_many(&self, count: u64) -> (Duration, u64) {
        let calls = async {
            let mut sum = 0;
            for start in (0..count).step_by(usize::try_from(IN_FLIGHT).unwrap_or(1)) {
                let mut replies = Vec::new();
                for i in start..count.min(start + IN_FLIGHT) {
                    replies.push(self.kameo.ask(Echo(i)).enqueue().await.expect("it is there"));
                }
                for reply in replies {
                    sum += reply.await.expect("it answers");
                }
            }
            sum
        };
        timed(|| self.runtime.block_on(calls))
    }

    fn call(&self, i: u64) -> ractor::concurrency::OneshotReceiver<u64> {
        let (reply, answer) = oneshot();
        self.ractor.send_message(Call(i, reply.into())).expect("it is there");
        answer
    }

    /// ractor, one call at a time.
    pub fn ractor_one(&self, count: u64) -> (Duration, u64) {
        let calls = async {
            let mut sum = 0;
            for i in 0..count {
                sum += self.call(i).await.expect("it answers");
            }
            sum
        };
        timed(|| self.runtime.block_on(calls))
    }

    /// ractor, [`IN_FLIGHT`] calls in flight.
    pub fn ractor_many(&self, count: u64) -> (Duration, u64) {
        let calls = async {
            let mut sum = 0;
            for start in (0..count).step_by(usize::try_from(IN_FLIGHT).unwrap_or(1)) {
                let answers: Vec<_> = (start..count.min(start + IN_FLIGHT)).map(|i| self.call(i)).collect();
                for answer in answers {
                    sum += answer.await.expect("it answers");
                }
            }
            sum
        };
        timed(|| self.runtime.block_on(calls))
    }
}

/// About 100 µs of arithmetic (at 2.5 GHz), and `i` again.
pub fn work(i: u64) -> u64 {
    let mut x = black_box(i | 1);
    for _ in 0..60_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
    i
}

/// rayon, `count` pieces of [`work`].
pub fn rayon(count: u64) -> (Duration, u64) {
    timed(|| {
        (0..usize::try_from(count).unwrap_or(0)).into_par_iter().with_max_len(1).map(|i| work(i as u64)).sum()
    })
}
