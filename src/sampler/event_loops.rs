//! The event loops of a process: how late they are, and which tasks they have.

use super::loop_lag::{LoopLag, LoopLags};
use super::moment::Moment;
use super::process_sampler::ProcessSampler;
use super::task_groups::{TaskGroup, TaskGroups};
use crate::python::tasks::TaskLibrary;

/// What is seen of the event loops of one process, where that is wanted.
#[derive(Debug, Default)]
pub(super) struct EventLoops {
    lags: LoopLags,
    groups: TaskGroups,
}

impl EventLoops {
    /// The process runs another program, with other tasks.
    pub(super) fn begin_program(&mut self) {
        self.groups = TaskGroups::default();
    }

    /// Takes in a sample.
    pub(super) fn observe(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        self.lags.observe(sampler, moment);
        self.groups.observe(sampler, moment);
    }

    /// The loops that were seen, and how late they were since the window began.
    pub(super) fn lags(&self) -> impl Iterator<Item = &LoopLag> {
        self.lags.loops()
    }

    /// Looks at the tasks if it is time to. What tasks there were at the last look, by their coroutines, and in what
    /// part of the `ticks` of the window one of each was running.
    pub(super) fn tasks(
        &mut self,
        sampler: &ProcessSampler,
        moment: &Moment,
        ticks: u64,
    ) -> impl Iterator<Item = (TaskGroup, f64)> {
        self.groups.look(sampler, moment);
        // Up to 3.10 code has no qualified name.
        let has_qualified_names = sampler.runtime().layout.code.qualname.is_some();
        let (lags, groups) = (&self.lags, &self.groups);
        groups.groups().iter().map(move |group| {
            let name = &group.coroutine;
            let code_name = if has_qualified_names { name } else { name.rsplit('.').next().unwrap_or_default() };
            let looks = match group.library {
                TaskLibrary::Greenlet => groups.looks_running(name),
                TaskLibrary::Asyncio | TaskLibrary::Trio => lags.looks_running(code_name),
            };
            (group.clone(), f64::from(looks) / ticks.max(1) as f64)
        })
    }

    /// Lags are measured anew.
    pub(super) fn start_window(&mut self) {
        self.lags.start_window();
        self.groups.start_window();
    }
}
