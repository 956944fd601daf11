//! Tasks that wait: one stack for each, from who waits for it down to what it waits in.
//!
//! All tasks are read at once and a second time, and what is not equal is left out. That takes a time that grows with
//! their number, so it is not done in every sample: as often as it takes a tenth of the time at most.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{AsyncStacks, LogicalFrame};
use crate::memory::PageCache;
use crate::process::LiveMemory;
use crate::python::object::ObjectReader;
use crate::python::tasks::{AsyncioSection, Link, Task, TaskSource, TaskState, TaskWait, WaitKind, read_tasks};
use crate::sampler::process_sampler::ProcessSampler;
use crate::sampler::sections::{ASYNCIO_SECTION, section_address};

/// After a look at all tasks there is none for so many times as long as it took.
const REST_FOR_LOOK: u32 = 9;
/// Tasks above a task that are shown.
const MOST_ABOVE: usize = 64;

/// What is kept from one look at all tasks to the next.
#[derive(Debug)]
pub(super) struct TaskLooks {
    pages: PageCache<LiveMemory>,
    section: Option<Option<u64>>,
    next: Instant,
    last: Instant,
}

/// A task that waits, for the builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sampler) struct WaitingTask {
    /// The qualified name of its coroutine.
    pub(in crate::sampler) coroutine: String,
    /// Newest first.
    pub(in crate::sampler) frames: Vec<LogicalFrame>,
}

impl AsyncStacks {
    /// All tasks that do not run, and the time that they stand for, that since the last look; `None` when it is not
    /// time for another.
    pub(in crate::sampler) fn waiting_tasks(
        &mut self,
        sampler: &ProcessSampler,
    ) -> Option<(Vec<WaitingTask>, Duration)> {
        let start = Instant::now();
        let looks = self.looks.get_or_insert_with(|| TaskLooks {
            pages: PageCache::new(sampler.process().memory()),
            section: None,
            next: start,
            last: start,
        });
        if start < looks.next {
            return None;
        }
        let passed = start.saturating_duration_since(looks.last);
        looks.last = start;
        looks.pages.refresh();
        let first = self.read_all(sampler);
        self.looks.as_mut()?.pages.refresh();
        let second = self.read_all(sampler);
        // Others come and go meanwhile, so the places of tasks say nothing.
        let first: HashMap<u64, &Task> = first.iter().map(|task| (task.address, task)).collect();
        let is_proven = |task: &Task| {
            first.get(&task.address).is_some_and(|first| first.state == task.state && first.links == task.links)
        };
        let waiting = second.iter().filter(|task| task.state != TaskState::Running && is_proven(task));
        let waiting: Vec<WaitingTask> = waiting.map(|task| self.waiting_task(task, &second)).collect();
        let looks = self.looks.as_mut()?;
        looks.next = start + start.elapsed() * (REST_FOR_LOOK + 1);
        Some((waiting, passed))
    }

    fn read_all(&mut self, sampler: &ProcessSampler) -> Vec<Task> {
        let Some(looks) = &mut self.looks else { return Vec::new() };
        let section = *looks.section.get_or_insert_with(|| section_address(sampler.process(), ASYNCIO_SECTION));
        let pages = &looks.pages;
        let section = || AsyncioSection::read(pages, section?);
        let runtime = sampler.runtime();
        let source = TaskSource {
            objects: ObjectReader::new(pages, &runtime.layout),
            interpreters_head: runtime.interpreters_head,
            section: &section,
            with_done: false,
            run_frames: &[],
            loop_frames: &[],
            thread_of: &|_| None,
        };
        let mut tasks = read_tasks(source, &mut self.codes).ok().flatten().unwrap_or_default().tasks;
        let objects = source.objects;
        // Code that was met before may be other code by now.
        for task in &mut tasks {
            let frames: Vec<u64> = task.frames().map(|frame| frame.code_address).collect();
            if !frames.iter().all(|code| super::is_same_code(&mut self.identities, &mut self.codes, objects, *code)) {
                task.links.clear();
            }
        }
        tasks
    }

    fn waiting_task(&mut self, task: &Task, all: &[Task]) -> WaitingTask {
        let mut frames = vec![self.label_of(what_for(task))];
        let mut next = Some(task);
        let mut seen = Vec::new();
        while let Some(task) = next {
            if seen.len() >= MOST_ABOVE || seen.contains(&task.address) {
                break;
            }
            seen.push(task.address);
            for link in &task.links {
                frames.push(match link {
                    Link::Frame(frame) => LogicalFrame::Awaiter(frame.place.code, frame.place.line),
                    Link::Opaque(name) => self.label_of(format!("<{name}>")),
                });
            }
            frames.push(self.task_label(&task.coroutine));
            let above = task.awaited_by.first().copied().or(task.group_of);
            next = above.and_then(|above| all.get(above));
        }
        WaitingTask { coroutine: task.coroutine.clone(), frames }
    }
}

/// What a task waits in, without anything that differs from one task to the next.
fn what_for(task: &Task) -> String {
    let Some(TaskWait { kind, operation, .. }) = &task.wait else {
        return match task.state {
            TaskState::New => "has not begun".to_owned(),
            TaskState::Waiting => "waits".to_owned(),
            _ => "waits for its turn".to_owned(),
        };
    };
    match kind {
        WaitKind::Sleep => "sleeps".to_owned(),
        WaitKind::Executor => "waits for an executor".to_owned(),
        WaitKind::Future => "waits for a future".to_owned(),
        WaitKind::Task | WaitKind::Shield => "waits for a task".to_owned(),
        WaitKind::Gather | WaitKind::Group | WaitKind::Some => "waits for tasks".to_owned(),
        _ => format!("waits in {operation}"),
    }
}
