//! What a task waits in, by the innermost frames of its chain, their variables, and the future at the end.

use super::objects::{Kind, TaskObjects};
use super::task::FutureReader;
use super::{Link, Task, TaskFrame};
use crate::python::code::CodeTable;
use crate::python::locals::{Value, variables};

/// The innermost frames that are asked.
const FRAMES_ASKED: usize = 8;
/// The most waiters of an object that are counted.
const MOST_WAITERS: u64 = 1 << 32;

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
    fn types(&self) -> TaskObjects<'_> {
        self.futures.types
    }

    /// The function of a frame without its class, and its file with slashes.
    fn place(&self, frame: &TaskFrame) -> (&str, &str) {
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

    /// What a task waits in whose chain ends at `future`.
    pub(super) fn wait(&self, task: &Task, future: Option<u64>) -> Option<TaskWait> {
        let by_frames = self
            .sleep(task)
            .or_else(|| self.lock(task))
            .or_else(|| self.queue(task))
            .or_else(|| self.input(task))
            .or_else(|| self.joined_tasks(task));
        let mut wait = by_frames.or_else(|| self.future(future?)).or_else(|| self.opaque(task))?;
        if wait.kind == WaitKind::Task && wait.object.is_none() {
            // `wait_for` awaits the task itself from 3.12 on; before, a future that is set when the task ends.
            wait.object = future.filter(|future| {
                let known = self.types().known(*future);
                known.is_ok_and(|known| matches!(known.kind, Kind::Task | Kind::PythonTask))
            });
        }
        Some(wait)
    }

    /// `asyncio.sleep`: its timer is in a variable, and says when.
    fn sleep(&self, task: &Task) -> Option<TaskWait> {
        let (name, frame) = self.frames_in(task, "tasks.py").into_iter().next()?;
        if name != "sleep" {
            return None;
        }
        let number = |object| self.number(object);
        let timer = self.variable(frame, "h");
        let until = timer.and_then(|timer| self.types().slot(timer, "_when")).and_then(number);
        let duration = self.variable(frame, "delay").and_then(number);
        Some(TaskWait { operation: "sleep".to_owned(), until, duration, ..TaskWait::new(WaitKind::Sleep) })
    }

    /// The locks of asyncio/locks.py. What was called by the program is the outermost of their frames.
    fn lock(&self, task: &Task) -> Option<TaskWait> {
        let frames = self.frames_in(task, "locks.py");
        let (innermost, _) = frames.first()?;
        // To get its lock back is the last thing that `Condition.wait` does.
        let (name, frame) = if innermost == "acquire" { frames.first()? } else { frames.last()? };
        let object = self.variable(frame, "self")?;
        let known = self.types().known(object).ok()?;
        let class = known.short_name();
        let kind = match class {
            "Lock" => WaitKind::Lock,
            "Semaphore" | "BoundedSemaphore" => WaitKind::Semaphore,
            "Event" => WaitKind::Event,
            "Condition" => WaitKind::Condition,
            "Barrier" => WaitKind::Barrier,
            _ if innermost == "acquire" => WaitKind::Lock,
            _ => WaitKind::Event,
        };
        let name = if name == "__aenter__" { "acquire" } else { name };
        Some(TaskWait {
            operation: format!("{class}.{name}"),
            object: Some(object),
            waiters: self.length(object, "_waiters"),
            ..TaskWait::new(kind)
        })
    }

    fn queue(&self, task: &Task) -> Option<TaskWait> {
        let (name, frame) = self.frames_in(task, "queues.py").into_iter().next()?;
        let object = self.variable(frame, "self")?;
        let class = self.types().known(object).ok()?.short_name().to_owned();
        let waiters = match name.as_str() {
            "get" => self.length(object, "_getters"),
            "put" => self.length(object, "_putters"),
            _ => None,
        };
        Some(TaskWait {
            operation: format!("{class}.{name}"),
            object: Some(object),
            waiters,
            ..TaskWait::new(WaitKind::Queue)
        })
    }

    /// Streams, sockets, processes, servers.
    fn input(&self, task: &Task) -> Option<TaskWait> {
        if let Some((name, frame)) = self.frames_in(task, "streams.py").into_iter().next_back() {
            let stream = self.variable(frame, "self");
            let descriptor = stream.and_then(|stream| {
                let transport = self.types().attribute(stream, "_transport")?;
                self.descriptor_of(self.types().attribute(transport, "_sock")?)
                    .or_else(|| self.small_number(self.types().attribute(transport, "_sock_fd")?))
                    .or_else(|| self.small_number(self.types().attribute(transport, "_fileno")?))
            });
            let class = stream.and_then(|stream| Some(self.types().known(stream).ok()?.short_name().to_owned()));
            let operation = format!("{}.{name}", class.as_deref().unwrap_or("stream"));
            return Some(TaskWait { operation, object: stream, descriptor, ..TaskWait::new(WaitKind::Socket) });
        }
        for file in ["selector_events.py", "proactor_events.py"] {
            let Some((name, frame)) = self.frames_in(task, file).into_iter().next() else { continue };
            let socket = self.variable(frame, "sock")?;
            let descriptor = self.descriptor_of(socket);
            return Some(TaskWait { operation: name, descriptor, ..TaskWait::new(WaitKind::Socket) });
        }
        if let Some((name, _)) = self.frames_in(task, "base_events.py").into_iter().next()
            && matches!(name.as_str(), "serve_forever" | "wait_closed")
        {
            return Some(TaskWait { operation: format!("Server.{name}"), ..TaskWait::new(WaitKind::Server) });
        }
        let in_process = [self.frames_in(task, "base_subprocess.py"), self.frames_in(task, "subprocess.py")].concat();
        let (name, _) = in_process.into_iter().next_back()?;
        Some(TaskWait {
            operation: format!("Process.{}", name.trim_start_matches('_')),
            ..TaskWait::new(WaitKind::Process)
        })
    }

    /// `asyncio.wait` and the end of a `TaskGroup`: for which tasks, `edges` finds out.
    fn joined_tasks(&self, task: &Task) -> Option<TaskWait> {
        if let Some((name, _)) = self.frames_in(task, "tasks.py").into_iter().next() {
            let kind = match name.as_str() {
                "_wait" | "wait" | "_wait_for_one" => WaitKind::Some,
                "wait_for" | "_cancel_and_wait" => WaitKind::Task,
                _ => return None,
            };
            return Some(TaskWait::new(kind));
        }
        let (name, _) = self.frames_in(task, "taskgroups.py").into_iter().next()?;
        matches!(name.as_str(), "__aexit__" | "_aexit").then(|| TaskWait::new(WaitKind::Group))
    }

    /// What a future alone tells.
    fn future(&self, future: u64) -> Option<TaskWait> {
        let known = self.types().known(future).ok()?;
        let kind = match known.kind {
            Kind::Task | Kind::PythonTask => WaitKind::Task,
            _ if known.info.name == "_GatheringFuture" => WaitKind::Gather,
            // `wrap_future` joins two futures by a function of this name (asyncio/futures.py).
            _ if self.has_callback(future, "_call_check_cancel") => WaitKind::Executor,
            Kind::Future | Kind::PythonFuture => WaitKind::Future,
            _ => WaitKind::Other,
        };
        Some(TaskWait { object: Some(future), ..TaskWait::new(kind) })
    }

    fn opaque(&self, task: &Task) -> Option<TaskWait> {
        match task.links.first()? {
            Link::Opaque(name) => Some(TaskWait { operation: name.clone(), ..TaskWait::new(WaitKind::Other) }),
            Link::Frame(_) | Link::Compiled(_) => None,
        }
    }

    fn has_callback(&self, future: u64, name: &str) -> bool {
        self.futures.callbacks(future).into_iter().any(|callback| self.function_name(callback).as_deref() == Some(name))
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
    fn length(&self, object: u64, attribute: &str) -> Option<u64> {
        let waiters = self.types().attribute(object, attribute)?;
        let known = self.types().known(waiters).ok()?;
        let objects = self.types().objects;
        match known.info.name.as_str() {
            "collections.deque" | "list" | "tuple" => objects.size(waiters).ok(),
            "set" => objects.pointer(waiters, objects.layout().object.set_used).ok(),
            _ => None,
        }
        .filter(|length| *length < MOST_WAITERS)
    }

    /// `PySocketSockObject.sock_fd`, the first field (Modules/socketmodule.h).
    fn descriptor_of(&self, socket: u64) -> Option<i32> {
        let objects = self.types().objects;
        let info = &self.types().known(socket).ok()?.info;
        let is_socket = objects
            .bases(info.address)
            .ok()?
            .into_iter()
            .any(|base| objects.name_of_type(base).is_ok_and(|name| name == "_socket.socket"));
        let descriptor = objects.int(socket, objects.layout().object.head_size).ok()?;
        (is_socket && descriptor >= 0).then_some(descriptor)
    }

    fn small_number(&self, object: u64) -> Option<i32> {
        i32::try_from(self.types().objects.small_int(object).ok()??).ok()
    }

    /// The name of an object's class.
    pub(super) fn class_name(&self, object: u64) -> Option<String> {
        Some(self.types().known(object).ok()?.short_name().to_owned())
    }

    /// A `float` or a small `int`.
    pub(super) fn number(&self, object: u64) -> Option<f64> {
        let objects = self.types().objects;
        match self.types().known(object).ok()?.info.name.as_str() {
            "float" => {
                let bits = objects.pointer(object, objects.layout().object.float_value).ok()?;
                Some(f64::from_bits(bits)).filter(|number| number.is_finite())
            }
            "int" => objects.small_int(object).ok()?.map(|number| number as f64),
            _ => None,
        }
    }
}

/// `PyFunctionObject.func_code`: the first field up to 3.9; from 3.10 on globals, builtins, name and qualified name
/// come before it (cpython/funcobject.h).
pub(super) fn function_code(layout: &crate::python::layout::Layout) -> u32 {
    let before = if layout.version.feature() >= (3, 10) { 32 } else { 0 };
    layout.object.head_size + before
}

/// Whether a path is that of a file of asyncio.
pub(super) fn is_file(path: &str, name: &str) -> bool {
    let mut parts = path.rsplit(['/', '\\']);
    parts.next() == Some(name) && parts.next() == Some("asyncio")
}
