//! The flame graph in blocks.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::draw_empty_reason;
use super::theme::Theme;
use super::{percent, put, seconds};
use crate::tui::index::ROOT;
use crate::tui::names;
use crate::tui::state::{Scope, State};

pub(super) fn draw(state: &State, theme: Theme, header: Rect, body: Rect, buffer: &mut Buffer) {
    let shown = state.data.shown();
    let (wall_us, of) = match state.selection.scope {
        Scope::Window => (shown.window_us, "the last window"),
        Scope::Both | Scope::Reset => (shown.all_us, "all since reset"),
    };
    let selected = state.blocks.iter().find(|block| block.node == state.selection.block).or(state.blocks.first());
    let top = selected.map_or(0, |block| block.level.saturating_sub(u32::from(body.height).saturating_sub(1)));
    for block in &state.blocks {
        let Some(level) = block.level.checked_sub(top).filter(|level| *level < u32::from(body.height)) else {
            continue;
        };
        let place = Rect { x: body.x + block.x, y: body.y + level as u16, width: block.width, height: 1 };
        let place = place.intersection(body);
        let is_selected = selected.is_some_and(|selected| selected.node == block.node);
        let name = if block.node == ROOT {
            "all".to_owned()
        } else {
            names::short_function(state, state.data.index.node(block.node).function).into_owned()
        };
        let is_found = state.selection.filter.is_empty()
            || block.node != ROOT && {
                state.selection.is_match(&names::function(state, state.data.index.node(block.node).function))
            };
        let mut style = theme.block(if block.node == ROOT { 0 } else { state.data.index.node(block.node).function });
        if !is_found {
            style = theme.dim();
        }
        if is_selected {
            style = theme.plain().patch(theme.selected()).patch(theme.bold());
        }
        buffer.set_style(place, style);
        // A mark where the block begins tells neighbours of one colour apart.
        put(buffer, Rect { width: 1, ..place }, "▏", style);
        if place.width > 2 {
            put(buffer, Rect { x: place.x + 1, width: place.width - 1, ..place }, &name, style);
        }
    }
    let text = match selected {
        None => String::new(),
        Some(block) => {
            let name = if block.node == ROOT {
                "all".to_owned()
            } else {
                names::function(state, state.data.index.node(block.node).function)
            };
            let (total, own) = (percent(block.total_us, wall_us), percent(block.own_us, wall_us));
            format!("{name}  {total:.1}% {} in all, {own:.1}% itself, of {of}", seconds(block.total_us))
        }
    };
    put(buffer, header, &text, theme.bold());
    if state.blocks.is_empty() {
        draw_empty_reason(state, theme, body, buffer);
    }
}
