//! `record --async`: stacks of event loops as the program has them.

use std::collections::HashMap;

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy};

/// What each stack of a recording in collapsed form weighs.
fn recorded(target: &Target, options: &[&str]) -> (HashMap<String, u64>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stacks.txt");
    let pid = target.pid().to_string();
    let mut arguments = vec!["record", "--pid", &pid, "-d", "2", "-f", "raw", "--nolineno", "--hideprogress", "-o"];
    arguments.push(path.to_str().unwrap());
    arguments.extend(options);
    let ran = pyspy(&arguments);
    ran.success();
    let stacks = std::fs::read_to_string(&path).unwrap();
    let weighed = stacks.lines().map(|line| {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        (stack.to_owned(), weight.parse().unwrap())
    });
    (weighed.collect(), ran.stderr)
}

/// The weight of the stacks that have these frames one below the other, with nothing between.
fn weight_of(stacks: &HashMap<String, u64>, frames: &[&str]) -> u64 {
    let has = |stack: &str| {
        let names: Vec<&str> = stack.split(';').map(|frame| frame.split(" (").next().unwrap()).collect();
        names.windows(frames.len()).any(|window| window == frames)
    };
    stacks.iter().filter(|(stack, _)| has(stack)).map(|(_, weight)| weight).sum()
}

fn interpreters() -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 7))
}

#[test]
fn tasks_stand_below_those_that_wait_for_them() {
    for interpreter in interpreters() {
        let target = Target::start(interpreter, "async_stacks.py", &[]);
        let (stacks, _) = recorded(&target, &["--async"]);
        let all: u64 = stacks.values().sum();
        let share = |frames: &[&str]| weight_of(&stacks, frames) as f64 / all as f64;
        // Two handlers, a child and the callbacks have a quarter of the time each.
        let handlers = share(&["task main", "main", "task handler", "handler", "compute", "burn"]);
        let child = share(&["task main", "main", "task parent", "parent", "task child", "child", "burn"]);
        let callbacks = share(&["event loop", "callback", "burn"]);
        assert!((0.3..0.65).contains(&handlers), "{interpreter}: {handlers} {stacks:#?}");
        assert!((0.12..0.40).contains(&child), "{interpreter}: {child} {stacks:#?}");
        assert!((0.12..0.40).contains(&callbacks), "{interpreter}: {callbacks} {stacks:#?}");
        // Nothing of how the loop calls is left, and what runs for long has its place.
        for frame in ["run_forever", "_run_once", "BaseEventLoop._run_once", "_run", "Handle._run"] {
            assert_eq!(weight_of(&stacks, &[frame]), 0, "{interpreter}: {frame} {stacks:#?}");
        }
        // The first sample of a task may come too late to find who waits for it.
        assert!(share(&["task ?"]) < 0.1, "{interpreter}: {stacks:#?}");
    }
}

#[test]
fn tasks_that_wait_are_shown_by_what_they_wait_in() {
    for interpreter in interpreters() {
        let target = Target::start(interpreter, "async_stacks.py", &[]);
        let (stacks, _) = recorded(&target, &["--async=all"]);
        let sleepers = weight_of(&stacks, &["task main", "main", "task sleeper", "sleeper", "sleep", "sleeps"]);
        let parents = weight_of(&stacks, &["task main", "main", "task parent", "parent", "waits for a task"]);
        let mains = weight_of(&stacks, &["task main", "main", "waits for tasks"]);
        assert!(mains > 0, "{interpreter}: {stacks:#?}");
        // Each look has ten, one and one; the counts are rounded to the rate that was asked for.
        let ratio = sleepers as f64 / mains as f64;
        assert!((8.0..12.5).contains(&ratio), "{interpreter}: {sleepers} to {mains}: {stacks:#?}");
        assert!((0.7..1.4).contains(&(parents as f64 / mains as f64)), "{interpreter}: {parents} to {mains}");
    }
}

#[test]
fn what_has_no_tasks_is_recorded_as_ever_and_that_is_said() {
    let interpreter = Interpreter::all().last().expect("there is one");
    let target = Target::start(interpreter, "fib.py", &[]);
    let (stacks, said) = recorded(&target, &["--async"]);
    assert!(weight_of(&stacks, &["fib", "fib"]) > 0, "{stacks:#?}");
    assert!(said.contains("no task of an event loop was seen"), "{said}");
}

#[test]
fn tasks_that_wait_fit_no_time_line() {
    let interpreter = Interpreter::all().last().expect("there is one");
    let target = Target::start(interpreter, "async_stacks.py", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stacks.json");
    let pid = target.pid().to_string();
    let ran =
        pyspy(&["record", "--pid", &pid, "-d", "1", "-f", "firefox", "--async=all", "-o", path.to_str().unwrap()]);
    assert!(ran.failure().contains("--async=all"), "{ran:#?}");
    assert!(!path.exists());
}
