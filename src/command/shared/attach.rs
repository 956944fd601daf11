//! Waiting for the interpreter, for all commands that sample.

use std::time::Duration;

use anyhow::Context;

use super::program_ending;
use super::standard_streams::print_note;
use crate::output::printable;
use crate::process::{Process, SpawnedProgram};
use crate::python::layout::Layout;
use crate::sampler::{AttachError, Finder, PATIENCE_RUNNING, PATIENCE_STARTED};

/// How long the exit status of a started program is waited for once its process is gone.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// Waits until each process shows its interpreter; `program` is what they belong to if we started it. `last_words`
/// tells what such a program has written, if it is ours to tell.
///
/// # Errors
/// When one shows none in time, cannot be read or has ended, or `cancelled` said to stop waiting.
pub(in crate::command) fn wait_for_python(
    processes: &[Process],
    program: Option<&mut SpawnedProgram>,
    finder: &mut Finder,
    cancelled: &dyn Fn() -> bool,
    last_words: &dyn Fn() -> Option<String>,
) -> anyhow::Result<()> {
    let started = program.is_some();
    let orphans = program.as_deref().map(SpawnedProgram::orphans);
    let patience = if started { PATIENCE_STARTED } else { PATIENCE_RUNNING };
    for process in processes {
        match finder.attach(process, orphans.as_ref(), patience, cancelled) {
            Ok(attached) => note_if_newer(&attached.runtime.layout),
            Err(error @ AttachError::Exited { .. }) if started => {
                let status = program.and_then(|program| program.wait_at_most(STATUS_WAIT).ok().flatten());
                let how =
                    status.map(|status| format!(" ({})", program_ending::status_text(status))).unwrap_or_default();
                let words = last_words().map(|words| format!(": {words}")).unwrap_or_default();
                return Err(error).context(format!("the program ended too soon{how}{words}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Says as whom a program will be started, if not as ourselves.
pub(in crate::command) fn note_user() {
    if let Some(user) = SpawnedProgram::user() {
        print_note(&format!(
            "the program runs as {}, who called sudo; `sudo env -u SUDO_UID pyspy` runs it as root",
            printable(&user)
        ));
    }
}

/// Says so when an interpreter is of a version that came after us.
pub(in crate::command) fn note_if_newer(layout: &Layout) {
    if layout.tentative {
        let version = layout.version;
        print_note(&format!(
            "Python {version} is newer than what this pyspy knows; trusting the interpreter's own offsets"
        ));
    }
}
