//! The same count by rayon, in the same process, in turn.

use std::time::Instant;

use rayon::prelude::*;

use crate::files::FileList;
use crate::progress::Progress;
use crate::words::Tally;

/// Pairs of runs; the median is told.
const ROUNDS: usize = 5;

fn count_with_rayon(files: &FileList) -> Tally {
    let paths: Vec<_> = files.paths().collect();
    let count = |mut tally: Tally, path: &&std::path::Path| {
        tally.add_file(path);
        tally
    };
    paths.par_iter().fold(Tally::default, count).reduce(Tally::default, Tally::merged)
}

/// Counts in turn with both, and prints both times and their ratio. The progress actor hears of every
/// file here as well, but keeps it to itself.
pub(crate) fn print(files: &FileList, expected: &Tally) -> Result<(), Box<dyn std::error::Error>> {
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        let progress = Progress::remote(files.len(), files.bytes(), false);
        let (ours, seconds) = timed(|| crate::count_all(files, &progress));
        let (theirs, rayon_seconds) = timed(|| count_with_rayon(files));
        if !(expected.is_same_count(&ours?) && expected.is_same_count(&theirs)) {
            return Err("the counts differ: did the files change?".into());
        }
        pairs.push((seconds, rayon_seconds));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    let (ours, theirs, ratio) =
        (median(|pair| pair.0), median(|pair| pair.1), median(|pair| pair.0 / pair.1));
    println!(
        "mobula {ours:.3} s, rayon {theirs:.3} s, ratio {ratio:.2} \
         (medians of {ROUNDS} rounds, same counts; the goal is 1.2 at most)"
    );
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}
