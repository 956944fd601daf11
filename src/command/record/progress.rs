//! The line that shows how a recording stands: on standard error, and only if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::sampler::Progress;

/// Columns from which on there is room for a bar beside what the line says.
const WIDE: usize = 80;
/// Columns of the bar, and of the spinner, with the space behind them.
const BAR: usize = 31;
const SPINNER: usize = 2;

/// The line.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    is_bounded: bool,
    /// Columns in front of what the line says.
    indent: usize,
}

impl Bar {
    pub(super) fn new(duration: Option<Duration>, is_hidden: bool) -> Self {
        let bar = match duration {
            _ if is_hidden => ProgressBar::hidden(),
            Some(duration) => ProgressBar::new(millis(duration)),
            None => ProgressBar::new_spinner(),
        };
        let (template, indent) = match duration {
            Some(_) if columns() >= WIDE => ("{bar:30} {msg}", BAR),
            Some(_) => ("{msg}", 0),
            None => ("{spinner} {msg}", SPINNER),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, is_bounded: duration.is_some(), indent }
    }

    pub(super) fn show(&self, progress: &Progress) {
        if self.is_bounded {
            self.bar.set_position(millis(progress.elapsed));
        } else {
            self.bar.tick();
        }
        let rate = progress.ticks as f64 / progress.elapsed.as_secs_f64().max(1e-3);
        let mut losses = String::new();
        if progress.missed > 0 {
            losses.push_str(&format!(", {} ticks missed", progress.missed));
        }
        if progress.lost > 0 {
            losses.push_str(&format!(", {} samples lost", progress.lost));
        }
        let processes = match progress.processes {
            0 => " of no process yet".to_owned(),
            1 => String::new(),
            several => format!(" of {several} processes"),
        };
        let (seconds, samples) = (progress.elapsed.as_secs(), progress.samples);
        let text = format!("{seconds} s, {samples} samples{processes}, {rate:.0} Hz{losses}; Ctrl-C to stop");
        // What is longer than the terminal is wide would stay there. It is not filled up to that width either: what the
        // program writes then would begin in a line that the next progress is drawn over.
        let room = columns().saturating_sub(self.indent + 1);
        self.bar.set_message(console::truncate_str(&text, room, "…").into_owned());
    }

    /// Does something that may print, with the line out of the way.
    pub(super) fn with_line_hidden<T>(&self, action: impl FnOnce() -> T) -> T {
        self.bar.suspend(action)
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How wide the terminal is.
fn columns() -> usize {
    usize::from(console::Term::stderr().size().1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
