//! In a child, before `main`: what its parent gave it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

/// Names the parent and the secret, as in `4711:9f3c…`. It stays in the environment, where it is worth
/// nothing to anybody else: taking it out is not safe, and only a child of that very parent is served.
pub(super) const VARIABLE: &str = "MOBULA_WORKER";

/// What a child has of its parent.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The socket to the parent.
    pub(crate) stream: UnixStream,
    /// What the parent will say first.
    pub(crate) secret: String,
    /// The parent's process id.
    pub(crate) parent: u32,
}

/// What the environment and the standard input say.
enum Found {
    Entry(OwnedFd, String, u32),
    /// An ordinary start, with a variable that some child of a parent passed on.
    Inherited,
    Forged(&'static str),
    /// It is a child, and its parent is gone already.
    Orphan,
}

/// In a child, what its parent gave it: at most once in a process. `None` in any other process; one that
/// was made to look like a child is warned of on standard error, and runs as usual.
///
/// A child dies with its parent from here on, its standard input is empty, and writing to a pipe whose
/// reader is gone fails instead of ending it, as in any Rust program once `main` has begun.
pub(crate) fn entered() -> Option<Entry> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = std::env::var_os(VARIABLE)?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    match look(&variable.to_string_lossy()) {
        Found::Entry(socket, secret, parent) => {
            settle_in();
            Some(Entry { stream: socket.into(), secret, parent })
        }
        Found::Inherited => None,
        Found::Forged(why) => {
            eprintln!("mobula: {VARIABLE} is set, but {why}: this is no worker");
            None
        }
        Found::Orphan => die(),
    }
}

fn look(variable: &str) -> Found {
    let parsed = variable.split_once(':').and_then(|(pid, secret)| Some((pid.parse().ok()?, secret)));
    let Some((parent, secret)) = parsed else { return Found::Forged("names no process") };
    let is_child = || getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) == Some(parent);
    let stdin = std::io::stdin();
    let maker = rustix::net::sockopt::socket_peercred(stdin.as_fd());
    match maker.map(|maker| maker.pid.as_raw_nonzero().get().cast_unsigned()) {
        Ok(maker) if maker == parent => {}
        _ if !is_child() => return Found::Inherited,
        Ok(_) => return Found::Forged("another process made the socket"),
        Err(_) => return Found::Forged("there is no socket"),
    }
    // The signal comes for a parent that dies from here on; one that died before is looked for.
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return Found::Forged("the system has no signal for a parent's death");
    }
    if !is_child() {
        return Found::Orphan;
    }
    // Above the standard three, and closed in whatever this process starts.
    match rustix::io::fcntl_dupfd_cloexec(stdin, 3) {
        Ok(socket) => Found::Entry(socket, secret.into(), parent),
        Err(_) => Found::Forged("the socket cannot be kept"),
    }
}

/// Makes the process one like any other, but for its socket.
fn settle_in() {
    // Without /dev/null the socket stays the standard input, and a read there would steal from it.
    let emptied = File::open("/dev/null").map(rustix::stdio::dup2_stdin);
    if !matches!(emptied, Ok(Ok(()))) {
        eprintln!("mobula: a worker's standard input could not be closed");
    }
    // `main` would have done that, but a child never comes there. A flag, since a handler is enough.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::new(AtomicBool::new(false)));
    // It was started from /proc/self/exe, and would be called `exe`.
    if let Some(name) = std::env::args_os().next()
        && let Some(name) = std::path::Path::new(&name).file_name()
        && let Ok(name) = std::ffi::CString::new(name.as_encoded_bytes())
    {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Ends the process the way in which its parent's death would have.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
