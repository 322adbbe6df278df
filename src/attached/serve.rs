//! The life of a worker, from its constructor to its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::{Attached, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{self, Desk, Pool, Stage, Threads};
use crate::id::{ActorId, ObjectId};
use crate::process::{self, Entry};
use crate::protocol::{Message, Said, Told, VERSION};
use crate::runtime::{self, ActorRef, Identity, Runtime};
use crate::store::{self, Counted, Object, Table};
use crate::transport::{self, Load, Naming, Peer, Receiver, When};

/// How long the parent may take until its first word.
const WELCOME_MAX: Duration = Duration::from_secs(20);
/// The most threads of one worker.
const THREADS_MAX: usize = 4_000;

/// Serves in place of `main`, if this process is a worker.
#[cfg_attr(not(miri), ctor::ctor)] // miri refuses its return type
fn serve_instead_of_main() {
    // The tests of the process room have a child of their own kind.
    if cfg!(test) && std::env::var_os("MOBULA_TEST_PART").is_some() {
        return;
    }
    if let Some(entry) = process::entered() {
        let code = match serve(entry) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("mobula: a worker ends: {error}");
                1
            }
        };
        std::process::exit(code);
    }
}

fn serve(entry: Entry) -> Result<()> {
    let peer = transport::peer(&entry.stream)?;
    if peer.pid != entry.parent || peer.uid != rustix::process::getuid().as_raw() {
        return Err(Error::new(ErrorKind::Unauthorized, "the socket is not one of the parent's"));
    }
    let (sender, mut receiver) = transport::connect(entry.stream)?;
    receiver.set_timeout(Some(WELCOME_MAX));
    let late = || Error::new(ErrorKind::Unreachable, "the parent is gone");
    let first = receiver.next()?.ok_or_else(late)?;
    let (welcome, _, _) = crate::protocol::read(&first.bytes)?;
    let Message::Welcome { version, secret, worker, job, node, namespace: _, log_level } = welcome else {
        return Err(Error::new(ErrorKind::Decode, "the parent's first word is no greeting"));
    };
    if secret != entry.secret {
        return Err(Error::new(ErrorKind::Unauthorized, "the secret is another one"));
    }
    receiver.set_timeout(None);
    install_logger(&log_level);
    executor::install_hook();
    store::set_arena_owner(worker)?;
    let attached = Attached::start(Identity { job, node, worker })?;
    let naming = Exporting(Arc::downgrade(&attached));
    let peer = Peer::new(sender, false, store::arena().clone(), Box::new(naming));
    let _ = attached.peer.set(peer.clone());
    let runtime: Arc<dyn Runtime> = attached.clone();
    runtime::install(|| Ok(runtime), false)?;
    peer.send(&Message::Hello { version: VERSION }, None, When::Now)?;
    if version != VERSION {
        let text = format!("the parent speaks version {version}, this executable {VERSION}");
        return Err(Error::new(ErrorKind::VersionMismatch, text));
    }
    attached.read_all(&peer, &mut receiver)
}

fn install_logger(level: &str) {
    let level = level.parse().unwrap_or(tracing::level_filters::LevelFilter::WARN);
    let logger = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).finish();
    let _ = tracing::subscriber::set_global_default(logger);
}

impl Attached {
    fn start(identity: Identity) -> Result<Arc<Self>> {
        let stage = Arc::new(Stage::start(2, Threads::new(THREADS_MAX))?);
        let pool = Pool::new(1, stage.clone());
        let this = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            identity,
            peer: OnceLock::new(),
            stage,
            pool,
            own: Arc::default(),
            own_actors: Table::default(),
            objects: Mutex::default(),
            exporting: Mutex::default(),
            exported: Condvar::new(),
            pending: Mutex::default(),
            actors: Mutex::default(),
            calls: Mutex::default(),
            numbers: Mutex::default(),
            producers: Mutex::default(),
            hosted: Mutex::default(),
            mark: OnceLock::new(),
            cancels: AtomicU64::new(0),
            obituary: OnceLock::new(),
            tickets: AtomicU64::new(0),
            questions: Mutex::default(),
            is_leaving: AtomicBool::new(false),
            is_relieving: AtomicBool::new(false),
        });
        let desk: Arc<dyn Desk> = this.clone();
        this.pool.attach(&desk);
        this.share_store();
        Ok(this)
    }

    /// Room and directories are the parent's.
    fn share_store(&self) {
        let (asking, needing) = (self.me.clone(), self.me.clone());
        store::files().follow(move || {
            let parent = asking.upgrade().ok_or(std::io::ErrorKind::BrokenPipe)?;
            match parent.question(Said::SpillDirectory) {
                Ok(Told::Directory(path)) => Ok(path),
                Ok(_) => Err(std::io::ErrorKind::InvalidData.into()),
                Err(error) => Err(std::io::Error::other(error)),
            }
        });
        store::set_others(move |bytes| {
            if let Some(this) = needing.upgrade() {
                this.tell(&Message::Relieve { bytes });
            }
        });
    }

    /// Handles what comes until the parent is gone or says that it is over.
    fn read_all(&self, peer: &Arc<Peer>, receiver: &mut Receiver) -> Result<()> {
        store::hurry();
        while let Some(frame) = receiver.next()? {
            if let Some((message, load)) = peer.read(frame)? {
                self.handle(message, &load)?;
            }
        }
        Ok(())
    }

    fn handle(&self, message: Message, load: &Load) -> Result<()> {
        match message {
            Message::Run { call, function, caller, attempt, lease } => {
                self.run(call, function, caller, attempt, lease, load);
            }
            message @ Message::Build { .. } => self.build(message, load),
            Message::Call { call, method, caller, attempt, retry } => {
                self.run_method(call, method, caller, attempt, retry, load);
            }
            Message::Cancel { call, error, number } => {
                self.cancel(call, error.as_ref());
                self.cancels.fetch_max(number, Ordering::AcqRel);
            }
            Message::Taken { call, count } => self.taken(call, count),
            Message::Filled { object, error } => self.filled(object, error, load),
            Message::Yielded { object } => self.yielded(object, load),
            Message::Answer { ticket, answer } => {
                let asked = lock(&self.questions).remove(&ticket);
                if let Some(asked) = asked {
                    let _ = asked.send(answer);
                }
            }
            Message::Returned { extents, objects, actors } => {
                self.peer().returned(extents, objects, actors)?;
            }
            Message::Forget { segments } => self.peer().forgotten(&segments)?,
            Message::Vacated { segments } => self.peer().vacated(&segments)?,
            Message::Relieve { bytes } => self.relieve(bytes),
            Message::Leave => self.leave(),
            other => {
                let text = format!("a parent has no such message for a worker: {other:?}");
                return Err(Error::new(ErrorKind::Decode, text));
            }
        }
        Ok(())
    }

    /// Somebody else needs room. On a thread of its own, since a file may have to be asked for.
    fn relieve(&self, bytes: u64) {
        if self.is_relieving.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(this) = self.me.upgrade() else { return };
        let body = move || {
            store::relieve(bytes);
            this.is_relieving.store(false, Ordering::Release);
        };
        if std::thread::Builder::new().name("mobula-relief".into()).spawn(body).is_err() {
            self.is_relieving.store(false, Ordering::Release);
        }
    }

    /// Hands over and goes: at once, or when what runs here has returned.
    fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        if !self.end_hosted() {
            self.go_if_done();
        }
    }

    /// Goes, if it is to and nothing runs.
    pub(super) fn go_if_done(&self) {
        let is_leaving = self.is_leaving.load(Ordering::Acquire);
        if is_leaving && lock(&self.calls).is_empty() && lock(&self.hosted).is_none() {
            self.tell(&Message::Goodbye);
            // What is queued for a parent that reads slowly is waited for.
            while self.peer().sender().queued() > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::process::exit(0);
        }
    }
}

/// What a worker does before an id leaves it: what is its own goes to the parent.
struct Exporting(Weak<Attached>);

impl Naming for Exporting {
    fn object(&self, _: &Peer, id: ObjectId, hold: &Counted<dyn Object>) -> Result<()> {
        let host = self.0.upgrade().ok_or_else(runtime::ended)?;
        if id.owner == host.identity.worker { host.export(id, hold) } else { Ok(()) }
    }

    fn actor(&self, _: &Peer, _: ActorId, _: &ActorRef) -> Result<()> {
        // Every actor is the parent's, also those that were made here.
        Ok(())
    }
}
