//! What the live view holds: plain data. It changes in [`update`](super::update()) and is drawn by [`draw`](super::draw()).

use std::collections::{HashMap, HashSet, VecDeque};

use super::flame::Block;
use super::index::{FunctionId, Index, NodeId, ROOT};
use super::room::Room;
use super::rows::{Key, Row};
use super::sums::Adder;
use super::window::{Collected, Facts, History, Shown, ThreadNow, Window};
use crate::profile::{Flags, Follower, Profile, SampleCounts, TextId, ThreadRef, Total};

/// Lines kept of what the target has written.
const OUTPUT_LINES: usize = 10_000;
/// The longest line kept of what the target has written, in bytes.
const OUTPUT_LINE: usize = 4000;
/// All lines kept of what the target has written, in bytes.
const OUTPUT_BYTES: usize = 4 << 20;

/// A view of what was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum View {
    /// Time by function.
    #[default]
    Functions,
    /// Time by line.
    Lines,
    /// The threads and what they are at.
    Threads,
    /// The processes.
    Processes,
    /// Who calls whom.
    Tree,
    /// The same as blocks whose width is time.
    Flame,
    /// What the target has written.
    Output,
}

impl View {
    /// Every view, in the order of their tabs.
    pub const ALL: [Self; 7] =
        [Self::Functions, Self::Lines, Self::Threads, Self::Processes, Self::Tree, Self::Flame, Self::Output];

    /// What its tab says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Functions => "Functions",
            Self::Lines => "Lines",
            Self::Threads => "Threads",
            Self::Processes => "Processes",
            Self::Tree => "Tree",
            Self::Flame => "Flame",
            Self::Output => "Output",
        }
    }

    /// Its place in [`View::ALL`].
    pub fn position(self) -> usize {
        Self::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }
}

/// Which time the numbers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Percentages of the last window, times since the reset.
    #[default]
    Both,
    /// All of the last window.
    Window,
    /// All since the reset.
    Reset,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Column {
    /// The first percentage.
    #[default]
    OwnPercent,
    /// The second percentage.
    TotalPercent,
    /// The first time.
    OwnTime,
    /// The second time.
    TotalTime,
}

impl Column {
    /// From left to right.
    pub const ALL: [Self; 4] = [Self::OwnPercent, Self::TotalPercent, Self::OwnTime, Self::TotalTime];

    /// The column to the right, or the first.
    #[must_use]
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// What is fixed for the whole run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Samples a second.
    pub rate: u32,
    /// Colours may be used.
    pub colour: bool,
    /// Whole paths of files.
    pub full_file_names: bool,
    /// Only what held the GIL, at the start.
    pub gil_only: bool,
    /// Idle threads too, at the start.
    pub idle: bool,
    /// The target's output is ours to show.
    pub has_output: bool,
    /// Only what happens below functions that match this glob; everything if it is empty.
    pub below: String,
}

/// Where a view stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor {
    /// What is selected, wherever it moves.
    pub selected: Option<Key>,
    /// The first row that is shown.
    pub top: usize,
}

/// A text to be scrolled through.
#[derive(Debug, Clone, Default)]
pub struct Pane {
    /// What it is.
    pub title: String,
    /// Its lines.
    pub lines: Vec<String>,
    /// The first line that is shown.
    pub top: usize,
    /// The first column that is shown.
    pub left: usize,
}

/// A function looked at closely.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// The function.
    pub function: FunctionId,
    /// What it took by itself and with what it called, µs.
    pub own_us: u64,
    /// See `own_us`.
    pub total_us: u64,
    /// Of which time percentages are, µs.
    pub wall_us: u64,
    /// Who calls it, with the time below that, µs; `None` is nobody.
    pub callers: Vec<(Option<FunctionId>, u64)>,
    /// Whom it calls, with the time below that, µs.
    pub callees: Vec<(FunctionId, u64)>,
    /// Of each line that was seen: by itself, with what it called, µs.
    pub lines: HashMap<u32, (u64, u64)>,
    /// The first line of source that is shown, from 0; `None` until somebody scrolls.
    pub top: Option<usize>,
    /// The first column of source that is shown.
    pub left: usize,
}

/// What lies over the view.
#[derive(Debug, Clone, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    Nothing,
    /// The keys.
    Help(Pane),
    /// What a thread is doing.
    Dump(Pane),
    /// A function's callers, callees and source.
    Detail(Box<Detail>),
}

/// What is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    #[default]
    Nothing,
    /// The filter, which was this before.
    Filter(String),
    /// The name of a file to write to.
    Write(String),
}

/// Everything.
#[derive(Debug, Default)]
pub struct State {
    /// What was fixed at the start.
    pub settings: Settings,
    /// All tables, and the totals since the reset.
    pub profile: Profile,
    /// What the numbers in windows are in the profile.
    pub(super) follower: Follower,
    /// How much there may be before it is condensed.
    pub(super) room: Room,
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
    /// How many samples went which way before the reset.
    pub counts_before: SampleCounts,
    /// Windows taken in.
    pub windows: u64,
    /// The view.
    pub view: View,
    /// Where each view stands, in the order of [`View::ALL`].
    pub cursors: [Cursor; View::ALL.len()],
    /// What is sorted by.
    pub column: Column,
    /// Smallest first.
    pub reversed: bool,
    /// Which time the numbers are of.
    pub scope: Scope,
    /// Threads apart.
    pub per_thread: bool,
    /// Only what held the GIL.
    pub gil_only: bool,
    /// Idle threads too.
    pub idle: bool,
    /// Whole paths of files.
    pub full_file_names: bool,
    /// Only this thread.
    pub only_thread: Option<ThreadRef>,
    /// Only what has this in it; lower case finds both.
    pub filter: String,
    /// Tree nodes that are not as [`State::tree_closed`] says.
    pub toggled: HashSet<Key>,
    /// Whether tree nodes are closed at first.
    pub tree_closed: bool,
    /// The root of the flame graph.
    pub zoom: NodeId,
    /// The selected block of the flame graph.
    pub block: NodeId,
    /// What lies over the view.
    pub overlay: Overlay,
    /// What is being typed.
    pub entry: Entry,
    /// The file that was written to, or could not be: what is asked for next may differ little.
    pub path: String,
    /// A message, until the next key.
    pub notice: Option<String>,
    /// How the target has ended.
    pub ended: Option<String>,
    /// Sources that were asked for; `None` where there is none.
    pub sources: HashMap<TextId, Option<Vec<String>>>,
    /// What the target has written.
    pub output: VecDeque<String>,
    /// The bytes of these lines.
    pub(super) output_bytes: usize,
    /// The line of it that is not over.
    pub output_open: String,
    /// The first line of it that is shown; `None` follows the end.
    pub output_top: Option<usize>,
    /// The first column of it that is shown.
    pub output_left: usize,
    /// The size of the terminal: columns, rows.
    pub size: (u16, u16),
    /// The rows of the view, as the last refresh worked them out.
    pub rows: Vec<Row>,
    /// The blocks of the flame graph, likewise.
    pub blocks: Vec<Block>,
    /// Buffers.
    pub(super) adder: Adder,
}

impl State {
    /// Nothing seen yet.
    pub fn new(settings: Settings, size: (u16, u16)) -> Self {
        let facts = Facts { rate_asked: settings.rate, ..Facts::default() };
        Self {
            gil_only: settings.gil_only,
            idle: settings.idle,
            full_file_names: settings.full_file_names,
            settings,
            facts,
            size,
            ..Self::default()
        }
    }

    /// The views that there are.
    pub fn views(&self) -> impl Iterator<Item = View> {
        let has_output = self.settings.has_output;
        View::ALL.into_iter().filter(move |view| *view != View::Output || has_output)
    }

    /// Takes in a window.
    pub(super) fn take_window(&mut self, window: Window) {
        let Window { delta, wall_us, facts, threads } = window;
        if delta.fresh && self.windows > 0 {
            self.condense();
        }
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
        // No thread is seen for longer than a window lasts, but the clock of its samples and that of the window do not stop at quite
        // the same moment.
        let wall_us = longest_of_a_thread(&totals).clamp(wall_us, wall_us.saturating_add(wall_us / 100));
        let all_us = self.latest.all_us.saturating_add(wall_us);
        self.latest = Collected { window: totals, window_us: wall_us, all: Vec::new(), all_us, threads };
        self.history.add(&facts);
        self.facts = facts;
    }

    /// Takes in what the target has written.
    pub(super) fn take_output(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\n' => {
                    let line = std::mem::take(&mut self.output_open);
                    self.output_bytes += line.len();
                    self.output.push_back(line);
                }
                _ if self.output_open.len() < OUTPUT_LINE => self.output_open.push(character),
                _ => {}
            }
        }
        while self.output.len() > OUTPUT_LINES || self.output_bytes > OUTPUT_BYTES {
            let Some(line) = self.output.pop_front() else { break };
            self.output_bytes -= line.len();
            self.output_top = self.output_top.map(|top| top.saturating_sub(1));
        }
    }

    /// Forgets all samples, not what is known of the program.
    pub(super) fn reset(&mut self) {
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
    pub fn shown(&self) -> Shown<'_> {
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
    pub fn counts(&self) -> SampleCounts {
        let (now, before) = (self.profile.metadata.counts, self.counts_before);
        SampleCounts {
            taken: now.taken.saturating_sub(before.taken),
            stopped: now.stopped.saturating_sub(before.stopped),
            unproven: now.unproven.saturating_sub(before.unproven),
            outside: now.outside.saturating_sub(before.outside),
            lost: now.lost.saturating_sub(before.lost),
        }
    }

    /// Whether a total is wanted.
    pub fn wants(&self, total: &Total) -> bool {
        (self.idle || total.flags.contains(Flags::ACTIVE))
            && (!self.gil_only || total.flags.contains(Flags::GIL))
            && self.only_thread.is_none_or(|thread| thread == total.thread)
    }

    /// Where the current view stands.
    pub fn cursor(&self) -> Cursor {
        self.cursors[self.view.position()]
    }

    pub(super) fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursors[self.view.position()]
    }

    /// The selected row.
    pub fn selected_row(&self) -> Option<usize> {
        let selected = self.cursor().selected?;
        self.rows.iter().position(|row| row.key == selected)
    }

    /// The function that is selected, in views that have functions.
    pub fn selected_function(&self) -> Option<FunctionId> {
        if self.view == View::Flame {
            return (self.block != ROOT).then(|| self.index.node(self.block).function);
        }
        match self.cursor().selected? {
            Key::Function(_, function) => Some(function),
            Key::Line(_, frame) => Some(self.index.frame_function(frame)),
            Key::Node(_, node) if node != ROOT => Some(self.index.node(node).function),
            _ => None,
        }
    }

    /// The thread that is selected.
    pub fn selected_thread(&self) -> Option<ThreadRef> {
        let of_row = match self.cursor().selected {
            Some(Key::Thread(thread)) => Some(thread),
            Some(Key::Function(thread, _) | Key::Line(thread, _) | Key::Node(thread, _)) => thread,
            _ => None,
        };
        of_row.or(self.only_thread)
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
