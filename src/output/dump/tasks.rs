//! Tasks as they are written.

use serde::Serialize;

use super::FrameDump;

/// The tasks of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct TasksDump {
    /// All of them.
    pub tasks: Vec<TaskDump>,
    /// Tasks that wait for each other in a ring, by their places.
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

/// A task at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TaskDump {
    /// Whose it is; in JSON the list that it is in tells.
    #[serde(skip)]
    pub kind: TaskKind,
    /// The process.
    pub pid: i32,
    /// Where it is in memory, `id()` in Python.
    pub id: u64,
    /// Its name.
    pub name: Option<String>,
    /// `running`, `ready`, `new`, `waiting`, `cancelling` or `done`; of a greenlet `running`, `new`, `paused` or
    /// `finished`.
    pub state: &'static str,
    /// The qualified name of its coroutine, of a greenlet that of its outermost function.
    pub coroutine: String,
    /// `id()` of its event loop, of a greenlet that of its thread's main greenlet.
    #[serde(rename = "loop")]
    pub event_loop: u64,
    /// `threading.get_ident()` of the thread that runs that loop.
    pub thread_id: Option<u64>,
    /// The system's id of that thread.
    pub os_thread_id: Option<u64>,
    /// The id of its interpreter; 0 is the main one.
    pub interpreter: i64,
    /// Innermost first.
    pub frames: Vec<FrameDump>,
    /// Frames are missing at the inner end.
    pub truncated: bool,
    /// What it waits in.
    pub waits: Option<TaskWaitDump>,
    /// `id` of the tasks that it waits for.
    pub awaits: Vec<u64>,
    /// `id` of the tasks that wait for it.
    pub awaited_by: Vec<u64>,
    /// `id` of the task in whose group it is.
    pub group_of: Option<u64>,
    /// `id` of the tasks that hold what it waits for.
    pub held_by: Vec<u64>,
    /// How long ago it was made, in seconds; a single look does not tell.
    pub age: Option<f64>,
    /// The same by places among all tasks.
    #[serde(skip)]
    pub places: TaskPlaces,
}

/// Whose tasks they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// asyncio's.
    #[default]
    Asyncio,
    /// trio's.
    Trio,
    /// They are greenlets.
    Greenlet,
}

impl TaskKind {
    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Asyncio => "asyncio",
            Self::Trio => "trio",
            Self::Greenlet => "greenlet",
        }
    }
}

/// How a task is joined to others, by their places among all.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskPlaces {
    /// Those that it waits for.
    pub awaits: Vec<usize>,
    /// Those that wait for it.
    pub awaited_by: Vec<usize>,
    /// The one in whose group it is.
    pub group_of: Option<usize>,
    /// Those that hold what it waits for.
    pub held_by: Vec<usize>,
}

/// What a task waits in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskWaitDump {
    /// One word.
    pub kind: &'static str,
    /// A part of a sentence.
    pub text: String,
    /// The lock, queue or future.
    pub object: Option<u64>,
    /// How long until it goes on by itself, in seconds.
    pub seconds: Option<f64>,
    /// `threading.get_ident()` of the thread that runs the function that is waited for.
    pub thread_id: Option<u64>,
    /// Others have to do with the same object.
    #[serde(skip)]
    pub is_shared: bool,
}
