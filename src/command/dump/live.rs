//! A running process.

use std::time::{Duration, SystemTime};

use super::document::process_dump;
use crate::cli::DumpArgs;
use crate::command::shared::arguments::{native, pausing};
use crate::command::shared::attach::note_if_newer;
use crate::command::shared::standard_streams::print_note;
use crate::inspect::{Details, inspect_process};
use crate::output::dump::{ProcessDump, ProcessInfo};
use crate::output::printable;
use crate::process::{PauseError, Process, ProcessError};
use crate::sampler::{AttachError, Finder, Pausing, ProcessSampler, SampleError, command_line, why_not_pausable};

/// How long a process that could not be read is given to be seen to exit.
const ENDING: Duration = Duration::from_millis(300);

/// What a process is doing. `patience` is how long it is given to show its interpreter.
pub(super) fn dump_process(
    arguments: &DumpArgs,
    finder: &mut Finder,
    process: &Process,
    patience: Duration,
    details: Details,
) -> anyhow::Result<ProcessDump> {
    dump_living(arguments, finder, process, patience, details).map_err(|error| error_at_the_end(process, error))
}

/// Takes hold of a process.
///
/// # Errors
/// As [`Process::open`]; of one that is about to exit, that it has.
pub(super) fn open_process(pid: i32) -> Result<Process, ProcessError> {
    Process::open(pid).map_err(|error| match (error, Process::observe(pid)) {
        (ProcessError::NoMemory(_) | ProcessError::Denied(_), Ok(process)) if process.wait_for_exit(ENDING) => {
            ProcessError::Exited(pid)
        }
        (error, _) => error,
    })
}

/// What a process that was about to exit refused, or showed no longer, says nothing but that.
fn error_at_the_end(process: &Process, error: anyhow::Error) -> anyhow::Error {
    if process.wait_for_exit(ENDING) { AttachError::Exited { pid: process.pid() }.into() } else { error }
}

fn dump_living(
    arguments: &DumpArgs,
    finder: &mut Finder,
    process: &Process,
    patience: Duration,
    details: Details,
) -> anyhow::Result<ProcessDump> {
    let attached = finder.attach(process, None, patience, &|| false)?;
    note_if_newer(&attached.runtime.layout);
    let mut pausing = pausing(arguments.pause, Pausing::Blocking);
    if pausing != Pausing::Never
        && let Some(reason) = why_not_pausable(process)
    {
        print_note(&reason);
        pausing = Pausing::Never;
    }
    let mut sampler = ProcessSampler::new(process.clone(), attached);
    if native(arguments.pause)?.frames {
        sampler.read_native(true);
    }
    if arguments.pause.native_threads {
        sampler.read_native_threads();
    }
    let dumped = match dump_sampled(&mut sampler, pausing, details) {
        Err(SampleError::Pause(error @ PauseError::AlreadyTraced { .. })) => {
            print_note(&printable(&format!("{error}: the process is read without being stopped")));
            dump_sampled(&mut sampler, Pausing::Never, details)?
        }
        dumped => dumped?,
    };
    if dumped.lost_threads > 0 {
        print_note(&lost_threads(dumped.lost_threads));
    }
    note_frames_left_out(dumped.frames_left_out);
    Ok(dumped.dump)
}

/// Says how many frames are missing, if any.
pub(super) fn note_frames_left_out(frames: usize) {
    if frames > 0 {
        print_note(&format!("{frames} frames at the older ends of stacks are left out, as there are too many"));
    }
}

/// What is said of threads that are missing from a dump.
pub(in crate::command) fn lost_threads(lost: u32) -> String {
    format!("{lost} threads could not be read")
}

/// A dump, and how many threads are missing from it.
pub(in crate::command) struct SampledDump {
    pub(in crate::command) dump: ProcessDump,
    pub(in crate::command) lost_threads: u32,
    /// Frames that are missing at the older ends of stacks.
    frames_left_out: usize,
}

/// What the process of `sampler` is doing.
///
/// # Errors
/// When it is gone or cannot be read.
pub(in crate::command) fn dump_sampled(
    sampler: &mut ProcessSampler,
    pausing: Pausing,
    details: Details,
) -> Result<SampledDump, SampleError> {
    let inspected = inspect_process(sampler, pausing, details)?;
    let process = sampler.process();
    let since = |start| inspected.read_at?.duration_since(start).ok();
    let info = ProcessInfo {
        python_version: sampler.runtime().layout.version.to_string(),
        uptime_seconds: process.start_time().and_then(since).map(rounded_seconds),
        snapshot_unix_ms: since(SystemTime::UNIX_EPOCH).map(|since| since.as_millis() as u64),
        stopped_us: Some(inspected.stopped_for.as_micros() as u64),
        ..process_info(process)
    };
    let (lost_threads, frames_left_out) = (inspected.lost_threads, inspected.frames_left_out);
    Ok(SampledDump { dump: process_dump(inspected, info), lost_threads, frames_left_out })
}

/// What everyone may see of a process.
pub(super) fn process_info(process: &Process) -> ProcessInfo {
    ProcessInfo {
        pid: process.pid(),
        command_line: command_line(process),
        executable: process.executable().map(|path| path.display().to_string()).unwrap_or_default(),
        ..ProcessInfo::default()
    }
}

/// To a tenth of a second, which is what the system's clock tells.
fn rounded_seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}
