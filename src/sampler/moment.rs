//! What every thread of a process was doing at one moment: the form in which samples leave the reader.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use thiserror::Error;

use super::kernel::KernelFunction;
use crate::native::MixedFrame;
use crate::process::{PauseError, SystemCall, ThreadId};
use crate::python::code::CodeId;
use crate::python::interpreter::InterpreterState;
use crate::python::stack::ThreadStack;

/// When the target is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pausing {
    /// Only a thread whose stack cannot be proven, for one read.
    Adaptive,
    /// The thread that holds the GIL, for every sample; without a GIL all threads.
    Blocking,
    /// Never.
    Never,
}

/// How a stack was made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assurance {
    /// It held at one moment while the thread was running.
    Proven,
    /// The thread was stopped.
    Stopped,
    /// It may never have been.
    Unproven,
}

/// A frame of a thread: a function and the line that it is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MomentFrame {
    /// The frame in the target.
    pub address: u64,
    /// The code object in the target.
    pub code_address: u64,
    /// The function.
    pub code: CodeId,
    /// The line; 0 is none.
    pub line: u32,
    /// The instruction: bytes from the beginning of the bytecode; negative when it is not known.
    pub offset: i32,
    /// The id of the interpreter that runs it.
    pub interpreter: i64,
}

/// A thread at the moment of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MomentThread {
    /// Its raw state.
    pub stack: ThreadStack,
    /// Its interpreter: the outermost one where it has called into others.
    pub interpreter: InterpreterState,
    /// The interpreter that its newest frame is in.
    pub running_in: InterpreterState,
    /// The kernel's id of it, as we see it. `None` when it cannot be told, or when there is no such thread: see
    /// [`MomentThread::exists`].
    pub os_id: Option<ThreadId>,
    /// There is, or may be, a kernel thread that runs it. A thread state outlives its thread in the child of a bare
    /// fork(2).
    pub exists: bool,
    /// It was on a CPU or waiting for one, and not for the GIL.
    pub active: bool,
    /// It waits for the GIL, or was woken and tries to take it. Before 3.15 this is known by the futex that the system
    /// shows, so on Linux only.
    pub waits_for_gil: bool,
    /// It holds the GIL, and seemed to wait for it when the system was asked: it has just got it, or has just let it
    /// go.
    pub takes_gil: bool,
    /// It has not been on a CPU since the sample before.
    pub is_unmoved: bool,
    /// It runs the garbage collector.
    pub collecting: bool,
    /// How sure its frames are.
    pub assurance: Assurance,
    /// Which frames of the moment are its own.
    pub frames: FrameSpan,
}

/// Neighbouring frames in [`Moment::frames`]: those of one thread, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FrameSpan {
    /// Index of the newest.
    pub first: usize,
    /// One past the index of the oldest.
    end: usize,
}

impl FrameSpan {
    /// Those from the index `first` on, up to the last that `frames` has so far.
    pub(super) fn since(first: usize, frames: &[MomentFrame]) -> Self {
        Self { first, end: frames.len() }
    }

    /// How many they are.
    pub(super) fn len(self) -> usize {
        self.end.saturating_sub(self.first)
    }
}

/// A thread without a thread state, which CPython does not know: it has native frames only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NativeThread {
    /// The kernel's id of it, as we see it.
    pub os_id: ThreadId,
    /// It was on a CPU or waiting for one.
    pub active: bool,
    /// How sure its frames are.
    pub assurance: Assurance,
}

/// Whose native stack it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The thread that has this thread state (its address in the target).
    State(u64),
    /// A thread without one.
    Thread(ThreadId),
}

/// The merged stacks of a moment. Empty where native frames were not asked for or could not be had.
#[derive(Debug, Default, Clone)]
pub(crate) struct NativeMoment {
    pub(super) frames: Vec<MixedFrame>,
    pub(super) threads: HashMap<Owner, Range<usize>>,
    /// How many of these stacks lack native frames because not all of the stack was copied.
    pub(super) cut: u32,
}

impl NativeMoment {
    /// The merged stack of a thread, newest frame first; the index of a Python frame counts from the thread's newest.
    /// `None` when there are only its Python frames.
    pub(crate) fn of(&self, thread: &MomentThread) -> Option<&[MixedFrame]> {
        self.stack(Owner::State(thread.stack.address))
    }

    /// The stack of a thread without a thread state, newest frame first; `None` when it could not be had.
    pub(crate) fn of_native(&self, thread: &NativeThread) -> Option<&[MixedFrame]> {
        self.stack(Owner::Thread(thread.os_id))
    }

    fn stack(&self, owner: Owner) -> Option<&[MixedFrame]> {
        self.frames.get(self.threads.get(&owner)?.clone())
    }

    /// Adds the merged stack of a thread, or takes it for the one that there is.
    pub(super) fn put(&mut self, owner: Owner, frames: &[MixedFrame]) {
        let first = self.frames.len();
        self.frames.extend_from_slice(frames);
        self.threads.insert(owner, first..self.frames.len());
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.threads.clear();
        self.cut = 0;
    }
}

/// What was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Held {
    /// One thread.
    Thread(ThreadId),
    /// All threads of the process.
    AllThreads,
}

/// What records of the kernel tell beside, one of its only thread.
#[derive(Debug, Default)]
pub(crate) struct KernelMoment {
    /// When the threads were recorded whose frames are of a record and not of the moment itself, by the addresses of
    /// their thread states, ns of `CLOCK_MONOTONIC`.
    pub recorded_ns: HashMap<u64, u64>,
    /// Where in the kernel it was, innermost first, where that was asked for.
    pub frames: Vec<KernelFunction>,
    /// What it waits in, where that is known already.
    pub wait_words: Option<String>,
}

/// What every thread was doing; kept and refilled.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// The threads that have a thread state.
    pub threads: Vec<MomentThread>,
    /// Those that have none, where they were asked for.
    pub native_threads: Vec<NativeThread>,
    /// Frames of all threads, newest first.
    pub frames: Vec<MomentFrame>,
    /// What a record of the kernel tells beside.
    pub of_kernel: KernelMoment,
    /// Nothing has run in the process since the look before: it is the same moment.
    pub lasts: bool,
    /// Threads of which no stack could be had.
    pub lost: u32,
    /// Stops of threads or of the process.
    pub stops: u32,
    /// What was held, and for how long each time.
    pub(super) holds: Vec<(Held, Duration)>,
    /// How long anything was held, in all.
    pub stopped_for: Duration,
    /// How long a thread was held that was held longest.
    pub longest_hold: Duration,
    /// The system calls that threads were in, where a stop, or that they slept all the while, has shown it.
    pub calls: HashMap<ThreadId, SystemCall>,
    /// Native frames between the Python ones, where they were asked for.
    pub native: NativeMoment,
}

impl Moment {
    /// Forgets the sample before; the native frames are not its to forget.
    pub(super) fn clear(&mut self) {
        self.threads.clear();
        self.native_threads.clear();
        self.frames.clear();
        self.of_kernel.frames.clear();
        self.of_kernel.wait_words = None;
        self.of_kernel.recorded_ns.clear();
        self.calls.clear();
        self.holds.clear();
        self.lasts = false;
        (self.lost, self.stops) = (0, 0);
        (self.stopped_for, self.longest_hold) = (Duration::ZERO, Duration::ZERO);
    }

    /// Nothing has run since: the moment lasts.
    pub(super) fn last_on(&mut self) {
        self.lasts = true;
        for thread in &mut self.threads {
            (thread.active, thread.is_unmoved, thread.stack.is_left_out) = (false, true, true);
        }
        self.holds.clear();
        self.stops = 0;
        (self.stopped_for, self.longest_hold) = (Duration::ZERO, Duration::ZERO);
    }

    /// Takes note of the time for which a thread was held, or all of the process.
    pub(super) fn add_hold(&mut self, held: Held, time: Duration) {
        self.holds.push((held, time));
        self.stopped_for += time;
        self.longest_hold = self.longest_hold.max(time);
    }

    /// The system call that a thread was in at that moment, where that is known.
    pub(crate) fn system_call(&self, thread: ThreadId) -> Option<SystemCall> {
        self.calls.get(&thread).copied()
    }

    /// Whether there is a thread of which anything is known of what it does: Python frames, or native ones.
    pub(crate) fn has_stack(&self, thread: &MomentThread) -> bool {
        let has_native = || self.native.of(thread).is_some_and(|mixed| !mixed.is_empty());
        thread.exists && (thread.frames.len() > 0 || has_native())
    }

    /// The function that holds the GIL for which a thread waits; `None` where nobody holds it at this moment, or its
    /// holder runs no Python code.
    pub(crate) fn gil_holder_of(&self, waiter: &MomentThread) -> Option<CodeId> {
        let state = waiter.running_in.gil.holder;
        let holds = |thread: &&MomentThread| {
            thread.stack.holds_gil && [thread.stack.innermost, thread.stack.address].contains(&state)
        };
        let holder = self.threads.iter().find(holds)?;
        self.frames_of(holder).first().map(|frame| frame.code)
    }

    /// The frames of a thread, newest first.
    pub(crate) fn frames_of(&self, thread: &MomentThread) -> &[MomentFrame] {
        self.frames.get(thread.frames.first..thread.frames.end).unwrap_or(&[])
    }
}

/// The id of the interpreter into which the thread called below the frame at `index` of its `frames`, newest first:
/// that frame and what is above it run in another one than the next older frame.
pub(crate) fn entered_interpreter(frames: &[MomentFrame], index: usize) -> Option<i64> {
    let (inner, outer) = (frames.get(index)?.interpreter, frames.get(index + 1)?.interpreter);
    (inner != outer).then_some(inner)
}

/// What the border to an interpreter is called among the frames.
pub(crate) fn interpreter_name(id: i64) -> String {
    format!("<interpreter {id}>")
}

/// Why there is no sample.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The process has exited.
    #[error("the process has exited")]
    Exited,
    /// The process runs another program now.
    #[error("the process has started another program")]
    Exec,
    /// The interpreter is not there (any more): it is being finalised, or the memory is in flux.
    #[error("the interpreter cannot be read: {0}")]
    Unreadable(crate::memory::ReadError),
    /// The process could not be stopped, which was asked for.
    #[error(transparent)]
    Pause(#[from] PauseError),
}
