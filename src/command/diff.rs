//! `pyspy diff`: what changed between two recordings.

use std::path::Path;
use std::process::ExitCode;

use super::shared::output_file::{OutputFile, format_by_name};
use super::shared::profile_file::read_profile;
use super::shared::source_finder::SourceFinder;
use super::shared::standard_streams::print_note;
use crate::cli::{DiffArgs, GrowthArg, Status};
use crate::output::{Format, GrowthLimit, Lines, Presentation, growth, write_difference};

/// Runs `pyspy diff`.
///
/// # Errors
/// When an input cannot be read or the output not be written.
pub(crate) fn run(arguments: &DiffArgs) -> anyhow::Result<ExitCode> {
    let format = match (arguments.format, &arguments.output) {
        (Some(name), _) => name.into(),
        (None, Some(path)) => format_by_name(path, Format::Flamegraph)?,
        (None, None) => Format::Summary,
    };
    if !format.shows_differences() {
        anyhow::bail!(
            "{} cannot show differences; use flamegraph, html, summary, markdown or summary-json",
            format.name()
        );
    }
    // With limits only what they are about is told, unless more is asked for.
    let shown = arguments.fail_if.is_empty().then(|| Path::new("-"));
    let output = arguments.output.as_deref().or(shown).map(OutputFile::create).transpose()?;
    let (before, after) = (read_profile(&arguments.before)?, read_profile(&arguments.after)?);
    let lines = match (arguments.lines, arguments.function) {
        (true, _) => Lines::Current,
        (false, true) => Lines::First,
        (false, false) => Lines::None,
    };
    let limits = arguments.fail_if.iter().map(|GrowthArg { glob, by }| GrowthLimit { glob: glob.clone(), by: *by });
    let grown = growth(&before, &after, lines, &limits.collect::<Vec<_>>());
    let checks: Vec<String> = grown.iter().flat_map(|grown| grown.sentences.clone()).collect();
    if let Some(output) = output {
        let presentation = Presentation { lines, upward: arguments.upward, ..Presentation::default() };
        let sources = SourceFinder::default();
        let source = |file: &str| sources.text(file);
        output.finish(|writer| write_difference(format, [&before, &after], &presentation, &source, &checks, writer))?;
    }
    checks.iter().for_each(|check| print_note(check));
    let status = if grown.iter().any(|grown| grown.has_failed) { Status::Grown } else { Status::Done };
    Ok(ExitCode::from(status as u8))
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};

    use super::*;
    use crate::cli::{Cli, FormatName};

    #[test]
    fn diff_takes_the_formats_that_show_differences_and_no_others() {
        for name in FormatName::value_variants() {
            let word = name.to_possible_value().unwrap();
            let arguments = ["pyspy", "diff", "before", "after", "-o", "file", "-f", word.get_name()];
            assert_eq!(Cli::try_parse_from(arguments).is_ok(), Format::from(*name).shows_differences(), "{name:?}");
        }
    }
}
