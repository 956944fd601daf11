//! What the mouse does: clicks and the wheel.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::event::Effect;
use super::state::{Column, Overlay, State, View};
use super::{layout, navigate};

/// Rows that one turn of the wheel moves.
const WHEEL: i32 = 3;

/// Does what a click or a turn of the wheel asks for.
pub(super) fn handle(state: &mut State, mouse: &MouseEvent, effects: &mut Vec<Effect>) {
    match mouse.kind {
        MouseEventKind::ScrollUp => navigate::step_rows(state, -WHEEL),
        MouseEventKind::ScrollDown => navigate::step_rows(state, WHEEL),
        MouseEventKind::Down(MouseButton::Left) => click(state, mouse.column, mouse.row, effects),
        _ => return,
    }
    state.refresh();
}

fn click(state: &mut State, column: u16, row: u16, effects: &mut Vec<Effect>) {
    let areas = layout::areas(state.size);
    if row == areas.tabs.y {
        let tab = layout::tabs(state).into_iter().find(|tab| (tab.x..tab.x + tab.width).contains(&column));
        if let Some(tab) = tab {
            navigate::show_view(state, tab.view);
        }
    } else if !matches!(state.overlay, Overlay::Nothing) {
    } else if row == areas.columns.y {
        let starts = layout::number_starts(state.size.width);
        let clicked = starts.windows(2).position(|pair| (pair[0]..pair[1]).contains(&column));
        if let Some(at) = clicked.filter(|_| !matches!(state.selection.view, View::Flame | View::Output)) {
            state.selection.column = Column::ALL[at];
        }
    } else if (areas.body.y..areas.body.bottom()).contains(&row) {
        let line = usize::from(row - areas.body.y);
        if state.selection.view == View::Flame {
            let level = line + state.selection.cursor().top;
            let block = state
                .blocks
                .iter()
                .find(|block| block.level as usize == level && (block.x..block.x + block.width).contains(&column));
            if let Some(node) = block.map(|block| block.node) {
                if node == state.selection.block {
                    navigate::enter_selected(state, effects);
                }
                state.selection.block = node;
            }
        } else if let Some(key) = state.rows.get(state.selection.cursor().top + line).map(|row| row.key) {
            if state.selection.cursor().selected == Some(key) {
                navigate::enter_selected(state, effects);
            }
            state.selection.cursor_mut().selected = Some(key);
        }
    }
}
