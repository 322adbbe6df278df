//! What workers print appears at the driver.

use crate::common::Env;
use crate::executable::said_by;

pub(crate) fn lines_are_marked_with_who_said_them(_: &Env) {
    let said = said_by(&["lines"]);
    let mut lines: Vec<_> = said.stdout.lines().collect();
    lines.sort_unstable();
    let expected = [
        "(Speaker worker=3) born",
        "(Speaker worker=3) speaking",
        "(speak worker=1) and again",
        "(speak worker=1) hello world",
        "(speak worker=1) no newline",
    ];
    assert_eq!(lines, expected);
    assert_eq!(said.stderr, "(speak worker=1) no good, world\n");
    let at = |line: &str| said.stdout.find(line).expect("it was said");
    assert!(at("hello world") < at("and again") && at("born") < at("speaking"), "{}", said.stdout);
}

pub(crate) fn a_flood_is_limited(_: &Env) {
    let said = said_by(&["flood"]);
    let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok());
    let shown = said.stdout.lines().filter(|line| number(line).is_some()).count();
    let left_out = said.stdout.lines().filter_map(|line| {
        let (before, _) = line.split_once(" lines left out")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    assert!((1_000..5_000).contains(&shown), "{shown} lines are shown");
    assert_eq!(shown + left_out.sum::<usize>(), 20_000, "what is left out is counted");
    assert!(said.stdout.lines().all(|line| line.starts_with("(babble worker=1) ")), "each is marked");
}
