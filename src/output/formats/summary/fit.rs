//! Makes a text fit into the room that a summary may take.

use std::borrow::Cow;

use crate::output::text::shortened;

/// What a summary may take at most.
pub(in crate::output::formats) const MOST_LINES: usize = 60;
pub(in crate::output::formats) const MOST_BYTES: usize = 4096;

/// How much of each list and of each name is shown.
#[derive(Debug, Clone, Copy)]
pub(in crate::output::formats) struct Room {
    /// Rows of a list.
    pub(in crate::output::formats) rows: usize,
    /// Characters of a name, a path or a line of source.
    pub(in crate::output::formats) characters: usize,
}

impl Room {
    /// As much of a text as there is room for, the middle left out.
    pub(in crate::output::formats) fn cut<'text>(&self, text: &'text str) -> Cow<'text, str> {
        shortened(text, self.characters)
    }
}

/// The text with the most rows and the longest names that fits.
pub(in crate::output::formats) fn fitted(text: impl Fn(Room) -> String) -> String {
    let rooms = [90, 60, 40].into_iter().flat_map(|characters| {
        let rows = if characters == 90 { 4..=12 } else { 1..=6 };
        rows.rev().map(move |rows| Room { rows, characters })
    });
    let fits = |text: &String| text.len() <= MOST_BYTES && text.lines().count() <= MOST_LINES;
    // Characters have four bytes at most, so the last always fits.
    rooms.map(&text).find(fits).unwrap_or_else(|| text(Room { rows: 1, characters: 12 }))
}
