//! How threads of invented histories are read.

use super::*;

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
