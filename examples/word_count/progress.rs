//! The actor that shows how far the work is.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use mobula::prelude::*;

/// Hears of every file, and shows on standard error how far the work is.
pub(crate) struct Progress {
    view: View,
    bytes: u64,
    bytes_all: u64,
    files: u64,
    files_all: u64,
}

enum View {
    /// A terminal: one line that is drawn again and again.
    Bar(ProgressBar),
    /// A file or a pipe: a line for every tenth of the bytes.
    Lines,
    Nothing,
}

#[remote]
impl Progress {
    /// Nothing is done yet of so many files and bytes.
    pub(crate) fn new(files_all: u64, bytes_all: u64, is_shown: bool) -> Self {
        let view = match (is_shown, std::io::stderr().is_terminal()) {
            (false, _) => View::Nothing,
            (true, false) => View::Lines,
            (true, true) => View::Bar(bar(bytes_all)),
        };
        Self { view, bytes: 0, bytes_all, files: 0, files_all }
    }

    /// One more file is done.
    pub(crate) fn advance(&mut self, bytes: u64) {
        let tenths = |bytes: u64| bytes * 10 / self.bytes_all.max(1);
        let (before, now) = (tenths(self.bytes), tenths(self.bytes + bytes));
        self.bytes += bytes;
        self.files += 1;
        match &self.view {
            View::Bar(bar) => bar.inc(bytes),
            View::Lines if now > before => {
                eprintln!("{:>3} %: {} of {} files", now * 10, self.files, self.files_all);
            }
            View::Lines | View::Nothing => {}
        }
    }

    /// All is done: the bar goes.
    pub(crate) fn finish(&mut self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

fn bar(bytes_all: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes_all).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
