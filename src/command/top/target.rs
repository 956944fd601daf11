//! What is looked at, and what it writes when we have started it.

use std::io::{self, PipeReader, Read};
use std::process::ExitStatus;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;

use super::{Message, lock};
use crate::cli::TopArgs;
use crate::command::shared::attach;
use crate::command::shared::left_behind;
use crate::command::shared::program_ending;
use crate::command::shared::python_processes::{self, Which};
use crate::command::shared::standard_streams::print_note;
use crate::output::printable;
use crate::process::{Process, SpawnedProgram};
use crate::sampler::{Ending, Finder, Roots};

/// A program that does not end on SIGTERM is killed after so long.
const GRACE: Duration = Duration::from_secs(5);
/// How long the exit status of a started program is waited for once its process is gone.
const STATUS_WAIT: Duration = Duration::from_secs(2);
/// What the target has written and nobody has taken yet is kept up to so many bytes.
const OUTPUT_BYTES: usize = 1 << 20;

/// What the target has written and nobody has taken yet.
pub(super) type Captured = Arc<Mutex<Vec<u8>>>;

/// What is looked at: processes that were there, or one that we started.
pub(super) struct Target {
    pub(super) processes: Vec<Process>,
    pub(super) program: Option<SpawnedProgram>,
    pub(super) captured: Captured,
}

impl Target {
    pub(super) fn open_or_start(
        arguments: &TopArgs,
        sender: &SyncSender<Message>,
        draws: bool,
    ) -> anyhow::Result<Self> {
        let captured = Captured::default();
        if !arguments.pid.is_empty() {
            let processes = arguments.pid.iter().map(|pid| Process::open(*pid)).collect::<Result<_, _>>()?;
            return Ok(Self { processes, program: None, captured });
        }
        if let Some(name) = &arguments.name {
            let mut processes = python_processes::find(&Which::Called(name), &mut Finder::new())?;
            for pid in &arguments.pid {
                processes.push(Process::open(*pid)?);
            }
            return Ok(Self { processes, program: None, captured });
        }
        if arguments.all {
            return Ok(Self { processes: vec![], program: None, captured });
        }
        let (name, rest) = arguments.program.split_first().context("there is neither a pid nor a program")?;
        attach::note_user();
        let (mut program, pipe) = SpawnedProgram::start_captured(name, rest)?;
        let (sender, shared) = (sender.clone(), Arc::clone(&captured));
        let reader = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            if draws {
                capture_output(pipe, &shared, &sender);
            } else {
                // Standard output is for our own.
                pass_on_output(pipe);
            }
        });
        let process = reader.map_err(anyhow::Error::from).and_then(|_| Ok(Process::observe(program.pid())?));
        match process {
            Ok(process) => Ok(Self { processes: vec![process], program: Some(program), captured }),
            Err(error) => {
                let _ = program.end(GRACE);
                Err(error)
            }
        }
    }

    /// What to sample.
    pub(super) fn roots(&self) -> Roots {
        let orphans = self.program.as_ref().map(SpawnedProgram::orphans);
        Roots { processes: self.processes.clone(), orphans }
    }

    /// Waits until each process shows its interpreter.
    pub(super) fn wait_for_python(&mut self, finder: &mut Finder, cancelled: &dyn Fn() -> bool) -> anyhow::Result<()> {
        let last_words = || {
            let written = take_captured(&self.captured)?;
            Some(printable(written.lines().rfind(|line| !line.trim().is_empty())?).into_owned())
        };
        attach::wait_for_python(&self.processes, self.program.as_mut(), finder, cancelled, &last_words)
    }

    /// How what is looked at has ended, in words.
    pub(super) fn how_it_ended(&mut self, ended: &Ending) -> String {
        if let Ending::Lost(reason) = ended {
            return format!("nothing to sample any more: {}", printable(reason));
        }
        if let Some(program) = &mut self.program {
            let status = status_words(program.wait_at_most(STATUS_WAIT).ok().flatten());
            let left = left_behind::still_running(&program.orphans());
            let left = left.map(|left| format!("; still running: {left}")).unwrap_or_default();
            return format!("target exited, {status}{left}");
        }
        match &self.processes[..] {
            [only] => format!("target exited, {}", status_words(only.exit_status())),
            several => {
                let each =
                    several.iter().map(|process| format!("{} {}", process.pid(), status_words(process.exit_status())));
                format!("targets exited: {}", each.collect::<Vec<_>>().join("; "))
            }
        }
    }

    /// Ends a program that we started.
    pub(super) fn end(&mut self) {
        let Some(program) = &mut self.program else { return };
        if let Err(error) = program.end(GRACE) {
            print_note(&format!("cannot learn how process {} ended: {error}", program.pid()));
        }
        if let Some(left) = left_behind::still_running(&program.orphans()) {
            print_note(&format!("still running: {left}"));
        }
    }
}

fn status_words(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "status unknown".to_owned(), program_ending::status_text)
}

fn capture_output(mut pipe: PipeReader, captured: &Captured, sender: &SyncSender<Message>) {
    let mut bytes = [0; 16 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut bytes) {
        let mut kept = lock(captured);
        kept.extend_from_slice(bytes.get(..length).unwrap_or_default());
        let excess = kept.len().saturating_sub(OUTPUT_BYTES);
        kept.drain(..excess);
        drop(kept);
        // When many messages wait, one of them will do.
        if let Err(TrySendError::Disconnected(_)) = sender.try_send(Message::Output) {
            // Whoever looked on is gone; the program is not to be held up.
            pass_on_output(pipe);
            return;
        }
    }
}

fn pass_on_output(mut pipe: PipeReader) {
    if let Err(error) = io::copy(&mut pipe, &mut io::stderr()) {
        log::debug!("cannot pass on what the program writes: {error}");
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
}

/// Takes out the text that is complete, up to the last whole character.
pub(super) fn take_captured(captured: &Captured) -> Option<String> {
    let mut kept = lock(captured);
    let cut = match str::from_utf8(&kept) {
        Ok(_) => kept.len(),
        // The end of the bytes within a character; anything else is no text and will never be.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => kept.len(),
    };
    let bytes: Vec<u8> = kept.drain(..cut).collect();
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
