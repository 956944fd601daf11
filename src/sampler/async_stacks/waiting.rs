//! Tasks that wait: one stack for each, from who waits for it down to what it waits in.

use std::time::Duration;

use super::{AsyncStacks, LogicalFrame};
use crate::python::tasks::{Link, Task, TaskLibrary, TaskState};
use crate::sampler::moment::Moment;
use crate::sampler::process_sampler::ProcessSampler;
use crate::sampler::task_groups::what_for;
use crate::sampler::task_looks::TaskProof;

/// Tasks above a task that are shown.
const MOST_ABOVE: usize = 64;

/// A task that waits, for the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sampler) struct WaitingTask {
    /// The qualified name of its coroutine.
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
        let look = self.looks.look(sampler, moment, &mut self.codes)?;
        let mut found = WaitingTasks { waiting: Vec::new(), unproven: 0, passed: look.passed };
        for (task, proof) in look.tasks.iter().zip(&look.proofs) {
            if task.state == TaskState::Running || is_root_of_trio(task) {
                continue;
            }
            if *proof == TaskProof::Whole {
                found.waiting.push(self.waiting_task(task, &look.tasks));
            } else {
                found.unproven += 1;
            }
        }
        // Alike ones side by side.
        found.waiting.sort_by(|one, other| (&one.coroutine, &one.frames).cmp(&(&other.coroutine, &other.frames)));
        Some(found)
    }

    fn waiting_task(&mut self, task: &Task, all: &[Task]) -> WaitingTask {
        let mut frames = vec![self.label_of(what_for(task))];
        let mut next = Some((task, true));
        let mut seen = Vec::new();
        while let Some((task, awaits)) = next {
            if seen.len() >= MOST_ABOVE || seen.contains(&task.address) || is_root_of_trio(task) {
                break;
            }
            seen.push(task.address);
            // What has opened a group and has not come to its end has called something else.
            for link in task.links.iter().filter(|_| awaits) {
                frames.push(match link {
                    Link::Frame(frame) => LogicalFrame::Awaiter(frame.place.code, frame.place.line),
                    Link::Opaque(name) => self.label_of(format!("<{name}>")),
                });
            }
            frames.push(self.task_label(&task.coroutine));
            let awaiter = task.awaited_by.first().map(|above| (*above, true));
            let above = awaiter.or_else(|| Some((task.group_of?, false)));
            next = above.and_then(|(above, awaits)| Some((all.get(above)?, awaits)));
        }
        WaitingTask { coroutine: task.coroutine.clone(), frames }
    }
}

/// Whether a task is the one that trio makes for itself, in whose nurseries all others are.
fn is_root_of_trio(task: &Task) -> bool {
    task.library == TaskLibrary::Trio && task.group_of.is_none() && task.coroutine == "Runner.init"
}
