//! Which part of a stretch of time each of many tasks has that have one track together.

use std::collections::HashMap;

use super::waiting_tasks::WaitingTask;

/// Gives the tasks of each function parts of a time, one behind the other and all of them together the whole.
#[derive(Debug, Default)]
pub(in crate::sampler) struct Shares {
    /// By coroutine: how many tasks there are, and how many have their part.
    tasks: HashMap<String, (u64, u64)>,
}

impl Shares {
    /// For these tasks.
    pub(in crate::sampler) fn of(waiting: &[WaitingTask]) -> Self {
        let mut shares = Self::default();
        for task in waiting {
            shares.tasks.entry(task.coroutine.clone()).or_default().0 += 1;
        }
        shares
    }

    /// The functions that there are tasks of.
    pub(in crate::sampler) fn coroutines(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// How many tasks run a function.
    pub(in crate::sampler) fn count(&self, coroutine: &str) -> u64 {
        self.tasks.get(coroutine).map_or(0, |(count, _)| *count)
    }

    /// How many tasks there are.
    pub(in crate::sampler) fn total(&self) -> u64 {
        self.tasks.values().map(|(count, _)| count).sum()
    }

    /// From when to when the part of the next task lasts, in a time of `length`.
    pub(in crate::sampler) fn next(&mut self, task: &WaitingTask, length: u64) -> (u64, u64) {
        let Some((count, given)) = self.tasks.get_mut(&task.coroutine) else { return (0, length) };
        let end_of = |given: u64| length.saturating_mul(given) / (*count).max(1);
        let span = (end_of(*given), end_of(*given + 1));
        *given += 1;
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_behind_the_other_and_are_the_whole_together() {
        let task = |coroutine: &str| WaitingTask { coroutine: coroutine.to_owned(), frames: Vec::new() };
        let waiting = [task("one"), task("three"), task("three"), task("three")];
        let mut shares = Shares::of(&waiting);
        let spans: Vec<(u64, u64)> = waiting.iter().map(|task| shares.next(task, 1000)).collect();
        assert_eq!(spans, [(0, 1000), (0, 333), (333, 666), (666, 1000)]);
        assert_eq!((shares.total(), shares.count("three"), shares.count("none")), (4, 3, 0));
    }
}
