//! Tasks of asyncio and trio: which there are, what each runs, what it waits for and who waits for it.
//!
//! [`read_tasks`] reads all tasks of all interpreters from memory that stands still: `registry` finds them, `task`
//! reads one, `awaitable` follows a coroutine through all that it awaits to the frame or future at the end, `edges`
//! joins tasks, `asyncio_wait` and `anyio_wait` say what a task waits in, with words from `wait`, `transports` by which
//! socket, `executors` for which thread, `holders` who keeps it waiting.
//!
//! Limits: CPython 3.7 and later. What was compiled to C has no frames: what Cython and mypyc make is named by its
//! function (`compiled`), all else by its type, never guessed. Who set a callback on a future that is no task is known
//! only for the standard library's own ways to do so.

mod anyio_wait;
mod asyncio_wait;
mod awaitable;
mod awaiters;
mod bridges;
mod compiled;
mod compiled_types;
mod edges;
mod executors;
mod holders;
mod hub_turns;
mod layout;
mod loops;
mod nurseries;
mod objects;
mod read;
mod registry;
mod ring;
mod task;
mod transports;
mod trio;
mod turns;
mod wait;

pub(crate) use awaiters::{RunningTask, RunningTasks};
pub(crate) use bridges::{greenlets_of_bridges, is_bridge, join_bridges};
pub(crate) use executors::is_worker_function;
pub(crate) use hub_turns::{EventletHub, calls_for_hub};
pub(crate) use layout::{AsyncioSection, TaskLayoutError};
pub(crate) use loops::{LoopKind, loop_run_by, runs_callback, runs_loop, waits_for_loop};
pub(crate) use nurseries::Nurseries;
pub(crate) use objects::KnownTypes;
pub(crate) use read::{TaskSource, Tasks, read_tasks};
pub(crate) use trio::{RunFrame, is_loop_function, is_run_function};
pub(crate) use turns::{EvLoop, FrameVariable, TurnFunction, UvLoop, UvTurn, trio_clock_offset, trio_task_name};
pub(crate) use wait::{ExecutorWork, TaskWait, WaitKind};

use crate::python::code::{CodeId, Place};

/// A task at one moment. Addresses are of the target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// Whose it is.
    pub library: TaskLibrary,
    /// The task object.
    pub address: u64,
    /// The `PyInterpreterState` that it belongs to.
    pub interpreter: u64,
    /// The loop that runs it.
    pub event_loop: u64,
    /// The thread that runs that loop now, by `PyThreadState.thread_id`.
    pub thread: Option<u64>,
    /// `Task.get_name()`; 3.7 has no names.
    pub name: Option<String>,
    /// The qualified name of its coroutine.
    pub coroutine: String,
    /// What it does.
    pub state: TaskState,
    /// What it has called, innermost first.
    pub links: Vec<Link>,
    /// The links do not reach the end: something could not be read, or there were too many.
    pub is_truncated: bool,
    /// What it waits in.
    pub wait: Option<TaskWait>,
    /// The tasks that it waits for, by their places among all.
    pub awaits: Vec<usize>,
    /// The tasks that wait for it.
    pub awaited_by: Vec<usize>,
    /// The task in whose `TaskGroup` it is.
    pub group_of: Option<usize>,
    /// The tasks that hold what it waits for (a lock, a semaphore).
    pub held_by: Vec<usize>,
}

/// Whose tasks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TaskLibrary {
    /// asyncio's.
    Asyncio,
    /// trio's.
    Trio,
    /// Greenlets, which are told of in the same form.
    Greenlet,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TaskState {
    /// It is its loop's current task.
    Running,
    /// It has been made and has not run yet.
    New,
    /// It could run on, once its loop comes to it.
    Ready,
    /// It waits.
    Waiting,
    /// It will get a `CancelledError` when it runs next.
    Cancelling,
    /// It has ended.
    Done,
}

impl TaskState {
    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::New => "new",
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Cancelling => "cancelling",
            Self::Done => "done",
        }
    }
}

/// A step from a coroutine to what it awaits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Link {
    /// A coroutine, generator or async generator that runs Python code.
    Frame(TaskFrame),
    /// One that was compiled to C.
    Compiled(CompiledFrame),
    /// Something that has no Python frame: its type, or its own name where it has one, and the object in the target.
    Opaque(String, u64),
}

/// A function of a task that was compiled to C and has no line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CompiledFrame {
    /// The coroutine or generator in the target.
    pub object: u64,
    /// Its function.
    pub code: CodeId,
}

/// A frame of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TaskFrame {
    /// The frame in the target.
    pub address: u64,
    /// The code object in the target.
    pub code_address: u64,
    /// Where in which code it is.
    pub place: Place,
}

impl Link {
    /// The frame, where it has one.
    pub(crate) fn frame(&self) -> Option<&TaskFrame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Compiled(_) | Self::Opaque(..) => None,
        }
    }
}

impl Task {
    /// Its frames, innermost first.
    pub(crate) fn frames(&self) -> impl DoubleEndedIterator<Item = &TaskFrame> {
        self.links.iter().filter_map(Link::frame)
    }

    /// Its innermost frames, up to what has none.
    pub(crate) fn innermost_frames(&self) -> impl Iterator<Item = &TaskFrame> {
        self.links.iter().map_while(Link::frame)
    }
}

#[cfg(test)]
mod tests;
