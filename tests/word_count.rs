//! The example `word_count` counts what an independent count counts, whatever lies in its way.

mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use programs::{Said, run, run_with};
use tempfile::TempDir;

/// The words of texts, counted sign by sign: an independent way to say what a word is.
fn count(texts: &[String]) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for text in texts {
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c == '_' || c.is_alphabetic() || c.is_numeric() {
                word.push(c);
            } else if !word.is_empty() {
                *words.entry(std::mem::take(&mut word)).or_default() += 1;
            }
        }
    }
    words
}

/// The two lines below the words.
fn sums(texts: &[String], skipped: usize) -> [String; 2] {
    let words = count(texts);
    let (total, different, files) = (words.values().sum::<u64>(), words.len(), texts.len());
    [
        format!("{total} words, {different} different, in {files} files; {skipped} skipped"),
        "# MB in # s: # files/s, # MB/s".into(),
    ]
}

/// Asserts every word and sum that the program printed.
#[track_caller]
fn assert_counts(said: &Said, texts: &[String], skipped: usize) {
    let words = count(texts);
    let mut most: Vec<_> = words.iter().collect();
    // Stable: words that are as frequent stay in the order of the alphabet.
    most.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let mut expected: Vec<_> = most.iter().map(|(word, times)| format!("{times:>10}  {word}")).collect();
    expected.extend(sums(texts, skipped));
    said.assert_lines(&expected);
    assert_eq!(
        said.stderr.lines().filter(|line| line.starts_with("skipped ")).count(),
        skipped,
        "{}",
        said.stderr
    );
}

#[track_caller]
fn assert_skipped(said: &Said, path: &Path, why: &str) {
    let start = format!("skipped {}: ", path.display());
    let line = said.stderr.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("nothing of {} in {}", path.display(), said.stderr));
    assert!(line.contains(why), "{line}");
}

fn count_all(paths: &[&Path]) -> Said {
    let mut args = vec!["--top".into(), u32::MAX.to_string().into()];
    args.extend(paths.iter().map(|path| path.as_os_str().to_owned()));
    run("word_count", &args)
}

/// Text that differs from file to file, with words in common and signs of several bytes.
fn text(seed: usize, words: usize) -> String {
    const WORDS: [&str; 8] = ["ray", "manta", "mobula", "Übung", "naïve", "子", "snake_case", "r2d2"];
    const GAPS: [&str; 5] = [" ", "\n", ", ", " -> ", "\u{a0}"];
    (0..words).fold(String::new(), |text, n| {
        let rare = if n % 7 == 0 { format!("x{}", seed * n) } else { String::new() };
        text + WORDS[(seed + n * n) % WORDS.len()] + GAPS[(seed * 3 + n) % GAPS.len()] + &rare + " "
    })
}

/// Writes a file and the folders above it.
fn write(path: PathBuf, content: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is ours");
    fs::write(&path, content).expect("the folder is ours");
    path
}

#[test]
fn many_files_count_as_one_by_one() {
    let tree = TempDir::new().expect("a place for temporary files");
    // Sizes from nothing to more than one task is given.
    let texts: Vec<_> = (0..120).map(|n| text(n, if n == 60 { 60_000 } else { n * n % 3_000 })).collect();
    for (n, text) in texts.iter().enumerate() {
        write(tree.path().join(format!("{}/{}/{n}.txt", n % 3, n % 11)), text);
    }
    let said = count_all(&[tree.path()]);
    assert_counts(&said, &texts, 0);
    assert!(said.stderr.contains("100 %: 120 of 120 files"), "{}", said.stderr);
}

#[test]
fn the_top_twenty_are_printed_unless_told_otherwise() {
    let tree = TempDir::new().expect("a place for temporary files");
    let file = write(tree.path().join("letters"), "z y x w v u t s r q p o n m l k j i h g f e d c b a");
    let said = run("word_count", &[file]);
    let tops: Vec<_> = said.stdout.lines().filter_map(|line| line.trim_start().strip_prefix("1  ")).collect();
    assert_eq!(tops.concat(), "abcdefghijklmnopqrst");
}

#[test]
fn what_is_empty_or_not_utf_8_is_in_nobodys_way() {
    let tree = TempDir::new().expect("a place for temporary files");
    let texts = [text(1, 500), String::new(), text(2, 500), " \n\t".into()];
    for (n, text) in texts.iter().enumerate() {
        write(tree.path().join(format!("{n}.txt")), text);
    }
    let latin = write(tree.path().join("1a.txt"), b"ray r\xe9seau ray");
    let torn = write(tree.path().join("torn.txt"), &"ray é".as_bytes()[..5]);
    fs::create_dir(tree.path().join("empty folder")).expect("the folder is ours");
    let said = count_all(&[tree.path()]);
    assert_counts(&said, &texts, 2);
    assert_skipped(&said, &latin, "not UTF-8: invalid utf-8 sequence of 1 bytes from index 5");
    assert_skipped(&said, &torn, "not UTF-8: incomplete utf-8 byte sequence from index 4");
}

#[test]
fn a_folder_named_like_a_file_is_a_folder() {
    let tree = TempDir::new().expect("a place for temporary files");
    let inner = text(3, 100);
    write(tree.path().join("notes.txt/inner.txt"), &inner);
    assert_counts(&count_all(&[tree.path()]), &[inner], 0);
}

#[test]
fn a_deep_tree_is_walked_to_its_end() {
    let tree = TempDir::new().expect("a place for temporary files");
    let texts: Vec<_> = (0..300).map(|n| text(n, 5)).collect();
    let mut folder = tree.path().to_path_buf();
    for text in &texts {
        folder.push("d");
        write(folder.join("leaf.txt"), text);
    }
    assert_counts(&count_all(&[tree.path()]), &texts, 0);
}

#[test]
fn several_paths_count_together_and_a_missing_one_is_told() {
    let tree = TempDir::new().expect("a place for temporary files");
    let texts = [text(4, 40), text(5, 50)];
    let folder = tree.path().join("folder");
    write(folder.join("a.txt"), &texts[0]);
    let file = write(tree.path().join("b.txt"), &texts[1]);
    let missing = tree.path().join("missing");
    let said = count_all(&[&folder, &missing, &file]);
    assert_counts(&said, &texts, 1);
    assert_skipped(&said, &missing, "No such file or directory");
}

#[test]
fn nothing_to_count_is_counted_as_nothing() {
    let tree = TempDir::new().expect("a place for temporary files");
    let said = count_all(&[tree.path()]);
    said.assert_lines(&["0 words, 0 different, in 0 files; 0 skipped", "0.0 MB in # s: 0 files/s, 0.0 MB/s"]);
}

#[test]
fn without_a_path_the_sources_of_cargo_are_counted() {
    let home = TempDir::new().expect("a place for temporary files");
    let texts = [text(7, 300), text(8, 300)];
    write(home.path().join("registry/src/index/one-1.0.0/src/lib.rs"), &texts[0]);
    write(home.path().join("registry/src/index/one-1.0.0/folder.rs/two.rs"), &texts[1]);
    write(home.path().join("registry/src/index/one-1.0.0/README.md"), "not counted");
    write(home.path().join("elsewhere.rs"), "not counted");
    let said = run_with("word_count", "CARGO_HOME", home.path());
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 22, "twenty words and two sums: {lines:#?}");
    assert_eq!(lines[20], sums(&texts, 0)[0]);

    let empty = TempDir::new().expect("a place for temporary files");
    let said = run_with("word_count", "CARGO_HOME", empty.path());
    assert!(!said.has_succeeded && said.stdout.is_empty());
    assert!(said.stderr.contains("Cargo has unpacked no sources in"), "{}", said.stderr);
}

#[test]
fn rayon_counts_the_same() {
    let tree = TempDir::new().expect("a place for temporary files");
    let texts: Vec<_> = (0..20).map(|n| text(n, 200)).collect();
    for (n, text) in texts.iter().enumerate() {
        write(tree.path().join(format!("{n}.txt")), text);
    }
    write(tree.path().join("latin.txt"), b"\xe9");
    let args = ["--compare".into(), "--top".into(), "0".into(), tree.path().as_os_str().to_owned()];
    let [words, speed] = sums(&texts, 1);
    let ratio = "mobula # s, rayon # s, ratio # (medians of # rounds, same counts; the goal is 1.2 at most)";
    run("word_count", &args).assert_lines(&[&words, &speed, ratio]);
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    /// A tree with one text, to which the tests add what is in the way.
    fn tree() -> (TempDir, [String; 1]) {
        let (tree, text) = (TempDir::new().expect("a place for temporary files"), text(6, 100));
        write(tree.path().join("m.txt"), &text);
        (tree, [text])
    }

    #[test]
    fn a_link_to_nothing_cannot_be_read() {
        let (tree, texts) = tree();
        let link = tree.path().join("dangling.txt");
        symlink("nowhere.txt", &link).expect("links can be made");
        let said = count_all(&[tree.path()]);
        assert_counts(&said, &texts, 1);
        assert_skipped(&said, &link, "No such file or directory");
    }

    #[test]
    fn circles_of_links_end() {
        let (tree, texts) = tree();
        let (up, own) = (tree.path().join("folder/up"), tree.path().join("own"));
        fs::create_dir(tree.path().join("folder")).expect("the folder is ours");
        symlink("..", &up).expect("links can be made");
        symlink("own", &own).expect("links can be made");
        let said = count_all(&[tree.path()]);
        assert_counts(&said, &texts, 2);
        assert_skipped(&said, &up, "a link to a folder is not followed");
        assert_skipped(&said, &own, "symbolic links");
    }

    #[test]
    fn a_link_to_a_file_counts_as_the_file() {
        let (tree, [text]) = tree();
        symlink("m.txt", tree.path().join("again.txt")).expect("links can be made");
        assert_counts(&count_all(&[tree.path()]), &[text.clone(), text], 0);
    }

    #[test]
    fn a_link_to_a_folder_is_followed_where_it_is_named() {
        let (tree, texts) = tree();
        let elsewhere = TempDir::new().expect("a place for temporary files");
        let link = elsewhere.path().join("link");
        symlink(tree.path(), &link).expect("links can be made");
        assert_counts(&count_all(&[&link]), &texts, 0);
    }

    #[test]
    fn a_pipe_without_a_writer_is_not_waited_for() {
        let (tree, texts) = tree();
        let pipe = tree.path().join("pipe");
        let is_made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success();
        assert!(is_made);
        let said = count_all(&[tree.path()]);
        assert_counts(&said, &texts, 1);
        assert_skipped(&said, &pipe, "not a file");
    }
}
