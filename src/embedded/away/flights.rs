//! The calls of an actor that are on their way to its process, or run there.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::super::pauses::Pauses;
use super::super::workforce::with_names;
use super::AwayHost;
use crate::error::Error;
use crate::executor::{caught, put_away};
use crate::id::WorkerId;
use crate::spec::Retry;
use crate::store::{Listener, Object, Started};
use crate::transport::Load;

/// One call.
pub(super) struct Flight {
    pub(super) object: Arc<dyn Object>,
    /// Taken while users' code reads an item of its stream, without a lock. The flight stays where it is: it may
    /// be cancelled meanwhile, and counts as one that runs.
    call: Option<Started>,
    pub(super) retry: Retry,
    pub(super) attempt: u32,
    pub(super) has_begun: bool,
    pub(super) bytes: usize,
    pub(super) listener: Option<Arc<Outside>>,
    pub(super) pauses: Pauses,
}

impl Flight {
    pub(super) fn new(call: Started, retry: Retry) -> Self {
        let object = call.object().clone();
        let pauses = Pauses::default();
        let call = Some(call);
        Self { object, call, retry, attempt: 1, has_begun: false, bytes: 0, listener: None, pauses }
    }

    /// The call itself, unless an item of its stream is being read.
    pub(super) fn call(&self) -> Option<&Started> {
        self.call.as_ref()
    }

    /// Whether it may not be tried again: its attempts are spent, or something of it was seen.
    pub(super) fn is_spent(&self) -> bool {
        self.attempt > self.retry.retries || self.call.as_ref().is_none_or(Started::has_yielded)
    }

    /// Its worker knows it no more, and is told nothing of it. Listeners name a call by a number of the process;
    /// the next one has its own.
    pub(super) fn land(&mut self) {
        let head = self.object.head();
        head.set_ahead(false);
        if let Some(listener) = self.listener.take() {
            head.unlisten(Arc::as_ptr(&listener).cast());
        }
    }

    /// Its worker has said what became of it.
    pub(super) fn complete(mut self, error: Option<Error>, load: &Load) {
        self.land();
        let mut call = self.call.take().expect("items are read by the thread that hears of the end");
        let deposit = || with_names(load.names(), || call.deposit(&mut load.unpacker()));
        let result = error.map_or_else(|| caught(deposit), Err);
        put_away(&mut call);
        match result {
            Ok(()) => call.publish(),
            Err(error) => drop(self.object.fail(error)),
        }
    }

    pub(super) fn fail(mut self, error: Error) {
        self.land();
        self.put_away();
        self.object.fail(error);
    }

    /// Drops the arguments.
    pub(super) fn put_away(&mut self) {
        if let Some(call) = &mut self.call {
            put_away(call);
        }
    }
}

/// Those of one process, by its numbers for them: in the order in which they were sent.
#[derive(Default)]
pub(super) struct Flights {
    by_number: BTreeMap<u64, Flight>,
    bytes: usize,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Bytes of their arguments.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait in the process for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.by_number.values().filter(|flight| !flight.has_begun).count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Flight)> {
        self.by_number.iter().map(|(number, flight)| (*number, flight))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Flight> {
        self.by_number.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Flight> {
        self.by_number.get_mut(&number)
    }

    pub(super) fn insert(&mut self, number: u64, flight: Flight) {
        self.bytes += flight.bytes;
        self.by_number.insert(number, flight);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Flight> {
        let flight = self.by_number.remove(&number)?;
        self.bytes -= flight.bytes;
        Some(flight)
    }

    /// The worker begins with a call.
    pub(super) fn begin(&mut self, number: u64) {
        if let Some(flight) = self.by_number.get_mut(&number) {
            flight.has_begun = true;
            flight.object.head().set_ahead(false);
        }
    }

    /// Where one runs after the other: the first of them has its turn.
    pub(super) fn begin_first(&mut self) {
        if let Some(number) = self.by_number.first_key_value().map(|(number, _)| *number) {
            self.begin(number);
        }
    }

    /// An item of the stream of a call is about to be read: the call, and its attempt.
    pub(super) fn begin_reading(&mut self, number: u64) -> Option<(Started, u32)> {
        let flight = self.by_number.get_mut(&number)?;
        Some((flight.call.take()?, flight.attempt))
    }

    /// The item was read. Gives the call back if its flight has ended meanwhile.
    pub(super) fn end_reading(&mut self, number: u64, call: Started) -> Option<Started> {
        match self.by_number.get_mut(&number) {
            Some(flight) => {
                flight.call = Some(call);
                None
            }
            None => Some(call),
        }
    }

    /// Those whose process is gone; `has_begun` says of each what is known better now.
    pub(super) fn take(&mut self, has_begun: impl Fn(u64, bool) -> bool) -> Vec<Flight> {
        self.bytes = 0;
        let all = std::mem::take(&mut self.by_number);
        let known = |(number, flight): (u64, Flight)| Flight {
            has_begun: has_begun(number, flight.has_begun),
            ..flight
        };
        all.into_iter().map(known).collect()
    }
}

/// Told when a call that is in flight is completed from outside.
pub(super) struct Outside {
    pub(super) host: Weak<AwayHost>,
    pub(super) worker: WorkerId,
    /// By the worker's number.
    pub(super) call: u64,
}

impl Listener for Outside {
    fn ready(&self, _: usize, _: bool) {
        if let Some(host) = self.host.upgrade() {
            host.completed(self.worker, self.call);
        }
    }
}
