//! Sessions: [`init`], [`Config`], [`shutdown`], and the session that the first call starts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::machine;
use crate::clock::SystemClock;
use crate::embedded::{Embedded, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::id::JobId;
use crate::resource::{CPU, GPU, MEMORY, Quantity, ResourceSet};
use crate::runtime::{self, ActorRef, Creation, Runtime};
use crate::spec::Isolation;
use crate::store::{self, Bounds};
use crate::{executor, registry};

/// The most threads of a session unless told otherwise; the operating system gives out near 16,000.
const MAX_THREADS: usize = 12_000;
/// What running calls are given at the end of a session.
const GRACE: Duration = Duration::from_secs(2);

/// The session that runs.
static SESSION: Mutex<Option<Arc<Embedded>>> = Mutex::new(None);

/// Settings of a session; [`init`](Config::init) starts it.
///
/// Each setting that is not made here is read from the environment variable `MOBULA_<NAME>`, as in
/// `MOBULA_NUM_CPUS=4`, and else has the default said with it.
#[derive(Clone, Debug, Default)]
#[must_use = "a Config does nothing until `init`"]
pub struct Config {
    address: Option<String>,
    num_cpus: Option<f64>,
    num_gpus: Option<f64>,
    resources: Vec<(String, f64)>,
    memory: Option<u64>,
    object_store_memory: Option<u64>,
    spill_dir: Option<PathBuf>,
    store_wait: Option<Duration>,
    namespace: Option<String>,
    log_level: Option<String>,
    env: Vec<(String, String)>,
    gateway: Option<String>,
    shutdown_grace: Option<Duration>,
    max_threads: Option<usize>,
    queue_memory: Option<u64>,
    isolation: Option<String>,
}

impl Config {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster to join, `host:port` or `"auto"` for this machine's node; none by default.
    pub fn address(mut self, address: &str) -> Self {
        self.address = Some(address.into());
        self
    }

    /// CPUs that tasks and actors may hold at once, in cores; by default those of the machine.
    pub fn num_cpus(mut self, cpus: f64) -> Self {
        self.num_cpus = Some(cpus);
        self
    }

    /// GPUs that tasks and actors may hold at once; none by default. They need not exist.
    pub fn num_gpus(mut self, gpus: f64) -> Self {
        self.num_gpus = Some(gpus);
        self
    }

    /// An amount of a resource of your own naming.
    pub fn resource(mut self, name: &str, amount: f64) -> Self {
        self.resources.push((name.into(), amount));
        self
    }

    /// Memory that tasks and actors may ask for, in bytes; by default 70 % of the machine's.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Memory of the object store, in bytes, for all processes of the session together; by default 30 % of
    /// what the machine or its control group grants. Beyond it the values that were read longest ago are
    /// written to files, see [`spill_dir`](Self::spill_dir), and read back when they are needed.
    pub fn object_store_memory(mut self, bytes: u64) -> Self {
        self.object_store_memory = Some(bytes);
        self
    }

    /// Where values are spilled to when the object store is full; by default `mobula-<user>` in the directory
    /// for temporary files. The session makes a directory of its own there, and removes it at its end; what
    /// a session that crashed has left is removed when the next one spills.
    pub fn spill_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.spill_dir = Some(path.into());
        self
    }

    /// How long [`put`](crate::put) and other writes wait for room in the object store before they fail
    /// with `StoreFull`; 10 s by default.
    pub fn store_wait(mut self, wait: Duration) -> Self {
        self.store_wait = Some(wait);
        self
    }

    /// The namespace in which actors are named and found; `"default"` by default.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// What is logged to standard error when the program has set no logger of its own: `"error"`,
    /// `"warn"` (the default), `"info"`, `"debug"`, `"trace"` or `"off"`.
    pub fn log_level(mut self, level: &str) -> Self {
        self.log_level = Some(level.into());
        self
    }

    /// An environment variable of the session's worker processes; threads share the program's own. What a
    /// function or class says of the same variable comes before it.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Where to serve HTTP, as in `"127.0.0.1:8265"`; nowhere by default.
    pub fn gateway(mut self, address: &str) -> Self {
        self.gateway = Some(address.into());
        self
    }

    /// What running calls are given to return when the session ends; 2 s by default.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = Some(grace);
        self
    }

    /// The most threads for tasks and actors; 12,000 by default.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = Some(threads);
        self
    }

    /// Bytes of calls that may be queued; by default a quarter of the machine's memory.
    pub fn queue_memory(mut self, bytes: u64) -> Self {
        self.queue_memory = Some(bytes);
        self
    }

    /// Where functions and classes run that do not say so themselves: `"thread"`, the default, or
    /// `"process"`, as if each had `isolation = "process"`, for which the feature `process` is needed.
    pub fn isolation(mut self, isolation: &str) -> Self {
        self.isolation = Some(isolation.into());
        self
    }

    /// Starts the session.
    ///
    /// `AlreadyInitialized` if one runs in this process, `InvalidOption` for a setting that makes no
    /// sense, `Unsupported` for one that this build lacks.
    pub fn init(self) -> Result<Session> {
        self.start(false)?;
        Ok(Session { _private: () })
    }

    fn start(self, lazy: bool) -> Result<()> {
        let config = self.with_environment()?;
        runtime::install(|| config.launch(), lazy)
    }

    fn launch(self) -> Result<Arc<dyn Runtime>> {
        static JOBS: AtomicU32 = AtomicU32::new(1);
        self.install_logger()?;
        registry::check()?;
        executor::install_hook();
        if cfg!(panic = "abort") {
            tracing::warn!(
                target: "mobula",
                "this program is built with panic = \"abort\": a panic in a task or an actor ends the process"
            );
        }
        let settings = self.settings()?;
        let job = JobId(JOBS.fetch_add(1, Ordering::Relaxed));
        let session = Embedded::start(settings, job)?;
        session.start_timer().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
        *SESSION.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    fn settings(&self) -> Result<Settings> {
        let unsupported =
            |what: &str| Err(Error::new(ErrorKind::Unsupported, format!("this build has no {what}")));
        if self.address.is_some() {
            return unsupported("cluster to join");
        }
        if self.gateway.is_some() {
            return unsupported("HTTP gateway");
        }
        let machine = machine::memory();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut total = ResourceSet::new();
        total.set(CPU, amount("num_cpus", self.num_cpus.unwrap_or(cores as f64))?);
        let gpus = amount("num_gpus", self.num_gpus.unwrap_or(0.0))?;
        if !gpus.is_whole() {
            return Err(Error::new(ErrorKind::InvalidOption, format!("num_gpus = {gpus}: GPUs are whole")));
        }
        total.set(GPU, gpus);
        total.set(MEMORY, Quantity::whole(self.memory.unwrap_or(machine / 10 * 7)));
        for (name, units) in &self.resources {
            if name.is_empty() || [CPU, GPU, MEMORY].contains(&name.as_str()) {
                let text = format!("resource {name:?}: choose a name of your own");
                return Err(Error::new(ErrorKind::InvalidOption, text));
            }
            total.set(name, amount(name, *units)?);
        }
        let queue_max = self.queue_memory.unwrap_or(machine / 4);
        Ok(Settings {
            total,
            namespace: self.namespace.clone().unwrap_or_else(|| "default".into()).into(),
            grace: self.shutdown_grace.unwrap_or(GRACE),
            threads_max: self.max_threads.unwrap_or(MAX_THREADS).max(1),
            queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            clock: Arc::new(SystemClock),
            isolation: self.isolation.as_deref().map_or(Ok(Isolation::Thread), Isolation::of)?,
            env: self.env.clone(),
            store: Bounds {
                limit: self.object_store_memory.unwrap_or(machine / 10 * 3),
                wait: self.store_wait.unwrap_or(store::WAIT),
                spill: self.spill_dir.clone().unwrap_or_else(store::default_base),
            },
            log_level: self.log_level.clone().unwrap_or_else(|| "warn".into()),
        })
    }

    /// Fills what was not set from `MOBULA_<NAME>`.
    fn with_environment(mut self) -> Result<Self> {
        fill(&mut self.address, "ADDRESS")?;
        fill(&mut self.num_cpus, "NUM_CPUS")?;
        fill(&mut self.num_gpus, "NUM_GPUS")?;
        fill(&mut self.memory, "MEMORY")?;
        fill(&mut self.object_store_memory, "OBJECT_STORE_MEMORY")?;
        fill(&mut self.spill_dir, "SPILL_DIR")?;
        fill(&mut self.namespace, "NAMESPACE")?;
        fill(&mut self.log_level, "LOG_LEVEL")?;
        fill(&mut self.gateway, "GATEWAY")?;
        fill(&mut self.max_threads, "MAX_THREADS")?;
        fill(&mut self.queue_memory, "QUEUE_MEMORY")?;
        fill(&mut self.isolation, "ISOLATION")?;
        fill_seconds(&mut self.shutdown_grace, "SHUTDOWN_GRACE")?;
        fill_seconds(&mut self.store_wait, "STORE_WAIT")?;
        Ok(self)
    }

    /// Logs to standard error, unless the program has set a logger.
    fn install_logger(&self) -> Result<()> {
        let name = self.log_level.as_deref().unwrap_or("warn");
        let level: tracing::level_filters::LevelFilter = name.parse().map_err(|_| {
            let text = format!("log_level = {name:?}: it is error, warn, info, debug, trace or off");
            Error::new(ErrorKind::InvalidOption, text)
        })?;
        let logger = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).finish();
        // Refused when there is one already, which then serves.
        let _ = tracing::subscriber::set_global_default(logger);
        Ok(())
    }
}

fn amount(name: &str, units: f64) -> Result<Quantity> {
    Quantity::from_units(units).ok_or_else(|| {
        let text = format!("{name} = {units}: it is zero or between 0.0001 and 10^12");
        Error::new(ErrorKind::InvalidOption, text)
    })
}

fn fill<T: std::str::FromStr>(setting: &mut Option<T>, name: &str) -> Result<()> {
    if setting.is_some() {
        return Ok(());
    }
    let Ok(text) = std::env::var(format!("MOBULA_{name}")) else { return Ok(()) };
    let wrong = || Error::new(ErrorKind::InvalidOption, format!("MOBULA_{name} = {text:?} makes no sense"));
    *setting = Some(text.parse().map_err(|_| wrong())?);
    Ok(())
}

fn fill_seconds(setting: &mut Option<Duration>, name: &str) -> Result<()> {
    let mut seconds = None;
    fill::<f64>(&mut seconds, name)?;
    if let (None, Some(seconds)) = (&setting, seconds) {
        let text = format!("MOBULA_{name} = {seconds}: it is a number of seconds");
        let duration = Duration::try_from_secs_f64(seconds);
        *setting = Some(duration.map_err(|_| Error::new(ErrorKind::InvalidOption, text))?);
    }
    Ok(())
}

/// A running session; dropping it ends the session, as [`shutdown`] does.
#[derive(Debug)]
#[must_use = "dropping the Session ends it: bind it, `let _session = ..`, not to `_`"]
pub struct Session {
    _private: (),
}

impl Drop for Session {
    fn drop(&mut self) {
        shutdown();
    }
}

/// Starts a session with all defaults. Errors as [`Config::init`].
///
/// A call that is made before any session starts one by itself, which lasts until [`shutdown`] or the end of
/// the process.
pub fn init() -> Result<Session> {
    Config::new().init()
}

/// Ends the session: queued calls fail with `Shutdown`, running ones are told and given the grace,
/// then left behind. Nothing happens if none runs.
pub fn shutdown() {
    let session = SESSION.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(session) = session {
        session.end_after(runtime::uninstall);
    } else if let Some(Ok(runtime)) = runtime::with_current(Arc::clone) {
        // A worker's session is its driver's.
        let _ = runtime.ask(runtime::Question::Shutdown);
    }
}

/// Whether a session runs.
pub fn is_initialized() -> bool {
    runtime::is_running()
}

/// The session's own counts, if one runs.
pub(crate) fn current() -> Option<Arc<Embedded>> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Calls `f` with the session's runtime; starts a session if none ever was.
pub(super) fn with_runtime<R>(f: impl FnOnce(&Arc<dyn Runtime>) -> R) -> Result<R> {
    let mut f = Some(f);
    let mut call = |runtime: &Arc<dyn Runtime>| (f.take().expect("called once"))(runtime);
    if let Some(result) = runtime::with_current(&mut call) {
        return result;
    }
    Config::new().start(true)?;
    runtime::with_current(call).unwrap_or_else(|| Err(runtime::ended()))
}

/// Makes an actor; without a session its calls fail with the reason.
pub(super) fn create(creation: Creation) -> ActorRef {
    let mut creation = Some(creation);
    let made = with_runtime(|runtime| runtime.create(creation.take().expect("taken once")));
    match (made, creation) {
        (Ok(actor), _) => actor,
        (Err(error), Some(creation)) => runtime::stillborn(&creation, error),
        (Err(_), None) => unreachable!("an error leaves the creation"),
    }
}
