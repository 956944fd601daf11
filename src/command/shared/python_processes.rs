//! Processes that run Python: all of the machine, or those with a name.

use std::time::Duration;

use anyhow::Error;
use wildmatch::WildMatch;

use super::program_names::program_names;
use super::standard_streams::print_note;
use crate::process::{Process, all_processes};
use crate::sampler::{AttachError, Finder, whole_command_line};

/// Which processes.
#[derive(Debug, Clone, Copy)]
pub(in crate::command) enum Which<'a> {
    /// Those that have this name, or a command line like this glob.
    Called(&'a str),
    /// Every one.
    All,
}

impl Which<'_> {
    fn has(&self, process: &Process) -> bool {
        match self {
            Self::Called(glob) => is_called(process, glob),
            Self::All => true,
        }
    }

    /// That there is none of these, and which they are as the object of a sentence.
    fn in_words(&self) -> (String, String) {
        match self {
            Self::Called(glob) => (
                format!("no Python process has this name or a command line like {glob:?}"),
                format!("processes with a command line like {glob:?}"),
            ),
            Self::All => ("no process here runs Python that can be read".to_owned(), "processes".to_owned()),
        }
    }
}

/// Whether the program of a process has this name, or its whole command line matches this glob.
pub(in crate::command) fn is_called(process: &Process, glob: &str) -> bool {
    let is_word = !glob.contains(['*', '?', '/']) && !glob.contains(char::is_whitespace);
    WildMatch::new(glob).matches(&whole_command_line(process))
        || is_word && program_names(&process.command_line().unwrap_or_default()).iter().any(|name| name == glob)
}

/// All of these with a Python that we may read.
///
/// # Errors
/// When there is none, or the list of processes cannot be read.
pub(in crate::command) fn find(which: &Which<'_>, finder: &mut Finder) -> anyhow::Result<Vec<Process>> {
    let own = std::process::id();
    let (mut denied, mut others) = (0, 0);
    let mut denial = None;
    let mut processes = Vec::new();
    for pid in all_processes()? {
        let Ok(process) = Process::observe(pid) else { continue };
        if pid.unsigned_abs() == own || !which.has(&process) {
            continue;
        }
        match Process::open(pid).map_err(AttachError::from).and_then(|process| {
            // Its own patience is for one that is about to start; that the shell around us is none is seen at once.
            finder.attach(&process, None, Duration::ZERO, &|| false).map(|_| process)
        }) {
            Ok(process) => processes.push(process),
            Err(AttachError::NotReady { .. }) => processes.extend(Process::open(pid)),
            Err(error @ AttachError::Process(_)) => {
                log::debug!("{error}");
                denied += 1;
                denial.get_or_insert(error);
            }
            Err(error) => {
                log::debug!("{error}");
                others += 1;
            }
        }
    }
    let (none, these) = which.in_words();
    if processes.is_empty() {
        let counts = [(others, "run no Python"), (denied, "may not be read")].map(|(count, what)| {
            // Nothing is said of what there is none of.
            (count > 0).then(|| format!("{count} that would fit {what}"))
        });
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let what = if counts.is_empty() { none } else { format!("{none} ({})", counts.join(", ")) };
        return Err(match denial {
            Some(denial) => Error::from(denial).context(what),
            None => Error::msg(what),
        });
    }
    if denied > 0 {
        print_note(&format!("{denied} {these} may not be read"));
    }
    Ok(processes)
}
