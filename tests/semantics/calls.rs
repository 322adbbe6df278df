//! Remote functions: what is passed, what comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mobula::prelude::*;
use mobula::{get, put};
use serde::{Deserialize, Serialize};

use crate::common::{Env, Latch, SOON, assert_fails};
use crate::fixtures::{add, hold, parse};

/// A value that counts how often it was cloned.
#[derive(Debug, Serialize, Deserialize)]
struct Cloned {
    text: String,
    copy: usize,
}

static CLONES: AtomicUsize = AtomicUsize::new(0);

impl Cloned {
    fn put(text: &str) -> ObjectRef<Self> {
        CLONES.store(0, Ordering::SeqCst);
        put(Self { text: text.into(), copy: 0 }).expect("a session runs")
    }

    fn clones() -> usize {
        CLONES.load(Ordering::SeqCst)
    }
}

impl Clone for Cloned {
    fn clone(&self) -> Self {
        CLONES.fetch_add(1, Ordering::SeqCst);
        Self { text: self.text.clone(), copy: self.copy + 1 }
    }
}

#[remote]
fn own(mut value: Cloned) -> usize {
    value.text.push('!');
    value.copy
}

#[remote]
fn borrow(value: &Cloned) -> usize {
    value.copy + value.text.len()
}

#[remote]
fn make() -> Cloned {
    Cloned { text: "made".into(), copy: 0 }
}

pub(crate) fn a_remote_function_stays_an_ordinary_one(env: &Env) {
    let _running = env.start();
    assert_eq!(add(1, 2), 3);
    assert_eq!(add::remote(1, 2).get().expect("adds"), 3);
    let add = add::remote(2, 2);
    let sum: ObjectRef<i64> = crate::fixtures::add::remote(&add, &add);
    assert_eq!(sum.get().expect("a shadowed name stays a function"), 8);
}

pub(crate) fn an_async_function_runs_with_timers_of_its_own(env: &Env) {
    #[remote]
    async fn later(x: i64, latch: Latch) -> Result<i64, String> {
        latch.pass().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if x < 0 { Err("negative".into()) } else { Ok(x) }
    }
    let _running = env.start();
    let latch = Latch::new();
    let (good, bad) = (later::remote(7, latch), later::remote(-7, latch));
    latch.open();
    assert_eq!(good.get().expect("after a timer"), 7);
    assert_eq!(assert_fails(bad.get(), ErrorKind::TaskFailed).function(), Some("later"));
}

pub(crate) fn two_functions_of_one_name_in_two_bodies_are_two(env: &Env) {
    fn first() -> ObjectRef<String> {
        #[remote]
        fn work(x: u8) -> String {
            format!("first {x}")
        }
        work::remote(1)
    }
    fn second() -> ObjectRef<String> {
        #[remote]
        fn work(x: u8) -> String {
            format!("second {x}")
        }
        work::remote(1)
    }
    let _running = env.start();
    assert_eq!(get(&[first(), second()]).expect("both run"), ["first 1", "second 1"]);
}

pub(crate) fn refs_to_one_object_are_equal(env: &Env) {
    let _running = env.start();
    let (one, other) = (add::remote(1, 2), add::remote(1, 2));
    let copy = mobula::testing::by_way_of_bytes(&one).expect("a ref travels");
    assert_eq!(one, copy);
    assert_ne!(one, other);
    let by_ref = std::collections::HashMap::from([(one, "one"), (other.clone(), "other")]);
    assert_eq!((by_ref.get(&copy), by_ref.get(&other)), (Some(&"one"), Some(&"other")));
}

pub(crate) fn refs_of_several_types_are_had_at_once(env: &Env) {
    let _running = env.start();
    let (sum, list) = (add::remote(1, 2), [add::remote(3, 4), add::remote(5, 6)]);
    let text = put(String::from("seven")).expect("put");
    let (sum, list, text) = mobula::get(&(&sum, &list, text)).expect("all of them");
    assert_eq!((sum, &list[..], text.as_str()), (3, &[7, 11][..], "seven"));
    assert_fails(mobula::get(&(add::remote(1, 2), parse::remote("x"))), ErrorKind::TaskFailed);
}

pub(crate) fn an_arg_is_passed_by_reference_and_read(env: &Env) {
    let _running = env.start();
    let args = [Arg::Value(1), Arg::Ref(add::remote(1, 1))];
    let sum = Arg::Ref(add::remote(&args[0], &args[1]));
    assert_eq!(args[0].get().expect("a value"), 1);
    assert_eq!(sum.get().expect("a sum"), 3);
    assert_fails(Arg::Ref(parse::remote("x")).get(), ErrorKind::TaskFailed);
}

pub(crate) fn a_parameter_takes_values_and_refs_of_every_form(env: &Env) {
    #[remote]
    fn all(
        number: i64,
        text: String,
        list: Vec<u16>,
        shown: &str,
        slice: &[u16],
        whole: &Vec<u16>,
    ) -> String {
        format!("{number} {text} {list:?} {shown} {slice:?} {whole:?}")
    }
    let _running = env.start();
    let said = "7 a [1, 2] b [3] [4]";
    let (number, text, list) = (put(7).expect("put"), String::from("a"), vec![1_u16, 2]);
    let (text_ref, list_ref) = (put(text.clone()).expect("put"), put(list.clone()).expect("put"));
    let shown = put(String::from("b")).expect("put");
    let (slice, whole) = (put(vec![3_u16]).expect("put"), put(vec![4_u16]).expect("put"));
    let calls = [
        all::remote(7, "a", [1, 2], "b", [3], vec![4]),
        all::remote(&number, &text, &list, "b", &[3], &vec![4]),
        all::remote(&7, &text_ref, &[1, 2], &shown, &slice, &whole),
        all::remote(number.clone(), text_ref.clone(), &list[..], shown.clone(), slice.clone(), whole.clone()),
        all::remote(
            Arg::Ref(number),
            Arg::Value(text),
            Arg::Ref(list_ref),
            Arg::Value("b".into()),
            Arg::Ref(slice),
            Arg::Ref(whole),
        ),
    ];
    for call in &calls {
        assert_eq!(call.get().expect("every form"), said);
    }
}

pub(crate) fn a_slice_parameter_takes_refs_of_whatever_holds_a_slice(env: &Env) {
    #[derive(Serialize, Deserialize)]
    struct Row {
        cells: Box<[f64]>,
    }
    impl AsRef<[f64]> for Row {
        fn as_ref(&self) -> &[f64] {
            &self.cells
        }
    }
    #[remote]
    fn total(cells: &[f64]) -> f64 {
        cells.iter().sum()
    }
    #[remote]
    fn row(cells: Vec<f64>) -> Row {
        Row { cells: cells.into() }
    }
    let _running = env.start();
    let row = row::remote([1.0, 2.0, 4.0]);
    assert!((total::remote(&row).get().expect("a row") - 7.0).abs() < f64::EPSILON);
    assert!((total::remote(vec![1.0, 2.0]).get().expect("a list") - 3.0).abs() < f64::EPSILON);
}

pub(crate) fn calls_can_be_mapped_and_chained(env: &Env) {
    #[remote]
    fn square(x: i64) -> i64 {
        x * x
    }
    let _running = env.start();
    let squares: Vec<_> = (0..4).map(square::remote).collect();
    assert_eq!(get(&squares).expect("squares"), [0, 1, 4, 9]);
    let sum = squares.iter().fold(add::remote(0, 0), |sum, square| add::remote(sum, square));
    assert_eq!(sum.get().expect("a sum"), 14);
}

pub(crate) fn an_owned_parameter_is_moved_out_if_nobody_else_holds_it(env: &Env) {
    let _running = env.start();
    assert_eq!(own::remote(Cloned::put("x")).get().expect("moved"), 0);
    assert_eq!(Cloned::clones(), 0);
    // Also when it is there only later, and when it is the value itself.
    CLONES.store(0, Ordering::SeqCst);
    assert_eq!(own::remote(make::remote()).get().expect("moved"), 0);
    assert_eq!(own::remote(Cloned { text: String::new(), copy: 0 }).get().expect("moved"), 0);
    assert_eq!(Cloned::clones(), 0);
}

pub(crate) fn an_owned_parameter_is_cloned_if_somebody_holds_it(env: &Env) {
    let _running = env.start();
    let value = Cloned::put("x");
    assert_eq!(own::remote(&value).get().expect("cloned"), 1);
    assert_eq!(Cloned::clones(), 1);
    assert_eq!(value.view().expect("still there").text, "x");
    drop(value);
    // While another attempt is left the argument must stay as it was.
    let retried = own::options().retry_on_error(true).max_retries(1).remote(Cloned::put("x"));
    assert_eq!(retried.get().expect("cloned"), 1);
}

pub(crate) fn the_last_attempt_moves_what_the_others_cloned(env: &Env) {
    #[remote(retry_on_error, max_retries = 2)]
    fn own_late(value: Cloned, succeeds_at: u32) -> Result<usize, String> {
        if mobula::context().attempt < succeeds_at { Err(value.text) } else { Ok(value.copy) }
    }
    let _running = env.start();
    assert_eq!(own_late::remote(Cloned::put("x"), 3).get().expect("the last attempt"), 0);
    assert_eq!(Cloned::clones(), 2);
    assert_eq!(own_late::remote(Cloned::put("x"), 1).get().expect("not the last"), 1);
    assert_eq!(own_late::remote(Cloned::put("x"), 9).get().expect_err("never").message(), "x");
}

pub(crate) fn a_borrowed_parameter_is_never_cloned(env: &Env) {
    let _running = env.start();
    let value = Cloned::put("four");
    let sizes: Vec<_> = (0..10).map(|_| borrow::remote(&value)).collect();
    assert_eq!(get(&sizes).expect("borrowed"), [4; 10]);
    let retried = borrow::options().retry_on_error(true).remote(&value);
    assert_eq!(retried.get().expect("borrowed"), 4);
    assert_eq!(Cloned::clones(), 0);
}

pub(crate) fn get_clones_and_view_borrows_and_into_inner_takes(env: &Env) {
    let _running = env.start();
    let value = Cloned::put("x");
    assert_eq!(value.view().expect("there").copy, 0);
    assert_eq!(Cloned::clones(), 0);
    assert_eq!(value.get().expect("there").copy, 1);
    assert_eq!(Cloned::clones(), 1);
    let other = value.clone();
    assert_eq!(assert_fails(other.into_inner(), ErrorKind::Unsupported).kind(), ErrorKind::Unsupported);
    assert_eq!(value.into_inner().expect("the last ref").copy, 0);
    assert_eq!(Cloned::clones(), 1);
    assert_eq!(make::remote().into_inner().expect("the only ref").copy, 0);
    assert_fails(parse::remote("x").into_inner(), ErrorKind::TaskFailed);
}

pub(crate) fn a_view_keeps_the_value_after_the_last_ref(env: &Env) {
    let _running = env.start();
    let value = Cloned::put("kept");
    let view = value.view().expect("there");
    drop(value);
    assert_eq!(view.text, "kept");
    assert_fails(parse::remote("x").view().map(|view| *view), ErrorKind::TaskFailed);
}

pub(crate) fn a_parameter_that_is_a_ref_is_passed_on_unresolved(env: &Env) {
    #[remote]
    fn is_pending(value: ObjectRef<i64>) -> bool {
        mobula::wait(&[value], 1, Some(Duration::ZERO)).expect("a wait for one").0.is_empty()
    }
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 1);
    // The parameter's type is a ref: what is passed is that ref, or a ref to it.
    assert!(is_pending::remote(&held).get().expect("it did not wait"));
    assert!(is_pending::remote(put(held.clone()).expect("put")).get().expect("it did not wait"));
    latch.open();
    assert_eq!(held.get().expect("in the end"), 1);
    assert!(!is_pending::remote(held).get().expect("there"));
}

pub(crate) fn refs_and_handles_inside_larger_values_are_passed_on_unresolved(env: &Env) {
    #[derive(Clone, Serialize, Deserialize)]
    struct Order {
        parts: Vec<Option<ObjectRef<i64>>>,
        counter: ActorHandle<crate::fixtures::Counter>,
    }
    #[remote]
    fn fill(order: Order, latch: Latch) -> mobula::Result<Order> {
        latch.open();
        for part in order.parts.iter().flatten() {
            order.counter.add.remote(part).get()?;
        }
        Ok(order)
    }
    let _running = env.start();
    let latch = Latch::new();
    let counter = crate::fixtures::Counter::remote(10);
    // It is opened by the call that is given what waits for it.
    let order = Order { parts: vec![Some(hold::remote(latch, 5)), None], counter };
    let filled = fill::remote(order, latch).get().expect("filled");
    assert_eq!(filled.counter.value.remote().get().expect("it came back"), 15);
    assert_eq!(filled.parts[0].as_ref().map(|part| part.get().expect("it came back")), Some(5));
}

pub(crate) fn split_gives_a_ref_to_each_half(env: &Env) {
    #[remote]
    fn divide(x: i64, y: i64) -> Result<(i64, String), String> {
        let quotient = x.checked_div(y).ok_or("by zero")?;
        Ok((quotient, format!("{}", x % y)))
    }
    let _running = env.start();
    let (quotient, rest) = divide::remote(17, 5).split();
    assert_eq!(rest.get().expect("a half"), "2");
    assert_eq!(add::remote(quotient, 1).get().expect("a half"), 4);
    let (quotient, rest) = divide::remote(17, 0).split();
    for error in [assert_fails(quotient.get(), ErrorKind::TaskFailed), rest.get().expect_err("both fail")] {
        assert_eq!((error.function(), error.message()), (Some("divide"), "by zero"));
    }
    let (left, right) = put((1, 2)).expect("put").split();
    assert_eq!((left.get().expect("there"), right.get().expect("there")), (1, 2));
}

pub(crate) fn halves_of_a_pair_whose_clone_panics_fail(env: &Env) {
    #[derive(Debug, Serialize, Deserialize)]
    struct Unique;
    impl Clone for Unique {
        fn clone(&self) -> Self {
            panic!("there is but one");
        }
    }
    #[remote]
    fn pair(latch: Latch) -> (Unique, i64) {
        latch.wait();
        (Unique, 1)
    }
    let _running = env.start();
    let latch = Latch::new();
    let both = pair::remote(latch);
    // The other ref makes it clone, on the thread that makes the pair.
    let (unique, one) = both.clone().split();
    latch.open();
    assert_fails(one.get_timeout(SOON), ErrorKind::TaskPanicked);
    let error = assert_fails(unique.get_timeout(SOON), ErrorKind::TaskPanicked);
    assert!(error.message().contains("there is but one"), "{error:?}");
    assert_eq!(add::remote(1, 1).get_timeout(SOON).expect("the pool is as before"), 2);
    // There already, it is cloned at once, by who splits it.
    let (unique, one) = both.clone().split();
    assert_fails(one.get_timeout(SOON), ErrorKind::TaskPanicked);
    assert_fails(unique.get_timeout(SOON), ErrorKind::TaskPanicked);
}

pub(crate) fn a_result_of_any_name_and_error_fails_the_ref(env: &Env) {
    #[remote]
    fn ours(x: u8) -> mobula::Result<u8> {
        mobula::put(x)?.get()
    }
    #[remote]
    fn fmt(x: u8) -> Result<u8, std::fmt::Error> {
        if x == 0 { Err(std::fmt::Error) } else { Ok(x) }
    }
    #[remote]
    fn boxed(x: u8) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
        if x == 0 { Err("boxed".into()) } else { Ok(x) }
    }
    let _running = env.start();
    assert_eq!(get(&[ours::remote(1), fmt::remote(2), boxed::remote(3)]).expect("values"), [1, 2, 3]);
    let error = assert_fails(boxed::remote(0).get(), ErrorKind::TaskFailed);
    assert_eq!((error.message(), error.function(), error.attempt()), ("boxed", Some("boxed"), Some(1)));
    assert_fails(fmt::remote(0).get(), ErrorKind::TaskFailed);
}

pub(crate) fn an_error_of_ours_that_a_function_passes_on_keeps_its_origin(env: &Env) {
    #[remote]
    fn ask(text: &str) -> mobula::Result<i64> {
        parse::remote(text).get()
    }
    let _running = env.start();
    let error = assert_fails(ask::remote("x").get(), ErrorKind::TaskFailed);
    assert_eq!(error.function(), Some("parse"), "{error:?}");
}

pub(crate) fn a_ref_can_be_sent_shown_and_forgotten(env: &Env) {
    fn is_shareable<T: Send + Sync + Clone + Serialize + for<'a> Deserialize<'a>>(_: &T) {}
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 3);
    is_shareable(&held);
    assert!(format!("{held:?}").contains("hold"), "{held:?}");
    let there = std::thread::spawn({
        let held = held.clone();
        move || held.get()
    });
    latch.open();
    assert_eq!(there.join().expect("no panic").expect("there"), 3);
    // Not bound to anything: it runs all the same.
    let latch = Latch::new();
    #[remote]
    fn open(latch: Latch) {
        latch.open();
    }
    open::remote(latch);
    latch.wait();
}

pub(crate) fn refs_and_handles_are_serialised_by_nothing_else(env: &Env) {
    let _running = env.start();
    let value = put(1).expect("put");
    assert!(rmp_serde::to_vec(&value).is_err(), "nobody would count it");
    let counter = crate::fixtures::Counter::remote(0);
    assert!(rmp_serde::to_vec(&counter).is_err(), "nobody would count it");
    assert!(rmp_serde::to_vec(&vec![Some(value)]).is_err(), "nor inside something else");
    let bytes = rmp_serde::to_vec(&(0_u32, (0_u32, 0_u32))).expect("numbers");
    assert!(rmp_serde::from_slice::<ObjectRef<i32>>(&bytes).is_err(), "nor is one made of bytes");
}

pub(crate) fn a_method_may_have_any_name(env: &Env) {
    struct Odd;
    #[remote]
    #[allow(non_snake_case, reason = "names that generated code could have chosen")]
    impl Odd {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn m(&self) -> i64 {
            1
        }
        pub(crate) fn Options(&self) -> i64 {
            2
        }
        pub(crate) fn Body(&self) -> i64 {
            3
        }
    }
    let _running = env.start();
    let odd = Odd::remote();
    let all = (odd.m.remote(), odd.Options.options().timeout(SOON).remote(), odd.Body.remote());
    assert_eq!(get(&all).expect("three calls"), (1, 2, 3));
}
