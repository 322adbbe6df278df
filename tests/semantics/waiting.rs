//! Rule 5: `get`, `wait`, `as_completed`, `put`, and `.await`.

use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{get, get_timeout, put, wait};

use crate::common::{Env, Latch, assert_fails, block_on, eventually, next};
use crate::fixtures::{Counter, add, hold, parse};

const SOME_TIME: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn numbers(of: &[ObjectRef<i64>]) -> Vec<i64> {
    get(of).expect("they are there")
}

pub(crate) fn get_takes_a_ref_or_a_list_in_order(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let late = hold::remote(latch, 1);
    let list = vec![late.clone(), put(2).expect("put"), add::remote(1, 2)];
    list[2].get().expect("the last is there first");
    latch.open();
    assert_eq!(get(&list).expect("a Vec"), [1, 2, 3]);
    assert_eq!(get(&list[..2]).expect("a slice"), [1, 2]);
    assert_eq!(get(&[late.clone(), late.clone()]).expect("an array, one ref twice"), [1, 1]);
    assert_eq!(get(&late).expect("a ref"), 1);
    assert_eq!(get(&Vec::<ObjectRef<i64>>::new()).expect("nothing"), [0_i64; 0]);
}

pub(crate) fn get_of_many_gives_the_first_error_without_waiting_for_the_rest(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let never = hold::remote(latch, 1);
    let list = [add::remote(1, 1), parse::remote("x"), never.clone(), parse::remote("")];
    let error = assert_fails(get(&list), ErrorKind::TaskFailed);
    assert_eq!(error.message(), "invalid digit found in string");
    // The same when all that fails has failed already.
    let both = [parse::remote(""), parse::remote("x"), never];
    wait(&both, 2, None).expect("two failures");
    assert_eq!(failure_of(&both), "cannot parse integer from empty string");
    assert_eq!(failure_of(&[both[1].clone(), both[0].clone()]), "invalid digit found in string");
}

fn failure_of(list: &[ObjectRef<i64>]) -> String {
    assert_fails(get(list), ErrorKind::TaskFailed).message().to_owned()
}

pub(crate) fn a_failure_late_in_the_list_waits_for_those_before_it(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    #[remote]
    fn refused_later(latch: Latch) -> Result<i64, String> {
        latch.wait();
        Err("the first in order".into())
    }
    let list = [refused_later::remote(latch), parse::remote("x")];
    wait(&list[1..], 1, None).expect("the second has failed");
    let opener = std::thread::spawn(move || latch.open());
    assert_eq!(failure_of(&list), "the first in order");
    opener.join().expect("no panic");
}

pub(crate) fn a_failure_is_told_as_soon_as_all_before_it_are_there(env: &Env) {
    let _running = env.start();
    let (latch, never) = (Latch::new(), Latch::new());
    let _open = never.guard();
    let list = [hold::remote(latch, 1), parse::remote("x"), hold::remote(never, 2)];
    wait(&list[1..2], 1, None).expect("the second has failed");
    let opener = std::thread::spawn(move || {
        // `get` waits for the first one now, and has seen the second fail.
        assert!(eventually(|| mobula::testing::waits().iter().any(|wait| wait.who == "driver")));
        latch.open();
    });
    assert_eq!(failure_of(&list), "invalid digit found in string");
    opener.join().expect("no panic");
}

pub(crate) fn get_timeout_gives_up_and_the_call_goes_on(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 5);
    let error = assert_fails(get_timeout(&held, SOME_TIME), ErrorKind::Timeout);
    assert!(error.to_string().contains("hold"), "it names what is late: {error}");
    assert_fails(held.get_timeout(Duration::ZERO), ErrorKind::Timeout);
    assert_fails(get_timeout(&[put(1).expect("put"), held.clone()], SOME_TIME), ErrorKind::Timeout);
    latch.open();
    assert_eq!(get_timeout(&held, LONG).expect("it went on"), 5);
    assert_eq!(get_timeout(&held, Duration::ZERO).expect("it is there"), 5);
    assert_eq!(get_timeout(&[held], Duration::MAX).expect("for ever is fine"), [5]);
}

pub(crate) fn wait_returns_at_most_as_many_as_asked_in_the_order_given(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let held = hold::remote(latch, 0);
    let there: Vec<_> = (1..=4).map(|n| put(n).expect("put")).collect();
    let list = vec![there[0].clone(), held.clone(), there[1].clone(), there[2].clone(), there[3].clone()];
    let (ready, remaining) = wait(&list, 3, None).expect("three are there");
    assert_eq!(numbers(&ready), [1, 2, 3]);
    assert_eq!(remaining.len(), 2);
    latch.open();
    assert_eq!(numbers(&remaining), [0, 4]);
}

pub(crate) fn wait_takes_a_vec_a_slice_or_a_reference(env: &Env) {
    let _running = env.start();
    let list: Vec<_> = (1..=3).map(|n| put(n).expect("put")).collect();
    assert_eq!(numbers(&wait(&list, 3, None).expect("&Vec").0), [1, 2, 3]);
    assert_eq!(numbers(&wait(&list[1..], 2, None).expect("a slice").0), [2, 3]);
    assert_eq!(numbers(&wait([list[0].clone()], 1, None).expect("an array").0), [1]);
    let (ready, rest) = wait(list, 1, None).expect("a Vec, moved");
    assert_eq!((numbers(&ready), numbers(&rest)), (vec![1], vec![2, 3]));
    // Moved, not cloned: these are the only refs.
    assert_eq!(ready.into_iter().next().expect("one").into_inner().expect("the only ref"), 1);
}

pub(crate) fn a_failed_ref_is_ready(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let list = vec![hold::remote(latch, 1), parse::remote("x")];
    let (ready, remaining) = wait(list, 1, None).expect("the failure counts");
    assert_fails(ready[0].get(), ErrorKind::TaskFailed);
    assert_eq!(remaining.len(), 1);
}

pub(crate) fn wait_gives_what_is_there_when_its_time_is_over(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let list = vec![hold::remote(latch, 1), put(2).expect("put")];
    for time in [Duration::ZERO, SOME_TIME] {
        let (ready, remaining) = wait(&list, 2, Some(time)).expect("no error");
        assert_eq!(numbers(&ready), [2]);
        assert_eq!(remaining.len(), 1);
    }
}

pub(crate) fn wait_for_none_too_many_or_one_twice_is_an_invalid_option(env: &Env) {
    let _running = env.start();
    let list: Vec<_> = (1..=3).map(|n| put(n).expect("put")).collect();
    assert_fails(wait(&list, 0, None), ErrorKind::InvalidOption);
    assert_fails(wait(&list, 4, None), ErrorKind::InvalidOption);
    assert_fails(wait(Vec::<ObjectRef<i64>>::new(), 1, None), ErrorKind::InvalidOption);
    let twice = [list[0].clone(), list[1].clone(), list[0].clone()];
    assert_fails(wait(&twice, 1, None), ErrorKind::InvalidOption);
    // Another ref somewhere else does not make it one.
    let _other = list.clone();
    assert_eq!(wait(&list, 3, None).expect("three objects").0.len(), 3);
}

pub(crate) fn wait_one_by_one_ends_with_all(env: &Env) {
    let _running = env.start();
    let mut left: Vec<_> = (0..100).map(|n| add::remote(n, 0)).collect();
    let mut sum = 0;
    while !left.is_empty() {
        let (ready, remaining) = wait(left, 1, Some(LONG)).expect("one more");
        assert_eq!(ready.len(), 1);
        sum += ready[0].get().expect("a number");
        left = remaining;
    }
    assert_eq!(sum, 4950);
}

pub(crate) fn as_completed_yields_in_the_order_of_completion(env: &Env) {
    let _running = env.start();
    let latches: Vec<_> = (0..4).map(|_| Latch::new()).collect();
    let list: Vec<_> = (0..).zip(&latches).map(|(n, latch)| hold::remote(*latch, n)).collect();
    let mut completed = as_completed(&list);
    for n in [2, 0, 3, 1_usize] {
        latches[n].open();
        let first = completed.next().expect("one more");
        assert_eq!(usize::try_from(first.get().expect("a number")), Ok(n));
    }
    assert!(completed.next().is_none());
    assert_eq!(as_completed(Vec::<ObjectRef<i64>>::new()).count(), 0);
}

pub(crate) fn as_completed_remembers_what_came_while_nobody_asked(env: &Env) {
    let _running = env.start();
    let latches: Vec<_> = (0..4).map(|_| Latch::new()).collect();
    let list: Vec<_> = (0..).zip(&latches).map(|(n, latch)| hold::remote(*latch, n)).collect();
    let completed = as_completed(&list);
    for n in [2, 0, 3, 1_usize] {
        latches[n].open();
        list[n].get().expect("it is there");
    }
    let order: Vec<_> = completed.map(|first| first.get().expect("a number")).collect();
    assert_eq!(order, [2, 0, 3, 1]);
}

pub(crate) fn as_completed_is_a_stream_and_yields_failures(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let mut completed = as_completed(vec![hold::remote(latch, 1), parse::remote("x")]);
    block_on(async {
        let first = next(&mut completed).await.expect("the failure");
        assert_fails(first.await, ErrorKind::TaskFailed);
        latch.open();
        assert_eq!(next(&mut completed).await.expect("the other").await.expect("a number"), 1);
        assert!(next(&mut completed).await.is_none());
    });
}

pub(crate) fn as_completed_that_is_dropped_lets_go(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let mut completed = as_completed((0..3).map(|n| hold::remote(latch, n)).collect::<Vec<_>>());
    latch.open();
    assert!(completed.next().is_some());
    drop(completed);
}

pub(crate) fn a_put_value_is_there_at_once(env: &Env) {
    let _running = env.start();
    let number = put(41).expect("put");
    assert_eq!(get_timeout(&number, Duration::ZERO).expect("there"), 41);
    assert_eq!(add::remote(&number, 1).get().expect("an argument"), 42);
    let inner = put(number).expect("a ref is a value");
    assert_eq!(inner.get().expect("a ref").get().expect("the number"), 41);
}

pub(crate) fn refs_can_be_awaited_by_value_and_by_reference(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 9);
    block_on(async {
        let opener = std::thread::spawn(move || latch.open());
        assert_eq!((&held).await.expect("by reference"), 9);
        assert_eq!(held.await.expect("by value"), 9);
        assert_fails(parse::remote("x").await, ErrorKind::TaskFailed);
        opener.join().expect("no panic");
    });
}

pub(crate) fn a_future_that_is_dropped_lets_go_and_cancels_nothing(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 9);
    block_on(async {
        let late = tokio::time::timeout(SOME_TIME, &held).await;
        assert!(late.is_err(), "it is not there yet");
        latch.open();
        assert_eq!(held.await.expect("it went on"), 9);
    });
}

pub(crate) fn many_threads_can_wait_for_one_ref(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 3);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let held = held.clone();
            std::thread::spawn(move || held.get())
        })
        .collect();
    latch.open();
    for thread in waiting {
        assert_eq!(thread.join().expect("no panic").expect("there"), 3);
    }
}

pub(crate) fn a_wait_for_many_wakes_for_each_that_counts(env: &Env) {
    let _running = env.start();
    let counter = Counter::remote(0);
    for round in 0..50 {
        let calls: Vec<_> = (0..20).map(|_| counter.increment.remote()).collect();
        let (ready, rest) = wait(calls, 10, None).expect("ten");
        assert_eq!((ready.len(), rest.len()), (10, 10));
        assert_eq!(get(&rest).expect("the others").last(), Some(&(round * 20 + 20)));
    }
}

pub(crate) fn the_deadline_of_a_wait_is_kept(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let held = hold::remote(latch, 1);
    let before = Instant::now();
    assert_fails(held.get_timeout(SOME_TIME), ErrorKind::Timeout);
    assert!(before.elapsed() >= SOME_TIME, "not before its time");
}
