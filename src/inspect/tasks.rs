//! Tasks as facts: with names, lines and words instead of addresses.

use std::collections::{HashMap, HashSet};

use super::describe::{Describer, Files};
use super::process::{InspectedFrame, InspectedTask, InspectedTaskWait, InspectedTasks, PythonFrame, TaskLibrary};
use crate::python::interpreter::InterpreterState;
use crate::python::tasks::{self, ExecutorWork, Link, Task, TaskState, TaskWait, WaitKind};
use crate::sampler::{MomentFrame, MomentThread};

impl Describer<'_> {
    /// The tasks and greenlets that were found; `None` where there are none to be had.
    pub(super) fn tasks(&self, files: &mut Files<'_>) -> Option<InspectedTasks> {
        let found = &self.findings.tasks;
        if found.is_empty() {
            return None;
        }
        let mut inspected = InspectedTasks::default();
        match &found.tasks {
            None => {}
            Some(Err(error)) => inspected.refused.push(format!("tasks not shown: {error}")),
            Some(Ok(tasks)) => {
                inspected.tasks = self.event_loop_tasks(&tasks.tasks, files);
                inspected.rings.clone_from(&tasks.rings);
                inspected.loops.clone_from(&tasks.loops);
                inspected.is_cut = tasks.is_cut;
                inspected.unreadable = tasks.unreadable;
            }
        }
        match &found.greenlets {
            None => {}
            Some(Err(error)) => inspected.refused.push(format!("greenlets not shown: {error}")),
            Some(Ok(greenlets)) => {
                let greenlets = self.greenlets(greenlets, inspected.tasks.len(), files);
                let loops = greenlets.iter().filter_map(|greenlet| Some((greenlet.event_loop, greenlet.python_id?)));
                inspected.loops.extend(loops);
                inspected.loops.sort_unstable();
                inspected.loops.dedup();
                inspected.tasks.extend(greenlets);
            }
        }
        Some(inspected)
    }

    fn event_loop_tasks(&self, tasks: &[Task], files: &mut Files<'_>) -> Vec<InspectedTask> {
        let threads: HashMap<u64, &MomentThread> =
            self.moment.threads.iter().map(|thread| (thread.stack.thread_id, thread)).collect();
        let outermost: HashSet<u64> =
            tasks.iter().filter_map(|task| task.frames().next_back()).map(|frame| frame.address).collect();
        let inspected = tasks.iter().enumerate().map(|(place, task)| {
            let thread = task.thread.and_then(|thread| threads.get(&thread).copied());
            let interpreter = self.interpreter_of(task);
            let mut frames = self.frames_of(&task.links, interpreter.as_ref(), place, files);
            if task.state == TaskState::Running {
                self.add_running_frames((task, thread), &outermost, &mut frames, files);
            }
            InspectedTask {
                library: match task.library {
                    tasks::TaskLibrary::Asyncio => TaskLibrary::Asyncio,
                    tasks::TaskLibrary::Trio => TaskLibrary::Trio,
                    tasks::TaskLibrary::Greenlet => TaskLibrary::Greenlet,
                },
                id: task.address,
                name: task.name.clone(),
                state: task.state.name(),
                coroutine: task.coroutine.clone(),
                event_loop: task.event_loop,
                python_id: task.thread,
                os_id: thread.and_then(|thread| thread.os_id),
                interpreter: interpreter.map_or(0, |interpreter| interpreter.id),
                frames,
                is_truncated: task.is_truncated,
                wait: task.wait.as_ref().map(|wait| self.task_wait(wait, task, &threads)),
                awaits: task.awaits.clone(),
                awaited_by: task.awaited_by.clone(),
                group_of: task.group_of,
                held_by: task.held_by.clone(),
            }
        });
        inspected.collect()
    }

    /// What a running task has called stands on the stack of its thread: all above the innermost frame that is known,
    /// up to the `outermost` frame of another task, which it has started eagerly.
    fn add_running_frames(
        &self,
        (task, thread): (&Task, Option<&MomentThread>),
        outermost: &HashSet<u64>,
        frames: &mut Vec<InspectedFrame>,
        files: &mut Files<'_>,
    ) {
        let Some(innermost) = task.frames().next() else { return };
        let Some(thread) = thread else { return };
        let of_thread = self.moment.frames_of(thread);
        let Some(place) = of_thread.iter().position(|frame| frame.address == innermost.address) else { return };
        let variables = &self.findings.variables;
        let inner = of_thread[..place].iter().rposition(|frame| outermost.contains(&frame.address));
        let first = inner.map_or(0, |inner| inner + 1);
        let above = of_thread[..place].iter().enumerate().skip(first).map(|(index, frame)| {
            let described = self.python_frame(frame, self.codes, Some(&thread.interpreter), files);
            let variables = variables.get(thread.frames.first + index).cloned();
            InspectedFrame::Python(PythonFrame { variables, ..described })
        });
        let above: Vec<InspectedFrame> = above.collect();
        frames.splice(0..0, above);
    }

    /// The interpreter of a task, as far as any thread runs in it.
    fn interpreter_of(&self, task: &Task) -> Option<InterpreterState> {
        let mut known = self.moment.threads.iter().flat_map(|thread| [thread.interpreter, thread.running_in]);
        known.find(|interpreter| interpreter.address == task.interpreter)
    }

    /// The frames of the task or greenlet at a place among all.
    pub(super) fn frames_of(
        &self,
        links: &[Link],
        interpreter: Option<&InterpreterState>,
        place: usize,
        files: &mut Files<'_>,
    ) -> Vec<InspectedFrame> {
        let found = &self.findings.tasks;
        let mut variables = found.variables.get(&place).into_iter().flatten();
        let frames = links.iter().map(|link| match link {
            Link::Opaque(name, _) => InspectedFrame::Compiled(format!("<{name}>")),
            // Nothing says in which line it is.
            Link::Compiled(compiled) => InspectedFrame::Python(self.python_frame(
                &MomentFrame { address: 0, code_address: 0, code: compiled.code, line: 0, offset: -1, interpreter: 0 },
                &found.codes,
                interpreter,
                files,
            )),
            Link::Frame(frame) => {
                let moment_frame = MomentFrame {
                    address: frame.address,
                    code_address: frame.code_address,
                    code: frame.place.code,
                    line: frame.place.line,
                    offset: frame.place.offset,
                    interpreter: 0,
                };
                let described = self.python_frame(&moment_frame, &found.codes, interpreter, files);
                InspectedFrame::Python(PythonFrame { variables: variables.next().cloned(), ..described })
            }
        });
        frames.collect()
    }

    fn task_wait(&self, wait: &TaskWait, task: &Task, threads: &HashMap<u64, &MomentThread>) -> InspectedTaskWait {
        let worker = match wait.work {
            Some(ExecutorWork::RunBy(ident)) => threads.get(&ident).copied(),
            _ => None,
        };
        let thread = worker.map(|worker| {
            let id = worker.os_id.map_or_else(|| format!("{:#x}", worker.stack.thread_id), |id| id.to_string());
            let name = self.subject.thread_name(worker);
            name.map_or_else(|| id.clone(), |name| format!("{id} \"{name}\""))
        });
        let seconds = wait.until.zip(self.loop_time).map(|(until, now)| until - now);
        let mut text = match wait.kind {
            WaitKind::Sleep => sleep_words(seconds, wait.duration),
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
            WaitKind::Executor => match (wait.work, thread) {
                (Some(ExecutorWork::Queued), _) => "waits for a function that no thread has begun".to_owned(),
                (_, Some(thread)) => format!("waits for a function that thread {thread} runs"),
                _ => "waits for a function that a thread of an executor runs".to_owned(),
            },
            WaitKind::Future => "waits for a future that a callback will set".to_owned(),
            _ => format!("waits in {}", wait.operation),
        };
        self.add_details(&mut text, wait);
        let is_shared = wait.waiters.is_some_and(|waiters| waiters > 1) || !task.held_by.is_empty();
        InspectedTaskWait {
            kind: wait.kind.name(),
            text,
            object: wait.object,
            seconds,
            thread: worker.map(|worker| worker.stack.thread_id),
            is_shared,
        }
    }

    /// Adds to the words for a wait which object it is in, by which socket, and how many others do the same.
    pub(super) fn add_details(&self, text: &mut String, wait: &TaskWait) {
        if let Some(object) = wait.object.filter(|_| !wait.operation.is_empty()) {
            text.push_str(&format!(" ({object:#x})"));
        }
        if let Some(descriptor) = wait.descriptor {
            text.push_str(&format!(", fd {descriptor}"));
            if let Some(name) = self.subject.descriptors().name(descriptor) {
                text.push_str(&format!(" ({name})"));
            }
        }
        if let Some(detail) = &wait.detail {
            text.push_str(&format!(", {detail}"));
        }
        if let Some(waiters) = wait.waiters.filter(|waiters| *waiters > 1) {
            text.push_str(&match waiters - 1 {
                1 => ", as another does".to_owned(),
                others => format!(", as {others} others do"),
            });
        }
    }
}

/// Words for a sleep that ends in `seconds`, or was to be for `duration`, as far as that is known.
pub(super) fn sleep_words(seconds: Option<f64>, duration: Option<f64>) -> String {
    match (seconds, duration) {
        (Some(seconds), _) if seconds >= 0.05 => format!("sleeps, wakes in {seconds:.1} s"),
        (Some(_), _) => "sleeps, is due".to_owned(),
        (None, Some(duration)) => format!("sleeps for {duration} s"),
        (None, None) => "sleeps".to_owned(),
    }
}
