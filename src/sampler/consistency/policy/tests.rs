//! Invented histories of threads, sample by sample: what is planned, and what is believed.

use super::*;

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
fn what_is_planned() {
    let mut torn = Thread::slow();
    while torn.history.is_steady() {
        torn.take_sample_by(ReadMode::Twice, Bytes::Torn, RUNS_ELSEWHERE);
    }
    // It is compared in some samples all the same.
    while torn.history.is_worth_two_copies(torn.sample + 1) {
        torn.sample += 1;
    }
    let calm = Thread::waiting(200);
    let new = Thread::new();
    let restless = Thread::slow();
    use Activity::{Running, Unchanged, Unknown, Waiting};
    let table: &[(&str, &Thread, Activity, ReadMode)] = &[
        ("a new thread", &new, Unknown, ReadMode::Twice),
        ("one that has changed lately", &restless, Running, ReadMode::Twice),
        ("one that has not", &calm, Waiting, ReadMode::Once),
        ("one that wakes up, as far as that is known", &calm, Running, ReadMode::Once),
        ("one that has not run since", &calm, Unchanged, ReadMode::Unchanged),
        ("one that is too fast", &torn, Running, ReadMode::Stopped),
        ("one that is too fast and may sleep by now", &torn, Unknown, ReadMode::Unproven),
        ("one that was too fast and waits", &torn, Waiting, ReadMode::Unproven),
    ];
    for (what, thread, activity, expected) in table {
        assert_eq!(thread.plan(*activity), *expected, "{what}");
    }
    let circumstances = |may_stop, is_whole| Circumstances { sample: torn.sample + 1, may_stop, is_whole };
    let history = &torn.history;
    assert_eq!(plan_read(history, Running, false, circumstances(false, false)), ReadMode::Unproven, "--nonblocking");
    assert_eq!(plan_read(history, Running, true, circumstances(true, false)), ReadMode::SameCpu);
    let whole = Circumstances { sample: calm.sample + 1, may_stop: true, is_whole: true };
    assert_eq!(plan_read(&calm.history, Unchanged, false, whole), ReadMode::Once, "everything is read");
}

#[test]
fn what_is_believed() {
    use Check::{Activity, OwnCpu, Revalidation};
    use ReadMode::{Once, SameCpu, Stopped, Twice, Unproven};
    use Verdict::{Consistent, Torn};
    let changed = Checks { is_unchanged: false, ..WAITS };
    let fast = || {
        let mut thread = Thread::slow();
        thread.history.record_pinning();
        thread
    };
    let unsteady = || {
        let mut thread = Thread::slow();
        while thread.history.is_steady() {
            thread.take_sample_by(Twice, Bytes::Torn, RUNS_ELSEWHERE);
        }
        thread
    };
    type Case = (&'static str, Thread, ReadMode, Bytes, Checks, Verdict, &'static [Check]);
    let table: Vec<Case> = vec![
        ("equal copies", Thread::slow(), Twice, Bytes::Equal, RUNS_ELSEWHERE, Consistent, &[Activity]),
        ("torn copies", Thread::slow(), Twice, Bytes::Torn, RUNS_ELSEWHERE, Torn, &[]),
        ("as before", Thread::waiting(200), Once, Bytes::AsBefore, WAITS, Consistent, &[Activity]),
        ("other than before", Thread::waiting(200), Once, Bytes::Changed, WAITS, Consistent, &[Revalidation, Activity]),
        ("other, and again", Thread::waiting(200), Once, Bytes::Changed, changed, Torn, &[Revalidation]),
        ("read in pieces", Thread::slow(), Twice, Bytes::Missing, WAITS, Consistent, &[Revalidation, Activity]),
        // Resonance: a loop as long as the way from copy to copy shows equal copies again and again.
        ("a new one that runs", Thread::new(), Twice, Bytes::Equal, RUNS_ELSEWHERE, Torn, &[Activity, OwnCpu]),
        ("a new one that waits", Thread::new(), Twice, Bytes::Equal, WAITS, Consistent, &[Activity]),
        (
            "a new one in our place",
            Thread::new(),
            Twice,
            Bytes::Equal,
            RUNS_IN_OUR_PLACE,
            Consistent,
            &[Activity, OwnCpu],
        ),
        ("chance", unsteady(), Twice, Bytes::Equal, RUNS_ELSEWHERE, Torn, &[]),
        ("too fast, once", unsteady(), Unproven, Bytes::Changed, RUNS_ELSEWHERE, Torn, &[]),
        ("stopped", unsteady(), Stopped, Bytes::Changed, RUNS_ELSEWHERE, Consistent, &[]),
        ("stopped, but some was read later", unsteady(), Stopped, Bytes::Missing, RUNS_ELSEWHERE, Torn, &[]),
        // One that was followed from CPU to CPU.
        ("in our place", fast(), SameCpu, Bytes::Changed, RUNS_IN_OUR_PLACE, Consistent, &[Activity, OwnCpu]),
        ("migrated", fast(), SameCpu, Bytes::Changed, RUNS_ELSEWHERE, Torn, &[Activity, OwnCpu]),
        ("migrated, two equal copies", fast(), Twice, Bytes::Equal, RUNS_ELSEWHERE, Torn, &[Activity, OwnCpu]),
        ("fell asleep", fast(), SameCpu, Bytes::Changed, WAITS, Consistent, &[Activity, Revalidation]),
        ("fell asleep elsewhere", fast(), SameCpu, Bytes::Changed, changed, Torn, &[Activity, Revalidation]),
    ];
    for (what, mut thread, mode, bytes, checks, verdict, made) in table {
        assert_eq!(thread.take_sample_by(mode, bytes, checks), (verdict, made.to_vec()), "{what}");
    }
}

#[test]
fn code_that_was_read_after_its_frame_needs_a_second_look() {
    let thread = Thread::slow();
    for mode in [ReadMode::Once, ReadMode::Twice, ReadMode::Stopped, ReadMode::SameCpu] {
        let mut evidence = StackEvidence::new(Bytes::Equal.evidence(), false);
        evidence.has_new_code = true;
        let sample = thread.sample + 1;
        assert_eq!(judge_stack(&thread.history, sample, mode, &evidence), Verdict::Needs(Check::Revalidation));
        evidence.is_unchanged = Some(false);
        assert_eq!(judge_stack(&thread.history, sample, mode, &evidence), Verdict::Torn);
        evidence = StackEvidence::new(Bytes::Equal.evidence(), true);
        assert_eq!(judge_stack(&thread.history, sample, mode, &evidence), Verdict::Torn, "it has no end");
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
