//! Runs the examples as what they are: programs.
//!
//! `cargo test` builds them; `cargo test --test examples` alone runs what was built before.

#![allow(dead_code, reason = "each suite uses its part of this")]

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What no example needs, on any machine; beyond, it hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a program said before it ended.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) has_succeeded: bool,
}

impl Said {
    /// Asserts that it succeeded, and the lines it printed: `#` stands for any number.
    #[track_caller]
    pub(crate) fn assert_lines<S: AsRef<str> + Debug>(&self, expected: &[S]) {
        let lines: Vec<_> = self.stdout.lines().collect();
        let is_as_expected = self.has_succeeded
            && lines.len() == expected.len()
            && lines.iter().zip(expected).all(|(line, pattern)| matches(line, pattern.as_ref()));
        assert!(is_as_expected, "expected {expected:#?}, got {lines:#?}, and {}", self.stderr);
    }

    /// The number in the one line of standard output that starts so.
    #[track_caller]
    pub(crate) fn number(&self, start: &str) -> u64 {
        let mut found = self.stdout.lines().filter_map(|line| line.strip_prefix(start));
        let rest = found.next().unwrap_or_else(|| panic!("no line {start:?} in {}", self.stdout));
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number after {start:?}, but {rest:?}"))
    }
}

/// Whether a line is as a pattern in which each `#` stands for a number.
fn matches(line: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('#') else { return line == pattern };
    let Some(line) = line.strip_prefix(start) else { return false };
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    number.len() < line.len() && matches(number, rest)
}

/// Where cargo puts the examples: beside the folder of this test's own executable.
pub(crate) fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("it is in target/<profile>/deps");
    let path = profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "no {}: build it first with `cargo build --examples`", path.display());
    path
}

/// Runs an example to its end.
#[track_caller]
pub(crate) fn run<A: AsRef<OsStr>>(example: &str, args: &[A]) -> Said {
    run_command(Command::new(path_of(example)).args(args))
}

/// Runs an example without arguments to its end, with a variable of the environment.
#[track_caller]
pub(crate) fn run_with(example: &str, name: &str, value: impl AsRef<OsStr>) -> Said {
    run_command(Command::new(path_of(example)).env(name, value))
}

/// Runs an example to its end in an address space of so many kilobytes.
#[track_caller]
pub(crate) fn run_bounded(example: &str, kilobytes: u32, args: &[&str]) -> Said {
    let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
    run_command(Command::new("sh").args(["-c", &script]).arg(path_of(example)).args(args))
}

/// Runs a program to its end. What the environment says of sessions does not reach it.
#[track_caller]
pub(crate) fn run_command(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MOBULA_") {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().expect("an example starts");
    let stdout = read(child.stdout.take().expect("it is piped"));
    let stderr = read(child.stderr.take().expect("it is piped"));
    let Ok(stdout) = stdout.recv_timeout(PATIENCE) else {
        let _ = child.kill();
        panic!("{command:?} has not ended; it said on standard error: {:?}", stderr.recv());
    };
    let stderr = stderr.recv().expect("its reader sends before it ends");
    let has_succeeded = child.wait().expect("it was started here").success();
    Said { stdout, stderr, has_succeeded }
}

/// Reads to the end on a thread, so that neither of two full pipes can block the program.
fn read(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends what was said, as its end does.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
