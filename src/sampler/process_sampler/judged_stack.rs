//! How a thread was read, and whether to believe it.

use crate::memory::{CopiesFound, Evidence, Memory, Snapshot};
use crate::python::stack::ThreadStack;
use crate::sampler::consistency::read_mode::ReadMode;
use crate::sampler::consistency::records::ThreadRecords;
use crate::sampler::consistency::verdict::{StackEvidence, Verdict, judge_stack};

/// How a thread was read in a sample, what that has shown, and whether to believe it.
#[derive(Debug, Clone, Copy)]
pub(super) struct JudgedStack {
    pub(super) mode: ReadMode,
    pub(super) evidence: StackEvidence,
    pub(super) verdict: Verdict,
}

impl JudgedStack {
    /// What the last walk of a thread has shown, which its history takes note of.
    pub(super) fn of_last_walk<M: Memory>(
        snapshot: &Snapshot<M>,
        records: &mut ThreadRecords,
        thread: &ThreadStack,
        mode: ReadMode,
    ) -> Self {
        let nothing = Evidence { copies: CopiesFound::Single, is_as_before: false, has_missed: true };
        let bytes = snapshot.evidence_of(thread.address).unwrap_or(nothing);
        let evidence = StackEvidence::new(bytes, thread.is_truncated);
        if mode == ReadMode::Unchanged {
            return Self { mode, evidence, verdict: Verdict::Consistent };
        }
        let sample = records.sample();
        let history = &mut records.entry(thread.address).history;
        history.record_read(sample, mode, &bytes);
        Self { mode, evidence, verdict: judge_stack(history, sample, mode, &evidence) }
    }

    /// Judges anew what has not been found torn yet.
    pub(super) fn judge(&mut self, records: &ThreadRecords, thread: &ThreadStack) {
        if self.verdict != Verdict::Torn
            && self.mode != ReadMode::Unchanged
            && let Some(record) = records.of(thread.address)
        {
            self.verdict = judge_stack(&record.history, records.sample(), self.mode, &self.evidence);
        }
    }
}
