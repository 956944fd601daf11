//! Who waits for whom, and which task is in whose group.

use std::collections::HashMap;

use super::objects::{Kind, TaskObjects};
use super::task::{FutureReader, FutureState};
use super::wait::{WaitKind, WaitReader, function_code};
use super::{Task, TaskWait};

/// Tasks that one task waits for, at most.
const MOST_AWAITED: usize = 100_000;
/// Gathers within each other that are followed.
const MOST_GATHERS: usize = 8;
/// Cells of one function that are looked at.
const MOST_CELLS: usize = 16;

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

    /// `TaskGroup._tasks`, of the group that the frame of its `__aexit__` is of.
    fn tasks_of_group(&self, task: &Task) -> Vec<u64> {
        let frames = self.waits.frames_in(task, "taskgroups.py");
        let group = frames.first().and_then(|(_, frame)| self.waits.variable(frame, "self"));
        let tasks = group.and_then(|group| self.types().attribute(group, "_tasks"));
        tasks.map(|tasks| self.items(tasks)).unwrap_or_default()
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
        self.futures().callbacks(task).into_iter().filter_map(|callback| self.relation(callback)).collect()
    }

    fn relation(&self, callback: u64) -> Option<Relation> {
        let types = self.types();
        match types.known(callback).ok()?.info.name.as_str() {
            // `PyMethodObject` {head, im_func, im_self}.
            "method" => {
                let function = self.waits.function_name(types.first_field(callback).ok()?)?;
                let owner = types.second_field(callback).ok()?;
                if function != "_on_task_done" {
                    return None;
                }
                let parent = types.attribute(owner, "_parent_task")?;
                self.places.get(&parent).map(|place| Relation::InGroupOf(*place))
            }
            // The function inside of `shield` that passes the result on: its cells hold the outer future.
            "function" if self.waits.function_name(callback).as_deref() == Some("_inner_done_callback") => {
                futures_of_closure(types, callback).into_iter().next().map(Relation::Shielded)
            }
            _ => None,
        }
    }
}

/// The futures that are no tasks in the cells of a function.
pub(super) fn futures_of_closure(types: TaskObjects<'_>, function: u64) -> Vec<u64> {
    let objects = types.objects;
    // `func_closure`: up to 3.9 after code, globals, defaults and keyword defaults; from 3.10 on after the code, the
    // defaults and keyword defaults (cpython/funcobject.h).
    let after_code = if objects.layout().version.feature() >= (3, 10) { 24 } else { 32 };
    let closure = objects.pointer(function, function_code(objects.layout()) + after_code).unwrap_or(0);
    if closure == 0 || !types.known(closure).is_ok_and(|known| known.info.name == "tuple") {
        return Vec::new();
    }
    let Ok((cells, _)) = objects.tuple_items(closure, MOST_CELLS) else { return Vec::new() };
    let contents = cells.into_iter().filter_map(|cell| types.first_field(cell).ok());
    let is_future =
        |object: &u64| types.known(*object).is_ok_and(|known| matches!(known.kind, Kind::Future | Kind::PythonFuture));
    contents.filter(is_future).collect()
}

/// What a callback of a task says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is in a `TaskGroup` that this task has opened.
    InGroupOf(usize),
    /// Whoever waits for this future waits for it.
    Shielded(u64),
}
