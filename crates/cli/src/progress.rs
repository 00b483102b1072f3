//! A line of progress for a person who watches, and for nobody else: only on a terminal, never with `--json` or `-q`.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use world::{Progress, Step};

use crate::out::Out;

/// Between two signs of life.
const TICK: Duration = Duration::from_millis(120);

/// Shows steps on the last line of the terminal.
pub(crate) struct Watcher {
    out: Out,
    bar: Option<ProgressBar>,
}

impl Watcher {
    /// A watcher for this process's standard error.
    pub(crate) fn new(out: Out) -> Watcher {
        let watched = stderr().is_terminal() && !out.json && !out.quiet;
        Watcher { out, bar: watched.then(ProgressBar::no_length) }
    }

    /// Leaves a clean line.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Watcher {
    fn report(&self, step: Step<'_>) {
        match (&self.bar, step) {
            (Some(bar), Step::Phase(name)) => begin(bar, name),
            (Some(bar), Step::Expect { bytes, .. }) => {
                bar.inc_length(bytes);
                bar.set_style(style(
                    "{spinner} {msg}  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left",
                ));
            }
            (Some(bar), Step::Done { bytes, .. }) => bar.inc(bytes),
            (Some(bar), Step::Notice(text)) => bar.suspend(|| self.out.note(text)),
            (None, Step::Notice(text)) => self.out.note(text),
            (None, _) => {}
        }
    }
}

fn begin(bar: &ProgressBar, name: &str) {
    bar.reset();
    bar.unset_length();
    bar.set_style(style("{spinner} {msg}  {bytes}  {binary_bytes_per_sec}  {elapsed}"));
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(TICK);
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well formed")
}
