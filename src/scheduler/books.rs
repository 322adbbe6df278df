//! Who holds which resources, and who waits for them.
//!
//! Demands are granted in the order they came: a later one may overtake an earlier one only if it asks
//! for nothing that the earlier one is short of, so that small ones do not starve a big one. With one
//! exception: an earlier demand that could not be served even if all running tasks returned (since
//! actors, or tasks that wait, hold the rest) keeps nobody back, for it might be what they wait for.
//! What takes back what it had (a task that goes on after a wait) comes before everything new.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::resource::{CPU, GPU, Quantity, ResourceSet};

/// One demand that may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DemandId(pub(crate) u64);

/// Resources that were handed out; to be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) resources: ResourceSet,
    /// GPU ids with the share of each.
    pub(crate) gpus: Vec<(u32, Quantity)>,
    /// The CPUs that others have while the holder waits, and until it has them back.
    pub(crate) lent: Quantity,
    /// How many waits the holder is in: calls that overlap share a grant, and one async call may await much.
    waits: u32,
    /// Whether one of those who have waited asks for `lent`.
    is_asked_for: bool,
    holder: Holder,
}

/// What the end of a wait leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// Go on: nothing was lent, or others of the same grant wait still, and it stays lent for them.
    GoOn,
    /// Ask for that many CPUs, then [`Books::resume`].
    Ask(Quantity),
    /// Another who has waited asks for them: wait until it has resumed.
    Await,
}

/// Who holds a grant, as far as it tells when it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A task that runs: it returns by itself.
    #[default]
    Running,
    /// A task that waits for something, perhaps for a demand.
    Waiting,
    /// An actor, for as long as it lives; or a part that is added to another grant.
    Keeping,
}

/// The answer to a demand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Here it is.
    Granted(Grant),
    /// It waits; a [`Granted`] will come.
    Queued,
    /// There is not so much in the whole.
    Infeasible,
}

impl Grant {
    /// What is held by the word of who has it in the books: a worker's by its parent's, and a task's that runs
    /// inside of another's wait by that one's.
    pub(crate) fn of(resources: ResourceSet, gpus: Vec<(u32, Quantity)>) -> Self {
        Self { resources, gpus, ..Self::default() }
    }

    /// Whether somebody asks for the CPUs that were lent.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.is_asked_for
    }
}

/// A waiting demand got what it asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) id: DemandId,
    pub(crate) grant: Grant,
}

#[derive(Debug)]
struct Waiting {
    arrival: u64,
    id: DemandId,
    holder: Holder,
}

/// The state: what there is, what is free, who waits.
#[derive(Debug)]
pub(crate) struct Books {
    total: ResourceSet,
    free: ResourceSet,
    /// What running tasks hold.
    running: ResourceSet,
    /// What is free of each GPU, by id.
    gpus: Vec<Quantity>,
    /// Waiting demands by what they ask for; `urgent` ones stand under `false` and come first.
    waiting: BTreeMap<(bool, ResourceSet), VecDeque<Waiting>>,
    arrivals: u64,
}

impl Books {
    pub(crate) fn new(total: ResourceSet) -> Self {
        let gpus = vec![Quantity::ONE; total.get(GPU).whole_units() as usize];
        let running = ResourceSet::new();
        Self { free: total.clone(), running, total, gpus, waiting: BTreeMap::new(), arrivals: 0 }
    }

    pub(crate) fn total(&self) -> &ResourceSet {
        &self.total
    }

    pub(crate) fn free(&self) -> &ResourceSet {
        &self.free
    }

    /// How many demands wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Whether a demand for CPUs waits, so that who holds one without need should give it back.
    pub(crate) fn wants_cpu(&self) -> bool {
        self.waiting.keys().any(|(_, request)| !request.get(CPU).is_zero())
    }

    /// Whether `request` could ever be granted.
    pub(crate) fn is_feasible(&self, request: &ResourceSet) -> bool {
        request.fits(&self.total)
    }

    /// Asks for `request`; `urgent` for what was held before. Beside the answer, who else gets something:
    /// what keeps others back may have changed since they were looked at.
    pub(crate) fn ask(
        &mut self,
        id: DemandId,
        request: &ResourceSet,
        urgent: bool,
        holder: Holder,
    ) -> (Verdict, Vec<Granted>) {
        if !self.is_feasible(request) {
            return (Verdict::Infeasible, Vec::new());
        }
        if self.waiting.is_empty()
            && request.fits(&self.free)
            && let Some(gpus) = self.choose_gpus(request)
        {
            return (Verdict::Granted(self.grant(request.clone(), gpus, holder)), Vec::new());
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.waiting.entry((!urgent, request.clone())).or_default().push_back(Waiting {
            arrival,
            id,
            holder,
        });
        let mut granted = self.pump();
        match granted.iter().position(|granted| granted.id == id) {
            Some(own) => (Verdict::Granted(granted.remove(own).grant), granted),
            None => (Verdict::Queued, granted),
        }
    }

    /// Takes back what was granted; says who gets it next.
    pub(crate) fn give_back(&mut self, grant: &Grant) -> Vec<Granted> {
        if grant.holder == Holder::Running {
            self.running.take(&grant.resources);
        }
        self.free.give(&grant.resources);
        for (id, share) in &grant.gpus {
            self.gpus[*id as usize] = self.gpus[*id as usize].plus(*share);
        }
        self.pump()
    }

    /// The holder of a grant waits for something, or for something more: takes back the CPUs, until the last
    /// of its waits is over; says who gets them.
    pub(crate) fn begin_wait(&mut self, grant: &mut Grant) -> Vec<Granted> {
        grant.waits += 1;
        if grant.holder == Holder::Running {
            self.running.take(&grant.resources);
            grant.holder = Holder::Waiting;
        }
        self.lend(grant);
        self.pump()
    }

    fn lend(&mut self, grant: &mut Grant) {
        let cpus = grant.resources.get(CPU);
        if cpus.is_zero() {
            return;
        }
        grant.lent = cpus;
        grant.resources.set(CPU, Quantity::ZERO);
        self.free.give(&ResourceSet::new().with(CPU, cpus));
    }

    /// A wait of the holder of a grant is over.
    ///
    /// Only the last asks for what was lent: if one before it took the CPUs back, the others would wait for
    /// ever for what needs them, once it has returned.
    pub(crate) fn end_wait(&mut self, grant: &mut Grant) -> Back {
        grant.waits = grant.waits.saturating_sub(1);
        if grant.waits > 0 {
            return Back::GoOn;
        }
        if grant.is_asked_for {
            return Back::Await;
        }
        if grant.lent.is_zero() {
            self.run(grant);
            return Back::GoOn;
        }
        grant.is_asked_for = true;
        Back::Ask(grant.lent)
    }

    /// A wait of the holder of a grant is over, and nobody goes on after it: others keep what was lent, until the
    /// end of the next.
    pub(crate) fn abandon_wait(&mut self, grant: &mut Grant) {
        grant.waits = grant.waits.saturating_sub(1);
        if grant.waits == 0 && grant.lent.is_zero() {
            self.run(grant);
        }
    }

    /// The CPUs that were asked for again have come: `cpus`, which is zero if there are none to be had any
    /// more. Others get them if the grant was given back meanwhile, or its holder waits again.
    pub(crate) fn resume(&mut self, grant: &mut Grant, cpus: Quantity) -> Vec<Granted> {
        if !std::mem::take(&mut grant.is_asked_for) {
            self.free.give(&ResourceSet::new().with(CPU, cpus));
            return self.pump();
        }
        grant.lent = Quantity::ZERO;
        grant.resources.set(CPU, cpus);
        if grant.waits > 0 {
            self.lend(grant);
            return self.pump();
        }
        self.run(grant);
        Vec::new()
    }

    fn run(&mut self, grant: &mut Grant) {
        if grant.holder == Holder::Waiting {
            grant.holder = Holder::Running;
            self.running.give(&grant.resources);
        }
    }

    /// Forgets a waiting demand; who stood behind it may get on now.
    pub(crate) fn withdraw(&mut self, id: DemandId) -> Vec<Granted> {
        self.waiting.retain(|_, line| {
            line.retain(|waiting| waiting.id != id);
            !line.is_empty()
        });
        self.pump()
    }

    fn pump(&mut self) -> Vec<Granted> {
        let mut granted = Vec::new();
        while let Some(next) = self.next() {
            granted.push(next);
        }
        granted
    }

    /// Grants the first demand in order that may have what it asks for.
    fn next(&mut self) -> Option<Granted> {
        let mut heads: Vec<(bool, u64, &ResourceSet)> = self
            .waiting
            .iter()
            .filter_map(|((new, request), line)| Some((*new, line.front()?.arrival, request)))
            .collect();
        heads.sort_unstable_by_key(|(new, arrival, _)| (*new, *arrival));
        let mut spoken_for: BTreeSet<&str> = BTreeSet::new();
        let mut chosen = None;
        for (new, _, request) in heads {
            let overtakes = request.iter().any(|(name, _)| spoken_for.contains(name));
            if !overtakes
                && let Some(gpus) = self.choose_gpus(request)
                && request.fits(&self.free)
            {
                chosen = Some(((new, request.clone()), gpus));
                break;
            }
            if self.will_be_served(request) {
                spoken_for.extend(request.short_of(&self.free));
                if self.choose_gpus(request).is_none() {
                    spoken_for.insert(GPU);
                }
            }
        }
        let (key, gpus) = chosen?;
        let line = self.waiting.get_mut(&key)?;
        let Waiting { id, holder, .. } = line.pop_front()?;
        if line.is_empty() {
            self.waiting.remove(&key);
        }
        Some(Granted { id, grant: self.grant(key.1, gpus, holder) })
    }

    /// Hands out what is free.
    fn grant(&mut self, resources: ResourceSet, gpus: Vec<(u32, Quantity)>, holder: Holder) -> Grant {
        if holder == Holder::Running {
            self.running.give(&resources);
        }
        self.free.take(&resources);
        for (gpu, share) in &gpus {
            self.gpus[*gpu as usize] = self.gpus[*gpu as usize].minus(*share).unwrap_or_default();
        }
        Grant { resources, gpus, holder, ..Grant::default() }
    }

    /// Whether `request` can be served once all running tasks have returned.
    fn will_be_served(&self, request: &ResourceSet) -> bool {
        let mut soon = self.free.clone();
        soon.give(&self.running);
        let has_gpus = self.choose_gpus(request).is_some() || !self.running.get(GPU).is_zero();
        has_gpus && request.fits(&soon)
    }

    /// Which GPUs serve `request`: a fraction fills the fullest one that has room, so that whole ones
    /// stay whole.
    fn choose_gpus(&self, request: &ResourceSet) -> Option<Vec<(u32, Quantity)>> {
        let wanted = request.get(GPU);
        if wanted.is_zero() {
            return Some(Vec::new());
        }
        if wanted < Quantity::ONE {
            let room = self.gpus.iter().enumerate().filter(|(_, free)| **free >= wanted);
            let (id, _) = room.min_by_key(|(id, free)| (**free, *id))?;
            return Some(vec![(id as u32, wanted)]);
        }
        let count = wanted.whole_units() as usize;
        let whole = self.gpus.iter().enumerate().filter(|(_, free)| **free == Quantity::ONE);
        let ids: Vec<_> = whole.take(count).map(|(id, _)| (id as u32, Quantity::ONE)).collect();
        (ids.len() == count).then_some(ids)
    }

    /// The books balance.
    #[cfg(test)]
    fn check_invariants(&self, held: &[&Grant]) {
        let mut sum = self.free.clone();
        for grant in held {
            sum.give(&grant.resources);
        }
        assert_eq!(sum, self.total, "what is free and what is held make the whole");
        for (id, free) in self.gpus.iter().enumerate() {
            let shares = held.iter().flat_map(|grant| &grant.gpus);
            let used = shares.filter(|(gpu, _)| *gpu as usize == id);
            let used = used.fold(Quantity::ZERO, |sum, (_, share)| sum.plus(*share));
            assert_eq!(free.plus(used), Quantity::ONE, "GPU {id}");
        }
        assert!(self.waiting.values().all(|line| !line.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(count: u64) -> ResourceSet {
        ResourceSet::new().with(CPU, Quantity::whole(count))
    }

    fn gpus(units: f64) -> ResourceSet {
        ResourceSet::new().with(GPU, Quantity::from_units(units).expect("valid"))
    }

    /// Asks where nobody else can be served by that.
    fn ask(books: &mut Books, id: DemandId, request: &ResourceSet, urgent: bool, holder: Holder) -> Verdict {
        let (verdict, others) = books.ask(id, request, urgent, holder);
        assert!(others.is_empty());
        verdict
    }

    fn granted(verdict: Verdict) -> Grant {
        match verdict {
            Verdict::Granted(grant) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    fn ids(granted: &[Granted]) -> Vec<u64> {
        granted.iter().map(|granted| granted.id.0).collect()
    }

    #[test]
    fn first_come_first_served() {
        let mut books = Books::new(cpus(2));
        let a = granted(ask(&mut books, DemandId(1), &cpus(2), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &cpus(1), false, Holder::Running), Verdict::Queued);
        assert_eq!(ask(&mut books, DemandId(3), &cpus(1), false, Holder::Running), Verdict::Queued);
        assert!(books.wants_cpu());
        assert_eq!(ids(&books.give_back(&a)), [2, 3]);
    }

    #[test]
    fn a_big_demand_is_not_starved_by_small_ones() {
        let mut books = Books::new(cpus(2));
        let a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &cpus(2), false, Holder::Running), Verdict::Queued);
        assert_eq!(ask(&mut books, DemandId(3), &cpus(1), false, Holder::Running), Verdict::Queued);
        let next = books.give_back(&a);
        assert_eq!(ids(&next), [2]);
        books.check_invariants(&[&next[0].grant]);
        assert_eq!(ids(&books.give_back(&next[0].grant)), [3]);
    }

    #[test]
    fn who_asks_for_other_things_may_overtake() {
        let mut books = Books::new(cpus(1).with("tpu", Quantity::whole(1)));
        let a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &cpus(1), false, Holder::Running), Verdict::Queued);
        let tpu = ResourceSet::new().with("tpu", Quantity::whole(1));
        let b = granted(ask(&mut books, DemandId(3), &tpu, false, Holder::Running));
        books.check_invariants(&[&a, &b]);
    }

    #[test]
    fn who_takes_back_comes_first() {
        let mut books = Books::new(cpus(1));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &cpus(1), false, Holder::Running), Verdict::Queued);
        assert_eq!(ask(&mut books, DemandId(3), &cpus(1), false, Holder::Running), Verdict::Queued);
        let b = books.begin_wait(&mut a);
        assert_eq!(ids(&b), [2]);
        assert_eq!(books.end_wait(&mut a), Back::Ask(Quantity::ONE));
        assert_eq!(ask(&mut books, DemandId(1), &cpus(1), true, Holder::Running), Verdict::Queued);
        assert_eq!(ids(&books.give_back(&b[0].grant)), [1]);
    }

    #[test]
    fn more_than_the_whole_is_infeasible() {
        let mut books = Books::new(cpus(2));
        assert_eq!(ask(&mut books, DemandId(1), &cpus(3), false, Holder::Running), Verdict::Infeasible);
        assert_eq!(ask(&mut books, DemandId(1), &gpus(0.5), false, Holder::Running), Verdict::Infeasible);
        assert_eq!(books.waiting(), 0);
    }

    #[test]
    fn fractions_share_one_gpu_and_leave_the_others_whole() {
        let mut books = Books::new(gpus(2.0));
        let held: Vec<Grant> = (0..4)
            .map(|n| granted(ask(&mut books, DemandId(n), &gpus(0.25), false, Holder::Running)))
            .collect();
        assert!(held.iter().all(|grant| grant.gpus[0].0 == 0));
        let whole = granted(ask(&mut books, DemandId(9), &gpus(1.0), false, Holder::Running));
        assert_eq!(whole.gpus, [(1, Quantity::ONE)]);
        let mut all: Vec<&Grant> = held.iter().collect();
        all.push(&whole);
        books.check_invariants(&all);
    }

    #[test]
    fn two_halves_of_two_gpus_are_not_one_gpu() {
        let mut books = Books::new(gpus(2.0));
        let a = granted(ask(&mut books, DemandId(1), &gpus(0.6), false, Holder::Running));
        let b = granted(ask(&mut books, DemandId(2), &gpus(0.6), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(3), &gpus(1.0), false, Holder::Running), Verdict::Queued);
        books.check_invariants(&[&a, &b]);
        assert_eq!(ids(&books.give_back(&a)), [3]);
    }

    #[test]
    fn withdrawing_lets_the_next_one_pass() {
        let mut books = Books::new(cpus(2));
        let a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &cpus(2), false, Holder::Running), Verdict::Queued);
        assert_eq!(ask(&mut books, DemandId(3), &cpus(1), false, Holder::Running), Verdict::Queued);
        let next = books.withdraw(DemandId(2));
        assert_eq!(ids(&next), [3]);
        books.check_invariants(&[&a, &next[0].grant]);
    }

    #[test]
    fn who_waits_for_an_actors_resources_keeps_nobody_back() {
        let mut books = Books::new(gpus(2.0));
        let actor = granted(ask(&mut books, DemandId(1), &gpus(0.5), false, Holder::Keeping));
        assert_eq!(ask(&mut books, DemandId(2), &gpus(2.0), false, Holder::Running), Verdict::Queued);
        let small = granted(ask(&mut books, DemandId(3), &gpus(1.0), false, Holder::Running));
        books.check_invariants(&[&actor, &small]);
    }

    #[test]
    fn what_a_waiting_task_starts_is_not_kept_back_by_who_waits_for_that_task() {
        let mut books = Books::new(gpus(2.0).with(CPU, Quantity::whole(2)));
        let mut parent = granted(ask(&mut books, DemandId(1), &gpus(0.5), false, Holder::Running));
        assert_eq!(ask(&mut books, DemandId(2), &gpus(2.0), false, Holder::Running), Verdict::Queued);
        assert_eq!(ask(&mut books, DemandId(3), &gpus(0.25), false, Holder::Running), Verdict::Queued);
        assert_eq!(ids(&books.begin_wait(&mut parent)), [3]);
        assert_eq!(books.end_wait(&mut parent), Back::GoOn);
        assert!(books.give_back(&parent).is_empty());
    }

    /// Asks again for the CPUs of a grant, which are free.
    fn reclaim(books: &mut Books, grant: &mut Grant) {
        let Back::Ask(count) = books.end_wait(grant) else { panic!("nothing to ask for: {grant:?}") };
        let request = ResourceSet::new().with(CPU, count);
        let part = granted(ask(books, DemandId(99), &request, true, Holder::Keeping));
        assert!(books.resume(grant, part.resources.get(CPU)).is_empty());
    }

    #[test]
    fn of_several_waits_the_first_lends_and_the_last_takes_back() {
        let mut books = Books::new(cpus(1));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Keeping));
        assert!(books.begin_wait(&mut a).is_empty());
        assert!(books.begin_wait(&mut a).is_empty());
        assert_eq!(books.free(), books.total());
        assert_eq!(books.end_wait(&mut a), Back::GoOn, "another waits, perhaps for what needs the CPU");
        assert_eq!(books.free(), books.total());
        reclaim(&mut books, &mut a);
        books.check_invariants(&[&a]);
        assert!(books.free().get(CPU).is_zero());
        assert!(books.give_back(&a).is_empty());
        assert_eq!(books.free(), books.total());
    }

    #[test]
    fn cpus_are_asked_for_again_by_one() {
        let mut books = Books::new(cpus(2));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Keeping));
        books.begin_wait(&mut a);
        assert_eq!(books.end_wait(&mut a), Back::Ask(Quantity::ONE));
        // While it asks, another call begins a wait and ends it.
        books.begin_wait(&mut a);
        assert_eq!(books.end_wait(&mut a), Back::Await);
        let part = granted(ask(&mut books, DemandId(2), &cpus(1), true, Holder::Keeping));
        assert!(books.resume(&mut a, part.resources.get(CPU)).is_empty());
        books.check_invariants(&[&a]);
        assert_eq!(a.resources.get(CPU), Quantity::ONE);
    }

    #[test]
    fn who_waits_when_the_cpus_come_has_them_lent_at_once() {
        let mut books = Books::new(cpus(1));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Running));
        books.begin_wait(&mut a);
        assert_eq!(books.end_wait(&mut a), Back::Ask(Quantity::ONE));
        let part = granted(ask(&mut books, DemandId(2), &cpus(1), true, Holder::Keeping));
        assert!(books.begin_wait(&mut a).is_empty());
        assert_eq!(ask(&mut books, DemandId(3), &cpus(1), false, Holder::Running), Verdict::Queued);
        assert_eq!(ids(&books.resume(&mut a, part.resources.get(CPU))), [3]);
        assert_eq!(a.lent, Quantity::ONE);
    }

    #[test]
    fn cpus_that_come_after_their_holder_has_gone_are_free() {
        let mut books = Books::new(cpus(1));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Keeping));
        books.begin_wait(&mut a);
        assert_eq!(books.end_wait(&mut a), Back::Ask(Quantity::ONE));
        let part = granted(ask(&mut books, DemandId(2), &cpus(1), true, Holder::Keeping));
        assert!(books.give_back(&std::mem::take(&mut a)).is_empty());
        assert!(books.resume(&mut a, part.resources.get(CPU)).is_empty());
        assert_eq!(a, Grant::default());
        assert_eq!(books.free(), books.total());
        assert_eq!(books.end_wait(&mut a), Back::GoOn, "a wait that ends after its holder has gone");
    }

    #[test]
    fn a_wait_that_is_abandoned_counts_no_longer_and_lends_on() {
        let mut books = Books::new(cpus(1));
        let mut a = granted(ask(&mut books, DemandId(1), &cpus(1), false, Holder::Keeping));
        books.begin_wait(&mut a);
        books.abandon_wait(&mut a);
        assert_eq!(books.free(), books.total(), "it is lent still");
        books.begin_wait(&mut a);
        reclaim(&mut books, &mut a);
        books.check_invariants(&[&a]);
        assert_eq!(a.resources.get(CPU), Quantity::ONE);
    }

    #[test]
    fn any_mix_of_waits_balances() {
        let mut dice = 11_u64;
        let mut draw = |below: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) as usize % below
        };
        let mut books = Books::new(cpus(3));
        let start = |books: &mut Books, n| granted(ask(books, DemandId(n), &cpus(1), false, Holder::Keeping));
        let mut held: Vec<Grant> = (0..3).map(|n| start(&mut books, n)).collect();
        // Parts that were asked for and have not arrived, by grant.
        let mut asked: Vec<Option<Grant>> = vec![None, None, None];
        for n in 3..5_000 {
            let at = draw(3);
            let grant = &mut held[at];
            match (draw(3), asked[at].take()) {
                (0, part) if grant.waits < 4 => {
                    asked[at] = part;
                    books.begin_wait(grant);
                }
                (_, Some(part)) => drop(books.resume(grant, part.resources.get(CPU))),
                (_, None) if grant.waits > 0 => {
                    if let Back::Ask(count) = books.end_wait(grant) {
                        let request = ResourceSet::new().with(CPU, count);
                        asked[at] =
                            Some(granted(ask(&mut books, DemandId(n), &request, true, Holder::Keeping)));
                    }
                }
                (_, None) => {}
            }
            books.check_invariants(&held.iter().chain(asked.iter().flatten()).collect::<Vec<_>>());
            for (grant, asked) in held.iter().zip(&asked) {
                let is_away = grant.waits > 0 || asked.is_some();
                assert_eq!(grant.resources.get(CPU).is_zero(), is_away, "{grant:?}");
            }
        }
    }

    #[test]
    fn any_mix_of_demands_balances() {
        let mut random = 7_u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut books = Books::new(cpus(3).with(GPU, Quantity::whole(2)));
        let mut held: Vec<Grant> = Vec::new();
        for n in 0..5_000 {
            let request = cpus(draw(4)).with(GPU, Quantity::from_units(draw(5) as f64 / 4.0).expect("valid"));
            if draw(2) == 0 {
                match ask(&mut books, DemandId(n), &request, draw(8) == 0, Holder::Running) {
                    Verdict::Granted(grant) => held.push(grant),
                    Verdict::Queued | Verdict::Infeasible => {}
                }
            } else if !held.is_empty() {
                let grant = held.swap_remove(draw(held.len() as u64) as usize);
                held.extend(books.give_back(&grant).into_iter().map(|granted| granted.grant));
            } else {
                held.extend(books.withdraw(DemandId(draw(n + 1))).into_iter().map(|granted| granted.grant));
            }
            books.check_invariants(&held.iter().collect::<Vec<_>>());
        }
    }
}
