//! With real children: this very test binary, whose constructor plays a part instead of the tests.

#![allow(clippy::print_stdout)]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process, pidfd_open, setrlimit,
};

use super::entry::VARIABLE;
use super::fence::Fence;
use super::*;
use crate::error::ErrorKind;
use crate::id::WorkerId;

/// The part that a child plays.
const PART: &str = "MOBULA_TEST_PART";

/// Longer than any of these waits takes.
const LONG: Duration = Duration::from_secs(20);

const MIB: usize = 1024 * 1024;

#[cfg_attr(not(miri), ctor::ctor)] // miri refuses its return type
fn play() {
    let Ok(part) = std::env::var(PART) else { return };
    let code = match part.as_str() {
        "driver of flood" => drive(&part, "flood"),
        "driver of lines" => drive(&part, "lines"),
        "driver of a child that is none" => {
            // Its standard input is a socket that its own parent made.
            let run = driver("no child").stdin(Stdio::inherit()).env(VARIABLE, claimed()).output();
            let Ok(run) = run else { std::process::exit(101) };
            eprint!("{}", String::from_utf8_lossy(&run.stderr));
            run.status.code().or(run.status.signal()).unwrap_or(102)
        }
        "driver of sleepers" => drive_sleepers(),
        "driver without descriptors" => drive_without_descriptors(),
        "no child" => {
            let code = i32::from(entered().is_some());
            println!("runs as usual");
            code
        }
        part => {
            let Some(entry) = entered() else { std::process::exit(100) };
            play_child(part, entry)
        }
    };
    std::process::exit(code);
}

fn play_child(part: &str, mut entry: Entry) -> i32 {
    let mut text = String::new();
    if ["lines", "flood"].contains(&part) {
        // Until its mark is set.
        let _ = entry.stream.read_exact(&mut [0]);
    }
    match part {
        "exit" => return 3,
        "crash" => {
            eprintln!("about to crash");
            let _ = kill_process(rustix::process::getpid(), Signal::SEGV);
        }
        "tell" => {
            let seen = thread::spawn(|| std::env::var("GIVEN").unwrap_or_default());
            let seen = seen.join().unwrap_or_default();
            let _ = std::io::stdin().read_to_string(&mut text);
            let again = entered().is_some();
            let dir = std::env::current_dir().unwrap_or_default();
            let name = fs::read_to_string("/proc/self/comm").unwrap_or_default();
            let args = std::env::args().len();
            let told = format!(
                "{}|{}|{seen}|{text}|{again}|{}|{}|{args}",
                entry.secret,
                entry.parent,
                dir.display(),
                name.trim()
            );
            let _ = entry.stream.write_all(told.as_bytes());
        }
        "grandchild" => {
            // What it starts inherits the variable, and is no worker.
            let run = Command::new("/proc/self/exe").env(PART, "no child").output();
            let run =
                run.map(|run| format!("{:?}{:?}", run.status.code(), String::from_utf8_lossy(&run.stderr)));
            let _ = entry.stream.write_all(run.unwrap_or_default().as_bytes());
        }
        "broken pipe" => {
            let written = Command::new("true").stdin(Stdio::piped()).spawn().and_then(|mut child| {
                let pipe = child.stdin.take();
                child.wait()?;
                pipe.map_or(Ok(()), |mut pipe| pipe.write_all(b"lost"))
            });
            return i32::from(written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
        }
        "lines" => {
            println!("first\nsecond {}", std::env::var("GIVEN").unwrap_or_default());
            for n in 0..12 {
                eprintln!("error {n}");
            }
            let _ = std::io::stdout().write_all(b"bad \xFF byte\n");
            print!("no newline");
            let _ = std::io::stdout().flush();
        }
        "flood" => {
            for n in 0..20_000 {
                println!("{n}");
            }
        }
        "hog" => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; MIB]);
                thread::sleep(Duration::from_millis(1));
            }
        }
        "holder" => {
            let _ = Command::new("sleep").arg("30").spawn();
            return 0;
        }
        _ => {
            let _ = entry.stream.write_all(b"settled in");
            loop {
                thread::sleep(LONG);
            }
        }
    }
    0
}

fn launch(part: &str) -> Launch {
    Launch {
        worker: WorkerId(7),
        mark: "Counter".into(),
        env: vec![(PART.into(), part.into()), ("GIVEN".into(), "from its parent".into())],
        dir: None,
        memory_max: None,
    }
}

fn spawner() -> Spawner {
    Spawner::start().expect("threads can be started")
}

/// Runs a part as a driver, a process of its own whose output can be seen.
fn driver(part: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(PART, part).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The variable of a child whose parent is this process, or the one before it.
fn claimed() -> String {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
    format!("{}:0f", if std::env::var_os("GIVEN").is_some() { parent } else { std::process::id() })
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

fn drive(own: &str, part: &str) -> i32 {
    let Ok(spawner) = Spawner::start() else { return 101 };
    // Held over the wait: what children print must not need it.
    let lock = std::io::stdout().lock();
    let Ok(process) = spawner.spawn(launch(part)) else { return 102 };
    process.set_mark(if own == "driver of flood" { "" } else { "Renamed" });
    let Some(Ok(())) = process.take_stream().map(|mut stream| stream.write_all(&[0])) else { return 104 };
    let words = process.wait().last_words;
    drop(lock);
    if part == "lines" && words != (2..12).map(|n| format!("error {n}")).collect::<Vec<_>>() {
        return 103;
    }
    0
}

fn drive_sleepers() -> i32 {
    let Ok(spawner) = Spawner::start() else { return 101 };
    for _ in 0..3 {
        let Ok(process) = spawner.spawn(launch("sleep")) else { return 102 };
        let Some(mut stream) = process.take_stream() else { return 103 };
        if stream.read_exact(&mut [0]).is_err() {
            return 104;
        }
        println!("{}", process.pid());
    }
    thread::sleep(LONG);
    0
}

fn drive_without_descriptors() -> i32 {
    let open = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let Ok(spawner) = Spawner::start() else { return 101 };
    let before = open();
    let few = Rlimit { current: Some(before as u64 + 30), ..getrlimit(Resource::Nofile) };
    if setrlimit(Resource::Nofile, few).is_err() {
        return 102;
    }
    let mut processes = Vec::new();
    let refused = loop {
        match spawner.spawn(launch("sleep")) {
            Ok(process) => processes.push(process),
            Err(error) => break error,
        }
    };
    if refused.kind() != ErrorKind::Io || !refused.message().contains("worker-7 cannot be started") {
        eprintln!("{refused}");
        return 103;
    }
    let full = open();
    for _ in 0..50 {
        if spawner.spawn(launch("sleep")).is_ok() {
            return 104;
        }
    }
    if open() != full {
        eprintln!("{full} were open, and are {} after refusals", open());
        return 105;
    }
    for process in processes.drain(..) {
        process.kill();
        process.wait();
    }
    // The output's thread lets go of a child a moment after it has said so.
    let started = Instant::now();
    while open() != before {
        if started.elapsed() > LONG {
            return 106;
        }
        thread::yield_now();
    }
    i32::from(spawner.spawn(launch("exit")).is_ok_and(|process| process.wait().code == Some(3))) - 1
}

fn run(part: &str) -> Output {
    driver(part).output().expect("it can be started")
}

fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn endings_are_told_apart_and_read_well() {
    let spawner = spawner();
    let start = |part| spawner.spawn(launch(part)).expect("it starts");
    let (exit, crash, sleep) = (start("exit"), start("crash"), start("sleep"));
    assert_eq!(exit.wait().to_string(), "exited with code 3");
    let crashed = crash.wait();
    assert_eq!((crashed.signal, crashed.code), (Some(11), None));
    assert_eq!(crashed.to_string(), "killed by signal 11 (SIGSEGV)");
    assert_eq!(crashed.last_words, ["about to crash"]);
    assert!(!sleep.has_ended() && !is_gone(sleep.pid()));
    sleep.kill();
    assert_eq!(sleep.wait().to_string(), "killed by signal 9 (SIGKILL)");
    assert!(sleep.has_ended() && is_gone(sleep.pid()));
    sleep.kill();
    assert_eq!(sleep.wait(), sleep.wait(), "it can be asked again");
}

#[test]
fn a_child_before_main_has_all_that_a_program_has() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().canonicalize().expect("it is there");
    let process = spawner();
    let launch = Launch { dir: Some(place.clone()), ..launch("tell") };
    let process = process.spawn(launch).map(|child| (process, child)).expect("it starts");
    let (_spawner, process) = process;
    let mut stream = process.take_stream().expect("nobody took it");
    assert!(process.take_stream().is_none());
    stream.set_read_timeout(Some(LONG)).expect("it is open");
    let mut told = String::new();
    stream.read_to_string(&mut told).expect("it tells and ends");
    let own_name = PathBuf::from(std::env::args().next().expect("there is one"));
    let own_name = own_name.file_name().expect("it is a file").to_string_lossy();
    let expected = [
        process.secret(),
        &std::process::id().to_string(),
        "from its parent",
        "",
        "false",
        &place.display().to_string(),
        &own_name[..15.min(own_name.len())],
        &std::env::args().len().to_string(),
    ];
    assert_eq!(told.split('|').collect::<Vec<_>>(), expected);
    assert_eq!(process.secret().len(), 32);
    let ending = process.wait();
    assert_eq!((ending.code, ending.last_words), (Some(0), Vec::new()), "nothing to complain of");
}

#[test]
fn what_a_child_starts_itself_is_no_worker_and_hears_nothing_of_it() {
    let spawner = spawner();
    let process = spawner.spawn(launch("grandchild")).expect("it starts");
    let mut told = String::new();
    process.take_stream().expect("nobody took it").read_to_string(&mut told).expect("it tells and ends");
    assert_eq!(told, "Some(0)\"\"");
}

#[test]
fn a_forged_child_is_warned_of_once_and_runs_as_usual() {
    let claimed = format!("{}:0f", std::process::id());
    for (value, why) in [("by hand", "names no process"), (&claimed, "there is no socket")] {
        let output = driver("no child").env(VARIABLE, value).output().expect("it can be started");
        assert_eq!(
            (output.status.code(), lines(&output.stdout)),
            (Some(0), vec!["runs as usual".to_owned()])
        );
        assert_eq!(
            lines(&output.stderr),
            [format!("mobula: {VARIABLE} is set, but {why}: this is no worker")]
        );
    }
    let output = with_a_socket(&mut driver("driver of a child that is none"));
    let why = "another process made the socket";
    assert_eq!(lines(&output.stderr), [format!("mobula: {VARIABLE} is set, but {why}: this is no worker")]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_child_whose_parent_went_before_it_looked_ends() {
    let output = with_a_socket(driver("driver of a child that is none").env("GIVEN", ""));
    assert_eq!((output.status.code(), lines(&output.stderr)), (Some(9), Vec::new()));
}

/// Runs a command with a socket that we made as its standard input.
fn with_a_socket(command: &mut Command) -> Output {
    let (_here, there) = std::os::unix::net::UnixStream::pair().expect("a pair");
    command.stdin(OwnedFd::from(there)).output().expect("it can be started")
}

#[test]
fn lines_are_marked_with_who_said_them() {
    let output = run("driver of lines");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = ["first", "second from its parent", "bad \u{FFFD} byte", "no newline"];
    assert_eq!(lines(&output.stdout), expected.map(|line| format!("(Renamed worker=7) {line}")));
    let expected: Vec<_> = (0..12).map(|n| format!("(Renamed worker=7) error {n}")).collect();
    assert_eq!(lines(&output.stderr), expected);
}

#[test]
fn a_flood_is_cut_and_says_so() {
    let output = run("driver of flood");
    assert_eq!(output.status.code(), Some(0));
    let lines = lines(&output.stdout);
    assert!((1_000..10_000).contains(&lines.len()), "{} lines", lines.len());
    assert_eq!(lines[999], "(worker=7) 999");
    let left_out = lines.iter().filter_map(|line| {
        line.strip_prefix("(worker=7) ... ")?.strip_suffix(" lines left out")?.parse::<usize>().ok()
    });
    let (notes, left_out) = left_out.fold((0, 0), |(notes, sum), n| (notes + 1, sum + n));
    assert_eq!(lines.len() - notes + left_out, 20_000);
}

#[test]
fn a_child_is_ended_for_the_memory_it_uses() {
    let allowed = 60 * MIB as u64;
    for spawner in [Spawner::start(), Spawner::fenced_by(Fence::watching)] {
        let spawner = spawner.expect("threads can be started");
        let process = spawner.spawn(Launch { memory_max: Some(allowed), ..launch("hog") });
        let process = process.expect("it starts");
        let ending = process.wait();
        let (used, of) = ending.memory.expect("that is why it ended");
        assert_eq!((of, ending.signal), (allowed, Some(9)));
        assert!(used > allowed / 2 && used < 4 * allowed, "{used}");
        assert!(ending.to_string().ends_with("of memory, where 60.0 MiB are allowed"), "{ending}");
        assert_eq!(fence::group_of_child(process.pid()).filter(|group| group.exists()), None);
    }
}

#[test]
fn a_child_within_its_limit_ends_as_it_likes() {
    for spawner in [Spawner::start(), Spawner::fenced_by(Fence::watching)] {
        let spawner = spawner.expect("threads can be started");
        let launch = Launch { memory_max: Some(500 * MIB as u64), ..launch("exit") };
        let ending = spawner.spawn(launch).expect("it starts").wait();
        assert_eq!((ending.code, ending.memory), (Some(3), None));
    }
}

#[test]
fn when_the_parent_is_killed_its_children_go() {
    let mut driver = driver("driver of sleepers").spawn().expect("it can be started");
    let mut stdout = std::io::BufReader::new(driver.stdout.take().expect("it is piped"));
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stdout, &mut line).expect("it tells");
            let pid: i32 = line.trim().parse().expect("it is a number");
            pidfd_open(Pid::from_raw(pid).expect("it is no zero"), PidfdFlags::empty()).expect("it lives")
        })
        .collect();
    driver.kill().expect("it lives");
    assert_eq!(driver.wait().expect("it ends").signal(), Some(9));
    for child in &children {
        let mut wanted = [PollFd::new(child, PollFlags::IN)];
        let long = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut wanted, Some(&long)), Ok(1), "a child outlived its parent");
    }
}

#[test]
fn without_descriptors_a_start_is_refused_and_nothing_is_left() {
    let output = run("driver without descriptors");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let launch = Launch { dir: Some("/no/such/folder".into()), ..launch("exit") };
    let error = spawner().spawn(launch).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("/no/such/folder"), "{error}");
}

#[test]
fn a_spawner_that_goes_takes_its_children_along() {
    let spawner = spawner();
    let processes: Vec<_> = (0..5).map(|_| spawner.spawn(launch("sleep")).expect("it starts")).collect();
    drop(spawner);
    for process in processes {
        assert!(process.has_ended() && is_gone(process.pid()));
        assert_eq!(process.wait().signal, Some(9));
    }
}

#[test]
fn a_wait_ends_although_somebody_else_holds_the_pipes() {
    let started = Instant::now();
    let spawner = spawner();
    assert_eq!(spawner.spawn(launch("holder")).expect("it starts").wait().code, Some(0));
    drop(spawner);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn writing_to_a_pipe_that_nobody_reads_fails_and_ends_nobody() {
    let spawner = spawner();
    let ending = spawner.spawn(launch("broken pipe")).expect("it starts").wait();
    assert_eq!(ending.to_string(), "exited with code 1", "{:?}", ending.last_words);
}
