//! What is recorded: processes that were there, or a program that we started.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Error};
use wildmatch::WildMatch;

use super::print_note;
use crate::cli::RecordArgs;
use crate::command::source_text::SourceFinder;
use crate::command::{attach, left};
use crate::process::{Process, SpawnedProgram, all_processes};
use crate::sampler::{AttachError, Finder, Roots, whole_command_line};

/// A program that does not end on SIGTERM is killed after so long.
const GRACE: Duration = Duration::from_secs(5);

/// What is recorded.
pub(super) struct Target {
    processes: Vec<Process>,
    program: Option<SpawnedProgram>,
}

impl Target {
    /// Opens the processes asked for, or starts the program.
    pub(super) fn open_or_start(arguments: &RecordArgs, finder: &mut Finder) -> anyhow::Result<Self> {
        if let Some(glob) = &arguments.name {
            let mut processes = by_name(glob, finder)?;
            for pid in &arguments.pid {
                processes.push(Process::open(*pid)?);
            }
            return Ok(Self { processes, program: None });
        }
        if !arguments.pid.is_empty() {
            let processes = arguments.pid.iter().map(|pid| Process::open(*pid)).collect::<Result<_, _>>()?;
            return Ok(Self { processes, program: None });
        }
        if arguments.all {
            return Ok(Self { processes: vec![], program: None });
        }
        let (name, rest) = arguments.program.split_first().context("there is neither a pid nor a program")?;
        attach::note_user();
        let mut program = match &arguments.output {
            // The profile is not to be mixed with what the program writes.
            Some(output) if output.as_os_str() == "-" => SpawnedProgram::start_to_stderr(name, rest)?,
            _ => SpawnedProgram::start(name.clone(), rest)?,
        };
        // Whether we may read it is found out while waiting for its interpreter: the first program in the process may
        // be another's.
        match Process::observe(program.pid()) {
            Ok(process) => Ok(Self { processes: vec![process], program: Some(program) }),
            Err(error) => {
                let _ = program.end(GRACE);
                Err(error.into())
            }
        }
    }

    /// What to record.
    pub(super) fn roots(&self) -> Roots {
        let orphans = self.program.as_ref().map(SpawnedProgram::orphans);
        Roots { processes: self.processes.clone(), orphans }
    }

    /// Its source files.
    pub(super) fn source_files(&self) -> SourceFinder {
        self.processes.first().map(SourceFinder::of_process).unwrap_or_default()
    }

    /// Which processes go on that a program has left behind which we started.
    pub(super) fn still_running(&self) -> Option<String> {
        left::still_running(&self.program.as_ref()?.orphans())
    }

    /// Whether it is a program that we started, and has ended.
    pub(super) fn program_has_ended(&mut self) -> bool {
        self.program.as_mut().is_some_and(|program| matches!(program.try_wait(), Ok(Some(_))))
    }

    /// Whether it is a program that we started.
    pub(super) fn is_started(&self) -> bool {
        self.program.is_some()
    }

    /// How the only process has ended that was running before us, if it has and that can be known.
    pub(super) fn attached_status(&self) -> Option<ExitStatus> {
        match &self.processes[..] {
            [only] if self.program.is_none() => only.exit_status(),
            _ => None,
        }
    }

    /// Waits until each process shows its interpreter.
    pub(super) fn wait_for_python(&mut self, finder: &mut Finder, cancelled: &dyn Fn() -> bool) -> anyhow::Result<()> {
        attach::wait_for_python(&self.processes, self.program.as_mut(), finder, cancelled, &|| None)
    }

    /// Sees a program that we started to its end, or leaves it running with `keep`; its status if it has ended.
    pub(super) fn end(&mut self, keep: bool) -> Option<ExitStatus> {
        let program = self.program.as_mut()?;
        let ended = if keep { program.wait_at_most(Duration::from_millis(200)) } else { program.end(GRACE).map(Some) };
        ended.unwrap_or_else(|error| {
            print_note(&format!("cannot learn how process {} ended: {error}", program.pid()));
            None
        })
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
pub(in crate::command) fn is_called(process: &Process, glob: &str) -> bool {
    let is_word = !glob.contains(['*', '?', '/']) && !glob.contains(char::is_whitespace);
    WildMatch::new(glob).matches(&whole_command_line(process))
        || is_word && program_names(&process.command_line().unwrap_or_default()).iter().any(|name| name == glob)
}

/// All processes with a Python that we may read and whose name or command line matches.
fn by_name(glob: &str, finder: &mut Finder) -> anyhow::Result<Vec<Process>> {
    let own = std::process::id();
    let (mut denied, mut others) = (0, 0);
    let mut denial = None;
    let mut processes = Vec::new();
    for pid in all_processes()? {
        let Ok(process) = Process::observe(pid) else { continue };
        if pid.unsigned_abs() == own || !is_called(&process, glob) {
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
    if processes.is_empty() {
        let what = format!(
            "no Python process has this name or a command line like {glob:?} ({others} run no Python, {denied} may not \
             be read)"
        );
        return Err(match denial {
            Some(denial) => Error::from(denial).context(what),
            None => Error::msg(what),
        });
    }
    if denied > 0 {
        print_note(&format!("{denied} processes with a command line like {glob:?} may not be read"));
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
