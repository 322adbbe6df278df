//! Every example, run in a short form, prints what it should, line by line.

mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use programs::{Said, run, run_bounded};

/// What is run here, and those that have a file of their own: `parameter_server` and `word_count`.
const TESTED: [&str; 25] = [
    "actor_handles",
    "async_actor",
    "counter",
    "crash_isolation",
    "example_set_get",
    "fractional_gpus",
    "gym_environment",
    "larger_than_memory",
    "logging_actor",
    "matrix_dag",
    "max_calls",
    "message_actor",
    "method_calls",
    "monte_carlo_pi",
    "nested_tasks",
    "parallel_tasks",
    "parameter_server",
    "shared_array",
    "streaming",
    "supervision",
    "tree_aggregation",
    "use_gpu",
    "wait",
    "word_count",
    "zero_copy",
];

fn plain(example: &str) -> Said {
    run::<&str>(example, &[])
}

#[test]
fn every_example_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths =
        fs::read_dir(folder).expect("there are examples").map(|e| e.expect("it can be listed").path());
    // A crate of its own needs more than Rust: `.ci/gymnasium` runs the one there is.
    let (crates, others): (Vec<_>, Vec<_>) = paths.partition(|path| path.join("Cargo.toml").exists());
    // What Cargo takes for an example; the twins in Python are none.
    let is_example = |path: &PathBuf| path.is_file() || path.join("main.rs").is_file();
    let examples = others.into_iter().filter(is_example).collect();
    let names = |paths: Vec<PathBuf>| -> BTreeSet<_> {
        let stems = paths.iter().map(|path| path.file_stem().expect("it has a name"));
        stems.map(|stem| stem.to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(examples), BTreeSet::from(TESTED.map(String::from)));
    assert!(names(crates).is_subset(&BTreeSet::from(["gymnasium".to_owned()])), "what runs the others?");
}

#[test]
fn counter() {
    let said = plain("counter");
    said.assert_lines(&[
        "squares: [0, 1, 4, 9]",
        "after two calls: 2",
        "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        "[2, 3, 4, 5, 6]",
        "after a task called it 1000 times: 1002",
    ]);
    assert_eq!(said.stderr, "");
}

/// In either profile; a session with actors is no reason to take more.
#[test]
fn a_small_program_takes_little_memory() {
    const KILOBYTES_MAX: u64 = 30_000;
    let said = plain("program_counter");
    assert!(said.has_succeeded && said.stderr.is_empty(), "{}", said.stderr);
    assert_eq!((said.number("squares"), said.number("counted"), said.number("called")), (14, 11, 1_001));
    if cfg!(not(target_os = "linux")) {
        println!("not run: Linux alone tells the most memory of a process");
        return;
    }
    let most = said.number("kilobytes");
    assert!((1..KILOBYTES_MAX).contains(&most), "{most} kB");
    eprintln!("{most} kB at most");
}

#[test]
fn example_set_get() {
    let said = plain("example_set_get");
    said.assert_lines(&["made with 1: 1", "after set(2): 2", "after set(3): 3"]);
    assert_eq!(said.stderr, "");
}

/// The texts in quotation marks of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

#[test]
fn message_actor() {
    let said = run("message_actor", &["--rounds", "3", "--pause-ms", "100"]);
    assert!(said.has_succeeded && said.stderr.is_empty(), "{}", said.stderr);
    assert_eq!(said.stdout.lines().next(), Some("New messages: []"));
    assert!(said.stdout.lines().count() >= 4, "read while they are sent: {}", said.stdout);
    assert!(said.stdout.lines().all(|line| line.starts_with("New messages: [") && line.ends_with(']')));

    let mut received: Vec<_> = said.stdout.lines().flat_map(quoted).collect();
    // Stable: the messages of each worker stay in the order in which they came.
    received.sort_by_key(|message| message.rsplit(' ').next());
    let of = |actor| (0..3).map(move |i| format!("Message {i} from actor {actor}."));
    assert_eq!(received, (0..3).flat_map(of).collect::<Vec<_>>());
}

/// The numbers of a list as Rust prints it.
fn list(text: &str) -> Vec<usize> {
    let inside = text.trim_matches(['[', ']']);
    let numbers = inside.split(", ").filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn logging_actor() {
    let said = run("logging_actor", &["--iterations", "3", "--iteration-ms", "150"]);
    assert!(said.has_succeeded && said.stderr.is_empty(), "{}", said.stderr);
    let lines: Vec<_> = said.stdout.lines().collect();
    let (looks, logs) = lines.split_at(lines.len() - 3);
    for (experiment, log) in logs.iter().enumerate() {
        let messages = r#"["On iteration 0", "On iteration 1", "On iteration 2"]"#;
        assert_eq!(*log, format!("experiment {experiment}: {messages}"));
    }

    // On a busy machine an experiment may lag behind the others, but not far.
    let looks: Vec<_> = looks.iter().map(|look| look.split_once(" messages: ").expect(look)).collect();
    let totals: Vec<usize> = looks.iter().map(|(total, _)| total.parse().expect("a number")).collect();
    assert!(totals.is_sorted() && totals[0] < 9, "seen growing: {totals:?}");
    assert_eq!(looks.last(), Some(&("9", "[3, 3, 3]")));
    for (total, (_, lengths)) in totals.iter().zip(&looks) {
        let mut lengths = list(lengths);
        lengths.resize(3, 0);
        assert_eq!(lengths.iter().sum::<usize>(), *total);
        assert!(lengths.iter().max() <= lengths.iter().min().map(|least| least + 1).as_ref(), "{lengths:?}");
    }
}

#[test]
fn method_calls() {
    let said = plain("method_calls");
    let counts: Vec<Vec<u32>> = said.stdout.lines().take(2).map(counts).collect();
    assert_eq!(counts.iter().map(|counts| counts.iter().sum()).collect::<Vec<u32>>(), [15, 30]);
    let [one, two] = counts[1][..] else { panic!("two actors are called: {counts:?}") };
    said.assert_lines(&[
        r#"State of counts in this execution: {"ActorClsOne": #, "ActorClsTwo": #}"#.into(),
        r#"State of counts in this execution: {"ActorClsOne": #, "ActorClsTwo": #}"#.into(),
        format!(r#"ActorClsOne: {{"method": {{"actor": 1, "driver": {one}, "task": 1}}}}"#),
        format!(r#"ActorClsTwo: {{"call": {{"driver": 1}}, "method for delta": {{"driver": {two}}}}}"#),
    ]);
    assert_eq!(said.stderr, "");
}

/// The numbers behind the names of a map as Rust prints it.
fn counts(line: &str) -> Vec<u32> {
    let values = line.split("\": ").skip(1);
    values.map(|value| value.trim_end_matches(|c: char| !c.is_ascii_digit())).map(leading).collect()
}

fn leading(text: &str) -> u32 {
    text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
}

#[test]
fn monte_carlo_pi() {
    let said = run("monte_carlo_pi", &["--workers", "3", "--samples", "400000", "--compare"]);
    let progress = said.stdout.lines().take_while(|line| line.starts_with("Progress: "));
    let progress: Vec<_> = progress.map(|line| leading(&line["Progress: ".len()..])).collect();
    assert!(progress.is_sorted() && progress.last() == Some(&100), "{progress:?}");
    let mut expected = vec!["Progress: #%"; progress.len()];
    expected.extend([
        "Estimated value of pi: 3.14#",
        "400000 samples in # s: # samples/s",
        "mobula # s, rayon # s, ratio # (medians of 5 rounds, same samples; the goal is 1.2 at most)",
    ]);
    said.assert_lines(&expected);
    assert_eq!(said.stderr, "");
}

#[test]
fn parallel_tasks() {
    let said = plain("parallel_tasks");
    said.assert_lines(&[
        "calls made after # ms",
        "[0, 1, 2, 3]",
        "one after the other they take 4000 ms; they took # ms",
    ]);
    assert!(said.number("calls made after") < 1_000, "a call does not wait");
    let took = said.number("one after the other they take 4000 ms; they took");
    assert!((1_000..2_000).contains(&took), "{took} ms");
    assert_eq!(said.stderr, "");
}

#[test]
fn matrix_dag() {
    let said = run("matrix_dag", &["--size", "300"]);
    said.assert_lines(&[
        "calls made after # s",
        "(xy)w: 300 x 300, largest entry #",
        "x(yw) differs by 0.000000# at most",
        "five matrices were made of three in # s",
    ]);
    assert!(said.number("(xy)w: 300 x 300, largest entry") > 300, "the product of three has large entries");
    assert!(!said.stdout.contains("0.000000000000000 at most"), "two ways round differently");
    assert_eq!(said.stderr, "");
}

#[test]
fn tree_aggregation() {
    /// The units of time that each of the three ways took.
    fn units() -> [u64; 3] {
        let said = run("tree_aggregation", &["--unit-ms", "100"]);
        said.assert_lines(&[
            "in a line: 36 in # units of time, # ms",
            "as a tree: 36 in # units of time, # ms",
            "by tree_reduce: 36 in # units of time, # ms",
            "   1     2     3     4     5     6     7     8",
            "   └──┬──┘     └──┬──┘     └──┬──┘     └──┬──┘",
            "      3           7          11          15",
            "      └─────┬─────┘           └─────┬─────┘",
            "           10                      26",
            "            └───────────┬───────────┘",
            "                       36",
        ]);
        assert_eq!(said.stderr, "");
        ["in a line: 36 in", "as a tree: 36 in", "by tree_reduce: 36 in"].map(|way| said.number(way))
    }
    // Other tests may hold the cores meanwhile; it can only take longer then.
    let mut least = units();
    for _ in 0..4 {
        if least[1..] != [3, 3] {
            let again = units();
            least = std::array::from_fn(|way| least[way].min(again[way]));
        }
    }
    assert!(least[0] >= 7 && least[1..] == [3, 3], "{least:?}");
}

#[test]
fn wait() {
    let said = plain("wait");
    said.assert_lines(&[
        "after 200 ms: [100] ready, 2 remaining",
        "in the order of the list: [500, 100, 300]",
        "in the order of completion: [100, 300, 500]",
        "as completed: [100, 300, 500]",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn shared_array() {
    let said = plain("shared_array");
    said.assert_lines(&[
        "ten copies: 10 sums of 1000000, # MB allocated",
        "one put: 10 sums of 1000000, # MB allocated",
    ]);
    assert!(said.number("ten copies: 10 sums of 1000000,") >= 80);
    assert_eq!(said.number("one put: 10 sums of 1000000,"), 0);
    assert_eq!(said.stderr, "");
}

#[test]
fn fractional_gpus() {
    /// The times at which tasks started, beside the first.
    fn starts() -> Vec<u32> {
        let said = plain("fractional_gpus");
        said.assert_lines(&["started after # ms on GPU [0]"; 5]);
        assert!(
            said.stderr.contains("CUDA_VISIBLE_DEVICES is set in worker processes only"),
            "{}",
            said.stderr
        );
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        said.stdout.lines().map(|line| leading(&line["started after ".len()..])).collect()
    }
    // Other tests may hold the cores in one run, not in three.
    let are_close = (0..3).any(|_| {
        let starts = starts();
        assert!(starts[4] >= 400, "the fifth waits: {starts:?}");
        starts[3] < 50
    });
    assert!(are_close, "four share the GPU");
}

#[test]
fn streaming() {
    let said = plain("streaming");
    said.assert_lines(&[
        "primes: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
        "0 after # ms",
        "1 after # ms",
        "4 after # ms",
        "9 after # ms",
        "16 after # ms",
    ]);
    let (first, last) = (said.number("0 after"), said.number("16 after"));
    assert!(last >= 500 && first + 100 <= last, "read while they are made: {}", said.stdout);
    assert_eq!(said.stderr, "");
}

#[test]
fn nested_tasks() {
    let said = run("nested_tasks", &["--depth", "500", "--cpus", "2"]);
    said.assert_lines(&[
        "g: 4 refs -> [1, 1, 1, 1]",
        "h: [1, 1, 1, 1]",
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
fn gym_environment() {
    let said = run("gym_environment", &["--envs", "3", "--episodes", "2"]);
    // Each policy and seed has its own returns, which depend on nothing else.
    said.assert_lines(&[
        "CartPole-v1: 3 environments, 2 episodes each",
        "returns of the random policy:",
        "    14    35    16",
        "    13    16    42",
        "22.7 on average",
        "returns of the hand-written policy:",
        "   500   500   500",
        "   500   500   500",
        "500.0 on average",
        "3136 steps in # s: # steps/s",
    ]);
    assert_eq!(said.stderr, "");

    let said =
        run("gym_environment", &["--env", "MountainCar-v0", "--envs", "2", "--episodes", "1", "--seed", "3"]);
    said.assert_lines(&[
        "MountainCar-v0: 2 environments, 1 episodes each",
        "returns of the random policy:",
        "  -200  -200",
        "-200.0 on average",
        "returns of the hand-written policy:",
        "  -114  -122",
        "-118.0 on average",
        "636 steps in # s: # steps/s",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn actor_handles() {
    let said = plain("actor_handles");
    let mut expected =
        vec!["returned from a task: 1", "put into the object store: 2", "kept in another actor: 3"];
    expected.extend(["#"; 10]);
    said.assert_lines(&expected);
    let values: Vec<u64> = said.stdout.lines().skip(3).map(|line| line.parse().expect("a number")).collect();
    assert!(values.is_sorted() && values[9] > 3, "{values:?}");
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

/// Those that have worker processes.
#[cfg(feature = "process")]
mod processes {
    use super::plain;

    #[test]
    fn crash_isolation() {
        let said = plain("crash_isolation");
        said.assert_lines(&[
            "a function: WorkerCrashed, worker-# (process #) killed by signal 11 (SIGSEGV)",
            "in the third attempt: Some(7999999)",
            "an actor: Some(7999999), search 1 of its instance",
            "an actor: WorkerCrashed, worker-# (process #) killed by signal 11 (SIGSEGV)",
            "an actor: Some(7999999), search 1 of its instance",
            "bytes copied: 0",
        ]);
        assert_eq!(said.stderr, "");
    }

    #[test]
    fn max_calls() {
        let said = plain("max_calls");
        said.assert_lines(&[
            "megabytes taken: [16, 32, 48, 64] by 1 process",
            "megabytes taken: [16, 16, 16, 16] by 4 processes",
            r#"what they made is left: "something""#,
        ]);
        assert_eq!(said.stderr, "");
    }

    #[test]
    fn use_gpu() {
        let said = plain("use_gpu");
        said.assert_lines(&[
            "(use_gpu worker=#) gpu_ids(): [0], CUDA_VISIBLE_DEVICES: 0",
            "(use_gpu worker=#) gpu_ids(): [0, 1], CUDA_VISIBLE_DEVICES: 0,1",
            "This actor is allowed to use GPUs [0]. CUDA_VISIBLE_DEVICES: 0",
            "This actor is allowed to use GPUs [1]. CUDA_VISIBLE_DEVICES: 1",
            "(use_gpu worker=#) gpu_ids(): [2, 3], CUDA_VISIBLE_DEVICES: 2,3",
        ]);
        assert_eq!(said.stderr, "");
    }

    #[test]
    fn zero_copy() {
        let said = plain("zero_copy");
        let mut expected =
            vec!["(sum worker=#) 10000000 numbers in /memfd:mobula-segment, 0 bytes copied"; 4];
        expected.extend([
            "sums: [10000000.0, 10000000.0, 10000000.0, 10000000.0]",
            "made elsewhere, read in /memfd:mobula-segment, last 9999999",
            "here: 80000000 bytes written, 0 bytes copied",
        ]);
        said.assert_lines(&expected);
        assert_eq!(said.stderr, "");
    }
}

#[test]
fn larger_than_memory() {
    let said = run("larger_than_memory", &["--store", "32", "--data", "128"]);
    said.assert_lines(&[
        "32 blocks of 4 MiB; in memory at most 32 MiB: true",
        "some of them are in files: true",
        "32 read at random, 0 wrong",
        "some came back from files: true",
    ]);
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
fn a_system_that_gives_no_more_threads_is_told_of() {
    let said = run_bounded("nested_tasks", 1_500_000, &["--depth", "3000"]);
    assert!(!said.has_succeeded, "{}", said.stdout);
    assert!(said.stderr.contains("Error: TooManyThreads"), "{}", said.stderr);
}

#[test]
fn options_are_explained() {
    for (example, option) in [
        ("logging_actor", "--iterations <ITERATIONS>"),
        ("matrix_dag", "--size <SIZE>"),
        ("message_actor", "--rounds <ROUNDS>"),
        ("monte_carlo_pi", "--compare"),
        ("nested_tasks", "--depth <DEPTH>"),
        ("tree_aggregation", "--unit-ms <UNIT_MS>"),
        ("word_count", "--compare"),
    ] {
        let said = run(example, &["--help"]);
        assert!(said.has_succeeded && said.stdout.contains(option), "{example}: {}", said.stdout);
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (example, option, why) in [
        ("logging_actor", "--iterations=0", "0 is not in 1.."),
        ("matrix_dag", "--size=0", "0 is not in 1.."),
        ("message_actor", "--rounds=0", "0 is not in 1.."),
        ("monte_carlo_pi", "--workers=0", "0 is not in 1.."),
        ("monte_carlo_pi", "--samples=0", "0 is not in 1.."),
        ("nested_tasks", "--cpus=0", "Error: Infeasible"),
        ("nested_tasks", "--cpus=-1", "Error: InvalidOption: num_cpus = -1"),
        ("tree_aggregation", "--unit-ms=0", "0 is not in 1.."),
    ] {
        let said = run(example, &[option]);
        assert!(!said.has_succeeded && said.stderr.contains(why), "{example} {option}: {}", said.stderr);
        assert_eq!((said.stdout.as_str(), said.stderr.contains("panicked")), ("", false), "{example}");
    }
}
