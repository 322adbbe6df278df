//! Rule 7: what fails, what crashes, what is tried again.

use mobula::get;
use mobula::prelude::*;

use crate::common::{Env, Journal, Latch, SOON, assert_fails, eventually, in_full, logged, logged_lines};
use crate::fixtures::{Kind, Plain, Subject, Wish, explode, parse};

pub(crate) fn an_error_fails_the_call_and_the_actor_stays(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let subject = kind.make_with(Journal::new(), "it", Wish { restarts: 3, ..Wish::default() });
        assert_eq!(subject.note.remote("a").get().expect("a note"), 1);
        let error = assert_fails(subject.refuse.remote("not now").get(), ErrorKind::TaskFailed);
        assert_eq!(error.message(), "not now");
        assert!(error.function().is_some_and(|name| name.contains("refuse")), "{error:?}");
        assert_eq!(subject.note.remote("b").get().expect("the same instance"), 2, "{kind:?}");
    }
}

pub(crate) fn a_panic_without_restarts_ends_the_actor_with_its_cause(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let subject = kind.make(journal, "it");
        let calls = [subject.crash.remote("ouch"), subject.crash.remote("again")];
        let later = subject.note.remote("later");
        let error = assert_fails(calls[0].get(), ErrorKind::TaskPanicked);
        assert_eq!(error.message(), "ouch");
        assert!(error.location().is_some_and(|place| place.contains("fixtures.rs:")), "{error:?}");
        for error in [assert_fails(calls[1].get(), ErrorKind::ActorDied), later.get().expect_err("dead")] {
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            let cause = error.cause().expect("the first cause");
            assert_eq!((cause.kind(), cause.message()), (ErrorKind::TaskPanicked, "ouch"), "{kind:?}");
        }
        journal.expect("it ends");
        // And so for each call from then on.
        let error = assert_fails(subject.note.remote("much later").get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("ouch"), "{error:?}");
        assert!(!journal.has("later"));
    }
}

pub(crate) fn queued_calls_run_in_order_on_the_new_instance(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let subject = kind.make_with(journal, "it", Wish { restarts: 1, ..Wish::default() });
        let before = subject.note.remote("before");
        let crash = subject.crash.remote("ouch");
        let after: Vec<_> = (0..3).map(|n: i32| subject.note.remote(n.to_string())).collect();
        assert_eq!(before.get().expect("a note"), 1);
        assert_fails(crash.get(), ErrorKind::TaskPanicked);
        assert_eq!(get(&after).expect("on the new instance"), [1, 2, 3], "{kind:?}");
        assert_eq!(journal.notes(), ["it begins", "before", "it ends", "it begins", "0", "1", "2"]);
        assert_fails(subject.crash.remote("the last").get(), ErrorKind::TaskPanicked);
        let error = assert_fails(subject.note.remote("x").get(), ErrorKind::ActorDied);
        assert!(error.cause().is_some(), "{error:?}");
    }
}

pub(crate) fn an_actor_is_rebuilt_as_often_as_allowed_and_no_more(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let subject = kind.make_with(journal, "it", Wish { restarts: 2, ..Wish::default() });
        for n in 0..3 {
            assert_fails(subject.crash.remote(format!("crash {n}")).get(), ErrorKind::TaskPanicked);
        }
        let error = assert_fails(subject.note.remote("x").get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("crash "), "{error:?}");
        journal.wait_until("three ends", |notes| notes.iter().filter(|note| *note == "it ends").count() == 3);
        assert_eq!(journal.notes().iter().filter(|note| *note == "it begins").count(), 3, "{kind:?}");
    }
}

pub(crate) fn a_crashing_call_is_tried_again_on_the_new_instance(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let wish = Wish { restarts: 5, call_retries: 2, ..Wish::default() };
        let subject = kind.make_with(Journal::new(), "it", wish);
        let crashing = subject.crash_before.remote(3);
        let next = subject.note.remote("next");
        assert_eq!(crashing.get().expect("its third attempt"), 3, "{kind:?}");
        assert_eq!(next.get().expect("in order"), 1);
        let error = assert_fails(subject.crash_before.remote(4).get(), ErrorKind::TaskPanicked);
        assert_eq!((error.attempt(), error.message()), (Some(3), "attempt 3 crashed"), "{kind:?}");
        // `Err` is not tried again unless asked for.
        let error = assert_fails(subject.refuse_before.remote(2).get(), ErrorKind::TaskFailed);
        assert_eq!(error.attempt(), Some(1));
    }
}

pub(crate) fn a_failing_call_is_tried_again_if_asked_for(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let wish = Wish { call_retries: 2, retries_errors: true, ..Wish::default() };
        let subject = kind.make_with(Journal::new(), "it", wish);
        assert_eq!(subject.refuse_before.remote(3).get().expect("its third attempt"), 3, "{kind:?}");
        let error = assert_fails(subject.refuse_before.remote(4).get(), ErrorKind::TaskFailed);
        assert_eq!((error.attempt(), error.message()), (Some(3), "attempt 3 failed"), "{kind:?}");
    }
}

pub(crate) fn a_call_says_itself_how_often_it_is_tried(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let subject = kind.make_with(Journal::new(), "it", Wish { restarts: 9, ..Wish::default() });
        let options = subject.crash_before.options().max_task_retries(1);
        assert_eq!(options.remote(2).get().expect("its second attempt"), 2, "{kind:?}");
        let options = subject.refuse_before.options().max_task_retries(1).retry_on_error(true);
        assert_eq!(options.remote(2).get().expect("its second attempt"), 2, "{kind:?}");
        assert_fails(subject.crash_before.remote(2).get(), ErrorKind::TaskPanicked);
    }
}

pub(crate) fn async_methods_are_tried_again_like_others(env: &Env) {
    struct Flaky;
    #[remote(max_restarts = 3)]
    impl Flaky {
        pub(crate) fn new() -> Self {
            Self
        }
        #[remote(max_task_retries = 2, retry_on_error)]
        pub(crate) async fn succeed_at(&self, attempt: u32, panics: bool) -> Result<u32, String> {
            tokio::task::yield_now().await;
            let now = mobula::context().attempt;
            assert!(!panics || now >= attempt, "attempt {now} crashed");
            if now < attempt { Err(format!("attempt {now} failed")) } else { Ok(now) }
        }
    }
    let _running = env.start();
    for panics in [false, true] {
        let flaky = Flaky::remote();
        assert_eq!(flaky.succeed_at.remote(3, panics).get().expect("its third attempt"), 3);
        let flaky = Flaky::remote();
        let error = flaky.succeed_at.remote(4, panics).get().expect_err("there is no fourth");
        assert_eq!(error.attempt(), Some(3), "{error:?}");
    }
}

pub(crate) fn an_overlapping_call_is_tried_again_like_others(env: &Env) {
    struct Flaky;
    #[remote(max_restarts = 3, max_concurrency = 4, max_task_retries = 2)]
    impl Flaky {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn succeed_at(&self, attempt: u32) -> u32 {
            let now = mobula::context().attempt;
            assert!(now >= attempt, "attempt {now} crashed");
            now
        }
        #[remote(retry_on_error)]
        pub(crate) fn pass_at(&self, attempt: u32) -> Result<u32, String> {
            let now = mobula::context().attempt;
            if now < attempt { Err(format!("attempt {now} failed")) } else { Ok(now) }
        }
    }
    let _running = env.start();
    let flaky = Flaky::remote();
    let options = flaky.pass_at.options().max_task_retries(2).retry_on_error(true);
    assert_eq!(options.remote(3).get().expect("its third attempt"), 3);
    assert_eq!(flaky.succeed_at.remote(3).get().expect("its third attempt"), 3);
}

pub(crate) fn an_async_call_is_tried_again_however_often(env: &Env) {
    const TRIES: u32 = 20_000;
    struct Stubborn;
    #[remote(max_restarts = 20_000)]
    impl Stubborn {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn refuse_before(&self, attempt: u32) -> Result<u32, String> {
            let now = mobula::context().attempt;
            if now < attempt { Err(format!("attempt {now} failed")) } else { Ok(now) }
        }
        pub(crate) async fn crash_before(&self, attempt: u32) -> u32 {
            let now = mobula::context().attempt;
            assert!(now >= attempt, "attempt {now} crashed");
            now
        }
    }
    let _running = env.start();
    let stubborn = Stubborn::remote();
    let refused = stubborn.refuse_before.options().max_task_retries(TRIES).retry_on_error(true);
    assert_eq!(refused.remote(TRIES).get().expect("its last attempt"), TRIES);
    let crashed = stubborn.crash_before.options().max_task_retries(TRIES);
    assert_eq!(crashed.remote(TRIES).get().expect("its last attempt"), TRIES);
}

pub(crate) fn what_overlapped_a_panic_dies_with_the_instance(env: &Env) {
    struct Shared {
        journal: Journal,
        _end: crate::common::AtDrop,
    }
    #[remote(max_restarts = 1)]
    impl Shared {
        pub(crate) fn new(journal: Journal) -> Self {
            Self { journal, _end: journal.at_drop("the state ends") }
        }
        pub(crate) async fn wait(&self, latch: Latch) {
            let _future = self.journal.at_drop("the future ends");
            self.journal.note("waits");
            latch.pass().await;
        }
        pub(crate) async fn crash(&self, latch: Latch) {
            latch.pass().await;
            panic!("ouch");
        }
        pub(crate) async fn answer(&self) -> u32 {
            42
        }
    }
    let _running = env.start();
    let (journal, never, now) = (Journal::new(), Latch::new(), Latch::new());
    let shared = Shared::remote(journal);
    let waiting = [shared.wait.remote(never), shared.wait.remote(never)];
    journal.expect_count(2);
    let crash = shared.crash.remote(now);
    now.open();
    assert_fails(crash.get(), ErrorKind::TaskPanicked);
    for call in &waiting {
        let error = assert_fails(call.get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("ouch"), "{error:?}");
    }
    assert_eq!(shared.answer.remote().get().expect("the new instance"), 42);
    let ends = ["the future ends", "the future ends", "the state ends"];
    assert_eq!(journal.notes()[2..5], ends, "futures end before the state that they borrow");
}

pub(crate) fn what_overlapped_a_panic_on_threads_dies_with_the_instance(env: &Env) {
    struct Shared {
        journal: Journal,
    }
    #[remote(max_restarts = 1, max_concurrency = 3)]
    impl Shared {
        pub(crate) fn new(journal: Journal) -> Self {
            journal.note("begins");
            Self { journal }
        }
        pub(crate) fn wait(&self, latch: Latch) {
            self.journal.note("waits");
            latch.wait();
            self.journal.note("has waited");
        }
        pub(crate) fn crash(&self) {
            panic!("ouch at {:?}", self.journal);
        }
        pub(crate) fn answer(&mut self) -> u32 {
            42
        }
    }
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let open = latch.guard();
    let shared = Shared::remote(journal);
    let waiting = shared.wait.remote(latch);
    journal.expect("waits");
    let crash = shared.crash.remote();
    let answer = shared.answer.remote();
    assert_fails(crash.get(), ErrorKind::TaskPanicked);
    // The caller is told before the thread, which cannot be stopped, has returned.
    let error = assert_fails(waiting.get_timeout(SOON), ErrorKind::ActorDied);
    assert!(in_full(&error).contains("ouch"), "{error:?}");
    assert_eq!(journal.notes(), ["begins", "waits"], "no new instance while the old one is in use");
    drop(open);
    assert_eq!(answer.get().expect("the new instance"), 42);
    assert_eq!(journal.notes(), ["begins", "waits", "has waited", "begins"]);
}

/// Fails to be built as often as its journal says.
struct Unlucky;

#[remote]
impl Unlucky {
    pub(crate) fn new(journal: Journal, panics: usize, fails: bool) -> Result<Self, String> {
        journal.note("tries");
        let tries = journal.notes().len();
        assert!(tries > panics, "try {tries} crashed");
        if fails { Err(format!("try {tries} failed")) } else { Ok(Self) }
    }
    pub(crate) fn attempt(&self) -> u32 {
        mobula::context().attempt
    }
}

pub(crate) fn a_constructor_that_panics_is_tried_again_as_a_crash(env: &Env) {
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let options = Unlucky::options().max_restarts(2).isolation(isolation);
        let lucky = options.remote(journal, 2, false);
        lucky.ready().get().expect("the third try");
        assert_eq!(lucky.attempt.remote().get().expect("a call"), 1);
        assert_eq!(journal.notes().len(), 3);

        let journal = Journal::new();
        let options = Unlucky::options().max_restarts(2).isolation(isolation);
        let unlucky = options.remote(journal, 3, false);
        let error = assert_fails(unlucky.attempt.remote().get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("try 3 crashed"), "{}", in_full(&error));
        assert!(in_full(&unlucky.ready().get().expect_err("never built")).contains("try 3 crashed"));
        assert_eq!(journal.notes().len(), 3);
    }
}

/// Crashes when told; its rebuilding goes as its journal says.
struct Phoenix;

#[remote]
impl Phoenix {
    /// `how` says for each building whether it works, panics or fails.
    pub(crate) fn new(journal: Journal, how: Vec<char>) -> Result<Self, String> {
        journal.note("tries");
        match how[journal.notes().len() - 1] {
            'p' => panic!("building crashed"),
            'e' => Err("building failed".into()),
            _ => Ok(Self),
        }
    }
    pub(crate) fn crash(&mut self) {
        panic!("the call crashed")
    }
    pub(crate) fn answer(&mut self) -> u32 {
        42
    }
}

pub(crate) fn a_rebuilding_that_panics_counts_as_a_crash(env: &Env) {
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let options = Phoenix::options().max_restarts(3).isolation(isolation);
        let phoenix = options.remote(journal, ['+', 'p', 'p', '+']);
        let (crash, answer) = (phoenix.crash.remote(), phoenix.answer.remote());
        assert_fails(crash.get(), ErrorKind::TaskPanicked);
        assert_eq!(answer.get().expect("what was queued runs on the fourth"), 42, "{isolation}");
        // Nothing is left now.
        assert_fails(phoenix.crash.remote().get(), ErrorKind::TaskPanicked);
        assert_fails(phoenix.answer.remote().get(), ErrorKind::ActorDied);
        assert_eq!(journal.notes().len(), 4);
    }
}

pub(crate) fn a_rebuilding_that_fails_is_final(env: &Env) {
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let options = Phoenix::options().max_restarts(9).isolation(isolation);
        let phoenix = options.remote(journal, ['+', 'e', '+']);
        let (crash, answer) = (phoenix.crash.remote(), phoenix.answer.remote());
        assert_fails(crash.get(), ErrorKind::TaskPanicked);
        let error = assert_fails(answer.get(), ErrorKind::ActorDied);
        assert!(in_full(&error).contains("building failed"), "{error:?}");
        assert_eq!(journal.notes().len(), 2, "{isolation}");
    }
}

pub(crate) fn a_panic_while_an_error_is_shown_or_an_argument_is_cloned_fails_the_call(env: &Env) {
    struct Unspeakable;
    impl std::fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Unique;
    impl Clone for Unique {
        fn clone(&self) -> Self {
            panic!("there is one {self:?}")
        }
    }
    #[remote]
    fn refuse() -> Result<u8, Unspeakable> {
        Err(Unspeakable)
    }
    #[remote]
    fn own(unique: Unique) -> usize {
        format!("{unique:?}").len()
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    let error = assert_fails(refuse::remote().get(), ErrorKind::TaskPanicked);
    assert_eq!((error.function(), error.message()), (Some("refuse"), "no words"));
    let unique = mobula::put(Unique).expect("put");
    let error = assert_fails(own::remote(&unique).get(), ErrorKind::TaskPanicked);
    assert_eq!((error.function(), error.message()), (Some("own"), "there is one Unique"));
    assert_eq!(own::remote(unique).get().expect("the last ref is moved"), 6);
}

pub(crate) fn an_error_from_a_constructor_is_final(env: &Env) {
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let options = Unlucky::options().max_restarts(5).isolation(isolation);
        let unlucky = options.remote(journal, 0, true);
        for _ in 0..2 {
            let error = assert_fails(unlucky.attempt.remote().get(), ErrorKind::ActorDied);
            let cause = error.cause().expect("what it said");
            assert_eq!((cause.kind(), cause.message()), (ErrorKind::TaskFailed, "try 1 failed"));
            assert_eq!(cause.function(), Some("Unlucky"), "{cause:?}");
        }
        assert!(in_full(&unlucky.ready().get().expect_err("never built")).contains("try 1 failed"));
        assert_eq!(journal.notes().len(), 1, "tried once");
    }
}

/// Counts its attempts in a journal.
#[remote]
fn flaky(journal: Journal, succeeds_at: u32, panics: bool) -> Result<u32, String> {
    let attempt = mobula::context().attempt;
    journal.note(format!("attempt {attempt}"));
    assert!(!panics || attempt >= succeeds_at, "attempt {attempt} crashed");
    if attempt < succeeds_at { Err(format!("attempt {attempt} failed")) } else { Ok(attempt) }
}

pub(crate) fn a_task_is_not_tried_again_unless_asked_for(env: &Env) {
    let _running = env.start();
    for panics in [false, true] {
        let journal = Journal::new();
        let error = flaky::remote(journal, 2, panics).get().expect_err("the first attempt is the last");
        assert_eq!(error.attempt(), Some(1));
        let error = flaky::options().max_retries(5).remote(journal, 2, panics).get().expect_err("the same");
        assert_eq!(error.attempt(), Some(1), "retries are for lost workers");
        assert_eq!(journal.notes(), ["attempt 1", "attempt 1"]);
    }
}

pub(crate) fn a_task_is_tried_again_three_times_or_as_often_as_it_says(env: &Env) {
    let _running = env.start();
    for panics in [false, true] {
        let journal = Journal::new();
        let options = flaky::options().retry_on_error(true);
        assert_eq!(options.remote(journal, 4, panics).get().expect("its fourth attempt"), 4);
        assert_eq!(journal.notes(), ["attempt 1", "attempt 2", "attempt 3", "attempt 4"]);
        let options = flaky::options().retry_on_error(true).max_retries(1);
        let error = options.remote(Journal::new(), 9, panics).get().expect_err("two attempts");
        assert_eq!(error.attempt(), Some(2), "{error:?}");
        assert!(error.message().starts_with("attempt 2"), "{error:?}");
        let options = flaky::options().retry_on_error(true).max_retries(0);
        assert!(options.remote(Journal::new(), 2, panics).get().is_err());
    }
}

pub(crate) fn an_async_task_is_tried_again_too(env: &Env) {
    #[remote(retry_on_error, max_retries = 2)]
    async fn flaky(succeeds_at: u32) -> Result<u32, String> {
        tokio::task::yield_now().await;
        let attempt = mobula::context().attempt;
        if attempt < succeeds_at { Err("not yet".into()) } else { Ok(attempt) }
    }
    let _running = env.start();
    assert_eq!(flaky::remote(3).get().expect("its third attempt"), 3);
    assert_eq!(assert_fails(flaky::remote(4).get(), ErrorKind::TaskFailed).attempt(), Some(3));
}

pub(crate) fn a_failure_that_nobody_read_is_logged_once(env: &Env) {
    let _running = env.start();
    drop(explode::remote("nobody hears this"));
    drop(crate::fixtures::add::remote(parse::remote("nobody reads this"), 1));
    assert!(
        eventually(|| logged_lines("nobody hears this") > 0 && logged_lines("`parse`") > 0),
        "{}",
        logged()
    );
    assert!(mobula::testing::leftovers().is_empty());
    assert_eq!(logged_lines("nobody hears this"), 1, "{}", logged());
    assert_eq!(logged_lines("invalid digit"), 1, "{}", logged());
}

pub(crate) fn an_actor_whose_failure_nobody_asked_for_is_spoken_of_once(env: &Env) {
    let _running = env.start();
    drop(Unlucky::remote(Journal::new(), 0, true));
    assert!(eventually(|| logged_lines("try 1 failed") > 0), "{}", logged());
    assert!(mobula::testing::leftovers().is_empty());
    assert_eq!(logged_lines("try 1 failed"), 1, "{}", logged());
}

pub(crate) fn a_failure_that_was_read_is_not_logged(env: &Env) {
    let _running = env.start();
    let failed = explode::remote("read it");
    assert_fails(failed.get(), ErrorKind::TaskPanicked);
    drop(failed);
    assert_fails(crate::fixtures::add::remote(parse::remote("x"), 1).get(), ErrorKind::TaskFailed);
    assert!(mobula::testing::leftovers().is_empty());
    assert_eq!(logged_lines("read it") + logged_lines("invalid digit"), 0, "{}", logged());
}

pub(crate) fn a_panic_in_the_drop_of_a_state_harms_nobody(env: &Env) {
    struct Bomb {
        journal: Journal,
    }
    #[remote]
    impl Bomb {
        pub(crate) fn new(journal: Journal) -> Self {
            Self { journal }
        }
        pub(crate) fn answer(&self) -> u32 {
            self.journal.note("answers");
            42
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.journal.note("drops");
            panic!("in drop");
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let journal = Journal::new();
        let bomb = Bomb::options().isolation(isolation).remote(journal);
        assert_eq!(bomb.answer.remote().get().expect("a call"), 42);
        drop(bomb);
        journal.expect("drops");
    }
}

pub(crate) fn a_restarted_actor_keeps_its_name_id_and_handles(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let plain = Plain::options().max_restarts(1).name("phoenix").remote(journal, "it");
    let subject: ActorHandle<dyn Subject> = (&plain).into();
    assert_fails(subject.crash.remote("ouch").get(), ErrorKind::TaskPanicked);
    let found = mobula::get_actor::<dyn Subject>("phoenix").expect("it lives");
    assert_eq!((found.id(), subject.id()), (plain.id(), plain.id()));
    assert_eq!(found.note.remote("after").get().expect("the new instance"), 1);
}
