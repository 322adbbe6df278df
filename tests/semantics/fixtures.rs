//! Functions and classes that many behaviours use.

use mobula::prelude::*;

use crate::common::{AtDrop, Gauge, Journal, Latch};

#[remote]
pub(crate) fn add(x: i64, y: i64) -> i64 {
    x + y
}

/// Fails if `text` is no number.
#[remote]
pub(crate) fn parse(text: &str) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

/// Comes to `value` once the latch is open; holds its thread and its CPU until then.
#[remote]
pub(crate) fn hold(latch: Latch, value: i64) -> i64 {
    latch.wait();
    value
}

/// As `hold`, and is seen in the gauge meanwhile.
#[remote]
pub(crate) fn hold_inside(gauge: Gauge, latch: Latch) {
    let inside = gauge.enter();
    latch.wait();
    drop(inside);
}

#[remote]
pub(crate) fn explode(text: &str) -> i64 {
    panic!("{text}")
}

#[remote]
pub(crate) fn note(journal: Journal, text: String) {
    journal.note(text);
}

/// Notes its start, and loops until it is told to stop; notes that, too.
#[remote]
pub(crate) fn loop_until_told(journal: Journal, name: &str) {
    journal.note(format!("{name} runs"));
    while !mobula::is_cancelled() {
        std::thread::yield_now();
    }
    journal.note(format!("{name} was told"));
}

#[derive(Default)]
pub(crate) struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    pub(crate) fn new(value: i64) -> Self {
        Self { value }
    }

    pub(crate) fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }

    pub(crate) fn add(&mut self, by: i64) -> i64 {
        self.value += by;
        self.value
    }

    pub(crate) fn value(&self) -> i64 {
        self.value
    }

    pub(crate) fn hold(&mut self, latch: Latch) -> i64 {
        latch.wait();
        self.value
    }
}

/// What an actor of any kind does in these tests.
#[remote]
pub(crate) trait Subject {
    /// Notes a text; comes to how many this instance has noted.
    fn note(&mut self, text: String) -> usize;
    /// Blocks its thread.
    fn hold(&mut self, latch: Latch);
    fn refuse(&mut self, text: String) -> Result<(), String>;
    fn crash(&mut self, text: &str);
    /// Panics in its first attempts; comes to the number of the one that did not.
    fn crash_before(&mut self, attempt: u32) -> u32;
    /// Panics once the latch is open.
    fn crash_later(&mut self, gauge: Gauge, latch: Latch);
    /// Fails in its first attempts; comes to the number of the one that did not.
    fn refuse_before(&mut self, attempt: u32) -> Result<u32, String>;
    /// Keeps a handle in its state.
    fn keep(&mut self, other: ActorHandle<dyn Subject>);
    /// Ends its actor.
    fn leave(&mut self) -> usize;
}

/// The state of a [`Subject`]; its journal is told of its beginning and its end.
struct State {
    journal: Journal,
    noted: usize,
    kept: Vec<ActorHandle<dyn Subject>>,
    _life: AtDrop,
}

impl State {
    fn new(journal: Journal, name: &str) -> Self {
        journal.note(format!("{name} begins"));
        Self { journal, noted: 0, kept: Vec::new(), _life: journal.at_drop(&format!("{name} ends")) }
    }

    fn note(&mut self, text: String) -> usize {
        self.journal.note(text);
        self.noted += 1;
        self.noted
    }

    fn keep(&mut self, other: ActorHandle<dyn Subject>) {
        self.kept.push(other);
    }
}

macro_rules! subject {
    ($class:ident) => {
        #[remote]
        impl Subject for $class {
            fn note(&mut self, text: String) -> usize {
                self.0.note(text)
            }
            fn hold(&mut self, latch: Latch) {
                self.0.journal.note("held");
                latch.wait();
            }
            fn refuse(&mut self, text: String) -> Result<(), String> {
                Err(text)
            }
            fn crash(&mut self, text: &str) {
                panic!("{text}")
            }
            fn crash_later(&mut self, gauge: Gauge, latch: Latch) {
                let _inside = gauge.enter();
                latch.wait();
                panic!("later")
            }
            fn crash_before(&mut self, attempt: u32) -> u32 {
                let now = mobula::context().attempt;
                assert!(now >= attempt, "attempt {now} crashed");
                now
            }
            fn refuse_before(&mut self, attempt: u32) -> Result<u32, String> {
                let now = mobula::context().attempt;
                if now < attempt { Err(format!("attempt {now} failed")) } else { Ok(now) }
            }
            fn keep(&mut self, other: ActorHandle<dyn Subject>) {
                self.0.keep(other);
            }
            fn leave(&mut self) -> usize {
                mobula::exit_actor();
                self.0.noted
            }
        }
    };
}

/// A subject of a sync class.
pub(crate) struct Plain(State);

#[remote]
impl Plain {
    pub(crate) fn new(journal: Journal, name: &str) -> Self {
        Self(State::new(journal, name))
    }
}

subject!(Plain);

/// A subject of an async class.
pub(crate) struct Waiting(State);

#[remote]
impl Waiting {
    pub(crate) fn new(journal: Journal, name: &str) -> Self {
        Self(State::new(journal, name))
    }

    /// Makes the class an async one.
    pub(crate) async fn pass(&self, latch: Latch) {
        latch.pass().await;
        self.0.journal.note("passed");
    }
}

subject!(Waiting);

/// Where an actor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On a thread of its own.
    Thread,
    /// On a thread that it shares.
    Shared,
    /// The same, being of an async class.
    Async,
}

/// What is asked of a subject beyond the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) restarts: u32,
    pub(crate) call_retries: u32,
    pub(crate) retries_errors: bool,
    pub(crate) calls_max: Option<usize>,
}

macro_rules! with_wish {
    ($options:expr, $wish:expr) => {{
        let options = $options.max_restarts($wish.restarts).max_task_retries($wish.call_retries);
        let options = options.retry_on_error($wish.retries_errors);
        match $wish.calls_max {
            Some(most) => options.max_pending_calls(most),
            None => options,
        }
    }};
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Thread, Self::Shared, Self::Async];

    pub(crate) fn make(self, journal: Journal, name: &str) -> ActorHandle<dyn Subject> {
        self.make_with(journal, name, Wish::default())
    }

    pub(crate) fn make_with(self, journal: Journal, name: &str, wish: Wish) -> ActorHandle<dyn Subject> {
        match self {
            Self::Thread => with_wish!(Plain::options(), wish).remote(journal, name).into(),
            Self::Shared => {
                with_wish!(Plain::options(), wish).isolation("shared").remote(journal, name).into()
            }
            Self::Async => with_wish!(Waiting::options(), wish).remote(journal, name).into(),
        }
    }
}
