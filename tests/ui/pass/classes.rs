//! Classes of every kind, in a crate that allows nothing.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    rust_2018_idioms,
    nonstandard_style
)]

use mobula::prelude::*;
use serde::{Deserialize, Serialize};

/// Counts.
#[derive(Debug, Default)]
pub struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    /// What it counts to.
    pub const MOST: i64 = 10;

    /// A counter that begins at `start`.
    pub fn new(start: i64) -> Self {
        Self { value: start }
    }

    /// Adds one.
    pub fn increment(&mut self, by: i64) -> i64 {
        self.value += by;
        self.clamp();
        self.value
    }

    /// Does the same twice.
    pub fn twice(self: &mut Self, other: Vec<i64>) -> Result<i64, std::num::TryFromIntError> {
        self.value += i64::try_from(other.len())?;
        Ok(self.value)
    }

    /// Shows it.
    #[remote(timeout = "5s", max_task_retries = 2, retry_on_error)]
    pub fn show(&self, name: &str) -> String {
        format!("{name}{}", self.value)
    }

    /// Names that generated code could have chosen for itself.
    pub fn m(&self) -> i64 {
        self.value
    }

    /// Another.
    #[allow(non_snake_case, reason = "a name that generated code could have chosen")]
    pub fn Options(&self) -> i64 {
        self.m()
    }

    /// Counts.
    pub fn count(&self, from: &[i64]) -> impl Iterator<Item = i64> {
        from.iter().map(|x| x + self.value)
    }

    /// A method with a condition.
    #[cfg(any())]
    pub fn absent(&self, x: Absent) {}

    /// Stays ordinary.
    pub fn helper() -> i64 {
        Self::MOST
    }

    fn clamp(&mut self) {
        self.value = self.value.min(Self::helper());
    }
}

/// A class whose methods wait.
#[derive(Debug)]
pub(crate) struct Fetcher(std::sync::Mutex<u8>);

#[remote(max_restarts = 2, max_concurrency = 10, num_cpus = 0.5)]
impl Fetcher {
    pub(crate) fn new() -> Result<Self, String> {
        Ok(Self(std::sync::Mutex::new(0)))
    }

    pub(crate) async fn fetch(&self, url: &str, parts: &[u8]) -> Result<String, String> {
        std::future::ready(()).await;
        Ok(format!("{url}{}{:?}", parts.len(), self.0))
    }

    pub(crate) async fn set(&mut self, to: u8) {
        self.0 = std::sync::Mutex::new(to);
    }

    pub(crate) fn options_of(&self) {}
}

#[allow(unreachable_pub, reason = "what is public and hidden may mention less public types")]
mod inner {
    use mobula::remote;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize)]
    pub(crate) struct Config(pub(crate) u8);

    pub struct Pool(u8);

    #[remote]
    impl Pool {
        pub fn new(config: Config) -> Pool {
            Self(config.0)
        }

        pub fn config(&self, other: &Config) -> Config {
            Config(self.0 + other.0)
        }

        pub(crate) fn r#type(&self) -> u8 {
            self.0
        }
    }

    pub struct Other;
}

#[remote]
impl inner::Other {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// Values whose names also appear in generated code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options(u8);

/// The same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Methods(u8);

/// Passes itself on, and handles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum State {
    /// The only one.
    One,
}

#[remote]
impl State {
    /// Makes it, from names that also appear in generated code.
    pub fn new(args: Options, output: Methods, a0: u8) -> Result<State, std::fmt::Error> {
        let _ = (args, output, a0);
        Ok(Self::One)
    }

    /// Gives the other one back.
    pub fn other(&self, this: Self, args: &[Self]) -> (Self, Option<Self>) {
        (this, args.first().cloned())
    }

    /// Takes handles.
    pub fn meet(&mut self, counter: ActorHandle<Counter>, by: &i64) -> ObjectRef<i64> {
        counter.increment.remote(by)
    }
}

/// A class with the name of a generic parameter, and methods with the names of what is generated.
#[derive(Debug)]
pub struct C;

#[remote]
impl C {
    /// Makes it.
    pub fn new() -> Self {
        Self
    }

    /// The handle's type has a function of this name.
    pub fn methods(&self) {}

    /// So has its options.
    pub fn timeout(&self) {}

    #[deprecated]
    #[doc(hidden)]
    pub fn old(&self) {}
}

fn main() {
    let c: ActorHandle<C> = C::options().num_cpus(1.0).remote();
    c.methods.remote();
    c.timeout.remote();
    let counter = Counter::remote(1);
    let by = counter.increment.remote(2);
    let _: ObjectRef<i64> = counter.increment.remote(&by);
    let _: ObjectRef<i64> = counter.twice.remote([1, 2]);
    let _: ObjectRef<String> = counter.show.options().timeout(std::time::Duration::ZERO).remote("x");
    let _: ObjectStream<i64> = counter.count.remote(vec![1]);
    Counter::options().num_cpus(1.0).name("x").remote(1);
    let fetcher = Fetcher::remote();
    let _: ObjectRef<String> = fetcher.fetch.remote("x", vec![1]);
    fetcher.set.remote(1);
    fetcher.options_of.remote();
    let pool = inner::Pool::remote(inner::Config(1));
    let _: ObjectRef<inner::Config> = pool.config.remote(&inner::Config(2));
    pool.r#type.remote();
    let _: ActorHandle<inner::Other> = inner::Other::remote();
    let state = State::remote(Options(1), Methods(2), 3);
    state.other.remote(State::One, vec![State::One]);
    state.meet.remote(&counter, 1);
}
