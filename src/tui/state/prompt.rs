//! What stands in the last line of the screen: what is being typed, or what there is to tell.

/// What is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    #[default]
    Nothing,
    /// The filter, which was this before.
    Filter(String),
    /// The name of a file to write to.
    Write(String),
}

/// The last line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompt {
    /// What is being typed.
    pub entry: Entry,
    /// How many characters of what is being typed stand behind the cursor.
    pub behind: usize,
    /// The file that was written to, or could not be: what is asked for next may differ little.
    pub path: String,
    /// A message, until the next key.
    pub notice: Option<String>,
}

impl Prompt {
    /// What of a text that is being typed stands before the cursor, and what behind it.
    pub(crate) fn around_cursor<'text>(&self, text: &'text str) -> (&'text str, &'text str) {
        let behind: usize = text.chars().rev().take(self.behind).map(char::len_utf8).sum();
        text.split_at(text.len() - behind)
    }
}
