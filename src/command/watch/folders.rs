//! The evidence of events: it is taken here, and written into a folder for each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::evidence::{Evidence, Written, all_frames};
use super::{clock_time, make_directory, report, unix_seconds, write_whole};
use crate::cli::WatchArgs;
use crate::command::dump::{SampledDump, dump_sampled};
use crate::command::shared::program_names::program_name;
use crate::command::shared::standard_streams::print_note;
use crate::inspect::{Details, TasksWanted};
use crate::output::dump::{ProcessDump, write_json};
use crate::output::{recording, write_safe_json};
use crate::sampler::{Finder, Observed, Pausing, ProcessSampler, Recent, command_line};
use crate::watch::Event;

/// Between two dumps of an event.
const DUMP_EVERY: Duration = Duration::from_secs(1);
/// For so long a process that cannot be read is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// So many folders may already have the name that a new one would get.
const MOST_OF_A_NAME: u32 = 1000;

/// Where folders go, and how many may still be made.
pub(super) struct EvidenceFolders {
    directory: PathBuf,
    left: u32,
    is_told: bool,
    is_dry: bool,
    dumps: usize,
    locals: u8,
    secrets: bool,
    pausing: Pausing,
    /// For dumps with native frames, for which threads are stopped: the reader that looks must not read those.
    native: Option<Finder>,
}

impl EvidenceFolders {
    /// Makes sure that folders can be made.
    pub(super) fn open(arguments: &WatchArgs) -> io::Result<Self> {
        if !arguments.dry_run {
            make_directory(&arguments.output)?;
        }
        Ok(Self {
            directory: arguments.output.clone(),
            left: arguments.max,
            is_told: false,
            is_dry: arguments.dry_run,
            dumps: usize::from(arguments.dumps),
            locals: arguments.locals,
            secrets: arguments.show_secrets,
            pausing: if arguments.nonblocking { Pausing::Never } else { Pausing::Blocking },
            native: arguments.native.then(Finder::new),
        })
    }

    /// Takes the first dump of an event, and what was seen before it.
    pub(super) fn begin_evidence(
        &mut self,
        event: Event,
        observed: &mut Observed<'_>,
        recent: &Recent<'_>,
        now: Instant,
    ) -> Evidence {
        let process = observed.sampler.process().clone();
        let mut before = Vec::new();
        if !self.is_dry
            && let Err(error) = recording::write(&recent.profile(), &mut before)
        {
            log::warn!("what was seen before the event is not recorded: {error}");
        }
        let mut evidence = Evidence {
            name: program_name(&command_line(&process)),
            lasted: event.duration(now),
            event,
            process,
            time: SystemTime::now(),
            dumps: Vec::new(),
            has_locals: self.locals > 0,
            dumps_wanted: self.dumps,
            due: now,
            ends: now + DUMP_EVERY * u32::try_from(self.dumps + 5).unwrap_or(u32::MAX),
            before,
        };
        self.add_dump(&mut evidence, observed, now);
        evidence
    }

    /// Takes another dump of an event.
    pub(super) fn add_dump(&mut self, evidence: &mut Evidence, observed: &mut Observed<'_>, now: Instant) {
        evidence.due = now + DUMP_EVERY;
        // The arguments of the functions are what tells one call from others, so they are always read.
        let variables = self.locals.max(1);
        let details =
            Details { variables, secrets: self.secrets, source: false, tasks: TasksWanted::Pending, sleep: true };
        let dumped = match &mut self.native {
            Some(finder) => dump_native(finder, observed, self.pausing, details),
            None => dump_sampled(observed.sampler, self.pausing, details).map_err(anyhow::Error::from),
        };
        match dumped {
            Ok(mut dumped) => {
                if self.locals == 0 {
                    keep_arguments(&mut dumped.dump);
                }
                evidence.add(dumped.dump);
            }
            Err(error) => print_note(&format!("no dump of process {}: {error:#}", evidence.process.pid())),
        }
    }

    /// Writes the folder of an event.
    pub(super) fn write(&mut self, evidence: &Evidence) -> Written {
        if self.is_dry {
            return Written::LeftOut;
        }
        if self.left == 0 {
            if !std::mem::replace(&mut self.is_told, true) {
                print_note("as many folders were written as --max allows; further events are only told");
            }
            return Written::LeftOut;
        }
        match self.write_folder(evidence) {
            Ok(folder) => {
                self.left -= 1;
                Written::Folder(folder)
            }
            Err(error) => {
                print_note(&format!("cannot write the evidence into {:?}: {error}", self.directory));
                Written::Failed
            }
        }
    }

    fn write_folder(&self, evidence: &Evidence) -> io::Result<PathBuf> {
        let time = clock_time(evidence.time).replace(':', "");
        let name = format!("{}-{time}-{}", evidence.process.pid(), evidence.event.cause.word());
        let folder = new_folder(&self.directory, &name)?;
        write_whole(&folder.join("dump.txt"), report::dump_text(evidence, true).as_bytes())?;
        let mut json = Vec::new();
        if let Some(first) = evidence.dumps.first() {
            write_json(std::slice::from_ref(first), true, &mut json)?;
            write_whole(&folder.join("dump.json"), &json)?;
        }
        if !evidence.before.is_empty() {
            write_whole(&folder.join("before.pyspy"), &evidence.before)?;
        }
        // The last one: who finds it finds the others too.
        let mut text = Vec::new();
        write_safe_json(&cause(evidence), true, &mut text)?;
        write_whole(&folder.join("cause.json"), &text)?;
        Ok(folder)
    }
}

/// A dump with native frames, by a reader of its own.
fn dump_native(
    finder: &mut Finder,
    observed: &Observed<'_>,
    pausing: Pausing,
    details: Details,
) -> anyhow::Result<SampledDump> {
    let process = observed.sampler.process();
    let attached = finder.attach(process, None, PATIENCE, &|| false)?;
    let mut sampler = ProcessSampler::new(process.clone(), attached);
    sampler.read_native(true);
    Ok(dump_sampled(&mut sampler, pausing, details)?)
}

/// Only who runs pyspy may look: the values of variables are secrets of the program.
fn new_folder(directory: &Path, name: &str) -> io::Result<PathBuf> {
    let builder = private_folders();
    for number in 1..MOST_OF_A_NAME {
        let folder = match number {
            1 => directory.join(name),
            number => directory.join(format!("{name}-{number}")),
        };
        match builder.create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(unix)]
fn private_folders() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// What the folder above lets whom see holds for this one.
#[cfg(not(unix))]
fn private_folders() -> fs::DirBuilder {
    fs::DirBuilder::new()
}

fn cause(evidence: &Evidence) -> serde_json::Value {
    let thread = report::guilty_thread(evidence);
    let since = evidence.time.checked_sub(evidence.lasted).unwrap_or(evidence.time);
    json!({
        "cause": evidence.event.cause.word(),
        "what": evidence.event.what,
        "pid": evidence.process.pid(),
        "command_line": evidence.dumps.first().map(|dump| dump.info.command_line.clone()),
        "since_unix": unix_seconds(since),
        "seen_unix": unix_seconds(evidence.time),
        "seconds": (evidence.lasted.as_secs_f64() * 1000.0).round() / 1000.0,
        "thread_id": evidence.event.thread,
        "os_thread_id": thread.and_then(|thread| thread.os_thread_id),
        "thread_name": thread.and_then(|thread| thread.thread_name.clone()),
        "task_id": evidence.event.task,
        "dumps": evidence.dumps.len(),
        "moved": report::has_moved(evidence),
        "pyspy": env!("CARGO_PKG_VERSION"),
    })
}

fn keep_arguments(dump: &mut ProcessDump) {
    for frame in all_frames(dump) {
        if let Some(variables) = &mut frame.locals {
            variables.retain(|variable| variable.arg);
        }
    }
}
