//! Typing a filter or the name of a file into the last line, with the keys that shells have for it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::event::Effect;
use super::state::{Entry, State};

/// Types a key into what is being typed.
pub(super) fn handle_key(state: &mut State, key: &KeyEvent, effects: &mut Vec<Effect>) {
    match key.code {
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
        _ => edit_text(state, key),
    }
    state.refresh();
}

/// Types one character.
pub(super) fn type_character(state: &mut State, character: char) {
    with_text(state, |before, _| before.push(character));
}

fn edit_text(state: &mut State, key: &KeyEvent) {
    let letter = match key.code {
        KeyCode::Char(letter) if key.modifiers.contains(KeyModifiers::CONTROL) => Some(letter.to_ascii_lowercase()),
        _ => None,
    };
    with_text(state, |before, behind| match (key.code, letter) {
        (KeyCode::Home, _) | (_, Some('a')) => behind.insert_str(0, &std::mem::take(before)),
        (KeyCode::End, _) | (_, Some('e')) => before.push_str(&std::mem::take(behind)),
        (KeyCode::Left, _) | (_, Some('b')) => {
            behind.insert_str(0, &before.pop().map(String::from).unwrap_or_default());
        }
        (KeyCode::Right, _) | (_, Some('f')) => before.push_str(&first_removed(behind)),
        (KeyCode::Backspace, _) | (_, Some('h')) => drop(before.pop()),
        (KeyCode::Delete, _) | (_, Some('d')) => drop(first_removed(behind)),
        (_, Some('u')) => before.clear(),
        (_, Some('k')) => behind.clear(),
        (_, Some('w')) => {
            let without_blanks = before.trim_end().len();
            let word = before[..without_blanks].rfind(char::is_whitespace);
            // The first character of a word stands behind the blank, however many bytes that has.
            let start = word.map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
            before.truncate(start);
        }
        (KeyCode::Char(character), None) => before.push(character),
        _ => {}
    });
}

/// The first character, which is no part of the text any more.
fn first_removed(text: &mut String) -> String {
    if text.is_empty() { String::new() } else { text.remove(0).to_string() }
}

/// Changes what is being typed, given as what stands before the cursor and what behind it.
fn with_text(state: &mut State, change: impl FnOnce(&mut String, &mut String)) {
    let mut nothing = String::new();
    let text = match &mut state.prompt.entry {
        Entry::Filter(_) => &mut state.selection.filter,
        Entry::Write(path) => path,
        Entry::Nothing => &mut nothing,
    };
    let (mut before, mut behind) = {
        let behind: usize = text.chars().rev().take(state.prompt.behind).map(char::len_utf8).sum();
        let (before, behind) = text.split_at(text.len() - behind);
        (before.to_owned(), behind.to_owned())
    };
    change(&mut before, &mut behind);
    *text = before + &behind;
    state.prompt.behind = behind.chars().count();
}
