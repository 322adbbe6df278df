//! The example `parameter_server` learns in both variants, and says what is wrong with the files it is given.

mod programs;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use programs::{Said, run};
use tempfile::TempDir;

/// Runs it with the arguments that a line holds.
fn train(args: &str) -> Said {
    train_with(Vec::new(), args)
}

fn train_on(folder: &Path, args: &str) -> Said {
    train_with(vec!["--data".into(), folder.as_os_str().to_owned()], args)
}

fn train_with(mut all: Vec<OsString>, args: &str) -> Said {
    all.extend(args.split_whitespace().map(Into::into));
    // Several times what is needed: what does not learn should say so soon.
    if !args.contains("--gradients") {
        all.extend(["--gradients", "4000"].map(Into::into));
    }
    run("parameter_server", &all)
}

/// Asserts the last line, and the accuracy in it.
#[track_caller]
fn assert_learnt(said: &Said, variant: &str, workers: u32) {
    said.assert_lines(&[format!("{variant}: accuracy # after # s, # gradients by {workers} workers")]);
    let accuracy = said.stdout.split_whitespace().nth(2).expect("it was just seen");
    let accuracy: f64 = accuracy.parse().expect("it is a number");
    assert!((0.95..=1.0).contains(&accuracy), "{}", said.stdout);
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(last.ends_with(&format!(" gradients: accuracy {accuracy:.3}")), "{}", said.stderr);
}

/// Asserts that it failed with one line, in which `expected` stands.
#[track_caller]
fn assert_refused(said: &Said, expected: &str) {
    assert!(!said.has_succeeded && said.stdout.is_empty(), "{}", said.stdout);
    assert!(said.stderr.starts_with("error: ") && said.stderr.contains(expected), "{}", said.stderr);
    let lines =
        said.stderr.lines().filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    assert_eq!(lines.count(), 1, "{}", said.stderr);
}

#[test]
fn workers_in_step_learn() {
    assert_learnt(&train("--variant sync --samples 3000"), "sync", 4);
}

#[test]
fn workers_that_do_not_wait_learn() {
    assert_learnt(&train("--variant async --samples 3000"), "async", 4);
}

#[test]
fn workers_in_step_learn_the_same_in_every_run() {
    let [first, second] = [(); 2].map(|()| train("--samples 500 --workers 3 --accuracy 0.5").stderr);
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

#[test]
fn one_worker_suffices() {
    for variant in ["sync", "async"] {
        let said = train(&format!("--variant {variant} --samples 500 --workers 1 --accuracy 0.3"));
        assert!(said.has_succeeded && said.stdout.contains("gradients by 1 workers"), "{}", said.stderr);
    }
}

#[test]
fn an_accuracy_that_is_not_reached_is_an_error() {
    let said = train("--samples 500 --gradients 4");
    assert!(!said.has_succeeded && said.stdout.is_empty());
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: accuracy 0.") && last.ends_with(" after 4 gradients, not 0.95"),
        "{last}"
    );
}

#[test]
fn what_cannot_be_is_refused() {
    for (args, why) in [
        ("--workers 0", "at least 1"),
        ("--samples 9", "at least 10"),
        ("--gradients 0", "at least 1"),
        ("--workers four", "not a whole number"),
        ("--accuracy 1.5", "from 0 to 1"),
        ("--variant both", "possible values: sync, async"),
    ] {
        let said = train(args);
        assert!(!said.has_succeeded && said.stdout.is_empty());
        assert!(said.stderr.starts_with("error: ") && said.stderr.contains(why), "{args}: {}", said.stderr);
    }
}

/// An IDX file of unsigned bytes.
fn idx(sizes: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    for size in sizes {
        file.extend((*size as u32).to_be_bytes());
    }
    file.extend(bytes);
    file
}

/// Images of 5 x 3 pixels, in which the row and column of the one bright pixel are the label, or not.
fn images(count: usize, is_sensible: bool) -> (Vec<u8>, Vec<u8>) {
    let labels: Vec<_> = (0..count).map(|n| (n * n / 3 + n / 7) % 10).collect();
    let pixel = |n: usize| if is_sensible { labels[n] } else { n * 7 % 10 };
    let images = (0..count).flat_map(|n| (0..15).map(move |at| (n, at)));
    let images: Vec<u8> =
        images.map(|(n, at)| if at == pixel(n) { 200 } else { (n + at) as u8 % 16 }).collect();
    (
        idx(&[count, 5, 3], &images),
        idx(&[count], &labels.iter().map(|label| *label as u8).collect::<Vec<_>>()),
    )
}

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// A folder with the four files.
fn folder(is_sensible: bool) -> TempDir {
    let folder = TempDir::new().expect("a place for temporary files");
    let ((train, train_labels), (test, test_labels)) = (images(900, is_sensible), images(100, is_sensible));
    for (name, file) in NAMES.iter().zip([train, train_labels, test, test_labels]) {
        fs::write(folder.path().join(name), file).expect("the folder is ours");
    }
    folder
}

#[test]
fn files_of_the_kind_of_mnist_are_learnt() {
    assert_learnt(&train_on(folder(true).path(), "--variant sync --workers 2"), "sync", 2);
    assert_learnt(&train_on(folder(true).path(), "--variant async"), "async", 4);
}

#[test]
fn labels_without_reason_are_not_learnt() {
    let said = train_on(folder(false).path(), "--gradients 600");
    assert!(!said.has_succeeded && said.stdout.is_empty());
    assert!(said.stderr.contains("after 600 gradients, not 0.95"), "{}", said.stderr);
}

#[test]
fn zipped_files_are_unpacked() {
    let folder = folder(true);
    for name in NAMES {
        let path = folder.path().join(name);
        let content = fs::read(&path).expect("it was just written");
        fs::remove_file(path).expect("it is ours");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&content).expect("memory suffices");
        let packed = packed.finish().expect("memory suffices");
        fs::write(folder.path().join(format!("{name}.gz")), packed).expect("the folder is ours");
    }
    assert_learnt(&train_on(folder.path(), ""), "sync", 4);

    let torn = folder.path().join(format!("{}.gz", NAMES[0]));
    let packed = fs::read(&torn).expect("it was just written");
    fs::write(&torn, &packed[..packed.len() / 2]).expect("the folder is ours");
    assert_refused(&train_on(folder.path(), ""), "train-images-idx3-ubyte.gz: ");
}

#[test]
fn missing_folders_and_files_are_named() {
    let nowhere = folder(true).path().join("nowhere");
    assert_refused(&train_on(&nowhere, ""), "train-images-idx3-ubyte: No such file or directory");
    for name in NAMES {
        let folder = folder(true);
        fs::remove_file(folder.path().join(name)).expect("it is ours");
        assert_refused(&train_on(folder.path(), ""), &format!("{name}: No such file or directory"));
    }
}

/// Makes something wrong of a file.
type Change = fn(Vec<u8>) -> Vec<u8>;

#[test]
fn malformed_files_are_refused() {
    let (images, labels) = (NAMES[0], NAMES[1]);
    let wrong: [(&str, &str, Change); 16] = [
        (images, "truncated: it ends in its header", |_| Vec::new()),
        (images, "truncated: it ends in its header", |file| file[..3].into()),
        (images, "truncated: it ends in its header", |file| file[..15].into()),
        (images, "no IDX file: it starts with [89, 50, 4e, 47]", |_| b"\x89PNG\r\n".into()),
        (images, "its elements are of type 0x0d, not unsigned bytes", |file| with(file, 2, &[0x0d])),
        (images, "it has 1 dimensions, not 3", |file| with(file, 3, &[1])),
        (labels, "it has 3 dimensions, not 1", |file| with(file, 3, &[3])),
        (images, "truncated: 13499 bytes, not [900, 5, 3]", |file| file[..file.len() - 1].into()),
        (images, "truncated: 0 bytes, not [900, 5, 3]", |file| file[..16].into()),
        (labels, "truncated: 899 bytes, not [900]", |file| file[..file.len() - 1].into()),
        (images, "too long: more bytes than [900, 5, 3]", |file| [file, vec![0]].concat()),
        (images, "more than 1073741824 in all", |file| with(file, 4, &[0xff; 12])),
        (images, "more than 1073741824 in all", |file| with(file, 4, &[0x10, 0, 0, 0])),
        (labels, "has 900 images, train-labels-idx1-ubyte 899 labels", |file| {
            with(file[..file.len() - 1].into(), 4, &899_u32.to_be_bytes())
        }),
        (labels, "has the label 10: there are 0 to 9", |file| with(file, 100, &[10])),
        (images, "has no pixels: its sizes are [900, 0, 3]", |file| with(file[..16].into(), 8, &[0; 4])),
    ];
    for (name, why, change) in wrong {
        let folder = folder(true);
        let path = folder.path().join(name);
        let file = fs::read(&path).expect("it was just written");
        fs::write(&path, change(file)).expect("the folder is ours");
        let said = train_on(folder.path(), "");
        assert_refused(&said, why);
        assert!(said.stderr.contains(name), "the file is named: {}", said.stderr);
    }
}

#[test]
fn images_of_two_sizes_are_refused() {
    let folder = folder(true);
    fs::write(folder.path().join(NAMES[2]), idx(&[100, 3, 5], &[0; 1500])).expect("the folder is ours");
    assert_refused(&train_on(folder.path(), ""), "[5, 3] pixels, those to test with [3, 5]");
}

/// A file with other bytes somewhere.
fn with(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}
