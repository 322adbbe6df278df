//! Each file in `tests/ui` is one mistake in the use of `#[remote]`; the message names the fix.
//!
//! Messages differ between compilers, so they are compared only where `MOBULA_UI` is set, as CI does:
//! `MOBULA_UI=1 cargo test --test ui`.

use std::io::Write;

#[test]
fn messages_name_the_fix() {
    if std::env::var_os("MOBULA_UI").is_none() {
        // Not by a macro: what those print is shown only if a test fails.
        let _ =
            writeln!(std::io::stderr(), "not run: ui: messages differ between compilers; set MOBULA_UI=1");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}
