//! Rule 11: what is queued is bounded.

use std::time::Duration;

use mobula::get;
use mobula::prelude::*;

use crate::common::{Env, Journal, Latch, SOON, assert_fails};
use crate::fixtures::{Counter, Kind, Wish};

const KILOBYTE: usize = 1024;

#[remote]
fn weigh(latch: Latch, bytes: &[u8]) -> usize {
    latch.wait();
    bytes.len()
}

/// Takes parcels once it is let.
struct Post;

#[remote]
impl Post {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn hold(&self, latch: Latch) {
        latch.wait();
    }
    pub(crate) fn take(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// Room for 64 parcels.
fn small_queue(env: &Env) -> Config {
    env.config().queue_memory(4 << 20)
}

fn parcel() -> Vec<u8> {
    vec![0; 64 * KILOBYTE]
}

pub(crate) fn beyond_the_bound_a_task_gets_queue_full(env: &Env) {
    #[remote]
    fn send(post: ActorHandle<Post>) -> Vec<ObjectRef<usize>> {
        (0..200).map(|_| post.take.remote(parcel())).collect()
    }
    let _running = env.start_with(small_queue(env));
    let (post, latch) = (Post::remote(), Latch::new());
    let held = post.hold.remote(latch);
    let sent = send::remote(&post).get().expect("it is not blocked");
    let refused = refused(&sent);
    latch.open();
    held.get().expect("a call");
    // 4 MiB hold at most 64 of them, a few more while counts are on their way.
    assert!((120..=140).contains(&refused), "{refused} of 200 refused");
    let taken = sent.iter().filter(|parcel| parcel.get().is_ok()).count();
    assert_eq!(taken + refused, 200);
}

/// How many were refused; those are there at once.
fn refused(sent: &[ObjectRef<usize>]) -> usize {
    let kinds = sent.iter().filter_map(|parcel| Some(parcel.get_timeout(Duration::ZERO).err()?.kind()));
    let kinds: Vec<_> = kinds.filter(|kind| *kind != ErrorKind::Timeout).collect();
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::QueueFull), "{kinds:?}");
    kinds.len()
}

pub(crate) fn beyond_the_bound_an_async_method_gets_queue_full(env: &Env) {
    struct Sender;
    #[remote]
    impl Sender {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn send(&self, post: ActorHandle<Post>, latch: Latch) -> usize {
            let sent: Vec<_> = (0..200).map(|_| post.take.remote(parcel())).collect();
            latch.open();
            let mut refused = 0;
            for parcel in sent {
                refused += usize::from(parcel.await.is_err_and(|error| error.kind() == ErrorKind::QueueFull));
            }
            refused
        }
    }
    let _running = env.start_with(small_queue(env));
    let (post, sender, latch) = (Post::remote(), Sender::remote(), Latch::new());
    let _open = latch.guard();
    post.hold.remote(latch);
    let refused = sender.send.remote(&post, latch).get().expect("it is not blocked");
    assert!((120..=140).contains(&refused), "{refused} of 200 refused");
}

pub(crate) fn beyond_the_bound_the_driver_is_blocked_until_there_is_room(env: &Env) {
    let _running = env.start_with(small_queue(env));
    let (post, latch, journal) = (Post::remote(), Latch::new(), Journal::new());
    let open = latch.guard();
    let held = post.hold.remote(latch);
    let driver = std::thread::spawn(move || {
        let sent: Vec<_> = (0..200)
            .map(|n: i32| {
                journal.note(n.to_string());
                post.take.remote(parcel())
            })
            .collect();
        sent.iter().map(ObjectRef::get).collect::<mobula::Result<Vec<_>>>()
    });
    // It comes as far as there is room, and no further.
    journal.expect("50");
    assert!(!eventually_all(journal), "nothing held it back: {} were sent", journal.notes().len());
    drop(open);
    held.get().expect("a call");
    let weights = driver.join().expect("no panic").expect("all are taken in the end");
    assert_eq!(weights, [64 * KILOBYTE; 200]);
}

/// Whether all are sent, given more time than sending takes.
fn eventually_all(journal: Journal) -> bool {
    for _ in 0..100 {
        if journal.notes().len() == 200 {
            return true;
        }
        // Not a call, which this thread would be blocked in, too.
        std::thread::park_timeout(Duration::from_millis(1));
    }
    false
}

pub(crate) fn a_task_that_waits_for_its_cpu_counts_too(env: &Env) {
    let _running = env.start_with(small_queue(env).num_cpus(1.0));
    #[remote]
    fn send(latch: Latch) -> Vec<ObjectRef<usize>> {
        (0..200).map(|_| weigh::remote(latch, parcel())).collect()
    }
    let latch = Latch::new();
    let _open = latch.guard();
    let sent = send::remote(latch).get().expect("it is not blocked");
    let refused = refused(&sent);
    latch.open();
    assert!((120..=140).contains(&refused), "{refused} of 200 refused");
    assert_eq!(sent.iter().filter(|parcel| parcel.get().is_ok()).count() + refused, 200);
}

pub(crate) fn what_has_run_makes_room_again(env: &Env) {
    let _running = env.start_with(small_queue(env));
    #[remote]
    fn send_in_turn(post: ActorHandle<Post>) -> mobula::Result<usize> {
        (0..300).map(|_| post.take.remote(parcel()).get()).sum()
    }
    let post = Post::remote();
    assert_eq!(send_in_turn::remote(&post).get().expect("never full"), 300 * 64 * KILOBYTE);
    for _ in 0..5 {
        let sent: Vec<_> = (0..100).map(|_| post.take.remote(parcel())).collect();
        assert_eq!(get(&sent).expect("the driver waits at most").len(), 100);
    }
}

pub(crate) fn max_pending_calls_refuses_at_once(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let open = latch.guard();
        let subject = kind.make_with(journal, "it", Wish { calls_max: Some(3), ..Wish::default() });
        let held = subject.hold.remote(latch);
        journal.expect("held");
        let waiting: Vec<_> = (0..3).map(|n: i32| subject.note.remote(n.to_string())).collect();
        let refused = subject.note.remote("one too many");
        let error = assert_fails(refused.get_timeout(SOON), ErrorKind::QueueFull);
        assert!(error.message().contains('3'), "{error}");
        drop(open);
        held.get().expect("it ran");
        assert_eq!(get(&waiting).expect("they ran"), [1, 2, 3], "{kind:?}");
        assert_eq!(subject.note.remote("later").get().expect("there is room again"), 4);
    }
}

pub(crate) fn max_pending_calls_counts_what_waits_at_an_async_method(env: &Env) {
    struct Line;
    #[remote(max_pending_calls = 2)]
    impl Line {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn stand(&mut self, journal: Journal, latch: Latch) {
            journal.note("stands");
            latch.pass().await;
        }
    }
    let _running = env.start();
    let (line, journal, latch) = (Line::remote(), Journal::new(), Latch::new());
    let open = latch.guard();
    let first = line.stand.remote(journal, latch);
    journal.expect("stands");
    let waiting: Vec<_> = (0..2).map(|_| line.stand.remote(journal, latch)).collect();
    let refused = line.stand.remote(journal, latch);
    assert_fails(refused.get_timeout(SOON), ErrorKind::QueueFull);
    drop(open);
    first.get().expect("it ran");
    get(&waiting).expect("they ran");
}

pub(crate) fn calls_that_are_held_back_count_as_pending(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let open = latch.guard();
    let counter = Counter::options().max_pending_calls(2).remote(0);
    counter.ready().get().expect("it is built");
    let late = crate::fixtures::hold::remote(latch, 1);
    let waiting = [counter.add.remote(&late), counter.add.remote(1)];
    assert_fails(counter.add.remote(1).get_timeout(SOON), ErrorKind::QueueFull);
    drop(open);
    assert_eq!(get(&waiting).expect("they ran"), [1, 2]);
    // A refused call leaves no gap: the next one has its turn.
    assert_eq!(counter.increment.remote().get().expect("in order"), 3);
}
