//! The options of calls and actors, as typed and as checked.

use std::any::Any;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::resource::{CPU, GPU, MEMORY, Quantity, ResourceSet};

/// Where a call runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// On a thread: values move without being serialised.
    #[default]
    Thread,
    /// A sync class on the arbiters that async classes share: for very many small actors.
    Shared,
    /// In a child process.
    Process,
}

impl Isolation {
    /// `"thread"`, `"shared"` or `"process"`; `InvalidOption` for anything else.
    pub fn of(name: &str) -> Result<Self> {
        match name {
            "thread" => Ok(Self::Thread),
            "shared" => Ok(Self::Shared),
            "process" => Ok(Self::Process),
            other => {
                let text = format!("isolation = {other:?}: it is \"thread\", \"shared\" or \"process\"");
                Err(Error::new(ErrorKind::InvalidOption, text))
            }
        }
    }
}

/// Which node should run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Placement {
    /// Wherever there is room.
    #[default]
    Any,
    /// As evenly over the nodes as there is room.
    Spread,
    /// As few nodes as there is room on.
    Pack,
    /// A policy that there is not: the call fails with `InvalidOption`.
    Unknown(Box<str>),
}

impl From<&str> for Placement {
    /// `"any"`, `"spread"` or `"pack"`; anything else is [`Placement::Unknown`].
    fn from(name: &str) -> Self {
        match name {
            "any" => Self::Any,
            "spread" => Self::Spread,
            "pack" => Self::Pack,
            other => Self::Unknown(other.into()),
        }
    }
}

/// How often a call may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts beyond the first.
    pub retries: u32,
    /// Whether `Err` and panics are retried too, not lost workers alone.
    pub on_error: bool,
}

/// What a call or an actor takes from its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The resources it holds.
    pub resources: ResourceSet,
}

/// Retries of a task after its worker or node was lost, unless told otherwise; as in Ray.
const MAX_RETRIES: u32 = 3;

/// Options of a call or an actor, as typed; checked when the call is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Options {
    num_cpus: Option<f64>,
    num_gpus: Option<f64>,
    memory: Option<u64>,
    resources: Vec<(Box<str>, f64)>,
    max_retries: Option<u32>,
    retry_on_error: Option<bool>,
    max_restarts: Option<u32>,
    max_task_retries: Option<u32>,
    max_concurrency: Option<usize>,
    max_pending_calls: Option<usize>,
    max_calls: Option<u32>,
    isolation: Option<Box<str>>,
    timeout: Option<Duration>,
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    detached: bool,
    get_if_exists: bool,
    env: Vec<(Box<str>, Box<str>)>,
    working_dir: Option<Box<str>>,
    placement: Placement,
    /// Code, which another process has at another place: it is found again by the class.
    #[serde(skip)]
    sharing: Option<Sharing>,
}

/// Makes the state of a sync class one that several threads may read: made where the compiler knows
/// that the class is `Sync`.
pub(crate) type Sharing = fn(Box<dyn Any + Send>) -> Box<dyn Any + Send + Sync>;

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self {
            self.$name = Some($name);
            self
        })*
    };
}

impl Options {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// CPUs, in cores.
        num_cpus: f64;
        /// GPUs, in devices.
        num_gpus: f64;
        /// Memory, in bytes.
        memory: u64;
        /// Attempts beyond the first after a lost worker or node.
        max_retries: u32;
        /// Whether `Err` and panics are retried too.
        retry_on_error: bool;
        /// How often a crashed actor is rebuilt.
        max_restarts: u32;
        /// How often a call that an actor's crash ended is tried again.
        max_task_retries: u32;
        /// How many `&self` calls may overlap.
        max_concurrency: usize;
        /// How many calls may wait in an actor's queue.
        max_pending_calls: usize;
        /// After how many calls a worker process is replaced.
        max_calls: u32;
        /// How long a call may take, waiting included.
        timeout: Duration;
    }

    /// Lets `&self` calls of a sync class overlap.
    #[must_use]
    pub fn sharing(mut self, sharing: Option<Sharing>) -> Self {
        self.sharing = sharing;
        self
    }

    /// How the state becomes one that several threads may read.
    pub fn shared_by(&self) -> Option<Sharing> {
        self.sharing
    }

    /// An amount of a resource of your own naming.
    #[must_use]
    pub fn resource(mut self, name: &str, amount: f64) -> Self {
        self.resources.push((name.into(), amount));
        self
    }

    /// `"thread"`, `"shared"` or `"process"`.
    #[must_use]
    pub fn isolation(mut self, isolation: &str) -> Self {
        self.isolation = Some(isolation.into());
        self
    }

    /// The name under which an actor is found, or by which a task is shown.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The namespace of the name.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The actor lives until it is killed, without handles too.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// An actor that lives under the name already is taken instead of a new one.
    #[must_use]
    pub fn get_if_exists(mut self) -> Self {
        self.get_if_exists = true;
        self
    }

    /// An environment variable of the worker process.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// The folder in which the worker process runs; one that is relative lies in the program's own.
    #[must_use]
    pub fn working_dir(mut self, path: &str) -> Self {
        self.working_dir = Some(path.into());
        self
    }

    /// Which node should run it.
    #[must_use]
    pub fn placement(mut self, placement: impl Into<Placement>) -> Self {
        self.placement = placement.into();
        self
    }

    /// The resources asked for; `cpus` is what stands where no CPU was named.
    pub fn demand(&self, cpus: Quantity) -> Result<Demand> {
        let mut resources = ResourceSet::new();
        let cpus = self.num_cpus.map_or(Ok(cpus), |units| quantity("num_cpus", units))?;
        resources.set(CPU, cpus);
        if let Some(units) = self.num_gpus {
            let gpus = quantity("num_gpus", units)?;
            if gpus > Quantity::ONE && !gpus.is_whole() {
                let text = format!("num_gpus = {units}: above one it must be a whole number");
                return Err(Error::new(ErrorKind::InvalidOption, text));
            }
            resources.set(GPU, gpus);
        }
        if let Some(bytes) = self.memory {
            resources.set(MEMORY, Quantity::whole(bytes));
        }
        for (name, units) in &self.resources {
            if name.is_empty() || [CPU, GPU, MEMORY].contains(&&**name) {
                let text = format!("resource {name:?}: choose a name of your own");
                return Err(Error::new(ErrorKind::InvalidOption, text));
            }
            resources.set(name, quantity(name, *units)?);
        }
        Ok(Demand { resources })
    }

    /// Where it runs; `otherwise` is what stands where nothing was said.
    pub fn isolation_checked(&self, otherwise: Isolation) -> Result<Isolation> {
        let said = self.isolation.as_deref().map(Isolation::of).transpose()?;
        let implied = self.max_calls.map(|_| Isolation::Process);
        let isolation = said.or(implied).unwrap_or(otherwise);
        let unsupported = |text: &str| Err(Error::new(ErrorKind::Unsupported, text));
        match self.max_calls {
            Some(0) => {
                return Err(Error::new(ErrorKind::InvalidOption, "max_calls = 0: it is at least 1"));
            }
            Some(_) if isolation != Isolation::Process => {
                return unsupported("max_calls needs a process of its own: threads are not replaced");
            }
            _ => {}
        }
        if let Placement::Unknown(name) = &self.placement {
            let text = format!("placement = {name:?}: it is \"any\", \"spread\" or \"pack\"");
            return Err(Error::new(ErrorKind::InvalidOption, text));
        }
        if !self.env.is_empty() && isolation != Isolation::Process {
            return unsupported("env needs a process of its own: threads share one environment");
        }
        if self.working_dir.is_some() && isolation != Isolation::Process {
            return unsupported("working_dir needs a process of its own: threads share one folder");
        }
        Ok(isolation)
    }

    /// In which folder its process runs.
    pub fn folder(&self) -> Option<PathBuf> {
        self.working_dir.as_deref().map(PathBuf::from)
    }

    /// What is set in the environment of its process.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    /// After how many calls its process is replaced.
    pub fn calls_max(&self) -> Option<u32> {
        self.max_calls
    }

    /// The most memory that its process may use, in bytes.
    pub fn memory_max(&self) -> Option<u64> {
        self.memory
    }

    /// How often a task is tried.
    pub fn task_retry(&self) -> Retry {
        Retry {
            retries: self.max_retries.unwrap_or(MAX_RETRIES),
            on_error: self.retry_on_error.unwrap_or(false),
        }
    }

    /// How often an actor's call is tried, if it or its class says so.
    pub fn call_retry(&self) -> Option<Retry> {
        (self.max_task_retries.is_some() || self.retry_on_error.is_some()).then(|| Retry {
            retries: self.max_task_retries.unwrap_or(if self.retry_on_error == Some(true) {
                MAX_RETRIES
            } else {
                0
            }),
            on_error: self.retry_on_error.unwrap_or(false),
        })
    }

    /// How often a crashed actor is rebuilt.
    pub fn restarts(&self) -> u32 {
        self.max_restarts.unwrap_or(0)
    }

    /// How many calls may overlap, if it was said.
    pub fn concurrency(&self) -> Result<Option<usize>> {
        at_least_one("max_concurrency", self.max_concurrency)
    }

    /// How many calls may wait, if it was said.
    pub fn pending_calls(&self) -> Result<Option<usize>> {
        at_least_one("max_pending_calls", self.max_pending_calls)
    }

    /// How long a call may take, waiting included.
    pub fn time_allowed(&self) -> Option<Duration> {
        self.timeout
    }

    /// The name and the namespace that were asked for.
    pub fn naming(&self) -> Result<Option<(&str, Option<&str>)>> {
        match (self.name.as_deref(), self.detached || self.get_if_exists) {
            (Some(""), _) => Err(Error::new(ErrorKind::InvalidOption, "name = \"\": a name has letters")),
            (None, true) if self.get_if_exists => {
                Err(Error::new(ErrorKind::InvalidOption, "get_if_exists needs a name"))
            }
            (name, _) => Ok(name.map(|name| (name, self.namespace.as_deref()))),
        }
    }

    /// Whether the actor outlives its handles.
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// Whether a living actor of the name is taken instead.
    pub fn takes_existing(&self) -> bool {
        self.get_if_exists
    }
}

fn quantity(name: &str, units: f64) -> Result<Quantity> {
    Quantity::from_units(units).ok_or_else(|| {
        let text = format!("{name} = {units}: it is zero or between 0.0001 and 10^12");
        Error::new(ErrorKind::InvalidOption, text)
    })
}

fn at_least_one(name: &str, value: Option<usize>) -> Result<Option<usize>> {
    match value {
        Some(0) => Err(Error::new(ErrorKind::InvalidOption, format!("{name} = 0: it is at least 1"))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_task_takes_one_cpu_unless_told_otherwise() {
        let demand = Options::new().demand(Quantity::ONE).expect("valid");
        assert_eq!(demand.resources, ResourceSet::one_cpu());
        let demand = Options::new().num_cpus(0.0).demand(Quantity::ONE).expect("valid");
        assert!(demand.resources.is_empty());
    }

    #[test]
    fn wrong_values_are_invalid_options() {
        let wrong = Some(ErrorKind::InvalidOption);
        let demand = |options: Options| kind(options.demand(Quantity::ONE));
        assert_eq!(demand(Options::new().num_cpus(-1.0)), wrong);
        assert_eq!(demand(Options::new().num_gpus(f64::NAN)), wrong);
        assert_eq!(demand(Options::new().num_gpus(1.5)), wrong);
        assert_eq!(demand(Options::new().resource("", 1.0)), wrong);
        assert_eq!(demand(Options::new().resource("CPU", 1.0)), wrong);
        assert_eq!(demand(Options::new().resource("tpu", f64::INFINITY)), wrong);
        assert_eq!(kind(Options::new().max_concurrency(0).concurrency()), wrong);
        assert_eq!(kind(Options::new().max_pending_calls(0).pending_calls()), wrong);
        assert_eq!(kind(Options::new().isolation("vm").isolation_checked(Isolation::Thread)), wrong);
        assert_eq!(kind(Options::new().max_calls(0).isolation_checked(Isolation::Thread)), wrong);
        assert_eq!(kind(Options::new().get_if_exists().naming()), wrong);
        assert_eq!(kind(Options::new().name("").naming()), wrong);
    }

    #[test]
    fn what_needs_processes_says_so() {
        let unsupported = Some(ErrorKind::Unsupported);
        let checked = |options: Options| options.isolation_checked(Isolation::Thread);
        assert_eq!(checked(Options::new().isolation("process")).ok(), Some(Isolation::Process));
        assert_eq!(checked(Options::new().max_calls(1)).ok(), Some(Isolation::Process));
        assert_eq!(kind(checked(Options::new().max_calls(1).isolation("thread"))), unsupported);
        assert_eq!(kind(checked(Options::new().env("A", "b"))), unsupported);
        assert!(checked(Options::new().env("A", "b").isolation("process")).is_ok());
        assert_eq!(kind(checked(Options::new().working_dir("/"))), unsupported);
        assert!(checked(Options::new().working_dir("/").isolation("process")).is_ok());
    }
}
