//! `--below`: only what happens below a function.

use std::fs;

use serde_json::Value;

use crate::recording::{Recording, names, stacks};
use crate::running::any;
use crate::target::{Target, alone_on_this_machine, pyspy};

fn record(target: &Target, args: &[&str]) -> Recording {
    Recording::of(target.pid(), &[&["-d", "1"], args].concat())
}

/// How much of the samples the summary says that it was, in percent.
#[track_caller]
fn share(stderr: &str) -> f64 {
    let line = stderr.lines().find(|line| line.contains("were below")).unwrap_or_else(|| panic!("{stderr}"));
    let percent = line.split_once('(').and_then(|(_, rest)| rest.split_once(" %"));
    percent.and_then(|(percent, _)| percent.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_function_is_the_root_and_its_share_is_told() {
    let _alone = alone_on_this_machine();
    let target = Target::start(any(), "shares.py", &[]);
    let heavy = record(&target, &["--below", "heavy"]);
    assert!(heavy.stacks.iter().all(|(stack, _)| names(stack) == ["heavy"]), "{heavy:?}");
    let told = share(&heavy.stderr);
    // It takes 60 %; on a machine that has other things to do few samples tell.
    assert!((20.0..95.0).contains(&told), "{told}");
    let pid = target.pid().to_string();
    let other = pyspy(&["record", "-d", "1", "-p", &pid, "--below", "heavy", "-f", "speedscope", "-o", "-"]);
    assert!(other.success().contains("heavy") && !other.stdout.contains("<module>"), "{}", other.stdout);
    let work = record(&target, &["--below", "shares.wor?", "--function", "--threads"]);
    assert!(work.stacks.iter().all(|(stack, _)| names(stack)[1] == "work"), "{work:?}");
    assert!(work.stacks.len() <= 4 && share(&work.stderr) > 90.0, "{work:?}");
    let sleepy = record(&target, &["--below", "sleeper", "--idle", "--thread", "sleepy"]);
    assert!(!sleepy.stacks.is_empty() && sleepy.stacks.iter().all(|(stack, _)| names(stack)[0] == "sleeper"));
    let excluded = record(&target, &["--below", "heavy", "--exclude", "shares.py"]);
    assert_eq!(excluded.total(), 0, "what is below is in that file too");
}

#[test]
fn the_outermost_call_of_a_recursion_is_the_root() {
    let target = Target::start(any(), "fib.py", &[]);
    let below = record(&target, &["--below", "fib"]);
    assert!(below.stacks.iter().all(|(stack, _)| names(stack).iter().all(|name| *name == "fib")), "{below:?}");
    assert!(below.stacks.iter().any(|(stack, _)| stack.len() > 10), "{below:?}");
    assert!(share(&below.stderr) > 80.0, "{}", below.stderr);
}

#[test]
fn a_glob_that_matches_nothing_is_told_with_what_there_is() {
    let target = Target::start(any(), "shares.py", &[]);
    let nothing = record(&target, &["--below", "HEAVY"]);
    assert_eq!(nothing.total(), 0);
    assert!(nothing.stderr.contains("samples were below 'HEAVY': seen were 'heavy'"), "{}", nothing.stderr);
    assert!(!nothing.stderr.contains("every thread was idle"), "{}", nothing.stderr);
    let other = record(&target, &["--below", "zzz*"]);
    assert!(other.stderr.contains("`pyspy dump`"), "{}", other.stderr);
}

#[test]
fn top_and_convert_show_what_is_below_too() {
    let target = Target::start(any(), "shares.py", &[]);
    let pid = target.pid().to_string();
    let top = pyspy(&["top", "--once", "--json", "-p", &pid, "--below", "work"]);
    let window: Value = serde_json::from_str(top.success()).unwrap();
    assert_eq!(window["below"], "work");
    let functions = window["functions"].as_array().unwrap();
    assert!(!functions.is_empty());
    let is_above = |function: &&Value| ["main", "<module>"].contains(&function["name"].as_str().unwrap_or_default());
    assert_eq!(functions.iter().find(is_above), None);
    assert!(top.stderr.contains("were below 'work'"), "{}", top.stderr);

    let directory = tempfile::tempdir().unwrap();
    let recording = directory.path().join("whole.pyspy");
    let path = recording.to_str().unwrap();
    pyspy(&["record", "-d", "1", "-p", &pid, "-o", path]).success();
    let raw = pyspy(&["convert", path, "--below", "medium", "-f", "raw", "-o", "-"]);
    let found = stacks(raw.success());
    assert!(!found.is_empty() && found.iter().all(|(stack, _)| names(stack) == ["medium"]), "{found:?}");
    let told = share(&raw.stderr);
    assert!((5.0..80.0).contains(&told), "medium takes 30 %, not {told}");
    let picture = directory.path().join("below.svg");
    pyspy(&["convert", path, "--below", "medium", "-o", picture.to_str().unwrap()]).success();
    assert!(fs::read_to_string(&picture).unwrap().contains(" · below medium: "));
}
