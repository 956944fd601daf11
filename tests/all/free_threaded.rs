//! Builds without a GIL: who collects, and who waits for it.

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::{Target, print_note};

/// Dumps until each kind of thread was seen; only a broken program is dumped so often in vain.
const DUMPS: usize = 400;

#[test]
fn only_the_thread_that_collects_is_in_a_collection() {
    let mut tried = 0;
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.free_threaded) {
        tried += 1;
        let target = Target::start(interpreter, "collecting.py", &[]);
        let recording = Recording::of(target.pid(), &["-d", "1", "--threads", "--idle"]);
        let collecting = |thread: &str| {
            let stacks = recording.stacks.iter().filter(|(stack, _)| stack[0].ends_with(thread));
            let collecting = stacks.filter(|(stack, _)| stack.iter().any(|frame| frame.contains("garbage collection")));
            collecting.map(|(_, count)| count).sum::<u64>()
        };
        assert_eq!((collecting(": worker"), collecting(": sleeper")), (0, 0), "{interpreter}: {recording:#?}");
        assert!(collecting(": collector") > 0, "{interpreter}: {recording:#?}");
    }
    if tried == 0 {
        print_note("skipped: no free-threaded interpreter");
    }
}

#[test]
fn a_thread_that_waits_for_a_stopped_world_says_so() {
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.free_threaded) {
        let target = Target::start(interpreter, "collecting.py", &[]);
        let (mut waited, mut collected) = (false, false);
        for _ in 0..DUMPS {
            let threads = dump(target.pid(), &[]);
            for thread in &threads {
                let is = |name: &str| thread["thread_name"] == name;
                let (waits, collects) = (thread["waits_for_world"] == true, thread["collecting_garbage"] == true);
                assert!(!waits || is("worker") || is("MainThread"), "{interpreter}: {thread:#}");
                assert!(!collects || is("collector"), "{interpreter}: {thread:#}");
                assert!(!waits || thread["active"] == false, "{interpreter}: {thread:#}");
                waited |= waits;
                collected |= collects;
            }
            if waited && collected {
                break;
            }
        }
        assert!(waited && collected, "{interpreter}: waited {waited}, collected {collected}");
    }
}
