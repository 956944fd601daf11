//! What the live view holds: plain data. It changes in [`update`](super::update()) and is drawn by
//! [`draw`](super::draw()).
//!
//! Apart lie what was collected ([`Data`]), what of it is looked at ([`Selection`]), what lies over it ([`Overlay`]),
//! and the last line ([`Prompt`]).

mod data;
mod drawn;
mod overlay;
mod prompt;
mod selection;

pub(crate) use data::Data;
pub(crate) use drawn::{Block, Pair, Row};
pub(crate) use overlay::{Detail, Overlay, Pane};
pub(crate) use prompt::{Entry, Prompt};
pub(crate) use selection::{Column, Key, Scope, Selection, View};

use ratatui::layout::Size;

use super::index::{FunctionId, ROOT};
use super::sums::Adder;
use super::window::Facts;
use crate::profile::ThreadRef;

/// What is fixed for the whole run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
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

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What was fixed at the start.
    pub settings: Settings,
    /// What was collected.
    pub data: Data,
    /// What of it is looked at.
    pub selection: Selection,
    /// What lies over the view.
    pub overlay: Overlay,
    /// The last line.
    pub prompt: Prompt,
    /// The size of the terminal.
    pub size: Size,
    /// The rows of the view, as the last refresh worked them out.
    pub rows: Vec<Row>,
    /// The blocks of the flame graph, likewise.
    pub blocks: Vec<Block>,
    /// Buffers.
    pub(super) adder: Adder,
}

impl State {
    /// Nothing seen yet.
    pub(crate) fn new(settings: Settings, size: Size) -> Self {
        let facts = Facts { rate_asked: settings.rate, ..Facts::default() };
        let selection = Selection {
            gil_only: settings.gil_only,
            idle: settings.idle,
            full_file_names: settings.full_file_names,
            ..Selection::default()
        };
        let mut state = Self { settings, selection, size, ..Self::default() };
        state.data.facts = facts;
        state
    }

    /// The views that there are.
    pub(crate) fn views(&self) -> impl Iterator<Item = View> {
        let (has_output, has_tasks) = (self.settings.has_output, self.data.has_tasks);
        View::ALL.into_iter().filter(move |view| match view {
            View::Output => has_output,
            View::Tasks => has_tasks,
            _ => true,
        })
    }

    /// What is selected: until somebody chooses, the first row, whatever it is.
    pub(crate) fn selected_key(&self) -> Option<Key> {
        self.selection.cursor().selected.or_else(|| self.rows.first().map(|row| row.key))
    }

    /// The selected row.
    pub(crate) fn selected_row(&self) -> Option<usize> {
        let selected = self.selected_key()?;
        self.rows.iter().position(|row| row.key == selected)
    }

    /// The thread that is selected.
    pub(crate) fn selected_thread(&self) -> Option<ThreadRef> {
        let of_row = match self.selected_key() {
            Some(Key::Thread(thread)) => Some(thread),
            Some(Key::Function(thread, _) | Key::Line(thread, _) | Key::Node(thread, _)) => thread,
            _ => None,
        };
        of_row.or(self.selection.only_thread)
    }

    /// The function that is selected, in views that have functions.
    pub(crate) fn selected_function(&self) -> Option<FunctionId> {
        let index = &self.data.index;
        if self.selection.view == View::Flame {
            return (self.selection.block != ROOT).then(|| index.node(self.selection.block).function);
        }
        match self.selected_key()? {
            Key::Function(_, function) => Some(function),
            Key::Line(_, frame) => Some(index.frame_function(frame)),
            Key::Node(_, node) if node != ROOT => Some(index.node(node).function),
            _ => None,
        }
    }
}
