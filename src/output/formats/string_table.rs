//! The table of texts that messages name by position; its first entry is the empty text.

use std::collections::HashMap;

/// Texts, each once.
pub(super) struct StringTable {
    /// In the order of their positions.
    pub(super) all: Vec<String>,
    positions: HashMap<String, usize>,
}

impl Default for StringTable {
    fn default() -> Self {
        Self { all: vec![String::new()], positions: HashMap::from([(String::new(), 0)]) }
    }
}

impl StringTable {
    /// The position of `text`.
    pub(super) fn intern(&mut self, text: &str) -> usize {
        if let Some(position) = self.positions.get(text) {
            return *position;
        }
        self.all.push(text.to_owned());
        self.positions.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}
