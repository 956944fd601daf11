//! Interned texts.

use std::collections::HashMap;
use std::sync::Arc;

use super::index;

/// The longest text that is kept, in bytes. A name from the target can be of any length; past this it is cut and ends
/// in `…`.
pub(crate) const MAX_TEXT: usize = 4096;

/// All texts together, in bytes. A target that makes names without end stops adding to the profile there.
const MAX_ALL_TEXTS: usize = 64 << 20;

/// An interned text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TextId(pub(super) u32);

impl TextId {
    /// The empty text: what is not known.
    pub const EMPTY: Self = Self(0);

    /// The number of this text; see [`Profile::texts_from`](super::Profile::texts_from).
    pub fn number(self) -> u32 {
        self.0
    }
}

#[derive(Debug)]
pub(super) struct TextTable {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, TextId>,
    bytes: usize,
    full: bool,
}

impl Default for TextTable {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { texts: vec![empty.clone()], ids: HashMap::from([(empty, TextId::EMPTY)]), bytes: 0, full: false }
    }
}

impl TextTable {
    pub(super) fn intern(&mut self, text: &str) -> TextId {
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            return self.intern(&format!("{}…", &text[..end]));
        }
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        if self.bytes + text.len() > MAX_ALL_TEXTS {
            self.full = true;
            return TextId::EMPTY;
        }
        let id = TextId(index(self.texts.len()));
        let text: Arc<str> = Arc::from(text);
        // The text, its two counters, and the two places that point to it.
        self.bytes += text.len() + 64;
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    pub(super) fn get(&self, id: TextId) -> &str {
        &self.texts[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// What all of them take, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }
}
