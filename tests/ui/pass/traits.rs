//! Remote traits and what implements them, in a crate that allows nothing.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, rust_2018_idioms, nonstandard_style)]

use mobula::prelude::*;

/// Knows how often it was called.
#[remote]
pub trait Tracked: Send {
    /// How often.
    fn calls(&mut self) -> u64;

    /// Who called; this one has a body.
    #[remote(timeout = "1s")]
    fn by(&self, who: &str, times: &[u64], again: ObjectRef<u64>) -> Result<String, std::fmt::Error> {
        let _ = (times, again);
        Ok(who.to_owned())
    }

    /// Stays ordinary.
    fn maker() -> Self
    where
        Self: Sized;
}

/// Counts its calls.
#[derive(Debug)]
pub struct Counter(u64);

#[remote]
impl Counter {
    /// Makes one.
    pub fn new() -> Self {
        Self(0)
    }

    /// An own method.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

#[remote]
impl Tracked for Counter {
    fn calls(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn maker() -> Self {
        Self(1)
    }
}

mod inner {
    #[mobula::remote]
    pub(crate) trait Named {
        fn name(&self) -> String;
    }
}

#[remote]
impl inner::Named for Counter {
    fn name(&self) -> String {
        "counter".to_owned()
    }
}

fn main() {
    let counter = Counter::remote();
    counter.reset.remote();
    let tracked: ActorHandle<dyn Tracked> = (&counter).into();
    let calls: ObjectRef<u64> = tracked.calls.remote();
    let _: ObjectRef<String> = tracked.by.remote("x", vec![1], &calls_of::remote());
    let _ = calls;
    let named: ActorHandle<dyn inner::Named> = (&counter).into();
    let _: ObjectRef<String> = named.name.options().timeout(std::time::Duration::ZERO).remote();
    let _: ObjectRef<u64> = ask::remote(&tracked);
}

#[remote]
fn calls_of() -> ObjectRef<u64> {
    unreachable!()
}

#[remote]
fn ask(tracked: ActorHandle<dyn Tracked>) -> u64 {
    let _ = tracked.calls.remote();
    1
}
