//! Rule 1: calls from one caller to one actor start in the order they were made.

use mobula::prelude::*;
use mobula::{cancel, get, put};

use crate::common::{Dice, Env, Journal, Latch, assert_fails};
use crate::fixtures::{Kind, Subject, parse};

/// A text that is there once the latch opens.
#[remote]
fn text_later(latch: Latch, text: String) -> String {
    latch.wait();
    text
}

/// Makes calls of its own, as another caller than the driver.
#[remote]
fn note_from_a_task(subject: ActorHandle<dyn Subject>, text: &str) -> mobula::Result<usize> {
    subject.note.remote(text).get()
}

pub(crate) fn calls_of_one_caller_start_in_the_order_made(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let subject = kind.make(journal, "it");
        let noted: Vec<_> = (0..1_000).map(|n: i32| subject.note.remote(n.to_string())).collect();
        assert_eq!(get(&noted).expect("notes"), (1..=1_000).collect::<Vec<_>>(), "{kind:?}");
        let made: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
        assert_eq!(journal.notes()[1..], made, "{kind:?}");
    }
}

pub(crate) fn an_unready_argument_holds_back_only_its_caller(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let subject = kind.make(journal, "it");
        let first = subject.note.remote(text_later::remote(latch, "first"));
        let second = subject.note.remote("second");
        let other = note_from_a_task::remote(&subject, "other");
        assert_eq!(other.get().expect("another caller"), 1, "{kind:?}");
        latch.open();
        assert_eq!(get(&[first, second]).expect("both run"), [2, 3], "{kind:?}");
        assert_eq!(journal.notes(), ["it begins", "other", "first", "second"], "{kind:?}");
    }
}

pub(crate) fn calls_with_and_without_waits_stay_in_order(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let journal = Journal::new();
        let subject = kind.make(journal, "it");
        let latches: Vec<_> = (0..20).map(|_| Latch::new()).collect();
        let mut noted = Vec::new();
        for n in 0..200_usize {
            let text = n.to_string();
            noted.push(match latches.get(n / 10).filter(|_| n % 10 == 7) {
                Some(latch) => {
                    let latch = *latch;
                    subject.note.remote(text_later::options().num_cpus(0.0).remote(latch, text))
                }
                None => subject.note.remote(text),
            });
            // Those that came first are let go while later ones are still made, last one first.
            if n % 20 == 19 {
                latches[n / 10].open();
                latches[n / 10 - 1].open();
            }
        }
        assert_eq!(get(&noted).expect("notes").len(), 200);
        let made: Vec<_> = (0..200).map(|n| n.to_string()).collect();
        assert_eq!(journal.notes()[1..], made, "{kind:?}");
    }
}

pub(crate) fn a_cancelled_call_gives_up_its_place(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let _open = latch.guard();
        let subject = kind.make(journal, "it");
        let first = subject.note.remote(text_later::remote(latch, "first"));
        let second = subject.note.remote("second");
        cancel(&first).expect("a session runs");
        assert_fails(first.get(), ErrorKind::Cancelled);
        assert_eq!(second.get().expect("its turn came"), 1, "{kind:?}");
    }
}

pub(crate) fn a_call_whose_argument_failed_gives_up_its_place(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        #[remote]
        fn refused_later(latch: Latch) -> Result<String, String> {
            latch.wait();
            Err("no text".into())
        }
        let subject = kind.make(journal, "it");
        let first = subject.note.remote(refused_later::remote(latch));
        let second = subject.note.remote("second");
        latch.open();
        assert_fails(first.get(), ErrorKind::TaskFailed);
        assert_eq!(second.get().expect("its turn came"), 1, "{kind:?}");
        // One whose argument has failed before it is made.
        let failed = parse::remote("x");
        assert_fails(failed.get(), ErrorKind::TaskFailed);
        #[remote]
        fn shown(number: i64) -> String {
            number.to_string()
        }
        let third = subject.note.remote(shown::remote(&failed));
        let fourth = subject.note.remote("fourth");
        assert_fails(third.get(), ErrorKind::TaskFailed);
        assert_eq!(fourth.get().expect("its turn came"), 2, "{kind:?}");
    }
}

pub(crate) fn a_call_whose_time_ran_out_gives_up_its_place(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let _open = latch.guard();
        let subject = kind.make(journal, "it");
        let late = text_later::remote(latch, "first");
        let first = subject.note.options().timeout(std::time::Duration::from_millis(20)).remote(&late);
        let second = subject.note.remote("second");
        assert_fails(first.get(), ErrorKind::Timeout);
        assert_eq!(second.get().expect("its turn came"), 1, "{kind:?}");
    }
}

pub(crate) fn an_actor_is_one_caller_over_all_its_methods(env: &Env) {
    struct Relay {
        subject: ActorHandle<dyn Subject>,
    }
    #[remote]
    impl Relay {
        pub(crate) fn new(subject: ActorHandle<dyn Subject>) -> Self {
            Self { subject }
        }
        pub(crate) async fn pass_late(&self, text: ObjectRef<String>) -> mobula::Result<usize> {
            self.subject.note.remote(text).await
        }
        pub(crate) async fn pass(&self, text: &str) -> mobula::Result<usize> {
            self.subject.note.remote(text).await
        }
    }
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let relay = Relay::remote(Kind::Thread.make(journal, "it"));
    let late = put(text_later::remote(latch, "first")).expect("put");
    let calls = [relay.pass_late.remote(late), relay.pass.remote("second"), relay.pass.remote("third")];
    latch.open();
    assert_eq!(get(&calls).expect("they overlap, and keep their order"), [1, 2, 3]);
    assert_eq!(journal.notes(), ["it begins", "first", "second", "third"]);
}

pub(crate) fn order_survives_any_mix_of_waits_cancels_and_failures(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, mut dice) = (Journal::new(), Dice(7));
        let subject = kind.make(journal, "it");
        let latches: Vec<_> = (0..300).map(|_| Latch::new()).collect();
        let mut calls = Vec::new();
        for (n, latch) in latches.iter().enumerate() {
            let late = || text_later::options().num_cpus(0.0).remote(*latch, n.to_string());
            let (call, runs) = match dice.roll(4) {
                0 => (subject.note.remote(late()), true),
                1 => {
                    let call = subject.note.remote(late());
                    cancel(&call).expect("a session runs");
                    (call, false)
                }
                2 => (subject.note.remote(refuse::remote()), false),
                _ => (subject.note.remote(n.to_string()), true),
            };
            calls.push((n, call, runs));
            latches[dice.roll(n + 1)].open();
        }
        for latch in &latches {
            latch.open();
        }
        for (n, call, runs) in &calls {
            assert_eq!(call.get().is_ok(), *runs, "{kind:?} {n}");
        }
        let ran = calls.iter().filter(|(_, _, runs)| *runs).map(|(n, ..)| n.to_string());
        assert_eq!(journal.notes()[1..], ran.collect::<Vec<_>>(), "{kind:?}");
    }
}

#[remote]
fn refuse() -> Result<String, String> {
    Err("no text".into())
}

pub(crate) fn callers_do_not_wait_for_each_other(env: &Env) {
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let subject = Kind::Thread.make(journal, "it");
    let held = subject.note.remote(text_later::remote(latch, "held"));
    // Each task is a caller of its own.
    let noted: Vec<_> = (0..8).map(|n: i32| note_from_a_task::remote(&subject, n.to_string())).collect();
    get(&noted).expect("eight callers");
    latch.open();
    assert_eq!(held.get().expect("then the driver's"), 9);
}

pub(crate) fn a_long_line_behind_one_call_is_as_good_as_a_short_one(env: &Env) {
    #[derive(Default)]
    struct Turnstile {
        passed: u32,
    }
    #[remote]
    impl Turnstile {
        pub(crate) fn new() -> Self {
            Self::default()
        }
        pub(crate) async fn hold(&mut self, latch: Latch) {
            latch.pass().await;
        }
        /// There at its first poll.
        pub(crate) async fn pass(&mut self) -> u32 {
            self.passed += 1;
            self.passed
        }
    }
    const LINE: u32 = 20_000;
    let _running = env.start();
    let (turnstile, latch) = (Turnstile::remote(), Latch::new());
    let held = turnstile.hold.remote(latch);
    let line: Vec<_> = (0..LINE).map(|_| turnstile.pass.remote()).collect();
    latch.open();
    held.get().expect("a call");
    assert_eq!(get(&line).expect("all of them"), (1..=LINE).collect::<Vec<_>>());
}
