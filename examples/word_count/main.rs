//! Counts the words in trees of text files: `word_count [PATH…]`.
//!
//! Run it with `cargo run --release --example word_count`. Without a path it counts the Rust sources that
//! Cargo has unpacked on this machine. Tasks count batches of files, a tree of tasks adds their counts up
//! pair by pair, and an actor that every task tells of its files draws the progress on standard error.
//! It prints the twenty most frequent words, then files, bytes and speed; what could not be read is told
//! on standard error and skipped. `--compare` counts the same files with rayon, too, and prints the ratio.
//!
//! A word is a run of letters, digits and underscores, counted as it is written.

mod compare;
mod files;
mod progress;
mod words;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use mobula::prelude::*;

use files::{Batch, FileList};
use progress::Progress;
use words::Tally;

/// Counts the words in trees of text files.
#[derive(Parser)]
struct Options {
    /// Files and folders to count; by default the Rust sources that Cargo has unpacked on this machine
    paths: Vec<PathBuf>,
    /// How many of the most frequent words are printed
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// Count the same with rayon, in turn, and print the ratio of the times
    #[arg(long)]
    compare: bool,
}

#[remote]
fn count(batch: &Batch, progress: &ActorHandle<Progress>) -> Tally {
    let mut tally = Tally::default();
    for path in &batch.paths {
        let bytes = tally.add_file(path);
        progress.advance.remote(bytes);
    }
    tally
}

// Both counts are moved in, not copied, since nobody else holds a ref to them.
#[remote]
fn merge(left: Tally, right: Tally) -> Tally {
    left.merged(right)
}

/// Counts all files: the whole of the parallel work.
fn count_all(files: &FileList, progress: &ActorHandle<Progress>) -> mobula::Result<Tally> {
    let counts: Vec<_> = files.batches().into_iter().map(|batch| count::remote(batch, progress)).collect();
    mobula::tree_reduce(counts, merge::remote).map_or_else(|| Ok(Tally::default()), ObjectRef::into_inner)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let files = match options.paths.as_slice() {
        [] => FileList::of_cargo()?,
        paths => FileList::of(paths),
    };
    let _session = mobula::init()?;

    let progress = Progress::remote(files.len(), files.bytes(), true);
    let start = Instant::now();
    let mut tally = count_all(&files, &progress)?;
    let seconds = start.elapsed().as_secs_f64();
    progress.finish.remote().get()?;

    tally.skipped.extend_from_slice(files.skipped());
    for skipped in &tally.skipped {
        eprintln!("skipped {skipped}");
    }
    tally.print(options.top, seconds);
    if options.compare {
        compare::print(&files, &tally)?;
    }
    Ok(())
}
