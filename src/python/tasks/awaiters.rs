//! From the task that runs to those that wait for it, up to the outermost: what a sample of a running task needs,
//! without looking at all other tasks.
//!
//! Each future knows by its callbacks who will go on when it is done. Limits: of several that wait, the first counts; a
//! callback that is none of the standard library's leads nowhere.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::awaitable::Follower;
use super::edges::futures_of_closure;
use super::layout::{AsyncioSection, TaskLayout};
use super::objects::{Kind, Known, TaskObjects};
use super::registry::{current_task_dicts, running_loops, task_layout};
use super::task::FutureReader;
use super::turns::UvLoop;
use super::wait::{WaitReader, is_file};
use super::{Link, TaskFrame};
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;

/// Tasks above a task, at most.
const MOST_AWAITERS: usize = 64;
/// Steps from a future over callbacks to the next task.
const MOST_STEPS: usize = 16;
/// Loops that run at the same time, at most.
const MOST_LOOPS: usize = 1024;
/// Types that are remembered before all are forgotten.
const MOST_TYPES: usize = 10_000;

/// A task above another: who waits for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Awaiter {
    /// The qualified name of its coroutine.
    pub coroutine: String,
    /// Its frames, innermost first; none where it does something else meanwhile.
    pub frames: Vec<TaskFrame>,
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
        let word = self.section.and_then(|section| objects.pointer(state, section.running_task).ok());
        let in_dicts = self.dicts.iter().flat_map(|dict| objects.dict_items(*dict).ok()).flatten();
        let candidates =
            word.filter(|task| *task != 0).into_iter().chain(in_dicts.take(MOST_LOOPS).map(|(_, task)| task));
        candidates.into_iter().find(|task| self.is_task_of(objects, *task, frame))
    }

    /// Whether a task is the one whose coroutine has this frame.
    pub(crate) fn is_task_of(&self, objects: ObjectReader<'_>, task: u64, frame: u64) -> bool {
        let futures = FutureReader { types: self.types(objects), layout: self.layout };
        let coroutine = futures.coroutine(task);
        coroutine.is_some_and(|coroutine| frame_of_coroutine(objects, coroutine) == Some(frame))
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
    pub(crate) fn awaiters(&self, objects: ObjectReader<'_>, task: u64, codes: &mut CodeTable) -> Vec<Awaiter> {
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
            let chain = Follower { types, codes: &mut *codes }.follow(fields.coroutine);
            let mut frames = frames_of_links(chain.links);
            // Who has opened a group may not have come to its end yet.
            if group.is_some_and(|group| !is_at_end_of_group(WaitReader { futures, codes: &*codes }, &frames, group)) {
                frames.clear();
            }
            let coroutine = futures.coroutine_name(fields.coroutine).unwrap_or_else(|| "?".to_owned());
            found.push(Awaiter { coroutine, frames });
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

/// The links that are frames.
pub(super) fn frames_of_links(links: Vec<Link>) -> Vec<TaskFrame> {
    let frames = links.into_iter().filter_map(|link| match link {
        Link::Frame(frame) => Some(frame),
        Link::Opaque(_) => None,
    });
    frames.collect()
}

/// Whether one of these frames waits for the end of a `TaskGroup`.
fn is_at_end_of_group(waits: WaitReader<'_>, frames: &[TaskFrame], group: u64) -> bool {
    frames.iter().any(|frame| {
        let file = &waits.codes.get(frame.place.code).filename;
        is_file(file, "taskgroups.py") && waits.variable(frame, "self") == Some(group)
    })
}

/// The frame of a coroutine that has not ended.
pub(super) fn frame_of_coroutine(objects: ObjectReader<'_>, coroutine: u64) -> Option<u64> {
    let generator = &objects.layout().generator;
    match (generator.frame, generator.frame_object) {
        (Some(offset), _) => Some(coroutine.wrapping_add(u64::from(offset))),
        (None, Some(offset)) => objects.pointer(coroutine, offset).ok().filter(|frame| *frame != 0),
        (None, None) => None,
    }
}
