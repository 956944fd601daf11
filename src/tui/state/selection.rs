//! What of the data is looked at, and how: the view, its order, filters, and where each view stands.

use std::collections::HashSet;

use crate::profile::{Flags, ProcessRef, ThreadRef, Total};
use crate::tui::index::{FunctionId, NodeId};

/// A view of what was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum View {
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
    /// The tasks of event loops.
    Tasks,
}

impl View {
    /// Every view, in the order of their tabs.
    pub(crate) const ALL: [Self; 8] = [
        Self::Functions,
        Self::Lines,
        Self::Threads,
        Self::Processes,
        Self::Tree,
        Self::Flame,
        Self::Output,
        Self::Tasks,
    ];

    /// What its tab says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Functions => "Functions",
            Self::Lines => "Lines",
            Self::Threads => "Threads",
            Self::Processes => "Processes",
            Self::Tree => "Tree",
            Self::Flame => "Flame",
            Self::Output => "Output",
            Self::Tasks => "Tasks",
        }
    }

    /// Its place in [`View::ALL`].
    pub(crate) fn position(self) -> usize {
        Self::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }
}

/// Which time the numbers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scope {
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
pub(crate) enum Column {
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
    pub(crate) const ALL: [Self; 4] = [Self::OwnPercent, Self::TotalPercent, Self::OwnTime, Self::TotalTime];

    /// The column to the right, or the first.
    #[must_use]
    pub(crate) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// What a row is about; stays the same when rows move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A function, of one thread where threads are apart.
    Function(Option<ThreadRef>, FunctionId),
    /// A line: a frame's number.
    Line(Option<ThreadRef>, u32),
    /// A thread.
    Thread(ThreadRef),
    /// A process.
    Process(ProcessRef),
    /// A place in the tree of calls; its root where threads are apart.
    Node(Option<ThreadRef>, NodeId),
    /// Tasks that run one function: the number of their group.
    Tasks(u64),
}

/// Where a view stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// What was chosen, wherever it moves; nothing is the first row.
    pub selected: Option<Key>,
    /// The first row that is shown.
    pub top: usize,
}

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
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
    /// Tree nodes that are not as [`Selection::tree_closed`] says.
    pub toggled: HashSet<Key>,
    /// Whether tree nodes are closed at first.
    pub tree_closed: bool,
    /// The root of the flame graph.
    pub zoom: NodeId,
    /// The selected block of the flame graph.
    pub block: NodeId,
    /// The first line of the target's output that is shown; `None` follows the end.
    pub output_top: Option<usize>,
    /// The first column of it that is shown.
    pub output_left: usize,
}

impl Selection {
    /// Whether a total is wanted.
    pub(crate) fn wants(&self, total: &Total) -> bool {
        (self.idle || total.flags.contains(Flags::ACTIVE))
            && (!self.gil_only || total.flags.contains(Flags::GIL))
            && self.only_thread.is_none_or(|thread| thread == total.thread)
    }

    /// Where the current view stands.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursors[self.view.position()]
    }

    pub(in crate::tui) fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursors[self.view.position()]
    }

    /// Whether what is below a tree node is shown.
    pub(in crate::tui) fn is_open(&self, key: Key) -> bool {
        self.tree_closed == self.toggled.contains(&key)
    }

    /// Whether a text passes the filter. Capital letters in the filter must be capital in the text.
    pub(in crate::tui) fn is_match(&self, text: &str) -> bool {
        if self.filter.chars().any(char::is_uppercase) {
            text.contains(&self.filter)
        } else {
            text.to_lowercase().contains(&self.filter)
        }
    }
}
