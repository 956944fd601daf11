//! `pyspy convert` and `pyspy diff`: recordings into other formats.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::output_file::{OutputFile, format_by_name};
use super::{below, print_note, shown_lines};
use crate::cli::{ConvertArgs, DiffArgs};
use crate::output::{Lines, Presentation, diff};
use crate::profile::{Below, Profile};

/// Runs `pyspy convert`.
///
/// # Errors
/// When the input cannot be read or the output not be written.
pub(crate) fn convert(arguments: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        Some(name) => name.into(),
        None => format_by_name(&arguments.output)?,
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
    output.finish(|writer| format.write(&profile, &presentation, &name, writer))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `pyspy diff`.
///
/// # Errors
/// As [`convert`].
pub(crate) fn diff(arguments: &DiffArgs) -> anyhow::Result<ExitCode> {
    // What is drawn is SVG; of other names only those of other kinds of files are refused.
    format_by_name(&arguments.output)?;
    let output = OutputFile::create(&arguments.output)?;
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
    let lines = match (arguments.lines, arguments.function) {
        (true, _) => Lines::Current,
        (false, true) => Lines::First,
        (false, false) => Lines::None,
    };
    let presentation = Presentation { lines, upward: arguments.upward, ..Presentation::default() };
    output.finish(|writer| diff::write(&before, &after, &presentation, writer))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a recording, or collapsed stacks.
fn read(path: &Path) -> anyhow::Result<Profile> {
    let context = || format!("cannot read {path:?}");
    let open = || File::open(path).map(BufReader::new).with_context(context);
    let recording = crate::output::read(open()?).with_context(context)?;
    if !recording.is_complete {
        print_note(&format!("{path:?} was cut off; it is shown as far as it goes"));
    }
    Ok(recording.profile)
}
