//! What each thread of a page did when.

use std::collections::HashMap;

use super::tree::PageTree;
use crate::output::place::sampled_threads;
use crate::output::runs::runs;
use crate::profile::Profile;

/// Runs of all threads that a page has; with more, time is divided into slots, and each has the stack that took most of
/// it.
const MOST_RUNS: u64 = 60_000;

/// What threads did, in their order in the page.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// How long a slot is, µs; 0 where every run is there.
    pub(super) slot_us: u64,
    /// For each thread its runs: how long after the end of the one before it begins, how long it is, both in µs, and
    /// its node.
    pub(super) threads: Vec<Vec<[u64; 3]>>,
}

impl Timeline {
    /// The timeline of the profile that was added to `tree` last, if there is one.
    pub(super) fn new(profile: &Profile, tree: &PageTree) -> Option<Self> {
        if !profile.has_timeline() {
            return None;
        }
        let threads = sampled_threads(profile);
        let (mut count, mut covered_us) = (0u64, 0u64);
        for run in threads.iter().flat_map(|thread| profile.timeline(*thread)) {
            count += 1;
            covered_us = covered_us.saturating_add(run.weight_us);
        }
        let slot_us = if count > MOST_RUNS { covered_us.div_ceil(MOST_RUNS).max(1) } else { 0 };
        let mut timeline = Self { slot_us, threads: vec![] };
        for thread in threads {
            let mut slots = Slots { slot_us, runs: vec![], end_us: 0, current: 0, seen: HashMap::new() };
            for run in runs(profile, thread) {
                slots.add(run.start_us, run.end_us(), u64::from(tree.node(run.stack)));
            }
            slots.end_slot();
            timeline.threads.push(slots.runs);
        }
        Some(timeline)
    }
}

/// A thread's runs on their way into slots.
struct Slots {
    slot_us: u64,
    runs: Vec<[u64; 3]>,
    /// Where the last of `runs` ends.
    end_us: u64,
    /// The slot that is being filled, and what of it each node has.
    current: u64,
    seen: HashMap<u64, u64>,
}

impl Slots {
    fn add(&mut self, mut start_us: u64, end_us: u64, node: u64) {
        if self.slot_us == 0 {
            return self.put(start_us, end_us, node);
        }
        while start_us < end_us {
            let slot = start_us / self.slot_us;
            if slot != self.current {
                self.end_slot();
                self.current = slot;
            }
            // A run over many slots is one.
            let slot_end_us = slot.saturating_add(1).saturating_mul(self.slot_us);
            if self.seen.is_empty() && start_us == slot * self.slot_us && end_us >= slot_end_us {
                let whole_us = (end_us - start_us) / self.slot_us * self.slot_us;
                self.put(start_us, start_us + whole_us, node);
                start_us += whole_us;
                continue;
            }
            let part_us = end_us.min(slot_end_us) - start_us;
            *self.seen.entry(node).or_default() += part_us;
            start_us += part_us;
        }
    }

    /// Writes down what took most of the current slot; nothing where most of it is without samples.
    fn end_slot(&mut self) {
        let covered_us: u64 = self.seen.values().sum();
        let heaviest = self.seen.drain().max_by_key(|(node, us)| (*us, *node));
        if let Some((node, _)) = heaviest
            && covered_us * 2 >= self.slot_us
        {
            let start_us = self.current * self.slot_us;
            self.put(start_us, start_us + self.slot_us, node);
        }
    }

    fn put(&mut self, start_us: u64, end_us: u64, node: u64) {
        let length_us = end_us.saturating_sub(start_us);
        let gap_us = start_us.saturating_sub(self.end_us);
        match self.runs.last_mut() {
            Some(last) if gap_us == 0 && last[2] == node => last[1] += length_us,
            _ => self.runs.push([gap_us, length_us, node]),
        }
        self.end_us = end_us.max(self.end_us);
    }
}
