//! Shows how far the training is.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, else a line for every test.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines,
}

impl Progress {
    /// Nothing is done yet of so many gradients.
    pub(crate) fn new(gradients_max: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} gradients, {msg} {elapsed}");
        let bar = ProgressBar::new(gradients_max as u64);
        Self::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// So many gradients were applied, and the weights were tested.
    pub(crate) fn show(&self, gradients: usize, accuracy: f64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(gradients as u64);
                bar.set_message(format!("accuracy {accuracy:.3}"));
            }
            Self::Lines => eprintln!("{gradients:>6} gradients: accuracy {accuracy:.3}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
