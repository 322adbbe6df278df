//! What a build has without the feature `process`: all that runs on threads, and a word about the rest.
//!
//! `cargo test --no-default-features --test features`. With the feature the same calls run.

use mobula::prelude::*;
use mobula::{Array, Error};

#[remote]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[remote(isolation = "process")]
fn process() -> u32 {
    std::process::id()
}

struct Apart;

#[remote(isolation = "process")]
impl Apart {
    pub(crate) fn new() -> Self {
        Self
    }

    #[allow(clippy::unused_self, reason = "a remote method")]
    pub(crate) fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Where the tests start themselves anew: what is in the environment is for whole processes.
const CHILD: [(&str, &str); 2] = [("MOBULA_TEST_CHILD", "yes"), ("MOBULA_ISOLATION", "process")];

/// One session after the other.
#[test]
fn processes_are_had_with_their_feature_and_refused_by_its_name_without() {
    if std::env::var(CHILD[0].0).is_ok() {
        return is_had_or_refused(&mobula::init().map(drop));
    }
    // Before the session, which a child must not meet.
    let binary = std::env::current_exe().expect("a test binary has a path");
    let output = std::process::Command::new(binary).envs(CHILD).output().expect("the binary starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    is_had_or_refused(&Config::new().isolation("process").init().map(drop));

    let _session = Config::new().num_cpus(2.0).init().expect("no session runs");
    let elsewhere = |result: mobula::Result<u32>| {
        is_had_or_refused(&result);
        assert_ne!(result.ok(), Some(std::process::id()));
    };
    elsewhere(process::remote().get());
    elsewhere(Apart::remote().process.remote().get());
    let add_with = |options: fn() -> mobula::Result<i64>| is_had_or_refused(&options());
    add_with(|| add::options().isolation("process").remote(1, 2).get());
    add_with(|| add::options().max_calls(1).remote(1, 2).get());
    add_with(|| add::options().isolation("process").env("KEY", "value").remote(1, 2).get());

    // It takes a process in each build, and names the feature where there is none.
    let unsaid = add::options().env("KEY", "value").remote(1, 2).get().expect_err("it has no process");
    assert_eq!(names_the_feature(&unsaid), !HAS_PROCESSES, "{unsaid}");
}

const HAS_PROCESSES: bool = cfg!(feature = "process");

fn names_the_feature(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported && error.message().contains("needs the feature `process`")
}

#[track_caller]
fn is_had_or_refused<T: std::fmt::Debug>(result: &mobula::Result<T>) {
    assert_eq!(result.is_ok(), HAS_PROCESSES, "{result:?}");
    assert!(result.as_ref().err().is_none_or(names_the_feature), "{result:?}");
}

/// Large ones lie on the heap where nobody else could read them.
#[test]
fn arrays_are_had_in_each_build() {
    let array = Array::build([200, 1_000], |all| all.fill(7.5)).expect("there is room");
    assert_eq!((array.shape(), array.last()), (&[200, 1_000][..], Some(&7.5)));
    assert_eq!(mobula::store_stats().bytes_written > 0, HAS_PROCESSES);
    let huge = Array::build([1 << 60], |_: &mut [u8]| {}).expect_err("no machine has so much");
    assert_eq!(huge.kind(), ErrorKind::StoreFull);
}
