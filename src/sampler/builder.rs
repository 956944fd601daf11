//! Moments into a profile: processes, threads, frames and stacks interned, filtered and weighted.

use std::path::Path;

use foldhash::{HashMap, HashMapExt};

use super::cells::Cells;
use super::filter::{Choice, Filter};
use super::moment::{Assurance, Moment, MomentFrame, MomentThread};
use super::short_names::ShortNames;
use super::spy::Spy;
use super::title::command_line;
use crate::native::{Function, FunctionId, MixedFrame};
use crate::process::Process;
use crate::profile::{
    Flags, Frame, FrameId, FrameKind, Process as ProfileProcess, ProcessRef, Profile, StackId, Thread, ThreadRef,
};
use crate::python::code::CodeId;
use crate::python::interpreter::InterpreterState;

/// What of one process is in the profile already.
#[derive(Debug)]
pub(super) struct Builder {
    process: ProcessRef,
    columns: bool,
    threads: HashMap<ThreadKey, ThreadRef>,
    frames: HashMap<FrameKey, FrameId>,
    last_stacks: HashMap<u64, LastStack>,
    keys: Vec<FrameKey>,
    chosen: HashMap<StackId, Choice>,
    short_names: ShortNames,
    cells: Cells,
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
}

/// The frames of a thread state's last stack, oldest first, each with the stack that ends in it.
type LastStack = Vec<(FrameKey, StackId)>;

impl Builder {
    /// For the samples of `process`, which is put into the profile.
    pub(super) fn new(profile: &mut Profile, process: ProcessRef, columns: bool) -> Self {
        debug_assert!(profile.processes().any(|(known, _)| known == process));
        Self {
            process,
            columns,
            threads: HashMap::new(),
            frames: HashMap::new(),
            last_stacks: HashMap::new(),
            keys: Vec::new(),
            chosen: HashMap::new(),
            short_names: ShortNames::default(),
            cells: Cells::default(),
        }
    }

    /// The process is gone, or runs another program from now on.
    pub(super) fn end(&self, profile: &mut Profile, time_us: u64) {
        profile.process_mut(self.process).end_us = Some(time_us);
    }

    /// The program in the process is a new one (or the first): its code objects have nothing to do with those before.
    pub(super) fn begin_program(&mut self, profile: &mut Profile, spy: &Spy) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        let command_line = profile.intern(&command_line(spy.process()));
        let python_version = profile.intern(&spy.runtime().layout.version.to_string());
        let entry = profile.process_mut(self.process);
        entry.command_line = command_line;
        entry.python_version = python_version;
    }

    /// Goes on in another profile, where the process is entered as it was in the one `before`.
    pub(super) fn move_to(&mut self, profile: &mut Profile, before: &Profile) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        self.chosen.clear();
        let process = before.process(self.process).clone();
        let command_line = profile.intern(before.text(process.command_line));
        let python_version = profile.intern(before.text(process.python_version));
        self.process = profile.add_process(ProfileProcess { command_line, python_version, ..process });
    }

    /// Adds the threads of a moment that pass the filter; all stand for the `weight_us` before `time_us` (µs since the start).
    pub(super) fn add(
        &mut self,
        profile: &mut Profile,
        filter: &Filter,
        spy: &Spy,
        moment: &Moment,
        (time_us, weight_us): (u64, u64),
    ) {
        profile.metadata.counts.lost += u64::from(moment.lost);
        for thread in &moment.threads {
            if thread.first_frame == thread.end_frame || !filter.wants_thread(spy, thread) {
                continue;
            }
            let mut stack = self.stack(profile, spy, moment, thread);
            if filter.looks_at_stacks() {
                match *self.chosen.entry(stack).or_insert_with(|| filter.choose(profile, stack)) {
                    Choice::Taken(chosen) => stack = chosen,
                    Choice::Outside => {
                        profile.metadata.counts.outside += 1;
                        continue;
                    }
                    Choice::Unwanted => continue,
                }
            }
            let counts = &mut profile.metadata.counts;
            counts.taken += 1;
            match thread.assurance {
                Assurance::Proven => {}
                Assurance::Stopped => counts.stopped += 1,
                Assurance::Unproven => counts.unproven += 1,
            }
            let reference = self.thread(profile, spy, thread);
            profile.add_sample(reference, stack, time_us, weight_us, flags(thread));
        }
    }

    /// Puts the last known names of all threads of this moment into the profile.
    pub(super) fn name_threads(&self, profile: &mut Profile, spy: &Spy, moment: &Moment) {
        for thread in &moment.threads {
            if let Some(reference) = self.threads.get(&key(thread)).copied()
                && let Some(name) = spy.thread_name(thread)
            {
                profile.set_thread_name(reference, name);
            }
        }
    }

    /// What the threads of a moment are at, those without Python code left out.
    pub(super) fn threads_now(
        &mut self,
        profile: &mut Profile,
        spy: &Spy,
        moment: &Moment,
    ) -> Vec<(ThreadRef, StackId, Flags)> {
        let with_frames = moment.threads.iter().filter(|thread| thread.first_frame != thread.end_frame);
        with_frames
            .map(|thread| (self.thread(profile, spy, thread), self.stack(profile, spy, moment, thread), flags(thread)))
            .collect()
    }

    fn thread(&mut self, profile: &mut Profile, spy: &Spy, thread: &MomentThread) -> ThreadRef {
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
        if let Some(name) = spy.thread_name(thread) {
            profile.set_thread_name(reference, name);
        }
        self.threads.insert(key(thread), reference);
        reference
    }

    fn stack(&mut self, profile: &mut Profile, spy: &Spy, moment: &Moment, thread: &MomentThread) -> StackId {
        let mut keys = std::mem::take(&mut self.keys);
        self.fill_keys(spy, moment, thread, &mut keys);
        // From the oldest frame on, what is as in the thread's last sample has its stack already.
        let mut last = std::mem::take(self.last_stacks.entry(thread.stack.address).or_default());
        let same = last.iter().zip(keys.iter().rev()).take_while(|((last, _), key)| last == *key).count();
        last.truncate(same);
        let mut stack = last.last().map_or(StackId::EMPTY, |(_, stack)| *stack);
        for key in keys.iter().rev().skip(same) {
            let id = match self.frames.get(key) {
                Some(id) => *id,
                None => self.frame(profile, spy, &thread.interpreter, *key),
            };
            stack = profile.push(stack, id);
            last.push((*key, stack));
        }
        self.last_stacks.insert(thread.stack.address, last);
        self.keys = keys;
        stack
    }

    /// The frames of a thread, newest first. The garbage collector is above the newest Python frame, which it interrupts.
    fn fill_keys(&self, spy: &Spy, moment: &Moment, thread: &MomentThread, keys: &mut Vec<FrameKey>) {
        let python = |frame: &MomentFrame| {
            let column = if self.columns { column(spy, frame) } else { 0 };
            FrameKey::Python(frame.code, frame.line, column)
        };
        let frames = moment.frames_of(thread);
        let mut collecting = thread.collecting;
        keys.clear();
        match moment.native.of(thread) {
            None => {
                keys.extend(collecting.then_some(FrameKey::Gc));
                keys.extend(frames.iter().map(python));
            }
            Some(mixed) => {
                for frame in mixed {
                    match frame {
                        MixedFrame::Native(function) => keys.push(FrameKey::Native(*function)),
                        MixedFrame::Python(index) => {
                            keys.extend(std::mem::take(&mut collecting).then_some(FrameKey::Gc));
                            keys.extend(frames.get(*index).map(python));
                        }
                    }
                }
            }
        }
    }

    fn frame(&mut self, profile: &mut Profile, spy: &Spy, interpreter: &InterpreterState, key: FrameKey) -> FrameId {
        let frame = match key {
            FrameKey::Python(code, line, column) => {
                let known = spy.codes().get(code);
                let process = spy.process();
                let file = &known.filename;
                let short = match self.cells.name(process.memory(), &spy.runtime().layout, interpreter, file) {
                    Some(cell) => cell,
                    None => self.short_names.shorten(file, |path: &Path| process.is_file_in_root(path)),
                };
                Frame {
                    name: profile.intern(&known.name),
                    file: profile.intern(&known.filename),
                    short_file: profile.intern(short),
                    line,
                    column,
                    first_line: known.first_line,
                    ..Frame::default()
                }
            }
            FrameKey::Native(function) => {
                let function = spy.native().map(|native| native.function(function));
                let text = |of: fn(&Function) -> &str| function.map_or("", of);
                Frame {
                    kind: FrameKind::Native,
                    name: profile.intern(text(|function| &function.name)),
                    file: profile.intern(text(|function| &function.path)),
                    short_file: profile.intern(text(|function| &function.module)),
                    module: profile.intern(text(|function| &function.module)),
                    ..Frame::default()
                }
            }
            FrameKey::Gc => {
                let name = profile.intern("garbage collection");
                Frame { kind: FrameKind::Gc, name, ..Frame::default() }
            }
        };
        let id = profile.frame(frame);
        self.frames.insert(key, id);
        id
    }
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
fn column(spy: &Spy, frame: &MomentFrame) -> u32 {
    let location = spy.codes().location_at(frame.code, frame.offset);
    location.and_then(|location| location.column).map_or(0, |column| column + 1)
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
