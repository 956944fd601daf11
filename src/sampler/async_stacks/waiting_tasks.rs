//! Tasks that wait: one stack for each, from who waits for it down to what it waits in.

use std::collections::HashSet;
use std::time::Duration;

use super::{AsyncStacks, LogicalFrame};
use crate::python::tasks::{Task, TaskLibrary, TaskState};
use crate::sampler::moment::Moment;
use crate::sampler::process_sampler::ProcessSampler;
use crate::sampler::task_groups::what_for;
use crate::sampler::task_looks::{TaskLook, TaskProof};

/// Tasks above a task that are shown.
const MOST_ABOVE: usize = 64;

/// A task that waits, for the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sampler) struct WaitingTask {
    /// The qualified name of its coroutine; of a greenlet its own function.
    pub(in crate::sampler) coroutine: String,
    /// Newest first.
    pub(in crate::sampler) frames: Vec<LogicalFrame>,
}

/// What a look at all tasks has shown.
#[derive(Debug)]
pub(in crate::sampler) struct WaitingTasks {
    /// Those that do not run.
    pub(in crate::sampler) waiting: Vec<WaitingTask>,
    /// How many others there were that moved on while they were read.
    pub(in crate::sampler) unproven: u64,
    /// The time that it stands for, that since the last look.
    pub(in crate::sampler) passed: Duration,
}

impl AsyncStacks {
    /// All tasks that do not run; `None` when it is not time for another look.
    pub(in crate::sampler) fn waiting_tasks(
        &mut self,
        sampler: &ProcessSampler,
        moment: &Moment,
    ) -> Option<WaitingTasks> {
        let look = self.looks.look(sampler, moment, &mut self.codes, Some(&mut self.greenlets))?;
        let callers = callers_of_running(&look.tasks);
        let mut found = WaitingTasks { waiting: Vec::new(), unproven: 0, passed: look.passed };
        for (place, (task, proof)) in look.tasks.iter().zip(&look.proofs).enumerate() {
            let is_loop = is_root_of_trio(task) || is_hub(task);
            if task.state == TaskState::Running || is_loop || callers.contains(&place) {
                continue;
            }
            let waiting = if *proof == TaskProof::Whole { self.waiting_task(task, &look) } else { None };
            match waiting {
                Some(waiting) => found.waiting.push(waiting),
                None => found.unproven += 1,
            }
        }
        // Alike ones side by side.
        found.waiting.sort_by(|one, other| (&one.coroutine, &one.frames).cmp(&(&other.coroutine, &other.frames)));
        Some(found)
    }

    /// A task that waits; `None` where one that waits for it has moved on while they were read.
    fn waiting_task(&mut self, waiting: &Task, look: &TaskLook) -> Option<WaitingTask> {
        let mut frames = vec![self.label_of(what_for(waiting))];
        let mut next = Some(waiting);
        let mut next_awaits = true;
        let mut seen = Vec::new();
        while let Some(task) = next {
            if seen.len() >= MOST_ABOVE || seen.contains(&task.address) || is_root_of_trio(task) {
                break;
            }
            seen.push(task.address);
            // What has opened a group and has not come to its end has called something else.
            for link in task.links.iter().filter(|_| next_awaits) {
                frames.push(self.frame_of(link));
            }
            match task.library {
                TaskLibrary::Asyncio | TaskLibrary::Trio => frames.push(self.task_label(&task.coroutine)),
                // That of the main greenlet is the thread's own stack.
                TaskLibrary::Greenlet if task.name.is_some() => {}
                // Its stack is that of its thread, which is not read here.
                TaskLibrary::Greenlet if task.state == TaskState::Running => {}
                TaskLibrary::Greenlet => frames.push(self.label_of(format!("greenlet {}", task.coroutine))),
            }
            let awaiter = task.awaited_by.first().map(|above| (*above, true));
            let Some((above, awaits)) = awaiter.or_else(|| Some((task.group_of?, false))) else { break };
            let is_whole = look.proofs.get(above) == Some(&TaskProof::Whole);
            if awaits && !is_whole {
                return None;
            }
            next = look.tasks.get(above).filter(|above| is_whole || above.library != TaskLibrary::Greenlet);
            next_awaits = awaits;
        }
        let name = waiting.name.as_ref().filter(|_| waiting.library == TaskLibrary::Greenlet);
        Some(WaitingTask { coroutine: name.unwrap_or(&waiting.coroutine).clone(), frames })
    }
}

/// The greenlets that have switched to the one that runs, by their places: they stand below it. Those of a hub have
/// not.
fn callers_of_running(tasks: &[Task]) -> HashSet<usize> {
    let mut callers = HashSet::new();
    let running = tasks
        .iter()
        .filter(|task| task.library == TaskLibrary::Greenlet && task.state == TaskState::Running && !is_hub(task));
    for task in running {
        let mut next = task.group_of;
        while let Some(place) = next.filter(|place| callers.insert(*place)) {
            next = tasks.get(place).and_then(|task| task.group_of);
        }
    }
    callers
}

/// Whether a task is the greenlet that runs an event loop.
fn is_hub(task: &Task) -> bool {
    task.library == TaskLibrary::Greenlet && task.name.as_deref() == Some("hub")
}

/// Whether a task is the one that trio makes for itself, in whose nurseries all others are.
fn is_root_of_trio(task: &Task) -> bool {
    task.library == TaskLibrary::Trio && task.group_of.is_none() && task.coroutine == "Runner.init"
}
