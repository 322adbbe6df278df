//! Many values combined into one.

use mobula::prelude::*;
use mobula::{put, tree_reduce_unordered};

use crate::common::{Env, Latch, assert_fails};
use crate::fixtures::{add, explode, hold};

#[remote]
fn join(left: String, right: &str) -> String {
    left + right
}

#[remote]
fn letter(n: u8) -> String {
    char::from(b'a' + n).into()
}

pub(crate) fn neighbours_combine_and_order_is_kept(env: &Env) {
    let _running = env.start();
    for count in [2, 3, 7, 8, 26] {
        let letters: Vec<_> = (0..count).map(letter::remote).collect();
        let word = mobula::tree_reduce(letters, |a, b| join::remote(a, b)).expect("not empty");
        let expected: String = (b'a'..b'a' + count).map(char::from).collect();
        assert_eq!(word.get().expect("a word"), expected);
    }
}

pub(crate) fn a_tree_is_as_deep_as_its_logarithm(env: &Env) {
    #[remote]
    fn deeper(left: u32, right: u32) -> u32 {
        left.max(right) + 1
    }
    let _running = env.start();
    let depth = tree_reduce(vec![0_u32; 100], |a, b| deeper::remote(a, b)).expect("not empty");
    assert_eq!(depth.get().expect("a depth"), 7);
}

pub(crate) fn values_and_refs_are_reduced_alike(env: &Env) {
    let _running = env.start();
    let values = tree_reduce(1..=10_i64, |a, b| add::remote(a, b)).expect("not empty");
    let refs: Vec<_> = (1..=10).map(|n| put(n).expect("put")).collect();
    let by_ref = tree_reduce(&refs, |a, b| add::remote(a, b)).expect("not empty");
    let mixed = refs.iter().map(|number| match number.get().expect("there") {
        n if n % 2 == 0 => Arg::Value(n),
        _ => Arg::Ref(number.clone()),
    });
    let mixed = tree_reduce(mixed, |a, b| add::remote(a, b)).expect("not empty");
    assert_eq!(mobula::get(&[values, by_ref, mixed]).expect("sums"), [55, 55, 55]);
}

pub(crate) fn a_method_can_combine(env: &Env) {
    struct Adder(i64);
    #[remote]
    impl Adder {
        pub(crate) fn new() -> Self {
            Self(0)
        }
        pub(crate) fn add(&mut self, x: i64, y: i64) -> i64 {
            self.0 += 1;
            x + y
        }
        pub(crate) fn calls(&self) -> i64 {
            self.0
        }
    }
    let _running = env.start();
    let adder = Adder::remote();
    let sum = tree_reduce(0..32_i64, |x, y| adder.add.remote(x, y)).expect("not empty");
    assert_eq!(sum.get().expect("a sum"), 496);
    let other = adder.clone();
    let sum = tree_reduce_unordered(0..32_i64, move |x, y| other.add.remote(x, y)).expect("not empty");
    assert_eq!(sum.get().expect("a sum"), 496);
    assert_eq!(adder.calls.remote().get().expect("one less than items, twice"), 62);
}

pub(crate) fn nothing_reduces_to_nothing_and_one_to_itself(env: &Env) {
    let _running = env.start();
    assert!(tree_reduce(Vec::<i64>::new(), |a, b| add::remote(a, b)).is_none());
    assert!(tree_reduce_unordered(Vec::<i64>::new(), |a, b| add::remote(a, b)).is_none());
    assert_eq!(tree_reduce([7], |a, b| add::remote(a, b)).expect("one").get().expect("itself"), 7);
    let one = tree_reduce_unordered([put(7).expect("put")], |a, b| add::remote(a, b));
    assert_eq!(one.expect("one").get().expect("itself"), 7);
}

pub(crate) fn an_item_that_fails_fails_the_tree_with_its_origin(env: &Env) {
    let _running = env.start();
    let items = || vec![add::remote(1, 2), explode::remote("the third"), add::remote(3, 4)];
    let ordered = tree_reduce(items(), |a, b| add::remote(a, b)).expect("not empty");
    let unordered = tree_reduce_unordered(items(), |a, b| add::remote(a, b)).expect("not empty");
    for tree in [ordered, unordered] {
        let error = assert_fails(tree.get(), ErrorKind::TaskPanicked);
        assert_eq!((error.function(), error.message()), (Some("explode"), "the third"));
    }
}

pub(crate) fn an_unordered_tree_takes_first_what_is_there_first(env: &Env) {
    #[remote]
    fn add_and_open(x: i64, y: i64, latch: Latch) -> i64 {
        // Opened by the third combination: of four that are there.
        if x + y == 4 {
            latch.open();
        }
        x + y
    }
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    // In order, the held one would be combined with its neighbour first, and so hold all others back.
    let mut items = vec![hold::remote(latch, 10)];
    items.extend((0..4).map(|_| put(1).expect("put")));
    let sum = tree_reduce_unordered(items, move |a, b| add_and_open::remote(a, b, latch));
    assert_eq!(sum.expect("not empty").get().expect("a sum"), 14);
}
