//! Invented histories of threads, sample by sample: what is planned, and what is believed.

use super::history::History;
use super::read_mode::ReadMode;
use super::read_plan::{Activity, Circumstances, plan_read};
use super::verdict::{Check, StackEvidence, Verdict, judge_stack};
use crate::memory::{CopiesFound, Evidence};

mod read_plans;
mod verdicts;

/// What the bytes of an invented read show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    /// Two copies, equal.
    Equal,
    /// The same, and as the previous sample's.
    Still,
    /// Two copies that differ.
    Torn,
    /// One copy, as the previous sample's.
    AsBefore,
    /// One copy, which differs from the previous sample's.
    Changed,
    /// As [`Bytes::Equal`], but something had to be read later.
    Missing,
}

impl Bytes {
    fn evidence(self) -> Evidence {
        let copies = match self {
            Self::Equal | Self::Still => CopiesFound::Equal,
            Self::Torn => CopiesFound::Torn,
            Self::AsBefore | Self::Changed | Self::Missing => CopiesFound::Single,
        };
        Evidence {
            copies,
            is_as_before: matches!(self, Self::AsBefore | Self::Still),
            has_missed: self == Self::Missing,
        }
    }
}

/// What the checks would show of a stack if they were made.
#[derive(Debug, Clone, Copy)]
struct Checks {
    is_unchanged: bool,
    has_run: bool,
    was_on_our_cpu: bool,
}

const WAITS: Checks = Checks { is_unchanged: true, has_run: false, was_on_our_cpu: false };
const RUNS_ELSEWHERE: Checks = Checks { is_unchanged: true, has_run: true, was_on_our_cpu: false };
const RUNS_IN_OUR_PLACE: Checks = Checks { is_unchanged: true, has_run: true, was_on_our_cpu: true };

/// A thread with its samples so far.
struct Thread {
    history: History,
    sample: u32,
}

impl Thread {
    fn new() -> Self {
        Self { history: History::new(1000), sample: 1000 }
    }

    /// One that has shown on another CPU that it is slow.
    fn slow() -> Self {
        let mut thread = Self::new();
        for _ in 0..40 {
            thread.take_sample(Bytes::Equal, RUNS_ELSEWHERE);
        }
        assert!(!thread.history.is_on_probation());
        thread
    }

    /// One that was slow, and waits since so many samples.
    fn waiting(samples: u32) -> Self {
        let mut thread = Self::slow();
        for _ in 0..samples {
            let bytes = if thread.plan(Activity::Waiting) == ReadMode::Twice { Bytes::Still } else { Bytes::AsBefore };
            thread.take_sample(bytes, WAITS);
        }
        thread
    }

    fn plan(&self, activity: Activity) -> ReadMode {
        let circumstances = Circumstances { sample: self.sample + 1, may_stop: true, is_whole: false };
        plan_read(&self.history, activity, false, circumstances)
    }

    /// The next sample of a thread of which nothing was seen before; the verdict and the checks that it took.
    fn take_sample(&mut self, bytes: Bytes, checks: Checks) -> (Verdict, Vec<Check>) {
        let mode = self.plan(Activity::Unknown);
        self.take_sample_by(mode, bytes, checks)
    }

    fn take_sample_by(&mut self, mode: ReadMode, bytes: Bytes, checks: Checks) -> (Verdict, Vec<Check>) {
        self.sample += 1;
        let mut evidence = StackEvidence::new(bytes.evidence(), false);
        self.history.record_read(self.sample, mode, &evidence.bytes);
        let mut made = Vec::new();
        let verdict = loop {
            match judge_stack(&self.history, self.sample, mode, &evidence) {
                Verdict::Needs(check) => {
                    assert!(!made.contains(&check), "{check:?} is asked for again: {evidence:?}");
                    made.push(check);
                    match check {
                        Check::Revalidation => evidence.is_unchanged = Some(checks.is_unchanged),
                        Check::Activity => evidence.has_run = Some(checks.has_run),
                        Check::OwnCpu => evidence.was_on_our_cpu = Some(checks.was_on_our_cpu),
                    }
                }
                verdict => break verdict,
            }
        };
        if evidence.was_on_our_cpu == Some(false) {
            self.history.record_pass();
        }
        self.history.record_outcome(self.sample, verdict == Verdict::Consistent);
        (verdict, made)
    }
}

#[test]
fn a_loop_as_long_as_the_way_from_copy_to_copy_is_stopped_while_it_is_not_known() {
    let mut thread = Thread::new();
    let mut stopped = 0;
    while thread.take_sample(Bytes::Equal, RUNS_ELSEWHERE).0 == Verdict::Torn {
        stopped += 1;
        assert!(stopped < 100);
    }
    assert!(stopped > 16, "{stopped}");
    // One torn read is enough while it is new: equal copies of it are a resonance.
    let mut thread = Thread::new();
    thread.take_sample(Bytes::Equal, RUNS_ELSEWHERE);
    thread.take_sample(Bytes::Torn, RUNS_ELSEWHERE);
    assert!(!thread.history.is_steady());
}

#[test]
fn a_thread_that_moves_too_fast_recovers_only_by_many_equal_copies() {
    let mut thread = Thread::slow();
    let mut torn = 0;
    while thread.history.is_steady() {
        thread.take_sample_by(ReadMode::Twice, Bytes::Torn, RUNS_ELSEWHERE);
        torn += 1;
    }
    assert_eq!(torn, 4, "half of the last eight");
    // From time to time it is compared; in between it is stopped.
    let (mut compared, mut stopped) = (0, 0);
    while !thread.history.is_steady() {
        match thread.plan(Activity::Running) {
            ReadMode::Stopped => {
                stopped += 1;
                let sample = thread.take_sample_by(ReadMode::Stopped, Bytes::Changed, RUNS_ELSEWHERE);
                assert_eq!(sample.0, Verdict::Consistent);
            }
            mode => {
                compared += 1;
                let verdict = thread.take_sample_by(mode, Bytes::Equal, RUNS_ELSEWHERE).0;
                assert!(verdict == Verdict::Torn, "not before it has shown it");
            }
        }
        assert!(compared + stopped < 200);
    }
    assert!(compared >= 12 && stopped >= compared / 2, "{compared} compared, {stopped} stopped");
    assert!(thread.history.is_on_probation());
}

#[test]
fn a_fast_thread_is_asked_for_ever_seldomer() {
    let mut thread = Thread::slow();
    let mut probes = 0;
    for _ in 0..400 {
        let mode = thread.plan(Activity::Running);
        if mode == ReadMode::Twice {
            probes += 1;
        }
        thread.take_sample_by(mode, if mode == ReadMode::Twice { Bytes::Torn } else { Bytes::Changed }, RUNS_ELSEWHERE);
    }
    assert!((10..60).contains(&probes), "{probes}");
}

#[test]
fn a_thread_that_wakes_up_is_believed_as_before_only_if_it_was_not_too_fast() {
    let mut slow = Thread::waiting(50);
    slow.history.record_wait();
    assert_eq!(slow.take_sample(Bytes::Equal, RUNS_ELSEWHERE).0, Verdict::Consistent);
    let mut fast = Thread::slow();
    while fast.history.is_steady() {
        fast.take_sample_by(ReadMode::Twice, Bytes::Torn, RUNS_ELSEWHERE);
    }
    fast.history.record_wait();
    assert_eq!(fast.take_sample_by(ReadMode::Twice, Bytes::Equal, RUNS_ELSEWHERE).0, Verdict::Torn);
    // While it waits there is no doubt.
    assert_eq!(fast.take_sample_by(ReadMode::Twice, Bytes::Equal, WAITS).0, Verdict::Consistent);
}

#[test]
fn what_was_not_made_sure_of_proves_nothing_for_the_next_sample() {
    let mut thread = Thread::waiting(200);
    thread.take_sample_by(ReadMode::Once, Bytes::Changed, Checks { is_unchanged: false, ..WAITS });
    let (verdict, made) = thread.take_sample_by(ReadMode::Once, Bytes::AsBefore, WAITS);
    assert_eq!((verdict, made), (Verdict::Consistent, vec![Check::Revalidation, Check::Activity]));
    // Nor does a sample that is missing.
    thread.take_sample(Bytes::Equal, WAITS);
    thread.sample += 1;
    let (_, made) = thread.take_sample_by(ReadMode::Once, Bytes::AsBefore, WAITS);
    assert_eq!(made, [Check::Revalidation, Check::Activity]);
}

#[test]
fn without_a_gil_each_thread_is_judged_for_itself() {
    let mut threads = [Thread::slow(), Thread::slow(), Thread::slow()];
    let bytes = [Bytes::Torn, Bytes::Equal, Bytes::Equal];
    for _ in 0..8 {
        for (thread, bytes) in threads.iter_mut().zip(bytes) {
            thread.take_sample_by(ReadMode::Twice, bytes, RUNS_ELSEWHERE);
        }
    }
    assert_eq!(threads.map(|thread| thread.history.is_steady()), [false, true, true]);
}

#[test]
fn being_pinned_stands_in_for_probation_and_ends_in_it() {
    let mut thread = Thread::new();
    thread.history.record_pinning();
    assert_eq!(thread.take_sample(Bytes::Equal, RUNS_IN_OUR_PLACE).0, Verdict::Consistent);
    assert_eq!(thread.take_sample(Bytes::Equal, RUNS_ELSEWHERE).0, Verdict::Torn, "it has left our CPU");
    thread.history.start_probation();
    assert_eq!(thread.take_sample(Bytes::Equal, RUNS_ELSEWHERE).0, Verdict::Torn);
    assert!(thread.history.is_on_probation() && !thread.history.is_fast());
}
