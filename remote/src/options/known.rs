//! The table of options.

use std::fmt::{self, Display};

/// What options are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function.
    Function,
    /// A class.
    Class,
    /// A method of a class or a trait.
    Method,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Class => "class",
            Self::Method => "method",
        })
    }
}

/// What the value of an option may be.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// A number with a fraction, not negative.
    Number,
    /// A whole number of 32 bits; many there stand for "without limit".
    Count,
    /// A whole number of the machine's size.
    Size,
    /// The same, at least 1, and not for the builder.
    Concurrency,
    /// Bytes, or a text with a unit.
    Bytes,
    /// A duration, or a text with a unit.
    Duration,
    /// A text.
    Text,
    /// `"thread"`, `"shared"` or `"process"`.
    Isolation,
    /// Nothing, or a literal `true` or `false`; the builder's method takes nothing.
    Flag,
    /// Nothing, or a `bool`.
    Switch,
    /// Named numbers, one call of the builder's `resource` each.
    Resources,
    /// Named texts, one call of the builder's `env` each.
    Environment,
}

/// One row of the table.
pub(super) struct Known {
    /// What the user writes, and the builder's method.
    pub(super) name: &'static str,
    /// What it may be given to.
    pub(super) places: &'static [Place],
    /// What it may be set to.
    pub(super) takes: Takes,
}

const fn known(name: &'static str, places: &'static [Place], takes: Takes) -> Known {
    Known { name, places, takes }
}

const EVERYWHERE: &[Place] = &[Place::Function, Place::Class, Place::Method];
const STARTED: &[Place] = &[Place::Function, Place::Class];
const FUNCTIONS: &[Place] = &[Place::Function];
const CLASSES: &[Place] = &[Place::Class];
const ACTORS: &[Place] = &[Place::Class, Place::Method];

const KNOWN: &[Known] = &[
    known("num_cpus", STARTED, Takes::Number),
    known("num_gpus", STARTED, Takes::Number),
    known("memory", STARTED, Takes::Bytes),
    known("resources", STARTED, Takes::Resources),
    known("max_retries", FUNCTIONS, Takes::Count),
    known("retry_on_error", EVERYWHERE, Takes::Switch),
    known("max_restarts", CLASSES, Takes::Count),
    known("max_task_retries", ACTORS, Takes::Count),
    known("max_concurrency", CLASSES, Takes::Concurrency),
    known("max_pending_calls", CLASSES, Takes::Size),
    known("max_calls", STARTED, Takes::Count),
    known("isolation", STARTED, Takes::Isolation),
    known("timeout", EVERYWHERE, Takes::Duration),
    known("name", STARTED, Takes::Text),
    known("namespace", CLASSES, Takes::Text),
    known("detached", CLASSES, Takes::Flag),
    known("get_if_exists", CLASSES, Takes::Flag),
    known("env", STARTED, Takes::Environment),
    known("working_dir", STARTED, Takes::Text),
    known("placement", STARTED, Takes::Text),
];

/// What Ray calls it, and what to write here.
const NAMES_IN_RAY: &[(&str, &str)] = &[
    ("lifetime", "write `detached`"),
    ("num_returns", "return a tuple and call `split()` on its ref"),
    ("retry_exceptions", "write `retry_on_error`"),
    ("runtime_env", "write `env(NAME = \"value\")`"),
    ("scheduling_strategy", "write `placement`"),
    ("concurrency_groups", "`&self` methods overlap, `&mut self` methods do not"),
    ("resource", "write `resources(name = amount)`"),
];

/// "a function takes `num_cpus`, ..."
pub(super) fn list(place: Place) -> String {
    let names: Vec<_> = KNOWN
        .iter()
        .filter(|known| known.places.contains(&place))
        .map(|known| format!("`{}`", known.name))
        .collect();
    format!("a {place} takes {}", names.join(", "))
}

/// The row of an option.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// What whoever wrote `name` may have meant: Ray's own name, or a slip of the pen.
pub(super) fn advice(name: &str) -> Option<String> {
    let in_ray = NAMES_IN_RAY.iter().find(|(ray, _)| *ray == name).map(|(_, advice)| (*advice).to_owned());
    in_ray.or_else(|| nearest(name).map(|near| format!("did you mean `{near}`?")))
}

/// The option whose name is nearest, if one is near.
fn nearest(name: &str) -> Option<&'static str> {
    let near = KNOWN.iter().map(|known| (distance(name, known.name), known.name)).min()?;
    (near.0 <= name.len().min(9) / 3).then_some(near.1)
}

/// How many letters to add, drop or change to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for j in 0..to.len() {
            let change = diagonal + usize::from(letter != to[j]);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, NAMES_IN_RAY, Place, advice, find, list, nearest};

    #[test]
    fn slips_of_the_pen_are_recognised() {
        for (written, meant) in [
            ("num_cpu", "num_cpus"),
            ("numcpus", "num_cpus"),
            ("max_retrys", "max_retries"),
            ("time_out", "timeout"),
            ("detach", "detached"),
            ("memmory", "memory"),
        ] {
            assert_eq!(nearest(written), Some(meant), "{written}");
        }
        for written in ["colour", "x", "gpu", "num_workers_each"] {
            assert_eq!(nearest(written), None, "{written}");
        }
    }

    #[test]
    fn names_of_ray_are_explained_and_are_no_names_of_ours() {
        for (ray, explained) in NAMES_IN_RAY {
            assert_eq!(advice(ray).as_deref(), Some(*explained));
            assert!(find(ray).is_none(), "{ray}");
        }
    }

    #[test]
    fn the_list_names_what_belongs_there_and_nothing_else() {
        assert_eq!(list(Place::Method), "a method takes `retry_on_error`, `max_task_retries`, `timeout`");
        for place in [Place::Function, Place::Class] {
            for known in KNOWN {
                let is_listed = list(place).contains(&format!("`{}`", known.name));
                assert_eq!(is_listed, known.places.contains(&place), "{} on a {place}", known.name);
            }
        }
    }
}
