//! Greenlets in recordings: what they run, above those that go on when they end, and what they wait in.

use std::collections::HashMap;
use std::path::Path;

use super::{Missing, interpreters, recorded, start};
use crate::interpreters::Interpreter;
use crate::packages::package;
use crate::target::Target;

/// The frames of a stack by their names without classes and functions around them, and what it weighs.
type Stack = (Vec<String>, u64);

/// Records until all is seen that is asked for: beside other load a recording may have a few samples only.
#[track_caller]
fn record_until(target: &Target, option: &str, has_all: impl Fn(&[Stack]) -> bool) -> Vec<Stack> {
    let mut recordings = (0..10).map(|_| stacks(&recorded(target, &[option]).0));
    recordings.find(|stacks| has_all(stacks)).unwrap_or_else(|| panic!("{option} of {target:?}: not all was seen"))
}

fn stacks(recorded: &HashMap<String, u64>) -> Vec<Stack> {
    let name = |frame: &str| {
        let name = frame.split(" (").next().unwrap_or_default();
        let (kind, name) = match name.split_once(' ') {
            Some((kind @ ("task" | "greenlet"), name)) => (format!("{kind} "), name),
            _ => (String::new(), name),
        };
        // What a wait is called ends with a function's name too.
        if name.contains(' ') { name.to_owned() } else { kind + name.rsplit('.').next().unwrap_or_default() }
    };
    recorded.iter().map(|(stack, weight)| (stack.split(';').map(name).collect(), *weight)).collect()
}

/// What the stacks weigh that have these frames in this order.
fn weight(stacks: &[Stack], frames: &[&str]) -> u64 {
    let has = |stack: &[String]| {
        let mut names = stack.iter();
        frames.iter().all(|frame| names.any(|name| name == frame))
    };
    stacks.iter().filter(|(stack, _)| has(stack)).map(|(_, weight)| weight).sum()
}

/// For each interpreter that has a package its newest version.
fn each_with(package: &str, test: impl Fn(&Interpreter, &Path)) {
    let missing = Missing::default();
    for interpreter in interpreters() {
        if let Some(path) = missing.newest(interpreter, package) {
            test(interpreter, &path);
        }
    }
}

#[test]
fn greenlets_of_a_hub_are_told_from_its_own_work() {
    for (library, main) in [("gevent", "of_gevent"), ("eventlet", "of_eventlet")] {
        each_with(library, |interpreter, path| {
            let target = start(interpreter, "greenlet_stacks.py", &[library], &[path], false);
            let stacks = record_until(&target, "--async=all", |stacks| {
                weight(stacks, &["greenlet handler", "handler", "compute", "burn"]) > 0
                    && weight(stacks, &["event loop", "callback", "burn"]) > 0
                    && weight(stacks, &["<module>", main]) > 0
            });
            for (stack, _) in &stacks {
                let place = |name: &str| stack.iter().position(|frame| frame == name);
                assert_eq!(place("run"), None, "{interpreter}: {stack:?}");
                assert!(place("callback").is_none() || place("event loop") == Some(0), "{interpreter}: {stack:?}");
                // A hub is below a greenlet, and nothing else.
                assert!(place("greenlet handler").is_none_or(|place| place <= 1), "{interpreter}: {stack:?}");
            }
            let sleepers = weight(&stacks, &["greenlet sleeper", "sleeper", "sleep", "sleeps"]);
            assert_eq!(sleepers, weight(&stacks, &["sleeper"]), "{interpreter}: {stacks:#?}");
            // Each look has ten and one, but before it is known that there is a hub; the counts are rounded to the rate
            // that was asked for.
            let ratio = sleepers as f64 / weight(&stacks, &["<module>", main]) as f64;
            assert!((8.0..100.0).contains(&ratio), "{interpreter}: {ratio}: {stacks:#?}");
        });
    }
}

#[test]
fn greenlets_stand_above_those_that_go_on_when_they_end() {
    for interpreter in interpreters() {
        for path in package(interpreter, "greenlet") {
            let what = format!("{interpreter} {}", path.display());
            let target = start(interpreter, "greenlet_stacks.py", &["plain"], &[&path], false);
            // Before 2.0 nothing tells which greenlet runs, only that it is not the main one.
            let is_old = path.to_str().unwrap().contains("greenlet-1.");
            let below: &[&str] = if is_old { &["greenlet ?"] } else { &["<module>", "of_plain"] };
            let below_inner = if is_old { below.to_vec() } else { [below, &["greenlet doubled", "doubled"]].concat() };
            let doubled = [below, &["greenlet doubled", "doubled", "burn"]].concat();
            let numbers = [&below_inner[..], &["greenlet numbers", "numbers", "inner", "burn"]].concat();
            let stacks = record_until(&target, "--async=all", |stacks| {
                weight(stacks, &doubled) > 0
                    && weight(stacks, &numbers) > 0
                    && weight(stacks, &["greenlet sleeper"]) > 0
            });
            for (stack, _) in stacks.iter().filter(|(stack, _)| stack[0] == "<module>") {
                if let Some(numbers) = stack.iter().position(|frame| frame == "greenlet numbers") {
                    assert_eq!(stack[..numbers], below_inner[..], "{what}: {stack:?}");
                }
            }
            let sleepers = weight(&stacks, &["greenlet sleeper", "sleeper", "waits"]);
            assert_eq!(sleepers, weight(&stacks, &["sleeper"]), "{what}: {stacks:#?}");
            // The main greenlet runs, or what it has switched to does.
            let mains = weight(&stacks, &["<module>", "waits"]);
            assert!(mains * 50 < sleepers, "{what}: {mains} to {sleepers}: {stacks:#?}");
        }
    }
}

#[test]
fn what_a_bridge_runs_stands_in_the_task_that_has_called_it() {
    each_with("sqlalchemy", |interpreter, path| {
        let target = start(interpreter, "greenlet_stacks.py", &["sqlalchemy"], &[path], false);
        let request = ["task main", "main", "task request", "request", "greenlet_spawn", "flush", "query"];
        let stacks = record_until(&target, "--async=all", |stacks| {
            weight(stacks, &[&request[..], &["burn"]].concat()) > 0
                && weight(stacks, &[&request[..], &["sleep", "waits for its turn"]].concat()) > 0
        });
        let of_requests = stacks.iter().filter(|(stack, _)| stack.last().is_some_and(|leaf| leaf.starts_with("waits")));
        for (stack, _) in of_requests.filter(|(stack, _)| stack.contains(&"greenlet_spawn".to_owned())) {
            assert!(weight(&[(stack.clone(), 1)], &request) > 0, "{interpreter}: {stack:?}");
        }
    });
}
