//! What was counted: words, files and bytes, and what was skipped.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The words of some files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    words: HashMap<String, u64>,
    files: u64,
    bytes: u64,
    /// What could not be counted, and why.
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// Counts a file and tells its size in bytes; notes it as skipped if it is no readable UTF-8 text.
    pub(crate) fn add_file(&mut self, path: &Path) -> u64 {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.skipped.push(format!("{}: {error}", path.display()));
                return 0;
            }
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                self.add_text(text);
                self.files += 1;
                self.bytes += bytes.len() as u64;
            }
            Err(error) => self.skipped.push(format!("{}: not UTF-8: {error}", path.display())),
        }
        bytes.len() as u64
    }

    fn add_text(&mut self, text: &str) {
        let is_gap = |c: char| !(c.is_alphanumeric() || c == '_');
        for word in text.split(is_gap).filter(|word| !word.is_empty()) {
            // A word that is known needs no new String.
            if let Some(times) = self.words.get_mut(word) {
                *times += 1;
            } else {
                self.words.insert(word.into(), 1);
            }
        }
    }

    /// The sum of both: the smaller one's words move into the larger one.
    pub(crate) fn merged(self, other: Self) -> Self {
        let (mut all, less) =
            if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        for (word, times) in less.words {
            *all.words.entry(word).or_default() += times;
        }
        all.files += less.files;
        all.bytes += less.bytes;
        all.skipped.extend(less.skipped);
        all
    }

    /// Whether both counted the same words, files and bytes.
    pub(crate) fn is_same_count(&self, other: &Self) -> bool {
        (&self.words, self.files, self.bytes) == (&other.words, other.files, other.bytes)
    }

    /// Prints the most frequent words, in the order of the alphabet where they are as frequent, and the sums.
    pub(crate) fn print(&self, top: usize, seconds: f64) {
        let mut words: Vec<_> = self.words.iter().map(|(word, times)| (*times, word)).collect();
        words.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        for (times, word) in words.iter().take(top) {
            println!("{times:>10}  {word}");
        }
        let total: u64 = words.iter().map(|(times, _)| times).sum();
        let megabytes = self.bytes as f64 / 1e6;
        println!(
            "{total} words, {} different, in {} files; {} skipped",
            words.len(),
            self.files,
            self.skipped.len()
        );
        println!(
            "{megabytes:.1} MB in {seconds:.3} s: {:.0} files/s, {:.1} MB/s",
            self.files as f64 / seconds,
            megabytes / seconds
        );
    }
}
