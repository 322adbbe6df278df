//! A worker is the same executable, served before `main`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use mobula::get;
use mobula::prelude::*;

use crate::common::Env;
use crate::programs::{Said, path_of, run_command};

/// A folder of the test's own.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

/// A program of the tests, its log, and what it is to do.
pub(crate) fn program(name: &str, log: &Path, part: &[&str]) -> Command {
    let mut command = Command::new(path_of(name));
    command.arg(log).args(part);
    command
}

/// Runs a program of the tests to its end.
#[track_caller]
pub(crate) fn said_by(part: &[&str]) -> Said {
    said_with(part, &[])
}

/// The same, with variables of its environment.
#[track_caller]
pub(crate) fn said_with(part: &[&str], env: &[(&str, &str)]) -> Said {
    let folder = folder();
    let mut command = program("program_workers", &folder.path().join("log"), part);
    let said = run_command(command.envs(env.iter().copied()));
    assert!(said.has_succeeded, "{part:?}: {}{}", said.stdout, said.stderr);
    said
}

pub(crate) fn main_runs_once_however_the_session_starts(_: &Env) {
    for (name, part) in
        [("program_workers", "explicit"), ("program_workers", "lazy"), ("program_allocator", "explicit")]
    {
        let folder = folder();
        let log = folder.path().join("log");
        let said = run_command(&mut program(name, &log, &[part]));
        assert!(said.has_succeeded, "{name} {part}: {}", said.stderr);
        assert_eq!((said.number("sum"), said.number("elsewhere")), (338_350, 100), "{name} {part}");
        assert_eq!(said.stderr, "", "{name} {part}");
        let lines = fs::read_to_string(log).expect("main wrote it");
        assert_eq!(lines.lines().count(), 1, "{name} {part}: {lines}");
        if name == "program_allocator" {
            assert!(said.number("allocations") > 100, "its workers allocate in the same way");
        }
    }
}

#[remote(isolation = "process")]
fn square(x: u64) -> (u64, u32) {
    (x * x, std::process::id())
}

pub(crate) fn a_test_binary_is_its_own_worker(env: &Env) {
    let folder = folder();
    let log = folder.path().join("log");
    env.in_a_process_of_its_own(&[("TEST_LOG", log.to_str().expect("a path of letters"))], || {
        let log = std::env::var_os("TEST_LOG").expect("it was set");
        let lines = fs::read_to_string(&log).unwrap_or_default();
        fs::write(log, format!("{lines}the test of {}\n", std::process::id())).expect("a file of our own");
        let running = env.start();
        let calls: Vec<_> = (1..=100).map(square::remote).collect();
        let squares = get(&calls).expect("calls");
        assert_eq!(squares.iter().map(|(square, _)| square).sum::<u64>(), 338_350);
        assert!(squares.iter().all(|(_, pid)| *pid != std::process::id()), "{squares:?}");
        drop((calls, running));
    });
    if std::env::var_os("TEST_LOG").is_none() {
        let lines = fs::read_to_string(log).expect("the test wrote it");
        assert_eq!(lines.lines().count(), 1, "the harness runs nothing in workers: {lines}");
    }
}

pub(crate) fn a_forged_variable_makes_no_worker(_: &Env) {
    let own = format!("{}:00112233445566778899aabbccddeeff", std::process::id());
    for (variable, is_warned) in [("", true), ("nonsense", true), ("1:ff", false), (own.as_str(), true)] {
        let folder = folder();
        let log = folder.path().join("log");
        let mut command = program("program_workers", &log, &["explicit"]);
        let said = run_command(command.env("MOBULA_WORKER", variable).stdin(Stdio::null()));
        assert!(said.has_succeeded, "{variable:?}: {}", said.stderr);
        assert_eq!((said.number("sum"), said.number("elsewhere")), (338_350, 100), "{variable:?}");
        let warning = "MOBULA_WORKER is set, but";
        assert_eq!(
            said.stderr.matches(warning).count(),
            usize::from(is_warned),
            "{variable:?}: {}",
            said.stderr
        );
        assert_eq!(fs::read_to_string(log).expect("main wrote it").lines().count(), 1, "{variable:?}");
    }
}

pub(crate) fn a_worker_starts_where_its_parent_is(_: &Env) {
    let folder = folder();
    let place = folder.path().canonicalize().expect("it is there");
    let said = said_by(&["folder", place.to_str().expect("a path of letters")]);
    assert_eq!(said.stdout.trim(), place.to_str().expect("a path of letters"));
}
