//! One thread that reads what all children print, and shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};

use super::alarm::{ALARM, Alarm, failed, ready, timespec};
use super::child::Process;
use super::lines::{LINE_MAX, Lines, MUTED};
use crate::error::Result;

/// How long what the last children have printed is read on when the session ends, and how long a reader
/// of the driver's own output may be waited for.
const PATIENCE: Duration = Duration::from_secs(1);

enum Order {
    Listen(Process, ChildStdout, ChildStderr),
    End,
}

/// The handle to the thread. Dropped, it waits until the rest is shown, but not for long.
#[derive(Debug)]
pub(super) struct Output {
    orders: Sender<Order>,
    alarm: Alarm,
    ended: Receiver<()>,
}

impl Output {
    pub(super) fn start() -> Result<Self> {
        let alarm = Alarm::new()?;
        let sources = alarm.sources()?;
        let (orders, taken) = channel();
        let (end, ended) = channel();
        let own = alarm.clone();
        let body = move || {
            let ear = Ear { sources, alarm: own, orders: taken, pipes: BTreeMap::new(), last: ALARM };
            ear.listen();
            drop(end);
        };
        let started = thread::Builder::new().name("mobula-output".into()).spawn(body);
        started.map_err(|error| failed("no thread for the output of workers", &error))?;
        Ok(Self { orders, alarm, ended })
    }

    /// Shows what a child prints from now on.
    pub(super) fn listen(&self, process: Process, out: ChildStdout, err: ChildStderr) {
        // The thread ends after this handle only.
        let _ = self.orders.send(Order::Listen(process, out, err));
        self.alarm.ring();
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        self.alarm.ring();
        let _ = self.ended.recv_timeout(2 * PATIENCE);
    }
}

/// What the thread has.
struct Ear {
    sources: OwnedFd,
    alarm: Alarm,
    orders: Receiver<Order>,
    pipes: BTreeMap<u64, Pipe>,
    last: u64,
}

/// One stream of a child.
struct Pipe {
    process: Process,
    source: Source,
    lines: Lines,
    /// Lines since the last that was shown.
    left_out: u64,
}

enum Source {
    Out(ChildStdout),
    Err(ChildStderr),
}

impl Ear {
    fn listen(mut self) {
        let mut scratch = vec![0; LINE_MAX];
        let mut deadline = None::<Instant>;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || (deadline.is_some() && self.pipes.is_empty()) {
                break;
            }
            let has_left_out = self.pipes.values().any(|pipe| pipe.left_out > 0);
            let wait = left.into_iter().chain(has_left_out.then_some(MUTED)).min();
            for key in ready(&self.sources, wait) {
                if key == ALARM {
                    self.alarm.quiet();
                } else if self.pipes.get_mut(&key).is_some_and(|pipe| pipe.read(&mut scratch)) {
                    self.close(key);
                }
            }
            let now = Instant::now();
            for pipe in self.pipes.values_mut().filter(|pipe| pipe.left_out > 0) {
                if pipe.process.may_speak(now) {
                    pipe.show(|_, _| {});
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Listen(process, out, err) => {
                        self.open(process.clone(), Source::Out(out));
                        self.open(process, Source::Err(err));
                    }
                    Order::End => deadline = Some(Instant::now() + PATIENCE),
                }
            }
        }
        for key in self.pipes.keys().copied().collect::<Vec<_>>() {
            self.close(key);
        }
    }

    fn open(&mut self, process: Process, source: Source) {
        self.last += 1;
        let added = epoll::add(&self.sources, source.fd(), EventData::new_u64(self.last), EventFlags::IN);
        self.pipes.insert(self.last, Pipe { process, source, lines: Lines::default(), left_out: 0 });
        if added.is_err() {
            // The kernel is out of memory: the child is not heard, and finds its pipe closed.
            self.close(self.last);
        }
    }

    /// Nothing comes any more, or nobody listens any more.
    fn close(&mut self, key: u64) {
        let Some(mut pipe) = self.pipes.remove(&key) else { return };
        let mut lines = std::mem::take(&mut pipe.lines);
        pipe.show(|pipe, text| lines.end(|line| pipe.line(line, text)));
        pipe.show_left_out();
        pipe.process.stream_ended();
    }
}

impl Pipe {
    /// Takes what is there; `true` at the end.
    fn read(&mut self, scratch: &mut [u8]) -> bool {
        let read = match &mut self.source {
            Source::Out(out) => out.read(scratch),
            Source::Err(err) => err.read(scratch),
        };
        match read {
            Ok(0) => true,
            Ok(count) => {
                let mut lines = std::mem::take(&mut self.lines);
                self.show(|pipe, text| lines.feed(&scratch[..count], |line| pipe.line(line, text)));
                self.lines = lines;
                false
            }
            Err(error) => error.kind() != std::io::ErrorKind::Interrupted,
        }
    }

    /// Writes what `say` says, after what was left out before if the bucket is full again.
    fn show(&mut self, say: impl FnOnce(&mut Self, &mut String)) {
        if self.left_out > 0 && self.process.may_speak(Instant::now()) {
            self.show_left_out();
        }
        let mut text = String::new();
        say(self, &mut text);
        self.write(&text);
    }

    fn show_left_out(&mut self) {
        if self.left_out > 0 {
            let text = format!("{}... {} lines left out\n", self.process.prefix(), self.left_out);
            self.left_out = 0;
            self.write(&text);
        }
    }

    fn line(&mut self, line: &[u8], text: &mut String) {
        let line = String::from_utf8_lossy(line);
        if let Source::Err(_) = self.source {
            self.process.remember(&line);
        }
        if self.process.may_say(Instant::now()) {
            let _ = writeln!(text, "{}{line}", self.process.prefix());
        } else {
            self.left_out += 1;
        }
    }

    fn write(&self, text: &str) {
        match &self.source {
            Source::Out(_) => write(std::io::stdout().as_fd(), text.as_bytes()),
            Source::Err(_) => write(std::io::stderr().as_fd(), text.as_bytes()),
        }
    }
}

impl Source {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Out(out) => out.as_fd(),
            Self::Err(err) => err.as_fd(),
        }
    }
}

/// Writes to the driver's own output, past the lock that its threads share: one of them may hold that
/// lock while it waits for the very child whose lines these are. Whole lines go, so none is torn.
fn write(to: BorrowedFd<'_>, mut text: &[u8]) {
    use rustix::io::Errno;
    while !text.is_empty() {
        match rustix::io::write(to, text) {
            Ok(count) => text = &text[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut wanted = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                if !matches!(poll(&mut wanted, Some(&timespec(PATIENCE))), Ok(1..)) {
                    return;
                }
            }
            // Nobody reads it: the driver's own lines are lost as well.
            Err(_) => return,
        }
    }
}
