//! `record --async`: stacks of event loops as the program has them.

use std::collections::HashMap;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::{Missing, start};
use crate::target::{Target, pyspy};

mod greenlets;
mod trio;

/// What each stack of a recording in collapsed form weighs.
pub(crate) fn recorded(target: &Target, options: &[&str]) -> (HashMap<String, u64>, String) {
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
pub(crate) fn weight_of(stacks: &HashMap<String, u64>, frames: &[&str]) -> u64 {
    let has = |stack: &str| {
        let names: Vec<&str> = stack.split(';').map(|frame| frame.split(" (").next().unwrap()).collect();
        names.windows(frames.len()).any(|window| window == frames)
    };
    stacks.iter().filter(|(stack, _)| has(stack)).map(|(_, weight)| weight).sum()
}

/// The weight of the stacks that have these frames in this order, whatever is between.
fn weight_in_order(stacks: &HashMap<String, u64>, frames: &[&str]) -> u64 {
    let has = |stack: &str| {
        let mut names = stack.split(';').map(|frame| frame.split(" (").next().unwrap());
        frames.iter().all(|frame| names.any(|name| name == *frame))
    };
    stacks.iter().filter(|(stack, _)| has(stack)).map(|(_, weight)| weight).sum()
}

fn interpreters() -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 7))
}

/// What is wrong with the shares of what `async_stacks.py` does, if anything.
fn wrong_share(stacks: &HashMap<String, u64>) -> Option<String> {
    let all: u64 = stacks.values().sum();
    let share = |frames: &[&str]| weight_of(stacks, frames) as f64 / all as f64;
    // Two handlers, a child and the callbacks have a quarter of the time each.
    let handlers = share(&["task main", "main", "task handler", "handler", "compute", "burn"]);
    let child = share(&["task main", "main", "task parent", "parent", "task child", "child", "burn"]);
    let callbacks = share(&["event loop", "callback", "burn"]);
    // The first sample of a task may come too late to find who waits for it.
    let nobody = share(&["task ?"]);
    let is_right = (0.3..0.65).contains(&handlers)
        && (0.12..0.40).contains(&child)
        && (0.12..0.40).contains(&callbacks)
        && nobody < 0.3;
    (!is_right).then(|| format!("handlers {handlers}, child {child}, callbacks {callbacks}, nobody's {nobody}"))
}

#[test]
fn tasks_stand_below_those_that_wait_for_them() {
    for interpreter in interpreters() {
        let target = Target::start(interpreter, "async_stacks.py", &[]);
        // Where we get a CPU a few times in two seconds only, shares of so few samples say nothing.
        let mut wrong = vec![];
        while wrong.len() < 5 {
            let (stacks, _) = recorded(&target, &["--async"]);
            // Nothing of how the loop calls is left, and what runs for long has its place.
            for frame in ["run_forever", "_run_once", "BaseEventLoop._run_once", "_run", "Handle._run"] {
                assert_eq!(weight_of(&stacks, &[frame]), 0, "{interpreter}: {frame} {stacks:#?}");
            }
            match wrong_share(&stacks) {
                Some(what) => wrong.push(format!("{what} of {stacks:#?}")),
                None => break,
            }
        }
        assert!(wrong.len() < 5, "{interpreter}: {wrong:#?}");
    }
}

#[test]
fn tasks_that_wait_are_shown_by_what_they_wait_in() {
    for interpreter in interpreters() {
        let target = Target::start(interpreter, "async_stacks.py", &[]);
        // There may be no time for a look at all tasks beside other load.
        let has_looked = |stacks: &HashMap<String, u64>| weight_of(stacks, &["waits for tasks"]) > 0;
        let mut recordings = (0..10).map(|_| recorded(&target, &["--async=all"]).0);
        let stacks = recordings.find(has_looked).unwrap_or_else(|| panic!("{interpreter}: no task was seen"));
        let sleepers = weight_of(&stacks, &["task main", "main", "task sleeper", "sleeper", "sleep", "sleeps"]);
        let parents = weight_of(&stacks, &["task main", "main", "task parent", "parent", "waits for a task"]);
        let mains = weight_of(&stacks, &["task main", "main", "waits for tasks"]);
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
    assert!(said.contains("no task of an event loop and no greenlet was seen"), "{said}");
}

/// What `--async=all` writes in a format that shows time.
fn recorded_in_time(target: &Target, format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recorded");
    let pid = target.pid().to_string();
    let options = ["--async=all", "--hideprogress", "-d", "2", "-f", format, "-o", path.to_str().unwrap()];
    pyspy(&[&["record", "--pid", &pid][..], &options].concat()).success();
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn tasks_that_wait_have_a_track_for_each_function_and_a_counter() {
    let interpreter = Interpreter::all().last().expect("there is one");
    let target = Target::start(interpreter, "async_stacks.py", &[]);
    let mut recordings = (0..10).map(|_| serde_json::from_str(&recorded_in_time(&target, "chrometrace")).unwrap());
    let has_looked = |events: &Vec<Value>| events.iter().any(|event| event["ph"] == "C");
    let events: Vec<Value> = recordings.find(has_looked).expect("all tasks were looked at");
    let named = |name: &str| {
        let names = events.iter().filter(|event| event["name"] == "thread_name");
        names.filter(|event| event["args"]["name"] == name).map(|event| event["tid"].clone()).collect::<Vec<_>>()
    };
    let track = named("tasks sleeper");
    assert_eq!(track.len(), 1, "{track:?}");
    assert_eq!(named("tasks main").len(), 1);
    let of_track = |phase: &str, name: &str| {
        let is_it = |event: &&Value| event["tid"] == track[0] && event["ph"] == phase && event["name"] == name;
        events.iter().filter(is_it).map(|event| event["ts"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // All ten sleep all the time in the same place, which is shown where the looks can be proven.
    let (begins, ends) = (of_track("B", "sleeps"), of_track("E", "sleeps"));
    assert_eq!(begins.len(), ends.len(), "{begins:?} {ends:?}");
    let shown = ends.iter().sum::<u64>() - begins.iter().sum::<u64>();
    assert!((100_000..10_000_000).contains(&shown), "{begins:?} {ends:?}");
    let counted = |name: &str| {
        let points = events.iter().filter(|event| event["ph"] == "C" && event["name"] == name);
        points.map(|event| event["args"]["tasks"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(counted("tasks sleeper"), [10]);
    assert!(counted("tasks").iter().all(|count| (12..=15).contains(count)), "{:?}", counted("tasks"));

    let mut recordings = (0..10).map(|_| serde_json::from_str(&recorded_in_time(&target, "firefox")).unwrap());
    let has_looked = |profile: &Value| profile["counters"].as_array().is_some_and(|counters| !counters.is_empty());
    let firefox: Value = recordings.find(has_looked).expect("all tasks were looked at");
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&firefox["threads"]).contains(&"tasks sleeper".to_owned()), "{:?}", names(&firefox["threads"]));
    assert!(names(&firefox["counters"]).contains(&"tasks sleeper".to_owned()), "{:?}", names(&firefox["counters"]));

    let mut charts = (0..10).map(|_| recorded_in_time(&target, "flamechart"));
    assert!(charts.any(|chart| chart.contains("tasks sleeper, 10 at a time at most")));
}
