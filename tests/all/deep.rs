//! Stacks deeper and threads more than most programs have.

use serde_json::Value;

use crate::dump::{dump, frames};
use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::{Target, alone_on_this_machine};

fn check_depth(interpreter: &Interpreter, depth: usize) {
    let target = Target::start(interpreter, "deep.py", &[&depth.to_string()]);
    let threads = dump(target.pid(), &[]);
    let deep: Vec<&Value> = threads.iter().filter(|thread| thread["thread_name"] == "deep").collect();
    let [deep] = deep.as_slice() else { panic!("{interpreter}: {} threads are deep", deep.len()) };
    let found = frames(deep);
    let descents = found.iter().filter(|(name, ..)| *name == "descend").count();
    assert_eq!(descents, depth, "{interpreter}");
    assert_eq!(found[0].0, "wait", "{interpreter}");
    // Below them is how a thread begins, in threading.py.
    assert!(found.last().unwrap().0.ends_with("_bootstrap") || interpreter.version < (3, 0, 0), "{interpreter}");
    assert_eq!(threads.len(), 2, "{interpreter}: the others are not lost");

    let recording = Recording::of(target.pid(), &["-d", "2", "-r", "100", "--idle"]);
    let all_there = recording.count(|names| names.iter().filter(|name| **name == "descend").count() == depth);
    assert!(all_there > 10, "{interpreter}: {:?}", recording.summary);
    assert_eq!(recording.summary.lost, 0, "{interpreter}: {:?}", recording.summary);
}

#[test]
fn three_thousand_frames_are_all_shown() {
    for interpreter in Interpreter::all() {
        check_depth(interpreter, 3_000);
    }
}

#[test]
fn twenty_thousand_frames_are_all_shown() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all() {
        check_depth(interpreter, 20_000);
    }
}

#[test]
fn two_hundred_threads_are_all_shown() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "many.py", &["200"]);
        let threads = dump(target.pid(), &[]);
        assert_eq!(threads.len(), 201, "{interpreter}");
        for number in 0..200 {
            let name = format!("waits {number}");
            let thread = threads.iter().find(|thread| thread["thread_name"] == name.as_str());
            let thread = thread.unwrap_or_else(|| panic!("{interpreter}: no {name}"));
            assert!(frames(thread).iter().any(|(function, ..)| *function == "waits"), "{interpreter}: {thread:#}");
            assert!(thread["os_thread_id"].is_u64(), "{interpreter}: {thread:#}");
        }
    }
}

#[test]
fn duration_is_wall_time_whatever_the_load() {
    let _alone = alone_on_this_machine();
    for interpreter in Interpreter::all().iter().filter(|found| matches!(found.feature(), (3, 8 | 13))) {
        for (script, argument) in [("many.py", "200"), ("deep.py", "900")] {
            let target = Target::start(interpreter, script, &[argument]);
            for mode in [None, Some("--blocking")] {
                let mut args = vec!["-d", "1", "-r", "1000", "--idle"];
                args.extend(mode);
                let recording = Recording::of(target.pid(), &args);
                let seconds = recording.summary.seconds;
                // Neither a count of samples nor a tick under way may draw it out, but this machine may have much to
                // do.
                assert!((1.0..2.0).contains(&seconds), "{interpreter} {script} {mode:?}: {seconds} s");
                // What is late counts for more, so that all of the time is there in which pyspy could look.
                let threads = if script == "many.py" { 201.0 } else { 2.0 };
                let share = recording.total() as f64 / (threads * 1000.0 * recording.summary.observed());
                assert!(
                    (0.8..1.2).contains(&share),
                    "{interpreter} {script} {mode:?}: {share} {:?}",
                    recording.summary
                );
            }
        }
    }
}
