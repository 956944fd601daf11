//! The wait for the interpreter of a process that may be about to start one.

use std::time::{Duration, Instant};

use super::{AttachError, Attached, Depth, Finder, Missing, PATIENCE_RUNNING, program_name};
use crate::process::{Orphans, Process, ProcessError};
use crate::python::locate::LocateError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest pause that repeated failure leads to.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// What has run so long without a Python is not one that was about to start.
const SURE_OF_OTHER: Duration = Duration::from_millis(500);
/// What does not come right by waiting is waited for so long, as the process may be between two programs.
const BETWEEN_PROGRAMS: Duration = PATIENCE_RUNNING.checked_div(5).unwrap();

impl Finder {
    /// Finds the interpreter of `process`, waiting up to `patience` for it to come up; stops waiting when `cancelled`
    /// says so. Of a program that we started (`orphans` is what it leaves behind) one in a process below it or left
    /// behind by it will do: launchers such as `uv run`, and many a shell, start the interpreter as a child, and do not
    /// always wait for it.
    ///
    /// # Errors
    /// When there is none in time, none that can be read, or the process is gone.
    pub(crate) fn attach(
        &mut self,
        process: &Process,
        orphans: Option<&Orphans>,
        patience: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Attached, AttachError> {
        let mut wait = Wait { process, patience, start: Instant::now(), first_failure: None, other_program: None };
        let mut pause = PAUSE;
        loop {
            let missing = match self.look(process, Depth::Everything) {
                Ok(attached) => return Ok(attached),
                Err(missing) => missing,
            };
            // Looked at first: what it leaves behind is there by then.
            let has_exited = process.has_exited();
            if !has_exited {
                wait.note_program(&missing);
            }
            let mut below = Vec::new();
            if let Some(orphans) = orphans {
                below = process.descendants();
                below.extend(orphans.with_descendants());
            }
            if let Some(attached) = self.look_at_any(&below) {
                return Ok(attached);
            }
            if has_exited && below.is_empty() {
                return Err(wait.ended());
            }
            if wait.start.elapsed() >= patience || cancelled() {
                return Err(self.error_at_end(&wait, missing));
            }
            if let Some(error) = wait.error_meanwhile(missing, has_exited) {
                return Err(error);
            }
            if has_exited {
                std::thread::sleep(pause);
            } else if process.wait_for_exit(pause) && orphans.is_none() {
                return Err(wait.ended());
            }
            pause = (pause * 5 / 4).min(LONGEST_PAUSE);
        }
    }

    /// Why there is no interpreter when the wait is over.
    fn error_at_end(&mut self, wait: &Wait<'_>, missing: Missing) -> AttachError {
        let (process, pid) = (wait.process, wait.process.pid());
        match missing {
            Missing::Process(error) => error.into(),
            Missing::Failed(reason @ (LocateError::NotReady | LocateError::NoThread)) => AttachError::NotReady {
                pid,
                program: program_name(process),
                has_interpreter: reason == LocateError::NoThread,
                age: process.age(),
                below: self.pythons_below_at_end(wait),
            },
            Missing::Failed(source) => AttachError::Unusable { pid, source },
            Missing::NotPython { .. } => match self.refused_file_of(process) {
                Some(denied) => denied.into(),
                None => AttachError::NotPython {
                    pid,
                    program: program_name(process),
                    searched_for: wait.start.elapsed(),
                    below: self.pythons_below_at_end(wait),
                },
            },
            Missing::ThirtyTwoBit => AttachError::ThirtyTwoBit { pid, program: program_name(process) },
        }
    }

    /// The processes below that run Python; none where nothing was waited for.
    fn pythons_below_at_end(&mut self, wait: &Wait<'_>) -> Vec<i32> {
        if wait.patience.is_zero() { vec![] } else { self.pythons_below(wait.process) }
    }
}

/// How a wait stands.
struct Wait<'process> {
    process: &'process Process,
    patience: Duration,
    start: Instant,
    /// When a failure was seen first that does not come right by waiting.
    first_failure: Option<Instant>,
    /// The program that it ran last, if that had no Python for long enough.
    other_program: Option<String>,
}

impl Wait<'_> {
    /// Takes note of what the process runs, in which no interpreter was found.
    fn note_program(&mut self, missing: &Missing) {
        let has_none = matches!(missing, Missing::NotPython { .. }) && self.start.elapsed() >= SURE_OF_OTHER;
        self.other_program = has_none.then(|| program_name(self.process));
    }

    /// What makes it pointless to wait longer, if anything does.
    fn error_meanwhile(&mut self, missing: Missing, has_exited: bool) -> Option<AttachError> {
        match missing {
            // In the middle of an `exec` a process has neither maps nor an auxiliary vector.
            Missing::Process(ProcessError::System { .. } | ProcessError::NoMemory(_)) => None,
            // What it has left behind may show one yet.
            Missing::Process(_) if has_exited => None,
            Missing::Process(error) => Some(error.into()),
            Missing::Failed(source @ (LocateError::Unsupported(_) | LocateError::DebugOffsets(_))) => {
                let is_sure = self.first_failure.get_or_insert_with(Instant::now).elapsed() > BETWEEN_PROGRAMS;
                is_sure.then(|| AttachError::Unusable { pid: self.process.pid(), source })
            }
            Missing::Failed(_) | Missing::NotPython { .. } | Missing::ThirtyTwoBit => None,
        }
    }

    /// That the process has ended without having shown a Python.
    fn ended(&mut self) -> AttachError {
        let pid = self.process.pid();
        match self.other_program.take() {
            Some(program) => AttachError::NotPython { pid, program, searched_for: self.start.elapsed(), below: vec![] },
            None => AttachError::Exited { pid },
        }
    }
}
