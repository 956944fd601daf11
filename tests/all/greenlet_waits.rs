//! What greenlets of gevent and eventlet wait in, against what the programs know.

use std::path::PathBuf;

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

#[test]
fn greenlets_say_what_they_wait_in_where_frames_tell() {
    let missing = Missing::default();
    for library in ["gevent", "eventlet"] {
        for (interpreter, version) in with_each(library, &missing) {
            let mut target = start(interpreter, "greenlet_waits.py", &[library], &[&version], false);
            let told: Value = serde_json::from_str(&target.line()).unwrap();
            let dump = dump_greenlets(&target);
            let greenlets = dump["greenlets"].as_array().unwrap();
            let what = format!("{interpreter} {}", version.file_name().unwrap().to_str().unwrap());
            let mut found = Vec::new();
            for (function, facts) in told.as_object().unwrap() {
                let is_its = |greenlet: &&Value| {
                    let frames = greenlet["frames"].as_array().unwrap();
                    frames.iter().any(|frame| frame["name"] == function.as_str())
                };
                let greenlet = greenlets.iter().find(is_its);
                let greenlet = greenlet.unwrap_or_else(|| panic!("{what}: no {function} in {dump:#}"));
                found.extend(wrong(&greenlet["waits"], facts, 0.0).map(|wrong| format!("{function}: {wrong}")));
            }
            assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
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
