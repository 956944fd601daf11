//! Inspecting a living process.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::describe::Describer;
use super::findings::{Findings, GreenletCandidates, Wanted, find};
use super::subject::Subject;
use super::system_calls::{SystemCalls, complete_calls, read_system_calls};
use super::{Details, InspectedProcess};
use crate::memory::{Memory, PageCache};
use crate::process::{
    DescriptorNames, Descriptors, LiveMemory, PauseError, Process, SystemCall, ThreadId, monotonic_time,
};
use crate::python::greenlets::GreenletTypes;
use crate::python::object::ObjectReader;
use crate::sampler::{
    ASYNCIO_SECTION, MOST_SCANNED, Moment, MomentThread, NativeThread, Pausing, ProcessSampler, SampleError,
    object_ranges, section_address,
};

/// How long is waited for the lines of native code.
const LONGEST_LOOKUP: Duration = Duration::from_secs(5);
/// Of how many threads it is told for how long they sleep: each takes some 50 µs.
const MOST_SLEEPERS: usize = 1000;
/// How often a moment that could not be read is tried again.
const TRIES: u32 = 20;

/// What the process of `sampler` is doing. Unless `pausing` is [`Pausing::Never`] the whole process is stopped for the
/// read, once.
///
/// # Errors
/// When it is gone or cannot be read.
pub(crate) fn inspect_process(
    sampler: &mut ProcessSampler,
    pausing: Pausing,
    details: Details,
) -> Result<InspectedProcess, SampleError> {
    let read = read_moment(sampler, pausing, details)?;
    sampler.wait_for_lines(LONGEST_LOOKUP);
    let process = sampler.process();
    let subject = LiveSubject {
        sampler,
        process,
        memory: process.memory(),
        descriptors: process.descriptors(),
        calls: &read.calls,
        asleep_for: &read.asleep_for,
    };
    // Which thread a greenlet belongs to, its place on that thread's stack tells.
    let has_greenlets = read.findings.tasks.greenlets.is_some();
    let mappings = if has_greenlets { process.maps().unwrap_or_default() } else { Vec::new() };
    let describer = Describer {
        subject: &subject,
        moment: &read.moment,
        findings: &read.findings,
        codes: sampler.codes(),
        native: sampler.native(),
        layout: &sampler.runtime().layout,
        source: details.source,
        loop_time: read.loop_time.map(|time| time.as_secs_f64()),
        mappings: &mappings,
    };
    let (threads, tasks, frames_left_out) = describer.threads_and_tasks();
    Ok(InspectedProcess {
        threads,
        tasks,
        frames_left_out,
        deadlocks: read.findings.deadlocks,
        lost_threads: read.moment.lost,
        read_at: Some(read.time),
        stopped_for: read.moment.stopped_for,
    })
}

/// A moment, and what was found in it.
struct MomentRead {
    moment: Moment,
    findings: Findings,
    calls: SystemCalls,
    asleep_for: HashMap<ThreadId, Duration>,
    time: SystemTime,
    /// What event loops took for the time.
    loop_time: Option<Duration>,
}

fn read_moment(sampler: &mut ProcessSampler, pausing: Pausing, details: Details) -> Result<MomentRead, SampleError> {
    let mut tries = 0;
    // Where tasks come and go quickly, those that were there before the stop say too little of which pages matter.
    let mut finds_in_stop = false;
    // Before any stop: a thread that is let go runs for a moment.
    let mut sleepers = if details.sleep { sampler.process().threads().unwrap_or_default() } else { Vec::new() };
    sleepers.truncate(MOST_SLEEPERS);
    let asleep_for = sampler.process().asleep_for(&sleepers);
    let section = OnceCell::new();
    let candidates = OnceCell::new();
    loop {
        let mut moment = Moment::default();
        let mut findings = Findings::default();
        let mut calls = read_system_calls(sampler.process());
        let memory = PageCache::new(sampler.process().memory());
        let find_in = |sampler: &ProcessSampler, moment: &Moment, calls: &SystemCalls, details: Details| {
            let call_of = |thread: &MomentThread| calls.get(&thread.os_id?).copied();
            let asyncio_section = || *section.get_or_init(|| section_address(sampler.process(), ASYNCIO_SECTION));
            let greenlets = |modules| {
                let found = candidates.get_or_init(|| find_greenlets(sampler, modules));
                found.clone()
            };
            let wanted =
                Wanted { details, call_of: &call_of, asyncio_section: &asyncio_section, greenlets: &greenlets };
            find(&memory, sampler.runtime(), sampler.codes(), moment, wanted)
        };
        let result = if pausing == Pausing::Never {
            sampler.sample(Pausing::Never, &mut moment)
        } else {
            // A rehearsal without a stop tells which pages matter, so that the stop lasts only for reading those; all
            // else is done afterwards.
            if sampler.sample(Pausing::Never, &mut moment).is_ok() {
                find_in(sampler, &moment, &calls, details);
            }
            let inspect = &mut |sampler: &ProcessSampler, moment: &Moment| {
                memory.refresh();
                if finds_in_stop {
                    // Only for the pages: what is in them is found once more when the process runs again.
                    find_in(sampler, moment, &calls, Details { variables: 0, ..details });
                }
            };
            sampler.sample_stopped(&mut moment, inspect)
        };
        let (time, loop_time) = (SystemTime::now(), monotonic_time());
        if result.is_ok() {
            complete_calls(sampler.process(), &moment, &mut calls);
            let known_pages = memory.pages_read();
            findings = find_in(sampler, &moment, &calls, details);
            let is_torn = memory.pages_read() > known_pages && !findings.tasks.is_empty();
            if is_torn && !finds_in_stop && pausing != Pausing::Never {
                finds_in_stop = true;
                continue;
            }
        }
        tries += 1;
        match result {
            // Another profiler holds a thread for a moment only.
            Err(SampleError::Unreadable(_) | SampleError::Pause(PauseError::AlreadyTraced { .. })) if tries < TRIES => {
                std::thread::sleep(Duration::from_millis(10));
            }
            // Without stops a stack in motion may need some tries.
            Ok(()) if moment.lost > 0 && tries < TRIES => {}
            Ok(()) => return Ok(MomentRead { moment, findings, calls, asleep_for, time, loop_time }),
            Err(error) => return Err(error),
        }
    }
}

/// What may be greenlets in a process that runs on; `None` where greenlet was not imported. `modules` is the dict
/// `sys.modules`.
fn find_greenlets(sampler: &ProcessSampler, modules: u64) -> Option<GreenletCandidates> {
    let process = sampler.process();
    let memory = process.memory();
    let layout = &sampler.runtime().layout;
    let cached = PageCache::new(&memory);
    let types = match GreenletTypes::find(ObjectReader::new(&cached, layout), modules).transpose()? {
        Ok(types) => types,
        Err(error) => return Some(Err(error)),
    };
    let ranges = object_ranges(process);
    let scan = types.scan(ObjectReader::new(&memory, layout), &ranges, MOST_SCANNED);
    if scan.left_out > 0 || scan.is_cut {
        log::debug!("greenlets: {} bytes were not searched", scan.left_out);
    }
    Some(Ok((types, scan.candidates)))
}

struct LiveSubject<'sampler> {
    sampler: &'sampler ProcessSampler,
    process: &'sampler Process,
    memory: LiveMemory,
    descriptors: Descriptors,
    calls: &'sampler SystemCalls,
    asleep_for: &'sampler HashMap<ThreadId, Duration>,
}

impl Subject for LiveSubject<'_> {
    fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    fn descriptors(&self) -> &dyn DescriptorNames {
        &self.descriptors
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        self.process.open_source(path)
    }

    fn has_file(&self, path: &Path) -> bool {
        self.process.is_file_in_root(path)
    }

    fn thread_name(&self, thread: &MomentThread) -> Option<String> {
        self.sampler.thread_name(thread).map(str::to_owned)
    }

    fn native_thread_name(&self, thread: &NativeThread) -> Option<String> {
        self.sampler.native_thread_name(thread).map(str::to_owned)
    }

    fn system_call(&self, thread: ThreadId) -> Option<SystemCall> {
        // One that was on its way into a call before the stop is in it by now.
        self.calls.get(&thread).copied().or_else(|| self.process.system_call(thread))
    }

    fn asleep_for(&self, thread: ThreadId) -> Option<Duration> {
        self.asleep_for.get(&thread).copied()
    }

    fn wait_channel(&self, thread: ThreadId) -> Option<String> {
        self.process.wait_channel(thread)
    }
}
