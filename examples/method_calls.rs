//! Which methods of which actors are called, how often, and by whom: two classes behind one remote trait.
//!
//! Run it with `cargo run --release --example method_calls`. The program calls one of two actors at random,
//! thirty times, and keeps count itself; then a task calls one of them, and one actor the other. Each actor
//! counts the calls of its methods by who made them. It prints both counts, and fails if they differ.
//!
//! A remote trait does for actors what a base class does elsewhere: handles of different classes lie in one
//! map, since each converts into `ActorHandle<dyn Tracked>`. What would be keyword arguments elsewhere is
//! a struct with a `Default`.

use std::collections::{BTreeMap, HashMap};
use std::thread::sleep;
use std::time::Duration;

use mobula::CallerId;
use mobula::prelude::*;
use serde::{Deserialize, Serialize};

/// How often each method was called, by who called it.
type MethodCalls = BTreeMap<String, BTreeMap<String, u32>>;

/// The arguments of `method`, each of which may be left out.
#[derive(Clone, Serialize, Deserialize)]
pub struct MethodArgs {
    /// How long the call takes.
    pub timeout: Duration,
    /// Where its result would be kept.
    pub store: String,
}

impl Default for MethodArgs {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(5), store: "mongo_db".into() }
    }
}

/// An actor that knows how often it was called.
#[remote]
pub trait Tracked {
    /// Takes its time.
    fn method(&mut self, args: MethodArgs);
    /// Calls another actor's `method` from here; comes to the ref that this gives.
    fn call(&mut self, other: ActorHandle<dyn Tracked>) -> ObjectRef<()>;
    /// The name of this actor, and what was called so far.
    fn get_all_method_calls(&self) -> (String, MethodCalls);
}

/// What all tracked actors have in common.
struct Tracker {
    name: String,
    method_calls: MethodCalls,
}

impl Tracker {
    fn new(name: String) -> Self {
        Self { name, method_calls: MethodCalls::new() }
    }

    /// Counts the call that runs.
    fn count(&mut self, method: &str) {
        let caller = match mobula::context().caller {
            Some(CallerId::Driver(_)) => "driver",
            Some(CallerId::Task(..)) => "task",
            Some(CallerId::Actor(_)) => "actor",
            None => "unknown",
        };
        *self.method_calls.entry(method.into()).or_default().entry(caller.into()).or_default() += 1;
    }
}

/// The first class: `method` takes as long as it is told to.
pub struct ActorClsOne(Tracker);

#[remote]
impl ActorClsOne {
    /// Not called so far.
    pub fn new(name: String) -> Self {
        Self(Tracker::new(name))
    }
}

#[remote]
impl Tracked for ActorClsOne {
    fn method(&mut self, args: MethodArgs) {
        sleep(args.timeout);
        self.0.count("method");
    }

    fn call(&mut self, other: ActorHandle<dyn Tracked>) -> ObjectRef<()> {
        self.0.count("call");
        other.method.remote(MethodArgs::default())
    }

    fn get_all_method_calls(&self) -> (String, MethodCalls) {
        (self.0.name.clone(), self.0.method_calls.clone())
    }
}

/// The second class: it takes half as long again, and counts for each store apart.
pub struct ActorClsTwo(Tracker);

#[remote]
impl ActorClsTwo {
    /// Not called so far.
    pub fn new(name: String) -> Self {
        Self(Tracker::new(name))
    }
}

#[remote]
impl Tracked for ActorClsTwo {
    fn method(&mut self, args: MethodArgs) {
        sleep(args.timeout * 3 / 2);
        self.0.count(&format!("method for {}", args.store));
    }

    fn call(&mut self, other: ActorHandle<dyn Tracked>) -> ObjectRef<()> {
        self.0.count("call");
        other.method.remote(MethodArgs::default())
    }

    fn get_all_method_calls(&self) -> (String, MethodCalls) {
        (self.0.name.clone(), self.0.method_calls.clone())
    }
}

#[remote]
fn call_from_a_task(actor: &ActorHandle<dyn Tracked>) -> mobula::Result<()> {
    actor.method.remote(MethodArgs::default()).get()
}

const NAMES: [&str; 2] = ["ActorClsOne", "ActorClsTwo"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _session = mobula::init()?;
    let actors: HashMap<&str, ActorHandle<dyn Tracked>> = HashMap::from([
        (NAMES[0], ActorClsOne::remote(NAMES[0]).into()),
        (NAMES[1], ActorClsTwo::remote(NAMES[1]).into()),
    ]);

    // Calls at random, counted here as well.
    let mut counts = BTreeMap::from(NAMES.map(|name| (name, 0)));
    for _ in NAMES {
        for _ in 0..15 {
            let name = NAMES[fastrand::usize(..NAMES.len())];
            *counts.entry(name).or_default() += 1;
            actors[name].method.remote(match name {
                "ActorClsOne" => MethodArgs::default(),
                _ => MethodArgs { store: "delta".into(), ..MethodArgs::default() },
            });
        }
        println!("State of counts in this execution: {counts:?}");
    }

    call_from_a_task::remote(&actors[NAMES[0]]).get()?;
    actors[NAMES[1]].call.remote(&actors[NAMES[0]]).get()?.get()?;

    for name in NAMES {
        let (name, method_calls) = actors[name].get_all_method_calls.remote().get()?;
        println!("{name}: {method_calls:?}");
        let methods = method_calls.iter().filter(|(method, _)| method.starts_with("method"));
        let counted: u32 = methods.filter_map(|(_, callers)| callers.get("driver")).sum();
        let made = counts[name.as_str()];
        if counted != made {
            return Err(format!("{name} counted {counted} calls of the {made} that were made").into());
        }
    }
    Ok(())
}
