//! Actors: made, named, found, asked who they are, ended.

use std::collections::BTreeSet;

use mobula::prelude::*;
use mobula::{ActorId, CallerId, context, exit_actor, get, get_actor, is_cancelled, kill};

use crate::common::{Env, Journal, Latch, SOON, assert_fails, eventually, in_full};
use crate::fixtures::{Counter, Kind, Plain, Subject, Waiting, Wish, add};

pub(crate) fn an_actor_keeps_its_state_from_call_to_call(env: &Env) {
    let _running = env.start();
    let counter = Counter::remote(10);
    counter.increment.remote();
    assert_eq!(counter.increment.remote().get().expect("a count"), 12);
    assert_eq!(counter.add.remote(add::remote(1, 2)).get().expect("a count"), 15);
    assert_eq!(counter.value.remote().get().expect("a count"), 15);
    let other = Counter::remote(0);
    assert_eq!(other.increment.remote().get().expect("a state of its own"), 1);
}

pub(crate) fn ready_is_there_when_the_constructor_has_run(env: &Env) {
    struct Slow;
    #[remote]
    impl Slow {
        pub(crate) fn new(latch: Latch, works: bool) -> Result<Self, String> {
            latch.wait();
            if works { Ok(Self) } else { Err("it does not work".into()) }
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let latch = Latch::new();
        let slow = Slow::options().isolation(isolation).remote(latch, true);
        let (ready, _) = mobula::wait([slow.ready()], 1, Some(std::time::Duration::ZERO)).expect("one");
        assert!(ready.is_empty());
        latch.open();
        slow.ready().get().expect("it has run");
        let broken = Slow::options().isolation(isolation).remote(latch, false);
        assert!(in_full(&broken.ready().get().expect_err("it failed")).contains("it does not work"));
    }
}

pub(crate) fn what_is_private_or_without_self_stays_ordinary(env: &Env) {
    struct Mixed {
        factor: i64,
    }
    #[remote]
    impl Mixed {
        pub(crate) const FACTOR: i64 = 3;
        pub(crate) fn new() -> Self {
            Self { factor: Self::ordinary() }
        }
        pub(crate) fn ordinary() -> i64 {
            Self::FACTOR
        }
        fn times(&self, x: i64) -> i64 {
            self.factor * x
        }
        pub(crate) fn twice(&self, x: i64) -> i64 {
            self.times(x) * 2
        }
    }
    let _running = env.start();
    assert_eq!(Mixed::remote().twice.remote(7).get().expect("a call"), 42);
    assert_eq!(Mixed::new().twice(Mixed::ordinary()), 18);
}

pub(crate) fn a_named_actor_is_found_by_its_name(env: &Env) {
    let _running = env.start();
    let counter = Counter::options().name("the counter").remote(5);
    let found = get_actor::<Counter>("the counter").expect("it lives");
    assert_eq!(found.id(), counter.id());
    assert_eq!(found.increment.remote().get().expect("the same"), 6);
    // Also from a task and from an async method.
    #[remote]
    fn look(name: &str) -> mobula::Result<i64> {
        get_actor::<Counter>(name)?.increment.remote().get()
    }
    assert_eq!(look::remote("the counter").get().expect("the same"), 7);
    let error = assert_fails(get_actor::<Counter>("another"), ErrorKind::NotFound);
    assert!(error.to_string().contains("another"), "{error}");
    assert_fails(look::remote("another").get(), ErrorKind::NotFound);
}

pub(crate) fn a_taken_name_fails_every_call_of_the_second(env: &Env) {
    let _running = env.start();
    let first = Counter::options().name("one").remote(1);
    let second = Counter::options().name("one").remote(2);
    let calls = [second.increment.remote(), second.value.remote()];
    for call in &calls {
        let error = assert_fails(call.get(), ErrorKind::NameTaken);
        assert!(error.to_string().contains("one"), "{error}");
    }
    assert_fails(second.ready().get(), ErrorKind::NameTaken);
    assert_eq!(first.value.remote().get().expect("the first lives"), 1);
    assert_eq!(get_actor::<Counter>("one").expect("the first").id(), first.id());
}

pub(crate) fn a_name_is_free_when_its_actor_has_ended(env: &Env) {
    let _running = env.start();
    for (name, is_killed) in [("one", false), ("two", true)] {
        let first = Counter::options().name(name).remote(1);
        first.ready().get().expect("it is built");
        if is_killed {
            kill(&first).expect("a session runs");
        }
        drop(first);
        let second = || {
            let second = Counter::options().name(name).remote(2);
            second.value.remote().get().is_ok_and(|value| value == 2)
        };
        assert!(eventually(second), "the name stays taken");
    }
}

pub(crate) fn a_killed_actors_name_is_free_at_once(env: &Env) {
    let _running = env.start();
    let first = Counter::options().name("one").remote(1);
    kill(&first).expect("a session runs");
    assert_fails(get_actor::<Counter>("one"), ErrorKind::NotFound);
    let second = Counter::options().name("one").remote(2);
    assert_eq!(second.value.remote().get().expect("it has the name"), 2);
}

pub(crate) fn get_if_exists_takes_the_one_that_lives(env: &Env) {
    let _running = env.start();
    let make = |value| Counter::options().name("one").get_if_exists().remote(value);
    let first = make(1);
    let second = make(2);
    assert_eq!((second.id(), second.value.remote().get().expect("the first")), (first.id(), 1));
    assert!(second.ready().get().is_ok());
    let id = first.id();
    kill(&first).expect("a session runs");
    let third = make(3);
    assert_ne!(third.id(), id);
    assert_eq!(third.value.remote().get().expect("a new one"), 3);
}

pub(crate) fn get_if_exists_from_many_tasks_at_once_makes_one(env: &Env) {
    #[remote]
    fn join(journal: Journal) -> (ActorId, ActorHandle<Plain>) {
        let plain = Plain::options().name("the one").get_if_exists().remote(journal, "it");
        (plain.id(), plain)
    }
    let _running = env.start();
    for _ in 0..20 {
        let journal = Journal::new();
        let joined = get(&(0..16).map(|_| join::remote(journal)).collect::<Vec<_>>()).expect("all join");
        let ids: BTreeSet<_> = joined.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), 1);
        for (_, plain) in &joined {
            plain.ready().get().expect("it lives");
        }
        assert_eq!(journal.notes(), ["it begins"]);
        drop(joined);
        journal.expect("it ends");
    }
}

pub(crate) fn a_name_of_another_class_is_of_the_wrong_type(env: &Env) {
    let _running = env.start();
    let _counter = Counter::options().name("one").remote(1);
    let error = assert_fails(get_actor::<Plain>("one"), ErrorKind::WrongType);
    assert!(error.to_string().contains("Counter") && error.to_string().contains("Plain"), "{error}");
    assert_fails(get_actor::<dyn Subject>("one"), ErrorKind::WrongType);
    let other = Plain::options().name("one").get_if_exists().remote(Journal::new(), "it");
    assert_fails(other.ready().get(), ErrorKind::WrongType);
}

pub(crate) fn namespaces_hold_names_apart(env: &Env) {
    let _running = env.start_with(env.config().namespace("here"));
    let here = Counter::options().name("one").remote(1);
    let there = Counter::options().name("one").namespace("there").remote(2);
    assert_eq!(there.value.remote().get().expect("another name"), 2);
    assert_eq!(get_actor::<Counter>("one").expect("of the session's").id(), here.id());
    let same = Counter::options().name("one").namespace("here").remote(3);
    assert_fails(same.value.remote().get(), ErrorKind::NameTaken);
    let found = mobula::get_actor_in::<Counter>("one", Some("there")).expect("of the other");
    assert_eq!(found.id(), there.id());
}

pub(crate) fn a_killed_actor_fails_what_runs_and_what_is_queued(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let open = latch.guard();
        let subject = kind.make_with(journal, "it", Wish { restarts: 9, call_retries: 9, ..Wish::default() });
        let held = subject.hold.remote(latch);
        journal.expect("held");
        let queued: Vec<_> = (0..3).map(|n: i32| subject.note.remote(n.to_string())).collect();
        kill(&subject).expect("a session runs");
        assert_fails(held.get_timeout(SOON), ErrorKind::ActorDied);
        for call in &queued {
            assert_fails(call.get(), ErrorKind::ActorDied);
        }
        let error = assert_fails(subject.note.remote("later").get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("killed"), "{error:?}");
        kill(&subject).expect("nothing happens");
        drop(open);
        journal.expect("it ends");
        // It is never restarted, and nothing that was queued has run.
        assert_eq!(journal.notes(), ["it begins", "held", "it ends"], "{kind:?}");
    }
}

pub(crate) fn a_method_sees_that_its_actor_was_killed(env: &Env) {
    struct Endless {
        journal: Journal,
    }
    #[remote]
    impl Endless {
        pub(crate) fn new(journal: Journal) -> Self {
            Self { journal }
        }
        pub(crate) fn run(&self) {
            self.journal.note("runs");
            while !is_cancelled() {
                std::thread::yield_now();
            }
            self.journal.note("was told");
        }
    }
    let _running = env.start();
    let journal = Journal::new();
    let endless = Endless::remote(journal);
    let run = endless.run.remote();
    journal.expect("runs");
    kill(&endless).expect("a session runs");
    assert_fails(run.get(), ErrorKind::ActorDied);
    journal.expect("was told");
}

pub(crate) fn an_actor_can_be_killed_before_it_is_built(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (latch, journal) = (Latch::new(), Journal::new());
    let open = latch.guard();
    // Held back by an argument, and by a resource.
    let first = Counter::remote(crate::fixtures::hold::remote(latch, 1));
    let second = Plain::options().num_cpus(1.0).remote(journal, "it");
    let third = Plain::options().num_cpus(1.0).remote(journal, "it");
    let calls = [first.value.remote(), first.increment.remote()];
    for result in [kill(&first), kill(&third), kill(&second)] {
        result.expect("a session runs");
    }
    for call in &calls {
        assert_fails(call.get(), ErrorKind::ActorDied);
    }
    assert_fails(third.ready().get(), ErrorKind::ActorDied);
    drop(open);
    assert_eq!(add::remote(1, 1).get().expect("the CPU is free"), 2);
}

pub(crate) fn an_actor_can_kill_itself(env: &Env) {
    struct Tired;
    #[remote(max_restarts = 5)]
    impl Tired {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn end(&self, journal: Journal) -> mobula::Result<bool> {
            kill(&context().actor::<Tired>()?)?;
            journal.note(format!("goes on, cancelled: {}", is_cancelled()));
            Ok(true)
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let tired = Tired::options().isolation(isolation).remote();
        assert_fails(tired.end.remote(journal).get(), ErrorKind::ActorDied);
        journal.expect("goes on, cancelled: true");
        assert_fails(tired.end.remote(journal).get(), ErrorKind::ActorDied);
    }
}

pub(crate) fn a_named_actor_that_is_found_lives(env: &Env) {
    let _running = env.start();
    // Whoever finds it while it is ending must not be given what is dead.
    for kind in ["thread", "shared"] {
        let options = || Counter::options().name("one").isolation(kind).get_if_exists();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let made = options().remote(0);
                        made.increment.remote().get().expect("made or found, it lives");
                        drop(made);
                        if let Ok(found) = get_actor::<Counter>("one") {
                            found.increment.remote().get().expect("found, it lives");
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}

pub(crate) fn a_named_actor_is_found_before_it_is_built(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let counter = Counter::options().name("one").remote(crate::fixtures::hold::remote(latch, 5));
    let found = get_actor::<Counter>("one").expect("it is asked for");
    let value = found.value.remote();
    drop(counter);
    latch.open();
    assert_eq!(value.get().expect("in the end"), 5);
}

pub(crate) fn exit_actor_delivers_its_result_and_fails_what_is_queued(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let wish = Wish { restarts: 9, call_retries: 9, ..Wish::default() };
        let subject = kind.make_with(journal, "it", wish);
        subject.note.remote("before");
        // Held until what comes behind is queued.
        let latch = Latch::new();
        let held = subject.hold.remote(latch);
        let left = subject.leave.remote();
        let queued = subject.note.remote("behind");
        latch.open();
        held.get().expect("before the end");
        assert_eq!(left.get().expect("its result"), 1, "{kind:?}");
        assert_fails(queued.get(), ErrorKind::ActorDied);
        let error = assert_fails(subject.note.remote("later").get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("exit_actor"), "{error:?}");
        journal.expect("it ends");
        assert_eq!(journal.notes(), ["it begins", "before", "held", "it ends"], "{kind:?}");
    }
}

pub(crate) fn exit_actor_in_an_async_method_waits_for_its_return(env: &Env) {
    struct Guest;
    #[remote]
    impl Guest {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn leave(&self, journal: Journal) -> u32 {
            exit_actor();
            tokio::task::yield_now().await;
            journal.note("said goodbye");
            7
        }
    }
    let _running = env.start();
    let journal = Journal::new();
    let guest = Guest::remote();
    assert_eq!(guest.leave.remote(journal).get().expect("its result"), 7);
    assert!(journal.has("said goodbye"));
    assert_fails(guest.leave.remote(journal).get(), ErrorKind::ActorDied);
}

pub(crate) fn an_actor_knows_its_own_handle(env: &Env) {
    struct Selfish;
    #[remote]
    impl Selfish {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn me(&self) -> mobula::Result<ActorHandle<Selfish>> {
            context().actor::<Selfish>()
        }
        pub(crate) fn somebody_else(&self) -> mobula::Result<ActorHandle<Counter>> {
            context().actor::<Counter>()
        }
        pub(crate) fn later(&self, journal: Journal) -> mobula::Result<()> {
            context().actor::<Selfish>()?.note.remote(journal);
            journal.note("first");
            Ok(())
        }
        pub(crate) fn note(&self, journal: Journal) {
            journal.note("then the call to itself");
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let selfish = Selfish::options().isolation(isolation).remote();
        assert_eq!(selfish.me.remote().get().expect("itself").id(), selfish.id());
        assert_fails(selfish.somebody_else.remote().get(), ErrorKind::WrongType);
        selfish.later.remote(journal).get().expect("queued");
        drop(selfish);
        assert_eq!(journal.expect_count(2), ["first", "then the call to itself"]);
    }
    assert_fails(context().actor::<Counter>(), ErrorKind::NotFound);
}

pub(crate) fn the_context_says_who_runs_where(env: &Env) {
    type Said = (Option<CallerId>, Option<ActorId>, Option<String>, u32, bool);
    fn say() -> Said {
        let now = context();
        (now.caller, now.actor, now.function.map(ToOwned::to_owned), now.attempt, now.task.is_some())
    }
    #[remote]
    fn whoami() -> Said {
        say()
    }
    #[remote]
    fn ask(other: ActorHandle<Speaker>) -> mobula::Result<(Said, Said)> {
        Ok((whoami::remote().get()?, other.whoami.remote().get()?))
    }
    struct Speaker;
    #[remote]
    impl Speaker {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn whoami(&self) -> Said {
            say()
        }
        pub(crate) fn ask(&self) -> mobula::Result<Said> {
            whoami::remote().get()
        }
        pub(crate) fn tasks(&self) -> String {
            format!("{:?}", context().task)
        }
    }
    let _running = env.start();
    let driver = CallerId::Driver(context().job.expect("a session runs"));
    assert_eq!(say(), (None, None, None, 0, false));
    let speaker = Speaker::remote();
    let id = Some(speaker.id());
    let task = Some("whoami".to_owned());
    let method = Some("Speaker.whoami".to_owned());
    assert_eq!(whoami::remote().get().expect("a call"), (Some(driver), None, task.clone(), 1, true));
    let said = speaker.whoami.remote().get().expect("a call");
    assert_eq!(said, (Some(driver), id, method.clone(), 1, true));
    let said = speaker.ask.remote().get().expect("a call");
    assert_eq!(said, (Some(CallerId::Actor(speaker.id())), None, task, 1, true));
    let (child, call) = ask::remote(&speaker).get().expect("a call");
    assert!(matches!(child.0, Some(CallerId::Task(..))), "{child:?}");
    assert_eq!(child.0, call.0, "a task is one caller");
    let (first, second) = (speaker.tasks.remote(), speaker.tasks.remote());
    assert_ne!(first.get().expect("a task"), second.get().expect("another"));
}

pub(crate) fn a_handle_converts_into_those_of_its_traits(env: &Env) {
    trait_of_two(env);
}

#[remote]
trait Named {
    fn name(&self) -> String;
    fn greet(&self, other: &str) -> String {
        format!("{} greets {other}", self.name())
    }
}

#[remote]
trait Aging {
    fn age(&mut self, years: u32) -> u32;
}

struct Person {
    years: u32,
}

#[remote]
impl Person {
    pub(crate) fn new(years: u32) -> Self {
        Self { years }
    }
    pub(crate) fn years(&self) -> u32 {
        self.years
    }
}

#[remote]
impl Named for Person {
    fn name(&self) -> String {
        format!("person of {}", self.years)
    }
}

#[remote]
impl Aging for Person {
    fn age(&mut self, years: u32) -> u32 {
        self.years += years;
        self.years
    }
}

struct Robot;

#[remote]
impl Robot {
    pub(crate) fn new() -> Self {
        Self
    }
}

#[remote]
impl Named for Robot {
    fn name(&self) -> String {
        "robot".into()
    }
    fn greet(&self, other: &str) -> String {
        format!("beep, {other}")
    }
}

fn trait_of_two(env: &Env) {
    #[remote]
    fn greet_all(named: Vec<ActorHandle<dyn Named>>) -> mobula::Result<Vec<String>> {
        get(&named.iter().map(|named| named.greet.remote("you")).collect::<Vec<_>>())
    }
    let _running = env.start();
    let (person, robot) = (Person::remote(30), Robot::options().isolation("shared").remote());
    let named: Vec<ActorHandle<dyn Named>> = vec![(&person).into(), robot.into()];
    assert_eq!(greet_all::remote(&named).get().expect("greetings"), ["person of 30 greets you", "beep, you"]);
    let aging: ActorHandle<dyn Aging> = person.clone().into();
    assert_eq!(aging.age.remote(5).get().expect("one state"), 35);
    assert_eq!(person.years.remote().get().expect("one state"), 35);
    assert_eq!(named[0].name.remote().get().expect("one state"), "person of 35");
    assert_eq!((aging.id(), named[0].id()), (person.id(), person.id()));
    // Calls through any of the handles are calls of one caller, in order.
    let calls: Vec<_> = (0..50).map(|_| aging.age.remote(1)).collect();
    let name = named[0].name.remote();
    assert_eq!(name.get().expect("after them"), "person of 85");
    get(&calls).expect("calls");
}

pub(crate) fn a_handle_to_a_trait_is_found_by_name_and_inside_itself(env: &Env) {
    let _running = env.start();
    let _plain = Plain::options().name("one").remote(Journal::new(), "it");
    let subject = get_actor::<dyn Subject>("one").expect("a class with that trait");
    assert_eq!(subject.note.remote("a").get().expect("a note"), 1);
    let waiting = Waiting::options().name("two").remote(Journal::new(), "it");
    let subject = get_actor::<dyn Subject>("two").expect("a class with that trait");
    assert_eq!(subject.id(), waiting.id());
}

pub(crate) fn a_handle_is_an_argument_by_value_or_by_reference(env: &Env) {
    #[remote]
    fn by_value(counter: ActorHandle<Counter>) -> mobula::Result<i64> {
        counter.increment.remote().get()
    }
    #[remote]
    fn by_reference(counter: &ActorHandle<Counter>) -> mobula::Result<i64> {
        counter.increment.remote().get()
    }
    let _running = env.start();
    let counter = Counter::remote(0);
    assert_eq!(by_value::remote(&counter).get().expect("a call"), 1);
    assert_eq!(by_reference::remote(&counter).get().expect("a call"), 2);
    let stored = mobula::put(counter.clone()).expect("put");
    assert_eq!(by_value::remote(&stored).get().expect("a call"), 3);
    assert_eq!(by_reference::remote(stored).get().expect("a call"), 4);
    assert_eq!(by_value::remote(counter).get().expect("a call"), 5);
}

pub(crate) fn a_constructor_may_make_calls_and_actors(env: &Env) {
    struct Parent {
        child: ActorHandle<Counter>,
        sum: i64,
    }
    #[remote]
    impl Parent {
        pub(crate) fn new(value: i64) -> mobula::Result<Self> {
            let child = Counter::remote(value);
            let sum = add::remote(child.increment.remote(), 1).get()?;
            Ok(Self { child, sum })
        }
        pub(crate) fn sum(&mut self) -> mobula::Result<i64> {
            Ok(self.sum + self.child.increment.remote().get()?)
        }
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    let parent = Parent::remote(10);
    assert_eq!(parent.sum.remote().get().expect("a sum"), 24);
}

pub(crate) fn a_drop_may_make_calls(env: &Env) {
    struct Sender {
        subject: ActorHandle<dyn Subject>,
    }
    #[remote]
    impl Sender {
        pub(crate) fn new(subject: ActorHandle<dyn Subject>) -> Self {
            Self { subject }
        }
    }
    impl Drop for Sender {
        fn drop(&mut self) {
            self.subject.note.remote("farewell");
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let sender = Sender::options().isolation(isolation).remote(Kind::Thread.make(journal, "it"));
        sender.ready().get().expect("it is built");
        drop(sender);
        journal.expect("farewell");
        journal.expect("it ends");
    }
}
