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

/// Writes `profile` as text.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write(
    profile: &Profile,
    presentation: &Presentation,
    sources: &SourceText<'_>,
    mut writer: impl Write,
) -> io::Result<()> {
    let summary = Summary::new(profile, presentation, sources);
    writer.write_all(fit::fitted(|room| text::text(&summary, room)).as_bytes())?;
    writer.flush()
}

/// Writes `profile` as Markdown with tables, as GitHub and others show them.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_markdown(
    profile: &Profile,
    presentation: &Presentation,
    sources: &SourceText<'_>,
    mut writer: impl Write,
) -> io::Result<()> {
    let summary = Summary::new(profile, presentation, sources);
    writer.write_all(fit::fitted(|room| markdown::markdown(&summary, room)).as_bytes())?;
    writer.flush()
}

/// Writes `profile` as JSON: an object with the same numbers, unrounded.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_json(
    profile: &Profile,
    presentation: &Presentation,
    sources: &SourceText<'_>,
    mut writer: impl Write,
) -> io::Result<()> {
    let summary = Summary::new(profile, presentation, sources);
    write_safe_json(&summary, true, &mut writer)?;
    writer.flush()
}

#[cfg(test)]
mod tests;
