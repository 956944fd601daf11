//! Which stacks of threads of invented histories are believed.

use super::*;

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
