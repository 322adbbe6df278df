//! Waiting for some of many: what is there first, in which order, and for how long.
//!
//! Run it with `cargo run --release --example wait`. Three tasks nap for 500, 100 and 300 ms. It prints what is
//! there after 200 ms; then all, in the order of the list, which is what `wait` answers in; and then
//! the naps of three others in the order in which they end.

use std::thread::sleep;
use std::time::Duration;

use mobula::prelude::*;

#[remote]
fn nap(ms: u64) -> u64 {
    sleep(Duration::from_millis(ms));
    ms
}

const NAPS_MS: [u64; 3] = [500, 100, 300];

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_cpus(3.0).init()?;

    let naps = NAPS_MS.map(nap::remote);
    let (ready, remaining) = mobula::wait(&naps, 3, Some(Duration::from_millis(200)))?;
    println!("after 200 ms: {:?} ready, {} remaining", mobula::get(&ready)?, remaining.len());

    let (ready, _) = mobula::wait(&naps, 3, None)?;
    println!("in the order of the list: {:?}", mobula::get(&ready)?);

    // One at a time gives the order in which they end.
    let mut remaining = NAPS_MS.map(nap::remote).to_vec();
    let mut ended = Vec::new();
    while !remaining.is_empty() {
        let ready;
        (ready, remaining) = mobula::wait(remaining, 1, None)?;
        ended.extend(mobula::get(&ready)?);
    }
    println!("in the order of completion: {ended:?}");

    // The same as an iterator.
    let ended: Vec<_> =
        as_completed(NAPS_MS.map(nap::remote)).map(|nap| nap.get()).collect::<Result<_, _>>()?;
    println!("as completed: {ended:?}");
    Ok(())
}
