//! Each file in `tests/ui` is one mistake in the use of `#[remote]`; the message names the fix.
//!
//! Messages differ between compilers, so they are compared only where `MOBULA_UI` is set, as CI does:
//! `MOBULA_UI=1 cargo test --test ui`.

use std::io::Write;

/// Whether messages are to be compared; says so if not.
fn is_wanted() -> bool {
    let is_wanted = std::env::var_os("MOBULA_UI").is_some();
    if !is_wanted {
        // Not by a macro: what those print is shown only if a test fails.
        let _ =
            writeln!(std::io::stderr(), "not run: ui: messages differ between compilers; set MOBULA_UI=1");
    }
    is_wanted
}

/// Apart from what compiles, so that all files are checked by one run of cargo, side by side.
#[test]
fn messages_name_the_fix() {
    if is_wanted() {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    }
}

#[test]
fn what_is_right_compiles_and_runs() {
    if is_wanted() {
        trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
    }
}
