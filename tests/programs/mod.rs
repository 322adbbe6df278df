//! Runs the examples as what they are: programs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What no example needs, on any machine; beyond, it hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a program said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub has_succeeded: bool,
}

impl Said {
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// Where cargo puts the examples: beside the folder of this test's own executable.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("it is in target/<profile>/deps");
    let path = profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "no {}: build the examples first, `cargo build --examples`", path.display());
    path
}

/// Runs an example to its end. Settings of sessions are not inherited from whoever runs the tests.
pub fn run<A: AsRef<OsStr>>(example: &str, args: &[A]) -> Said {
    let mut command = Command::new(path_of(example));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MOBULA_") {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().expect("an example starts");
    let (done, is_done) = mpsc::channel::<()>();
    let id = child.id();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let readers = (thread::spawn(move || read(&mut out)), thread::spawn(move || read(&mut err)));
    let _ = (done, is_done, id);
    todo!("{readers:?} {PATIENCE:?} {:?}", child.wait().map(|_| None::<Output>))
}
