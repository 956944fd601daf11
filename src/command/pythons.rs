//! Processes that run Python: all of the machine, or those with a name.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::Error;
use wildmatch::WildMatch;

use super::print_note;
use crate::process::{Process, all_processes};
use crate::sampler::{AttachError, Finder, whole_command_line};

/// Which processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
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

/// What the program of a process is called: by its own name; as the script that Python runs, with its ending or
/// without; as the module that Python runs.
fn program_names(command_line: &[OsString]) -> Vec<String> {
    let base = |word: &OsString| {
        let name = Path::new(word).file_name().unwrap_or(word);
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = command_line.first().map(base).into_iter().collect();
    let mut words = command_line.iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-m") => {
                names.extend(words.next().map(|module| module.to_string_lossy().into_owned()));
                break;
            }
            Some("-c") => break,
            // Options of Python's that have a value of their own.
            Some("-W" | "-X" | "--check-hash-based-pycs") => {
                words.next();
            }
            Some(option) if option.starts_with('-') => {}
            _ => {
                let name = base(word);
                names.extend(name.strip_suffix(".py").map(str::to_owned));
                names.push(name);
                break;
            }
        }
    }
    names
}

/// Whether the program of a process has this name, or its whole command line matches this glob.
pub(super) fn is_called(process: &Process, glob: &str) -> bool {
    let is_word = !glob.contains(['*', '?', '/']) && !glob.contains(char::is_whitespace);
    WildMatch::new(glob).matches(&whole_command_line(process))
        || is_word && program_names(&process.command_line().unwrap_or_default()).iter().any(|name| name == glob)
}

/// All of these with a Python that we may read.
///
/// # Errors
/// When there is none, or the list of processes cannot be read.
pub(super) fn find(which: &Which<'_>, finder: &mut Finder) -> anyhow::Result<Vec<Process>> {
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
        let what = format!("{none} ({others} run no Python, {denied} may not be read)");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_called_by_their_scripts_and_modules() {
        let names = |line: &str| program_names(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(names("/usr/bin/python3 -X dev /srv/worker.py --name web"), ["python3", "worker", "worker.py"]);
        assert_eq!(names("python -u -m http.server 80"), ["python", "http.server"]);
        assert_eq!(names("/v/bin/python /v/bin/gunicorn app:app"), ["python", "gunicorn"]);
        assert_eq!(names("python -c pass worker"), ["python"]);
        assert_eq!(names("uwsgi"), ["uwsgi"]);
    }
}
