//! One parent, several workers, and messages that arrive in order on each link, at any later time.
//!
//! The parent is the lender, as in the rooms that use this one: a worker's own object becomes the
//! parent's with the first message that names it. What is checked after every step needs no knowledge of
//! counts: whatever a living process or a message on its way refers to must exist at the parent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use fastrand::Rng;

use super::{Claims, Loans, NeverLent};

#[test]
fn what_crosses_a_return_keeps_the_loan() {
    let (mut loans, mut claims) = (Loans::default(), Claims::default());
    assert_eq!(loans.lend('a', "hold"), None);
    claims.receive('a');
    // A second message is on its way while the only user of the first one goes.
    assert_eq!(loans.lend('a', "spare"), Some("spare"));
    assert_eq!(claims.leave('a'), Some(1));
    assert_eq!(loans.returned('a', 1), Ok(None));
    assert_eq!(loans.get('a'), Some(&"hold"));
    claims.receive('a');
    assert!(claims.share('a'));
    assert_eq!((claims.leave('a'), claims.leave('a')), (None, Some(1)));
    assert_eq!(loans.returned('a', 1), Ok(Some("hold")));
    assert_eq!((loans.len(), claims.len()), (0, 0));
}

#[test]
fn the_last_user_returns_all_that_was_received() {
    let mut claims = Claims::default();
    assert!(!claims.share('a'), "there is nothing to share");
    for _ in 0..3 {
        claims.receive('a');
    }
    assert_eq!((claims.leave('a'), claims.leave('a'), claims.leave('a')), (None, None, Some(3)));
    assert_eq!(claims.leave('a'), None, "nobody is left to leave");
}

#[test]
fn what_was_never_lent_cannot_be_returned_and_changes_nothing() {
    let mut loans = Loans::default();
    assert_eq!(loans.returned('a', 1), Err(NeverLent));
    loans.lend('a', ());
    loans.lend('a', ());
    for count in [0, 3, u64::MAX] {
        assert_eq!(loans.returned('a', count), Err(NeverLent), "{count}");
    }
    assert_eq!(loans.returned('b', 1), Err(NeverLent));
    loans.check_invariants();
    assert_eq!((loans.len(), loans.returned('a', 2)), (1, Ok(Some(()))));
    assert_eq!(loans.returned('a', 1), Err(NeverLent));
}

#[test]
fn a_borrower_that_is_gone_has_nothing() {
    let mut loans = Loans::default();
    loans.lend('a', 1);
    loans.lend('a', 2);
    loans.lend('b', 3);
    let mut held = loans.end();
    held.sort_unstable();
    assert_eq!((held, loans.len(), loans.get('a')), (vec![1, 3], 0, None));
}

#[test]
fn in_any_history_nothing_is_freed_in_use_and_nothing_is_left() {
    for seed in 0..if cfg!(miri) { 3 } else { 3_000 } {
        if let Err(what) = History::run(seed, None) {
            panic!("seed {seed}: {what}");
        }
    }
}

/// Without this the histories above might pass because they never come to what they are about.
#[test]
#[cfg_attr(miri, ignore = "there is nothing unsafe in it")]
fn each_planted_fault_is_seen() {
    for fault in Fault::ALL {
        let seen = (0..200).find(|seed| History::run(*seed, Some(fault)).is_err());
        assert!(seen.is_some(), "{fault:?} was not seen in 200 histories");
    }
}

/// A mistake that one side might make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The borrower returns one, however many messages it received.
    ReturnsOne,
    /// The borrower returns although there is another user.
    ReturnsEarly,
    /// The borrower counts a message again that named what it has already.
    ForgetsMessages,
    /// The lender gives up at the first return.
    FreesAtFirstReturn,
    /// The lender keeps what a dead process had.
    KeepsOfTheDead,
    /// The lender counts only the first message.
    LendsOnce,
    /// A return overtakes the message before it.
    ReturnOvertakes,
    /// An id leaves its process before the object.
    NamesBeforeExport,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::ReturnsOne,
        Self::ReturnsEarly,
        Self::ForgetsMessages,
        Self::FreesAtFirstReturn,
        Self::KeepsOfTheDead,
        Self::LendsOnce,
        Self::ReturnOvertakes,
        Self::NamesBeforeExport,
    ];
}

/// Owner and number; the parent is 0.
type Id = (usize, u32);

/// An object at the parent: it exists as long as somebody holds it.
#[derive(Debug)]
struct Thing {
    /// What the parent calls it.
    id: Id,
    /// What another process calls it, too.
    alias: Option<Id>,
}

type Hold = Rc<Thing>;

#[derive(Debug)]
enum Up {
    /// A call or a result that names what it needs.
    Names(Vec<Id>),
    Export(Id),
    Returned(Id, u64),
}

/// A worker process with its link.
struct Worker {
    owner: usize,
    lent: Loans<Id, Hold>,
    claims: Claims<Id>,
    down: VecDeque<Vec<Id>>,
    up: VecDeque<Up>,
    /// Messages that have been received and not read yet: each is a user of what it names.
    unread: VecDeque<Vec<Id>>,
    /// Users in its code, of borrowed ids.
    users: BTreeMap<Id, usize>,
    /// Users of its own objects; and which of these are the parent's by now.
    own: BTreeMap<Id, usize>,
    exported: BTreeSet<Id>,
    made: u32,
    is_dead: bool,
    /// The parent knows that it is dead.
    is_over: bool,
}

impl Worker {
    fn new(owner: usize) -> Self {
        Self {
            owner,
            lent: Loans::default(),
            claims: Claims::default(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            unread: VecDeque::new(),
            users: BTreeMap::new(),
            own: BTreeMap::new(),
            exported: BTreeSet::new(),
            made: 0,
            is_dead: false,
            is_over: false,
        }
    }

    /// What must exist at the parent: what this process uses, and what messages name, both ways.
    fn each_referenced(&self, mut each: impl FnMut(Id)) {
        // The parent learns of such an object with that message, before any that names it.
        let to_come = |message: &Up| match message {
            Up::Export(id) => Some(*id),
            Up::Names(_) | Up::Returned(..) => None,
        };
        let to_come: Vec<Id> = self.up.iter().filter_map(to_come).collect();
        let mut each = |id: &Id| {
            if !to_come.contains(id) {
                each(*id);
            }
        };
        for message in &self.up {
            if let Up::Names(ids) = message {
                ids.iter().for_each(&mut each);
            }
        }
        if !self.is_dead {
            self.down.iter().chain(&self.unread).flatten().for_each(&mut each);
            self.users.keys().chain(&self.exported).for_each(&mut each);
        }
    }
}

struct History {
    rng: Rng,
    fault: Option<Fault>,
    workers: Vec<Worker>,
    /// What the program at the parent holds.
    held: Vec<Hold>,
    /// All that ever was.
    things: Vec<Weak<Thing>>,
    made: u32,
    step: usize,
}

impl History {
    fn run(seed: u64, fault: Option<Fault>) -> Result<(), String> {
        let mut this = Self {
            rng: Rng::with_seed(seed),
            fault,
            workers: (1..=3).map(Worker::new).collect(),
            held: Vec::new(),
            things: Vec::new(),
            made: 0,
            step: 0,
        };
        let steps = this.rng.usize(20..150);
        for step in 0..steps {
            this.step = step;
            this.step().and_then(|()| this.check()).map_err(|what| format!("step {step}: {what}"))?;
        }
        this.drain().map_err(|what| format!("after {steps} steps: {what}"))
    }

    fn step(&mut self) -> Result<(), String> {
        let at = self.rng.usize(..self.workers.len());
        match self.rng.u8(..100) {
            0..12 => self.make(),
            12..22 => self.drop_held(),
            22..38 => self.lend(at),
            38..52 => self.deliver_down(at),
            52..62 => self.read(at)?,
            62..67 => self.share(at)?,
            67..76 => self.leave(at),
            76..80 => self.make_own(at),
            80..83 => self.leave_own(at),
            83..90 => self.name(at),
            90..98 => self.deliver_up(at)?,
            98 => self.kill(at),
            _ => self.start(),
        }
        Ok(())
    }

    // The parent.

    fn thing(&mut self, alias: Option<Id>) -> Hold {
        self.made += 1;
        let thing = Rc::new(Thing { id: (0, self.made), alias });
        self.things.push(Rc::downgrade(&thing));
        thing
    }

    fn make(&mut self) {
        let thing = self.thing(None);
        self.held.push(thing);
    }

    fn drop_held(&mut self) {
        if !self.held.is_empty() {
            let at = self.rng.usize(..self.held.len());
            self.held.swap_remove(at);
        }
    }

    /// Sends a message that names some of what the parent holds, maybe one thing twice.
    fn lend(&mut self, at: usize) {
        if self.held.is_empty() || self.workers[at].is_over {
            return;
        }
        let mut ids = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            let hold = self.held[self.rng.usize(..self.held.len())].clone();
            // What came from there may go back by the name that it has there.
            let own = hold.alias.filter(|alias| alias.0 == self.workers[at].owner && self.rng.bool());
            let lent = &mut self.workers[at].lent;
            // As long as the loan lasts, the other side knows it by that name.
            let id = own.filter(|own| lent.get(*own).is_some()).unwrap_or(hold.id);
            if self.fault != Some(Fault::LendsOnce) || lent.get(id).is_none() {
                lent.lend(id, hold);
            }
            ids.push(id);
        }
        if !self.workers[at].is_dead {
            self.workers[at].down.push_back(ids);
        }
    }

    fn deliver_up(&mut self, at: usize) -> Result<(), String> {
        let Some(message) = self.workers[at].up.pop_front() else {
            let worker = &mut self.workers[at];
            if worker.is_dead && !worker.is_over {
                worker.is_over = true;
                if self.fault != Some(Fault::KeepsOfTheDead) {
                    drop(worker.lent.end());
                }
            }
            return Ok(());
        };
        match message {
            Up::Names(ids) => {
                for id in ids {
                    let hold = self.workers[at].lent.get(id).cloned();
                    let hold = hold.ok_or_else(|| format!("{id:?} is named and not lent to {at}"))?;
                    // Some of it stays with the call, and goes on to another process.
                    if self.rng.bool() {
                        self.held.push(hold);
                    }
                }
            }
            Up::Export(id) => {
                let thing = self.thing(Some(id));
                self.workers[at].lent.lend(id, thing);
            }
            Up::Returned(id, count) => {
                let lent = &mut self.workers[at].lent;
                match lent.returned(id, count) {
                    Ok(freed) => drop(freed),
                    Err(NeverLent) => return Err(format!("{id:?} came back {count} times from {at}")),
                }
                if self.fault == Some(Fault::FreesAtFirstReturn) && lent.get(id).is_some() {
                    // As if no count was kept.
                    while lent.get(id).is_some() {
                        drop(lent.returned(id, 1));
                    }
                }
            }
        }
        Ok(())
    }

    /// A process ends with messages in flight: of what it wrote, the parent reads some.
    fn kill(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        worker.is_dead = true;
        worker.down.clear();
        worker.unread.clear();
        worker.users.clear();
        worker.own.clear();
        worker.exported.clear();
        worker.claims = Claims::default();
        let whole = self.rng.usize(..=worker.up.len());
        worker.up.truncate(whole);
    }

    fn start(&mut self) {
        if self.workers.len() < 6 {
            self.workers.push(Worker::new(self.workers.len() + 1));
        }
    }

    // A worker.

    fn deliver_down(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let Some(ids) = worker.down.pop_front() else { return };
        for id in &ids {
            if self.fault == Some(Fault::ForgetsMessages) && worker.claims.share(*id) {
                continue;
            }
            worker.claims.receive(*id);
        }
        worker.unread.push_back(ids);
    }

    /// Reads a message: some of what it names stays in use.
    fn read(&mut self, at: usize) -> Result<(), String> {
        let Some(ids) = self.workers[at].unread.pop_front() else { return Ok(()) };
        for id in &ids {
            if self.rng.bool() {
                self.keep(at, *id)?;
            }
        }
        for id in ids {
            self.drop_claim(at, id);
        }
        Ok(())
    }

    fn keep(&mut self, at: usize, id: Id) -> Result<(), String> {
        let worker = &mut self.workers[at];
        if !worker.claims.share(id) {
            return Err(format!("{id:?} is in use at {at} and cannot be shared"));
        }
        *worker.users.entry(id).or_default() += 1;
        Ok(())
    }

    fn share(&mut self, at: usize) -> Result<(), String> {
        let known: Vec<Id> = self.workers[at].users.keys().copied().collect();
        self.rng.choice(known).map_or(Ok(()), |id| self.keep(at, id))
    }

    fn leave(&mut self, at: usize) {
        let known: Vec<Id> = self.workers[at].users.keys().copied().collect();
        let Some(id) = self.rng.choice(known) else { return };
        forget_one(&mut self.workers[at].users, id);
        self.drop_claim(at, id);
    }

    /// A user of a claim is gone.
    fn drop_claim(&mut self, at: usize, id: Id) {
        let worker = &mut self.workers[at];
        let returned = worker.claims.leave(id);
        let returned = match self.fault {
            Some(Fault::ReturnsOne) => returned.map(|_| 1),
            Some(Fault::ReturnsEarly) if returned.is_none() => Some(1),
            _ => returned,
        };
        let Some(count) = returned else { return };
        let message = Up::Returned(id, count);
        match worker.up.pop_back() {
            Some(before) if self.fault == Some(Fault::ReturnOvertakes) => worker.up.extend([message, before]),
            before => worker.up.extend(before.into_iter().chain([message])),
        }
    }

    fn make_own(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if !worker.is_dead {
            worker.made += 1;
            worker.own.insert((worker.owner, worker.made), 1);
        }
    }

    /// A user of an own object goes; with the last one the object, which is a user of its own export.
    fn leave_own(&mut self, at: usize) {
        let known: Vec<Id> = self.workers[at].own.keys().copied().collect();
        let Some(id) = self.rng.choice(known) else { return };
        if forget_one(&mut self.workers[at].own, id) && self.workers[at].exported.remove(&id) {
            self.drop_claim(at, id);
        }
    }

    /// Sends a message that names what the worker has, its own objects, too.
    fn name(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        let known: Vec<Id> = worker.users.keys().chain(worker.own.keys()).copied().collect();
        if known.is_empty() {
            return;
        }
        let ids: Vec<Id> = (0..self.rng.usize(1..4)).map(|_| known[self.rng.usize(..known.len())]).collect();
        let mut exports = Vec::new();
        for id in &ids {
            if worker.own.contains_key(id) && worker.exported.insert(*id) {
                worker.claims.receive(*id);
                exports.push(Up::Export(*id));
            }
        }
        let names = [Up::Names(ids)];
        if self.fault == Some(Fault::NamesBeforeExport) {
            worker.up.extend(names.into_iter().chain(exports));
        } else {
            worker.up.extend(exports.into_iter().chain(names));
        }
    }

    // What must hold.

    fn check(&self) -> Result<(), String> {
        for (at, worker) in self.workers.iter().enumerate() {
            worker.lent.check_invariants();
            worker.claims.check_invariants();
            let mut freed = None;
            worker.each_referenced(|id| freed = freed.or(worker.lent.get(id).is_none().then_some(id)));
            if let Some(id) = freed {
                return Err(format!("{id:?} is referenced by {at} and was freed"));
            }
            if worker.is_over && worker.lent.len() > 0 {
                return Err(format!("{at} is gone and has {}", worker.lent.len()));
            }
        }
        Ok(())
    }

    /// Everybody drops everything, all messages arrive: nothing is left.
    fn drain(mut self) -> Result<(), String> {
        self.held.clear();
        while self.workers.iter().any(|worker| !is_idle(worker)) {
            for at in 0..self.workers.len() {
                match self.rng.u8(..5) {
                    0 => self.deliver_down(at),
                    1 => self.read(at)?,
                    2 => self.leave(at),
                    3 => self.leave_own(at),
                    _ => self.deliver_up(at)?,
                }
                self.held.clear();
                self.check()?;
            }
        }
        for (at, worker) in self.workers.iter().enumerate() {
            let (lent, claims) = (worker.lent.len(), worker.claims.len());
            if (lent, claims) != (0, 0) {
                return Err(format!("{lent} loans to {at} and {claims} claims there are left"));
            }
        }
        match self.things.iter().filter(|thing| thing.strong_count() > 0).count() {
            0 => Ok(()),
            left => Err(format!("{left} things are left")),
        }
    }
}

fn is_idle(worker: &Worker) -> bool {
    let is_quiet = worker.up.is_empty() && worker.down.is_empty() && worker.unread.is_empty();
    is_quiet && worker.users.is_empty() && worker.own.is_empty() && worker.is_dead == worker.is_over
}

/// One user less; `true` if it was the last.
fn forget_one(users: &mut BTreeMap<Id, usize>, id: Id) -> bool {
    let Some(count) = users.get_mut(&id) else { return false };
    *count -= 1;
    let is_last = *count == 0;
    if is_last {
        users.remove(&id);
    }
    is_last
}
