//! The rooms of `src/` stand on floors, and a file imports only from lower floors and its own room.
//!
//! Tokens are looked at, not lines: a path counts wherever it stands, in a `use`, in a group, in the middle
//! of an expression, in a test; comments and texts do not count. A new edge between rooms is one line here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// The floor of every room.
const FLOORS: [(&str, u32); 22] = [
    ("id", 0),
    ("resource", 0),
    ("clock", 0),
    ("error", 1),
    ("value", 2),
    ("event", 3),
    ("spec", 3),
    ("store", 4),
    ("protocol", 4),
    ("registry", 5),
    ("scheduler", 5),
    ("directory", 5),
    ("ownership", 5),
    ("runtime", 6),
    ("executor", 7),
    ("transport", 7),
    ("process", 7),
    ("embedded", 8),
    ("attached", 8),
    ("api", 10),
    ("testing", 11),
    ("guide", 11),
];

/// Where `unsafe` may stand.
const UNSAFE_ROOMS: [&str; 1] = ["store"];

/// The one example that calls C.
const UNSAFE_EXAMPLE: &str = "examples/crash_isolation.rs";

/// Where actix may be named.
const ACTIX_ROOMS: [&str; 1] = ["executor"];

/// Where nothing but decisions are made: state, event and time in, effects out.
const PURE_ROOMS: [&str; 3] = ["scheduler", "directory", "ownership"];

#[test]
fn a_file_imports_from_lower_floors_and_its_own_room_only() {
    let floors = BTreeMap::from(FLOORS);
    let mut wrong = Vec::new();
    for file in sources("src").iter().filter(|file| !file.is_crate_root()) {
        let own = floors.get(file.room()).copied().unwrap_or(0);
        for import in file.imports() {
            let there = import.path.first().map_or("", String::as_str);
            match floors.get(there) {
                _ if there == file.room() => {}
                Some(floor) if *floor < own => {}
                Some(floor) => {
                    wrong.push(format!("{import} is on floor {floor}, and this file on floor {own}"));
                }
                // What a macro writes stands in a user's crate, which can name the root only.
                None if import.is_of_macro => {}
                None => wrong.push(format!("{import} is no room, but of the crate's root")),
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_room_has_its_floor_and_its_front_page() {
    let src = root().join("src");
    let (rooms, files): (Vec<_>, Vec<_>) = entries(&src).into_iter().partition(|path| path.is_dir());
    let names: BTreeSet<_> = rooms.iter().map(|room| stem(room)).collect();
    assert_eq!(names, FLOORS.iter().map(|(room, _)| (*room).to_owned()).collect());
    assert_eq!(files, [src.join("lib.rs")], "what is in no room has no floor");
    let bare: Vec<_> = rooms.iter().filter(|room| !room.join("mod.rs").is_file()).collect();
    assert_none(&bare.iter().map(|room| format!("{} has no mod.rs", room.display())).collect::<Vec<_>>());
}

#[test]
fn the_picture_in_the_crate_docs_is_true() {
    let text = read(&root().join("src/lib.rs")).expect("the crate root is text");
    let picture = text.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let mut drawn = Vec::new();
    for line in picture.take_while(|line| *line != "//! ```") {
        let mut words = line.trim_start_matches("//!").split_whitespace();
        let floor = words.next().and_then(|word| word.parse::<u32>().ok());
        let (Some(floor), Some(room)) = (floor, words.next()) else {
            panic!("no floor and room in {line:?}")
        };
        assert!(words.next().is_some(), "the picture says nothing of `{room}`");
        drawn.push((room.to_owned(), floor));
    }
    assert!(drawn.is_sorted_by(|above, below| above.1 >= below.1), "higher floors stand above: {drawn:?}");
    let floors: BTreeSet<_> = FLOORS.iter().map(|(room, floor)| ((*room).to_owned(), *floor)).collect();
    assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>(), floors);
}

#[test]
fn unsafe_code_stands_in_the_store_only() {
    let files = ["src", "remote/src", "examples", "benches"].into_iter().flat_map(sources);
    let others = files.filter(|file| !(file.is_in("src") && UNSAFE_ROOMS.contains(&file.room())));
    let others = others.filter(|file| file.path != UNSAFE_EXAMPLE);
    assert_none(&others.flat_map(|file| file.places_of(&["unsafe"])).collect::<Vec<_>>());
}

#[test]
fn actix_is_named_by_the_executor_only() {
    let others = sources("src").into_iter().filter(|file| !ACTIX_ROOMS.contains(&file.room()));
    let names = ["actix", "actix_rt", "actix_web"];
    assert_none(&others.flat_map(|file| file.places_of(&names)).collect::<Vec<_>>());
}

#[test]
fn decisions_know_no_thread_clock_socket_or_file() {
    let pure = sources("src").into_iter().filter(|file| PURE_ROOMS.contains(&file.room()));
    let world = ["tokio", "thread", "Mutex", "elapsed", "SystemTime", "net", "fs", "env"];
    assert_none(&pure.flat_map(|file| file.places_of(&world)).collect::<Vec<_>>());
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Taken apart, so that this file does not hold them.
    let machines =
        [["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["C:", "\\Users"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for path in files_below(&root()) {
        for (n, line) in read(&path).unwrap_or_default().lines().enumerate() {
            if machines.iter().any(|machine| line.contains(machine)) {
                wrong.push(format!("{}:{}: {line}", shown(&path), n + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let module = ["api".to_owned(), "object".to_owned()];
    let found = |text: &str| {
        let tokens: TokenStream = text.parse().expect("these are tokens");
        let mut walk = Walk { file: "test", found: Vec::new() };
        walk.tokens(tokens, &module);
        walk.found.iter().map(|import| import.path.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::{error, id::{JobId, NodeId}, store::*};"), ["error", "id", "store"]);
    assert_eq!(found("use super::super::{runtime::Frame, self};"), ["runtime", ""]);
    assert_eq!(
        found("mod tests { use super::*; use super::super::super::clock; }"),
        ["api::object", "clock"]
    );
    assert_eq!(
        found("fn f() -> crate::error::Result { self::super::super::id::x(mobula::get()) }"),
        ["error", "id", "get"]
    );
    assert_eq!(found("macro_rules! m { () => { $crate::spec::Options } }"), ["spec"]);
    assert_eq!(found("use crate::*; pub(crate) struct S(pub(super) u8); // crate::store"), [""]);
    assert!(found("/// [`get`](crate::get)\n fn f() { \"crate::get\"; }").is_empty());
}

/// A file of Rust code.
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    /// The modules that lead to it.
    module: Vec<String>,
    tokens: TokenStream,
}

/// A word that stands somewhere.
struct Place {
    file: String,
    line: usize,
    word: String,
}

/// A path into the crate.
struct Import {
    place: Place,
    /// From the crate's root, as far as it matters.
    path: Vec<String>,
    is_of_macro: bool,
}

impl Source {
    fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    fn is_crate_root(&self) -> bool {
        self.module.is_empty()
    }

    fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    fn imports(&self) -> Vec<Import> {
        let mut walk = Walk { file: &self.path, found: Vec::new() };
        walk.tokens(self.tokens.clone(), &self.module);
        walk.found
    }

    /// Where one of `words` stands.
    fn places_of(&self, words: &[&str]) -> Vec<Place> {
        let mut places = Vec::new();
        let mut left = vec![self.tokens.clone()];
        while let Some(tokens) = left.pop() {
            for token in tokens {
                match token {
                    TokenTree::Group(group) => left.push(group.stream()),
                    TokenTree::Ident(ident) if words.iter().any(|word| ident == word) => {
                        places.push(Place::of(&self.path, &ident));
                    }
                    _ => {}
                }
            }
        }
        places
    }
}

impl Place {
    fn of(file: &str, ident: &Ident) -> Self {
        Self { file: file.into(), line: ident.span().start().line, word: ident.to_string() }
    }
}

/// Finds the paths into the crate that stand in a file.
struct Walk<'a> {
    file: &'a str,
    found: Vec<Import>,
}

impl Walk<'_> {
    /// Looks at all tokens of a module.
    fn tokens(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match (token, &tokens[..at]) {
                (TokenTree::Group(group), [.., TokenTree::Ident(keyword), TokenTree::Ident(name)])
                    if keyword == "mod" =>
                {
                    self.tokens(group.stream(), &[module, &[name.to_string()]].concat());
                }
                (TokenTree::Group(group), _) => self.tokens(group.stream(), module),
                (TokenTree::Ident(start), before) => {
                    if let Some(rest) = after_colons(&tokens[at + 1..])
                        && let Some(base) = base_of(start, before, module)
                    {
                        let is_of_macro = before.last().is_some_and(|token| is_sign(token, '$'));
                        self.path(base, rest, &Place::of(self.file, start), is_of_macro);
                    }
                }
                _ => {}
            }
        }
    }

    /// Follows a path, or all paths of a group, from `base`.
    fn path(&mut self, mut base: Vec<String>, rest: &[TokenTree], place: &Place, is_of_macro: bool) {
        match rest {
            [TokenTree::Ident(word), rest @ ..] if word == "super" => {
                base.pop();
                return self.path(base, after_colons(rest).unwrap_or_default(), place, is_of_macro);
            }
            [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                let tokens: Vec<_> = group.stream().into_iter().collect();
                for part in tokens.split(|token| is_sign(token, ',')).filter(|part| !part.is_empty()) {
                    self.path(base.clone(), part, place, is_of_macro);
                }
                return;
            }
            [TokenTree::Ident(word), ..] if word != "self" && base.is_empty() => base.push(word.to_string()),
            _ => {}
        }
        let place = Place { file: place.file.clone(), line: place.line, word: place.word.clone() };
        self.found.push(Import { place, path: base, is_of_macro });
    }
}

/// What a path starts from, if it starts with `start` and leads into the crate.
fn base_of(start: &Ident, before: &[TokenTree], module: &[String]) -> Option<Vec<String>> {
    let goes_on = before.last().is_some_and(|token| is_sign(token, ':'));
    match start.to_string().as_str() {
        "crate" | "mobula" => Some(Vec::new()),
        "self" if !goes_on => Some(module.to_vec()),
        "super" if !goes_on => Some(module[..module.len().saturating_sub(1)].to_vec()),
        _ => None,
    }
}

/// What follows `::`, if that comes first.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [first, second, rest @ ..] if is_sign(first, ':') && is_sign(second, ':') => Some(rest),
        _ => None,
    }
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: `{}`", self.file, self.line, self.word)
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leads to `{}`, which", self.place, self.path.join("::"))
    }
}

#[track_caller]
fn assert_none(wrong: &[impl ToString]) {
    let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} of them:\n{}", lines.len(), lines.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The code below a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let top = root().join(folder);
    let files = files_below(&top).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let sources: Vec<_> = files
        .map(|path| {
            let below = path.strip_prefix(&top).expect("it was found below").with_extension("");
            let parts = below.iter().map(|part| part.to_string_lossy().into_owned());
            let module = parts.filter(|part| !["mod", "lib", "main"].contains(&part.as_str())).collect();
            let text = read(&path).expect("code is text");
            let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", shown(&path)));
            Source { path: shown(&path), module, tokens }
        })
        .collect();
    assert!(!sources.is_empty(), "no code in {folder}: nothing was looked at");
    sources
}

/// All files below a folder, but for those that git or cargo made.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (folders, mut files): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|path| path.is_dir());
    let ours = folders.iter().filter(|path| ![".git", "target"].contains(&stem(path).as_str()));
    files.extend(ours.flat_map(|folder| files_below(folder)));
    files
}

/// What is in a folder, by name; links are left out.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", shown(folder)));
    let mut paths: Vec<_> = read.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.retain(|path| !path.is_symlink());
    paths.sort_unstable();
    paths
}

/// The text of a file; `None` if it is no text.
fn read(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path)))).ok()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("it has a name").to_string_lossy().into_owned()
}

/// A path as seen from the root of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}
