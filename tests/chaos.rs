//! Worker processes are killed all the time while clients go on: what was said to be done was done, once, in
//! order, and what could not be done says so.
//!
//! ```text
//! killer ──SIGKILL, each 50 ms──► a random worker process
//! 8 clients ── calls ──► workers ── a record for each execution ──► the witness, a file
//!      └ what was acknowledged ────────── compared at the end ──────────┘
//! ```
//!
//! The last line says what was found. `MOBULA_CHAOS_S` is for how long it goes on (3 s), `MOBULA_CHAOS_SEED` what
//! the dice start with. It is red with each of the planted faults: `RUSTFLAGS='--cfg mobula_fault="resent"'` sends
//! calls again that had begun, `"freed"` frees what is borrowed when it is returned for the first time.

#![allow(
    clippy::unused_self,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    reason = "remote items as users write them"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mobula::prelude::*;
use mobula::{Array, Config, Error, ErrorKind, ObjectStream, Value, cancel, context, is_cancelled, kill, put};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use common::{block_on, next, runtime_threads};

/// Beyond this a call hangs.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long what ends may take to be gone.
const END_MAX: Duration = Duration::from_secs(30);
/// A worker is killed so often.
const KILL_EACH: Duration = Duration::from_millis(50);
const CLIENTS: u64 = 8;
/// Calls of one kind that a client has in flight at once.
const BURST: usize = 48;
/// More than there are kills.
const RESTARTS: u32 = 1_000_000;
const RETRIES: u32 = 3;
/// Numbers that must leave a process: 160 kB.
const LARGE: usize = 20_000;
/// What ends a call whose process is killed.
const KILLED: &[ErrorKind] = &[ErrorKind::WorkerCrashed];
/// Likewise, where the code itself hands on what became of its own calls.
const KILLED_WITHIN: &[ErrorKind] = &[ErrorKind::WorkerCrashed, ErrorKind::TaskFailed];

// ------------------------------------------------------------------------------------------- the witness

/// A call, as its caller names it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Ticket {
    /// Client and number; the lower half names calls that the call itself makes.
    id: u64,
    /// Who makes calls in an order: a client, or one execution of a call.
    origin: u64,
    retries: u32,
}

impl Ticket {
    /// A call that the running one makes, its `index`th; unlike those of its other attempts.
    fn child(self, index: u64, retries: u32) -> Self {
        let step = u64::from(context().attempt) << 12;
        let shift = if self.id.trailing_zeros() >= 32 { 16 } else { 0 };
        assert!(index + 1 < 1 << 12 && step < 1 << 16, "an id has room for them");
        Self { id: self.id | (step | (index + 1)) << shift, origin: self.id | step << shift, retries }
    }
}

/// An execution: what a worker writes before it does anything else.
struct Record {
    ticket: Ticket,
    attempt: u32,
    /// 0 for a function.
    actor: u64,
}

/// A power of two, so that no record lies on two pages: a killed process leaves it whole, or not at all.
const RECORD: usize = 64;

impl Record {
    fn to_bytes(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let numbers = [self.ticket.id, self.ticket.origin, self.actor];
        let numbers = numbers.into_iter().chain([self.ticket.retries.into(), self.attempt.into()]);
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("eight bytes"));
        let small = |at| u32::try_from(number(at)).expect("it was one");
        let ticket = Ticket { id: number(0), origin: number(1), retries: small(3) };
        Self { ticket, attempt: small(4), actor: number(2) }
    }
}

const WITNESS: &str = "CHAOS_WITNESS";
/// Set before the session starts, in the driver alone.
static WITNESS_PATH: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os(WITNESS) {
    Some(path) => path.into(),
    None => tempfile::NamedTempFile::new().expect("a file can be made").into_temp_path().keep().expect("it stays"),
});

/// Notes an execution where it outlives this process.
fn witness(ticket: Ticket, actor: u64) -> u64 {
    static FILE: LazyLock<File> = LazyLock::new(|| {
        OpenOptions::new().append(true).open(&*WITNESS_PATH).expect("the driver has made it")
    });
    let record = Record { ticket, attempt: context().attempt, actor };
    let written = (&*FILE).write(&record.to_bytes()).expect("there is room");
    assert_eq!(written, RECORD, "a record goes at once");
    ticket.id
}

// ---------------------------------------------------------------------------------------- what is called

/// An actor, and how often its calls may be tried again.
type Line<C> = (ActorHandle<C>, u32);

#[remote(isolation = "process")]
fn touch(ticket: Ticket) -> u64 {
    witness(ticket, 0)
}

/// Passes a number on, which may come from a call.
#[remote(isolation = "process")]
fn follow(ticket: Ticket, before: u64) -> (u64, u64) {
    (witness(ticket, 0), before)
}

#[remote(isolation = "process")]
fn sum(ticket: Ticket, numbers: &[f64]) -> (u64, f64) {
    (witness(ticket, 0), numbers.iter().sum())
}

#[remote(isolation = "process")]
fn double(ticket: Ticket, numbers: &Array<f64>) -> mobula::Result<(u64, Array<f64>)> {
    let id = witness(ticket, 0);
    let doubled = Array::build(numbers.shape(), |to| {
        to.iter_mut().zip(numbers.as_slice()).for_each(|(to, from)| *to = 2.0 * from);
    })?;
    Ok((id, doubled))
}

/// Numbers that tell which call they belong to.
fn numbers_of(id: u64, count: usize) -> Vec<f64> {
    (0..count).map(|at| ((id >> 32) % 1_000 + at as u64) as f64).collect()
}

/// Puts numbers in its own process, which may be gone when they are read.
#[remote(isolation = "process")]
fn make(ticket: Ticket, count: usize) -> mobula::Result<(u64, ObjectRef<Vec<f64>>)> {
    Ok((witness(ticket, 0), put(numbers_of(ticket.id, count))?))
}

/// Gives back a ref that it was lent.
#[remote(isolation = "process")]
fn pass(ticket: Ticket, lent: Vec<ObjectRef<Vec<f64>>>) -> (u64, Vec<ObjectRef<Vec<f64>>>) {
    (witness(ticket, 0), lent)
}

#[remote(isolation = "process")]
fn stream(ticket: Ticket, count: u64) -> impl Iterator<Item = u64> {
    let id = witness(ticket, 0);
    (0..count).map(move |at| id + at)
}

/// Until it is told to stop.
#[remote(isolation = "process")]
fn linger(ticket: Ticket) -> u64 {
    witness(ticket, 0);
    while !is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    ticket.id
}

/// Calls functions and actors of all kinds, in order; which of these were acknowledged.
#[remote(isolation = "process")]
fn nest(ticket: Ticket, cell: Line<Cell>, tide: Line<Tide>, post: ActorHandle<Post>) -> (u64, Vec<u64>) {
    witness(ticket, 0);
    let mut calls = Vec::new();
    for index in 0..4 {
        let ticket = |kind: u64, retries| ticket.child(4 * index + kind, retries);
        calls.push(cell.0.add.remote(ticket(0, cell.1)));
        calls.push(tide.0.add.remote(ticket(1, tide.1)));
        calls.push(post.add.remote(ticket(2, 0)));
        calls.push(touch::options().max_retries(index as u32).remote(ticket(3, index as u32)));
    }
    (ticket.id, calls.iter().filter_map(|call| call.get().ok()).collect())
}

/// Makes an actor; who gets its handle calls it.
#[remote(isolation = "process")]
fn found(ticket: Ticket, number: u64) -> (u64, ActorHandle<Cell>) {
    (witness(ticket, 0), Cell::options().max_restarts(RESTARTS).remote(number))
}

/// A state in a process of its own.
struct Cell {
    number: u64,
    kept: Option<ObjectRef<Vec<f64>>>,
}

#[remote(isolation = "process")]
impl Cell {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, kept: None }
    }
    pub(crate) fn add(&mut self, ticket: Ticket) -> u64 {
        witness(ticket, self.number)
    }
    pub(crate) fn sum(&mut self, ticket: Ticket, numbers: &[f64]) -> (u64, f64) {
        (witness(ticket, self.number), numbers.iter().sum())
    }
    /// Keeps a ref in its state, and gives back the one that was there.
    pub(crate) fn keep(&mut self, ticket: Ticket, lent: Vec<ObjectRef<Vec<f64>>>) -> (u64, Option<ObjectRef<Vec<f64>>>) {
        (witness(ticket, self.number), std::mem::replace(&mut self.kept, lent.into_iter().next()))
    }
    /// Calls another, in order.
    pub(crate) fn relay(&mut self, ticket: Ticket, to: Line<Cell>) -> (u64, Vec<u64>) {
        witness(ticket, self.number);
        let calls: Vec<_> = (0..8).map(|index| to.0.add.remote(ticket.child(index, to.1))).collect();
        (ticket.id, calls.iter().filter_map(|call| call.get().ok()).collect())
    }
}

/// The same of an async class.
struct Tide {
    number: u64,
}

#[remote(isolation = "process")]
impl Tide {
    pub(crate) fn new(number: u64) -> Self {
        Self { number }
    }
    pub(crate) async fn add(&mut self, ticket: Ticket) -> u64 {
        witness(ticket, self.number)
    }
    /// These overlap.
    pub(crate) async fn look(&self, ticket: Ticket) -> u64 {
        let id = witness(ticket, self.number);
        tokio::time::sleep(Duration::from_micros(200)).await;
        id
    }
    pub(crate) async fn ask(&self, ticket: Ticket, cell: Line<Cell>) -> (u64, Vec<u64>) {
        witness(ticket, self.number);
        let mut acked = Vec::new();
        for index in 0..4 {
            acked.extend(cell.0.add.remote(ticket.child(index, cell.1)).await);
        }
        (ticket.id, acked)
    }
}

/// A state in the driver: nobody kills it.
struct Post {
    number: u64,
}

#[remote]
impl Post {
    pub(crate) fn new(number: u64) -> Self {
        Self { number }
    }
    pub(crate) fn add(&mut self, ticket: Ticket) -> u64 {
        witness(ticket, self.number)
    }
}

// --------------------------------------------------------------------------------------------- what is found

/// Which lines of the sum are wrong.
#[derive(Default)]
struct Findings {
    lost: AtomicU64,
    doubled: AtomicU64,
    reordered: AtomicU64,
    hung: AtomicU64,
    leaked: AtomicU64,
}

impl Findings {
    /// Notes a finding; the first of them are shown.
    fn note(&self, which: fn(&Self) -> &AtomicU64, what: &str) {
        static SHOWN: AtomicU32 = AtomicU32::new(0);
        which(self).fetch_add(1, Ordering::Relaxed);
        if SHOWN.fetch_add(1, Ordering::Relaxed) < 40 {
            // Not `eprintln!`: a test's harness would keep that to itself.
            let _ = writeln!(std::io::stderr(), "chaos: {what}");
        }
    }

    fn counts(&self) -> [u64; 5] {
        [&self.lost, &self.doubled, &self.reordered, &self.hung, &self.leaked]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// What clients know of their calls.
#[derive(Default)]
struct Book {
    ops: u64,
    acked: HashSet<u64>,
    /// Which errors came, by kind.
    failed: BTreeMap<String, u64>,
}

impl Book {
    fn merge(&mut self, other: Self) {
        self.ops += other.ops;
        self.acked.extend(other.acked);
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }
}

/// What all clients call.
struct Town {
    cells: Vec<Line<Cell>>,
    tides: Vec<Line<Tide>>,
    post: ActorHandle<Post>,
    findings: Arc<Findings>,
    actors: AtomicU64,
}

impl Town {
    fn new(findings: Arc<Findings>) -> Self {
        let each = [0, RETRIES];
        let cell = |(at, retries)| {
            let options = Cell::options().max_restarts(RESTARTS).max_task_retries(retries);
            (options.remote(1 + at as u64), retries)
        };
        let tide = |(at, retries)| {
            let options = Tide::options().max_restarts(RESTARTS).max_task_retries(retries);
            (options.remote(11 + at as u64), retries)
        };
        Self {
            cells: each.into_iter().enumerate().map(cell).collect(),
            tides: each.into_iter().enumerate().map(tide).collect(),
            post: Post::remote(21),
            findings,
            actors: AtomicU64::new(100),
        }
    }

    fn next_actor(&self) -> u64 {
        self.actors.fetch_add(1, Ordering::Relaxed)
    }
}

struct Client<'a> {
    town: &'a Town,
    number: u64,
    next: u64,
    dice: Rng,
    book: Book,
}

/// A call and what it is to come to.
type Calls<T> = Vec<Call<T>>;
type Call<T> = (Ticket, ObjectRef<T>);

impl Client<'_> {
    fn ticket(&mut self, retries: u32) -> Ticket {
        self.next += 1;
        self.book.ops += 1;
        assert!(self.next < 1 << 24, "an id has room for it");
        Ticket { id: self.number << 56 | self.next << 32, origin: self.number << 56, retries }
    }

    fn burst<T: Value>(&mut self, count: usize, retries: u32, call: impl Fn(Ticket) -> ObjectRef<T>) -> Calls<T> {
        let mut one = |_| {
            let ticket = self.ticket(retries);
            (ticket, call(ticket))
        };
        (0..count).map(&mut one).collect()
    }

    fn note(&self, which: fn(&Findings) -> &AtomicU64, what: &str) {
        self.town.findings.note(which, what);
    }

    /// What became of a call: a value, or an error that it may have.
    fn outcome<T>(&mut self, ticket: Ticket, came: mobula::Result<T>, since: Instant, may: &[ErrorKind]) -> Option<T> {
        let error = match came {
            Ok(value) => {
                self.book.acked.insert(ticket.id);
                return Some(value);
            }
            Err(error) => error,
        };
        *self.book.failed.entry(format!("{:?}", error.kind())).or_default() += 1;
        if error.kind() == ErrorKind::Timeout && since.elapsed() >= ANSWER_MAX {
            self.note(|all| &all.hung, &format!("{ticket:x?} hangs: {:?}", mobula::testing::waits()));
        } else if !may.contains(&error.kind()) {
            self.note(|all| &all.lost, &format!("{ticket:x?} ended with {error:?}"));
        }
        None
    }

    fn settle<T: Value + Clone>(&mut self, (ticket, call): &Call<T>, may: &[ErrorKind]) -> Option<T> {
        let since = Instant::now();
        let came = call.get_timeout(ANSWER_MAX);
        self.outcome(*ticket, came, since, may)
    }

    /// Whether a result belongs to its call.
    fn expect<T: PartialEq + std::fmt::Debug>(&self, ticket: Ticket, came: &T, expected: &T) {
        if came != expected {
            self.note(|all| &all.reordered, &format!("{ticket:x?} came to {came:?} instead of {expected:?}"));
        }
    }

    fn settle_ids(&mut self, calls: &[Call<u64>], may: &[ErrorKind]) {
        for call in calls {
            if let Some(id) = self.settle(call, may) {
                self.expect(call.0, &id, &call.0.id);
            }
        }
    }

    /// Reads a ref that was handed over by an acknowledged call: it must be there.
    fn read(&mut self, ticket: Ticket, made: &ObjectRef<Vec<f64>>, expected: &[f64]) {
        let since = Instant::now();
        match made.get_timeout(ANSWER_MAX) {
            Ok(numbers) if numbers == expected => {}
            Ok(_) => self.note(|all| &all.lost, &format!("{ticket:x?} handed over another value")),
            Err(error) if since.elapsed() >= ANSWER_MAX => {
                self.note(|all| &all.hung, &format!("what {ticket:x?} handed over hangs: {error:?}"));
            }
            Err(error) => {
                self.note(|all| &all.lost, &format!("what {ticket:x?} handed over is gone: {error:?}"));
            }
        }
    }

    /// Calls whose callers are workers.
    fn settle_nested(&mut self, calls: &[Call<(u64, Vec<u64>)>], made: u64) {
        for call in calls {
            self.book.ops += made;
            if let Some((id, acked)) = self.settle(call, KILLED_WITHIN) {
                self.expect(call.0, &id, &call.0.id);
                self.book.acked.extend(acked);
            }
        }
    }

    fn any<'l, C>(&mut self, lines: &'l [C]) -> &'l C {
        &lines[self.dice.usize(..lines.len())]
    }

    fn retries(&mut self) -> u32 {
        if self.dice.bool() { RETRIES } else { 0 }
    }

    fn step(&mut self) {
        let town = self.town;
        match self.dice.u32(..24) {
            0..7 => {
                let (cell, retries) = self.any(&town.cells);
                let calls = self.burst(BURST, *retries, |ticket| cell.add.remote(ticket));
                self.settle_ids(&calls, KILLED);
            }
            7..11 => {
                let (tide, retries) = self.any(&town.tides);
                let mut calls = self.burst(BURST / 2, *retries, |ticket| tide.add.remote(ticket));
                calls.extend(self.burst(BURST / 2, *retries, |ticket| tide.look.remote(ticket)));
                self.settle_ids(&calls, KILLED);
            }
            11..14 => {
                let retries = self.retries();
                let calls = self.burst(16, retries, |ticket| touch::options().max_retries(retries).remote(ticket));
                self.settle_ids(&calls, KILLED);
            }
            14 => self.chain(),
            15 => self.large(),
            16 => self.handed_over(),
            17 => self.passed(),
            18 => self.streamed(),
            19 => {
                let (cell, tide) = (self.any(&town.cells).clone(), self.any(&town.tides).clone());
                let retries = self.retries();
                let call = |ticket| nest::options().max_retries(retries).remote(ticket, &cell, &tide, &town.post);
                let calls = self.burst(2, retries, call);
                self.settle_nested(&calls, 16);
            }
            20 => {
                let ((from, retries), to) = (town.cells[0].clone(), town.cells[1].clone());
                let calls = self.burst(4, retries, |ticket| from.relay.remote(ticket, &to));
                self.settle_nested(&calls, 8);
                let (tide, retries) = self.any(&town.tides).clone();
                let calls = self.burst(4, retries, |ticket| tide.ask.remote(ticket, &to));
                self.settle_nested(&calls, 4);
            }
            21 => self.ended(),
            22 => self.short_lived(),
            _ => self.founded(),
        }
    }

    /// Calls that need the results of others.
    fn chain(&mut self) {
        for _ in 0..4 {
            let retries = self.retries();
            let first = self.ticket(retries);
            let number = touch::options().max_retries(retries).remote(first);
            let second = self.ticket(retries);
            let pair = follow::options().max_retries(retries).remote(second, &number);
            if let Some(came) = self.settle(&(second, pair), KILLED) {
                self.expect(second, &came, &(second.id, first.id));
            }
            self.settle_ids(&[(first, number)], KILLED);
        }
    }

    /// Arguments and results in shared memory.
    fn large(&mut self) {
        let retries = self.retries();
        let numbers = numbers_of(self.next << 32, LARGE);
        let total: f64 = numbers.iter().sum();
        let (cell, of_cell) = self.any(&self.town.cells).clone();
        let stored = put(numbers.clone()).expect("there is room");
        let mut calls = self.burst(3, retries, |ticket| sum::options().max_retries(retries).remote(ticket, &stored));
        calls.extend(self.burst(3, of_cell, |ticket| cell.sum.remote(ticket, &stored)));
        calls.extend(self.burst(1, retries, |ticket| {
            sum::options().max_retries(retries).remote(ticket, numbers.clone())
        }));
        drop(stored);
        for call in &calls {
            if let Some(came) = self.settle(call, KILLED) {
                self.expect(call.0, &came, &(call.0.id, total));
            }
        }
        let array = Array::from_slice(&numbers);
        let calls = self.burst(2, retries, |ticket| double::options().max_retries(retries).remote(ticket, &array));
        for call in &calls {
            if let Some((id, doubled)) = self.settle(call, KILLED_WITHIN) {
                let is_doubled = doubled.iter().zip(&numbers).all(|(to, from)| *to == 2.0 * from);
                self.expect(call.0, &(id, doubled.len(), is_doubled), &(call.0.id, LARGE, true));
            }
        }
    }

    /// What a worker has put is there for whoever has the ref, also when the worker is gone.
    fn handed_over(&mut self) {
        let retries = self.retries();
        let count = if self.dice.bool() { LARGE } else { 10 };
        let calls = self.burst(4, retries, |ticket| make::options().max_retries(retries).remote(ticket, count));
        let came: Vec<_> = calls.iter().filter_map(|call| Some((call.0, self.settle(call, KILLED_WITHIN)?))).collect();
        drop(calls);
        for (ticket, (id, made)) in came {
            self.expect(ticket, &id, &ticket.id);
            let pair = self.ticket(retries);
            let total = sum::options().max_retries(retries).remote(pair, &made);
            let expected = numbers_of(ticket.id, count);
            if let Some(came) = self.settle(&(pair, total), KILLED) {
                self.expect(pair, &came, &(pair.id, expected.iter().sum()));
            }
            self.read(ticket, &made, &expected);
        }
    }

    /// Refs that are lent to several at once, and come back when their own are dropped.
    fn passed(&mut self) {
        let retries = self.retries();
        let (cell, of_cell) = self.any(&self.town.cells).clone();
        let expected = numbers_of(self.next << 32, 1_000);
        let mine = vec![put(expected.clone()).expect("there is room")];
        let kept = self.burst(2, of_cell, |ticket| cell.keep.remote(ticket, &mine));
        let calls = self.burst(6, retries, |ticket| pass::options().max_retries(retries).remote(ticket, &mine));
        drop(mine);
        for call in calls {
            let came = self.settle(&call, KILLED);
            let ticket = call.0;
            drop(call);
            if let Some((id, back)) = came {
                self.expect(ticket, &(id, back.len()), &(ticket.id, 1));
                back.iter().for_each(|back| self.read(ticket, back, &expected));
            }
        }
        for call in &kept {
            if let Some((id, before)) = self.settle(call, KILLED) {
                self.expect(call.0, &id, &call.0.id);
                let read = before.map(|before| before.get_timeout(ANSWER_MAX).map(|numbers| numbers.len()));
                if !matches!(read, None | Some(Ok(1_000))) {
                    self.note(|all| &all.lost, &format!("what an actor kept is gone: {read:?}"));
                }
            }
        }
    }

    fn streamed(&mut self) {
        let retries = self.retries();
        let ticket = self.ticket(retries);
        let count = self.dice.u64(1..600);
        let items: ObjectStream<u64> = stream::options().max_retries(retries).remote(ticket, count);
        let since = Instant::now();
        let reads = async {
            let mut items = items;
            let mut came = Vec::new();
            while let Some(item) = next(&mut items).await {
                came.push(item.await?);
            }
            Ok(came)
        };
        let late = || Err(Error::new(ErrorKind::Timeout, "the stream hangs"));
        let came = block_on(async { tokio::time::timeout(ANSWER_MAX, reads).await.unwrap_or_else(|_| late()) });
        if let Some(came) = self.outcome(ticket, came, since, KILLED) {
            self.expect(ticket, &came, &(0..count).map(|at| ticket.id + at).collect());
        }
    }

    /// Cancelled, and past their time.
    fn ended(&mut self) {
        let retries = self.retries();
        let calls = self.burst(2, retries, |ticket| linger::options().max_retries(retries).remote(ticket));
        thread::sleep(Duration::from_millis(self.dice.u64(..40)));
        for (_, call) in &calls {
            cancel(call).expect("a call can be cancelled");
        }
        self.settle_ids(&calls, &[ErrorKind::WorkerCrashed, ErrorKind::Cancelled]);
        let time = Duration::from_millis(self.dice.u64(1..60));
        let call = |ticket| linger::options().max_retries(retries).timeout(time).remote(ticket);
        let calls = self.burst(2, retries, call);
        self.settle_ids(&calls, &[ErrorKind::WorkerCrashed, ErrorKind::Timeout]);
        let (cell, retries) = self.any(&self.town.cells).clone();
        let calls = self.burst(8, retries, |ticket| cell.add.options().timeout(time).remote(ticket));
        calls.iter().step_by(3).for_each(|(_, call)| cancel(call).expect("a call can be cancelled"));
        self.settle_ids(&calls, &[ErrorKind::WorkerCrashed, ErrorKind::Cancelled, ErrorKind::Timeout]);
    }

    /// An actor that is killed, or dropped when it has run what was queued.
    fn short_lived(&mut self) {
        let number = self.town.next_actor();
        let mine = Cell::options().max_restarts(RESTARTS).remote(number);
        let calls = self.burst(BURST, 0, |ticket| mine.add.remote(ticket));
        if self.dice.bool() {
            self.settle_ids(&calls[..BURST / 4], KILLED);
            kill(&mine).expect("an actor can be killed");
            self.settle_ids(&calls[BURST / 4..], &[ErrorKind::WorkerCrashed, ErrorKind::ActorDied]);
        } else {
            drop(mine);
            self.settle_ids(&calls, KILLED);
        }
    }

    fn founded(&mut self) {
        let number = self.town.next_actor();
        let retries = self.retries();
        let call = self.burst(1, retries, |ticket| found::options().max_retries(retries).remote(ticket, number));
        let Some((id, made)) = self.settle(&call[0], KILLED) else { return };
        self.expect(call[0].0, &id, &call[0].0.id);
        drop(call);
        let calls = self.burst(BURST, 0, |ticket| made.add.remote(ticket));
        self.settle_ids(&calls, KILLED);
    }
}

// ------------------------------------------------------------------------------------------ what is compared

/// Compares what was acknowledged with what was done.
fn compare(findings: &Findings, book: &Book) {
    let bytes = fs::read(&*WITNESS_PATH).expect("it is there");
    assert_eq!(bytes.len() % RECORD, 0, "records are whole");
    let records: Vec<_> = bytes.chunks_exact(RECORD).map(Record::of).collect();
    let mut attempts: HashMap<u64, BTreeSet<u32>> = HashMap::new();
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for Record { ticket, attempt, actor } in records {
        let before = attempts.entry(ticket.id).or_default();
        let is_first = before.is_empty();
        let is_new = before.insert(attempt);
        if !is_new || before.len() > 1 + ticket.retries as usize {
            findings.note(|all| &all.doubled, &format!("{ticket:x?} runs again in attempt {attempt}"));
        }
        if is_first && actor != 0 {
            let before = last.insert((ticket.origin, actor), ticket.id).unwrap_or_default();
            if before > ticket.id {
                let text = format!("{ticket:x?} runs in actor {actor} after {before:x}");
                findings.note(|all| &all.reordered, &text);
            }
        }
    }
    for id in &book.acked {
        if !attempts.contains_key(id) {
            findings.note(|all| &all.lost, &format!("{id:x} was acknowledged and not done"));
        }
    }
}

// ------------------------------------------------------------------------------------------------ the killer

/// The children of this process that run.
fn children() -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("Linux lists processes");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).collect()
}

fn is_child(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let is_running = fields.next().is_some_and(|state| state != "Z" && state != "X");
    is_running && fields.next().is_some_and(|parent| parent == std::process::id().to_string())
}

/// Kills a child, and no other process that has got its number meanwhile.
fn kill_child(pid: i32) -> bool {
    let Some(found) = Pid::from_raw(pid) else { return false };
    let Ok(handle) = pidfd_open(found, PidfdFlags::empty()) else { return false };
    is_child(pid) && pidfd_send_signal(&handle, Signal::KILL).is_ok()
}

fn kill_until(is_over: &AtomicBool, mut dice: Rng) -> u64 {
    let (start, mut kills) = (Instant::now(), 0);
    for tick in 1.. {
        thread::sleep((start + KILL_EACH * tick).saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        if let Some(pid) = dice.choice(children()) {
            kills += u64::from(kill_child(pid));
        }
    }
    kills
}

// ---------------------------------------------------------------------------------------------- what is left

/// What this process has that outlives a session.
fn held() -> [(&'static str, usize); 3] {
    let fds = fs::read_dir("/proc/self/fd").expect("Linux lists descriptors").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux lists mappings");
    let maps = maps.lines().filter(|line| line.contains("memfd:")).count();
    [("descriptors", fds), ("mappings of shared memory", maps), ("children", children().len())]
}

fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + END_MAX;
    while !is_so() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Nothing is alive in a session that nobody uses any more.
fn check_left(findings: &Findings) {
    if !eventually(|| mobula::testing::leftovers().is_empty()) {
        let left = mobula::testing::leftovers();
        findings.note(|all| &all.leaked, &format!("left over: {left:?}, {:?}", mobula::testing::waits()));
    }
    if !eventually(|| mobula::store_stats().bytes_used + mobula::store_stats().bytes_borrowed == 0) {
        findings.note(|all| &all.leaked, &format!("shared memory is left: {:?}", mobula::store_stats()));
    }
}

fn session() -> Session {
    let path = WITNESS_PATH.to_str().expect("a path of letters");
    let config = Config::new().num_cpus(4.0).env(WITNESS, path);
    config.init().expect("no other session runs")
}

/// Runs clients for a time; what they know of their calls.
fn run_clients(findings: &Arc<Findings>, seed: u64, first: u64, time: Duration) -> Book {
    let town = Town::new(findings.clone());
    let town = Arc::new(town);
    let until = Instant::now() + time;
    let (sender, ended) = mpsc::channel();
    for number in first..first + CLIENTS {
        let (town, sender) = (town.clone(), sender.clone());
        let body = move || {
            let dice = Rng::with_seed(seed ^ number << 32);
            let mut client = Client { town: &town, number, next: 0, dice, book: Book::default() };
            while Instant::now() < until {
                client.step();
            }
            let Client { book, .. } = client;
            drop(town);
            let _ = sender.send(book);
        };
        thread::Builder::new().name(format!("client-{number}")).spawn(body).expect("a thread can be had");
    }
    let mut book = Book::default();
    drop((sender, town));
    for _ in 0..CLIENTS {
        match ended.recv_timeout(time + 8 * ANSWER_MAX) {
            Ok(one) => book.merge(one),
            Err(_) => {
                findings.note(|all| &all.hung, &format!("a client hangs: {:?}", mobula::testing::waits()));
            }
        }
    }
    book
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() -> ExitCode {
    // What `cargo nextest` asks of a test program.
    if env::args().any(|arg| arg == "--list") {
        if !env::args().any(|arg| arg == "--ignored") {
            println!("chaos: test");
        }
        return ExitCode::SUCCESS;
    }
    let seed = number_of("MOBULA_CHAOS_SEED", fastrand::u64(..1_000_000));
    let time = Duration::from_secs(number_of("MOBULA_CHAOS_S", 3));
    let findings = Arc::new(Findings::default());
    File::create(&*WITNESS_PATH).expect("a file can be made");

    // Once without, so that what a process makes but once is there.
    let running = session();
    let mut book = run_clients(&findings, seed, 1, Duration::from_secs(1));
    check_left(&findings);
    drop(running);
    let before = held();

    let running = session();
    let is_over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (is_over, dice) = (is_over.clone(), Rng::with_seed(seed));
        thread::spawn(move || kill_until(&is_over, dice))
    };
    book.merge(run_clients(&findings, seed, 1 + CLIENTS, time));
    is_over.store(true, Ordering::Relaxed);
    let kills = killer.join().expect("it does not panic");
    check_left(&findings);
    drop(running);
    if !eventually(|| held().iter().zip(&before).all(|(now, before)| now.1 <= before.1)) {
        findings.note(|all| &all.leaked, &format!("{:?} where there were {before:?}", held()));
    }
    if runtime_threads() > 0 {
        findings.note(|all| &all.leaked, &format!("{} threads are left", runtime_threads()));
    }
    compare(&findings, &book);
    let _ = fs::remove_file(&*WITNESS_PATH);

    let failed: Vec<_> = book.failed.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("calls that were not acknowledged: {}", failed.join(", "));
    let [lost, doubled, reordered, hung, leaked] = findings.counts();
    println!(
        "ops {} acked {} lost {lost} doubled {doubled} reordered {reordered} hung {hung} leaked {leaked} \
         kills {kills} seed {seed}",
        book.ops,
        book.acked.len(),
    );
    if [lost, doubled, reordered, hung, leaked] == [0; 5] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
