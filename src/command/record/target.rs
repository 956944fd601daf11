//! What is recorded: processes that were there, or a program that we started.

use std::io::IsTerminal;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;

use crate::cli::RecordArgs;
use crate::command::shared::attach;
use crate::command::shared::interrupt::Interrupt;
use crate::command::shared::left_behind;
use crate::command::shared::python_processes::{self, Which};
use crate::command::shared::source_finder::SourceFinder;
use crate::command::shared::standard_streams::print_note;
use crate::process::{DescriptorNames, Process, SpawnedProgram};
use crate::sampler::{Finder, Roots};

/// A program that does not end on SIGTERM is killed after so long, and one that was interrupted at our terminal has so
/// long to end by itself before it gets SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// An interrupted program that has not ended after so long is waited for with a word.
const SILENT_GRACE: Duration = Duration::from_millis(300);

/// The descriptors that a program writes to.
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// What is recorded.
pub(super) struct Target {
    processes: Vec<Process>,
    program: Option<SpawnedProgram>,
}

impl Target {
    /// Opens the processes asked for, or starts the program.
    pub(super) fn open_or_start(arguments: &RecordArgs, finder: &mut Finder) -> anyhow::Result<Self> {
        if let Some(glob) = &arguments.name {
            let mut processes = python_processes::find(&Which::Called(glob), finder)?;
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
        left_behind::still_running(&self.program.as_ref()?.orphans())
    }

    /// Whether it is a program that we started, and has ended.
    pub(super) fn program_has_ended(&mut self) -> bool {
        self.program.as_mut().is_some_and(|program| matches!(program.try_wait(), Ok(Some(_))))
    }

    /// Whether it is a program that we started.
    pub(super) fn is_started(&self) -> bool {
        self.program.is_some()
    }

    /// Whether what it writes may come to the terminal that our own standard error is: so of a program that we started,
    /// which has our standard error, and on Linux of a process with that terminal as its output.
    pub(super) fn writes_to_our_terminal(&self) -> bool {
        if !std::io::stderr().is_terminal() {
            return false;
        }
        if self.is_started() {
            return true;
        }
        let own = i32::try_from(std::process::id()).ok().and_then(|pid| Process::observe(pid).ok());
        let Some(terminal) = own.and_then(|own| own.descriptors().name(STDERR)) else { return false };
        let is_it = |process: &Process, descriptor| process.descriptors().name(descriptor).as_ref() == Some(&terminal);
        self.processes.iter().any(|process| is_it(process, STDOUT) || is_it(process, STDERR))
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

    /// Sees a program that we started to its end, or leaves it running with `keep`; its status if it has ended. If a
    /// Ctrl-C was for it as well as for us, it is let finish what it does about that, until Ctrl-C is pressed again.
    pub(super) fn end(&mut self, keep: bool, interrupt: &Interrupt) -> Option<ExitStatus> {
        let program = self.program.as_mut()?;
        let is_interrupted = !keep && interrupt.is_from_keyboard();
        if is_interrupted && matches!(program.wait_at_most(SILENT_GRACE), Ok(None)) {
            print_note("waiting for the program, which was interrupted too; Ctrl-C again ends it with SIGTERM");
            interrupt.wait_for_another(GRACE, |step| !matches!(program.wait_at_most(step), Ok(None)));
        }
        let ended = if keep { program.wait_at_most(Duration::from_millis(200)) } else { program.end(GRACE).map(Some) };
        ended.unwrap_or_else(|error| {
            print_note(&format!("cannot learn how process {} ended: {error}", program.pid()));
            None
        })
    }
}
