//! What is called: functions and actors of all kinds.

use std::thread;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{Array, is_cancelled, put};

use crate::witness::{Ticket, witness};

/// An actor, and how often its calls may be tried again.
pub(crate) type Line<C> = (ActorHandle<C>, u32);

#[remote(isolation = "process")]
pub(crate) fn touch(ticket: Ticket) -> u64 {
    witness(ticket, 0)
}

/// Passes a number on, which may come from a call.
#[remote(isolation = "process")]
pub(crate) fn follow(ticket: Ticket, before: u64) -> (u64, u64) {
    (witness(ticket, 0), before)
}

#[remote(isolation = "process")]
pub(crate) fn sum(ticket: Ticket, numbers: &[f64]) -> (u64, f64) {
    (witness(ticket, 0), numbers.iter().sum())
}

#[remote(isolation = "process")]
pub(crate) fn double(ticket: Ticket, numbers: &Array<f64>) -> mobula::Result<(u64, Array<f64>)> {
    let id = witness(ticket, 0);
    let doubled = Array::build(numbers.shape(), |to| {
        to.iter_mut().zip(numbers.as_slice()).for_each(|(to, from)| *to = 2.0 * from);
    })?;
    Ok((id, doubled))
}

/// Numbers that tell which call they belong to.
pub(crate) fn numbers_of(id: u64, count: usize) -> Vec<f64> {
    (0..count).map(|at| ((id >> 32) % 1_000 + at as u64) as f64).collect()
}

/// Puts numbers in its own process, which may be gone when they are read.
#[remote(isolation = "process")]
pub(crate) fn make(ticket: Ticket, count: usize) -> mobula::Result<(u64, ObjectRef<Vec<f64>>)> {
    Ok((witness(ticket, 0), put(numbers_of(ticket.id, count))?))
}

/// Gives back a ref that it was lent.
#[remote(isolation = "process")]
pub(crate) fn pass(ticket: Ticket, lent: Vec<ObjectRef<Vec<f64>>>) -> (u64, Vec<ObjectRef<Vec<f64>>>) {
    (witness(ticket, 0), lent)
}

#[remote(isolation = "process")]
pub(crate) fn stream(ticket: Ticket, count: u64) -> impl Iterator<Item = u64> {
    let id = witness(ticket, 0);
    (0..count).map(move |at| id + at)
}

/// Until it is told to stop.
#[remote(isolation = "process")]
pub(crate) fn linger(ticket: Ticket) -> u64 {
    witness(ticket, 0);
    while !is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    ticket.id
}

/// What became of calls that a call has made.
pub(crate) type Answers = Vec<mobula::Result<u64>>;

/// An answer, if it is that to its call.
fn answer(ticket: Ticket, came: mobula::Result<u64>) -> mobula::Result<u64> {
    assert!(came.as_ref().is_ok_and(|id| *id == ticket.id) || came.is_err(), "another's: {came:?}");
    came
}

/// Calls functions and actors of all kinds, in order.
#[remote(isolation = "process")]
pub(crate) fn nest(
    ticket: Ticket,
    cell: Line<Cell>,
    tide: Line<Tide>,
    post: ActorHandle<Post>,
) -> (u64, Answers) {
    witness(ticket, 0);
    let mut calls = Vec::new();
    for round in 0..4 {
        let of = |kind, retries| ticket.child(u64::from(4 * round + kind), retries);
        let [first, second, third, fourth] = [of(0, cell.1), of(1, tide.1), of(2, 0), of(3, round)];
        calls.push((first, cell.0.add.remote(first)));
        calls.push((second, tide.0.add.remote(second)));
        calls.push((third, post.add.remote(third)));
        calls.push((fourth, touch::options().max_retries(round).remote(fourth)));
    }
    (ticket.id, calls.iter().map(|(ticket, call)| answer(*ticket, call.get())).collect())
}

/// Makes an actor; who gets its handle calls it.
#[remote(isolation = "process")]
pub(crate) fn found(ticket: Ticket, number: u64) -> (u64, ActorHandle<Cell>) {
    (witness(ticket, 0), Cell::options().max_restarts(1_000_000).remote(number))
}

/// A state in a process of its own.
pub(crate) struct Cell {
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
    pub(crate) fn keep(
        &mut self,
        ticket: Ticket,
        lent: Vec<ObjectRef<Vec<f64>>>,
    ) -> (u64, Option<ObjectRef<Vec<f64>>>) {
        (witness(ticket, self.number), std::mem::replace(&mut self.kept, lent.into_iter().next()))
    }
    /// Calls another, in order.
    pub(crate) fn relay(&mut self, ticket: Ticket, to: Line<Cell>) -> (u64, Answers) {
        witness(ticket, self.number);
        let tickets = (0..8).map(|index| ticket.child(index, to.1));
        let calls: Vec<_> = tickets.map(|ticket| (ticket, to.0.add.remote(ticket))).collect();
        (ticket.id, calls.iter().map(|(ticket, call)| answer(*ticket, call.get())).collect())
    }
}

/// The same of an async class.
pub(crate) struct Tide {
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
    pub(crate) async fn ask(&self, ticket: Ticket, cell: Line<Cell>) -> (u64, Answers) {
        witness(ticket, self.number);
        let mut answers = Vec::new();
        for index in 0..4 {
            let child = ticket.child(index, cell.1);
            answers.push(answer(child, cell.0.add.remote(child).await));
        }
        (ticket.id, answers)
    }
}

/// A state in the driver: nobody kills it.
pub(crate) struct Post {
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
