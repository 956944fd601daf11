//! All tasks of a process.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use super::awaitable::{Chain, Follower};
use super::edges::{EdgeReader, Relation};
use super::executors::find_workers;
use super::holders::find_holders;
use super::layout::{AsyncioSection, TaskLayoutError};
use super::objects::TaskObjects;
use super::registry::{Registry, RunningLoop, registries};
use super::ring::rings;
use super::task::{FutureReader, FutureState, TaskFields};
use super::trio::{RunFrame, TrioReader};
use super::wait::{WaitKind, WaitReader};
use super::{Task, TaskLibrary, TaskState};
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;

/// Steps of all chains together that are followed: each takes some hundred bytes until it is shown.
const MOST_LINKS_OF_ALL: usize = 100_000;

/// The tasks of a process and how they are joined.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// All of them, interpreter by interpreter, the main one first.
    pub(crate) tasks: Vec<Task>,
    /// Tasks that wait for each other in a ring, by their places.
    pub(crate) rings: Vec<Vec<usize>>,
    /// The loops that run, with the threads that run them (`PyThreadState.thread_id`).
    pub(crate) loops: Vec<(u64, u64)>,
    /// There are more tasks than are read.
    pub(crate) is_cut: bool,
    /// Tasks that could not be read.
    pub(crate) unreadable: u32,
}

/// Where tasks are read from.
#[derive(Clone, Copy)]
pub(crate) struct TaskSource<'read> {
    /// The target's objects, which stand still.
    pub(crate) objects: ObjectReader<'read>,
    /// Where the pointer to the first interpreter is, in the target.
    pub(crate) interpreters_head: u64,
    /// Finds the section `.AsyncioDebug` (3.14+).
    pub(crate) section: &'read dyn Fn() -> Option<AsyncioSection>,
    /// Whether tasks that have ended are wanted.
    pub(crate) with_done: bool,
    /// Frames of threads that may be those of `trio.run`.
    pub(crate) run_frames: &'read [RunFrame],
    /// Frames of threads that run a loop of asyncio as it is written in Python.
    pub(crate) loop_frames: &'read [RunFrame],
    /// Frames of threads that may be those in which an executor's function is called.
    pub(crate) worker_frames: &'read [RunFrame],
    /// `PyThreadState.thread_id` of the thread that a `PyThreadState` belongs to: in 3.12 an interpreter that another
    /// thread has made has that thread's id in its own.
    pub(crate) thread_of: &'read dyn Fn(u64) -> Option<u64>,
}

/// Reads all tasks, as far as they can be read, and adds the code of their frames to `codes`. `None` where no
/// interpreter has imported asyncio and no thread runs trio.
///
/// # Errors
/// When tasks of this build are not known.
pub(crate) fn read_tasks(source: TaskSource<'_>, codes: &mut CodeTable) -> Result<Option<Tasks>, TaskLayoutError> {
    let feature = source.objects.layout().version.feature();
    let known = RefCell::new(HashMap::new());
    let types = TaskObjects::new(source.objects, &known);
    // Looked for where there is an asyncio that has it.
    let section = OnceCell::new();
    let find_section = || *section.get_or_init(|| if feature >= (3, 14) { (source.section)() } else { None });
    let mut registries = match feature {
        (3, 7..) => registries(types, source.interpreters_head, &find_section)?,
        _ => Vec::new(),
    };
    if registries.is_empty() && source.run_frames.is_empty() {
        return Ok(None);
    }
    let section = section.get().copied().flatten();
    for registry in &mut registries {
        for running in &mut registry.loops {
            running.thread = (source.thread_of)(running.state).unwrap_or(running.thread);
        }
        if registry.layout.is_none() {
            let of_interpreter = source.loop_frames.iter().filter(|run| run.interpreter == registry.interpreter);
            let loops: Vec<_> = of_interpreter.filter_map(|run| loop_of_frame(types, codes, run)).collect();
            registry.loops.extend(loops);
            registry.add_current_tasks(types);
        }
    }
    let mut found = Tasks::default();
    for registry in &registries {
        found.loops.extend(registry.loops.iter().map(|running| (running.event_loop, running.thread)));
        found.is_cut |= registry.is_cut;
        let futures = FutureReader { types, layout: registry.layout };
        let mut reader = Reader { futures, registry, section, with_done: source.with_done, codes: &mut *codes };
        reader.read(&mut found);
    }
    for run in source.run_frames {
        TrioReader { types, codes: &mut *codes }.read(run, &mut found.tasks);
        let runners = found.tasks.iter().filter(|task| task.library == TaskLibrary::Trio);
        found.loops.extend(runners.filter_map(|task| Some((task.event_loop, task.thread?))));
    }
    found.loops.sort_unstable();
    found.loops.dedup();
    find_holders(types, &mut found.tasks);
    find_workers(types, codes, source.worker_frames, &mut found.tasks);
    found.rings = rings(&needed(&found.tasks));
    Ok(Some(found))
}

/// The loop that a frame of `run_forever` runs.
fn loop_of_frame(types: TaskObjects<'_>, codes: &CodeTable, run: &RunFrame) -> Option<RunningLoop> {
    let futures = FutureReader { types, layout: None };
    let event_loop = WaitReader { futures, codes }.variable(&run.frame, "self")?;
    Some(RunningLoop { event_loop, state: 0, thread: run.thread, current: None })
}

/// For each task those that must all do something before it goes on.
fn needed(tasks: &[Task]) -> Vec<Vec<usize>> {
    let needed = |task: &Task| {
        let kind = task.wait.as_ref().map(|wait| wait.kind);
        let mut needed = match kind {
            // Any of them will do.
            Some(WaitKind::Some) => Vec::new(),
            _ => task.awaits.clone(),
        };
        // A semaphore may have holders that are not known, and any of them can give it back.
        if kind == Some(WaitKind::Lock) {
            needed.extend(&task.held_by);
        }
        needed
    };
    tasks.iter().map(needed).collect()
}

/// A key by which `req-9` comes before `req-10`.
fn natural_key(name: &str) -> Vec<(String, u64)> {
    let parts = name.split_inclusive(|character: char| !character.is_ascii_digit());
    let mut key = vec![(String::new(), 0)];
    for part in parts {
        let digits = part.trim_end_matches(|character: char| !character.is_ascii_digit());
        let text = &part[digits.len()..];
        let number = digits.parse();
        if let (Some(last), Ok(number)) = (key.last_mut(), &number) {
            last.1 = *number;
            key.push((String::new(), 0));
        }
        if let Some(last) = key.last_mut() {
            // A number that is too long counts as text.
            last.0.push_str(if number.is_err() { part } else { text });
        }
    }
    key
}

/// Reads the tasks of one interpreter.
struct Reader<'read, 'codes> {
    futures: FutureReader<'read>,
    registry: &'read Registry,
    section: Option<AsyncioSection>,
    with_done: bool,
    codes: &'codes mut CodeTable,
}

impl Reader<'_, '_> {
    fn read(&mut self, found: &mut Tasks) {
        let first = found.tasks.len();
        let mut read: Vec<(Task, Option<u64>)> = Vec::new();
        let mut links = 0;
        for address in &self.registry.tasks {
            if links > MOST_LINKS_OF_ALL {
                found.is_cut = true;
                break;
            }
            match self.futures.task(*address) {
                Ok(Some(fields)) if fields.state == FutureState::Done && !self.with_done => {}
                Ok(Some(fields)) => {
                    let (task, future) = self.task(*address, &fields);
                    links += task.links.len();
                    read.push((task, future));
                }
                // What is in the lists and is no task any more, was removed while it was read.
                Ok(None) => {}
                Err(_) => found.unreadable += 1,
            }
        }
        // The sets of asyncio have no order. The numbers in the names that it gives are in that of creation.
        read.sort_by_cached_key(|(task, _)| (natural_key(task.name.as_deref().unwrap_or_default()), task.address));
        let waiters: Vec<Option<u64>> = read.iter().map(|(_, waiter)| *waiter).collect();
        found.tasks.extend(read.into_iter().map(|(task, _)| task));
        let places: HashMap<u64, usize> =
            found.tasks.iter().enumerate().skip(first).map(|(place, task)| (task.address, place)).collect();
        let waits = WaitReader { futures: self.futures, codes: self.codes };
        let edges = EdgeReader { waits, places: &places };
        let mut passed_on: HashMap<u64, usize> = HashMap::new();
        for place in first..found.tasks.len() {
            let task = &found.tasks[place];
            let mut group_of = None;
            for relation in edges.relations(task.address) {
                match relation {
                    Relation::InGroupOf(parent) => group_of = Some(parent),
                    Relation::PassedOn(outer) => {
                        passed_on.insert(outer, place);
                    }
                }
            }
            found.tasks[place].group_of = group_of;
        }
        for (place, waiter) in (first..).zip(waiters) {
            let task = &found.tasks[place];
            let waits_now = matches!(task.state, TaskState::Waiting | TaskState::Cancelling);
            let Some(future) = waiter.filter(|_| waits_now) else { continue };
            let mut wait = waits.asyncio_wait(task, Some(future));
            let mut awaits = edges.awaited(task, future, wait.as_ref());
            if let Some(inner) = passed_on.get(&future)
                && let Some(wait) = &mut wait
                && awaits.is_empty()
            {
                awaits.push(*inner);
                let is_of_group = found.tasks[*inner].group_of.is_some();
                wait.kind = if is_of_group { WaitKind::Task } else { WaitKind::Shield };
            }
            for awaited in &awaits {
                found.tasks[*awaited].awaited_by.push(place);
            }
            let task = &mut found.tasks[place];
            (task.wait, task.awaits) = (wait, awaits);
        }
        self.add_told_awaiters(found, first, &places);
    }

    /// From 3.14 on a future tells who waits for it, also where a callback is not of the standard library's own kinds.
    /// What is told of a task that is known to wait for others, or of a group that it belongs to, adds nothing true.
    fn add_told_awaiters(&self, found: &mut Tasks, first: usize, places: &HashMap<u64, usize>) {
        let Some(section) = self.section else { return };
        let known = found.tasks.len();
        let mut told = Vec::new();
        for place in first..known {
            for awaiter in self.futures.told_awaiters(found.tasks[place].address, section) {
                let Some(awaiter) = places.get(&awaiter).copied() else { continue };
                let above = &found.tasks[awaiter];
                let waits_for_future = above.wait.as_ref().is_some_and(|wait| wait.kind == WaitKind::Future);
                if waits_for_future && above.awaits.is_empty() && found.tasks[place].group_of != Some(awaiter) {
                    told.push((awaiter, place));
                }
            }
        }
        for (awaiter, awaited) in told {
            found.tasks[awaiter].awaits.push(awaited);
            found.tasks[awaited].awaited_by.push(awaiter);
        }
    }

    /// A task without what joins it to others, and the future that it waits for.
    fn task(&mut self, address: u64, fields: &TaskFields) -> (Task, Option<u64>) {
        let mut follower = Follower::new(self.futures.types, self.codes);
        let chain = match fields.state {
            FutureState::Pending => follower.follow(fields.coroutine, Some(fields.waiter)),
            FutureState::Done => Chain::default(),
        };
        let running = self.registry.loops.iter().find(|running| running.event_loop == fields.event_loop);
        let waiter = Some(fields.waiter).filter(|waiter| *waiter != 0).or(chain.future);
        let state = self.state(address, fields, &chain);
        let coroutine = self.futures.coroutine_name(fields.coroutine).unwrap_or_else(|| "?".to_owned());
        let task = Task {
            library: TaskLibrary::Asyncio,
            address,
            interpreter: self.registry.interpreter,
            event_loop: fields.event_loop,
            thread: running.map(|running| running.thread),
            name: fields.name.clone(),
            coroutine,
            state,
            links: chain.links,
            is_truncated: chain.is_truncated,
            wait: None,
            awaits: Vec::new(),
            awaited_by: Vec::new(),
            group_of: None,
            held_by: Vec::new(),
        };
        (task, waiter)
    }

    fn state(&self, address: u64, fields: &TaskFields, chain: &Chain) -> TaskState {
        let is_current = self.registry.loops.iter().any(|running| running.current == Some(address));
        let waits = fields.waiter != 0 && self.futures.state(fields.waiter) != Some(FutureState::Done);
        match fields.state {
            FutureState::Done => TaskState::Done,
            // One that has started another eagerly is not the current one, and runs.
            _ if is_current || chain.is_running => TaskState::Running,
            _ if fields.must_cancel => TaskState::Cancelling,
            _ if waits => TaskState::Waiting,
            _ if chain.is_new => TaskState::New,
            _ => TaskState::Ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::natural_key;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["req-10", "Task-2", "req-9", "Task-10", "a", "", "99999999999999999999999x", "req-9b"];
        names.sort_by_key(|name| natural_key(name));
        assert_eq!(names, ["", "99999999999999999999999x", "Task-2", "Task-10", "a", "req-9", "req-9b", "req-10"]);
    }
}
