//! Functions and methods that yield their results one by one.

use std::time::Duration;

use mobula::prelude::*;

use crate::common::{Env, Journal, Latch, assert_fails, block_on, next};
use crate::fixtures::{add, loop_until_told};

/// Yields up to `to`, waiting for the latch before each item from `from` on.
#[remote]
fn count(to: u32, from: u32, latch: Latch) -> impl Iterator<Item = u32> {
    (0..to).inspect(move |n| {
        if *n >= from {
            latch.wait();
        }
    })
}

pub(crate) fn items_are_there_while_the_producer_still_runs(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let mut stream = count::remote(4, 2, latch);
    let mut item = || stream.next().map(|item| item.get().expect("an item"));
    assert_eq!((item(), item()), (Some(0), Some(1)));
    latch.open();
    assert_eq!((item(), item(), item()), (Some(2), Some(3), None));
    assert_eq!(item(), None);
}

pub(crate) fn an_item_can_be_passed_on_as_a_ref(env: &Env) {
    #[remote]
    fn numbers(of: &[i64]) -> impl Iterator<Item = i64> + '_ {
        of.iter().copied()
    }
    let _running = env.start();
    let sums: Vec<_> = numbers::remote([1, 2, 3]).map(|item| add::remote(item, 10)).collect();
    assert_eq!(mobula::get(&sums).expect("sums"), [11, 12, 13]);
    assert_eq!(numbers::remote(vec![]).count(), 0);
}

pub(crate) fn values_are_the_items_and_the_failure_in_its_place(env: &Env) {
    #[remote]
    fn halve(of: Vec<u32>) -> impl Iterator<Item = u32> {
        of.into_iter().map(|n| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") })
    }
    let _running = env.start();
    let mut values = halve::remote(vec![2, 4, 5, 6]).values();
    assert_eq!(values.next().expect("an item").expect("a half"), 1);
    assert_eq!(values.next().expect("an item").expect("a half"), 2);
    assert_fails(values.next().expect("the failure"), ErrorKind::TaskPanicked);
    assert!(values.next().is_none());
    let mut sums = as_completed([add::remote(1, 2), add::remote(3, 4)]);
    sums.push(add::remote(5, 6));
    assert_eq!(sums.values().map(|sum| sum.expect("a sum")).sum::<i64>(), 21);
}

pub(crate) fn a_stream_can_be_awaited(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let mut stream = count::remote(3, 1, latch);
    block_on(async {
        assert_eq!(next(&mut stream).await.expect("an item").await.expect("a number"), 0);
        latch.open();
        assert_eq!(next(&mut stream).await.expect("an item").await.expect("a number"), 1);
        assert_eq!(next(&mut stream).await.expect("an item").await.expect("a number"), 2);
        assert!(next(&mut stream).await.is_none());
    });
}

pub(crate) fn a_producer_that_fails_ends_its_stream_with_the_failure(env: &Env) {
    #[remote]
    fn halve(of: Vec<u32>) -> impl Iterator<Item = u32> {
        of.into_iter().map(|n| if n % 2 == 0 { n / 2 } else { panic!("{n} is odd") })
    }
    let _running = env.start();
    let mut stream = halve::remote([4, 2, 3, 8]);
    let mut item = || stream.next().expect("an item").get();
    assert_eq!((item().expect("half"), item().expect("half")), (2, 1));
    let error = assert_fails(item(), ErrorKind::TaskPanicked);
    assert_eq!((error.function(), error.message()), (Some("halve"), "3 is odd"));
    assert!(stream.next().is_none());
}

pub(crate) fn a_stream_whose_argument_failed_yields_that_failure(env: &Env) {
    #[remote]
    fn refuse() -> Result<u32, String> {
        Err("no number".into())
    }
    let _running = env.start();
    let mut stream = count::remote(refuse::remote(), 0, Latch::new());
    let error = assert_fails(stream.next().expect("the failure").get(), ErrorKind::TaskFailed);
    assert_eq!(error.function(), Some("refuse"));
    assert!(stream.next().is_none());
}

pub(crate) fn dropping_a_stream_cancels_its_producer(env: &Env) {
    #[remote]
    fn endless(journal: Journal) -> impl Iterator<Item = u64> {
        let end = journal.at_drop("the producer ended");
        (0..).inspect(move |_| {
            let _ = &end;
        })
    }
    let _running = env.start();
    let journal = Journal::new();
    let mut stream = endless::remote(journal);
    assert_eq!(stream.next().expect("an item").get().expect("a number"), 0);
    drop(stream);
    journal.expect("the producer ended");
}

pub(crate) fn a_producer_between_two_items_is_told_that_its_stream_was_dropped(env: &Env) {
    #[remote]
    fn slow(journal: Journal) -> impl Iterator<Item = u64> {
        (0..2).inspect(move |n| {
            if *n == 1 {
                loop_until_told(journal, "it");
            }
        })
    }
    let _running = env.start();
    let journal = Journal::new();
    let stream = slow::remote(journal);
    journal.expect("it runs");
    drop(stream);
    journal.expect("it was told");
}

pub(crate) fn a_producer_far_ahead_waits_for_its_consumer(env: &Env) {
    #[remote]
    fn noted(journal: Journal) -> impl Iterator<Item = u32> {
        (0..5_000).inspect(move |n| journal.note(n.to_string()))
    }
    let _running = env.start();
    let journal = Journal::new();
    let mut stream = noted::remote(journal);
    assert_eq!(stream.next().expect("an item").get().expect("a number"), 0);
    // One CPU too few for it to run ahead for ever: other tasks run meanwhile.
    let others: Vec<_> = (0..100).map(|n| add::remote(n, n)).collect();
    mobula::get(&others).expect("others run");
    assert!(journal.notes().len() < 2_000, "it made {} items for one reader", journal.notes().len());
    assert_eq!(stream.count(), 4_999);
}

pub(crate) fn methods_yield_streams_of_their_state(env: &Env) {
    struct Shelf {
        books: Vec<String>,
    }
    #[remote]
    impl Shelf {
        pub(crate) fn new(books: Vec<String>) -> Self {
            Self { books }
        }
        pub(crate) fn titles(&self, suffix: &str) -> impl Iterator<Item = String> {
            self.books.iter().map(move |book| format!("{book}{suffix}"))
        }
        pub(crate) fn take_all(&mut self) -> impl Iterator<Item = String> {
            self.books.drain(..)
        }
        pub(crate) fn len(&self) -> usize {
            self.books.len()
        }
    }
    let _running = env.start();
    for isolation in ["thread", "shared"] {
        let shelf = Shelf::options().isolation(isolation).remote(vec!["a".to_owned(), "b".to_owned()]);
        let titles: Vec<_> = shelf.titles.remote("?").map(|title| title.get().expect("a title")).collect();
        assert_eq!(titles, ["a?", "b?"]);
        assert_eq!(shelf.take_all.remote().count(), 2);
        assert_eq!(shelf.len.remote().get().expect("emptied"), 0);
    }
}

pub(crate) fn a_stream_past_its_deadline_ends_with_timeout(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let open = latch.guard();
    let mut stream = count::options().timeout(Duration::from_secs(1)).remote(4, 1, latch);
    assert_eq!(stream.next().expect("an item").get().expect("a number"), 0);
    assert_fails(stream.next().expect("the failure").get(), ErrorKind::Timeout);
    assert!(stream.next().is_none());
    drop(open);
}
