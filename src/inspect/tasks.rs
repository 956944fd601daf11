//! Tasks as facts: with names, lines and words instead of addresses.

use std::collections::HashMap;

use super::describe::{Describer, Files};
use super::findings::FoundTasks;
use super::process::{InspectedFrame, InspectedTask, InspectedTaskWait, InspectedTasks};
use crate::python::code::CodeTable;
use crate::python::interpreter::InterpreterState;
use crate::python::tasks::{Link, Task, TaskWait, WaitKind};
use crate::sampler::{MomentFrame, MomentThread};

impl Describer<'_> {
    /// The tasks that were found; `None` where there are none to be had.
    pub(super) fn tasks(&self, files: &mut Files<'_>) -> Option<InspectedTasks> {
        match &self.findings.tasks {
            FoundTasks::None => None,
            FoundTasks::Refused(error) => {
                Some(InspectedTasks { refused: Some(format!("tasks not shown: {error}")), ..InspectedTasks::default() })
            }
            FoundTasks::Found { tasks: found, codes, variables } => {
                let threads: HashMap<u64, &MomentThread> =
                    self.moment.threads.iter().map(|thread| (thread.stack.thread_id, thread)).collect();
                let tasks = found.tasks.iter().enumerate().map(|(place, task)| {
                    let thread = task.thread.and_then(|thread| threads.get(&thread).copied());
                    let mut frames = self.frames_of(task, codes, files);
                    if let Some(of_frames) = variables.get(&place) {
                        let python = frames.iter_mut().filter_map(|frame| match frame {
                            InspectedFrame::Python(frame) => Some(frame),
                            _ => None,
                        });
                        python.zip(of_frames).for_each(|(frame, found)| frame.variables = Some(found.clone()));
                    }
                    InspectedTask {
                        library: task.library,
                        id: task.address,
                        name: task.name.clone(),
                        state: task.state.name(),
                        coroutine: task.coroutine.clone(),
                        event_loop: task.event_loop,
                        python_id: task.thread,
                        os_id: thread.and_then(|thread| thread.os_id),
                        interpreter: self.interpreter_of(task).map_or(0, |interpreter| interpreter.id),
                        frames,
                        is_truncated: task.is_truncated,
                        wait: task.wait.as_ref().map(|wait| self.task_wait(wait, task)),
                        awaits: task.awaits.clone(),
                        awaited_by: task.awaited_by.clone(),
                        group_of: task.group_of,
                        held_by: task.held_by.clone(),
                    }
                });
                Some(InspectedTasks {
                    tasks: tasks.collect(),
                    rings: found.rings.clone(),
                    loops: found.loops.iter().map(|(event_loop, thread)| (*event_loop, *thread)).collect(),
                    is_cut: found.is_cut,
                    unreadable: found.unreadable,
                    refused: None,
                })
            }
        }
    }

    /// The interpreter of a task, as far as any thread runs in it.
    fn interpreter_of(&self, task: &Task) -> Option<InterpreterState> {
        let mut known = self.moment.threads.iter().flat_map(|thread| [thread.interpreter, thread.running_in]);
        known.find(|interpreter| interpreter.address == task.interpreter)
    }

    fn frames_of(&self, task: &Task, codes: &CodeTable, files: &mut Files<'_>) -> Vec<InspectedFrame> {
        let interpreter = self.interpreter_of(task);
        let frames = task.links.iter().map(|link| match link {
            Link::Opaque(name) => InspectedFrame::Compiled(format!("<{name}>")),
            Link::Frame(frame) => {
                let frame = MomentFrame {
                    address: frame.address,
                    code_address: frame.code_address,
                    code: frame.place.code,
                    line: frame.place.line,
                    offset: frame.place.offset,
                    interpreter: 0,
                };
                InspectedFrame::Python(self.python_frame(&frame, codes, interpreter.as_ref(), files))
            }
        });
        frames.collect()
    }

    fn task_wait(&self, wait: &TaskWait, task: &Task) -> InspectedTaskWait {
        let seconds = wait.until.zip(self.loop_time).map(|(until, now)| until - now);
        let what = wait.descriptor.map(|descriptor| {
            let name = self.subject.descriptors().name(descriptor);
            name.map_or_else(|| format!("fd {descriptor}"), |name| format!("fd {descriptor} ({name})"))
        });
        let mut text = match wait.kind {
            WaitKind::Sleep => match (seconds, wait.duration) {
                (Some(seconds), _) if seconds >= 0.05 => format!("sleeps, wakes in {seconds:.1} s"),
                (Some(_), _) => "sleeps, is due".to_owned(),
                (None, Some(duration)) => format!("sleeps for {duration} s"),
                (None, None) => "sleeps".to_owned(),
            },
            WaitKind::Task => "waits for a task".to_owned(),
            WaitKind::Shield => "waits for a shielded task".to_owned(),
            WaitKind::Gather | WaitKind::Group | WaitKind::Some => {
                let what = match wait.kind {
                    WaitKind::Gather => "gather",
                    WaitKind::Group => "its group",
                    _ => "asyncio.wait",
                };
                match task.awaits.len() {
                    0 => format!("waits in {what}"),
                    1 => format!("waits for a task ({what})"),
                    count => format!("waits for {count} tasks ({what})"),
                }
            }
            WaitKind::Executor => "waits for a function that a thread of an executor runs".to_owned(),
            WaitKind::Future => "waits for a future that a callback will set".to_owned(),
            _ => format!("waits in {}", wait.operation),
        };
        if let Some(object) = wait.object.filter(|_| !wait.operation.is_empty()) {
            text.push_str(&format!(" ({object:#x})"));
        }
        if let Some(what) = what {
            text.push_str(&format!(", {what}"));
        }
        if let Some(waiters) = wait.waiters.filter(|waiters| *waiters > 1) {
            text.push_str(&format!(", as {} others do", waiters - 1));
        }
        let is_shared = wait.waiters.is_some_and(|waiters| waiters > 1) || !task.held_by.is_empty();
        InspectedTaskWait { kind: wait.kind.name(), text, object: wait.object, seconds, is_shared }
    }
}
