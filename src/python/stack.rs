//! Walks interpreters, thread states and frames: the raw stacks of one moment.
//!
//! A frame is given as addresses and numbers only; [`super::code`] turns them into names and lines. Every chain has a
//! cap and is watched for cycles, for the target may be torn or hostile.
//!
//! A thread that calls into another interpreter has a thread state in each. It is one thread with one stack: the frames
//! of the outer interpreter continued by those of the inner one. They are read together, as one unit.

use std::ops::Range;

pub(crate) use super::frame_line::{FrameLine, Position};
use super::interpreter::{InterpreterState, read_interpreter};
use super::layout::Layout;
use super::runtime::Runtime;
use crate::memory::{COMMON, ReadError, ReadFailure, Reader};

mod frames;
mod states;

use frames::Part;
use states::{Group, ThreadState};

/// More frames than any real stack has.
const MOST_FRAMES: usize = 1 << 20;
/// As many of all stacks together as we have room for.
const MOST_FRAMES_OF_ALL: usize = 1 << 22;
/// More thread states than a process can use, of all interpreters.
const MOST_THREADS: usize = 1 << 16;
/// How often thread states are grouped anew in one walk, at most: once for what belongs together, once for its order.
const REGROUPINGS: u32 = 2;
/// More interpreters than a process can hold.
const MOST_INTERPRETERS: usize = 1 << 12;

/// One frame, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame {
    /// The `PyFrameObject` or `_PyInterpreterFrame`.
    pub address: u64,
    /// What it runs: the address of what should be a code object.
    pub code: u64,
    /// Where in it.
    pub position: Position,
    /// What it says itself of its line.
    pub line: FrameLine,
    /// Whether C code made it run.
    pub entry: Entered,
    /// Index of the interpreter that runs it in [`Stacks::interpreters`].
    pub interpreter: usize,
}

/// How a frame came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// The evaluation that runs its caller runs it too (3.11+).
    Within,
    /// By an evaluation of its own, which C code entered.
    FromC,
    /// As [`Entered::FromC`], and this is the address of the shim frame below it, which lies on the native stack
    /// (3.12+).
    ByShim(u64),
}

/// One thread and where its frames are in [`Stacks::frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadStack {
    /// Its `PyThreadState`; the one in the oldest interpreter where it has several.
    pub address: u64,
    /// Index of the interpreter of that thread state in [`Stacks::interpreters`].
    pub interpreter: usize,
    /// The `PyThreadState` whose newest frame is the thread's newest.
    pub innermost: u64,
    /// Index of the interpreter of that one.
    pub running_in: usize,
    /// `thread_id`: the `pthread_t`, which is also `threading.Thread.ident`.
    pub thread_id: u64,
    /// `native_thread_id` (3.11+), the kernel's id in the target's own pid namespace.
    pub native_thread_id: Option<u64>,
    /// It holds the GIL of an interpreter (with a free-threaded build: never).
    pub holds_gil: bool,
    /// `gil_requested` of `innermost`: it says that it waits for the GIL (3.15+; before, or without a GIL: never).
    pub requests_gil: bool,
    /// Whether it may run Python code, where there is no GIL.
    pub attachment: Option<Attachment>,
    /// Index of its first (newest) frame.
    pub first_frame: usize,
    /// One past the index of its last frame.
    pub end_frame: usize,
    /// The chain ended in something unreadable: older frames are missing.
    pub is_truncated: bool,
    /// It was left out of the walk: it has no frames here.
    pub is_left_out: bool,
}

/// Whether a thread may run Python code, where there is no GIL: `PyThreadState.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It runs C code that does not touch objects, or waits there.
    Detached,
    /// It may.
    Attached,
    /// It may not before the world runs on that another thread has stopped. Until then it can run only C code.
    Suspended,
}

/// The raw stacks of one moment; kept and refilled, so that a steady state allocates nothing.
#[derive(Debug, Default)]
pub struct Stacks {
    /// Main one first.
    pub interpreters: Vec<InterpreterState>,
    /// In the order in which their first thread states were made, interpreter by interpreter.
    pub threads: Vec<ThreadStack>,
    /// Frames of all threads.
    pub frames: Vec<RawFrame>,
    /// The lists of interpreters or threads themselves could not be followed to their end.
    pub incomplete: bool,
    /// The thread states as the last whole walk found them, in the order in which they were made, interpreter by
    /// interpreter.
    states: Vec<ThreadState>,
    /// The thread states of each of `threads`.
    groups: Vec<Group>,
    /// Indices in `states`, group by group, in each the innermost first.
    members: Vec<usize>,
    /// A walk has found frames in other places than those that the groups were made by.
    has_new_places: bool,
}

impl Stacks {
    /// The frames of a thread, newest first.
    pub fn frames_of(&self, thread: &ThreadStack) -> &[RawFrame] {
        self.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[])
    }

    /// Fills itself with what `reader` shows.
    ///
    /// # Errors
    /// When not even the first interpreter state can be read.
    pub fn walk(&mut self, reader: &mut impl Reader, runtime: &Runtime) -> Result<(), ReadError> {
        self.walk_interpreters(reader, runtime)?;
        self.list_states(reader, &runtime.layout);
        self.walk_groups(reader, &runtime.layout, &|_| false);
        // Where the frames lie tells which thread states belong together, and that tells how to read them.
        for _ in 0..REGROUPINGS {
            if !self.regroup() {
                break;
            }
            self.walk_groups(reader, &runtime.layout, &|_| false);
        }
        Ok(())
    }

    /// As [`Stacks::walk`], but goes by the lists of threads as they were at the last whole walk and leaves out the
    /// threads for whose address `leaves_out` says so. Whether the lists are still as they were, as far as can be seen;
    /// otherwise what was found is of no use.
    ///
    /// # Errors
    /// As [`Stacks::walk`].
    pub fn walk_known(
        &mut self,
        reader: &mut impl Reader,
        runtime: &Runtime,
        leaves_out: &dyn Fn(u64) -> bool,
    ) -> Result<bool, ReadError> {
        self.walk_interpreters(reader, runtime)?;
        if !self.is_as_listed(reader, &runtime.layout, leaves_out) {
            return Ok(false);
        }
        self.walk_groups(reader, &runtime.layout, leaves_out);
        Ok(!self.regroup())
    }

    fn walk_interpreters(&mut self, reader: &mut impl Reader, runtime: &Runtime) -> Result<(), ReadError> {
        self.interpreters.clear();
        self.incomplete = false;
        reader.start_walk(COMMON);
        let runtime_holder = runtime.current_thread.map(|address| reader.volatile_word(address).unwrap_or(0));
        let runtime_collecting =
            runtime.collecting.is_some_and(|address| reader.volatile_half(address).is_ok_and(|value| value != 0));
        let mut address = reader.volatile_word(runtime.interpreters_head)?;
        if address == 0 {
            return Err(ReadError::new(runtime.interpreters_head, 8, ReadFailure::Unmapped));
        }
        while address != 0 {
            if self.interpreters.len() >= MOST_INTERPRETERS
                || self.interpreters.iter().any(|seen| seen.address == address)
            {
                self.incomplete = true;
                break;
            }
            match read_interpreter(reader, runtime, address, runtime_holder, runtime_collecting) {
                Ok((interpreter, next)) => {
                    self.interpreters.push(interpreter);
                    address = next;
                }
                Err(error) if self.interpreters.is_empty() => return Err(error),
                Err(_) => {
                    self.incomplete = true;
                    break;
                }
            }
        }
        self.interpreters.reverse();
        Ok(())
    }

    /// Walks the frames of all threads, or of some.
    fn walk_groups(&mut self, reader: &mut impl Reader, layout: &Layout, leaves_out: &dyn Fn(u64) -> bool) {
        self.threads.clear();
        self.frames.clear();
        for index in 0..self.groups.len() {
            let home = self.states[self.groups[index].home];
            let thread = if leaves_out(home.address) {
                ThreadStack { is_left_out: true, ..self.thread_of(index) }
            } else {
                reader.start_walk(home.address);
                self.walk_group(reader, layout, index)
            };
            self.threads.push(thread);
        }
    }

    /// The thread of a group, in the walk that was started for it.
    fn walk_group(&mut self, reader: &mut impl Reader, layout: &Layout, index: usize) -> ThreadStack {
        let Group { first, end, .. } = self.groups[index];
        let first_frame = self.frames.len();
        let (mut is_truncated, mut unplaced) = (false, 0);
        for member in first..end {
            let place = self.members[member];
            let ThreadState { address: state, interpreter, .. } = self.states[place];
            let before = self.frames.len();
            let part = Part { state, interpreter, is_innermost: member == first };
            let (followed, entered_at) = self.follow_frames(reader, layout, part);
            is_truncated |= followed.is_err();
            let has_frames = self.frames.len() > before;
            let entered_at = entered_at.filter(|_| has_frames);
            unplaced += u32::from(has_frames && entered_at.is_none());
            let state = &mut self.states[place];
            self.has_new_places |= (state.has_frames, state.entered_at) != (has_frames, entered_at);
            (state.has_frames, state.entered_at) = (has_frames, entered_at);
        }
        // Their order goes by who holds the GIL.
        self.has_new_places |= unplaced > 1;
        reader.finish_walk();
        ThreadStack { first_frame, end_frame: self.frames.len(), is_truncated, ..self.thread_of(index) }
    }

    /// The thread of a group, without frames.
    fn thread_of(&self, index: usize) -> ThreadStack {
        let Group { first, end, home } = self.groups[index];
        let members = self.members[first..end].iter().map(|member| &self.states[*member]);
        let innermost = members.clone().find(|state| state.has_frames).unwrap_or(&self.states[home]);
        let home = &self.states[home];
        ThreadStack {
            address: home.address,
            interpreter: home.interpreter,
            innermost: innermost.address,
            running_in: innermost.interpreter,
            thread_id: home.thread_id,
            native_thread_id: home.native_thread_id,
            attachment: innermost.attachment,
            requests_gil: innermost.requests_gil && self.interpreters[innermost.interpreter].gil.exists,
            holds_gil: members.clone().any(|state| self.interpreters[state.interpreter].gil.holder == state.address),
            first_frame: self.frames.len(),
            end_frame: self.frames.len(),
            is_truncated: false,
            is_left_out: false,
        }
    }

    /// Whether a thread runs the garbage collector; `None` when it may be any thread that runs.
    pub fn collects(&self, thread: &ThreadStack) -> Option<bool> {
        let interpreter = self.interpreters[thread.running_in];
        if !interpreter.collecting {
            return Some(false);
        }
        if interpreter.collecting_frame != 0 && !thread.is_left_out {
            let frames = self.frames_of(thread);
            return Some(frames.iter().any(|frame| frame.address == interpreter.collecting_frame));
        }
        if interpreter.gil.exists {
            return interpreter.gil.tells_holder.then_some(thread.holds_gil);
        }
        // While the world is stopped only who has stopped it is attached. While it runs, as it does between two stops
        // of a collection, nothing tells who collects. No other thread can take that from one, so it holds of one that
        // is left out.
        let is_attached = |other: &&ThreadStack| {
            other.running_in == thread.running_in && other.attachment == Some(Attachment::Attached)
        };
        Some(is_attached(&thread) && self.threads.iter().filter(is_attached).count() == 1)
    }

    /// How many code objects have died in all interpreters as of the walk, where they are counted (3.14+).
    pub fn code_generation(&self) -> Option<u64> {
        sum_of_generations(self.interpreters.iter().map(|interpreter| interpreter.code_generation))
    }

    /// Where the interpreters count them, for another look at them; see [`Stacks::sum_of_generations`].
    pub fn generation_places(&self, runtime: &Runtime) -> Vec<u64> {
        let offset = runtime.layout.interpreter.code_object_generation;
        let places = |offset: u32| {
            self.interpreters.iter().map(|interpreter| interpreter.address.wrapping_add(u64::from(offset))).collect()
        };
        offset.map(places).unwrap_or_default()
    }

    /// What [`Stacks::code_generation`] is when these are the counts.
    pub fn sum_of_generations(counts: &[Option<u64>]) -> Option<u64> {
        sum_of_generations(counts.iter().copied())
    }

    /// Walks one thread again, by a reader that has been refreshed for it, and puts its new frames in the place of its
    /// old ones.
    pub fn walk_again(&mut self, reader: &mut impl Reader, runtime: &Runtime, index: usize) {
        let Some(mut thread) = self.threads.get(index).copied() else { return };
        let is_still = self.is_still(reader, &runtime.layout, index);
        reader.start_walk(thread.address);
        if is_still {
            thread = ThreadStack { is_left_out: thread.is_left_out, ..self.walk_group(reader, &runtime.layout, index) };
        } else {
            reader.finish_walk();
            thread.end_frame = thread.first_frame;
            thread.is_truncated = true;
        }
        self.threads[index] = thread;
    }

    /// Adds the frames of something that is put aside and belongs to no thread now, from the one at `newest` on (0 for
    /// none), which interpreter number `interpreter` runs: where they are in [`Stacks::frames`], and whether the chain
    /// ended in something unreadable.
    pub(crate) fn add_chain(
        &mut self,
        reader: &mut impl Reader,
        layout: &Layout,
        newest: u64,
        interpreter: usize,
    ) -> (Range<usize>, bool) {
        let first = self.frames.len();
        let part = Part { state: 0, interpreter, is_innermost: false };
        let followed = self.follow_chain(reader, layout, newest, part);
        (first..self.frames.len(), followed.is_err())
    }

    /// The oldest frame of a thread state, as `reader` shows it; `None` where the chain breaks off, or there is none.
    pub(crate) fn oldest_frame(reader: &mut impl Reader, layout: &Layout, state: u64) -> Option<u64> {
        let mut stacks = Self::default();
        let part = Part { state, interpreter: 0, is_innermost: true };
        stacks.follow_frames(reader, layout, part).0.ok()?;
        stacks.frames.last().map(|frame| frame.address)
    }

    /// Keeps the first `kept` frames of a thread and walks on from the frame at `address`: for a chain that is cut off,
    /// but whose next frame was found in another way.
    pub fn walk_on(&mut self, reader: &mut impl Reader, runtime: &Runtime, index: usize, kept: usize, address: u64) {
        let Some(mut thread) = self.threads.get(index).copied() else { return };
        let old_end = thread.end_frame;
        let end = old_end.min(thread.first_frame + kept);
        let first = self.frames.len();
        self.frames.extend_from_within(thread.first_frame..end);
        let last = self.frames[first..].last();
        let interpreter = last.map_or(thread.running_in, |frame| frame.interpreter);
        let part = Part { state: thread.address, interpreter, is_innermost: false };
        thread.first_frame = first;
        thread.is_truncated = self.follow_chain(reader, &runtime.layout, address, part).is_err();
        // What called into the interpreter is no part of its chain.
        let outer = self.frames[end..old_end].iter().position(|frame| frame.interpreter != interpreter);
        if let Some(outer) = outer {
            self.frames.extend_from_within(end + outer..old_end);
        }
        thread.end_frame = self.frames.len();
        self.threads[index] = thread;
    }
}

fn sum_of_generations(generations: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    generations.reduce(|sum, next| Some(sum?.wrapping_add(next?))).flatten()
}
