//! Every example, run in a short form, prints what it should, line by line.

mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use programs::{Said, run};

/// What is run here, and `word_count`, which has a file of its own.
const TESTED: [&str; 7] = [
    "actor_handles",
    "async_actor",
    "counter",
    "nested_tasks",
    "parallel_tasks",
    "supervision",
    "word_count",
];

fn plain(example: &str) -> Said {
    run::<&str>(example, &[])
}

#[test]
fn every_example_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let names = fs::read_dir(folder).expect("there are examples").map(|entry| {
        let path = entry.expect("it can be listed").path();
        path.file_stem().expect("it has a name").to_string_lossy().into_owned()
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(TESTED.map(String::from)));
}

#[test]
fn counter() {
    let said = plain("counter");
    said.assert_lines(&[
        "squares: [0, 1, 4, 9]",
        "after two calls: 2",
        "ten counters, once each: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        "the first one, five times more: [2, 3, 4, 5, 6]",
        "after a task called it 1000 times: 1002",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn parallel_tasks() {
    let said = plain("parallel_tasks");
    said.assert_lines(&[
        "four slow tasks: [0, 1, 2, 3]",
        "one after the other they take 1000 ms; they took # ms",
        "first row of the product: [24.0, 24.0, 24.0]",
        "1 + 2 + ... + 8 = 36",
        "first of three: 1 ms; still to come: 2",
        "then: 300 ms",
        "then: 600 ms",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn nested_tasks() {
    let said = run("nested_tasks", &["--depth", "500", "--cpus", "2"]);
    said.assert_lines(&[
        "answer: 500",
        "most threads: #",
        "peak memory: # MB",
        "threads one second later: #",
    ]);
    assert!(said.number("most threads:") > 500, "each task that waits keeps its thread");
    assert!(said.number("peak memory:") < 300);
    assert!(said.number("threads one second later:") <= 8);
    assert_eq!(said.stderr, "");
}

#[test]
fn actor_handles() {
    let said = plain("actor_handles");
    said.assert_lines(&["#"; 10]);
    let values: Vec<u64> = said.stdout.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(values.is_sorted(), "{values:?}");
    assert_eq!(said.stderr, "");
}

#[test]
fn supervision() {
    let said = plain("supervision");
    said.assert_lines(&[
        "an `Err` fails its call: TaskFailed, 100 cannot be divided by 0",
        "100 / 5 = 20, division 1 of its instance",
        "100 / 0 failed: TaskPanicked, attempt to divide by zero",
        "100 / 10 = 10, division 1 of its instance",
        "100 / 0 failed: TaskPanicked, attempt to divide by zero",
        "100 / 20 = 5, division 1 of its instance",
        "now it is dead: ActorDied in `Divider`",
        "because of: TaskPanicked in `Divider.divide`, attempt to divide by zero",
    ]);
    assert_eq!(said.stderr.matches("nobody read the failure of `Divider.divide`").count(), 1);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
}

#[test]
fn async_actor() {
    let said = plain("async_actor");
    said.assert_lines(&[
        "100 visitors were inside at once",
        "three hinges took 60 drops",
        "a minute in 50 ms: Timeout",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn options_are_explained() {
    for (example, option) in [("nested_tasks", "--depth <DEPTH>"), ("word_count", "--compare")] {
        let said = run(example, &["--help"]);
        assert!(said.has_succeeded && said.stdout.contains(option), "{example}: {}", said.stdout);
    }
}
