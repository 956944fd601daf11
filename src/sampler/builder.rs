//! Moments into a profile: processes, threads, frames and stacks interned, filtered and weighted.

mod stacks;
mod threads;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use stacks::{FrameKey, StackTable, awaits_lines, fill_native_keys};
use threads::ThreadTable;

use super::async_stacks::{Shares, TasksShown, WaitingTasks};
use super::filter::{Choice, Filter};
use super::moment::{Assurance, Moment, MomentThread, NativeThread, Owner};
use super::process_sampler::ProcessSampler;
use super::record_options::FramesShown;
use super::title::command_line;
use crate::process::{Process, supervisor_of};
use crate::profile::{Flags, FrameId, Process as ProfileProcess, ProcessRef, Profile, Renumbering, StackId, ThreadRef};

/// How long a sample waits for the lines of its native code.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How many samples wait at most.
const MOST_WAITING: usize = 1 << 16;

/// Set in the owner of the stacks of tasks that wait: no thread of the system has such a number.
const TASK_THREAD: u64 = 1 << 63;

/// What of one process is in the profile already.
#[derive(Debug)]
pub(super) struct Builder {
    threads: ThreadTable,
    stacks: StackTable,
    /// What the filter has made of stacks.
    chosen: HashMap<StackId, Choice>,
    /// Samples that are not in it yet, in their order.
    waiting: VecDeque<Waiting>,
    shows_waiting_tasks: bool,
}

/// A sample that is not in the profile yet: the lines of its native code are being looked up, or those of one before
/// it.
#[derive(Debug)]
struct Waiting {
    sample: Sample,
    keys: Box<[FrameKey]>,
    since: Instant,
}

/// A sample but for its stack.
#[derive(Debug, Clone, Copy)]
struct Sample {
    owner: Owner,
    thread: ThreadRef,
    flags: Flags,
    assurance: Assurance,
    time_us: u64,
    weight_us: u64,
}

impl Builder {
    /// For the samples of `process`, which is in the profile.
    pub(super) fn new(process: ProcessRef, shown: FramesShown) -> Self {
        Self {
            threads: ThreadTable::new(process),
            stacks: StackTable::new(shown),
            chosen: HashMap::new(),
            waiting: VecDeque::new(),
            shows_waiting_tasks: shown.tasks == Some(TasksShown::All),
        }
    }

    /// The process in the profile.
    pub(super) fn process(&self) -> ProcessRef {
        self.threads.process()
    }

    /// The process is gone, or runs another program from now on.
    pub(super) fn end(&self, profile: &mut Profile, time_us: u64) {
        profile.process_mut(self.process()).end_us = Some(time_us);
    }

    /// The program in the process is a new one (or the first): its code objects have nothing to do with those before.
    pub(super) fn begin_program(&mut self, profile: &mut Profile, sampler: &ProcessSampler) {
        self.threads.clear();
        self.stacks.begin_program();
        let command_line = profile.intern(&command_line(sampler.process()));
        let python_version = profile.intern(&sampler.runtime().layout.version.to_string());
        let entry = profile.process_mut(self.process());
        entry.command_line = command_line;
        entry.python_version = python_version;
    }

    /// Forgets what frames of the profile were made of which code: what that was called by number is another by now.
    pub(super) fn forget_codes(&mut self) {
        self.stacks.forget_codes();
    }

    /// The threads of a moment, as the profile has them.
    pub(super) fn threads_of(&self, moment: &Moment) -> Vec<ThreadRef> {
        self.threads.of(moment)
    }

    /// Goes on in a condensed profile with the numbers there. Threads that are not in the last `moment` are forgotten.
    pub(super) fn renumber(&mut self, by: &Renumbering, moment: &Moment) {
        self.threads.renumber(by, moment);
        self.stacks.forget_codes();
        self.chosen.clear();
    }

    /// Goes on in another profile, where the process is entered as it was in the one `before`.
    pub(super) fn move_to(&mut self, profile: &mut Profile, before: &Profile) {
        self.stacks.forget_frames();
        self.chosen.clear();
        let process = before.process(self.process()).with_texts(|text| profile.intern(before.text(text)));
        self.threads = ThreadTable::new(profile.add_process(process));
    }

    /// Adds the threads of a moment that pass the filter; all stand for the `weight_us` before `time_us` (µs since the
    /// start).
    pub(super) fn add(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        sampler: &ProcessSampler,
        moment: &Moment,
        (time_us, weight_us): (u64, u64),
    ) {
        self.put_waiting(profile, filter, sampler, LONGEST_WAIT);
        profile.metadata.counts.lost += u64::from(moment.lost);
        profile.metadata.counts.cut += u64::from(moment.native.cut);
        // Samples that wait for lines have frames of tasks.
        if self.waiting.is_empty() {
            self.stacks.bound_tasks();
        }
        self.stacks.begin_sample(sampler, moment);
        let mut keys = std::mem::take(&mut self.stacks.keys);
        for thread in moment.threads.iter().filter(|thread| moment.has_stack(thread)) {
            if filter.wants_thread(sampler, thread) {
                let owner = Owner::State(thread.stack.address);
                let (flags, assurance) = (flags(thread), thread.assurance);
                let thread_ref = self.threads.enter(profile, sampler, thread);
                self.stacks.fill_keys(sampler, moment, thread, &mut keys);
                if filter.gil_wait {
                    keys.push(FrameKey::GilHolder(moment.gil_holder_of(thread)));
                }
                profile.metadata.counts.in_tasks += u64::from(self.stacks.take_is_in_task());
                let sample = Sample { owner, thread: thread_ref, flags, assurance, time_us, weight_us };
                self.put_or_wait(profile, filter, sampler, sample, &keys);
            }
        }
        for thread in &moment.native_threads {
            if let Some(mixed) = moment.native.of_native(thread)
                && filter.wants_native_thread(sampler, thread)
            {
                let (owner, flags, assurance) = (Owner::Thread(thread.os_id), native_flags(thread), thread.assurance);
                let thread_ref = self.threads.enter_native(profile, sampler, thread);
                fill_native_keys(mixed, &moment.of_kernel.frames, &mut keys);
                let sample = Sample { owner, thread: thread_ref, flags, assurance, time_us, weight_us };
                self.put_or_wait(profile, filter, sampler, sample, &keys);
            }
        }
        if self.shows_waiting_tasks {
            self.add_waiting_tasks(profile, filter, (sampler, moment), time_us, &mut keys);
        }
        self.stacks.keys = keys;
    }

    /// Adds the tasks that wait, each for the time since they were looked at last.
    fn add_waiting_tasks(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        (sampler, moment): (&ProcessSampler, &Moment),
        time_us: u64,
        keys: &mut Vec<FrameKey>,
    ) {
        let looked = self.stacks.waiting_tasks(sampler, moment);
        let Some(WaitingTasks { waiting, unproven, passed }) = looked else { return };
        let weight_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        if weight_us == 0 {
            return;
        }
        profile.metadata.counts.in_tasks += waiting.len() as u64;
        profile.metadata.counts.unproven_tasks += unproven;
        let mut shares = Shares::default();
        if profile.has_timeline() {
            shares = Shares::of(&waiting);
            self.threads.count_tasks(profile, &shares, time_us);
        }
        for task in &waiting {
            // Where time has an order, all tasks of a function have one track: each has its part of the time.
            let span_us = if profile.has_timeline() { shares.next(task, weight_us) } else { (0, weight_us) };
            let (time_us, weight_us) = (time_us - weight_us.min(time_us) + span_us.1, span_us.1 - span_us.0);
            keys.clear();
            keys.extend(task.frames.iter().map(|frame| FrameKey::Logical(*frame)));
            let thread = self.threads.enter_task(profile, &task.coroutine);
            let (owner, flags) = (Owner::Thread(u64::from(thread.number()) | TASK_THREAD), Flags::NONE);
            let sample = Sample { owner, thread, flags, assurance: Assurance::Proven, time_us, weight_us };
            self.put_or_wait(profile, filter, sampler, sample, keys);
        }
    }

    /// Puts the samples into the profile that wait for lines: as they are, where they have waited as long as `limit`.
    pub(super) fn put_waiting(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        sampler: &ProcessSampler,
        limit: Duration,
    ) {
        while let Some(first) = self.waiting.front() {
            if awaits_lines(sampler, &first.keys) && first.since.elapsed() < limit && self.waiting.len() <= MOST_WAITING
            {
                return;
            }
            if let Some(Waiting { sample, keys, .. }) = self.waiting.pop_front() {
                self.put(profile, filter, sampler, sample, &keys);
            }
        }
    }

    fn put_or_wait(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        sampler: &ProcessSampler,
        sample: Sample,
        keys: &[FrameKey],
    ) {
        // They stay in order.
        if self.waiting.is_empty() && !awaits_lines(sampler, keys) {
            self.put(profile, filter, sampler, sample, keys);
        } else {
            self.waiting.push_back(Waiting { sample, keys: keys.into(), since: Instant::now() });
        }
    }

    fn put(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        sampler: &ProcessSampler,
        sample: Sample,
        keys: &[FrameKey],
    ) {
        let mut stack = self.stacks.push_keys(profile, sampler, sample.owner, keys);
        if filter.looks_at_stacks() {
            match *self.chosen.entry(stack).or_insert_with(|| filter.choose(profile, stack)) {
                Choice::Taken(chosen) => stack = chosen,
                Choice::Outside => {
                    profile.metadata.counts.outside += 1;
                    return;
                }
                Choice::Unwanted => return,
            }
        }
        count(profile, sample.assurance);
        profile.add_sample(sample.thread, stack, sample.time_us, sample.weight_us, sample.flags);
    }

    /// Puts the last known names of all threads of this moment into the profile.
    pub(super) fn name_threads(&self, profile: &mut Profile, sampler: &ProcessSampler, moment: &Moment) {
        self.threads.name(profile, sampler, moment);
    }

    /// What the threads of a moment are at, those left out of which there is no stack.
    pub(super) fn threads_now(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        moment: &Moment,
    ) -> Vec<(ThreadRef, StackId, Flags)> {
        let with_stacks = moment.threads.iter().filter(|thread| moment.has_stack(thread));
        let mut now: Vec<_> = with_stacks
            .map(|thread| {
                let reference = self.threads.enter(profile, sampler, thread);
                (reference, self.stacks.stack(profile, sampler, moment, thread), flags(thread))
            })
            .collect();
        for thread in &moment.native_threads {
            if let Some(mixed) = moment.native.of_native(thread) {
                let stack = self.stacks.native_stack(profile, sampler, thread, mixed);
                now.push((self.threads.enter_native(profile, sampler, thread), stack, native_flags(thread)));
            }
        }
        now
    }

    /// The frame of the function that the thread at `index` of a moment runs: its newest Python frame, at the
    /// function's first line.
    pub(super) fn function_of(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        moment: &Moment,
        index: usize,
    ) -> Option<FrameId> {
        let code = moment.frames_of(moment.threads.get(index)?).first()?.code;
        self.stacks.function(profile, sampler, code)
    }
}

/// Puts a process into the profile, or, with `merge`, finds one with the same command line that is there already.
pub(super) fn enter_process(profile: &mut Profile, process: &Process, merge: bool, start_us: u64) -> ProcessRef {
    let command_line = profile.intern(&command_line(process));
    let supervisor = process.control_groups().and_then(|groups| supervisor_of(&groups)).unwrap_or_default();
    let supervisor = profile.intern(&supervisor);
    let parent_pid = process.parent().ok().map(i32::unsigned_abs);
    if merge
        && let Some((known, _)) =
            profile.processes().find(|(_, known)| known.command_line == command_line && known.parent_pid == parent_pid)
    {
        return known;
    }
    profile.add_process(ProfileProcess {
        pid: process.pid().unsigned_abs(),
        parent_pid,
        command_line,
        supervisor,
        start_us,
        ..ProfileProcess::default()
    })
}

fn count(profile: &mut Profile, assurance: Assurance) {
    let counts = &mut profile.metadata.counts;
    counts.taken += 1;
    match assurance {
        Assurance::Proven => {}
        Assurance::Stopped => counts.stopped += 1,
        Assurance::Unproven => counts.unproven += 1,
    }
}

fn native_flags(thread: &NativeThread) -> Flags {
    Flags::NONE.with_if(Flags::ACTIVE, thread.active)
}

fn flags(thread: &MomentThread) -> Flags {
    Flags::NONE
        .with_if(Flags::ACTIVE, thread.active)
        .with_if(Flags::GIL, thread.stack.holds_gil)
        .with_if(Flags::GC, thread.collecting)
        .with_if(Flags::GIL_WAIT, thread.waits_for_gil)
}
