//! No task that never was, of a program that makes and ends thousands a second.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{dump_tasks, with_tasks};
use crate::interpreters::Interpreter;
use crate::target::{Target, print_note};

/// The functions of `tasks_churn.py` come in so many kinds, each with lines of its own.
const KINDS: u64 = 7;
/// How long each interpreter is looked at.
const TIME: Duration = Duration::from_secs(4);
/// Without a single task this many dumps have shown nothing.
const LEAST: usize = 20;

/// The numbers of tasks that may live: from the first one that does, up to those not made yet.
fn living(target: &mut Target) -> (u64, u64) {
    target.send("living");
    let line = target.line();
    let (first, next) = line.split_once(' ').expect("two numbers");
    (first.parse().expect("a number"), next.parse().expect("a number"))
}

/// What is wrong with a task, or nothing. `alive` are the numbers that tasks may have had during the dump.
fn wrong(task: &Value, alive: (u64, u64), interpreter: &Interpreter) -> Option<&'static str> {
    let coroutine = task["coroutine"].as_str()?;
    let frames: Vec<(&str, u64)> = task["frames"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|frame| (frame["name"].as_str().unwrap_or_default(), frame["line"].as_u64().unwrap_or(0)))
        .collect();
    if coroutine == "main" {
        let (name, _) = *frames.last()?;
        return (name != "main").then_some("another coroutine's frame");
    }
    let Some(kind) = coroutine.strip_prefix("outer_").and_then(|kind| kind.parse::<u64>().ok()) else {
        return Some("no coroutine of the program");
    };
    if interpreter.feature() >= (3, 8) {
        let name = task["name"].as_str().unwrap_or_default();
        // For a moment each has the name that asyncio gives.
        if let Some(number) = name.strip_prefix("churn-") {
            let Ok(number) = number.parse::<u64>() else { return Some("no such name") };
            if number < alive.0 || number >= alive.1 {
                return Some("a task that does not live");
            }
            if number % KINDS != kind {
                return Some("the coroutine of another task");
            }
        } else if !name.starts_with("Task-") {
            return Some("no such name");
        }
    }
    let (outer, inner) = (format!("outer_{kind}"), format!("inner_{kind}"));
    let (outer_line, inner_line) = (9 + 20 * kind, 4 + 10 * kind);
    let oldest_first: Vec<(&str, u64)> = frames.iter().rev().copied().collect();
    let at = |index: usize, name: &str, line: u64| oldest_first.get(index).is_none_or(|frame| *frame == (name, line));
    let state = task["state"].as_str().unwrap_or_default();
    match state {
        "new" => (oldest_first.len() != 1 || oldest_first[0].0 != outer).then_some("frames of one that has not begun"),
        "waiting" => {
            let whole = oldest_first.len() == 3 && oldest_first[2].0 == "sleep";
            let right = whole && at(0, &outer, outer_line) && at(1, &inner, inner_line);
            (!right).then_some("frames that a waiting one cannot have")
        }
        "ready" => {
            let right = at(0, &outer, outer_line) && at(1, &inner, inner_line) && oldest_first.len() >= 3;
            (!right).then_some("frames that a ready one cannot have")
        }
        "running" => (oldest_first.first()?.0 != outer).then_some("a running one without its coroutine"),
        _ => Some("a state that no task is ever in"),
    }
}

/// Dumps a program that makes and ends tasks until `is_enough` of the time and the dumps so far; how many dumps and
/// tasks there were, none of them wrong.
fn dump_churn(interpreter: &Interpreter, is_enough: impl Fn(Duration, usize) -> bool) -> (usize, usize) {
    let mut target = Target::start(interpreter, "tasks_churn.py", &[]);
    let (begun, mut tasks, mut dumps) = (Instant::now(), 0, 0);
    while !is_enough(begun.elapsed(), dumps) {
        let (first, _) = living(&mut target);
        let dump = dump_tasks(target.pid(), &[]);
        let (_, next) = living(&mut target);
        for task in dump["asyncio_tasks"].as_array().expect("a list of tasks") {
            let problem = wrong(task, (first, next), interpreter);
            assert_eq!(problem, None, "{interpreter}, {first} to {next}: {task:#}");
            tasks += 1;
        }
        dumps += 1;
    }
    assert!(tasks > dumps, "{interpreter}: {tasks} tasks in {dumps} dumps");
    (dumps, tasks)
}

fn print_seen(dumps: usize, tasks: usize) {
    print_note(&format!("{tasks} tasks in {dumps} dumps of programs that make 2000 a second, none that never was"));
}

#[test]
fn no_task_is_seen_that_never_was() {
    let (mut dumps, mut tasks) = (0, 0);
    for interpreter in with_tasks() {
        // A busy machine gets its least number of dumps in more time.
        let (of_dumps, of_tasks) = dump_churn(interpreter, |time, dumps| time >= TIME && dumps >= LEAST);
        (dumps, tasks) = (dumps + of_dumps, tasks + of_tasks);
    }
    print_seen(dumps, tasks);
}

/// Takes some minutes: `cargo test --release --test all -- --ignored ten_thousand_dumps`.
#[test]
#[ignore = "ten thousand dumps take minutes; run it by its name"]
fn ten_thousand_dumps_show_no_task_that_never_was() {
    const DUMPS: usize = 10_000;
    let interpreters: Vec<&Interpreter> = with_tasks().collect();
    let each = DUMPS.div_ceil(interpreters.len().max(1));
    let seen: Vec<(usize, usize)> =
        interpreters.iter().map(|interpreter| dump_churn(interpreter, |_, dumps| dumps >= each)).collect();
    print_seen(seen.iter().map(|(dumps, _)| dumps).sum(), seen.iter().map(|(_, tasks)| tasks).sum());
}
