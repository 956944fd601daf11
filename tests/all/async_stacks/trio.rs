//! Tasks of trio below those that have opened their nurseries.

use std::collections::HashMap;

use super::{Missing, interpreters, recorded, start, weight_in_order, weight_of};

/// Whether the tasks that compute were all seen.
fn has_all(stacks: &HashMap<String, u64>) -> bool {
    weight_in_order(stacks, &["task main", "main", "task handler", "handler", "compute", "burn"]) > 0
        && weight_of(stacks, &["task parent", "task child", "child", "burn"]) > 0
        && weight_of(stacks, &["callback", "burn"]) > 0
}

#[test]
fn tasks_of_trio_stand_below_those_that_have_opened_their_nurseries() {
    let missing = Missing::default();
    for interpreter in interpreters() {
        let Some(package) = missing.newest(interpreter, "trio") else { continue };
        let target = start(interpreter, "trio_stacks.py", &[], &[&package], false);
        // Beside other load a recording may have a few samples only.
        let mut recordings = (0..10).map(|_| recorded(&target, &["--async"]).0);
        let stacks = recordings.find(has_all).unwrap_or_else(|| panic!("{interpreter}: not all tasks were seen"));
        for stack in stacks.keys() {
            let frames: Vec<&str> = stack.split(';').map(|frame| frame.split(" (").next().unwrap()).collect();
            // Nothing of how the loop calls is left, and what trio makes for itself is not shown.
            for frame in ["run", "unrolled_run", "Runner.init", "init"] {
                assert!(!frames.contains(&frame), "{interpreter}: {stack}");
            }
            let place = |name: &str| frames.iter().position(|frame| *frame == name);
            if place("task ?").is_some() {
                continue;
            }
            // Who waits at the end of its nursery is there with its frames, who does something else without them.
            if let Some(handler) = place("task handler") {
                assert!(place("task main") < place("main") && place("main") < Some(handler), "{interpreter}: {stack}");
            }
            if let Some(child) = place("task child") {
                assert_eq!(frames[child - 1], "task parent", "{interpreter}: {stack}");
                assert!(place("main").is_some() && place("parent").is_none(), "{interpreter}: {stack}");
            }
        }
    }
}

#[test]
fn tasks_of_trio_that_wait_are_shown_by_what_they_wait_in() {
    let missing = Missing::default();
    for interpreter in interpreters() {
        let Some(package) = missing.newest(interpreter, "trio") else { continue };
        let target = start(interpreter, "trio_stacks.py", &[], &[&package], false);
        let has_looked = |stacks: &HashMap<String, u64>| weight_of(stacks, &["waits for tasks"]) > 0;
        let mut recordings = (0..10).map(|_| recorded(&target, &["--async=all"]).0);
        let stacks = recordings.find(has_looked).unwrap_or_else(|| panic!("{interpreter}: no task was seen"));
        let sleepers = weight_in_order(&stacks, &["task main", "main", "task sleeper", "sleeper", "sleeps"]);
        let parents = ["task main", "main", "task parent", "parent", "waits in Event.wait"];
        let parents = weight_in_order(&stacks, &parents);
        let mains = weight_in_order(&stacks, &["task main", "main", "waits for tasks"]);
        // Each look has ten, one and one; the counts are rounded to the rate that was asked for.
        let ratio = sleepers as f64 / mains as f64;
        assert!((8.0..12.5).contains(&ratio), "{interpreter}: {sleepers} to {mains}: {stacks:#?}");
        assert!((0.7..1.4).contains(&(parents as f64 / mains as f64)), "{interpreter}: {parents} to {mains}");
        assert_eq!(weight_in_order(&stacks, &["task parent", "parent", "task child"]), 0, "{interpreter}");
    }
}
