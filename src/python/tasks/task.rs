//! One task or future: its fields, wherever they are kept.

use super::layout::{AsyncioSection, TaskLayout};
use super::objects::{Kind, TaskObjects};
use crate::memory::ReadError;

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;
/// Callbacks of one future that are looked at.
const MOST_CALLBACKS: usize = 256;

/// How far a future has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FutureState {
    /// `PENDING`.
    Pending,
    /// `CANCELLED` or `FINISHED`.
    Done,
}

/// The fields of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskFields {
    pub(super) event_loop: u64,
    pub(super) state: FutureState,
    pub(super) coroutine: u64,
    /// `_fut_waiter`, 0 where it waits for nothing.
    pub(super) waiter: u64,
    pub(super) name: Option<String>,
    pub(super) must_cancel: bool,
}

/// Reads tasks and futures.
#[derive(Clone, Copy)]
pub(super) struct FutureReader<'read> {
    pub(super) types: TaskObjects<'read>,
    /// `None` where the target has no tasks that are written in C.
    pub(super) layout: Option<TaskLayout>,
}

impl FutureReader<'_> {
    /// The fields of a task; `None` when it is none.
    pub(super) fn task(&self, task: u64) -> Result<Option<TaskFields>, ReadError> {
        match (self.types.known(task)?.kind, self.layout) {
            (Kind::Task, Some(layout)) => self.task_in_c(task, &layout).map(Some),
            (Kind::PythonTask, _) => Ok(Some(self.task_in_python(task))),
            _ => Ok(None),
        }
    }

    /// The coroutine of a task; `None` when it is no task.
    pub(super) fn coroutine(&self, task: u64) -> Option<u64> {
        match (self.types.known(task).ok()?.kind, self.layout) {
            (Kind::Task, Some(layout)) => self.types.objects.pointer(task, layout.coroutine).ok(),
            (Kind::PythonTask, _) => self.types.attribute(task, "_coro"),
            _ => None,
        }
    }

    fn task_in_c(&self, task: u64, layout: &TaskLayout) -> Result<TaskFields, ReadError> {
        let objects = self.types.objects;
        let name = layout.name.map(|offset| objects.pointer(task, offset)).transpose()?;
        let (cancel, bits) = layout.must_cancel;
        Ok(TaskFields {
            event_loop: objects.pointer(task, layout.event_loop)?,
            state: future_state(objects.byte(task, layout.state)?),
            coroutine: objects.pointer(task, layout.coroutine)?,
            waiter: objects.pointer(task, layout.waiter)?,
            name: name.and_then(|name| self.name(name)),
            must_cancel: objects.byte(task, cancel)? & bits != 0,
        })
    }

    /// What differs from the defaults of the class is in the instance's dict.
    fn task_in_python(&self, task: u64) -> TaskFields {
        let attribute = |name| self.types.attribute(task, name);
        let not_none = |object: &u64| self.types.known(*object).is_ok_and(|known| known.info.name != "NoneType");
        let truth = |object| self.types.objects.small_int(object).ok().flatten().unwrap_or(0) != 0;
        TaskFields {
            event_loop: attribute("_loop").unwrap_or(0),
            state: self.state_in_python(task),
            coroutine: attribute("_coro").unwrap_or(0),
            waiter: attribute("_fut_waiter").filter(not_none).unwrap_or(0),
            name: attribute("_name").and_then(|name| self.name(name)),
            must_cancel: attribute("_must_cancel").is_some_and(truth),
        }
    }

    fn state_in_python(&self, future: u64) -> FutureState {
        let state = self.types.attribute(future, "_state");
        match state.and_then(|state| self.types.objects.text_or_none(state, 16)).as_deref() {
            None | Some("PENDING") => FutureState::Pending,
            Some(_) => FutureState::Done,
        }
    }

    /// A `str`, or an `int` from which the name is made when it is first asked for.
    fn name(&self, name: u64) -> Option<String> {
        let objects = self.types.objects;
        let number = || Some(format!("Task-{}", objects.small_int(name).ok()??));
        objects.text_or_none(name, NAME_LIMIT).or_else(number)
    }

    /// How far any future has come; `None` when it is none.
    pub(super) fn state(&self, future: u64) -> Option<FutureState> {
        match (self.types.known(future).ok()?.kind, self.layout) {
            (Kind::Task | Kind::Future, Some(layout)) => {
                self.types.objects.byte(future, layout.state).ok().map(future_state)
            }
            (Kind::PythonTask | Kind::PythonFuture, _) => Some(self.state_in_python(future)),
            _ => None,
        }
    }

    /// What will be called when a future is done.
    pub(super) fn callbacks(&self, future: u64) -> Vec<u64> {
        let Ok(known) = self.types.known(future) else { return Vec::new() };
        let objects = self.types.objects;
        let (first, list) = match (known.kind, self.layout) {
            (Kind::Task | Kind::Future, Some(layout)) => {
                (objects.pointer(future, layout.first_callback).ok(), objects.pointer(future, layout.callbacks).ok())
            }
            (Kind::PythonTask | Kind::PythonFuture, _) => (None, self.types.attribute(future, "_callbacks")),
            _ => (None, None),
        };
        let mut callbacks: Vec<u64> = first.into_iter().filter(|callback| *callback != 0).collect();
        let list =
            list.filter(|list| *list != 0 && self.types.known(*list).is_ok_and(|known| known.info.name == "list"));
        let items = list.and_then(|list| objects.list_items(list, MOST_CALLBACKS).ok());
        // Each is a tuple of the callback and its context.
        let pairs = items.into_iter().flat_map(|(items, _)| items);
        callbacks.extend(pairs.filter_map(|pair| objects.tuple_items(pair, 1).ok()?.0.first().copied()));
        callbacks
    }

    /// Who waits for a task by its own word, `task_awaited_by` (3.14+): one object or a set.
    pub(super) fn told_awaiters(&self, task: u64, section: AsyncioSection) -> Vec<u64> {
        let objects = self.types.objects;
        if !self.types.known(task).is_ok_and(|known| known.kind == Kind::Task) {
            return Vec::new();
        }
        let awaiter = objects.pointer(task, section.awaited_by).unwrap_or(0);
        match objects.byte(task, section.awaited_by_is_set) {
            _ if awaiter == 0 => Vec::new(),
            Ok(0) => vec![awaiter],
            Ok(_) => objects.set_items(awaiter, MOST_CALLBACKS).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// `__qualname__` of the task's coroutine, or what can be said of one that has none.
    pub(super) fn coroutine_name(&self, coroutine: u64) -> Option<String> {
        let objects = self.types.objects;
        let known = self.types.known(coroutine).ok()?;
        match known.kind {
            Kind::Coroutine | Kind::Generator => {
                let offset = objects.layout().generator.qualname?;
                objects.text_or_none(objects.pointer(coroutine, offset).ok()?, NAME_LIMIT)
            }
            Kind::Cython(layout) => self.types.cython_name(coroutine, layout),
            Kind::Mypyc => self.types.mypyc_name(coroutine, &known.info),
            Kind::Wrapper => self.coroutine_name(self.types.first_field(coroutine).ok()?),
            _ => Some(known.info.name.clone()),
        }
    }
}

fn future_state(byte: u8) -> FutureState {
    if byte == 0 { FutureState::Pending } else { FutureState::Done }
}
