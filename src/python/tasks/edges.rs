//! Who waits for whom, and which task is in whose group.

use std::collections::HashMap;

use super::objects::{Kind, TaskObjects};
use super::task::{FutureReader, FutureState};
use super::wait::{FRAMES_ASKED, WaitKind, WaitReader, cells_of};
use super::{Task, TaskFrame, TaskWait};

/// Tasks that one task waits for, at most.
const MOST_AWAITED: usize = 100_000;
/// Gathers within each other that are followed.
const MOST_GATHERS: usize = 8;

/// Joins tasks.
pub(super) struct EdgeReader<'read> {
    pub(super) waits: WaitReader<'read>,
    /// The places of tasks by their addresses.
    pub(super) places: &'read HashMap<u64, usize>,
}

impl EdgeReader<'_> {
    fn futures(&self) -> FutureReader<'_> {
        self.waits.futures
    }

    fn types(&self) -> TaskObjects<'_> {
        self.waits.futures.types
    }

    /// Which tasks a task waits for that waits for `future` and does so in `wait`.
    pub(super) fn awaited(&self, task: &Task, future: u64, wait: Option<&TaskWait>) -> Vec<usize> {
        if let Some(place) = self.places.get(&future) {
            return vec![*place];
        }
        let addresses = match wait.map(|wait| wait.kind) {
            Some(WaitKind::Gather) => self.children_of_gather(future, 0),
            Some(WaitKind::Some) => self.waited_for(task, &["fs", "todo"]),
            Some(WaitKind::Task) => self.waited_for(task, &["fut"]),
            Some(WaitKind::Group) => self.tasks_of_group(task),
            _ => Vec::new(),
        };
        let pending = addresses.iter().filter(|address| self.futures().state(**address) != Some(FutureState::Done));
        let mut places: Vec<usize> = pending.filter_map(|address| self.places.get(address).copied()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// `_GatheringFuture._children`, a list (asyncio/tasks.py), and theirs where one of them is a gather itself.
    fn children_of_gather(&self, future: u64, depth: usize) -> Vec<u64> {
        let Some(children) = self.types().attribute(future, "_children") else { return Vec::new() };
        let mut found = Vec::new();
        for child in self.items(children) {
            let is_gather = self.types().known(child).is_ok_and(|known| known.info.name == "_GatheringFuture");
            if is_gather && depth < MOST_GATHERS && found.len() < MOST_AWAITED {
                found.extend(self.children_of_gather(child, depth + 1));
            } else {
                found.push(child);
            }
        }
        found
    }

    /// The futures in a variable of the innermost frame of asyncio/tasks.py.
    fn waited_for(&self, task: &Task, names: &[&str]) -> Vec<u64> {
        let frames = self.waits.frames_in(task, "tasks.py");
        let held = frames.iter().flat_map(|(_, frame)| names.iter().map(|name| self.waits.variable(frame, name)));
        held.flatten().next().map(|held| self.items(held)).unwrap_or_default()
    }

    /// The tasks of the group that the innermost frame of an `__aexit__` is of. asyncio's has them in `_tasks`, as has
    /// anyio's from 4.0 on, before in that of its scope.
    fn tasks_of_group(&self, task: &Task) -> Vec<u64> {
        let is_end = |frame: &&TaskFrame| matches!(self.waits.place(frame).0, "__aexit__" | "_aexit");
        let mut frames = task.innermost_frames().take(FRAMES_ASKED).filter(is_end);
        let tasks = frames.find_map(|frame| {
            let group = self.waits.variable(frame, "self")?;
            let scope = || self.types().member(self.types().member(group, "cancel_scope")?, "_tasks");
            self.types().member(group, "_tasks").or_else(scope)
        });
        let tasks = tasks.map(|tasks| self.items(tasks)).unwrap_or_default();
        // The scope has also the task that waits.
        tasks.into_iter().filter(|other| *other != task.address).collect()
    }

    /// The items of a list, tuple or set; any other object is one item.
    fn items(&self, object: u64) -> Vec<u64> {
        let objects = self.types().objects;
        let Ok(known) = self.types().known(object) else { return Vec::new() };
        let items = match known.info.name.as_str() {
            "list" => objects.list_items(object, MOST_AWAITED).map(|(items, _)| items),
            "tuple" => objects.tuple_items(object, MOST_AWAITED).map(|(items, _)| items),
            "set" | "frozenset" => objects.set_items(object, MOST_AWAITED),
            _ => Ok(vec![object]),
        };
        items.unwrap_or_default()
    }

    /// What the callbacks of a task say of who else has to do with it.
    pub(super) fn relations(&self, task: u64) -> Vec<Relation> {
        self.futures().callbacks(task).into_iter().flat_map(|callback| self.relations_by(callback)).collect()
    }

    fn relations_by(&self, callback: u64) -> Vec<Relation> {
        let types = self.types();
        let Ok(known) = types.known(callback) else { return Vec::new() };
        match known.info.name.as_str() {
            "method" => self.group_of_method(callback).into_iter().collect(),
            "function" => match self.waits.function_name(callback).as_deref() {
                // The function inside of `shield` that passes the result on: its cells hold the outer future.
                Some("_inner_done_callback") => {
                    futures_of_closure(types, callback).into_iter().take(1).map(Relation::PassedOn).collect()
                }
                // That inside of anyio's `TaskGroup._spawn`: its cells hold the group and, where the task was begun by
                // `start`, the future that whoever has called that waits for until the task says that it has started.
                Some("task_done") => {
                    let group = cells_of(types, callback).into_iter().find_map(|cell| {
                        let scope = types.member(cell, "cancel_scope")?;
                        self.places.get(&types.member(scope, "_host_task")?).copied()
                    });
                    let passed_on = futures_of_closure(types, callback).into_iter().map(Relation::PassedOn);
                    group.map(Relation::InGroupOf).into_iter().chain(passed_on).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// `TaskGroup._on_task_done`: `PyMethodObject` {head, im_func, im_self}.
    fn group_of_method(&self, method: u64) -> Option<Relation> {
        let types = self.types();
        let function = self.waits.function_name(types.first_field(method).ok()?)?;
        let owner = types.second_field(method).ok()?;
        if function != "_on_task_done" {
            return None;
        }
        let parent = types.attribute(owner, "_parent_task")?;
        self.places.get(&parent).map(|place| Relation::InGroupOf(*place))
    }
}

/// The futures that are no tasks in the cells of a function.
pub(super) fn futures_of_closure(types: TaskObjects<'_>, function: u64) -> Vec<u64> {
    let is_future =
        |object: &u64| types.known(*object).is_ok_and(|known| matches!(known.kind, Kind::Future | Kind::PythonFuture));
    cells_of(types, function).into_iter().filter(is_future).collect()
}

/// What a callback of a task says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is in a `TaskGroup` that this task has opened.
    InGroupOf(usize),
    /// Whoever waits for this future waits for it.
    PassedOn(u64),
}
