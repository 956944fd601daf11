//! A profile in a few lines, for a log, a pull request, the summary of a CI job or a language model: as text, as
//! Markdown and as JSON.
//!
//! At most 60 lines and 4 KB, whatever the names are: what does not fit is left out from the end of each list, then
//! from the middle of names. Equal profiles give equal bytes.

pub(super) mod fit;
pub(super) mod markdown;
mod text;

use std::io::{self, Write};

use crate::output::Presentation;
use crate::output::json::write_safe_json;
use crate::output::source_text::SourceText;
use crate::output::summary::Summary;
use crate::profile::Profile;

/// As what a summary, of a profile or of a difference, is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Plain text.
    Text,
    /// Markdown with tables, as GitHub and others show them.
    Markdown,
    /// An object with the same numbers, unrounded.
    Json,
}

/// Writes what is to be known of `profile`.
///
/// # Errors
/// When `writer` fails.
pub(super) fn write(
    form: Form,
    profile: &Profile,
    presentation: &Presentation,
    sources: &SourceText<'_>,
    mut writer: impl Write,
) -> io::Result<()> {
    let summary = Summary::new(profile, presentation, sources);
    match form {
        Form::Text => writer.write_all(fit::fitted(|room| text::text(&summary, room)).as_bytes())?,
        Form::Markdown => writer.write_all(fit::fitted(|room| markdown::markdown(&summary, room)).as_bytes())?,
        Form::Json => write_safe_json(&summary, true, &mut writer)?,
    }
    writer.flush()
}

#[cfg(test)]
mod tests;
