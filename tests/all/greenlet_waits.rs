//! What greenlets of gevent and eventlet wait in, against what the programs know.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::{Missing, package, start};
use crate::target::{Target, pyspy};
use crate::task_waits::wrong;

fn dump_greenlets(target: &Target) -> Value {
    let ran = pyspy(&["dump", "--json", "--tasks=flat", "--pid", &target.pid().to_string()]);
    serde_json::from_str(ran.success()).unwrap_or_else(|error| panic!("{error} in {ran:#?}"))
}

/// Each version of a package with each interpreter that it is there for.
fn with_each(name: &str, missing: &Missing) -> Vec<(&'static Interpreter, PathBuf)> {
    // Without the GIL some programs with greenlets crash of their own accord (greenlet 3.1.1, 3.13t).
    let with_greenlets =
        Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 7) && !interpreter.free_threaded);
    let versions = |interpreter: &'static Interpreter| {
        let _ = missing.newest(interpreter, name);
        package(interpreter, name).into_iter().map(move |version| (interpreter, version))
    };
    with_greenlets.flat_map(versions).collect()
}

/// The time that loops go by, in seconds.
fn monotonic_time() -> f64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    std::time::Duration::from(time).as_secs_f64()
}

/// What is wrong with the end of a sleep, or with the descriptors, of which the program has told these facts. The dump
/// was made between two times.
fn wrong_in_detail(wait: &Value, facts: &Value, between: [f64; 2]) -> Option<String> {
    /// libuv counts whole milliseconds, from a clock that is some behind.
    const ROUNDING: f64 = 0.1;
    let text = wait["text"].as_str().unwrap();
    let due = facts["due"].as_array().map(|due| [0, 1].map(|index: usize| due[index].as_f64().unwrap()));
    let is_in_time = due.is_none_or(|[earliest, latest]| {
        let possible = earliest - between[1] - ROUNDING..=latest - between[0] + ROUNDING;
        wait["seconds"].as_f64().is_some_and(|seconds| possible.contains(&seconds))
    });
    let also = facts["also"].as_array().into_iter().flatten().map(|descriptor| format!(", fd {descriptor}"));
    let all = facts["count"].as_u64().map(|count| format!(", … {count} in all"));
    let is_right = is_in_time && also.chain(all).all(|part| text.contains(&part));
    (!is_right).then(|| format!("{wait} instead of {facts}, between {between:?}"))
}

/// Starts the program with a library, and compares what its greenlets wait in with what it knows.
fn check_waits(interpreter: &Interpreter, library: &str, packages: &[&Path], event_loop: &str) {
    let mut command = Command::new(&interpreter.path);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/greenlet_waits.py")).arg(library);
    command.env("PYTHONPATH", std::env::join_paths(packages).expect("paths without a colon"));
    command.env("GEVENT_LOOP", event_loop);
    let version = packages[0].file_name().unwrap().to_str().unwrap();
    let what = format!("greenlet_waits.py under {interpreter}, {version}, {event_loop}");
    let mut target = Target::start_command(command, &what);
    let told: Value = serde_json::from_str(&target.line()).unwrap();
    let before = monotonic_time();
    let dump = dump_greenlets(&target);
    let between = [before, monotonic_time()];
    let greenlets = dump["greenlets"].as_array().unwrap();
    let mut found = Vec::new();
    for (function, facts) in told.as_object().unwrap() {
        let is_its = |greenlet: &&Value| {
            let frames = greenlet["frames"].as_array().unwrap();
            frames.iter().any(|frame| frame["name"] == function.as_str())
        };
        let greenlet = greenlets.iter().find(is_its);
        let wait = &greenlet.unwrap_or_else(|| panic!("{what}: no {function} in {dump:#}"))["waits"];
        let wrong = wrong(wait, facts, 0.0).or_else(|| wrong_in_detail(wait, facts, between));
        found.extend(wrong.map(|wrong| format!("{function}: {wrong}")));
    }
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn greenlets_say_what_they_wait_in_where_frames_tell() {
    let missing = Missing::default();
    for (interpreter, version) in with_each("eventlet", &missing) {
        check_waits(interpreter, "eventlet", &[&version], "");
    }
    for (interpreter, version) in with_each("gevent", &missing) {
        check_waits(interpreter, "gevent", &[&version], "libev-cext");
        // By which it calls the other two.
        let Some(cffi) = missing.newest(interpreter, "cffi") else { continue };
        for event_loop in ["libev-cffi", "libuv-cffi"] {
            check_waits(interpreter, "gevent", &[&version, &cffi], event_loop);
        }
    }
}

#[test]
fn greenlets_say_which_compiled_object_of_gevent_they_wait_for() {
    const KINDS: [(&str, &str, &str); 8] = [
        ("acquires", "semaphore", "waits in Semaphore ("),
        ("enters", "semaphore", "waits in BoundedSemaphore ("),
        ("waits", "event", "waits in Event.wait ("),
        ("gets_result", "future", "waits in AsyncResult.get or wait ("),
        ("gets", "queue", "waits in Queue.get ("),
        ("puts", "queue", "waits in Queue.put ("),
        ("locks", "lock", "waits in "),
        ("joins", "task", "waits in Greenlet.join or get ("),
    ];
    let missing = Missing::default();
    for (interpreter, gevent) in with_each("gevent", &missing) {
        let mut target = start(interpreter, "gevent_waits.py", &[], &[&gevent], false);
        let said: Value = serde_json::from_str(&target.line()).unwrap();
        let dump = dump_greenlets(&target);
        for (function, kind, text) in KINDS {
            let of_function = dump["greenlets"].as_array().unwrap().iter().filter(|greenlet| {
                let frames = greenlet["frames"].as_array().unwrap();
                frames.iter().any(|frame| frame["name"] == function)
            });
            let waits: Vec<&Value> = of_function.map(|greenlet| &greenlet["waits"]).collect();
            assert_eq!(waits.len(), 3, "{interpreter} {function}: {dump:#}");
            for wait in waits {
                assert_eq!(wait["kind"], kind, "{interpreter} {function}: {wait:#}");
                assert!(
                    said[function].as_array().unwrap().contains(&wait["object"]),
                    "{interpreter} {function}: {wait:#}"
                );
                let found = wait["text"].as_str().unwrap();
                assert!(
                    found.starts_with(text) && found.ends_with("as 2 others do"),
                    "{interpreter} {function}: {found}"
                );
            }
        }
    }
}
