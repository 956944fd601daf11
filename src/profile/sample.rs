//! Samples: what is known of one, and their totals.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::index;
use super::stack::{IdHasher, StackId};
use super::thread::ThreadRef;

/// What a thread was doing when it was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// Nothing of the below.
    pub const NONE: Self = Self(0);
    /// It ran, or waited only for a processor.
    pub const ACTIVE: Self = Self(1);
    /// It held the global interpreter lock.
    pub const GIL: Self = Self(2);
    /// The garbage collector ran in it.
    pub const GC: Self = Self(4);
    /// It waited for the global interpreter lock.
    pub const GIL_WAIT: Self = Self(8);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds `other` if `wanted`.
    #[must_use]
    pub const fn with_if(self, other: Self, wanted: bool) -> Self {
        if wanted { self.with(other) } else { self }
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As a number of four bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From [`Flags::bits`]; unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }
}

/// One sample, or several of one thread with the same stack and flags, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The thread.
    pub thread: ThreadRef,
    /// What it ran.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
    /// When the time begins that the samples stand for, µs since the start of the recording.
    pub start_us: u64,
    /// The wall time that they stand for, µs.
    pub weight_us: u64,
    /// How many samples.
    pub samples: u64,
}

impl Run {
    /// When the time ends that the samples stand for, µs since the start of the recording.
    pub fn end_us(&self) -> u64 {
        self.start_us.saturating_add(self.weight_us)
    }

    /// Takes `next` in if it goes on with the same where this one ends.
    pub(super) fn join_next(&mut self, next: &Run) -> bool {
        let same = self.thread == next.thread && self.stack == next.stack && self.flags == next.flags;
        let joins = same && self.end_us() == next.start_us;
        if joins {
            self.weight_us = self.weight_us.saturating_add(next.weight_us);
            self.samples = self.samples.saturating_add(next.samples);
        }
        joins
    }
}

/// All samples of one thread with the same stack and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The thread.
    pub thread: ThreadRef,
    /// What it ran.
    pub stack: StackId,
    /// What it did.
    pub flags: Flags,
    /// How many samples.
    pub samples: u64,
    /// The wall time that they stand for, µs.
    pub weight_us: u64,
}

/// Of all threads, stacks and flags together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many samples.
    pub samples: u64,
    /// The wall time that they stand for, µs.
    pub weight_us: u64,
}

impl Sum {
    fn add(&mut self, samples: u64, weight_us: u64) {
        self.samples = self.samples.saturating_add(samples);
        self.weight_us = self.weight_us.saturating_add(weight_us);
    }
}

/// So many sets of [`Flags`] there are.
const SETS_OF_FLAGS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Totals {
    all: Vec<Total>,
    ids: HashMap<(ThreadRef, StackId, u8), u32, BuildHasherDefault<IdHasher>>,
    of_flags: [Sum; SETS_OF_FLAGS],
    /// By the threads' numbers; `None` for one that has no samples.
    of_threads: Vec<Option<Sum>>,
}

impl Totals {
    pub(super) fn add(&mut self, run: Run) {
        let Run { thread, stack, flags, weight_us, samples, .. } = run;
        self.add_total(Total { thread, stack, flags, samples, weight_us });
    }

    pub(super) fn add_total(&mut self, total: Total) {
        let Total { thread, stack, flags, samples, weight_us } = total;
        let at = *self.ids.entry((thread, stack, flags.bits())).or_insert_with(|| {
            self.all.push(Total { thread, stack, flags, samples: 0, weight_us: 0 });
            index(self.all.len() - 1)
        });
        let total = &mut self.all[at as usize];
        total.samples = total.samples.saturating_add(samples);
        total.weight_us = total.weight_us.saturating_add(weight_us);
        self.of_flags[usize::from(flags.bits())].add(samples, weight_us);
        let thread = thread.0 as usize;
        if self.of_threads.len() <= thread {
            self.of_threads.resize(thread + 1, None);
        }
        self.of_threads[thread].get_or_insert_default().add(samples, weight_us);
    }

    /// All whose flags are such.
    pub(super) fn sum_where(&self, is_wanted: impl Fn(Flags) -> bool) -> Sum {
        let mut sum = Sum::default();
        for (bits, of_flags) in (0..).zip(&self.of_flags) {
            if is_wanted(Flags::from_bits(bits)) {
                sum.add(of_flags.samples, of_flags.weight_us);
            }
        }
        sum
    }

    /// All of a thread; `None` if there are none.
    pub(super) fn sum_of(&self, thread: ThreadRef) -> Option<Sum> {
        self.of_threads.get(thread.0 as usize).copied().flatten()
    }

    pub(super) fn all(&self) -> &[Total] {
        &self.all
    }

    /// Everything, which is then no longer here.
    pub(super) fn take_all(&mut self) -> Vec<Total> {
        self.ids.clear();
        self.of_flags = Default::default();
        self.of_threads.clear();
        std::mem::take(&mut self.all)
    }
}
