//! Where the tasks are: the sets of the module `asyncio.tasks`, and from 3.14 on the lists of threads and interpreters;
//! which loop each thread runs, and its current task.

use std::collections::HashSet;

use super::layout::{AsyncioSection, TaskLayout, TaskLayoutError};
use super::objects::{Kind, TaskObjects};
use crate::memory::ReadError;
use crate::python::cycle::CycleWatch;
use crate::python::object::{ObjectReader, TypeInfo};

/// More tasks than are read.
pub(super) const MOST_TASKS: usize = 100_000;
/// More interpreters than a process can hold, more threads than one interpreter has.
const MOST_INTERPRETERS: usize = 1 << 12;
const MOST_THREADS: usize = 1 << 16;

/// An interpreter that has imported asyncio.
#[derive(Debug)]
pub(super) struct Registry {
    /// The `PyInterpreterState`.
    pub(super) interpreter: u64,
    /// The layout of tasks written in C; `None` where there are none.
    pub(super) layout: Option<TaskLayout>,
    /// The tasks, each once.
    pub(super) tasks: Vec<u64>,
    /// There are more.
    pub(super) is_cut: bool,
    /// The loops that run.
    pub(super) loops: Vec<RunningLoop>,
    /// The dict `_current_tasks`.
    current_tasks: Option<u64>,
}

/// A loop that a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunningLoop {
    pub(super) event_loop: u64,
    /// The `PyThreadState`; 0 where it is not known.
    pub(super) state: u64,
    /// `PyThreadState.thread_id` of the thread.
    pub(super) thread: u64,
    /// The task that it runs at this moment.
    pub(super) current: Option<u64>,
}

/// The dicts `_current_tasks` of all interpreters that have imported asyncio.
pub(super) fn current_task_dicts(objects: ObjectReader<'_>, interpreters_head: u64) -> Vec<u64> {
    let modules = interpreters(objects, interpreters_head).filter_map(|interpreter| Modules::of(objects, interpreter));
    modules.filter_map(|modules| objects.find_in_dict(modules.tasks, "_current_tasks").ok()?).collect()
}

/// The layout of tasks written in C; `None` where there are none.
///
/// # Errors
/// When tasks of this build are not known.
pub(super) fn task_layout(
    objects: ObjectReader<'_>,
    interpreters_head: u64,
) -> Result<Option<TaskLayout>, TaskLayoutError> {
    let mut modules = interpreters(objects, interpreters_head).filter_map(|address| Modules::of(objects, address));
    modules
        .find_map(|modules| modules.task_type(objects))
        .map(|info| TaskLayout::of(objects.layout(), info.basic_size))
        .transpose()
}

/// The interpreters, the newest first.
fn interpreters(objects: ObjectReader<'_>, head: u64) -> impl Iterator<Item = u64> + '_ {
    let mut next = objects.memory().read_u64(head).unwrap_or(0);
    let mut watch = CycleWatch::default();
    let interpreters = std::iter::from_fn(move || {
        let interpreter = next;
        if interpreter == 0 || watch.comes_again(interpreter) {
            return None;
        }
        next = objects.pointer(interpreter, objects.layout().interpreter.next).unwrap_or(0);
        Some(interpreter)
    });
    interpreters.take(MOST_INTERPRETERS)
}

/// The registries of all interpreters that have imported asyncio, from the pointer to the first interpreter on.
pub(super) fn registries(
    types: TaskObjects<'_>,
    interpreters_head: u64,
    section: &dyn Fn() -> Option<AsyncioSection>,
) -> Result<Vec<Registry>, TaskLayoutError> {
    let objects = types.objects;
    let mut found = Vec::new();
    for interpreter in interpreters(objects, interpreters_head) {
        if let Some(modules) = Modules::of(objects, interpreter) {
            found.push(registry(types, interpreter, &modules, section())?);
        }
    }
    found.reverse();
    Ok(found)
}

/// The dicts of the modules that know of tasks.
struct Modules {
    /// `asyncio.tasks`.
    tasks: u64,
    /// `_asyncio`.
    accelerated: Option<u64>,
}

impl Modules {
    /// `None` where asyncio was not imported.
    fn of(objects: ObjectReader<'_>, interpreter: u64) -> Option<Self> {
        let modules = objects.pointer(interpreter, objects.layout().interpreter.modules).ok()?;
        let dict = |name| objects.module_dict(objects.find_in_dict(modules, name).ok()??).ok();
        Some(Self { tasks: dict("asyncio.tasks")?, accelerated: dict("_asyncio") })
    }

    /// `_asyncio.Task`.
    fn task_type(&self, objects: ObjectReader<'_>) -> Option<TypeInfo> {
        let task_type = objects.find_in_dict(self.accelerated?, "Task").ok()??;
        objects.type_info(task_type).ok()
    }
}

fn registry(
    types: TaskObjects<'_>,
    interpreter: u64,
    modules: &Modules,
    section: Option<AsyncioSection>,
) -> Result<Registry, TaskLayoutError> {
    let objects = types.objects;
    let has_lists = objects.layout().version.feature() >= (3, 14);
    let layout = match modules.task_type(objects) {
        Some(info) => Some(TaskLayout::of(objects.layout(), info.basic_size)?),
        None => None,
    };
    if layout.is_some() && has_lists && section.is_none() {
        return Err(TaskLayoutError::NoSection);
    }
    let mut registry =
        Registry { interpreter, layout, tasks: Vec::new(), is_cut: false, loops: Vec::new(), current_tasks: None };
    registry.add_running_loops(types, modules, section);
    registry.add_tasks_of_sets(types, modules);
    if let Some(section) = section.filter(|_| has_lists) {
        registry.add_tasks_of_lists(objects, section);
    }
    let mut seen = HashSet::new();
    registry.tasks.retain(|task| seen.insert(*task));
    registry.is_cut |= registry.tasks.len() > MOST_TASKS;
    registry.tasks.truncate(MOST_TASKS);
    Ok(registry)
}

impl Registry {
    /// The sets that asyncio itself keeps. Up to 3.11 there is one for all; later one of tasks that were scheduled and
    /// one of eager ones; from 3.14 on only tasks that are written in Python are in them.
    fn add_tasks_of_sets(&mut self, types: TaskObjects<'_>, modules: &Modules) {
        let objects = types.objects;
        let is_split = objects.layout().version.feature() >= (3, 12);
        let name = if is_split { "_scheduled_tasks" } else { "_all_tasks" };
        if let Ok(Some(weak_set)) = objects.find_in_dict(modules.tasks, name)
            && let Some(data) = types.attribute(weak_set, "data")
        {
            let references = objects.set_items(data, MOST_TASKS + 1).unwrap_or_default();
            // `PyWeakReference.wr_object` is the first field; it is `None` once the task is gone.
            let tasks = references.iter().filter_map(|reference| types.first_field(*reference).ok());
            self.tasks.extend(tasks.filter(|task| is_task(types, *task)));
        }
        if let Ok(Some(eager)) = objects.find_in_dict(modules.tasks, "_eager_tasks") {
            let tasks = objects.set_items(eager, MOST_TASKS + 1).unwrap_or_default();
            self.tasks.extend(tasks.into_iter().filter(|task| is_task(types, *task)));
        }
        self.current_tasks = objects.find_in_dict(modules.tasks, "_current_tasks").ok().flatten();
        self.add_current_tasks(types);
    }

    /// What the dict `_current_tasks` says: from 3.14 on only of tasks that are written in Python.
    pub(super) fn add_current_tasks(&mut self, types: TaskObjects<'_>) {
        if let Some(Ok(items)) = self.current_tasks.map(|current| types.objects.dict_items(current)) {
            for (event_loop, task) in items.take(MOST_THREADS) {
                let running = self.loops.iter_mut().filter(|running| running.event_loop == event_loop);
                running.for_each(|running| running.current = running.current.or(Some(task)));
            }
        }
    }

    /// 3.14 and later: a circular list for each thread, and one of the tasks that outlived theirs.
    fn add_tasks_of_lists(&mut self, objects: ObjectReader<'_>, section: AsyncioSection) {
        let mut heads = vec![self.interpreter.wrapping_add(u64::from(section.interpreter_tasks))];
        let threads = thread_states(objects, self.interpreter);
        heads.extend(threads.iter().map(|state| state.wrapping_add(u64::from(section.thread_tasks))));
        for head in heads {
            let mut watch = CycleWatch::default();
            let mut node = objects.memory().read_u64(head).unwrap_or(0);
            while node != head && node != 0 && !watch.comes_again(node) && self.tasks.len() <= MOST_TASKS {
                self.tasks.push(node.wrapping_sub(u64::from(section.node)));
                node = objects.memory().read_u64(node).unwrap_or(0);
            }
        }
    }

    fn add_running_loops(&mut self, types: TaskObjects<'_>, modules: &Modules, section: Option<AsyncioSection>) {
        let objects = types.objects;
        let layout = objects.layout();
        for state in thread_states(objects, self.interpreter) {
            let Some(event_loop) = running_loop(types, state, section) else { continue };
            let word = section.and_then(|section| objects.pointer(state, section.running_task).ok());
            let current = word.filter(|task| *task != 0 && layout.version.feature() >= (3, 14));
            let Ok(thread) = objects.pointer(state, layout.thread.thread_id) else { continue };
            // Of an `unsigned long`, which has four bytes on Windows.
            let thread = if cfg!(windows) { thread & u64::from(u32::MAX) } else { thread };
            // asyncio as it is written in Python says which loop runs in a `threading.local`, which is not read.
            if modules.accelerated.is_some() {
                self.loops.push(RunningLoop { event_loop, state, thread, current });
            }
        }
    }
}

/// The loop that the thread with a `PyThreadState` runs, as the C code of asyncio keeps it.
fn running_loop(types: TaskObjects<'_>, state: u64, section: Option<AsyncioSection>) -> Option<u64> {
    let layout = types.objects.layout();
    let running = match (layout.version.feature(), section) {
        (feature, _) if feature < (3, 13) => loop_in_dict(types, state),
        // The word after the `PyThreadState` (`_PyThreadStateImpl.asyncio_running_loop`).
        ((3, 13), _) => types.objects.pointer(state, layout.thread.size),
        (_, Some(section)) => types.objects.pointer(state, section.running_loop),
        (_, None) => Ok(0),
    };
    running.ok().filter(|event_loop| *event_loop != 0)
}

/// The threads of all interpreters that run loops: their `PyThreadState`s, and the loops.
pub(super) fn running_loops(
    types: TaskObjects<'_>,
    interpreters_head: u64,
    section: Option<AsyncioSection>,
) -> Vec<(u64, u64)> {
    let interpreters = interpreters(types.objects, interpreters_head);
    let states = interpreters.flat_map(|interpreter| thread_states(types.objects, interpreter));
    states.filter_map(|state| Some((state, running_loop(types, state, section)?))).collect()
}

/// Up to 3.12: the loop is in the thread state's own dict, up to 3.11 in an object that holds it.
fn loop_in_dict(types: TaskObjects<'_>, state: u64) -> Result<u64, ReadError> {
    let objects = types.objects;
    let feature = objects.layout().version.feature();
    // `PyThreadState.dict` (cpython/pystate.h).
    let place = match feature.1 {
        ..11 => 152,
        11 => 128,
        _ => 112,
    };
    let dict = objects.pointer(state, place)?;
    if dict == 0 {
        return Ok(0);
    }
    match objects.find_in_dict(dict, "__asyncio_running_event_loop__")? {
        // `PyRunningLoopHolder.rl_loop` (Modules/_asynciomodule.c).
        Some(holder) if feature < (3, 12) => types.first_field(holder),
        found => Ok(found.unwrap_or(0)),
    }
}

fn thread_states(objects: ObjectReader<'_>, interpreter: u64) -> Vec<u64> {
    let layout = objects.layout();
    let mut states = Vec::new();
    let mut watch = CycleWatch::default();
    let mut state = objects.pointer(interpreter, layout.interpreter.threads_head).unwrap_or(0);
    while state != 0 && states.len() < MOST_THREADS && !watch.comes_again(state) {
        states.push(state);
        state = objects.pointer(state, layout.thread.next).unwrap_or(0);
    }
    states
}

fn is_task(types: TaskObjects<'_>, object: u64) -> bool {
    types.known(object).is_ok_and(|known| matches!(known.kind, Kind::Task | Kind::PythonTask))
}
