//! `program_counter`: the work of the example `counter`, and then the most memory that it took.

use mobula::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

#[derive(Default)]
struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

#[remote]
fn call_many(counter: &ActorHandle<Counter>, times: u32) -> mobula::Result<i64> {
    for _ in 1..times {
        counter.increment.remote();
    }
    counter.increment.remote().get()
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let squares: Vec<_> = (0..4).map(square::remote).collect();
    println!("squares {}", mobula::get(&squares)?.iter().sum::<i64>());
    let counters: Vec<_> = (0..11).map(|_| Counter::remote()).collect();
    let results: Vec<_> = counters.iter().map(|counter| counter.increment.remote()).collect();
    println!("counted {}", mobula::get(&results)?.iter().sum::<i64>());
    println!("called {}", call_many::remote(&counters[0], 1_000).get()?);
    // Linux alone tells it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    if let Some(peak) = peak {
        println!("kilobytes {peak}");
    }
    Ok(())
}
