//! Source text of the program, for the formats that show it. This layer opens no files: whoever writes gives it a
//! function that does.

/// Gives the text of a source file by the name that a frame has for it; `None` where there is none. The text is that of
/// now, which may not be what the program ran.
pub(crate) type SourceText<'give> = dyn Fn(&str) -> Option<String> + 'give;

/// Source text of nothing.
pub(crate) fn no_source(_: &str) -> Option<String> {
    None
}

/// The lines of a file that are asked for again and again.
pub(super) struct SourceFiles<'give> {
    give: &'give SourceText<'give>,
    files: std::collections::HashMap<String, Option<Vec<String>>>,
}

impl<'give> SourceFiles<'give> {
    pub(super) fn new(give: &'give SourceText<'give>) -> Self {
        Self { give, files: std::collections::HashMap::new() }
    }

    /// A line, counted from 1, without spaces around it and safe to write.
    pub(super) fn line(&mut self, file: &str, number: u32) -> Option<String> {
        let lines = self.lines(file)?;
        let text = lines.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        Some(super::printable(text.trim()).into_owned()).filter(|text| !text.is_empty())
    }

    /// All lines of a file.
    pub(super) fn lines(&mut self, file: &str) -> Option<&[String]> {
        if !self.files.contains_key(file) {
            let text = (self.give)(file);
            self.files.insert(file.to_owned(), text.map(|text| text.lines().map(str::to_owned).collect()));
        }
        self.files.get(file)?.as_deref()
    }
}
