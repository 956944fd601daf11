//! What tasks wait in, and what it takes to find that out from the innermost frames of their chains.

use super::objects::TaskObjects;
use super::task::FutureReader;
use super::{Task, TaskFrame};
use crate::python::code::CodeTable;
use crate::python::locals::{Value, variables};

/// The innermost frames that are asked.
pub(super) const FRAMES_ASKED: usize = 8;
/// The most waiters of an object that are counted.
const MOST_WAITERS: u64 = 1 << 32;
/// Cells of one function that are looked at.
const MOST_CELLS: usize = 16;

/// What kind of thing a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WaitKind {
    /// Time.
    Sleep,
    /// `asyncio.Lock`.
    Lock,
    /// `asyncio.Semaphore`.
    Semaphore,
    /// `asyncio.Event`.
    Event,
    /// `asyncio.Condition`.
    Condition,
    /// `asyncio.Barrier`.
    Barrier,
    /// `asyncio.Queue`.
    Queue,
    /// A socket or a pipe.
    Socket,
    /// The end of a process.
    Process,
    /// Clients of a server, which it has handed to tasks of their own.
    Server,
    /// A function that a thread of an executor runs.
    Executor,
    /// Another task.
    Task,
    /// All of several tasks (`gather`).
    Gather,
    /// The other tasks of its `TaskGroup`.
    Group,
    /// Some of several tasks (`asyncio.wait`).
    Some,
    /// What a shield keeps from being cancelled.
    Shield,
    /// A future that some callback will set.
    Future,
    /// Something that is not asyncio's.
    Other,
}

impl WaitKind {
    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Lock => "lock",
            Self::Semaphore => "semaphore",
            Self::Event => "event",
            Self::Condition => "condition",
            Self::Barrier => "barrier",
            Self::Queue => "queue",
            Self::Socket => "socket",
            Self::Process => "process",
            Self::Server => "server",
            Self::Executor => "executor",
            Self::Task => "task",
            Self::Gather => "gather",
            Self::Group => "group",
            Self::Some => "wait",
            Self::Shield => "shield",
            Self::Future => "future",
            Self::Other => "other",
        }
    }
}

/// What a task waits in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskWait {
    /// The kind of it.
    pub kind: WaitKind,
    /// What was called (`Lock.acquire`), or a type; empty where the kind says it all.
    pub operation: String,
    /// The lock, queue, or future.
    pub object: Option<u64>,
    /// How many wait for the same object, this one included.
    pub waiters: Option<u64>,
    /// When it will go on, in seconds of the loop's clock, which is the system's monotonic one.
    pub until: Option<f64>,
    /// For how long it meant to sleep, where it is not told when it began, in seconds.
    pub duration: Option<f64>,
    /// The descriptor of the socket or pipe.
    pub descriptor: Option<i32>,
    /// How far an executor has come with the function that is waited for.
    pub work: Option<ExecutorWork>,
    /// What else there is to say, as the end of a sentence.
    pub detail: Option<String>,
}

/// How far an executor has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutorWork {
    /// No thread has begun.
    Queued,
    /// This thread runs it, by `PyThreadState.thread_id`.
    RunBy(u64),
}

impl TaskWait {
    /// In something of this kind, of which nothing else is known.
    pub(crate) fn new(kind: WaitKind) -> Self {
        Self {
            kind,
            operation: String::new(),
            object: None,
            waiters: None,
            until: None,
            duration: None,
            descriptor: None,
            work: None,
            detail: None,
        }
    }
}

/// Says what tasks wait in.
#[derive(Clone, Copy)]
pub(super) struct WaitReader<'read> {
    pub(super) futures: FutureReader<'read>,
    pub(super) codes: &'read CodeTable,
}

impl WaitReader<'_> {
    pub(super) fn types(&self) -> TaskObjects<'_> {
        self.futures.types
    }

    /// The function of a frame without its class, and its file with slashes.
    pub(super) fn place(&self, frame: &TaskFrame) -> (&str, &str) {
        let code = self.codes.get(frame.place.code);
        (code.name.rsplit('.').next().unwrap_or_default(), &code.filename)
    }

    /// The object in a variable of a frame.
    pub(super) fn variable(&self, frame: &TaskFrame, name: &str) -> Option<u64> {
        let found = variables(self.types().objects, frame.address, frame.code_address).ok()?;
        match found.into_iter().find(|variable| variable.name == name)?.value {
            Value::Object(object) => Some(object),
            Value::Int(_) => None,
        }
    }

    /// The first frames of a task that are in a file of asyncio called so, innermost first.
    pub(super) fn frames_in<'task>(&self, task: &'task Task, file: &str) -> Vec<(String, &'task TaskFrame)> {
        let frames = task.innermost_frames().take(FRAMES_ASKED).skip_while(|frame| self.place(frame).0 == "__await__");
        let of_file = frames.take_while(|frame| is_file(self.place(frame).1, file));
        of_file.map(|frame| (self.place(frame).0.to_owned(), frame)).collect()
    }

    /// `__name__` of a function of Python.
    pub(super) fn function_name(&self, function: u64) -> Option<String> {
        let objects = self.types().objects;
        if self.types().known(function).ok()?.info.name != "function" {
            return None;
        }
        let code = objects.pointer(function, function_code(objects.layout())).ok()?;
        objects.text_or_none(objects.pointer(code, objects.layout().code.name).ok()?, 128)
    }

    /// The length of a deque or another object of variable size that an attribute holds.
    pub(super) fn length(&self, object: u64, attribute: &str) -> Option<u64> {
        let waiters = self.types().member(object, attribute)?;
        let known = self.types().known(waiters).ok()?;
        let objects = self.types().objects;
        match known.info.name.as_str() {
            "collections.deque" | "list" | "tuple" => objects.size(waiters).ok(),
            "set" => objects.pointer(waiters, objects.layout().object.set_used).ok(),
            "collections.OrderedDict" | "dict" => objects.dict_length(waiters).ok(),
            _ => None,
        }
        .filter(|length| *length < MOST_WAITERS)
    }

    /// The name of an object's class.
    pub(super) fn class_name(&self, object: u64) -> Option<String> {
        Some(self.types().known(object).ok()?.short_name().to_owned())
    }
}

/// `PyFunctionObject.func_code`: the first field up to 3.9; from 3.10 on globals, builtins, name and qualified name
/// come before it (cpython/funcobject.h).
pub(super) fn function_code(layout: &crate::python::layout::Layout) -> u32 {
    let before = if layout.version.feature() >= (3, 10) { 32 } else { 0 };
    layout.object.head_size + before
}

/// What the cells of a function of Python hold, some of them where there are many.
pub(super) fn cells_of(types: TaskObjects<'_>, function: u64) -> Vec<u64> {
    let objects = types.objects;
    // `func_closure`: up to 3.9 after code, globals, defaults and keyword defaults; from 3.10 on after the code, the
    // defaults and keyword defaults (cpython/funcobject.h).
    let after_code = if objects.layout().version.feature() >= (3, 10) { 24 } else { 32 };
    let closure = objects.pointer(function, function_code(objects.layout()) + after_code).unwrap_or(0);
    if closure == 0 || !types.known(closure).is_ok_and(|known| known.info.name == "tuple") {
        return Vec::new();
    }
    let Ok((cells, _)) = objects.tuple_items(closure, MOST_CELLS) else { return Vec::new() };
    cells.into_iter().filter_map(|cell| types.first_field(cell).ok()).filter(|object| *object != 0).collect()
}

/// Whether a path is that of a file of asyncio.
pub(super) fn is_file(path: &str, name: &str) -> bool {
    let mut parts = path.rsplit(['/', '\\']);
    parts.next() == Some(name) && parts.next() == Some("asyncio")
}
