//! The floors under the in-process rows: what raw actix, or two bare channels, need for the same work.
//!
//! Nothing here knows the library, so that a floor cannot become slower, or faster, along with it.
//! Everything that stands (threads, arbiters, actors, channels) is made once by [`Floors::new`] and
//! is not measured; it is gone, threads and all, when [`Floors`] is dropped.
//!
//! **The work.** Every call is `echo(i)`, for each `i` in `0..count`, once: the actor adds one to its
//! count of calls and answers `i`. Every floor returns the time it took and the sum of the answers,
//! which is [`sum_of`]`(count)` whatever the order was; a row that did the same work prints the same.
//!
//! **The caller** is the thread that made the [`Floors`], as it is for the rows: from a thread of
//! their own the same calls were measured 8 % slower. So a `System` is current on it, and stays so,
//! dead, in its thread-locals after the drop: actix has no way to unset it.
//!
//! **The way.** Where raw actix can do the work in several ways, the fastest that was found stands here
//! (ns a call, two cores at 2.5 GHz, medians, each thread on a core of its own): a `SyncArbiter` called
//! from the thread that forwards for it 370-410, from another 700; a `Context` with an unbounded mailbox
//! 360-690, with the default of 16 places 900; n:n with a `System` for each caller 470, on arbiters 650,
//! on plain threads 630; 100,000 actors made inside their arbiters 1,200-1,600 each, one after the
//! other from outside 1,900-2,100 (that one stands here too: [`Floors::live_actors_from_outside`]).
//!
//! **Two modes.** Where the kernel leaves both threads on one core (another process is busy, or by
//! chance), everything differs: ping-pong 2,700 in place of 480, the `SyncArbiter` 760, the `Context`
//! 280-330. A run may change between the modes, so only pairs taken one after the other compare.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::prelude::*;
use crossbeam::channel;

/// How many calls a caller has in flight: it sends so many, then awaits each, then sends the next.
pub const IN_FLIGHT: u64 = 1_000;

/// How long nothing happens before each round of [`Floors::ping_pong_after_silence`].
pub const SILENCE: Duration = Duration::from_millis(5);

/// How many callers there are in [`Floors::many_to_many`], each with [`IN_FLIGHT`] calls in flight.
pub const CALLERS: usize = 2;

/// How many sync actors there are in [`Floors::many_to_many`]; each caller calls them in turn.
pub const CALLEES: usize = 4;

/// What the answers to `echo(i)` for every `i` in `0..count` add up to: the sum each floor returns.
pub fn sum_of(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// The memory of this process that is resident, in bytes (`/proc/self/statm`, pages of 4 KiB; 0 where
/// there is no such file).
///
/// An allocator keeps what was freed, so growth says something only the first time that a process
/// grows: measure floor and row each in a process of its own.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// The standing actors, threads and channels of all floors.
pub struct Floors {
    /// Everything of actix; an `Option` so that drop can take it.
    standing: Option<Standing>,
    ping: Option<channel::Sender<u64>>,
    pong: channel::Receiver<u64>,
    echo: Option<JoinHandle<()>>,
}

impl Floors {
    /// Starts everything that stands: a pool of `members` threads and `arbiters` arbiters (for
    /// [`Floors::live_actors`]; the one async actor is on the first), along with what the other floors
    /// need.
    ///
    /// # Panics
    ///
    /// If either number is zero, or the system refuses a thread.
    pub fn new(members: usize, arbiters: usize) -> Self {
        assert!(members > 0 && arbiters > 0, "a floor needs members and arbiters");
        let (ping, served) = channel::unbounded();
        let (give, answers) = channel::unbounded();
        let echo = spawn("floor-echo", move || {
            while let Ok(i) = served.recv() {
                if give.send(i).is_err() {
                    break;
                }
            }
        });
        let standing = Standing::new(members, arbiters);
        Self { standing: Some(standing), ping: Some(ping), pong: answers, echo: Some(echo) }
    }

    /// One sync actor (a `SyncArbiter` of one thread), [`IN_FLIGHT`] calls in flight: `send` so many,
    /// then await each.
    pub fn sync_calls(&self, count: u64) -> (Duration, u64) {
        let s = self.standing();
        timed(|| s.system.block_on(batches(std::slice::from_ref(&s.sync_actor), 0..count)))
    }

    /// One async actor (a `Context` on another arbiter, its mailbox unbounded), [`IN_FLIGHT`] calls in
    /// flight.
    pub fn async_calls(&self, count: u64) -> (Duration, u64) {
        let s = self.standing();
        timed(|| s.system.block_on(batches(std::slice::from_ref(&s.async_actor), 0..count)))
    }

    /// A pool of as many members as [`Floors::new`] was given (one `SyncArbiter`), [`IN_FLIGHT`] calls
    /// in flight.
    pub fn pool_calls(&self, count: u64) -> (Duration, u64) {
        let s = self.standing();
        timed(|| s.system.block_on(batches(std::slice::from_ref(&s.pool), 0..count)))
    }

    /// Ping-pong with a standing thread over two standing crossbeam channels, one at a time.
    pub fn ping_pong(&self, count: u64) -> (Duration, u64) {
        timed(|| (0..count).map(|i| self.round(i)).sum())
    }

    /// The same after [`SILENCE`] before each round; the silence does not count.
    pub fn ping_pong_after_silence(&self, count: u64) -> (Duration, u64) {
        (0..count).fold((Duration::ZERO, 0), |(all, sum), i| {
            thread::sleep(SILENCE);
            let (took, answer) = timed(|| self.round(i));
            (all + took, sum + answer)
        })
    }

    /// One async actor (a `Context` on another arbiter), one call at a time: `send`, await, the next.
    pub fn async_one_at_a_time(&self, count: u64) -> (Duration, u64) {
        let s = self.standing();
        timed(|| {
            s.system.block_on(async {
                let mut sum = 0;
                for i in 0..count {
                    sum += s.async_actor.send(Echo(i)).await.expect("the async actor lives");
                }
                sum
            })
        })
    }

    /// [`CALLERS`] callers, each on a thread of its own and with [`IN_FLIGHT`] calls in flight, and
    /// [`CALLEES`] sync actors, called in turn. `count` is the number of calls of all callers together.
    pub fn many_to_many(&self, count: u64) -> (Duration, u64) {
        let s = self.standing();
        timed(|| {
            s.system.block_on(async {
                let shares = (0..CALLERS as u64).map(|k| share(count, k, CALLERS as u64));
                let running: Vec<_> = shares
                    .zip(&s.callers)
                    .map(|(calls, caller)| caller.actor.send(CallAll { callees: s.callees.clone(), calls }))
                    .collect();
                let mut sum = 0;
                for answer in running {
                    sum += answer.await.expect("the caller lives");
                }
                sum
            })
        })
    }

    /// `count` async actors (`Context`s), each arbiter making its share of them, then each called once,
    /// [`IN_FLIGHT`] calls in flight, while all of them live.
    ///
    /// Returns also the resident bytes by which the process grew, for each actor: see
    /// [`resident_bytes`] for when that says something. They end before this returns, unmeasured.
    pub fn live_actors(&self, count: u64) -> (Duration, u64, u64) {
        self.live(count, IN_FLIGHT, |arbiters, count| {
            let n = arbiters.len() as u64;
            let made: Vec<_> = (0..n)
                .zip(arbiters)
                .map(|(k, arbiter)| {
                    let (give, take) = mpsc::channel();
                    arbiter.spawn_fn(move || {
                        let share = share(count, k, n);
                        // nobody waits any more: the actors may go
                        let _ = give.send(share.map(|_| Live::new().start()).collect::<Vec<_>>());
                    });
                    take
                })
                .collect();
            made.into_iter().flat_map(|take| take.recv().expect("the arbiter lives")).collect()
        })
    }

    /// The same, but the caller starts each actor on an arbiter from outside, the arbiters in turn, and
    /// has all the calls in flight at once (which is faster here, though not in [`Floors::live_actors`]).
    pub fn live_actors_from_outside(&self, count: u64) -> (Duration, u64, u64) {
        self.live(count, count, |arbiters, count| {
            (0..count)
                .map(|i| {
                    let arbiter = &arbiters[i as usize % arbiters.len()];
                    Live::start_in_arbiter(&arbiter.handle(), |_| Live::new())
                })
                .collect()
        })
    }

    /// An `Arc` around each `i`, stored in a slot in place of the one before, and read there.
    #[allow(dead_code)] // its row comes with the object store
    pub fn arc_in_slot(count: u64) -> (Duration, u64) {
        let mut slots: Vec<Option<Arc<u64>>> = vec![None; IN_FLIGHT as usize];
        timed(|| {
            (0..count)
                .map(|i| {
                    let slot = &mut slots[(i % IN_FLIGHT) as usize];
                    *slot = Some(Arc::new(black_box(i)));
                    black_box(&*slot).as_deref().copied().unwrap_or(0)
                })
                .sum()
        })
    }

    fn round(&self, i: u64) -> u64 {
        let ping = self.ping.as_ref().expect("only drop takes it");
        ping.send(i).expect("the echo thread lives");
        self.pong.recv().expect("the echo thread lives")
    }

    fn live(
        &self,
        count: u64,
        in_flight: u64,
        make: impl FnOnce(&[Arbiter], u64) -> Vec<Addr<Live>>,
    ) -> (Duration, u64, u64) {
        let s = self.standing();
        let before = resident_bytes();
        let mut actors = Vec::new();
        let (took, sum) = timed(|| {
            actors = make(&s.arbiters, count);
            s.system.block_on(async {
                let (mut sum, mut i) = (0, 0);
                for batch in actors.chunks(in_flight.max(1) as usize) {
                    let mut answers = Vec::with_capacity(batch.len());
                    for actor in batch {
                        answers.push(actor.send(Echo(i)));
                        i += 1;
                    }
                    for answer in answers {
                        sum += answer.await.expect("the actor lives");
                    }
                }
                sum
            })
        });
        let grown = resident_bytes().saturating_sub(before);
        drop(actors);
        while LIVE.load(Ordering::Acquire) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        (took, sum, grown / count.max(1))
    }

    fn standing(&self) -> &Standing {
        self.standing.as_ref().expect("only drop takes it")
    }
}

impl Drop for Floors {
    fn drop(&mut self) {
        if let Some(standing) = self.standing.take() {
            standing.end();
        }
        self.ping = None;
        if let Some(echo) = self.echo.take() {
            join(echo);
        }
    }
}

/// The part of actix in what stands.
struct Standing {
    /// Forwards, while it is blocked on, for the `SyncArbiter`s that were started on this thread.
    system: SystemRunner,
    arbiters: Vec<Arbiter>,
    sync_actor: Addr<Member>,
    pool: Addr<Member>,
    async_actor: Addr<Async>,
    callers: Vec<CallerThread>,
    callees: Vec<Addr<Member>>,
    /// Disconnected once every thread of a `SyncArbiter` is gone.
    ended: mpsc::Receiver<()>,
}

/// A caller of the n:n floor, its thread and its `System`, which forwards for its part of the callees.
struct CallerThread {
    thread: JoinHandle<()>,
    system: System,
    actor: Addr<Caller>,
}

impl Standing {
    fn new(members: usize, arbiters: usize) -> Self {
        let (alive, ended) = mpsc::channel();
        let system = System::new();
        let (sync_actor, pool) = (start_members(1, &alive), start_members(members, &alive));
        let arbiters: Vec<_> = (0..arbiters).map(|_| Arbiter::new()).collect();
        let async_actor = Async::start_in_arbiter(&arbiters[0].handle(), |context| {
            context.set_mailbox_capacity(0); // no bound
            Async { calls: 0 }
        });
        let mut callers = Vec::new();
        let mut sync_actors = Vec::new();
        for k in 0..CALLERS {
            let part = share(CALLEES as u64, k as u64, CALLERS as u64);
            let (give, take) = mpsc::channel();
            let alive = alive.clone();
            let thread = spawn("floor-caller", move || {
                let system = System::new();
                let part: Vec<_> = part.map(|_| start_members(1, &alive)).collect();
                drop(alive);
                let actor = system.block_on(async { Caller.start() });
                let given = give.send((System::current(), actor, part));
                drop(give);
                given.expect("whoever makes the floors waits");
                system.run().expect("the caller's system ended well");
            });
            let (system, actor, part) = take.recv().expect("the caller starts");
            callers.push(CallerThread { thread, system, actor });
            sync_actors.extend(part);
        }
        Self { system, arbiters, sync_actor, pool, async_actor, callers, callees: sync_actors, ended }
    }

    fn end(self) {
        let Self { system, arbiters, callers, callees, ended, .. } = self;
        drop(callees);
        for CallerThread { thread, system, actor } in callers {
            drop(actor);
            system.stop();
            join(thread);
        }
        for arbiter in arbiters {
            arbiter.stop();
            let stopped = arbiter.join();
            assert!(stopped.is_ok() || thread::panicking(), "an arbiter ended well");
        }
        // The threads of a `SyncArbiter` end when the future that forwards to them does, here with its
        // `System`. actix keeps no handle to join: what each of them holds says when it is gone.
        drop(system);
        let _ = ended.recv(); // nobody ever sends: it returns when the last of them is gone
    }
}

/// Starts a `SyncArbiter`, for which the current `System` forwards.
fn start_members(threads: usize, alive: &mpsc::Sender<()>) -> Addr<Member> {
    let alive = alive.clone();
    SyncArbiter::start(threads, move || Member { calls: 0, _alive: alive.clone() })
}

/// A call: answered with its argument.
struct Echo(u64);

impl Message for Echo {
    type Result = u64;
}

/// A sync actor, or one member of a pool.
struct Member {
    calls: u64,
    _alive: mpsc::Sender<()>,
}

impl Actor for Member {
    type Context = SyncContext<Self>;
}

impl Handler<Echo> for Member {
    type Result = u64;

    fn handle(&mut self, Echo(i): Echo, _: &mut Self::Context) -> u64 {
        self.calls += 1;
        i
    }
}

/// An async actor.
struct Async {
    calls: u64,
}

impl Actor for Async {
    type Context = Context<Self>;
}

impl Handler<Echo> for Async {
    type Result = u64;

    fn handle(&mut self, Echo(i): Echo, _: &mut Self::Context) -> u64 {
        self.calls += 1;
        i
    }
}

/// How many [`Live`] actors there are, of all [`Floors`] of this process.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// One of very many async actors.
struct Live {
    calls: u64,
}

impl Live {
    fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self { calls: 0 }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Release);
    }
}

impl Actor for Live {
    type Context = Context<Self>;
}

impl Handler<Echo> for Live {
    type Result = u64;

    fn handle(&mut self, Echo(i): Echo, _: &mut Self::Context) -> u64 {
        self.calls += 1;
        i
    }
}

/// A caller of the n:n floor.
struct Caller;

impl Actor for Caller {
    type Context = Context<Self>;
}

/// Has a caller make the calls `echo(i)` for these `i`, and answers their sum.
struct CallAll {
    callees: Vec<Addr<Member>>,
    calls: Range<u64>,
}

impl Message for CallAll {
    type Result = u64;
}

impl Handler<CallAll> for Caller {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, CallAll { callees, calls }: CallAll, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move { batches(&callees, calls).await })
    }
}

/// `send` × [`IN_FLIGHT`], to the actors in turn, then await each, until all calls are made.
async fn batches<A>(actors: &[Addr<A>], mut calls: Range<u64>) -> u64
where
    A: Actor + Handler<Echo>,
    A::Context: ToEnvelope<A, Echo>,
{
    let mut answers = Vec::with_capacity(IN_FLIGHT as usize);
    let mut turn = actors.iter().cycle();
    let mut sum = 0;
    while !calls.is_empty() {
        let batch = calls.by_ref().take(IN_FLIGHT as usize).zip(&mut turn);
        answers.extend(batch.map(|(i, actor)| actor.send(Echo(i))));
        for answer in answers.drain(..) {
            sum += answer.await.expect("the actor lives");
        }
    }
    sum
}

/// The `k`-th of `n` shares of `0..count`.
fn share(count: u64, k: u64, n: u64) -> Range<u64> {
    count * k / n..count * (k + 1) / n
}

fn timed(work: impl FnOnce() -> u64) -> (Duration, u64) {
    let start = Instant::now();
    let sum = work();
    (start.elapsed(), sum)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(work).expect("the system gives a thread")
}

fn join(thread: JoinHandle<()>) {
    let ended = thread.join();
    assert!(ended.is_ok() || thread::panicking(), "a thread of the floors ended well");
}
