//! A client: it makes calls of all kinds, and knows what each may come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mobula::prelude::*;
use mobula::{Array, Error, ErrorKind, ObjectStream, Value, cancel, kill, put};

use crate::calls::{
    Answers, Cell, Line, Post, Tide, double, follow, found, linger, make, nest, numbers_of, pass, stream,
    sum, touch,
};
use crate::common::{block_on, next};
use crate::findings::{Book, Findings};
use crate::killer::is_ours;
use crate::witness::Ticket;

/// Beyond this a call hangs.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Calls of one kind that a client has in flight at once.
const BURST: usize = 48;
/// More than there are kills.
const RESTARTS: u32 = 1_000_000;
const RETRIES: u32 = 3;
/// Numbers that must leave a process: 160 kB.
const LARGE: usize = 20_000;
/// What ends a call whose process is killed.
const KILLED: &[ErrorKind] = &[ErrorKind::WorkerCrashed];

/// What all clients call.
pub(crate) struct Town {
    cells: Vec<Line<Cell>>,
    tides: Vec<Line<Tide>>,
    post: ActorHandle<Post>,
    findings: Arc<Findings>,
    actors: AtomicU64,
}

impl Town {
    pub(crate) fn new(findings: Arc<Findings>) -> Self {
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

pub(crate) struct Client<'a> {
    town: &'a Town,
    number: u64,
    next: u64,
    dice: Rng,
    pub(crate) book: Book,
}

/// A call and what it is to come to.
type Calls<T> = Vec<Call<T>>;
type Call<T> = (Ticket, ObjectRef<T>);

impl<'a> Client<'a> {
    pub(crate) fn new(town: &'a Town, number: u64, dice: Rng) -> Self {
        Self { town, number, next: 0, dice, book: Book::default() }
    }

    fn ticket(&mut self, retries: u32) -> Ticket {
        self.next += 1;
        self.book.ops += 1;
        assert!(self.next < 1 << 24, "an id has room for it");
        Ticket { id: self.number << 56 | self.next << 32, origin: self.number << 56, retries }
    }

    fn burst<T: Value>(
        &mut self,
        count: usize,
        retries: u32,
        call: impl Fn(Ticket) -> ObjectRef<T>,
    ) -> Calls<T> {
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
    fn outcome<T>(
        &mut self,
        ticket: Ticket,
        came: mobula::Result<T>,
        since: Instant,
        may: &[ErrorKind],
    ) -> Option<T> {
        let error = match came {
            Ok(value) => {
                self.book.acked.insert(ticket.id);
                return Some(value);
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Timeout && since.elapsed() >= ANSWER_MAX {
            self.note(|all| &all.hung, &format!("{ticket:x?} hangs: {:?}", mobula::testing::waits()));
        } else {
            self.refused(ticket, &error, may);
        }
        None
    }

    fn refused(&mut self, ticket: Ticket, error: &Error, may: &[ErrorKind]) {
        *self.book.failed.entry(format!("{:?}", error.kind())).or_default() += 1;
        if !may.contains(&error.kind()) || !is_ours(error) {
            self.note(|all| &all.lost, &format!("{ticket:x?} ended with {error:?}"));
        }
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
    fn settle_nested(&mut self, calls: &[Call<(u64, Answers)>]) {
        for call in calls {
            let Some((id, answers)) = self.settle(call, KILLED) else { continue };
            self.expect(call.0, &id, &call.0.id);
            self.book.ops += answers.len() as u64;
            for answer in answers {
                match answer {
                    Ok(id) => drop(self.book.acked.insert(id)),
                    Err(error) => self.refused(call.0, &error, KILLED),
                }
            }
        }
    }

    fn any<'l, C>(&mut self, lines: &'l [C]) -> &'l C {
        &lines[self.dice.usize(..lines.len())]
    }

    fn retries(&mut self) -> u32 {
        if self.dice.bool() { RETRIES } else { 0 }
    }

    pub(crate) fn step(&mut self) {
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
                let calls =
                    self.burst(16, retries, |ticket| touch::options().max_retries(retries).remote(ticket));
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
                let nested =
                    |ticket| nest::options().max_retries(retries).remote(ticket, &cell, &tide, &town.post);
                let calls = self.burst(2, retries, nested);
                self.settle_nested(&calls);
            }
            20 => {
                let ((from, retries), to) = (town.cells[0].clone(), town.cells[1].clone());
                let calls = self.burst(4, retries, |ticket| from.relay.remote(ticket, &to));
                self.settle_nested(&calls);
                let (tide, retries) = self.any(&town.tides).clone();
                let calls = self.burst(4, retries, |ticket| tide.ask.remote(ticket, &to));
                self.settle_nested(&calls);
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
        let mut calls =
            self.burst(3, retries, |ticket| sum::options().max_retries(retries).remote(ticket, &stored));
        calls.extend(self.burst(3, of_cell, |ticket| cell.sum.remote(ticket, &stored)));
        calls.extend(
            self.burst(1, retries, |ticket| {
                sum::options().max_retries(retries).remote(ticket, numbers.clone())
            }),
        );
        drop(stored);
        for call in &calls {
            if let Some(came) = self.settle(call, KILLED) {
                self.expect(call.0, &came, &(call.0.id, total));
            }
        }
        let array = Array::from_slice(&numbers);
        let calls =
            self.burst(2, retries, |ticket| double::options().max_retries(retries).remote(ticket, &array));
        for call in &calls {
            if let Some((id, doubled)) = self.settle(call, KILLED) {
                let expected: Vec<_> = numbers.iter().map(|number| 2.0 * number).collect();
                let is_doubled = doubled.as_slice() == expected;
                self.expect(call.0, &(id, doubled.len(), is_doubled), &(call.0.id, LARGE, true));
            }
        }
    }

    /// What a worker has put is there for whoever has the ref, also when the worker is gone.
    fn handed_over(&mut self) {
        let retries = self.retries();
        let count = if self.dice.bool() { LARGE } else { 10 };
        let calls =
            self.burst(4, retries, |ticket| make::options().max_retries(retries).remote(ticket, count));
        let came: Vec<_> =
            calls.iter().filter_map(|call| Some((call.0, self.settle(call, KILLED)?))).collect();
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
        let calls =
            self.burst(6, retries, |ticket| pass::options().max_retries(retries).remote(ticket, &mine));
        drop(mine);
        for call in calls {
            let came = self.settle(&call, KILLED);
            let ticket = call.0;
            drop(call);
            if let Some((id, back)) = came {
                self.expect(ticket, &(id, back.len()), &(ticket.id, 1));
                for back in &back {
                    self.read(ticket, back, &expected);
                }
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
        let came =
            block_on(async { tokio::time::timeout(ANSWER_MAX, reads).await.unwrap_or_else(|_| late()) });
        if let Some(came) = self.outcome(ticket, came, since, KILLED) {
            let is_whole = came.iter().copied().eq((0..count).map(|at| ticket.id + at));
            self.expect(ticket, &(came.len(), is_whole), &(count as usize, true));
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
        let late = |ticket| linger::options().max_retries(retries).timeout(time).remote(ticket);
        let calls = self.burst(2, retries, late);
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
        let call =
            self.burst(1, retries, |ticket| found::options().max_retries(retries).remote(ticket, number));
        let Some((id, made)) = self.settle(&call[0], KILLED) else { return };
        self.expect(call[0].0, &id, &call[0].0.id);
        drop(call);
        let calls = self.burst(BURST, 0, |ticket| made.add.remote(ticket));
        self.settle_ids(&calls, KILLED);
    }
}
