//! What a task of asyncio waits in, by the innermost frames of its chain, their variables, and the future at the end.

use super::anyio_wait::anyio_wait;
use super::executors::executor_wait;
use super::objects::Kind;
use super::transports::{descriptor, has_tls_protocol, is_of_uvloop, small_number, uv_timer_due};
use super::wait::{TaskWait, WaitKind, WaitReader};
use super::{CompiledFrame, Link, Task};

/// Connections of a server that are counted.
const MOST_CONNECTIONS: u64 = 1 << 20;

impl WaitReader<'_> {
    /// What a task of asyncio waits in whose chain ends at `future`.
    pub(super) fn asyncio_wait(self, task: &Task, future: Option<u64>) -> Option<TaskWait> {
        let by_frames = self
            .sleep(task)
            .or_else(|| anyio_wait(self, task, future))
            .or_else(|| self.lock(task))
            .or_else(|| self.queue(task))
            .or_else(|| self.input(task))
            .or_else(|| self.joined_tasks(task))
            .or_else(|| self.uvloop(task));
        let mut wait = by_frames.or_else(|| self.future(future?)).or_else(|| self.opaque(task))?;
        if wait.kind == WaitKind::Future {
            wait.descriptor = self.descriptor_of_protocol(task);
        }
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
        let number = |object| self.types().number(object);
        let timer = self.variable(frame, "h");
        let until = timer.and_then(|timer| self.types().slot(timer, "_when")).and_then(number);
        let until = until.or_else(|| uv_timer_due(self.types(), timer?));
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
        self.stream(task).or_else(|| self.socket(task)).or_else(|| self.server(task)).or_else(|| self.process(task))
    }

    fn stream(&self, task: &Task) -> Option<TaskWait> {
        let (name, frame) = self.frames_in(task, "streams.py").into_iter().next_back()?;
        let stream = self.variable(frame, "self")?;
        let class = self.class_name(stream)?;
        let descriptor = descriptor(self.types(), stream);
        let operation = format!("{class}.{name}");
        Some(TaskWait { operation, object: Some(stream), descriptor, ..TaskWait::new(WaitKind::Socket) })
    }

    /// Methods of the loop that are given a socket, or make one.
    fn socket(&self, task: &Task) -> Option<TaskWait> {
        let files = ["selector_events.py", "proactor_events.py", "base_events.py", "unix_events.py"];
        let frames: Vec<_> = files.iter().flat_map(|file| self.frames_in(task, file)).collect();
        let (name, frame) = frames.first()?;
        let of_socket = |name| self.variable(frame, name).filter(|object| !self.types().is_none(*object));
        let descriptor = ["sock", "transport"].into_iter().find_map(|name| descriptor(self.types(), of_socket(name)?));
        let operation = match name.trim_start_matches('_') {
            // Without TLS there is nothing to wait for in these.
            "create_connection_transport" => "the TLS handshake of create_connection".to_owned(),
            "start_tls" => "the TLS handshake of start_tls".to_owned(),
            "sock_sendfile_native" => "sock_sendfile".to_owned(),
            name if name.starts_with("sock_") => name.to_owned(),
            _ => return None,
        };
        Some(TaskWait { operation, descriptor, ..TaskWait::new(WaitKind::Socket) })
    }

    fn server(&self, task: &Task) -> Option<TaskWait> {
        let (name, frame) = self.frames_in(task, "base_events.py").into_iter().next()?;
        if !matches!(name.as_str(), "serve_forever" | "wait_closed") {
            return None;
        }
        let server = self.variable(frame, "self");
        let member = |name| self.types().member(server?, name);
        let sockets = member("_sockets").and_then(|sockets| self.first_item(sockets));
        let descriptor = sockets.and_then(|socket| descriptor(self.types(), socket));
        // A count up to 3.12, then a set of weak references.
        let clients = member("_clients").and_then(|clients| self.length(clients, "data"));
        let open = || u64::try_from(small_number(self.types(), member("_active_count")?)?).ok();
        let open = clients.or_else(open).filter(|count| name == "wait_closed" && *count < MOST_CONNECTIONS);
        let detail = open.map(|count| match count {
            1 => "1 connection is open".to_owned(),
            count => format!("{count} connections are open"),
        });
        let operation = format!("Server.{name}");
        Some(TaskWait { operation, object: server, descriptor, detail, ..TaskWait::new(WaitKind::Server) })
    }

    fn first_item(&self, list: u64) -> Option<u64> {
        let objects = self.types().objects;
        let items = match self.types().known(list).ok()?.info.name.as_str() {
            "list" => objects.list_items(list, 1),
            "tuple" => objects.tuple_items(list, 1),
            _ => return None,
        };
        items.ok()?.0.first().copied()
    }

    fn process(&self, task: &Task) -> Option<TaskWait> {
        let in_process = [self.frames_in(task, "base_subprocess.py"), self.frames_in(task, "subprocess.py")].concat();
        let (name, frame) = in_process.into_iter().next_back()?;
        let process = self.variable(frame, "self");
        let pid = ["pid", "_pid"].into_iter().find_map(|name| self.types().attribute(process?, name));
        let pid = pid.and_then(|pid| small_number(self.types(), pid));
        Some(TaskWait {
            operation: format!("Process.{}", name.trim_start_matches('_')),
            detail: pid.map(|pid| format!("pid {pid}")),
            ..TaskWait::new(WaitKind::Process)
        })
    }

    /// Functions of uvloop's, which are compiled: what they have in variables says which socket it is.
    fn uvloop(&self, task: &Task) -> Option<TaskWait> {
        // Up to 0.19 it has no code.
        let (function, object) = match task.links.first()? {
            Link::Compiled(CompiledFrame { object, code }) => (self.codes.get(*code).name.as_str(), *object),
            Link::Opaque(name, object) => (name.as_str(), *object),
            Link::Frame(_) => return None,
        };
        let (class, name) = function.rsplit_once('.')?;
        if !matches!(self.types().known(object).ok()?.kind, Kind::Cython(_)) {
            return None;
        }
        // `closure`, behind the body of the function (`Utility/Coroutine.c` of Cython).
        let variables = self.types().second_field(object).ok().filter(|variables| *variables != 0)?;
        if !is_of_uvloop(self.types(), variables) {
            return None;
        }
        let (kind, operation) = match name {
            "serve_forever" | "wait_closed" => (WaitKind::Server, format!("{class}.{name}")),
            "create_connection" | "create_unix_connection" | "connect_accepted_socket" | "start_tls" => {
                let of_tls = name == "start_tls" || has_tls_protocol(self.types(), variables);
                (WaitKind::Socket, if of_tls { format!("the TLS handshake of {name}") } else { name.to_owned() })
            }
            name if name.starts_with("sock_") => (WaitKind::Socket, name.to_owned()),
            _ => return None,
        };
        let descriptor = descriptor(self.types(), variables);
        Some(TaskWait { operation, descriptor, ..TaskWait::new(kind) })
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
            Kind::Future | Kind::PythonFuture => {
                return executor_wait(*self, future)
                    .or(Some(TaskWait { object: Some(future), ..TaskWait::new(WaitKind::Future) }));
            }
            _ => WaitKind::Other,
        };
        Some(TaskWait { object: Some(future), ..TaskWait::new(kind) })
    }

    /// By which socket the object sends and receives in whose method a task waits for a plain future: one that has a
    /// transport, or a protocol that has one, as those of aiohttp have.
    fn descriptor_of_protocol(&self, task: &Task) -> Option<i32> {
        let frame = task.innermost_frames().find(|frame| self.place(frame).0 != "__await__")?;
        let waits_by = self.variable(frame, "self")?;
        let one_of = |object, names: [&str; 2]| {
            let mut found = names.into_iter().filter_map(|name| self.types().member(object, name));
            found.find(|found| !self.types().is_none(*found))
        };
        let transport = |object| one_of(object, ["transport", "_transport"]);
        let transport = transport(waits_by).or_else(|| transport(one_of(waits_by, ["_protocol", "protocol"])?))?;
        descriptor(self.types(), transport)
    }

    fn opaque(&self, task: &Task) -> Option<TaskWait> {
        match task.links.first()? {
            Link::Opaque(name, _) => Some(TaskWait { operation: name.clone(), ..TaskWait::new(WaitKind::Other) }),
            Link::Frame(_) | Link::Compiled(_) => None,
        }
    }
}
