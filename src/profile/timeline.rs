//! The order of samples: one compactly coded list of runs for each thread, and the journal of what is not yet on disk.
//!
//! A run is four variable-length numbers: the gap since the thread's last run, its weight, how the stack's number
//! differs from the last one's, and samples with flags. That is 5 to 8 bytes at usual rates.

use super::sample::{Flags, Run};
use super::stack::StackId;
use super::thread::ThreadRef;
use super::varint::{put_signed_varint, put_varint, take_signed_varint, take_varint};

#[derive(Debug, Default)]
pub(super) struct Timeline {
    threads: Vec<ThreadTimeline>,
}

#[derive(Debug, Default)]
struct ThreadTimeline {
    /// Runs that are over.
    coded: Vec<u8>,
    /// Where the last coded run ended, and its stack.
    end_us: u64,
    stack: StackId,
    /// The run that may still grow.
    open: Option<Run>,
}

impl Timeline {
    pub(super) fn add(&mut self, run: Run) {
        let at = run.thread.0 as usize;
        if at >= self.threads.len() {
            self.threads.resize_with(at + 1, ThreadTimeline::default);
        }
        self.threads[at].add(run);
    }

    /// What the coded runs take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.threads.iter().map(|thread| thread.coded.len()).sum()
    }

    pub(super) fn runs(&self, thread: ThreadRef) -> impl Iterator<Item = Run> + '_ {
        self.threads.get(thread.0 as usize).into_iter().flat_map(move |timeline| timeline.runs(thread))
    }
}

impl ThreadTimeline {
    fn add(&mut self, mut run: Run) {
        let Some(open) = &mut self.open else {
            self.open = Some(run);
            return;
        };
        // Runs never overlap, whatever clock the caller has: a sample that claims time already given away comes after
        // it.
        run.start_us = run.start_us.max(open.end_us());
        if open.join_next(&run) {
            return;
        }
        let done = *open;
        *open = run;
        put_varint(&mut self.coded, done.start_us - self.end_us);
        put_varint(&mut self.coded, done.weight_us);
        put_signed_varint(&mut self.coded, i64::from(done.stack.0) - i64::from(self.stack.0));
        put_varint(&mut self.coded, done.samples.min(u64::MAX >> 4) << 4 | u64::from(done.flags.bits()));
        self.end_us = done.end_us();
        self.stack = done.stack;
    }

    fn runs(&self, thread: ThreadRef) -> impl Iterator<Item = Run> + '_ {
        let mut rest = self.coded.as_slice();
        let mut end_us = 0;
        let mut stack = StackId::EMPTY;
        let coded = std::iter::from_fn(move || {
            let start_us = end_us + take_varint(&mut rest)?;
            let weight_us = take_varint(&mut rest)?;
            let step = take_signed_varint(&mut rest)?;
            let last = take_varint(&mut rest)?;
            stack = StackId(u32::try_from(i64::from(stack.0) + step).ok()?);
            let flags = Flags::from_bits((last & 15) as u8);
            let run = Run { thread, stack, flags, start_us, weight_us, samples: last >> 4 };
            end_us = run.end_us();
            Some(run)
        });
        coded.chain(self.open)
    }
}

/// Samples since they were last drained, in the order in which their runs began.
#[derive(Debug, Default)]
pub(super) struct Journal {
    runs: Vec<Run>,
    /// For each thread, its last run in `runs`.
    last: Vec<Option<usize>>,
}

impl Journal {
    pub(super) fn add(&mut self, run: Run) {
        let thread = run.thread.0 as usize;
        if thread >= self.last.len() {
            self.last.resize(thread + 1, None);
        }
        if let Some(at) = self.last[thread]
            && self.runs[at].join_next(&run)
        {
            return;
        }
        self.last[thread] = Some(self.runs.len());
        self.runs.push(run);
    }

    pub(super) fn drain(&mut self) -> Vec<Run> {
        self.last.fill(None);
        std::mem::take(&mut self.runs)
    }
}
