//! Moments into a profile: threads, frames and stacks interned, filtered and weighted.

use std::collections::HashMap;
use std::path::Path;

use super::short_names::ShortNames;
use super::spy::{Assurance, Moment, MomentThread, Spy};
use crate::profile::{
    Flags, Frame, FrameId, Keep, Process as ProfileProcess, ProcessRef, Profile, StackId, Thread, ThreadRef,
};
use crate::python::code::CodeId;

/// Which threads of a moment are samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only threads that hold the GIL.
    pub gil_only: bool,
    /// Idle threads too.
    pub idle: bool,
}

/// Builds the profile of one recording.
#[derive(Debug)]
pub(super) struct Builder {
    profile: Profile,
    filter: Filter,
    process: ProcessRef,
    threads: HashMap<ThreadKey, ThreadRef>,
    frames: HashMap<(CodeId, u32), FrameId>,
    last_stacks: HashMap<u64, LastStack>,
    short_names: ShortNames,
}

/// A thread state is freed and its address used again; with the ident it is one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ThreadKey {
    address: u64,
    thread_id: u64,
    interpreter: i64,
}

/// What a thread state's stack was, so that one that stays the same is interned once.
#[derive(Debug, Default)]
struct LastStack {
    frames: Vec<(CodeId, u32)>,
    stack: StackId,
}

impl Builder {
    pub(super) fn new(keep: Keep, filter: Filter) -> Self {
        let mut profile = Profile::new(keep);
        let process = profile.add_process(ProfileProcess::default());
        Self {
            profile,
            filter,
            process,
            threads: HashMap::new(),
            frames: HashMap::new(),
            last_stacks: HashMap::new(),
            short_names: ShortNames::default(),
        }
    }

    /// The program in the process is a new one (or the first): its code objects have nothing to do with those before.
    pub(super) fn begin_program(&mut self, spy: &Spy) {
        self.frames.clear();
        self.last_stacks.clear();
        self.threads.clear();
        let process = spy.process();
        let command_line = command_line(process);
        let command_line = self.profile.intern(&command_line);
        let version = spy.runtime().layout.version.to_string();
        let python_version = self.profile.intern(&version);
        let entry = self.profile.process_mut(self.process);
        entry.pid = process.pid().unsigned_abs();
        entry.parent_pid = process.parent().ok().map(i32::unsigned_abs);
        entry.command_line = command_line;
        entry.python_version = python_version;
    }

    /// Adds the threads of a moment that pass the filter; all stand for the `weight_us` before `time_us` (µs since the start).
    pub(super) fn add(&mut self, spy: &Spy, moment: &Moment, time_us: u64, weight_us: u64) {
        self.profile.metadata.counts.lost += u64::from(moment.lost);
        for thread in &moment.threads {
            let wanted = (self.filter.idle || thread.active) && (!self.filter.gil_only || thread.stack.holds_gil);
            if !wanted || thread.first_frame == thread.end_frame {
                continue;
            }
            let counts = &mut self.profile.metadata.counts;
            counts.taken += 1;
            match thread.assurance {
                Assurance::Proven => {}
                Assurance::Stopped => counts.stopped += 1,
                Assurance::Unproven => counts.unproven += 1,
            }
            let reference = self.thread(spy, thread);
            let stack = self.stack(spy, moment, thread);
            self.profile.add_sample(reference, stack, time_us, weight_us, flags(thread));
        }
    }

    /// Puts the last known names of all threads of this moment into the profile.
    pub(super) fn name_threads(&mut self, spy: &Spy, moment: &Moment) {
        for thread in &moment.threads {
            if let Some(reference) = self.threads.get(&key(thread)).copied()
                && let Some(name) = spy.thread_name(thread)
            {
                self.profile.set_thread_name(reference, name);
            }
        }
    }

    /// What the threads of a moment are at, those without Python code left out.
    pub(super) fn threads_now(&mut self, spy: &Spy, moment: &Moment) -> Vec<(ThreadRef, StackId, Flags)> {
        let with_frames = moment.threads.iter().filter(|thread| thread.first_frame != thread.end_frame);
        with_frames.map(|thread| (self.thread(spy, thread), self.stack(spy, moment, thread), flags(thread))).collect()
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    pub(super) fn finish(self) -> Profile {
        self.profile
    }

    fn thread(&mut self, spy: &Spy, thread: &MomentThread) -> ThreadRef {
        if let Some(reference) = self.threads.get(&key(thread)) {
            return *reference;
        }
        let reference = self.profile.add_thread(Thread {
            process: self.process,
            os_id: thread.os_id,
            python_id: thread.stack.thread_id,
            interpreter: u64::try_from(thread.interpreter.id).unwrap_or(0),
            name: None,
        });
        if let Some(name) = spy.thread_name(thread) {
            self.profile.set_thread_name(reference, name);
        }
        self.threads.insert(key(thread), reference);
        reference
    }

    fn stack(&mut self, spy: &Spy, moment: &Moment, thread: &MomentThread) -> StackId {
        let frames = moment.frames_of(thread);
        if let Some(last) = self.last_stacks.get(&thread.stack.address)
            && last.frames.len() == frames.len()
            && last.frames.iter().zip(frames).all(|(last, frame)| *last == (frame.code, frame.line))
        {
            return last.stack;
        }
        let mut stack = StackId::EMPTY;
        for frame in frames.iter().rev() {
            let id = match self.frames.get(&(frame.code, frame.line)) {
                Some(id) => *id,
                None => self.frame(spy, frame.code, frame.line),
            };
            stack = self.profile.push(stack, id);
        }
        let last = self.last_stacks.entry(thread.stack.address).or_default();
        last.stack = stack;
        last.frames.clear();
        last.frames.extend(frames.iter().map(|frame| (frame.code, frame.line)));
        stack
    }

    fn frame(&mut self, spy: &Spy, code: CodeId, line: u32) -> FrameId {
        let known = spy.codes().get(code);
        let process = spy.process();
        let short = self.short_names.shorten(&known.filename, |path: &Path| process.is_file_in_root(path));
        let frame = Frame {
            name: self.profile.intern(&known.name),
            file: self.profile.intern(&known.filename),
            short_file: self.profile.intern(short),
            line,
            first_line: known.first_line,
            ..Frame::default()
        };
        let id = self.profile.frame(frame);
        self.frames.insert((code, line), id);
        id
    }
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

/// The arguments of a process joined by spaces.
pub fn command_line(process: &crate::process::Process) -> String {
    let arguments = process.command_line().unwrap_or_default();
    let words: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
