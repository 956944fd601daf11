//! From the task that runs to those that wait for it, up to the outermost: what a sample of a running task needs,
//! without looking at all other tasks.
//!
//! Each future knows by its callbacks who will go on when it is done. Limits: of several that wait, the first counts; a
//! callback that is none of the standard library's leads nowhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Link;
use super::awaitable::Follower;
use super::edges::futures_of_closure;
use super::layout::{AsyncioSection, TaskLayout};
use super::objects::{Kind, Known, TaskObjects};
use super::registry::{current_task_dicts, running_loops, task_layout};
use super::task::FutureReader;
use super::turns::UvLoop;
use super::wait::{WaitReader, is_file};
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;

/// Tasks above a task, at most.
const MOST_AWAITERS: usize = 64;
/// Steps from a future over callbacks to the next task.
const MOST_STEPS: usize = 16;
/// Steps over coroutines that were compiled to the first frame.
const MOST_COMPILED: usize = 64;
/// Loops that run at the same time, at most.
const MOST_LOOPS: usize = 1024;
/// Types that are remembered before all are forgotten.
const MOST_TYPES: usize = 10_000;

/// A task above another: who waits for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Awaiter {
    /// The qualified name of its coroutine.
    pub coroutine: String,
    /// What it has called, innermost first; nothing where it does something else meanwhile.
    pub links: Vec<Link>,
}

/// The task that runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunningTask {
    /// Coroutines that were compiled, above the outermost frame that its thread has of it, innermost first.
    pub outer: Vec<Link>,
    /// The qualified name of its coroutine, where that is one of those.
    pub coroutine: Option<String>,
    /// Who waits for it, the nearest first.
    pub awaiters: Vec<Awaiter>,
}

/// Finds running tasks and their awaiters in one process.
#[derive(Debug)]
pub(crate) struct RunningTasks {
    /// The dicts `_current_tasks` of all interpreters.
    dicts: Vec<u64>,
    layout: Option<TaskLayout>,
    section: Option<AsyncioSection>,
    known: RefCell<HashMap<u64, Rc<Known>>>,
}

impl RunningTasks {
    /// `None` where no interpreter has imported asyncio or tasks of this build are not known.
    pub(crate) fn find(
        objects: ObjectReader<'_>,
        interpreters_head: u64,
        section: &dyn Fn() -> Option<AsyncioSection>,
    ) -> Option<Self> {
        let dicts = current_task_dicts(objects, interpreters_head);
        if dicts.is_empty() {
            return None;
        }
        let layout = task_layout(objects, interpreters_head).ok()?;
        let section = if objects.layout().version.feature() >= (3, 14) { section() } else { None };
        Some(Self { dicts, layout, section, known: RefCell::default() })
    }

    /// The task that a thread runs: the current one whose coroutine's frame is `frame`, the oldest of the thread's
    /// above those of the loop. `state` is its `PyThreadState`.
    pub(crate) fn current(&self, objects: ObjectReader<'_>, state: u64, frame: u64) -> Option<u64> {
        let word = self.running_word(objects, state).filter(|task| *task != 0);
        let candidates = word.into_iter().chain(self.current_in_dicts(objects));
        candidates.into_iter().find(|task| self.is_task_of(objects, *task, frame))
    }

    /// The task that a thread runs by its own word (3.14+), 0 where it runs none that was written in C.
    fn running_word(&self, objects: ObjectReader<'_>, state: u64) -> Option<u64> {
        objects.pointer(state, self.section?.running_task).ok()
    }

    /// The current tasks of all loops.
    fn current_in_dicts<'read>(&'read self, objects: ObjectReader<'read>) -> impl Iterator<Item = u64> + 'read {
        let in_dicts = self.dicts.iter().flat_map(move |dict| objects.dict_items(*dict).ok()).flatten();
        in_dicts.take(MOST_LOOPS).map(|(_, task)| task)
    }

    /// The task that a thread runs if it runs only what was compiled and has no frame of Python. `state` is its
    /// `PyThreadState`. `None` also where several loops have such tasks and nothing tells whose thread it is.
    pub(crate) fn compiled_task(
        &self,
        objects: ObjectReader<'_>,
        state: u64,
        codes: &mut CodeTable,
    ) -> Option<RunningTask> {
        let task = match self.running_word(objects, state) {
            Some(task) => task,
            None => {
                let mut current = self.current_in_dicts(objects);
                let first = current.next()?;
                if current.next().is_some() {
                    return None;
                }
                first
            }
        };
        if task == 0 {
            return None;
        }
        let types = self.types(objects);
        let futures = FutureReader { types, layout: self.layout };
        let coroutine = futures.coroutine(task)?;
        let outer = running_compiled(types, coroutine, codes)?;
        let awaiters = self.awaiters(objects, task, codes);
        Some(RunningTask { outer, coroutine: futures.coroutine_name(coroutine), awaiters })
    }

    /// Whether a task is the one whose coroutine has this frame, or has called what has it and was compiled.
    pub(crate) fn is_task_of(&self, objects: ObjectReader<'_>, task: u64, frame: u64) -> bool {
        let types = self.types(objects);
        let coroutine = FutureReader { types, layout: self.layout }.coroutine(task);
        coroutine.is_some_and(|coroutine| compiled_above(types, coroutine, frame, &mut CodeTable::new()).is_some())
    }

    /// A task that runs, and who waits for it; `None` where it is not the one whose outermost frame is `frame`.
    pub(crate) fn running_task(
        &self,
        objects: ObjectReader<'_>,
        task: u64,
        frame: u64,
        codes: &mut CodeTable,
    ) -> Option<RunningTask> {
        let types = self.types(objects);
        let futures = FutureReader { types, layout: self.layout };
        let coroutine = futures.coroutine(task)?;
        let outer = compiled_above(types, coroutine, frame, codes)?;
        let coroutine = if outer.is_empty() { None } else { futures.coroutine_name(coroutine) };
        Some(RunningTask { outer, coroutine, awaiters: self.awaiters(objects, task, codes) })
    }

    /// `Task.get_name()`; 3.7 has no names.
    pub(crate) fn name(&self, objects: ObjectReader<'_>, task: u64) -> Option<String> {
        FutureReader { types: self.types(objects), layout: self.layout }.task(task).ok()??.name
    }

    /// The threads that run loops of uvloop, by their `PyThreadState`s.
    pub(crate) fn uv_loops(&self, objects: ObjectReader<'_>, interpreters_head: u64) -> Vec<(u64, UvLoop)> {
        let types = self.types(objects);
        let running = running_loops(types, interpreters_head, self.section).into_iter();
        running.filter_map(|(state, event_loop)| Some((state, UvLoop::of(types, event_loop)?))).collect()
    }

    /// Who waits for a task, the nearest first.
    fn awaiters(&self, objects: ObjectReader<'_>, task: u64, codes: &mut CodeTable) -> Vec<Awaiter> {
        let types = self.types(objects);
        let futures = FutureReader { types, layout: self.layout };
        let mut found: Vec<Awaiter> = Vec::new();
        let mut seen = vec![task];
        let mut task = task;
        while let Some((above, group)) = self.awaiter_of(futures, task) {
            if found.len() >= MOST_AWAITERS || seen.contains(&above) {
                break;
            }
            seen.push(above);
            let Ok(Some(fields)) = futures.task(above) else { break };
            let chain = Follower::new(types, codes).follow(fields.coroutine, Some(fields.waiter));
            let mut links = chain.links;
            // Who has opened a group may not have come to its end yet.
            if group.is_some_and(|group| !is_at_end_of_group(WaitReader { futures, codes: &*codes }, &links, group)) {
                links.clear();
            }
            let coroutine = futures.coroutine_name(fields.coroutine).unwrap_or_else(|| "?".to_owned());
            found.push(Awaiter { coroutine, links });
            task = above;
        }
        found
    }

    fn types<'read>(&'read self, objects: ObjectReader<'read>) -> TaskObjects<'read> {
        if self.known.borrow().len() > MOST_TYPES {
            self.known.borrow_mut().clear();
        }
        TaskObjects::new(objects, &self.known)
    }

    /// The first task that goes on when a future is done, over futures that stand between. If it is the one that has
    /// opened the group that the task is in, that group.
    fn awaiter_of(&self, futures: FutureReader<'_>, future: u64) -> Option<(u64, Option<u64>)> {
        let mut seen = vec![future];
        let mut index = 0;
        while index < seen.len() && seen.len() < MOST_STEPS {
            for callback in futures.callbacks(seen[index]) {
                match self.step(futures, callback) {
                    Some(Step::Task(task, group)) => return Some((task, group)),
                    Some(Step::Futures(next)) => {
                        next.into_iter().for_each(|next| {
                            if !seen.contains(&next) {
                                seen.push(next);
                            }
                        });
                    }
                    None => {}
                }
            }
            index += 1;
        }
        None
    }

    fn step(&self, futures: FutureReader<'_>, callback: u64) -> Option<Step> {
        let types = futures.types;
        let as_task = |object: u64| {
            let known = types.known(object).ok()?;
            matches!(known.kind, Kind::Task | Kind::PythonTask).then_some(Step::Task(object, None))
        };
        match types.known(callback).ok()?.short_name() {
            // Up to 3.9; it holds the task.
            "TaskWakeupMethWrapper" => as_task(types.first_field(callback).ok()?),
            // `PyCFunctionObject` {head, m_ml, m_self}.
            "builtin_function_or_method" => as_task(types.second_field(callback).ok()?),
            // `PyMethodObject` {head, im_func, im_self}: of a task in Python, or of a group.
            "method" => {
                let owner = types.second_field(callback).ok()?;
                let parent = || types.attribute(owner, "_parent_task").filter(|parent| as_task(*parent).is_some());
                as_task(owner).or_else(|| Some(Step::Task(parent()?, Some(owner))))
            }
            "function" => Some(Step::Futures(futures_of_closure(types, callback))),
            // `partialobject` {head, fn, args} (Modules/_functoolsmodule.c): `_release_waiter` of `wait_for`.
            "partial" => {
                let (items, _) = types.objects.tuple_items(types.second_field(callback).ok()?, MOST_STEPS).ok()?;
                let is_future = |item: &u64| {
                    types.known(*item).is_ok_and(|known| matches!(known.kind, Kind::Future | Kind::PythonFuture))
                };
                Some(Step::Futures(items.into_iter().filter(is_future).collect()))
            }
            _ => None,
        }
    }
}

/// Where a callback leads.
enum Step {
    /// To a task, in whose group it is.
    Task(u64, Option<u64>),
    Futures(Vec<u64>),
}

/// Whether one of these frames waits for the end of a `TaskGroup`.
fn is_at_end_of_group(waits: WaitReader<'_>, links: &[Link], group: u64) -> bool {
    links.iter().filter_map(Link::frame).any(|frame| {
        let file = &waits.codes.get(frame.place.code).filename;
        is_file(file, "taskgroups.py") && waits.variable(frame, "self") == Some(group)
    })
}

/// The coroutines that were compiled and stand above the frame `outermost` in what `coroutine` has called, innermost
/// first; `None` where that is not the next frame.
pub(super) fn compiled_above(
    types: TaskObjects<'_>,
    coroutine: u64,
    outermost: u64,
    codes: &mut CodeTable,
) -> Option<Vec<Link>> {
    let mut links = Vec::new();
    let mut next = coroutine;
    loop {
        match types.known(next).ok()?.kind {
            Kind::Cython(layout) if links.len() < MOST_COMPILED => {
                links.push(types.cython_link(next, layout, codes));
                next = types.cython_state(next, layout).ok()?.awaited;
            }
            Kind::Wrapper if !links.is_empty() && links.len() < MOST_COMPILED => next = types.first_field(next).ok()?,
            _ => break,
        }
    }
    links.reverse();
    (frame_of_coroutine(types.objects, next) == Some(outermost)).then_some(links)
}

/// A coroutine and what it has called, innermost first, if all of it was compiled and runs.
fn running_compiled(types: TaskObjects<'_>, coroutine: u64, codes: &mut CodeTable) -> Option<Vec<Link>> {
    let mut links = Vec::new();
    let mut next = coroutine;
    while next != 0 && links.len() < MOST_COMPILED {
        let known = types.known(next).ok()?;
        next = match known.kind {
            Kind::Cython(layout) => {
                let state = types.cython_state(next, layout).ok()?;
                if !state.is_running {
                    return None;
                }
                links.push(types.cython_link(next, layout, codes));
                state.awaited
            }
            // Below it nothing is told.
            Kind::Mypyc => {
                links.push(Link::Opaque(types.mypyc_name(next, &known.info)?, next));
                0
            }
            Kind::Wrapper if !links.is_empty() => types.first_field(next).ok()?,
            _ => return None,
        };
    }
    links.reverse();
    (!links.is_empty()).then_some(links)
}

/// The frame of a coroutine that has not ended.
fn frame_of_coroutine(objects: ObjectReader<'_>, coroutine: u64) -> Option<u64> {
    let generator = &objects.layout().generator;
    match (generator.frame, generator.frame_object) {
        (Some(offset), _) => Some(coroutine.wrapping_add(u64::from(offset))),
        (None, Some(offset)) => objects.pointer(coroutine, offset).ok().filter(|frame| *frame != 0),
        (None, None) => None,
    }
}
