//! Texts that are wider than the screen: moved to the left and to the right.

use unicode_width::UnicodeWidthStr;

use super::detail::detail_source;
use super::state::{Overlay, State, View};

/// Columns that a text is moved at once.
const STEP: usize = 16;

/// Moves the text that is shown, if one is; whether it is.
pub(super) fn move_text(state: &mut State, right: bool) -> bool {
    let widest = widest(state);
    let left = match &mut state.overlay {
        Overlay::Help(pane) | Overlay::Dump(pane) => &mut pane.left,
        Overlay::Detail(detail) => &mut detail.left,
        Overlay::Nothing if state.selection.view == View::Output => &mut state.selection.output_left,
        Overlay::Nothing => return false,
    };
    if !right {
        *left = left.saturating_sub(STEP);
    } else if *left + usize::from(state.size.width) < widest {
        *left += STEP;
    }
    true
}

/// The columns of the widest line, and of what stands around it.
fn widest(state: &State) -> usize {
    // Escapes and tabs make a line wider than this says, which is enough for nearly all.
    let widest = |lines: &mut dyn Iterator<Item = &String>| lines.map(|line| line.width()).max().unwrap_or(0);
    match &state.overlay {
        Overlay::Help(pane) | Overlay::Dump(pane) => widest(&mut pane.lines.iter()) + 2,
        // Before the source are its shares and its line numbers.
        Overlay::Detail(_) => widest(&mut detail_source(state).unwrap_or_default().iter()) + 2 + 17 + 7,
        Overlay::Nothing => widest(&mut state.data.output.lines.iter().chain([&state.data.output.open])),
    }
}
