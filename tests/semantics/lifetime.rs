//! Rule 6: an actor lives while a handle to it does, anywhere, and what is queued runs; objects live while
//! a ref does. What ends says so itself, by its Drop.

use std::fmt;

use mobula::prelude::*;
use mobula::{cancel, get, get_actor, kill, put};
use serde::{Deserialize, Serialize};

use crate::common::{AtDrop, Env, Journal, Latch, assert_fails, eventually};
use crate::fixtures::{Kind, Plain, Subject, Waiting};

/// Somebody who has had the time to end has not done so.
#[track_caller]
fn assert_lives(journal: Journal) {
    let other = Kind::Thread.make(Journal::new(), "another");
    for _ in 0..20 {
        other.note.remote("a round trip").get().expect("another actor answers");
    }
    assert!(!journal.has("it ends"), "{:?}", journal.notes());
}

fn for_each_kind(env: &Env, behaviour: fn(ActorHandle<dyn Subject>, Journal)) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        behaviour(kind.make(journal, "it"), journal);
        journal.expect("it ends");
    }
}

/// Uses the handle once the latch is open.
#[remote]
fn use_later(subject: ActorHandle<dyn Subject>, latch: Latch) -> mobula::Result<usize> {
    latch.wait();
    subject.note.remote("used").get()
}

pub(crate) fn an_actor_without_a_handle_ends(env: &Env) {
    for_each_kind(env, |subject, journal| {
        subject.note.remote("used").get().expect("it lives");
        let other = subject.clone();
        drop(subject);
        assert_lives(journal);
        assert_eq!(other.note.remote("used").get().expect("it lives"), 2);
    });
}

pub(crate) fn an_actor_that_is_never_called_ends_all_the_same(env: &Env) {
    for_each_kind(env, |subject, _| drop(subject));
}

pub(crate) fn an_actor_lives_while_it_is_an_argument_of_a_running_call(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let latch = Latch::new();
        let used = use_later::remote(subject, latch);
        assert_lives(journal);
        latch.open();
        assert_eq!(used.get().expect("it lived"), 1);
    });
}

pub(crate) fn an_actor_lives_while_it_is_an_argument_of_a_queued_call(env: &Env) {
    let running = env.start_with(env.config().num_cpus(1.0));
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let busy = crate::fixtures::hold::remote(latch, 0);
        let subject = kind.make(journal, "it");
        subject.note.remote("used").get().expect("it is built");
        let open = Latch::new();
        open.open();
        let used = use_later::remote(subject, open);
        assert_lives(journal);
        latch.open();
        assert_eq!(used.get().expect("it lived"), 2, "{kind:?}");
        busy.get().expect("it had the CPU");
        journal.expect("it ends");
    }
    drop(running);
}

#[remote]
fn hand_out(subject: ActorHandle<dyn Subject>) -> ActorHandle<dyn Subject> {
    subject
}

pub(crate) fn an_actor_lives_while_it_is_a_result_that_was_read(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let result = hand_out::remote(subject);
        let read = result.get().expect("a handle");
        drop(result);
        assert_lives(journal);
        assert_eq!(read.note.remote("used").get().expect("it lives"), 1);
    });
}

pub(crate) fn an_actor_lives_while_it_is_a_result_that_is_never_read(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let result = hand_out::remote(subject);
        mobula::wait([result.clone()], 1, None).expect("it is there");
        assert_lives(journal);
        drop(result);
    });
}

pub(crate) fn an_actor_made_inside_a_task_lives_by_its_result(env: &Env) {
    #[remote]
    fn make(journal: Journal) -> ActorHandle<dyn Subject> {
        Kind::Thread.make(journal, "it")
    }
    let _running = env.start();
    let journal = Journal::new();
    let subject = make::remote(journal).get().expect("a handle");
    assert_lives(journal);
    assert_eq!(subject.note.remote("used").get().expect("it lives"), 1);
    drop(subject);
    journal.expect("it ends");
}

pub(crate) fn an_actor_lives_while_it_is_in_the_store(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let stored = put(subject).expect("put");
        assert_lives(journal);
        assert_eq!(stored.get().expect("a handle").note.remote("used").get().expect("it lives"), 1);
    });
}

#[derive(Clone, Serialize, Deserialize)]
struct Team {
    name: String,
    members: Vec<ActorHandle<dyn Subject>>,
}

pub(crate) fn an_actor_lives_while_it_is_in_a_field_of_what_is_in_the_store(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let team = put(Team { name: "a".into(), members: vec![subject] }).expect("put");
        assert_lives(journal);
        let view = team.view().expect("there");
        drop(team);
        assert_lives(journal);
        assert_eq!(view.name, "a");
        assert_eq!(view.members[0].note.remote("used").get().expect("it lives"), 1);
    });
}

pub(crate) fn an_actor_lives_while_another_actor_keeps_it(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        for keeper_kind in Kind::ALL {
            let (journal, other) = (Journal::new(), Journal::new());
            let keeper = keeper_kind.make(other, "the keeper");
            keeper.keep.remote(kind.make(journal, "it")).get().expect("kept");
            assert_lives(journal);
            drop(keeper);
            other.expect("the keeper ends");
            journal.expect("it ends");
        }
    }
}

#[remote]
fn fail_with(subject: ActorHandle<dyn Subject>, how: String) -> Result<(), String> {
    subject.note.remote("used");
    if how == "panic" {
        std::panic::panic_any(subject);
    }
    Err(how)
}

pub(crate) fn an_actor_ends_though_a_failed_call_held_it(env: &Env) {
    for_each_kind(env, |subject, journal| {
        let failed = fail_with::remote(subject, "err");
        assert_fails(failed.get(), ErrorKind::TaskFailed);
        // The failed ref is still there; the handle is not.
        journal.expect("it ends");
        assert_fails(failed.get(), ErrorKind::TaskFailed);
    });
}

pub(crate) fn an_actor_ends_though_a_call_that_never_started_was_to_have_it(env: &Env) {
    for_each_kind(env, |subject, journal| {
        #[remote]
        fn both(subject: ActorHandle<dyn Subject>, number: i64) {
            let _ = (subject, number);
        }
        let failed = both::remote(subject, crate::fixtures::parse::remote("x"));
        assert_fails(failed.get(), ErrorKind::TaskFailed);
        journal.expect("it ends");
        assert_fails(failed.get(), ErrorKind::TaskFailed);
    });
}

pub(crate) fn an_actor_ends_though_a_cancelled_call_held_it(env: &Env) {
    for_each_kind(env, |subject, journal| {
        // Cancelled while it runs, and while it waits.
        #[remote]
        fn hold_it(
            subject: ActorHandle<dyn Subject>,
            journal: Journal,
            latch: Latch,
        ) -> mobula::Result<usize> {
            journal.note("runs");
            latch.wait();
            subject.note.remote("used").get()
        }
        let latch = Latch::new();
        let running = hold_it::remote(&subject, journal, latch);
        journal.expect("runs");
        let waiting = use_later::remote(subject, later_latch::remote(latch));
        cancel(&waiting).expect("a session runs");
        cancel(&running).expect("a session runs");
        assert_fails(waiting.get(), ErrorKind::Cancelled);
        assert_fails(running.get(), ErrorKind::Cancelled);
        assert_lives(journal);
        latch.open();
        journal.expect("it ends");
        drop((running, waiting));
    });
}

#[remote]
fn later_latch(latch: Latch) -> Latch {
    latch.wait();
    latch
}

pub(crate) fn an_actor_ends_though_an_error_s_cause_held_it(env: &Env) {
    for_each_kind(env, |subject, journal| {
        struct Refusal(ActorHandle<dyn Subject>);
        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "refused by {}", self.0.id())
            }
        }
        struct Broken {
            subject: ActorHandle<dyn Subject>,
        }
        #[remote]
        impl Broken {
            pub(crate) fn new(subject: ActorHandle<dyn Subject>) -> Result<Self, Refusal> {
                let broken = Self { subject };
                if broken.subject.id().owner.0 == u32::MAX {
                    Ok(broken)
                } else {
                    Err(Refusal(broken.subject))
                }
            }
            pub(crate) fn call(&self) {
                self.subject.note.remote("never");
            }
        }
        let broken = Broken::remote(&subject);
        let error = assert_fails(broken.call.remote().get(), ErrorKind::ActorDied);
        let cause = error.cause().expect("what the constructor said").to_string();
        assert!(cause.contains("refused by"), "{cause}");
        let panicked = fail_with::remote(subject, "panic");
        assert_fails(panicked.get(), ErrorKind::TaskPanicked);
        journal.expect("it ends");
        drop((error, broken, panicked));
    });
}

pub(crate) fn an_actor_lives_by_a_handle_to_one_of_its_traits(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let plain = Plain::remote(journal, "it");
    let subject: ActorHandle<dyn Subject> = (&plain).into();
    drop(plain);
    assert_lives(journal);
    assert_eq!(subject.note.remote("used").get().expect("it lives"), 1);
    drop(subject);
    journal.expect("it ends");
}

pub(crate) fn an_actor_runs_what_was_queued_before_it_ends(env: &Env) {
    for_each_kind(env, |subject, journal| {
        for n in 0..100_u32 {
            subject.note.remote(n.to_string());
        }
        drop(subject);
        journal.expect("it ends");
        let notes = journal.notes();
        let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(notes[1..101], expected);
    });
}

pub(crate) fn an_actor_lives_while_a_call_to_it_waits_for_its_argument(env: &Env) {
    for_each_kind(env, |subject, journal| {
        #[remote]
        fn text_later(latch: Latch) -> String {
            latch.wait();
            "late".into()
        }
        let latch = Latch::new();
        subject.note.remote(text_later::remote(latch));
        drop(subject);
        assert_lives(journal);
        latch.open();
        journal.expect("late");
    });
}

pub(crate) fn constructor_arguments_are_kept_while_a_restart_is_left(env: &Env) {
    struct Owner {
        label: String,
    }
    #[remote]
    impl Owner {
        pub(crate) fn new(subject: &ActorHandle<dyn Subject>) -> Self {
            Self { label: subject.id().to_string() }
        }
        pub(crate) fn label(&self) -> String {
            self.label.clone()
        }
        pub(crate) fn crash(&self) {
            panic!("{} crashes", self.label)
        }
    }
    let _running = env.start();
    let journal = Journal::new();
    let owner = Owner::remote(Kind::Thread.make(journal, "it"));
    owner.label.remote().get().expect("it is built");
    journal.expect("it ends");

    let journal = Journal::new();
    let owner = Owner::options().max_restarts(1).remote(Kind::Thread.make(journal, "it"));
    let before = owner.label.remote().get().expect("it is built");
    assert_lives(journal);
    assert_fails(owner.crash.remote().get(), ErrorKind::TaskPanicked);
    assert_eq!(owner.label.remote().get().expect("it is rebuilt"), before);
    journal.expect("it ends");
}

pub(crate) fn a_name_keeps_nothing_alive(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let named = Plain::options().name("the one").remote(journal, "it");
    named.ready().get().expect("it is built");
    assert_eq!(get_actor::<Plain>("the one").expect("it lives").id(), named.id());
    drop(named);
    journal.expect("it ends");
    assert!(eventually(|| get_actor::<Plain>("the one").is_err()), "its name is free");
}

pub(crate) fn a_detached_actor_lives_until_it_is_killed(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    drop(Plain::options().name("the one").detached().remote(journal, "it"));
    assert_lives(journal);
    let found = get_actor::<dyn Subject>("the one").expect("it lives");
    found.note.remote("used").get().expect("it lives");
    drop(found);
    assert_lives(journal);
    let found = get_actor::<Plain>("the one").expect("it lives");
    kill(&found).expect("a session runs");
    journal.expect("it ends");
}

pub(crate) fn a_detached_actor_ends_with_its_session(env: &Env) {
    let running = env.start();
    let journal = Journal::new();
    let detached = Waiting::options().detached().remote(journal, "it");
    detached.ready().get().expect("it is built");
    drop(detached);
    running.shut_down();
    journal.expect("it ends");
}

/// Something large enough to be missed.
#[derive(Serialize, Deserialize)]
struct Parcel {
    end: AtDrop,
}

fn parcel(journal: Journal) -> Parcel {
    Parcel { end: journal.at_drop("it ends") }
}

#[remote]
fn send(journal: Journal) -> Parcel {
    parcel(journal)
}

pub(crate) fn an_object_lives_while_a_ref_to_it_does(env: &Env) {
    #[remote]
    fn weigh(parcel: &Parcel, latch: Latch) -> usize {
        latch.wait();
        parcel.end.text().len()
    }
    let _running = env.start();
    let made: [fn(Journal) -> ObjectRef<Parcel>; 2] =
        [|journal| put(parcel(journal)).expect("put"), |journal| send::remote(journal)];
    for make in made {
        let (journal, latch) = (Journal::new(), Latch::new());
        let object = make(journal);
        let other = object.clone();
        drop(object);
        assert_lives(journal);
        // By an argument of a call.
        let weight = weigh::remote(other, latch);
        assert_lives(journal);
        latch.open();
        assert_eq!(weight.get().expect("weighed"), 7);
        journal.expect("it ends");
    }
}

pub(crate) fn a_result_that_nobody_wants_any_more_is_dropped_when_it_comes(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    drop(send::remote(journal));
    journal.expect("it ends");
}

pub(crate) fn an_object_lives_by_a_view_a_value_and_an_actor(env: &Env) {
    struct Keeper {
        parcel: Option<ObjectRef<Parcel>>,
    }
    #[remote]
    impl Keeper {
        pub(crate) fn new() -> Self {
            Self { parcel: None }
        }
        pub(crate) fn keep(&mut self, parcel: Option<ObjectRef<Parcel>>) {
            self.parcel = parcel;
        }
    }
    let _running = env.start();
    let journal = Journal::new();
    let object = put(parcel(journal)).expect("put");
    let keeper = Keeper::remote();
    keeper.keep.remote(Some(object.clone())).get().expect("kept");
    let inner = put(vec![object]).expect("put");
    assert_lives(journal);
    keeper.keep.remote(None).get().expect("let go");
    assert_lives(journal);
    let view = inner.view().expect("there")[0].view().expect("there");
    drop(inner);
    assert_lives(journal);
    drop(view);
    journal.expect("it ends");
}

pub(crate) fn items_of_a_stream_that_nobody_reads_are_dropped(env: &Env) {
    #[remote]
    fn parcels(journal: Journal) -> impl Iterator<Item = Parcel> {
        (0..3).map(move |n| Parcel { end: journal.at_drop(&format!("parcel {n}")) })
    }
    let _running = env.start();
    let journal = Journal::new();
    let mut stream = parcels::remote(journal);
    let first = stream.next().expect("a parcel");
    first.view().expect("it is there");
    drop(stream);
    drop(first);
    // The others are dropped if they were made.
    journal.expect("parcel 0");
}

pub(crate) fn an_owned_argument_is_dropped_with_its_call(env: &Env) {
    #[remote]
    fn take(parcels: &[Parcel]) -> usize {
        parcels.len()
    }
    let _running = env.start();
    let journal = Journal::new();
    let taken = take::remote(vec![parcel(journal)]);
    assert_eq!(taken.get().expect("taken"), 1);
    journal.expect("it ends");
}

pub(crate) fn ten_thousand_refs_in_one_object_go_with_it(env: &Env) {
    let _running = env.start();
    let refs: Vec<_> = (0..10_000_i64).map(|n| put(n).expect("put")).collect();
    let object = put(refs).expect("put");
    let copy = object.get().expect("there");
    drop(object);
    assert_eq!(get(&copy[9_990..]).expect("they live"), (9_990..10_000).collect::<Vec<_>>());
    drop(copy);
    let left = mobula::testing::leftovers();
    assert_eq!(left.objects, 0, "{left:?}");
}
