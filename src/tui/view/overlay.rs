//! Texts: help, dumps, and what the target has written.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget};

use super::theme::Theme;
use super::{put, put_right};
use crate::output::printable;
use crate::tui::fit::from_column;
use crate::tui::state::{Pane, State};

/// A text in a frame.
pub(super) fn draw_pane(pane: &Pane, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let inner = draw_frame(&pane.title, theme, area, buffer);
    let below = pane.lines.len().saturating_sub(pane.top + usize::from(inner.height));
    if below > 0 {
        let text = format!(" ↓ {below} more lines ");
        let edge = Rect { y: area.bottom() - 1, height: 1, width: area.width.saturating_sub(2), ..area };
        put_right(buffer, edge, &text, theme.accent());
    }
    let lines = pane.lines.iter().skip(pane.top);
    for (line, y) in lines.zip(inner.y..inner.bottom()) {
        put(buffer, Rect { y, height: 1, ..inner }, &from_column(line, pane.left), theme.plain());
    }
}

/// A frame over whatever was there; the room in it.
pub(super) fn draw_frame(title: &str, theme: Theme, area: Rect, buffer: &mut Buffer) -> Rect {
    Clear.render(area, buffer);
    let block = Block::bordered().title(format!(" {title} ")).title_style(theme.bold()).title_bottom(" Esc closes ");
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

/// What the target has written.
pub(super) fn draw_output(state: &State, theme: Theme, header: Rect, body: Rect, buffer: &mut Buffer) {
    let count = state.data.output.lines.len() + 1;
    let top = state.selection.output_top.unwrap_or_else(|| count.saturating_sub(usize::from(body.height)));
    let follows = if state.selection.output_top.is_none() { "follows the end" } else { "End follows" };
    let title = format!(
        "What the program has written: {} lines, from {} on; {follows}",
        state.data.output.lines.len(),
        top + 1
    );
    put(buffer, header, &title, theme.bold());
    let lines = state.data.output.lines.iter().chain(std::iter::once(&state.data.output.open)).skip(top);
    for (line, y) in lines.zip(body.y..body.bottom()) {
        let line = line.replace('\t', "    ");
        let line = printable(line.trim_end_matches('\r'));
        put(buffer, Rect { y, height: 1, ..body }, &from_column(&line, state.selection.output_left), theme.plain());
    }
}
