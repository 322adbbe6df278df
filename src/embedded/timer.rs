//! Deadlines: one thread that sleeps until the next one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{Embedded, lock};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::store::Object;

/// How often long waits are looked for, and cancelled claims swept.
const LOOK: Duration = Duration::from_millis(500);

struct Alarm {
    at: Instant,
    then: Then,
}

/// What is done when the time has come.
enum Then {
    Expire(Weak<dyn Object>),
    Do(Box<dyn FnOnce() + Send>),
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[derive(Default)]
struct State {
    alarms: BinaryHeap<Reverse<Alarm>>,
    /// How many alarms there may be before those of finished calls are dropped.
    alarms_max: usize,
    has_ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The session's timer.
pub(super) struct Timer {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Timer {
    pub(super) fn start(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::default(), clock, thread: Mutex::default() }
    }

    /// Starts the thread; it ends with `host` or by [`Timer::stop`].
    pub(super) fn run(&self, host: Weak<Embedded>) -> std::io::Result<()> {
        let (shared, clock) = (self.shared.clone(), self.clock.clone());
        let body = move || serve(&shared, &*clock, &host);
        let thread = thread::Builder::new().name("mobula-timer".into()).spawn(body)?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Cancels the call with `Timeout` at a time.
    pub(super) fn expire(&self, object: &Arc<dyn Object>, at: Instant) {
        let mut state = lock(&self.shared.state);
        let is_next = state.alarms.peek().is_none_or(|Reverse(next)| at < next.at);
        if state.alarms.len() >= state.alarms_max.max(1024) {
            let waits = |alarm: &Reverse<Alarm>| match &alarm.0.then {
                Then::Expire(object) => object.upgrade().is_some_and(|object| !object.head().is_complete()),
                Then::Do(_) => true,
            };
            state.alarms.retain(waits);
            state.alarms_max = state.alarms.len() * 2;
        }
        state.alarms.push(Reverse(Alarm { at, then: Then::Expire(Arc::downgrade(object)) }));
        drop(state);
        if is_next {
            self.shared.changed.notify_one();
        }
    }

    /// Does something short at a time; never, if the session ends before.
    pub(super) fn at(&self, at: Instant, then: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.shared.state);
        state.alarms.push(Reverse(Alarm { at, then: Then::Do(Box::new(then)) }));
        drop(state);
        self.shared.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        lock(&self.shared.state).has_ended = true;
        self.shared.changed.notify_one();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared, clock: &dyn Clock, host: &Weak<Embedded>) {
    let mut look = clock.now() + LOOK;
    let mut state = lock(&shared.state);
    while !state.has_ended {
        let now = clock.now();
        let mut due = Vec::new();
        while state.alarms.peek().is_some_and(|Reverse(alarm)| alarm.at <= now) {
            due.extend(state.alarms.pop().map(|Reverse(alarm)| alarm.then));
        }
        if !due.is_empty() || look <= now {
            drop(state);
            for then in due {
                match then {
                    Then::Expire(object) => object.upgrade().iter().for_each(expire),
                    Then::Do(then) => then(),
                }
            }
            if look <= now {
                let Some(host) = host.upgrade() else { return };
                host.ledger.speak_of_long_waits(now);
                host.ledger.sweep(&host);
                host.elsewhere.iter().for_each(|elsewhere| elsewhere.sweep(now));
                look = now + LOOK;
            }
            state = lock(&shared.state);
            continue;
        }
        let next = state.alarms.peek().map_or(look, |Reverse(alarm)| alarm.at.min(look));
        let waited = shared.changed.wait_timeout(state, next.saturating_duration_since(now));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn expire(object: &Arc<dyn Object>) {
    if object.head().is_complete() {
        return;
    }
    let name = object.head().definition().name;
    let text = if object.head().has_started() {
        format!("`{name}` had not returned when its time was over")
    } else {
        format!("`{name}` had not started when its time was over")
    };
    object.cancel(&Error::new(ErrorKind::Timeout, text));
}
