//! Where what is on the screen, for drawing and for the mouse alike.

use ratatui::layout::{Rect, Size};

use super::state::{State, View};

/// The smallest terminal that the views fit in.
pub(crate) const SMALLEST: Size = Size { width: 40, height: 8 };
/// From this width on the times are shown besides the percentages.
const WIDE: u16 = 70;

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

/// Lines of the header on a screen of so many: where there are few, what is below it needs them more.
pub(crate) fn header_lines(height: u16) -> u16 {
    match height {
        18.. => 5,
        12.. => 3,
        _ => 2,
    }
}

/// The first columns of the numbers before the names on a screen of this width: of the two percentages, and where there
/// is room of the two times; then where the last one ends.
pub(crate) fn number_starts(width: u16) -> &'static [u16] {
    let starts = &[0, 8, 16, 26, 36];
    if width >= WIDE { starts } else { &starts[..3] }
}

/// How many columns the numbers take.
pub(crate) fn numbers_width(width: u16) -> u16 {
    number_starts(width).last().copied().unwrap_or(0)
}

/// Where the parts are on a screen of this size.
pub(crate) fn areas(size: Size) -> Areas {
    let Size { width, height } = size;
    let line = |y: u16, lines: u16| {
        let y = y.min(height);
        Rect { x: 0, y, width, height: lines.min(height - y) }
    };
    let header = header_lines(height);
    let body_lines = height.saturating_sub(header + 3);
    Areas {
        header: line(0, header),
        tabs: line(header, 1),
        columns: line(header + 1, 1),
        body: line(header + 2, body_lines),
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
