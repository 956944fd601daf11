//! The tasks of a process by the functions that they run, for who looks on.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::greenlets::Greenlets;
use super::moment::Moment;
use super::process_sampler::ProcessSampler;
use super::task_looks::{TaskCodes, TaskLooks, TaskProof};
use crate::python::greenlets::own_code;
use crate::python::tasks::{Task, TaskLibrary, TaskState, TaskWait, WaitKind};

/// Groups that are told of, the largest.
const MOST_GROUPS: usize = 1000;
/// Code of tasks that is kept before all is forgotten.
const MOST_CODES: usize = 50_000;

/// What tasks wait in, in words, and how many of them.
type Waits = BTreeMap<String, u32>;

/// The tasks that run one coroutine function, or the greenlets of one function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskGroup {
    /// Whose they are.
    pub library: TaskLibrary,
    /// The qualified name of the coroutine, as the target has it.
    pub coroutine: String,
    /// How many there are.
    pub count: u32,
    /// How many of them wait for something.
    pub waiting: u32,
    /// For how long the oldest has been known. Of what was there when it was first looked at, that is its least age.
    pub oldest: Duration,
    /// What most of them wait in, in words; `None` where none waits.
    pub waits: Option<String>,
}

/// Which tasks there are, as of the last look.
#[derive(Debug, Default)]
pub(crate) struct TaskGroups {
    looks: TaskLooks,
    codes: TaskCodes,
    greenlets: Greenlets,
    /// Looks since the window began in which a thread was on a CPU in a greenlet, by the function of that.
    ran: HashMap<String, u32>,
    /// When each task was first seen, by its address, its name and its coroutine: addresses are used again.
    first_seen: HashMap<(u64, Option<String>, String), Instant>,
    groups: Vec<TaskGroup>,
}

impl TaskGroups {
    /// Goes on with the search for greenlets, and notes which of them run. `moment` is what `sampler` has read last.
    pub(crate) fn observe(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        self.greenlets.advance(sampler, moment);
        let active = moment.threads.iter().filter(|thread| thread.exists && thread.active);
        for thread in active.filter(|thread| self.greenlets.thread(thread.stack.thread_id).is_some()) {
            let codes = moment.frames_of(thread).iter().map(|frame| sampler.codes().get(frame.code));
            if let Some(own) = own_code(codes) {
                *self.ran.entry(own.name.clone()).or_default() += 1;
            }
        }
    }

    /// In how many looks of this window a greenlet of a function called so was on a CPU.
    pub(crate) fn looks_running(&self, function: &str) -> u32 {
        self.ran.get(function).copied().unwrap_or(0)
    }

    /// What has run is counted anew.
    pub(crate) fn start_window(&mut self) {
        self.ran.clear();
    }

    /// Looks at the tasks, when that is due. `moment` is the last sample of the process.
    pub(crate) fn look(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        let Some(look) = self.looks.look(sampler, moment, &mut self.codes, Some(&mut self.greenlets)) else { return };
        if self.codes.len() > MOST_CODES {
            self.codes = TaskCodes::default();
        }
        let now = Instant::now();
        let before = std::mem::take(&mut self.first_seen);
        let mut groups: BTreeMap<(TaskLibrary, &str), (TaskGroup, Waits)> = BTreeMap::new();
        // A main greenlet is a thread, and a hub is the loop.
        let is_own = |task: &Task| task.library != TaskLibrary::Greenlet || task.name.is_none();
        let seen =
            look.tasks.iter().zip(&look.proofs).filter(|(task, proof)| **proof != TaskProof::Nothing && is_own(task));
        for (task, proof) in seen {
            let key = (task.address, task.name.clone(), task.coroutine.clone());
            let since = before.get(&key).copied().unwrap_or(now);
            self.first_seen.insert(key, since);
            let (group, waits) = groups.entry((task.library, &task.coroutine)).or_insert_with(|| {
                let (library, coroutine) = (task.library, task.coroutine.clone());
                let group = TaskGroup { library, coroutine, count: 0, waiting: 0, oldest: Duration::ZERO, waits: None };
                (group, BTreeMap::new())
            });
            group.count += 1;
            group.oldest = group.oldest.max(now.saturating_duration_since(since));
            if task.state == TaskState::Waiting && *proof == TaskProof::Whole {
                group.waiting += 1;
                *waits.entry(what_for(task)).or_default() += 1;
            }
        }
        let named = groups.into_values().map(|(group, waits)| {
            let most = waits.into_iter().max_by_key(|(_, count)| *count);
            TaskGroup { waits: most.map(|(what, _)| what), ..group }
        });
        self.groups = named.collect();
        self.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        self.groups.truncate(MOST_GROUPS);
    }

    /// The groups as of the last look, the largest first.
    pub(crate) fn groups(&self) -> &[TaskGroup] {
        &self.groups
    }
}

/// What a task waits in, without anything that differs from one task to the next.
pub(super) fn what_for(task: &Task) -> String {
    let Some(TaskWait { kind, operation, .. }) = &task.wait else {
        return match task.state {
            TaskState::New => "has not begun".to_owned(),
            TaskState::Waiting => "waits".to_owned(),
            _ => "waits for its turn".to_owned(),
        };
    };
    match kind {
        WaitKind::Sleep => "sleeps".to_owned(),
        _ if task.library == TaskLibrary::Greenlet => format!("waits in {operation}"),
        WaitKind::Executor => "waits for an executor".to_owned(),
        WaitKind::Future => "waits for a future".to_owned(),
        WaitKind::Task | WaitKind::Shield => "waits for a task".to_owned(),
        WaitKind::Gather | WaitKind::Group | WaitKind::Some => "waits for tasks".to_owned(),
        _ => format!("waits in {operation}"),
    }
}
