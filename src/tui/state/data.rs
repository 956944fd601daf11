//! What was collected: samples, the numbers of the header, sources, and what the target has written.

use std::collections::{HashMap, VecDeque};

use crate::profile::{Follower, Profile, SampleCounts, TextId, ThreadRef, Total};
use crate::tui::index::Index;
use crate::tui::memory_limit::Room;
use crate::tui::window::{Collected, Facts, History, Shown, ThreadNow, Window};

/// Lines kept of what the target has written.
const OUTPUT_LINES: usize = 10_000;
/// The longest line kept of what the target has written, in bytes.
const OUTPUT_LINE: usize = 4000;
/// All lines kept of what the target has written, in bytes.
const OUTPUT_BYTES: usize = 4 << 20;

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// All tables, and the totals since the reset.
    pub profile: Profile,
    /// What the numbers in windows are in the profile.
    follower: Follower,
    /// How much there may be before it is condensed.
    pub(in crate::tui) room: Room,
    /// What the views know of the tables.
    pub index: Index,
    /// The last window; `all` is empty.
    pub latest: Collected,
    /// What is shown instead of the latest.
    pub frozen: Option<Collected>,
    /// The header's numbers.
    pub facts: Facts,
    /// Their past.
    pub history: History,
    /// Tasks of event loops have been seen.
    pub has_tasks: bool,
    /// How many samples went which way before the reset.
    counts_before: SampleCounts,
    /// Windows taken in.
    pub windows: u64,
    /// Sources that were asked for; `None` where there is none.
    pub sources: HashMap<TextId, Option<Vec<String>>>,
    /// What the target has written.
    pub output: Output,
    /// How the target has ended.
    pub ended: Option<String>,
}

impl Data {
    /// Adds a window of samples. One whose tables have begun anew needs a profile that was condensed before.
    pub(in crate::tui) fn add_window(&mut self, window: Window) {
        let Window { delta, wall_us, facts, threads } = window;
        self.follower.take_in(&mut self.profile, &delta);
        self.index.extend(&self.profile);
        self.windows += 1;
        let totals = self.follower.totals(&delta.totals);
        for total in &totals {
            self.profile.add_total(*total);
        }
        let here = |now: ThreadNow| {
            let thread = self.follower.thread_here(now.thread)?;
            Some(ThreadNow { thread, stack: self.follower.stack(now.stack), ..now })
        };
        let threads = threads.into_iter().filter_map(here).collect();
        // No thread is seen for longer than a window lasts, but the clock of its samples and that of the window do not
        // stop at quite the same moment.
        let wall_us = longest_of_a_thread(&totals).clamp(wall_us, wall_us.saturating_add(wall_us / 100));
        let all_us = self.latest.all_us.saturating_add(wall_us);
        self.latest = Collected { window: totals, window_us: wall_us, all: Vec::new(), all_us, threads };
        self.history.add(&facts);
        self.has_tasks |= !facts.tasks.is_empty();
        self.facts = facts;
    }

    /// Holds what is shown as it is now, or goes on with what comes.
    pub(in crate::tui) fn toggle_frozen(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => {
                let mut frozen = self.latest.clone();
                frozen.all = self.profile.totals().to_vec();
                Some(frozen)
            }
        };
    }

    /// Forgets all samples, not what is known of the program.
    pub(in crate::tui) fn forget_samples(&mut self) {
        self.profile.take_totals();
        self.counts_before = self.profile.metadata.counts;
        self.latest.window.clear();
        self.latest.window_us = 0;
        self.latest.all_us = 0;
        if self.frozen.is_some() {
            self.frozen = Some(self.latest.clone());
        }
    }

    /// The samples to show: of the last window with their wall time, and since the reset with theirs.
    pub(crate) fn shown(&self) -> Shown<'_> {
        match &self.frozen {
            Some(frozen) => Shown {
                window: &frozen.window,
                window_us: frozen.window_us,
                all: &frozen.all,
                all_us: frozen.all_us,
                threads: &frozen.threads,
            },
            None => Shown {
                window: &self.latest.window,
                window_us: self.latest.window_us,
                all: self.profile.totals(),
                all_us: self.latest.all_us,
                threads: &self.latest.threads,
            },
        }
    }

    /// How many samples went which way since the reset.
    pub(crate) fn counts(&self) -> SampleCounts {
        let (now, before) = (self.profile.metadata.counts, self.counts_before);
        SampleCounts {
            taken: now.taken.saturating_sub(before.taken),
            stopped: now.stopped.saturating_sub(before.stopped),
            unproven: now.unproven.saturating_sub(before.unproven),
            cut: now.cut.saturating_sub(before.cut),
            outside: now.outside.saturating_sub(before.outside),
            in_tasks: now.in_tasks.saturating_sub(before.in_tasks),
            unproven_tasks: now.unproven_tasks.saturating_sub(before.unproven_tasks),
            lost: now.lost.saturating_sub(before.lost),
        }
    }
}

/// What the target has written, as lines; the oldest go when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Whole lines.
    pub lines: VecDeque<String>,
    /// The bytes of these lines.
    bytes: usize,
    /// The line that is not over.
    pub open: String,
}

impl Output {
    /// Adds what has been written; how many old lines had to go.
    pub(in crate::tui) fn append(&mut self, text: &str) -> usize {
        for character in text.chars() {
            match character {
                '\n' => {
                    let line = std::mem::take(&mut self.open);
                    self.bytes += line.len();
                    self.lines.push_back(line);
                }
                _ if self.open.len() < OUTPUT_LINE => self.open.push(character),
                _ => {}
            }
        }
        let mut gone = 0;
        while self.lines.len() > OUTPUT_LINES || self.bytes > OUTPUT_BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.len();
            gone += 1;
        }
        gone
    }
}

/// The time of the thread that was seen the longest, µs.
fn longest_of_a_thread(totals: &[Total]) -> u64 {
    let mut of_threads: HashMap<ThreadRef, u64> = HashMap::new();
    for total in totals {
        *of_threads.entry(total.thread).or_default() += total.weight_us;
    }
    of_threads.into_values().max().unwrap_or(0)
}
