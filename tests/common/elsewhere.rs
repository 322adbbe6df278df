//! Shared things, reached from a worker process: its test serves them over a socket.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Gauge, Journal, Latch};

/// Where the test listens; set for workers alone.
pub(crate) const SHELF: &str = "MOBULA_TEST_SHELF";

/// What a worker does with something shared.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    Open(u64),
    IsOpen(u64),
    WaitAtMost(u64, Duration),
    Note(u64, String),
    Notes(u64),
    Enter(u64),
    Leave(u64),
    Peak(u64),
    Inside(u64),
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Is(bool),
    Count(usize),
    Notes(Vec<String>),
}

static PATH: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(SHELF).ok());

/// Whether this is a worker of a test.
pub(crate) fn is_elsewhere() -> bool {
    PATH.is_some()
}

/// Does something with what the test has; `None` in the test itself.
pub(crate) fn ask(op: &Op) -> Option<Reply> {
    let path = PATH.as_ref()?;
    let mut stream = UnixStream::connect(path).expect("the test listens");
    stream.write_all(&rmp_serde::to_vec(op).expect("it encodes")).expect("the test reads");
    stream.shutdown(Shutdown::Write).expect("the test reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the test answers");
    Some(rmp_serde::from_slice(&bytes).expect("an answer"))
}

/// Where this process serves what it shares.
pub(crate) fn serve() -> &'static str {
    static SERVED: LazyLock<String> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder can be made").keep();
        let path = folder.join("shelf");
        let listener = UnixListener::bind(&path).expect("a socket can be made");
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let _ = thread::Builder::new().name("shelf".into()).spawn(move || answer(stream));
            }
        };
        thread::Builder::new().name("shelves".into()).spawn(accept).expect("a thread can be had");
        path.to_str().expect("a path of letters").to_owned()
    });
    &SERVED
}

fn answer(mut stream: UnixStream) {
    let mut bytes = Vec::new();
    if stream.read_to_end(&mut bytes).is_err() {
        return;
    }
    let Ok(op) = rmp_serde::from_slice(&bytes) else { return };
    let reply = match op {
        Op::Open(it) => {
            Latch(it).open();
            Reply::Done
        }
        Op::IsOpen(it) => Reply::Is(Latch(it).is_open()),
        Op::WaitAtMost(it, time) => Reply::Is(Latch(it).wait_at_most(time)),
        Op::Note(it, text) => {
            Journal(it).note(text);
            Reply::Done
        }
        Op::Notes(it) => Reply::Notes(Journal(it).notes()),
        Op::Enter(it) => {
            std::mem::forget(Gauge(it).enter());
            Reply::Done
        }
        Op::Leave(it) => {
            Gauge(it).leave();
            Reply::Done
        }
        Op::Peak(it) => Reply::Count(Gauge(it).peak()),
        Op::Inside(it) => Reply::Count(Gauge(it).inside()),
    };
    let _ = stream.write_all(&rmp_serde::to_vec(&reply).expect("it encodes"));
}
