//! What is sampled goes on as without us, as far as that can be.

use crate::running::{Running, chosen};
use crate::target::Target;

/// What the target says of its calls: how many there were, and how many ended early.
fn counts(target: &mut Target) -> (u32, u32) {
    target.send("count");
    let line = target.line();
    let (calls, interrupted) = line.split_once(' ').unwrap();
    (calls.parse().unwrap(), interrupted.parse().unwrap())
}

#[test]
fn a_thread_that_sleeps_with_the_gil_is_not_stopped_for_a_sample() {
    for interpreter in chosen() {
        let mut target = Target::start(interpreter, "sleeps_with_gil.py", &[]);
        let pid = target.pid().to_string();
        let args = ["record", "-i", "--blocking", "-r", "200", "-d", "2", "-f", "raw", "-o", "-", "-p", &pid];
        let before = counts(&mut target);
        let ran = Running::start(&args).ended();
        assert!(ran.success().contains("sleep_once"), "{interpreter}: {ran:#?}");
        let after = counts(&mut target);
        let (calls, interrupted) = (after.0 - before.0, after.1 - before.1);
        // When each sample stopped it, most calls ended early. That it goes to sleep between the look and the stop
        // remains.
        assert!(calls > 20 && interrupted * 10 <= calls, "{interpreter}: {interrupted} of {calls}: {ran:#?}");
    }
}
