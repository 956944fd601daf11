//! Walks interpreters, thread states and frames: the raw stacks of one moment.
//!
//! A frame is given as addresses and numbers only; [`super::code`] turns them into names and lines. Every chain has a cap and is
//! watched for cycles, for the target may be torn or hostile.

use super::cycle::CycleWatch;
use super::frame_line::read_instruction;
pub use super::frame_line::{FrameLine, Position};
use super::interpreter::{InterpreterState, read_interpreter};
use super::layout::{FrameEntry, Layout};
use super::runtime::Runtime;
use crate::memory::{COMMON, Memory, ReadError, ReadFailure, Snapshot, Verdict};

/// More frames than any real stack has.
const MOST_FRAMES: usize = 1 << 20;
/// As many of all stacks together as we have room for.
const MOST_FRAMES_OF_ALL: usize = 1 << 22;
/// More thread states than a process can use, of all interpreters.
const MOST_THREADS: usize = 1 << 16;
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
}

/// How a frame came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// The evaluation that runs its caller runs it too (3.11+).
    Within,
    /// By an evaluation of its own, which C code entered.
    FromC,
    /// As [`Entered::FromC`], and this is the address of the shim frame below it, which lies on the native stack (3.12+).
    ByShim(u64),
}

/// One thread state and where its frames are in [`Stacks::frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadStack {
    /// The `PyThreadState`.
    pub address: u64,
    /// Index of its interpreter in [`Stacks::interpreters`].
    pub interpreter: usize,
    /// `thread_id`: the `pthread_t`, which is also `threading.Thread.ident`.
    pub thread_id: u64,
    /// `native_thread_id` (3.11+), the kernel's id in the target's own pid namespace.
    pub native_thread_id: Option<u64>,
    /// It holds the GIL (with a free-threaded build: never).
    pub holds_gil: bool,
    /// Index of its first (newest) frame.
    pub first_frame: usize,
    /// One past the index of its last frame.
    pub end_frame: usize,
    /// How far the frames can be trusted.
    pub verdict: Verdict,
    /// The chain ended in something unreadable: older frames are missing.
    pub broken: bool,
    /// It was left out of the walk, for it has not moved: it has no frames here.
    pub rests: bool,
}

/// The raw stacks of one moment; kept and refilled, so that a steady state allocates nothing.
#[derive(Debug, Default)]
pub struct Stacks {
    /// Main one first.
    pub interpreters: Vec<InterpreterState>,
    /// In the order in which they were made, interpreter by interpreter.
    pub threads: Vec<ThreadStack>,
    /// Frames of all threads.
    pub frames: Vec<RawFrame>,
    /// The lists of interpreters or threads themselves could not be followed to their end.
    pub incomplete: bool,
    /// The thread states as the last whole walk found them, interpreter by interpreter.
    order: Vec<Link>,
}

/// A thread state in its interpreter's list.
#[derive(Debug, Clone, Copy)]
struct Link {
    interpreter: u64,
    next: u64,
    thread: ThreadStack,
}

impl Stacks {
    /// The frames of a thread, newest first.
    pub fn frames_of(&self, thread: &ThreadStack) -> &[RawFrame] {
        self.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[])
    }

    /// Fills itself with what `snapshot`, whose sample the caller has begun, shows.
    ///
    /// # Errors
    /// When not even the first interpreter state can be read.
    pub fn walk<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, runtime: &Runtime) -> Result<(), ReadError> {
        self.walk_interpreters(snapshot, runtime)?;
        self.order.clear();
        for index in 0..self.interpreters.len() {
            let first = self.threads.len();
            self.walk_threads(snapshot, &runtime.layout, index);
            // New threads, as new interpreters, are put at the head of the list.
            self.threads[first..].reverse();
        }
        Ok(())
    }

    /// As [`Stacks::walk`], but goes by the lists of threads as they were at the last whole walk and does not look at the thread states of which `rests` says
    /// that their threads have not moved since. Whether the lists are still as they were, as far as can be seen; otherwise what was found is of no use.
    ///
    /// # Errors
    /// As [`Stacks::walk`].
    pub fn walk_known<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        runtime: &Runtime,
        rests: &dyn Fn(u64) -> bool,
    ) -> Result<bool, ReadError> {
        self.walk_interpreters(snapshot, runtime)?;
        let order = std::mem::take(&mut self.order);
        let as_known = self.walk_order(snapshot, &runtime.layout, &order, rests);
        self.order = order;
        Ok(as_known)
    }

    fn walk_interpreters<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, runtime: &Runtime) -> Result<(), ReadError> {
        self.interpreters.clear();
        self.threads.clear();
        self.frames.clear();
        self.incomplete = false;
        snapshot.start_unit(COMMON);
        let layout = &runtime.layout;
        let runtime_holder = match runtime.current_thread {
            Some(address) => snapshot.volatile_word(address).unwrap_or(0),
            None => 0,
        };
        let runtime_collecting =
            runtime.collecting.is_some_and(|address| snapshot.volatile_half(address).is_ok_and(|value| value != 0));
        let mut address = snapshot.volatile_word(runtime.interpreters_head)?;
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
            match read_interpreter(snapshot, layout, address, runtime_holder, runtime_collecting) {
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

    fn walk_threads<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, layout: &Layout, index: usize) {
        let interpreter = self.interpreters[index];
        snapshot.start_unit(COMMON);
        let head = interpreter.address.wrapping_add(u64::from(layout.interpreter.threads_head));
        let Ok(mut address) = snapshot.volatile_word(head) else {
            self.incomplete = true;
            return;
        };
        let mut watch = CycleWatch::default();
        while address != 0 {
            if self.threads.len() >= MOST_THREADS || watch.comes_again(address) {
                self.incomplete = true;
                return;
            }
            let Some(next) = self.walk_thread(snapshot, layout, index, address) else {
                self.incomplete = true;
                return;
            };
            if let Some(thread) = self.threads.last() {
                self.order.push(Link { interpreter: interpreter.address, next, thread: *thread });
            }
            address = next;
        }
    }

    /// Adds the thread of a thread state of the interpreter at `index`; the next thread state.
    fn walk_thread<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        layout: &Layout,
        index: usize,
        address: u64,
    ) -> Option<u64> {
        snapshot.start_unit(address);
        let (mut thread, next) = read_thread(snapshot, layout, address, &self.interpreters[index]).ok()?;
        thread.interpreter = index;
        self.walk_frames(snapshot, layout, &mut thread);
        thread.verdict = snapshot.finish_unit();
        if thread.broken && !snapshot.is_frozen() {
            thread.verdict = Verdict::Moved;
        }
        self.threads.push(thread);
        Some(next)
    }

    fn walk_order<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        layout: &Layout,
        order: &[Link],
        rests: &dyn Fn(u64) -> bool,
    ) -> bool {
        let mut links = order.iter().peekable();
        for index in 0..self.interpreters.len() {
            let interpreter = self.interpreters[index];
            let first = self.threads.len();
            snapshot.start_unit(COMMON);
            let head = interpreter.address.wrapping_add(u64::from(layout.interpreter.threads_head));
            let mut address = snapshot.volatile_word(head).unwrap_or(0);
            while let Some(link) = links.next_if(|link| link.interpreter == interpreter.address) {
                if link.thread.address != address {
                    return false;
                }
                if rests(address) {
                    let (first_frame, holds_gil) = (self.frames.len(), interpreter.gil_holder == address);
                    let (end_frame, verdict) = (first_frame, Verdict::Proven);
                    let thread = link.thread;
                    let interpreter = index;
                    let rested =
                        ThreadStack { interpreter, holds_gil, first_frame, end_frame, verdict, rests: true, ..thread };
                    self.threads.push(rested);
                } else if self.walk_thread(snapshot, layout, index, address) != Some(link.next) {
                    return false;
                }
                address = link.next;
            }
            if address != 0 {
                return false;
            }
            self.threads[first..].reverse();
        }
        links.next().is_none()
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

    /// Walks one thread again, in a snapshot that has been refreshed for it, and puts its new frames in the place of its old ones.
    pub fn walk_again<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, runtime: &Runtime, index: usize) {
        let Some(mut thread) = self.threads.get(index).copied() else { return };
        let interpreter = self.interpreters[thread.interpreter];
        snapshot.start_unit(thread.address);
        match read_thread(snapshot, &runtime.layout, thread.address, &interpreter) {
            Ok((found, _)) if found.thread_id == thread.thread_id => {
                self.walk_frames(snapshot, &runtime.layout, &mut thread);
                thread.verdict = snapshot.finish_unit();
            }
            _ => {
                snapshot.finish_unit();
                thread.end_frame = thread.first_frame;
                thread.broken = true;
                thread.verdict = Verdict::Moved;
            }
        }
        self.threads[index] = thread;
    }

    /// Keeps the first `kept` frames of a thread and walks on from the frame at `address`: for a chain that is broken, but whose next frame was
    /// found in another way.
    pub fn walk_on<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        runtime: &Runtime,
        index: usize,
        kept: usize,
        address: u64,
    ) {
        let Some(mut thread) = self.threads.get(index).copied() else { return };
        let end = thread.end_frame.min(thread.first_frame + kept);
        let first = self.frames.len();
        self.frames.extend_from_within(thread.first_frame..end);
        thread.first_frame = first;
        thread.broken = self.follow_chain(snapshot, &runtime.layout, address).is_err();
        thread.end_frame = self.frames.len();
        self.threads[index] = thread;
    }

    fn walk_frames<M: Memory>(&mut self, snapshot: &mut Snapshot<M>, layout: &Layout, thread: &mut ThreadStack) {
        thread.first_frame = self.frames.len();
        thread.broken = self.follow_frames(snapshot, layout, thread.address).is_err();
        thread.end_frame = self.frames.len();
    }

    fn follow_frames<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        layout: &Layout,
        thread: u64,
    ) -> Result<(), ReadError> {
        let entry = match layout.thread.frame {
            FrameEntry::Direct(offset) => thread.wrapping_add(u64::from(offset)),
            FrameEntry::ThroughCFrame { cframe, current_frame } => {
                let cframe = snapshot.word(thread.wrapping_add(u64::from(cframe)))?;
                if cframe == 0 {
                    return Ok(());
                }
                cframe.wrapping_add(u64::from(current_frame))
            }
        };
        let newest = snapshot.word(entry)?;
        snapshot.start_chain();
        self.follow_chain(snapshot, layout, newest)
    }

    fn follow_chain<M: Memory>(
        &mut self,
        snapshot: &mut Snapshot<M>,
        layout: &Layout,
        newest: u64,
    ) -> Result<(), ReadError> {
        let frame_layout = &layout.frame;
        let first = self.frames.len();
        let mut address = newest;
        let mut watch = CycleWatch::default();
        while address != 0 {
            let is_full = self.frames.len() - first >= MOST_FRAMES || self.frames.len() >= MOST_FRAMES_OF_ALL;
            if is_full || watch.comes_again(address) {
                return Err(ReadError::implausible(address));
            }
            let previous = snapshot.word(address.wrapping_add(u64::from(frame_layout.previous)))?;
            let code = snapshot.word(address.wrapping_add(u64::from(frame_layout.code)))? & !frame_layout.tag_mask;
            let shim = match frame_layout.owner {
                Some(owner) => {
                    let value = snapshot.volatile_byte(address.wrapping_add(u64::from(owner.offset)))?;
                    owner.shims.contains(&Some(value))
                }
                None => false,
            };
            if !shim {
                let newest = self.frames.len() == first;
                let (position, line) = read_instruction(snapshot, layout, address, newest)?;
                let entry = match (frame_layout.is_entry, frame_layout.owner) {
                    (Some(offset), _) if snapshot.volatile_byte(address.wrapping_add(u64::from(offset)))? == 0 => {
                        Entered::Within
                    }
                    (None, Some(_)) => Entered::Within,
                    _ => Entered::FromC,
                };
                self.frames.push(RawFrame { address, code, position, line, entry });
            } else if let Some(above) = self.frames[first..].last_mut()
                && above.entry == Entered::Within
            {
                above.entry = Entered::ByShim(address);
            }
            address = previous;
        }
        // Whatever the oldest frame says, nothing in Python called it.
        if let Some(oldest) = self.frames[first..].last_mut()
            && oldest.entry == Entered::Within
        {
            oldest.entry = Entered::FromC;
        }
        Ok(())
    }
}

fn sum_of_generations(generations: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    generations.reduce(|sum, next| Some(sum?.wrapping_add(next?))).flatten()
}

fn read_thread<M: Memory>(
    snapshot: &mut Snapshot<M>,
    layout: &Layout,
    address: u64,
    interpreter: &InterpreterState,
) -> Result<(ThreadStack, u64), ReadError> {
    let offsets = &layout.thread;
    let at = |offset: u32| address.wrapping_add(u64::from(offset));
    // A thread state that has been freed, or was never one, belongs to no interpreter that we know.
    if snapshot.volatile_word(at(offsets.interp))? != interpreter.address {
        return Err(ReadError::implausible(address));
    }
    let next = snapshot.volatile_word(at(offsets.next))?;
    let thread_id = snapshot.volatile_word(at(offsets.thread_id))?;
    let native_thread_id = match offsets.native_thread_id {
        Some(offset) => Some(snapshot.volatile_word(at(offset))?),
        None => None,
    };
    let thread = ThreadStack {
        address,
        interpreter: 0,
        thread_id,
        native_thread_id,
        holds_gil: interpreter.gil_holder == address,
        first_frame: 0,
        end_frame: 0,
        verdict: Verdict::Open,
        broken: false,
        rests: false,
    };
    Ok((thread, next))
}
