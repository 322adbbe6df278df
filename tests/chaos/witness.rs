//! The file in which each execution is noted: it outlives the processes.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use mobula::context;
use serde::{Deserialize, Serialize};

/// A call, as its caller names it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// Client and number; the lower half names calls that the call itself makes.
    pub(crate) id: u64,
    /// Who makes calls in an order: a client, or one execution of a call.
    pub(crate) origin: u64,
    pub(crate) retries: u32,
}

impl Ticket {
    /// A call that the running one makes, its `index`th; unlike those of its other attempts.
    pub(crate) fn child(self, index: u64, retries: u32) -> Self {
        let step = u64::from(context().attempt) << 12;
        let shift = if self.id.trailing_zeros() >= 32 { 16 } else { 0 };
        assert!(index + 1 < 1 << 12 && step < 1 << 16, "an id has room for them");
        Self { id: self.id | (step | (index + 1)) << shift, origin: self.id | step << shift, retries }
    }
}

/// An execution: what a worker writes before it does anything else.
pub(crate) struct Record {
    pub(crate) ticket: Ticket,
    pub(crate) attempt: u32,
    /// 0 for a function.
    pub(crate) actor: u64,
}

/// A power of two, so that no record lies on two pages: a killed process leaves it whole, or not at all.
pub(crate) const RECORD: usize = 64;

impl Record {
    fn to_bytes(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let numbers = [self.ticket.id, self.ticket.origin, self.actor];
        let numbers = numbers.into_iter().chain([self.ticket.retries.into(), self.attempt.into()]);
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("eight bytes"));
        let small = |at| u32::try_from(number(at)).expect("it was one");
        let ticket = Ticket { id: number(0), origin: number(1), retries: small(3) };
        Self { ticket, attempt: small(4), actor: number(2) }
    }
}

pub(crate) const WITNESS: &str = "CHAOS_WITNESS";
/// Set before the session starts, in the driver alone.
pub(crate) static WITNESS_PATH: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os(WITNESS) {
    Some(path) => path.into(),
    None => {
        tempfile::NamedTempFile::new().expect("a file can be made").into_temp_path().keep().expect("it stays")
    }
});

/// Notes an execution where it outlives this process.
pub(crate) fn witness(ticket: Ticket, actor: u64) -> u64 {
    static FILE: LazyLock<File> = LazyLock::new(|| {
        OpenOptions::new().append(true).open(&*WITNESS_PATH).expect("the driver has made it")
    });
    let record = Record { ticket, attempt: context().attempt, actor };
    let written = (&*FILE).write(&record.to_bytes()).expect("there is room");
    assert_eq!(written, RECORD, "a record goes at once");
    ticket.id
}
