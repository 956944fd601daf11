//! Where what is on the screen, for drawing and for the mouse alike.

use ratatui::layout::{Rect, Size};

use super::state::{State, View};

/// The smallest terminal that the views fit in.
pub(crate) const SMALLEST: Size = Size { width: 80, height: 24 };
/// Lines of the header.
pub(crate) const HEADER: u16 = 5;
/// Width of the two percentages and the two times before the names.
pub(crate) const NUMBERS: u16 = 36;

/// The parts of the screen, from top to bottom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    /// Facts and sparklines.
    pub header: Rect,
    /// The names of the views.
    pub tabs: Rect,
    /// The names of the columns.
    pub columns: Rect,
    /// The rows.
    pub body: Rect,
    /// Keys, a message or what is being typed.
    pub footer: Rect,
}

/// Where the parts are on a screen of this size.
pub(crate) fn areas(size: Size) -> Areas {
    let Size { width, height } = size;
    let line = |y: u16, lines: u16| {
        let y = y.min(height);
        Rect { x: 0, y, width, height: lines.min(height - y) }
    };
    let body_lines = height.saturating_sub(HEADER + 3);
    Areas {
        header: line(0, HEADER),
        tabs: line(HEADER, 1),
        columns: line(HEADER + 1, 1),
        body: line(HEADER + 2, body_lines),
        footer: line(height.saturating_sub(1), 1),
    }
}

/// How many rows are shown.
pub(crate) fn body_rows(size: Size) -> usize {
    usize::from(areas(size).body.height)
}

/// The name of a view, to be clicked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tab {
    /// The view.
    pub view: View,
    /// The first column.
    pub x: u16,
    /// How many columns.
    pub width: u16,
}

/// The tab of each view that there is.
pub(crate) fn tabs(state: &State) -> Vec<Tab> {
    let mut x = 0;
    let mut tabs = Vec::new();
    for view in state.views() {
        let width = tab_text(view).len() as u16;
        tabs.push(Tab { view, x, width });
        x += width;
    }
    tabs
}

/// What a view's tab says.
pub(crate) fn tab_text(view: View) -> String {
    format!(" F{} {} ", view.position() + 1, view.name())
}

/// The first columns of the four numbers; each ends where the next begins.
pub(crate) const NUMBER_STARTS: [u16; 5] = [0, 8, 16, 26, NUMBERS];
