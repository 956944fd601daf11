//! The line that shows how a recording stands: on standard error, and only if that is a terminal to which nobody else
//! writes. Each time it is drawn it clears the line that the cursor is in, whoever has begun that.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::sampler::Progress;

/// Columns from which on there is room for a bar beside what the line says.
const WIDE: u16 = 80;

/// The line.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    is_bounded: bool,
}

impl Bar {
    pub(super) fn new(duration: Option<Duration>, is_hidden: bool) -> Self {
        let bar = match duration {
            _ if is_hidden => ProgressBar::hidden(),
            Some(duration) => ProgressBar::new(millis(duration)),
            None => ProgressBar::new_spinner(),
        };
        // In one line, or what is longer than the terminal would stay there.
        let is_wide = console::Term::stderr().size().1 >= WIDE;
        let template = match duration {
            Some(_) if is_wide => "{bar:30} {wide_msg}",
            Some(_) => "{wide_msg}",
            None => "{spinner} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, is_bounded: duration.is_some() }
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
        self.bar
            .set_message(format!("{seconds} s, {samples} samples{processes}, {rate:.0} Hz{losses}; Ctrl-C to stop"));
    }

    /// Does something that may print, with the line out of the way.
    pub(super) fn with_line_hidden<T>(&self, action: impl FnOnce() -> T) -> T {
        self.bar.suspend(action)
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
