//! Plain functions that a task has called and that await for it all the same, through a greenlet.
//!
//! A bridge runs plain functions in a greenlet of their own. When they want to await something, they give it to the
//! task's coroutine and the greenlet is put aside. So the frames between are on no coroutine: they are those of the
//! greenlet, which the bridge's own function has in a variable.
//!
//! | bridge | its function | the greenlet | what is awaited |
//! |---|---|---|---|
//! | SQLAlchemy's asyncio engine | `greenlet_spawn` (sqlalchemy/util) | `context` | the function awaits it itself |
//! | greenback | `_greenback_shim`, `_greenback_shim_sync` | `resume_greenlet` | `coro` of the newest, `await_` |
//!
//! Limits: while the plain functions run, their frames are their thread's, and stay with the greenlet.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::awaitable::Follower;
use super::objects::TaskObjects;
use super::task::FutureReader;
use super::wait::{WaitKind, WaitReader};
use super::{Link, Task, TaskFrame};
use crate::python::code::CodeTable;
use crate::python::object::ObjectReader;

/// Bridges of one task that are joined: plain functions may begin to await and call plain functions again.
const MOST_BRIDGES: usize = 16;

/// Puts the frames of greenlets into the tasks that wait for them. `greenlets` has the frames of those that are put
/// aside, newest first, by their addresses; `codes` their code and that of the tasks. Which greenlets have been put
/// into tasks.
pub(crate) fn join_bridges(
    objects: ObjectReader<'_>,
    codes: &mut CodeTable,
    tasks: &mut [Task],
    greenlets: &HashMap<u64, Vec<TaskFrame>>,
) -> HashSet<u64> {
    let known = RefCell::default();
    let types = TaskObjects::new(objects, &known);
    let mut joined = HashSet::new();
    for task in tasks {
        for _ in 0..MOST_BRIDGES {
            let Some((place, greenlet, frames)) = next_bridge(types, codes, task, greenlets, &joined) else { break };
            joined.insert(greenlet);
            let awaited = awaited_in_greenback(types, codes, frames);
            let of_greenlet = frames.iter().map(|frame| Link::Frame(*frame));
            task.links.splice(place..place, awaited.into_iter().chain(of_greenlet));
            name_anew(codes, task);
            let waits = WaitReader { futures: FutureReader { types, layout: None }, codes };
            let is_vague =
                task.wait.as_ref().is_none_or(|wait| matches!(wait.kind, WaitKind::Future | WaitKind::Other));
            if let Some(wait) = waits.asyncio_wait(task, None).filter(|_| is_vague) {
                task.wait = Some(wait);
            }
        }
    }
    joined
}

/// The greenlets that tasks wait for through bridges.
pub(crate) fn greenlets_of_bridges(objects: ObjectReader<'_>, codes: &CodeTable, tasks: &[Task]) -> Vec<u64> {
    let known = RefCell::default();
    let futures = FutureReader { types: TaskObjects::new(objects, &known), layout: None };
    let waits = WaitReader { futures, codes };
    let of_frame = |frame: &TaskFrame| waits.variable(frame, bridge_variable(codes, frame)?);
    tasks.iter().flat_map(|task| task.frames().filter_map(of_frame)).collect()
}

/// The innermost bridge of a task that is not joined yet: where in its links the greenlet's frames belong, the
/// greenlet, and its frames.
fn next_bridge<'read>(
    types: TaskObjects<'_>,
    codes: &CodeTable,
    task: &Task,
    greenlets: &'read HashMap<u64, Vec<TaskFrame>>,
    joined: &HashSet<u64>,
) -> Option<(usize, u64, &'read [TaskFrame])> {
    let waits = WaitReader { futures: FutureReader { types, layout: None }, codes };
    task.links.iter().enumerate().find_map(|(place, link)| {
        let Link::Frame(frame) = link else { return None };
        let greenlet = waits.variable(frame, bridge_variable(codes, frame)?)?;
        let frames = greenlets.get(&greenlet).filter(|frames| !frames.is_empty() && !joined.contains(&greenlet))?;
        Some((place, greenlet, frames.as_slice()))
    })
}

/// Whether a frame is that of a bridge, which runs plain functions in a greenlet.
pub(crate) fn is_bridge(codes: &CodeTable, frame: &TaskFrame) -> bool {
    bridge_variable(codes, frame).is_some()
}

/// The variable of a frame that has the greenlet, if it is one of a bridge.
fn bridge_variable(codes: &CodeTable, frame: &TaskFrame) -> Option<&'static str> {
    let code = codes.get(frame.place.code);
    let mut folders = code.filename.rsplit(['/', '\\']).skip(1);
    match code.name.rsplit('.').next()? {
        "greenlet_spawn" if folders.next() == Some("util") && folders.next() == Some("sqlalchemy") => Some("context"),
        "_greenback_shim" | "_greenback_shim_sync" if folders.next() == Some("greenback") => Some("resume_greenlet"),
        _ => None,
    }
}

/// What the newest function of a greenlet awaits, innermost first, where it is greenback's.
fn awaited_in_greenback(types: TaskObjects<'_>, codes: &mut CodeTable, frames: &[TaskFrame]) -> Vec<Link> {
    let Some(newest) = frames.first().filter(|frame| is_of_greenback(codes, frame)) else { return Vec::new() };
    let coroutine = WaitReader { futures: FutureReader { types, layout: None }, codes }.variable(newest, "coro");
    coroutine.map(|coroutine| Follower::new(types, codes).follow(coroutine, None).links).unwrap_or_default()
}

/// greenback has put a coroutine of its own in the place of the task's, which is the first in the greenlet now.
fn name_anew(codes: &CodeTable, task: &mut Task) {
    if task.coroutine.rsplit('.').next() != Some("greenback_shim") {
        return;
    }
    let is_of_bridge = |frame: &&TaskFrame| {
        let file = &codes.get(frame.place.code).filename;
        is_of_greenback(codes, frame) || file.rsplit(['/', '\\']).nth(1) == Some("outcome")
    };
    let own = task.frames().rev().find(|frame| !is_of_bridge(frame)).map(|frame| frame.place.code);
    if let Some(own) = own {
        task.coroutine = codes.get(own).name.clone();
    }
}

fn is_of_greenback(codes: &CodeTable, frame: &TaskFrame) -> bool {
    codes.get(frame.place.code).filename.rsplit(['/', '\\']).nth(1) == Some("greenback")
}
