//! What the last refresh worked out to be drawn: the rows of a table, or the blocks of the flame graph.

use super::selection::{Key, Scope};
use crate::tui::index::NodeId;

/// Two times: what a function took by itself and with what it called; how long a thread was active and had the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pair {
    /// The first, µs.
    pub own_us: u64,
    /// The second, µs.
    pub total_us: u64,
}

/// A row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is about.
    pub key: Key,
    /// In the last window.
    pub window: Pair,
    /// Since the reset.
    pub all: Pair,
    /// Of a thread or process: how long threads waited for the GIL in the last window, µs.
    pub gil_wait_us: u64,
    /// How deep it lies in a tree.
    pub depth: u32,
    /// Whether what is below it in a tree is shown; `None` where nothing is.
    pub open: Option<bool>,
}

impl Row {
    pub(in crate::tui) fn new(key: Key) -> Self {
        Self { key, window: Pair::default(), all: Pair::default(), gil_wait_us: 0, depth: 0, open: None }
    }

    /// The times behind the four columns, µs: the first two are shown as percentages.
    pub(crate) fn columns(&self, scope: Scope) -> [u64; 4] {
        let (percent, time) = match scope {
            Scope::Both => (self.window, self.all),
            Scope::Window => (self.window, self.window),
            Scope::Reset => (self.all, self.all),
        };
        [percent.own_us, percent.total_us, time.own_us, time.total_us]
    }

    pub(in crate::tui) fn is_empty(&self) -> bool {
        self.window == Pair::default() && self.all == Pair::default()
    }
}

/// A block of the flame graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its place in the tree of calls.
    pub node: NodeId,
    /// Its first column.
    pub x: u16,
    /// Its width in columns, at least 1.
    pub width: u16,
    /// Its level; 0 is what was zoomed to.
    pub level: u32,
    /// What it took by itself, µs.
    pub own_us: u64,
    /// What it took with all below it, µs.
    pub total_us: u64,
}
