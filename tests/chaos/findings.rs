//! What is found, and what clients know of their calls.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::witness::{RECORD, Record, WITNESS_PATH};

/// Which lines of the sum are wrong.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) lost: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) reordered: AtomicU64,
    pub(crate) hung: AtomicU64,
    pub(crate) leaked: AtomicU64,
}

impl Findings {
    /// Notes a finding; the first of them are shown.
    pub(crate) fn note(&self, which: fn(&Self) -> &AtomicU64, what: &str) {
        static SHOWN: AtomicU32 = AtomicU32::new(0);
        which(self).fetch_add(1, Ordering::Relaxed);
        if SHOWN.fetch_add(1, Ordering::Relaxed) < 40 {
            // Not `eprintln!`: a test's harness would keep that to itself.
            let _ = writeln!(std::io::stderr(), "chaos: {what}");
        }
    }

    pub(crate) fn counts(&self) -> [u64; 5] {
        [&self.lost, &self.doubled, &self.reordered, &self.hung, &self.leaked]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// What clients know of their calls.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) ops: u64,
    pub(crate) acked: HashSet<u64>,
    /// Which errors came, by kind.
    pub(crate) failed: BTreeMap<String, u64>,
}

impl Book {
    pub(crate) fn merge(&mut self, other: Self) {
        self.ops += other.ops;
        self.acked.extend(other.acked);
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }
}

/// Compares what was acknowledged with what was done.
pub(crate) fn compare(findings: &Findings, book: &Book) {
    let bytes = fs::read(&*WITNESS_PATH).expect("it is there");
    assert_eq!(bytes.len() % RECORD, 0, "records are whole");
    let records: Vec<_> = bytes.chunks_exact(RECORD).map(Record::of).collect();
    let mut attempts: HashMap<u64, BTreeSet<u32>> = HashMap::new();
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for Record { ticket, attempt, actor } in records {
        let before = attempts.entry(ticket.id).or_default();
        let is_first = before.is_empty();
        let is_new = before.insert(attempt);
        if !is_new || before.len() > 1 + ticket.retries as usize {
            findings.note(|all| &all.doubled, &format!("{ticket:x?} runs again in attempt {attempt}"));
        }
        if is_first && actor != 0 {
            let before = last.insert((ticket.origin, actor), ticket.id).unwrap_or_default();
            if before > ticket.id {
                let text = format!("{ticket:x?} runs in actor {actor} after {before:x}");
                findings.note(|all| &all.reordered, &text);
            }
        }
    }
    for id in &book.acked {
        if !attempts.contains_key(id) {
            findings.note(|all| &all.lost, &format!("{id:x} was acknowledged and not done"));
        }
    }
}
