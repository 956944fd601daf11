//! `pyspy convert`: a recording into another format.

use std::process::ExitCode;

use super::shared::arguments::shown_lines;
use super::shared::below_notes::below_notes;
use super::shared::output_file::{OutputFile, format_by_name};
use super::shared::profile_file::read_profile;
use super::shared::source_finder::SourceFinder;
use super::shared::standard_streams::print_note;
use crate::cli::ConvertArgs;
use crate::output::{Format, Presentation};
use crate::profile::Below;

/// Runs `pyspy convert`.
///
/// # Errors
/// When the input cannot be read or the output not be written.
pub(crate) fn run(arguments: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        Some(name) => name.into(),
        None => format_by_name(&arguments.output, Format::Flamegraph)?,
    };
    let output = OutputFile::create(&arguments.output)?;
    let mut profile = read_profile(&arguments.input)?;
    if let Some(below) = &arguments.below {
        let cut = profile.below(&Below::new(below));
        below_notes(&profile, below, cut.metadata.counts).iter().for_each(|text| print_note(text));
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
