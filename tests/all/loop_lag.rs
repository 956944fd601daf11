//! How late event loops are: `pyspy top --json` on loops that are blocked for known times.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::Missing;
use crate::target::{Target, pyspy};

/// For so long the programs block their loops, in milliseconds.
const BLOCKED_MS: f64 = 300.0;

/// Starts a program with a loop of a library, if that is there for the interpreter.
fn start(interpreter: &Interpreter, library: &str, by: &str, missing: &Missing) -> Option<Target> {
    // gevent has two of them.
    let loop_of_gevent = if library == "gevent on libuv" { "libuv" } else { "libev-cext" };
    let hub_of_eventlet = library.strip_prefix("eventlet on ").unwrap_or("epolls");
    let packages = match library {
        "asyncio" => Vec::new(),
        // By which it calls libuv.
        "gevent on libuv" => vec![missing.newest(interpreter, "gevent")?, missing.newest(interpreter, "cffi")?],
        _ => vec![missing.newest(interpreter, library.split(' ').next().unwrap_or_default())?],
    };
    let library = library.split(' ').next().unwrap_or_default();
    let mut command = Command::new(&interpreter.path);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/loop_lag.py");
    command.arg(script).args([library, &BLOCKED_MS.to_string()]).args(by.split(' '));
    command.env("PYTHONPATH", std::env::join_paths(packages).expect("paths without a colon"));
    command.env("GEVENT_LOOP", loop_of_gevent).env("EVENTLET_HUB", hub_of_eventlet);
    Some(Target::start_command(command, &format!("loop_lag.py {library} {by} under {interpreter}")))
}

/// The loops in one window of `seconds`.
#[track_caller]
fn loops_of(target: &Target, seconds: f64) -> Vec<Value> {
    let (pid, seconds) = (target.pid().to_string(), seconds.to_string());
    let ran = pyspy(&["top", "--once", "--json", "--nonblocking", "--delay", &seconds, "--pid", &pid]);
    let window: Value = serde_json::from_str(ran.success()).unwrap_or_else(|error| panic!("{error} in {ran:#?}"));
    let loops = window["loops"].as_array().cloned().unwrap_or_default();
    assert!(loops.len() != 1 || window["loop_lag_seconds"] == loops[0]["lag_seconds"], "{window:#}");
    loops
}

/// The only loop in one window of `seconds`.
#[track_caller]
fn loop_of(target: &Target, seconds: f64) -> Value {
    let loops = loops_of(target, seconds);
    assert_eq!(loops.len(), 1, "{loops:#?}");
    loops[0].clone()
}

/// Calls `check` for the interpreters of some versions, side by side.
fn with_each(features: &[(u8, u8)], check: impl Fn(&Interpreter) + Sync) {
    std::thread::scope(|scope| {
        for interpreter in Interpreter::all().iter().filter(|interpreter| features.contains(&interpreter.feature())) {
            let check = &check;
            scope.spawn(move || check(interpreter));
        }
    });
}

/// Looks until a loop is seen to be blocked for as long as it is, by whom it is. What is seen before may be of the
/// program's start, or of a time in which we had no CPU.
#[track_caller]
fn assert_late(target: &Target, window: f64, function: &str, task: Option<&str>, about: &str) {
    let mut last = Value::Null;
    for _ in 0..20 {
        let seen = loop_of(target, window);
        let lag = seen["lag_seconds"].as_f64().unwrap() * 1e3;
        let blocker = &seen["blocked_by"];
        let called = blocker["function"].as_str().unwrap_or_default().rsplit('.').next();
        if (BLOCKED_MS * 0.8..BLOCKED_MS * 2.0).contains(&lag)
            && called == Some(function)
            && blocker["running"].as_str() == Some("block")
            && blocker["task"].as_str() == task
        {
            return;
        }
        last = seen;
    }
    panic!("{about}: {last:#}");
}

#[test]
fn a_loop_that_is_blocked_is_as_late_as_it_is_blocked() {
    let missing = Missing::default();
    // Each way in which the frames of the loop and the loop that a thread runs are kept.
    with_each(&[(3, 7), (3, 11), (3, 12), (3, 13), (3, 15)], |interpreter| {
        let callbacks = if interpreter.feature() == (3, 13) { &["task", "callback"][..] } else { &["task"] };
        for (library, by) in
            ["asyncio", "uvloop"].iter().flat_map(|library| callbacks.iter().map(move |by| (library, by)))
        {
            let Some(target) = start(interpreter, library, by, &missing) else { continue };
            let (function, name) = if *by == "task" { ("guilty", Some("the guilty one")) } else { ("callback", None) };
            let name = name.filter(|_| interpreter.feature() >= (3, 8));
            assert_late(&target, 0.8, function, name, &format!("{library} {by} under {interpreter}"));
        }
    });
}

#[test]
fn loops_of_trio_and_gevent_are_late_as_well() {
    let missing = Missing::default();
    with_each(&[(3, 8), (3, 13), (3, 15)], |interpreter| {
        for library in ["trio", "gevent", "gevent on libuv"] {
            let Some(target) = start(interpreter, library, "task", &missing) else { continue };
            // A loop of gevent is known once it was in its selector.
            let name = (library == "trio").then_some("the guilty one");
            assert_late(&target, 1.4, "guilty", name, &format!("{library} under {interpreter}"));
        }
    });
}

#[test]
fn a_hub_of_eventlet_is_late_whether_a_timer_or_a_socket_woke_what_blocks() {
    let missing = Missing::default();
    with_each(&[(3, 10), (3, 11), (3, 12), (3, 13)], |interpreter| {
        let hubs = ["eventlet", "eventlet on poll", "eventlet on selects"];
        for hub in if interpreter.feature() == (3, 13) { &hubs[..] } else { &hubs[..1] } {
            for by in ["task", "socket", "socket without"] {
                let Some(target) = start(interpreter, hub, by, &missing) else { continue };
                assert_late(&target, 1.4, "guilty", None, &format!("{hub} {by} under {interpreter}"));
            }
        }
    });
}

#[test]
fn a_hub_of_eventlet_that_is_busy_but_polls_is_not_late() {
    let missing = Missing::default();
    with_each(&[(3, 10), (3, 13)], |interpreter| {
        for by in ["sockets", "sockets without", "yields"] {
            let Some(target) = start(interpreter, "eventlet", by, &missing) else { continue };
            let is_in_time = (0..20).any(|_| {
                let loops = loops_of(&target, 0.4);
                // Where there is no timer nothing may be told.
                loops.is_empty() && by == "sockets without"
                    || loops.iter().any(|seen| seen["lag_seconds"].as_f64() < Some(0.1))
            });
            assert!(is_in_time, "{by} under {interpreter}");
        }
    });
}

#[test]
fn a_loop_that_waits_is_not_late() {
    let missing = Missing::default();
    with_each(&[(3, 7), (3, 13)], |interpreter| {
        for library in ["asyncio", "uvloop", "trio", "gevent", "gevent on libuv", "eventlet", "eventlet on selects"] {
            let Some(mut target) = start(interpreter, library, "task", &missing) else { continue };
            target.send("stop");
            // Once it has come to know that, it is idle but for a timer.
            let is_in_time = (0..20).any(|_| loop_of(&target, 0.4)["lag_seconds"].as_f64() < Some(0.1));
            assert!(is_in_time, "{library} under {interpreter}");
        }
    });
}
