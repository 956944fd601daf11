//! A running process.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::describe::Describer;
use super::inspect::{Inspection, inspect};
use crate::cli::DumpArgs;
use crate::command::attach::note_if_newer;
use crate::command::{native, note, pausing};
use crate::memory::PageCache;
use crate::output::dump::{ProcessDump, ProcessInfo};
use crate::process::{Process, SystemCall, ThreadId};
use crate::sampler::{Finder, Moment, MomentThread, Pausing, SampleError, Spy, command_line, why_not_pausable};

/// How long is waited for threads that were woken to go back to sleep, all together.
const RESUMED: Duration = Duration::from_millis(50);
/// How long is waited for the lines of native code.
const LONGEST_LOOKUP: Duration = Duration::from_secs(5);
/// How often a moment that could not be read is tried again.
const TRIES: u32 = 20;

/// What a process is doing. `patience` is how long it is given to show its interpreter.
pub(super) fn dump(
    arguments: &DumpArgs,
    finder: &mut Finder,
    process: &Process,
    patience: Duration,
    source: bool,
) -> anyhow::Result<ProcessDump> {
    let attached = finder.attach(process, None, patience, &|| false)?;
    note_if_newer(&attached.runtime.layout);
    let mut pausing = pausing(arguments.pause, Pausing::Blocking);
    if pausing != Pausing::Never
        && let Some(reason) = why_not_pausable(process)
    {
        note(&reason);
        pausing = Pausing::Never;
    }
    let mut spy = Spy::new(process.clone(), attached);
    if native(arguments.pause)? {
        spy.read_native(true);
    }
    if arguments.pause.native_threads {
        spy.read_native_threads();
    }
    let (dump, lost) = dump_spy(&mut spy, pausing, arguments.locals, source)?;
    if lost > 0 {
        note(&lost_threads(lost));
    }
    Ok(dump)
}

/// What is said of threads that are missing from a dump.
pub(in crate::command) fn lost_threads(lost: u32) -> String {
    format!("{lost} threads could not be read")
}

/// What the process of `spy` is doing; `locals` says how much of variables is wanted, 0 for nothing. With it comes how many
/// threads could not be read.
///
/// # Errors
/// When it is gone or cannot be read.
pub(in crate::command) fn dump_spy(
    spy: &mut Spy,
    pausing: Pausing,
    locals: u8,
    source: bool,
) -> Result<(ProcessDump, u32), SampleError> {
    let taken = take(spy, pausing, locals)?;
    spy.wait_for_lines(LONGEST_LOOKUP);
    let process = spy.process();
    let descriptors = process.descriptors();
    let memory = process.memory();
    let describer = Describer {
        pid: process.pid(),
        moment: &taken.moment,
        inspection: &taken.inspection,
        codes: spy.codes(),
        native: spy.native(),
        memory: &memory,
        layout: &spy.runtime().layout,
        descriptors: &descriptors,
        open: &|path| process.open_in_root(path),
        name_of: &|thread| spy.thread_name(thread).map(str::to_owned),
        // One that was on its way into a call before the stop is in it by now.
        native_name_of: &|thread| spy.native_thread_name(thread).map(str::to_owned),
        call_of: &|thread| taken.calls.get(&thread).copied().or_else(|| process.system_call(thread)),
        channel_of: &|thread| process.wait_channel(thread),
        source,
    };
    let threads = describer.threads();
    let info = ProcessInfo {
        python_version: spy.runtime().layout.version.to_string(),
        uptime_seconds: process.start_time().and_then(|start| taken.time.duration_since(start).ok()).map(seconds),
        snapshot_unix_ms: taken.time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_millis() as u64),
        stopped_us: Some(taken.moment.stopped_for.as_micros() as u64),
        ..info(process)
    };
    Ok((ProcessDump { info, threads, deadlocks: taken.inspection.rings }, taken.moment.lost))
}

/// What everyone may see of a process.
pub(super) fn info(process: &Process) -> ProcessInfo {
    ProcessInfo {
        pid: process.pid(),
        command_line: command_line(process),
        executable: process.executable().map(|path| path.display().to_string()).unwrap_or_default(),
        ..ProcessInfo::default()
    }
}

/// To a tenth of a second, which is what the system's clock tells.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// A moment, and what was looked at in it.
struct Taken {
    moment: Moment,
    inspection: Inspection,
    calls: HashMap<ThreadId, SystemCall>,
    time: SystemTime,
}

fn take(spy: &mut Spy, pausing: Pausing, locals: u8) -> Result<Taken, SampleError> {
    let mut tries = 0;
    loop {
        let mut moment = Moment::default();
        let mut inspection = Inspection::default();
        // A thread that is held shows no system call, so that they are read before.
        let mut calls = system_calls(spy.process());
        let memory = PageCache::new(spy.process().memory());
        let look = |spy: &Spy, moment: &Moment, calls: &HashMap<ThreadId, SystemCall>| {
            let call_of = |thread: &MomentThread| calls.get(&thread.os_id?).copied();
            inspect(&memory, spy.runtime(), spy.codes(), moment, &call_of, locals)
        };
        let taken = if pausing == Pausing::Never {
            spy.sample(Pausing::Never, &mut moment)
        } else {
            // A rehearsal without a stop tells which pages matter, so that the stop lasts only for reading those; all else is done afterwards.
            if spy.sample(Pausing::Never, &mut moment).is_ok() {
                look(spy, &moment, &calls);
            }
            spy.sample_stopped(&mut moment, &mut |_, _| memory.refresh())
        };
        if taken.is_ok() {
            add_resumed_calls(spy.process(), &moment, &mut calls);
            inspection = look(spy, &moment, &calls);
        }
        let time = SystemTime::now();
        tries += 1;
        match taken {
            Err(SampleError::Unreadable(_)) if tries < TRIES => std::thread::sleep(Duration::from_millis(10)),
            // Without stops a stack in motion may need some looks.
            Ok(()) if moment.lost > 0 && tries < TRIES => {}
            Ok(()) => return Ok(Taken { moment, inspection, calls, time }),
            Err(error) => return Err(error),
        }
    }
}

/// Completes the calls with those of threads that were about to go back to theirs: as the stop has shown them, or,
/// where that does not tell which call goes on, as the kernel does when they sleep again.
fn add_resumed_calls(process: &Process, moment: &Moment, calls: &mut HashMap<ThreadId, SystemCall>) {
    let deadline = Instant::now() + RESUMED;
    for os_id in moment.threads.iter().filter(|thread| !thread.active).filter_map(|thread| thread.os_id) {
        if calls.contains_key(&os_id) {
            continue;
        }
        let interrupted = moment.interrupted_call(os_id);
        let mut call = interrupted.filter(|call| call.name() != Some("restart_syscall"));
        while call.is_none() {
            call = process.system_call(os_id);
            if call.is_none() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        calls.extend(call.or(interrupted).map(|call| (os_id, call)));
    }
}

fn system_calls(process: &Process) -> HashMap<ThreadId, SystemCall> {
    let threads = process.threads().unwrap_or_default();
    threads.into_iter().filter_map(|thread| Some((thread, process.system_call(thread)?))).collect()
}
