//! The facts that an inspection finds, with all names and texts read: nothing here refers to the target's memory.

use std::time::{Duration, SystemTime};

use super::source::SourceLine;
use crate::process::ThreadId;
use crate::python::raised::Raised;

pub(crate) use crate::python::locals::VariableKind;

/// A process at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InspectedProcess {
    /// Its threads, interpreter by interpreter, the main one first; those without a thread state last.
    pub threads: Vec<InspectedThread>,
    /// Threads that wait for each other in a ring, by their places in `threads`.
    pub deadlocks: Vec<Vec<usize>>,
    /// Tasks of event loops, where they were asked for and there are any.
    pub tasks: Option<InspectedTasks>,
    /// Frames that are missing at the older ends of stacks, for there were too many.
    pub frames_left_out: usize,
    /// Threads of which no stack could be read.
    pub lost_threads: u32,
    /// When it was read; `None` of a core file.
    pub read_at: Option<SystemTime>,
    /// How long it was stopped for.
    pub stopped_for: Duration,
}

/// A thread at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InspectedThread {
    /// `threading.get_ident()`; 0 without a thread state.
    pub python_id: u64,
    /// Its name in Python; without a thread state the one that the kernel has.
    pub name: Option<String>,
    /// The system's id of it.
    pub os_id: Option<ThreadId>,
    /// Whether CPython knows it. Without a thread state all that it runs is native code.
    pub has_thread_state: bool,
    /// Whether there is such a thread: a thread state outlives its thread in the child of a bare fork(2).
    pub exists: bool,
    /// It runs or wants to.
    pub active: bool,
    /// It holds the GIL.
    pub holds_gil: bool,
    /// It holds the GIL, for which it waited when the process was stopped: it was on its way.
    pub takes_gil: bool,
    /// It runs the garbage collector.
    pub collects_garbage: bool,
    /// The id of its interpreter, the outermost one where it has called into others; 0 is the main one.
    pub interpreter: i64,
    /// Newest first.
    pub frames: Vec<InspectedFrame>,
    /// The system call or the kernel's function that it waits in, in words.
    pub waits_in: Option<String>,
    /// How long it has not been on a CPU, where the system tells.
    pub asleep_for: Option<Duration>,
    /// What of Python's it waits for.
    pub waits_for: Option<Wait>,
    /// The exception that it has raised and not yet caught, or handles now.
    pub exception: Option<Raised>,
}

/// What of Python's a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The GIL.
    Gil,
    /// A thread that has stopped all others (free-threaded).
    StoppedWorld,
    /// A lock, a queue, or the end of a thread.
    Object(ObjectWait),
}

/// A wait for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectWait {
    /// What was called: `Queue.get`.
    pub operation: String,
    /// Where the object is in the target's memory; 0 when it is not known.
    pub object: u64,
    /// Who must do something first, as far as that is known.
    pub holder: Holder,
}

/// The thread that holds a lock, or whose end is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    /// `threading.get_ident()` of it.
    pub python_id: Option<u64>,
    /// The system's id of it.
    pub os_id: Option<ThreadId>,
    /// Its name in Python.
    pub name: Option<String>,
}

/// A frame of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InspectedFrame {
    /// A function of Python.
    Python(PythonFrame),
    /// A function of C, C++ or Rust.
    Native(NativeFrame),
    /// The border below which the frames are of another interpreter: the id of the one above it.
    InterpreterBorder(i64),
    /// Something that a task awaits and that has no frame: its type in angle brackets.
    Compiled(String),
}

/// The tasks of a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InspectedTasks {
    /// All of them.
    pub tasks: Vec<InspectedTask>,
    /// Tasks that wait for each other in a ring, by their places in `tasks`.
    pub rings: Vec<Vec<usize>>,
    /// The event loops that run, and `threading.get_ident()` of the threads that run them.
    pub loops: Vec<(u64, u64)>,
    /// There are more tasks than were read.
    pub is_cut: bool,
    /// Tasks that could not be read.
    pub unreadable: u32,
    /// Why some are not shown though there are some.
    pub refused: Vec<String>,
}

/// Whose tasks they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskLibrary {
    /// asyncio's.
    Asyncio,
    /// trio's.
    Trio,
    /// They are greenlets.
    Greenlet,
}

/// A task at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InspectedTask {
    /// Whose it is.
    pub library: TaskLibrary,
    /// Where it is in the target's memory, which is what `id()` says of it.
    pub id: u64,
    /// Its name; `None` where tasks have none.
    pub name: Option<String>,
    /// What it does, in one word.
    pub state: &'static str,
    /// The qualified name of its coroutine.
    pub coroutine: String,
    /// `id()` of the loop that runs it.
    pub event_loop: u64,
    /// `threading.get_ident()` of the thread that runs that loop now.
    pub python_id: Option<u64>,
    /// The system's id of that thread.
    pub os_id: Option<ThreadId>,
    /// The id of its interpreter.
    pub interpreter: i64,
    /// Innermost first.
    pub frames: Vec<InspectedFrame>,
    /// Frames are missing at the inner end.
    pub is_truncated: bool,
    /// What it waits in.
    pub wait: Option<InspectedTaskWait>,
    /// The tasks that it waits for, by their places.
    pub awaits: Vec<usize>,
    /// The tasks that wait for it, by their places.
    pub awaited_by: Vec<usize>,
    /// The task in whose group or nursery it is, by its place.
    pub group_of: Option<usize>,
    /// The tasks that hold what it waits for, by their places.
    pub held_by: Vec<usize>,
}

/// What a task waits in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InspectedTaskWait {
    /// One word.
    pub kind: &'static str,
    /// A part of a sentence.
    pub text: String,
    /// The lock, queue or future in the target's memory.
    pub object: Option<u64>,
    /// How long until it goes on by itself, in seconds.
    pub seconds: Option<f64>,
    /// The thread that runs the function that is waited for, by `threading.get_ident()`.
    pub thread: Option<u64>,
    /// Others have to do with the same object, so that it matters which one it is.
    pub is_shared: bool,
}

/// A Python function that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PythonFrame {
    /// The function.
    pub name: String,
    /// Its file, as the code object has it.
    pub file: String,
    /// Its file from the package on, or the notebook's cell.
    pub short_file: String,
    /// The current line; 0 when there is none.
    pub line: u32,
    /// The last line of the current expression (3.11+).
    pub end_line: Option<u32>,
    /// Where it begins in its first line, in bytes of UTF-8 from 0 (3.11+).
    pub column: Option<u32>,
    /// Where it ends in its last line, in the same way.
    pub end_column: Option<u32>,
    /// It is an event loop's own: by it the loop runs tasks, or waits.
    pub of_event_loop: bool,
    /// Variables, if they were asked for.
    pub variables: Option<Vec<Variable>>,
    /// The lines of source around the current one, if they were asked for and found.
    pub source: Option<Vec<SourceLine>>,
}

/// A variable that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub name: String,
    /// What it is to the function.
    pub kind: VariableKind,
    /// Where its value is in the target's memory; 0 for a number that is no object.
    pub address: u64,
    /// Its value as Python's `repr` shows it.
    pub repr: String,
}

/// A native function that runs, or one that the compiler has put into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NativeFrame {
    /// The function.
    pub name: String,
    /// Its source file; empty when it is not known.
    pub file: String,
    /// Its source file, shortened.
    pub short_file: String,
    /// The library or program that it is in.
    pub module: String,
    /// The current line; 0 when it is not known.
    pub line: u32,
}
