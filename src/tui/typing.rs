//! Typing a filter or the name of a file into the last line.

use ratatui::crossterm::event::KeyCode;

use super::event::Effect;
use super::state::{Entry, State};

/// Types a key into what is being typed.
pub(super) fn handle_key(state: &mut State, code: KeyCode, effects: &mut Vec<Effect>) {
    match code {
        KeyCode::Enter => {
            if let Entry::Write(path) = std::mem::take(&mut state.prompt.entry)
                && !path.trim().is_empty()
            {
                path.trim().clone_into(&mut state.prompt.path);
                effects.push(Effect::Write(state.prompt.path.clone()));
            }
        }
        KeyCode::Esc => {
            if let Entry::Filter(before) = std::mem::take(&mut state.prompt.entry) {
                state.selection.filter = before;
            }
        }
        KeyCode::Backspace => match &mut state.prompt.entry {
            Entry::Filter(_) => drop(state.selection.filter.pop()),
            Entry::Write(path) => drop(path.pop()),
            Entry::Nothing => {}
        },
        KeyCode::Char(character) => type_character(state, character),
        _ => {}
    }
    state.refresh();
}

/// Types one character.
pub(super) fn type_character(state: &mut State, character: char) {
    match &mut state.prompt.entry {
        Entry::Filter(_) => state.selection.filter.push(character),
        Entry::Write(path) => path.push(character),
        Entry::Nothing => {}
    }
}
