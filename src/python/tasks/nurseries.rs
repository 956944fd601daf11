//! From the task of trio that runs to those that have opened the nurseries that it is in, up to the outermost.
//!
//! Limits: the task is a variable of the function that runs all tasks (trio 0.17 and later), so nothing tells it while
//! that function does not run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::awaitable::Follower;
use super::awaiters::{Awaiter, RunningTask, compiled_above};
use super::objects::{Known, TaskObjects};
use super::task::FutureReader;
use super::turns::FrameVariable;
use super::wait::WaitReader;
use super::{Link, TaskFrame};
use crate::python::code::CodeTable;
use crate::python::locals::variable_offset;
use crate::python::object::ObjectReader;

/// Tasks above a task, at most.
const MOST_PARENTS: usize = 64;
/// Types, and code objects, that are remembered before all are forgotten.
const MOST_KNOWN: usize = 10_000;

/// Finds who waits for tasks of trio in one process.
#[derive(Debug, Default)]
pub(crate) struct Nurseries {
    known: RefCell<HashMap<u64, Rc<Known>>>,
    /// Where in a frame the variable `task` is, by the code object.
    offsets: RefCell<HashMap<u64, Option<u64>>>,
}

impl Nurseries {
    /// The task whose coroutine has the frame `outermost`, and those that wait for it. `turn` is the frame
    /// that runs all tasks, with its code object. `None` where it runs another by now. The root task, which is trio's
    /// own, is left out.
    pub(crate) fn running_task(
        &self,
        objects: ObjectReader<'_>,
        (turn, code): (u64, u64),
        outermost: u64,
        codes: &mut CodeTable,
    ) -> Option<RunningTask> {
        if self.known.borrow().len() > MOST_KNOWN || self.offsets.borrow().len() > MOST_KNOWN {
            self.known.borrow_mut().clear();
            self.offsets.borrow_mut().clear();
        }
        let find_offset = || variable_offset(objects, code, "task").ok().flatten();
        let offset = (*self.offsets.borrow_mut().entry(code).or_insert_with(find_offset))?;
        let mut task = FrameVariable { frame: turn, code, offset }.object(objects.memory(), objects)?;
        let types = TaskObjects::new(objects, &self.known);
        let coroutine = types.member(task, "coro")?;
        let outer = compiled_above(types, coroutine, outermost, codes)?;
        let futures = FutureReader { types, layout: None };
        let coroutine = if outer.is_empty() { None } else { futures.coroutine_name(coroutine) };
        let (mut found, mut seen) = (Vec::new(), vec![task]);
        while let Some(nursery) = self.nursery_of(types, task) {
            let parent = types.member(nursery, "_parent_task")?;
            let is_root = self.nursery_of(types, parent).is_none();
            if is_root || found.len() >= MOST_PARENTS || seen.contains(&parent) {
                break;
            }
            seen.push(parent);
            found.push(self.awaiter(types, parent, nursery, codes)?);
            task = parent;
        }
        Some(RunningTask { outer, coroutine, awaiters: found })
    }

    fn nursery_of(&self, types: TaskObjects<'_>, task: u64) -> Option<u64> {
        types.member(task, "_parent_nursery").filter(|nursery| !types.is_none(*nursery))
    }

    /// A task that has opened a nursery; with its frames if it waits for the end of that.
    fn awaiter(&self, types: TaskObjects<'_>, task: u64, nursery: u64, codes: &mut CodeTable) -> Option<Awaiter> {
        let coroutine = types.member(task, "coro")?;
        let chain = Follower::new(types, codes).follow(coroutine, None);
        let mut links = chain.links;
        let futures = FutureReader { types, layout: None };
        let waits = WaitReader { futures, codes };
        let is_at_end = |frame: &TaskFrame| {
            let name = waits.codes.get(frame.place.code).name.rsplit('.').next();
            name == Some("_nested_child_finished") && waits.variable(frame, "self") == Some(nursery)
        };
        if !links.iter().filter_map(Link::frame).any(is_at_end) {
            links.clear();
        }
        Some(Awaiter { coroutine: futures.coroutine_name(coroutine).unwrap_or_else(|| "?".to_owned()), links })
    }
}
