//! Moments into a profile: processes, threads, frames and stacks interned, filtered and weighted.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use super::async_stacks::{AsyncStacks, LogicalFrame, LogicalStack, TasksShown};
use super::cells::Cells;
use super::filter::{Choice, Filter};
use super::moment::{
    Assurance, Moment, MomentFrame, MomentThread, NativeThread, Owner, entered_interpreter, interpreter_name,
};
use super::process_sampler::ProcessSampler;
use super::short_names::ShortNames;
use super::title::command_line;
use crate::native::{FunctionId, MixedFrame, ShownFrame};
use crate::process::{Process, ThreadId};
use crate::profile::{
    Flags, Frame, FrameId, FrameKind, Process as ProfileProcess, ProcessRef, Profile, StackId, Thread, ThreadRef,
};
use crate::python::code::{Code, CodeId};

/// How long a sample waits for the lines of its native code.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How many samples wait at most.
const MOST_WAITING: usize = 1 << 16;

/// Set in the owner of the stacks of tasks that wait: no thread of the system has such a number.
const TASK_THREAD: u64 = 1 << 63;

/// What of one process is in the profile already.
#[derive(Debug)]
pub(super) struct Builder {
    process: ProcessRef,
    columns: bool,
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
    /// For the samples of `process`, which is put into the profile.
    pub(super) fn new(profile: &mut Profile, process: ProcessRef, columns: bool, tasks: Option<TasksShown>) -> Self {
        debug_assert!(profile.processes().any(|(known, _)| known == process));
        Self {
            process,
            columns,
            threads: HashMap::new(),
            native_threads: HashMap::new(),
            frames: HashMap::new(),
            last_stacks: HashMap::new(),
            keys: Vec::new(),
            chosen: HashMap::new(),
            short_names: ShortNames::default(),
            waiting: VecDeque::new(),
            cells: Cells::default(),
            async_stacks: tasks.map(|_| AsyncStacks::default()),
            shows_waiting_tasks: tasks == Some(TasksShown::All),
            task_threads: HashMap::new(),
        }
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
        if let Some(stacks) = &mut self.async_stacks {
            *stacks = AsyncStacks::default();
        }
        let command_line = profile.intern(&command_line(sampler.process()));
        let python_version = profile.intern(&sampler.runtime().layout.version.to_string());
        let entry = profile.process_mut(self.process);
        entry.command_line = command_line;
        entry.python_version = python_version;
    }

    /// Goes on in another profile, where the process is entered as it was in the one `before`.
    pub(super) fn move_to(&mut self, profile: &mut Profile, before: &Profile) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        self.native_threads.clear();
        self.task_threads.clear();
        self.chosen.clear();
        let process = before.process(self.process).clone();
        let command_line = profile.intern(before.text(process.command_line));
        let python_version = profile.intern(before.text(process.python_version));
        self.process = profile.add_process(ProfileProcess { command_line, python_version, ..process });
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
        let mut keys = std::mem::take(&mut self.keys);
        for thread in moment.threads.iter().filter(|thread| moment.has_stack(thread)) {
            if filter.wants_thread(sampler, thread) {
                let owner = Owner::State(thread.stack.address);
                let (flags, assurance) = (flags(thread), thread.assurance);
                let thread_ref = self.thread(profile, sampler, thread);
                self.fill_keys(sampler, moment, thread, &mut keys);
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
            self.add_waiting_tasks(profile, filter, sampler, time_us, &mut keys);
        }
        self.keys = keys;
    }

    /// Adds the tasks that wait, each for the time since they were looked at last.
    fn add_waiting_tasks(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        sampler: &ProcessSampler,
        time_us: u64,
        keys: &mut Vec<FrameKey>,
    ) {
        let Some((waiting, passed)) = self.async_stacks.as_mut().and_then(|stacks| stacks.waiting_tasks(sampler))
        else {
            return;
        };
        let weight_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        if weight_us == 0 {
            return;
        }
        profile.metadata.counts.in_tasks += waiting.len() as u64;
        for task in waiting {
            keys.clear();
            keys.extend(task.frames.iter().map(|frame| FrameKey::Logical(*frame)));
            let thread = self.task_thread(profile, &task.coroutine);
            let (owner, flags) = (Owner::Thread(u64::from(thread.number()) | TASK_THREAD), Flags::NONE);
            let sample = Sample { owner, thread, flags, assurance: Assurance::Proven, time_us, weight_us };
            self.put_or_wait(profile, filter, sampler, sample, keys);
        }
    }

    fn task_thread(&mut self, profile: &mut Profile, coroutine: &str) -> ThreadRef {
        if let Some(known) = self.task_threads.get(coroutine) {
            return *known;
        }
        let thread = Thread { process: self.process, os_id: None, python_id: 0, interpreter: 0, name: None };
        let reference = profile.add_thread(thread);
        profile.set_thread_name(reference, &format!("tasks {coroutine}"));
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

    fn stack(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        moment: &Moment,
        thread: &MomentThread,
    ) -> StackId {
        let mut keys = std::mem::take(&mut self.keys);
        self.fill_keys(sampler, moment, thread, &mut keys);
        let stack = self.push_keys(profile, sampler, Owner::State(thread.stack.address), &keys);
        self.keys = keys;
        stack
    }

    fn native_stack(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        thread: &NativeThread,
        mixed: &[MixedFrame],
    ) -> StackId {
        let mut keys = Vec::with_capacity(mixed.len());
        fill_native_keys(mixed, &mut keys);
        self.push_keys(profile, sampler, Owner::Thread(thread.os_id), &keys)
    }

    /// The stack of these frames, newest first.
    fn push_keys(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        owner: Owner,
        keys: &[FrameKey],
    ) -> StackId {
        // From the oldest frame on, what is as in the thread's last sample has its stack already.
        let mut last = std::mem::take(self.last_stacks.entry(owner).or_default());
        let same = last.iter().zip(keys.iter().rev()).take_while(|((last, _), key)| last == *key).count();
        last.truncate(same);
        let mut stack = last.last().map_or(StackId::EMPTY, |(_, stack)| *stack);
        let mut is_final = true;
        for key in keys.iter().rev().skip(same) {
            if let Some(frames) = self.frames.get(key) {
                stack = frames.iter().rev().fold(stack, |stack, frame| profile.push(stack, *frame));
            } else {
                let frames = self.frames_of(profile, sampler, *key);
                stack = frames.iter().rev().fold(stack, |stack, frame| profile.push(stack, *frame));
                // Once its lines are known it is shown otherwise.
                is_final &= !awaits_lines(sampler, std::slice::from_ref(key));
                if is_final {
                    self.frames.insert(*key, frames);
                }
            }
            if is_final {
                last.push((*key, stack));
            }
        }
        self.last_stacks.insert(owner, last);
        stack
    }

    /// The frames of a thread, newest first. The garbage collector is above the newest Python frame, which it
    /// interrupts.
    fn fill_keys(
        &mut self,
        sampler: &ProcessSampler,
        moment: &Moment,
        thread: &MomentThread,
        keys: &mut Vec<FrameKey>,
    ) {
        let stacks = self.async_stacks.as_mut();
        let logical = stacks.and_then(|stacks| stacks.logical_stack(sampler, thread, moment.frames_of(thread)));
        let python = |frame: &MomentFrame| {
            let column = if self.columns { column(sampler, frame) } else { 0 };
            FrameKey::Python(frame.code, frame.line, column)
        };
        let frames = moment.frames_of(thread);
        let mut collecting = thread.collecting;
        keys.clear();
        let border = |index: usize| entered_interpreter(frames, index).map(FrameKey::Interpreter);
        if let Some(logical) = logical {
            keys.extend(collecting.then_some(FrameKey::Gc));
            fill_logical_keys(frames, moment.native.of(thread), &logical, &python, keys);
            return;
        }
        match moment.native.of(thread) {
            None => {
                keys.extend(collecting.then_some(FrameKey::Gc));
                if thread.stack.innermost == thread.stack.address {
                    keys.extend(frames.iter().map(python));
                } else {
                    for (index, frame) in frames.iter().enumerate() {
                        keys.push(python(frame));
                        keys.extend(border(index));
                    }
                }
            }
            Some(mixed) => {
                for frame in mixed {
                    match frame {
                        MixedFrame::Native(function) => keys.push(FrameKey::Native(*function)),
                        MixedFrame::Python(index) => {
                            keys.extend(std::mem::take(&mut collecting).then_some(FrameKey::Gc));
                            keys.extend(frames.get(*index).map(python));
                            keys.extend(border(*index));
                        }
                    }
                }
            }
        }
    }

    /// The frame of a function at a line and column.
    fn python_frame(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        code: &Code,
        (line, column): (u32, u32),
    ) -> Frame {
        let process = sampler.process();
        let file = &code.filename;
        let cell = sampler
            .main_interpreter()
            .and_then(|interpreter| self.cells.name(process.memory(), &sampler.runtime().layout, interpreter, file));
        let short = match cell {
            Some(cell) => cell,
            None => self.short_names.shorten(file, |path: &Path| process.is_file_in_root(path)),
        };
        Frame {
            name: profile.intern(&code.name),
            file: profile.intern(&code.filename),
            short_file: profile.intern(short),
            line,
            column,
            first_line: code.first_line,
            ..Frame::default()
        }
    }

    /// The frames of a key, newest first: more than one where the compiler has put native functions into others.
    fn frames_of(&mut self, profile: &mut Profile, sampler: &ProcessSampler, key: FrameKey) -> Box<[FrameId]> {
        let frame = match key {
            FrameKey::Python(code, line, column) => {
                self.python_frame(profile, sampler, sampler.codes().get(code), (line, column))
            }
            FrameKey::Logical(LogicalFrame::Awaiter(code, line)) => {
                let stacks = self.async_stacks.take();
                let code = stacks.as_ref().map(|stacks| stacks.codes().get(code));
                let frame = code.map(|code| self.python_frame(profile, sampler, code, (line, 0)));
                self.async_stacks = stacks;
                frame.unwrap_or_default()
            }
            FrameKey::Native(function) => {
                let shown = sampler.native().map(|native| native.shown(function)).unwrap_or_default();
                return shown.iter().map(|frame| native_frame(profile, frame)).collect();
            }
            FrameKey::Logical(LogicalFrame::Label(label)) => {
                let text = self.async_stacks.as_ref().map(|stacks| stacks.label(label)).unwrap_or_default();
                Frame { kind: FrameKind::Task, name: profile.intern(text), ..Frame::default() }
            }
            FrameKey::Gc => {
                let name = profile.intern("garbage collection");
                Frame { kind: FrameKind::Gc, name, ..Frame::default() }
            }
            FrameKey::Interpreter(id) => {
                let name = profile.intern(&interpreter_name(id));
                Frame { kind: FrameKind::Interpreter, name, ..Frame::default() }
            }
        };
        [profile.frame(frame)].into()
    }
}

fn native_frame(profile: &mut Profile, shown: &ShownFrame<'_>) -> FrameId {
    let module = shown.module.rsplit('/').next().unwrap_or_default();
    let frame = Frame {
        kind: FrameKind::Native,
        name: profile.intern(shown.name),
        file: profile.intern(shown.file),
        short_file: profile.intern(shown.short_file),
        module: profile.intern(module),
        line: shown.line,
        ..Frame::default()
    };
    profile.frame(frame)
}

/// Whether the lines of one of these frames are being looked up.
fn awaits_lines(sampler: &ProcessSampler, keys: &[FrameKey]) -> bool {
    let Some(native) = sampler.native() else { return false };
    keys.iter().any(|key| matches!(key, FrameKey::Native(function) if native.awaits_lines(*function)))
}

/// The frames of a thread that runs an event loop, newest first, with what takes the place of the loop's.
fn fill_logical_keys(
    frames: &[MomentFrame],
    mixed: Option<&[MixedFrame]>,
    logical: &LogicalStack,
    python: &dyn Fn(&MomentFrame) -> FrameKey,
    keys: &mut Vec<FrameKey>,
) {
    let inserted = logical.inserted.iter().map(|frame| FrameKey::Logical(*frame));
    let Some(mixed) = mixed else {
        keys.extend(frames[..logical.newest].iter().map(python));
        keys.extend(inserted);
        keys.extend(frames[logical.older..].iter().map(python));
        return;
    };
    // Native frames belong to the Python frame below them: those that the loop has called are the task's as long as a
    // frame of the task is above.
    let place_of = |frame: &MixedFrame| match frame {
        MixedFrame::Python(index) => Some(*index),
        MixedFrame::Native(_) => None,
    };
    let first_of_loop = mixed.iter().position(|frame| place_of(frame).is_some_and(|index| index >= logical.newest));
    let first_older = mixed.iter().position(|frame| place_of(frame).is_some_and(|index| index >= logical.older));
    let first_of_loop = first_of_loop.unwrap_or(mixed.len());
    let key = |frame: &MixedFrame| match frame {
        MixedFrame::Native(function) => Some(FrameKey::Native(*function)),
        MixedFrame::Python(index) => frames.get(*index).map(python),
    };
    let of_task = &mixed[..first_of_loop];
    let last_of_task = of_task.iter().rposition(|frame| place_of(frame).is_some()).map_or(0, |last| last + 1);
    let newest = if logical.newest == 0 { of_task } else { &of_task[..last_of_task] };
    keys.extend(newest.iter().filter_map(key));
    keys.extend(inserted);
    keys.extend(mixed[first_older.unwrap_or(mixed.len())..].iter().filter_map(key));
}

/// The frames of a thread without Python code, newest first.
fn fill_native_keys(mixed: &[MixedFrame], keys: &mut Vec<FrameKey>) {
    keys.clear();
    keys.extend(mixed.iter().filter_map(|frame| match frame {
        MixedFrame::Native(function) => Some(FrameKey::Native(*function)),
        MixedFrame::Python(_) => None,
    }));
}

/// Puts a process into the profile, or, with `merge`, finds one with the same command line that is there already.
pub(super) fn enter_process(profile: &mut Profile, process: &Process, merge: bool, start_us: u64) -> ProcessRef {
    let command_line = profile.intern(&command_line(process));
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
        start_us,
        ..ProfileProcess::default()
    })
}

/// The column of a frame's instruction, from 1; 0 where it is not known.
fn column(sampler: &ProcessSampler, frame: &MomentFrame) -> u32 {
    let location = sampler.codes().location_at(frame.code, frame.offset);
    location.and_then(|location| location.column).map_or(0, |column| column + 1)
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
}

fn key(thread: &MomentThread) -> ThreadKey {
    let MomentThread { stack, interpreter, .. } = thread;
    ThreadKey { address: stack.address, thread_id: stack.thread_id, interpreter: interpreter.id }
}
