//! trio's tasks: the runner is a variable of the frame of `trio.run`, and everything else hangs on it.
//!
//! Limits: of a guest run (`start_guest_run`) there is no such frame while the host's loop waits; only while trio runs
//! are its tasks found.

use std::collections::HashMap;

use super::anyio_wait::anyio_wait;
use super::awaitable::Follower;
use super::objects::TaskObjects;
use super::registry::MOST_TASKS;
use super::task::FutureReader;
use super::transports::{descriptor, small_number};
use super::turns::trio_clock_offset;
use super::wait::{TaskWait, WaitKind, WaitReader, is_file};
use super::{Task, TaskFrame, TaskLibrary, TaskState};
use crate::python::code::CodeTable;

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;
/// The innermost frames that are asked for what a task waits in.
const FRAMES_ASKED: usize = 8;

/// A frame of a thread that may have an event loop in a variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunFrame {
    /// The frame in the target.
    pub frame: TaskFrame,
    /// `PyThreadState.thread_id` of its thread.
    pub thread: u64,
    /// The `PyInterpreterState` of its thread.
    pub interpreter: u64,
}

/// Whether a function may be the one that has the runner in a variable.
pub(crate) fn is_run_function(name: &str, file: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or_default();
    matches!(name, "run" | "unrolled_run") && is_file_of_trio(file, "_run.py")
}

/// Whether a function is the one that has a loop of asyncio as its `self`.
pub(crate) fn is_loop_function(name: &str, file: &str) -> bool {
    name.rsplit('.').next() == Some("run_forever") && is_file(file, "base_events.py")
}

/// Reads the tasks of the runner that a frame has.
pub(super) struct TrioReader<'read, 'codes> {
    pub(super) types: TaskObjects<'read>,
    pub(super) codes: &'codes mut CodeTable,
}

impl TrioReader<'_, '_> {
    /// Adds the tasks of the runner that `run` has in a variable, if it has one that is not known yet.
    pub(super) fn read(&mut self, run: &RunFrame, found: &mut Vec<Task>) {
        let futures = FutureReader { types: self.types, layout: None };
        let Some(runner) = WaitReader { futures, codes: self.codes }.variable(&run.frame, "runner") else { return };
        if found.iter().any(|task| task.event_loop == runner) {
            return;
        }
        let Some(tasks) = self.types.member(runner, "tasks") else { return };
        let mut tasks = self.types.objects.set_items(tasks, MOST_TASKS).unwrap_or_default();
        tasks.truncate(MOST_TASKS);
        let first = found.len();
        for task in tasks {
            found.extend(self.task(task, runner, run));
        }
        let places: HashMap<u64, usize> =
            found.iter().enumerate().skip(first).map(|(place, task)| (task.address, place)).collect();
        for task in &mut found[first..] {
            let parent = self.types.member(task.address, "_parent_nursery");
            let parent = parent.and_then(|nursery| self.types.member(nursery, "_parent_task"));
            task.group_of = parent.and_then(|parent| places.get(&parent).copied());
        }
        let waits = WaitReader { futures, codes: self.codes };
        let ahead = trio_clock_offset(self.types.objects, runner);
        for place in first..found.len() {
            if found[place].state != TaskState::Waiting {
                continue;
            }
            // Streams of anyio's are made of what would be named otherwise.
            let of_stream = |wait: &TaskWait| matches!(wait.kind, WaitKind::Queue | WaitKind::Socket);
            let by_anyio = anyio_wait(waits, &found[place], None).filter(of_stream);
            let wait = by_anyio.or_else(|| trio_wait(waits, &found[place], ahead));
            if wait.as_ref().is_some_and(|wait| wait.kind == WaitKind::Group) {
                let children: Vec<usize> =
                    (first..found.len()).filter(|child| found[*child].group_of == Some(place)).collect();
                let children = self.of_waiting_nursery(waits, &found[place], &children, found);
                children.iter().for_each(|child| found[*child].awaited_by.push(place));
                found[place].awaits = children;
            }
            found[place].wait = wait;
        }
    }

    /// Those of the children of a task that are in the nursery whose end it waits for.
    fn of_waiting_nursery(&self, waits: WaitReader<'_>, task: &Task, children: &[usize], tasks: &[Task]) -> Vec<usize> {
        let frame = task.frames().find(|frame| function_and_file(waits.codes, frame).0 == "_nested_child_finished");
        let nursery = frame.and_then(|frame| waits.variable(frame, "self"));
        let is_in =
            |child: &usize| nursery.is_none() || self.types.member(tasks[*child].address, "_parent_nursery") == nursery;
        children.iter().copied().filter(is_in).take(MOST_TASKS).collect()
    }

    fn task(&mut self, task: u64, runner: u64, run: &RunFrame) -> Option<Task> {
        let coroutine = self.types.member(task, "coro")?;
        let name = self.types.member(task, "name");
        let chain = Follower::new(self.types, self.codes).follow(coroutine, None);
        // `wait_task_rescheduled` sets it, and whoever wakes the task takes it away (trio/_core/_run.py).
        let can_be_aborted = self.types.member(task, "_abort_func").is_some_and(|abort| !self.types.is_none(abort));
        let state = match chain {
            _ if chain.is_running => TaskState::Running,
            _ if chain.is_new => TaskState::New,
            _ if can_be_aborted => TaskState::Waiting,
            _ => TaskState::Ready,
        };
        let futures = FutureReader { types: self.types, layout: None };
        Some(Task {
            library: TaskLibrary::Trio,
            address: task,
            interpreter: run.interpreter,
            event_loop: runner,
            thread: Some(run.thread),
            name: name.and_then(|name| self.types.objects.text_or_none(name, NAME_LIMIT)),
            coroutine: futures.coroutine_name(coroutine).unwrap_or_else(|| "?".to_owned()),
            state,
            links: chain.links,
            is_truncated: chain.is_truncated,
            wait: None,
            awaits: Vec::new(),
            awaited_by: Vec::new(),
            group_of: None,
            held_by: Vec::new(),
        })
    }
}

/// What a task waits in: the outermost function of trio's own that it is in, without the traps.
/// `ahead` is by how much the runner's clock is ahead of the system's.
fn trio_wait(waits: WaitReader<'_>, task: &Task, ahead: Option<f64>) -> Option<TaskWait> {
    let of_trio: Vec<&TaskFrame> = task
        .innermost_frames()
        .take(FRAMES_ASKED)
        .take_while(|frame| is_in_trio(function_and_file(waits.codes, frame).1))
        .collect();
    let (frame, name, file) = of_trio.iter().rev().find_map(|frame| {
        let (name, file) = function_and_file(waits.codes, frame);
        (!file.ends_with("_traps.py")).then_some((*frame, name, file))
    })?;
    let innermost = of_trio.iter().map(|frame| function_and_file(waits.codes, frame));
    let is_nursery = innermost.clone().any(|(name, _)| name == "_nested_child_finished");
    let object = waits.variable(frame, "self");
    let class = object.and_then(|object| waits.class_name(object));
    let kind = match (name, class.as_deref()) {
        _ if is_nursery => WaitKind::Group,
        ("sleep" | "sleep_until" | "sleep_forever", _) => WaitKind::Sleep,
        (_, Some("Event")) => WaitKind::Event,
        (_, Some("Lock" | "StrictFIFOLock")) => WaitKind::Lock,
        (_, Some("Semaphore" | "CapacityLimiter")) => WaitKind::Semaphore,
        (_, Some("Condition")) => WaitKind::Condition,
        _ if is_file_of_trio(file, "_channel.py") => WaitKind::Queue,
        _ if is_file_of_trio(file, "_threads.py") => WaitKind::Executor,
        _ if is_file_of_trio(file, "_subprocess.py") => WaitKind::Process,
        _ if file.contains("_socket") || file.contains("_io_") || file.contains("_ssl") || file.contains("_stream") => {
            WaitKind::Socket
        }
        _ => WaitKind::Other,
    };
    let name = if name == "__aenter__" { "acquire" } else { name };
    let operation = match &class {
        Some(class) => format!("{}.{name}", if class == "_SocketType" { "socket" } else { class }),
        None => name.trim_start_matches('_').to_owned(),
    };
    let mut wait = TaskWait::new(kind);
    wait.operation = operation;
    wait.object = object.filter(|_| !is_nursery);
    let innermost = || of_trio.iter();
    match kind {
        WaitKind::Sleep => {
            wait.duration = waits.variable(frame, "seconds").and_then(|seconds| waits.types().number(seconds));
            // `sleep(seconds)` calls `sleep_until(deadline)` of the runner's clock, which begins somewhere.
            let is_until = |frame: &&&TaskFrame| function_and_file(waits.codes, frame).0 == "sleep_until";
            let deadline = innermost().find(is_until).and_then(|frame| waits.variable(frame, "deadline"));
            wait.until =
                deadline.and_then(|deadline| waits.types().number(deadline)).zip(ahead).map(|(at, ahead)| at - ahead);
        }
        WaitKind::Lock | WaitKind::Semaphore | WaitKind::Condition => {
            let lot = object.and_then(|object| waits.types().member(object, "_lot"));
            wait.waiters = lot.and_then(|lot| waits.length(lot, "_parked"));
        }
        WaitKind::Socket => {
            let by_self = |frame: &&TaskFrame| descriptor(waits.types(), waits.variable(frame, "self")?);
            wait.descriptor = innermost().find_map(by_self);
        }
        WaitKind::Process => {
            let process = |frame: &&TaskFrame| {
                let pid = waits.types().member(waits.variable(frame, "self")?, "pid")?;
                small_number(waits.types(), pid)
            };
            wait.detail = innermost().find_map(process).map(|pid| format!("pid {pid}"));
        }
        _ => {}
    }
    Some(wait)
}

fn function_and_file<'codes>(codes: &'codes CodeTable, frame: &TaskFrame) -> (&'codes str, &'codes str) {
    let code = codes.get(frame.place.code);
    (code.name.rsplit('.').next().unwrap_or_default(), &code.filename)
}

/// Whether a path is that of a file of trio, in whichever of its folders.
fn is_file_of_trio(path: &str, name: &str) -> bool {
    is_in_trio(path) && path.rsplit(['/', '\\']).next() == Some(name)
}

fn is_in_trio(path: &str) -> bool {
    let mut folders = path.rsplit(['/', '\\']).skip(1).take(2);
    folders.any(|folder| folder == "trio")
}
