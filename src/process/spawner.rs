//! The thread that starts all children, and learns of their ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::alarm::{ALARM, Alarm, failed, ready};
use super::child::Process;
use super::entry::VARIABLE;
use super::fence::{Fence, LOOK};
use super::output::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::id::WorkerId;

/// How long killed children are waited for when the session ends: the kernel may hold one in a device.
const REAP: Duration = Duration::from_secs(5);

/// How a child is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) worker: WorkerId,
    /// What its lines are marked with at first; may be empty.
    pub(crate) mark: String,
    /// Set on top of what this process has.
    pub(crate) env: Vec<(String, String)>,
    /// Where it starts; where this process is, unless given.
    pub(crate) dir: Option<PathBuf>,
    /// The most memory, in bytes.
    pub(crate) memory_max: Option<u64>,
}

/// Puts a fence around a child: its process id, the bytes that it may use.
type NewFence = fn(u32, u64) -> Fence;

enum Order {
    Start(Box<Launch>, SyncSender<Result<Process>>),
    End,
}

/// Starts children. Dropped, it ends and reaps all of them.
///
/// One thread does it, since the signal that ends a child with its parent comes when the thread that
/// started it ends.
#[derive(Debug)]
pub(crate) struct Spawner {
    orders: Sender<Order>,
    alarm: Alarm,
    thread: Option<JoinHandle<()>>,
}

impl Spawner {
    /// Starts the thread, and that which shows what children print.
    pub(crate) fn start() -> Result<Self> {
        Self::fenced_by(Fence::around)
    }

    /// The same, with a fence of that kind around each child that has a limit.
    pub(super) fn fenced_by(fence: NewFence) -> Result<Self> {
        let alarm = Alarm::new()?;
        let (sources, output) = (alarm.sources()?, Output::start()?);
        let (orders, taken) = channel();
        let own = alarm.clone();
        let body = move || {
            let children = BTreeMap::new();
            Nursery { sources, alarm: own, orders: taken, output, fence, children, last: ALARM }.serve();
        };
        let started = thread::Builder::new().name("mobula-spawner".into()).spawn(body);
        let thread = started.map_err(|error| failed("no thread that starts workers", &error))?;
        Ok(Self { orders, alarm, thread: Some(thread) })
    }

    /// Starts a child, which is there when this returns; what it does then is not known yet.
    ///
    /// Fails with `Io` if the system refuses it, or `TooManyThreads` if there are too many already; then
    /// nothing is left of it.
    pub(crate) fn spawn(&self, launch: Launch) -> Result<Process> {
        let (answer, answered) = sync_channel(1);
        let ended = || Error::new(ErrorKind::Shutdown, "the thread that starts workers has ended");
        self.orders.send(Order::Start(Box::new(launch), answer)).map_err(|_| ended())?;
        self.alarm.ring();
        answered.recv().map_err(|_| ended())?
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        self.alarm.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Nursery {
    sources: OwnedFd,
    alarm: Alarm,
    orders: Receiver<Order>,
    output: Output,
    fence: NewFence,
    children: BTreeMap<u64, Ward>,
    last: u64,
}

/// A child that is not reaped yet.
struct Ward {
    child: Child,
    process: Process,
    fence: Option<Fence>,
}

impl Drop for Nursery {
    /// Nobody waits for what is not reaped by now, or would for ever.
    fn drop(&mut self) {
        self.children.values().for_each(|ward| ward.process.ended(None, None));
    }
}

impl Nursery {
    fn serve(mut self) {
        let mut deadline = None::<Instant>;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || (deadline.is_some() && self.children.is_empty()) {
                return;
            }
            let is_watched = |ward: &Ward| ward.fence.as_ref().is_some_and(Fence::is_watched);
            let look = self.children.values().any(is_watched).then_some(LOOK);
            for key in ready(&self.sources, left.into_iter().chain(look).min()) {
                match key {
                    ALARM => self.alarm.quiet(),
                    key => self.reap(key),
                }
            }
            for Ward { process, fence, .. } in self.children.values_mut() {
                if fence.as_mut().is_some_and(Fence::is_crossed) {
                    process.kill();
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Start(launch, answer) => {
                        // Whoever asked waits for the answer.
                        let _ = answer.send(self.start(&launch));
                    }
                    Order::End => {
                        deadline = Some(Instant::now() + REAP);
                        self.children.values().for_each(|ward| ward.process.kill());
                    }
                }
            }
        }
    }

    fn start(&mut self, launch: &Launch) -> Result<Process> {
        let refused = |error: std::io::Error| {
            let place = launch.dir.as_ref().map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
            failed(&format!("{} cannot be started{place}", launch.worker), &error)
        };
        let secret = secret().map_err(refused)?;
        let (ours, theirs) = UnixStream::pair().map_err(refused)?;
        // The command owns the child's end of the socket, and closes it here when it is dropped.
        let mut child = command(launch, &secret, theirs).spawn().map_err(refused)?;
        match self.adopt(&mut child, launch, secret, ours) {
            Ok(process) => {
                if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
                    self.output.listen(process.clone(), out, err);
                }
                let fence = launch.memory_max.map(|allowed| (self.fence)(process.pid(), allowed));
                self.children.insert(self.last, Ward { child, process: process.clone(), fence });
                Ok(process)
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(refused(error))
            }
        }
    }

    /// Gives a started child its handle, and learns of its end from now on.
    fn adopt(
        &mut self,
        child: &mut Child,
        launch: &Launch,
        secret: String,
        stream: UnixStream,
    ) -> std::io::Result<Process> {
        let pid = Pid::from_child(child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        self.last += 1;
        epoll::add(&self.sources, &handle, EventData::new_u64(self.last), EventFlags::IN)?;
        Ok(Process::new(launch.worker, child.id(), handle, secret, stream, &launch.mark))
    }

    fn reap(&mut self, key: u64) {
        let Some(mut ward) = self.children.remove(&key) else { return };
        let _ = epoll::delete(&self.sources, ward.process.handle());
        // It has ended, so this waits for nothing.
        let status = ward.child.wait().ok();
        // Its own children may be ended for what they all used, and it may end by itself meanwhile.
        let is_killed = status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw());
        let memory = ward.fence.and_then(|fence| fence.verdict()).filter(|_| is_killed);
        ward.process.ended(status, memory);
    }
}

/// The command that runs this very executable, even if its file has been replaced since.
fn command(launch: &Launch, secret: &str, socket: UnixStream) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let mut own = std::env::args_os();
    if let Some(name) = own.next() {
        command.arg0(name);
    }
    command.args(own).envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.env(VARIABLE, format!("{}:{secret}", std::process::id()));
    command.stdin(OwnedFd::from(socket)).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(dir) = &launch.dir {
        command.current_dir(dir);
    }
    command
}

/// 128 random bits, in hexadecimal digits.
fn secret() -> std::io::Result<String> {
    let mut space = [MaybeUninit::uninit(); 16];
    let (bytes, _) = rustix::rand::getrandom(&mut space, rustix::rand::GetRandomFlags::empty())?;
    let mut text = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
