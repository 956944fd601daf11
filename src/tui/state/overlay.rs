//! What lies over a view: the keys, what a thread is doing, or a function looked at closely.

use std::collections::HashMap;

use super::drawn::Pair;
use crate::tui::index::FunctionId;

/// A text to be scrolled through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pane {
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
pub(crate) struct Detail {
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
    /// What each line took that was seen.
    pub lines: HashMap<u32, Pair>,
    /// The first line of source that is shown, from 0; `None` until somebody scrolls.
    pub top: Option<usize>,
    /// The first column of source that is shown.
    pub left: usize,
}

/// What lies over the view.
#[derive(Debug, Clone, Default)]
pub(crate) enum Overlay {
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
