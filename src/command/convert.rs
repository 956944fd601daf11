//! `pyspy convert` and `pyspy diff`: recordings into other formats.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::output_file::{OutputFile, format_by_name};
use super::source_text::SourceFinder;
use super::{below, print_note, shown_lines};
use crate::cli::{ConvertArgs, DiffArgs, GrowthArg, Status};
use crate::output::{Format, GrowthLimit, Lines, Presentation, growth, write_difference};
use crate::process::quoted_path;
use crate::profile::{Below, Profile};

/// Runs `pyspy convert`.
///
/// # Errors
/// When the input cannot be read or the output not be written.
pub(crate) fn convert(arguments: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        Some(name) => name.into(),
        None => format_by_name(&arguments.output, Format::Flamegraph)?,
    };
    let output = OutputFile::create(&arguments.output)?;
    let mut profile = read(&arguments.input)?;
    if let Some(below) = &arguments.below {
        let cut = profile.below(&Below::new(below));
        below::below_notes(&profile, below, cut.metadata.counts).iter().for_each(|text| print_note(text));
        profile = cut;
    }
    let several = profile.processes().any(|(_, one)| profile.processes().any(|(_, other)| one.pid != other.pid));
    let presentation = Presentation {
        lines: shown_lines(arguments.function, arguments.nolineno),
        columns: true,
        full_file_names: arguments.full_filenames,
        threads: arguments.threads,
        processes: arguments.subprocesses || several,
        upward: arguments.upward,
    };
    let name = arguments.output.to_string_lossy();
    let sources = SourceFinder::default();
    let source = |file: &str| sources.text(file);
    output.finish(|writer| format.write(&profile, &presentation, &source, &name, writer))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `pyspy diff`.
///
/// # Errors
/// As [`convert`].
pub(crate) fn diff(arguments: &DiffArgs) -> anyhow::Result<ExitCode> {
    let format = match (arguments.format, &arguments.output) {
        (Some(name), _) => name.into(),
        (None, Some(path)) => format_by_name(path, Format::Flamegraph)?,
        (None, None) => Format::Flamegraph,
    };
    if !format.shows_differences() {
        anyhow::bail!(
            "{} cannot show differences; use flamegraph, html, summary, markdown or summary-json",
            format.name()
        );
    }
    let output = arguments.output.as_deref().map(OutputFile::create).transpose()?;
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
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

/// Reads a recording, or collapsed stacks.
fn read(path: &Path) -> anyhow::Result<Profile> {
    let context = || format!("cannot read {}", quoted_path(path));
    let open = || File::open(path).map(BufReader::new).with_context(context);
    let recording = crate::output::read(open()?).with_context(context)?;
    if !recording.is_complete {
        print_note(&format!("{} was cut off; it is shown as far as it goes", quoted_path(path)));
    }
    Ok(recording.profile)
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
