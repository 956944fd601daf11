//! Whether the stack that was read is one that its thread had: a decision over plain values.
//!
//! [`judge_stack`] says from what the read has shown whether to believe it, or which check that still needs. Nothing
//! here reads, stops or waits.

use super::history::History;
use super::read_mode::ReadMode;
use crate::memory::{CopiesFound, Evidence};

/// What is known of a stack that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StackEvidence {
    /// What its bytes have shown.
    pub(crate) bytes: Evidence,
    /// It ends in something that could not be read.
    pub(crate) is_truncated: bool,
    /// It refers to code that was read only after it.
    pub(crate) has_new_code: bool,
    /// A second look has found all of it unchanged, or not.
    pub(crate) is_unchanged: Option<bool>,
    /// The thread runs, as far as it was not seen waiting before the read.
    pub(crate) has_run: Option<bool>,
    /// It was on our CPU while it was read; in [`ReadMode::SameCpu`], as its own word proves.
    pub(crate) was_on_our_cpu: Option<bool>,
}

impl StackEvidence {
    /// Of a stack that was only just read.
    pub(crate) fn new(bytes: Evidence, is_truncated: bool) -> Self {
        Self { bytes, is_truncated, has_new_code: false, is_unchanged: None, has_run: None, was_on_our_cpu: None }
    }
}

/// Whether a stack is one that its thread had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Consistent,
    /// It may be: this check is missing.
    Needs(Check),
    /// It may be a mixture of several.
    Torn,
}

/// A check that can make sure of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Look again at all that it was read from: [`StackEvidence::is_unchanged`].
    Revalidation,
    /// Look whether the thread runs: [`StackEvidence::has_run`].
    Activity,
    /// Look on which CPU the thread is: [`StackEvidence::was_on_our_cpu`].
    OwnCpu,
}

/// Whether to believe a stack.
pub(crate) fn judge_stack(history: &History, sample: u32, mode: ReadMode, evidence: &StackEvidence) -> Verdict {
    let StackEvidence { bytes, is_truncated, has_new_code, is_unchanged, .. } = *evidence;
    if is_truncated || is_unchanged == Some(false) {
        return Verdict::Torn;
    }
    if has_new_code && is_unchanged.is_none() {
        return Verdict::Needs(Check::Revalidation);
    }
    match mode {
        ReadMode::Unchanged => Verdict::Consistent,
        // What was missing was read when it had been let go.
        ReadMode::Stopped if bytes.has_missed => Verdict::Torn,
        ReadMode::Stopped => Verdict::Consistent,
        ReadMode::Unproven => Verdict::Torn,
        ReadMode::SameCpu => judge_on_same_cpu(evidence),
        // Of a thread that moves too fast neither equal copies nor an equal second look mean anything.
        ReadMode::Once | ReadMode::Twice if bytes.copies == CopiesFound::Torn || !history.is_steady() => Verdict::Torn,
        ReadMode::Once | ReadMode::Twice => {
            let is_as_before = bytes.is_as_before && history.was_consistent_before(sample);
            if bytes.copies == CopiesFound::Equal || is_as_before || is_unchanged == Some(true) {
                judge_activity(history, evidence)
            } else {
                Verdict::Needs(Check::Revalidation)
            }
        }
    }
}

/// Of a thread in whose place we were: one copy is enough if we really were there.
fn judge_on_same_cpu(evidence: &StackEvidence) -> Verdict {
    match (evidence.has_run, evidence.was_on_our_cpu, evidence.is_unchanged) {
        (None, ..) => Verdict::Needs(Check::Activity),
        (Some(true), None, _) => Verdict::Needs(Check::OwnCpu),
        (Some(true), Some(true), _) => Verdict::Consistent,
        (Some(true), Some(false), _) => Verdict::Torn,
        // It may have run elsewhere until a moment ago, which a second look shows now that it waits.
        (Some(false), _, None) => Verdict::Needs(Check::Revalidation),
        (Some(false), _, Some(true)) => Verdict::Consistent,
        (Some(false), _, Some(false)) => Verdict::Torn,
    }
}

/// Of a thread whose bytes agree: whether that means anything where it runs.
fn judge_activity(history: &History, evidence: &StackEvidence) -> Verdict {
    match (evidence.has_run, evidence.was_on_our_cpu) {
        (None, _) => Verdict::Needs(Check::Activity),
        (Some(false), _) => Verdict::Consistent,
        (Some(true), _) if !history.is_fast() && !history.is_on_probation() => Verdict::Consistent,
        (Some(true), None) => Verdict::Needs(Check::OwnCpu),
        // Where it stood still because we were in its place nothing was found out about it, but what was read is true.
        (Some(true), Some(true)) => Verdict::Consistent,
        (Some(true), Some(false)) => Verdict::Torn,
    }
}
