//! Moments into a profile: processes, threads, frames and stacks interned, filtered and weighted.

mod stacks;

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use stacks::{awaits_lines, fill_native_keys};

use super::async_stacks::{AsyncStacks, LogicalFrame, Shares, TasksShown, WaitingTasks};
use super::cells::Cells;
use super::filter::{Choice, Filter};
use super::moment::{Assurance, Moment, MomentThread, NativeThread, Owner};
use super::process_sampler::ProcessSampler;
use super::short_names::ShortNames;
use super::title::command_line;
use super::waits::Waits;
use crate::native::FunctionId;
use crate::process::{Process, ThreadId, supervisor_of};
use crate::profile::{
    Flags, FrameId, Process as ProfileProcess, ProcessRef, Profile, Renumbering, StackId, Thread, ThreadRef,
};
use crate::python::code::CodeId;

/// How long a sample waits for the lines of its native code.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How many samples wait at most.
const MOST_WAITING: usize = 1 << 16;

/// Set in the owner of the stacks of tasks that wait: no thread of the system has such a number.
const TASK_THREAD: u64 = 1 << 63;
/// Functions of which it is counted how many tasks run them.
const MOST_COUNTERS: usize = 200;

/// Which frames stacks have, and how fine they are told apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramesShown {
    /// Columns are told apart.
    pub(super) columns: bool,
    /// The garbage collector has a frame of its own.
    pub(super) gc_frames: bool,
    /// Stacks of event loops are shown as the program has them.
    pub(super) tasks: Option<TasksShown>,
    /// The leaf of an idle thread is what it waits in.
    pub(super) waits: bool,
}

/// What of one process is in the profile already.
#[derive(Debug)]
pub(super) struct Builder {
    process: ProcessRef,
    columns: bool,
    gc_frames: bool,
    /// Where the leaf of an idle thread is what it waits in.
    waits: Option<Waits>,
    threads: HashMap<ThreadKey, ThreadRef>,
    native_threads: HashMap<ThreadId, ThreadRef>,
    frames: HashMap<FrameKey, Box<[FrameId]>>,
    last_stacks: HashMap<Owner, LastStack>,
    keys: Vec<FrameKey>,
    chosen: HashMap<StackId, Choice>,
    short_names: ShortNames,
    waiting: VecDeque<Waiting>,
    cells: Cells,
    /// Where stacks of event loops are shown as the program has them.
    async_stacks: Option<AsyncStacks>,
    shows_waiting_tasks: bool,
    /// What stands for a thread of tasks that wait, by the names of their coroutines.
    task_threads: HashMap<String, ThreadRef>,
}

/// What stands for a thread of the tasks that run a function is called so, and so is the counter of them.
fn task_track(coroutine: &str) -> String {
    format!("tasks {coroutine}")
}

/// A thread state is freed and its address used again; with the ident it is one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ThreadKey {
    address: u64,
    thread_id: u64,
    interpreter: i64,
}

/// What a frame of the profile is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FrameKey {
    /// A place in a code object: line and column (0 for none).
    Python(CodeId, u32, u32),
    /// A native function.
    Native(FunctionId),
    /// The garbage collector at work.
    Gc,
    /// A wait for the GIL.
    GilWait,
    /// Any other wait, by the number of its words.
    Wait(u32),
    /// The function that holds the GIL; none where it is just handed over, or its thread runs no Python code.
    GilHolder(Option<CodeId>),
    /// The border to an interpreter, by its id.
    Interpreter(i64),
    /// A frame of a task that waits, or the border to a task.
    Logical(LogicalFrame),
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

/// The frames of a thread's last stack, oldest first, each with the stack that ends in it.
type LastStack = Vec<(FrameKey, StackId)>;

impl Builder {
    /// For the samples of `process`, which is in the profile.
    pub(super) fn new(process: ProcessRef, shown: FramesShown) -> Self {
        Self {
            process,
            columns: shown.columns,
            gc_frames: shown.gc_frames,
            waits: shown.waits.then(Waits::default),
            threads: HashMap::new(),
            native_threads: HashMap::new(),
            frames: HashMap::new(),
            last_stacks: HashMap::new(),
            keys: Vec::new(),
            chosen: HashMap::new(),
            short_names: ShortNames::default(),
            waiting: VecDeque::new(),
            cells: Cells::default(),
            async_stacks: shown.tasks.map(|_| AsyncStacks::default()),
            shows_waiting_tasks: shown.tasks == Some(TasksShown::All),
            task_threads: HashMap::new(),
        }
    }

    /// The process in the profile.
    pub(super) fn process(&self) -> ProcessRef {
        self.process
    }

    /// The process is gone, or runs another program from now on.
    pub(super) fn end(&self, profile: &mut Profile, time_us: u64) {
        profile.process_mut(self.process).end_us = Some(time_us);
    }

    /// The program in the process is a new one (or the first): its code objects have nothing to do with those before.
    pub(super) fn begin_program(&mut self, profile: &mut Profile, sampler: &ProcessSampler) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        self.native_threads.clear();
        self.task_threads.clear();
        if let Some(waits) = &mut self.waits {
            waits.forget_threads();
        }
        if let Some(stacks) = &mut self.async_stacks {
            *stacks = AsyncStacks::default();
        }
        let command_line = profile.intern(&command_line(sampler.process()));
        let python_version = profile.intern(&sampler.runtime().layout.version.to_string());
        let entry = profile.process_mut(self.process);
        entry.command_line = command_line;
        entry.python_version = python_version;
    }

    /// Forgets what frames of the profile were made of which code: what that was called by number is another by now.
    pub(super) fn forget_codes(&mut self) {
        self.frames.clear();
        self.last_stacks.clear();
        self.short_names = ShortNames::default();
        if let Some(stacks) = &mut self.async_stacks {
            *stacks = AsyncStacks::default();
        }
    }

    /// The threads of a moment, as the profile has them.
    pub(super) fn threads_of(&self, moment: &Moment) -> Vec<ThreadRef> {
        let with_states = moment.threads.iter().filter_map(|thread| self.threads.get(&key(thread)));
        let native = moment.native_threads.iter().filter_map(|thread| self.native_threads.get(&thread.os_id));
        with_states.chain(native).chain(self.task_threads.values()).copied().collect()
    }

    /// Goes on in a condensed profile with the numbers there. Threads that are not in the last `moment` are forgotten.
    pub(super) fn renumber(&mut self, by: &Renumbering, moment: &Moment) {
        self.process = by.process(self.process);
        let living: HashSet<ThreadKey> = moment.threads.iter().map(key).collect();
        self.threads.retain(|thread, _| living.contains(thread));
        let native: HashSet<ThreadId> = moment.native_threads.iter().map(|thread| thread.os_id).collect();
        self.native_threads.retain(|thread, _| native.contains(thread));
        let references = self.threads.values_mut().chain(self.native_threads.values_mut());
        references.chain(self.task_threads.values_mut()).for_each(|thread| *thread = by.thread(*thread));
        self.forget_codes();
        self.chosen.clear();
    }

    /// Goes on in another profile, where the process is entered as it was in the one `before`.
    pub(super) fn move_to(&mut self, profile: &mut Profile, before: &Profile) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        self.native_threads.clear();
        self.task_threads.clear();
        self.chosen.clear();
        let process = before.process(self.process).with_texts(|text| profile.intern(before.text(text)));
        self.process = profile.add_process(process);
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
        // Samples that wait for lines have such frames.
        if self.waiting.is_empty() && self.async_stacks.as_mut().is_some_and(AsyncStacks::forget_if_full) {
            self.frames.retain(|key, _| !matches!(key, FrameKey::Logical(_)));
            self.last_stacks.clear();
        }
        let mut keys = std::mem::take(&mut self.keys);
        for thread in moment.threads.iter().filter(|thread| moment.has_stack(thread)) {
            if filter.wants_thread(sampler, thread) {
                let owner = Owner::State(thread.stack.address);
                let (flags, assurance) = (flags(thread), thread.assurance);
                let thread_ref = self.thread(profile, sampler, thread);
                self.fill_keys(sampler, moment, thread, &mut keys);
                if filter.gil_wait {
                    keys.push(FrameKey::GilHolder(moment.gil_holder_of(thread)));
                }
                let is_in_task =
                    self.async_stacks.as_mut().is_some_and(|stacks| std::mem::take(&mut stacks.is_in_task));
                profile.metadata.counts.in_tasks += u64::from(is_in_task);
                let sample = Sample { owner, thread: thread_ref, flags, assurance, time_us, weight_us };
                self.put_or_wait(profile, filter, sampler, sample, &keys);
            }
        }
        for thread in &moment.native_threads {
            if let Some(mixed) = moment.native.of_native(thread)
                && filter.wants_native_thread(sampler, thread)
            {
                let (owner, flags, assurance) = (Owner::Thread(thread.os_id), native_flags(thread), Assurance::Stopped);
                let thread_ref = self.native_thread(profile, sampler, thread);
                fill_native_keys(mixed, &mut keys);
                let sample = Sample { owner, thread: thread_ref, flags, assurance, time_us, weight_us };
                self.put_or_wait(profile, filter, sampler, sample, &keys);
            }
        }
        if self.shows_waiting_tasks {
            self.add_waiting_tasks(profile, filter, (sampler, moment), time_us, &mut keys);
        }
        self.keys = keys;
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
        let looked = self.async_stacks.as_mut().and_then(|stacks| stacks.waiting_tasks(sampler, moment));
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
            self.count_tasks(profile, &shares, time_us);
        }
        for task in &waiting {
            // Where time has an order, all tasks of a function have one track: each has its part of the time.
            let span_us = if profile.has_timeline() { shares.next(task, weight_us) } else { (0, weight_us) };
            let (time_us, weight_us) = (time_us - weight_us.min(time_us) + span_us.1, span_us.1 - span_us.0);
            keys.clear();
            keys.extend(task.frames.iter().map(|frame| FrameKey::Logical(*frame)));
            let thread = self.task_thread(profile, &task.coroutine);
            let (owner, flags) = (Owner::Thread(u64::from(thread.number()) | TASK_THREAD), Flags::NONE);
            let sample = Sample { owner, thread, flags, assurance: Assurance::Proven, time_us, weight_us };
            self.put_or_wait(profile, filter, sampler, sample, keys);
        }
    }

    /// How many tasks there are, in all and of each function.
    fn count_tasks(&mut self, profile: &mut Profile, shares: &Shares, time_us: u64) {
        for coroutine in shares.coroutines() {
            self.task_thread(profile, coroutine);
        }
        for coroutine in self.task_threads.keys().take(MOST_COUNTERS) {
            profile.set_counter(self.process, &task_track(coroutine), time_us, shares.count(coroutine));
        }
        profile.set_counter(self.process, "tasks", time_us, shares.total());
    }

    fn task_thread(&mut self, profile: &mut Profile, coroutine: &str) -> ThreadRef {
        if let Some(known) = self.task_threads.get(coroutine) {
            return *known;
        }
        let thread = Thread { process: self.process, os_id: None, python_id: 0, interpreter: 0, name: None };
        let reference = profile.add_thread(thread);
        profile.set_thread_name(reference, &task_track(coroutine));
        self.task_threads.insert(coroutine.to_owned(), reference);
        reference
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
        let mut stack = self.push_keys(profile, sampler, sample.owner, keys);
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
        for thread in &moment.threads {
            if let Some(reference) = self.threads.get(&key(thread)).copied()
                && let Some(name) = sampler.thread_name(thread)
            {
                profile.set_thread_name(reference, name);
            }
        }
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
                (self.thread(profile, sampler, thread), self.stack(profile, sampler, moment, thread), flags(thread))
            })
            .collect();
        for thread in &moment.native_threads {
            if let Some(mixed) = moment.native.of_native(thread) {
                let stack = self.native_stack(profile, sampler, thread, mixed);
                now.push((self.native_thread(profile, sampler, thread), stack, native_flags(thread)));
            }
        }
        now
    }

    fn thread(&mut self, profile: &mut Profile, sampler: &ProcessSampler, thread: &MomentThread) -> ThreadRef {
        if let Some(reference) = self.threads.get(&key(thread)) {
            return *reference;
        }
        let reference = profile.add_thread(Thread {
            process: self.process,
            os_id: thread.os_id,
            python_id: thread.stack.thread_id,
            interpreter: u64::try_from(thread.interpreter.id).unwrap_or(0),
            name: None,
        });
        if let Some(name) = sampler.thread_name(thread) {
            profile.set_thread_name(reference, name);
        }
        self.threads.insert(key(thread), reference);
        reference
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
        let key = FrameKey::Python(code, sampler.codes().get(code).first_line, 0);
        if !self.frames.contains_key(&key) {
            let frames = self.frames_of(profile, sampler, key);
            self.frames.insert(key, frames);
        }
        self.frames.get(&key)?.first().copied()
    }

    fn native_thread(&mut self, profile: &mut Profile, sampler: &ProcessSampler, thread: &NativeThread) -> ThreadRef {
        let process = self.process;
        let entry = self.native_threads.entry(thread.os_id);
        let reference = *entry.or_insert_with(|| {
            profile.add_thread(Thread { process, os_id: Some(thread.os_id), python_id: 0, interpreter: 0, name: None })
        });
        if let Some(name) = sampler.native_thread_name(thread) {
            profile.set_thread_name(reference, name);
        }
        reference
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

fn key(thread: &MomentThread) -> ThreadKey {
    let MomentThread { stack, interpreter, .. } = thread;
    ThreadKey { address: stack.address, thread_id: stack.thread_id, interpreter: interpreter.id }
}
