//! `pyspy dump`: what every thread is doing right now, or was doing when a core file was written.

mod core;
mod describe;
mod live;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use crate::cli::DumpArgs;
use crate::output::dump::{write_json, write_text};

/// Runs `pyspy dump`.
///
/// # Errors
/// When the process or the core file cannot be read.
pub fn run(arguments: &DumpArgs) -> anyhow::Result<ExitCode> {
    let dump = match (&arguments.core, arguments.pid) {
        (Some(core), _) => core::dump(arguments, core)?,
        (None, Some(pid)) => live::dump(arguments, pid)?,
        (None, None) => anyhow::bail!("give a process with --pid or a core file with --core"),
    };
    let mut writer = BufWriter::new(io::stdout().lock());
    if arguments.json {
        write_json(&dump, &mut writer)?;
    } else {
        write_text(&dump, arguments.full_filenames, &mut writer)?;
    }
    writer.flush()?;
    Ok(ExitCode::SUCCESS)
}
