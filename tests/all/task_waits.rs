//! What tasks of asyncio wait in outside of their loop: sockets, streams, processes, timers and threads, by asyncio's
//! own loop and by uvloop, against what the program knows (tests/targets/task_waits.py).

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::packages::{Missing, package, start};
use crate::target::{Target, pyspy};

/// What a time that a loop has rounded may be wrong by, in seconds; uvloop counts from the beginning of its turn.
const ROUNDING: f64 = 60.0;

/// What is wrong with the wait of a task or greenlet of which the program has told these facts.
pub(crate) fn wrong(wait: &Value, facts: &Value, seconds_now: f64) -> Option<String> {
    let text = wait["text"].as_str().unwrap_or_default();
    let descriptor = match &facts["fd"] {
        Value::Number(descriptor) => Some(format!(", fd {descriptor} (")),
        Value::Bool(true) => Some(", fd ".to_owned()),
        _ => None,
    };
    let peer = facts["peer"].as_u64().map(|port| format!("→ 127.0.0.1:{port})"));
    let pid = facts["pid"].as_u64().map(|pid| format!(", pid {pid}"));
    let parts = [descriptor, peer, pid];
    let is_right = wait["kind"] == facts["kind"]
        && text.starts_with(facts["text"].as_str().unwrap())
        && parts.iter().flatten().all(|part| text.contains(part))
        && wait["thread_id"] == facts["thread"]
        && (facts["object"].is_null() || wait["object"] == facts["object"])
        && facts["due"].as_f64().is_none_or(|due| {
            wait["seconds"].as_f64().is_some_and(|seconds| (seconds - (due - seconds_now)).abs() < ROUNDING)
        });
    (!is_right).then(|| format!("{wait} instead of {facts}"))
}

fn check(interpreter: &Interpreter, kind: &str, target: &mut Target) {
    let told: Value = serde_json::from_str(&target.line()).expect("JSON");
    let ran = pyspy(&["dump", "--json", "--tasks=flat", "--pid", &target.pid().to_string()]);
    let dump: Value = serde_json::from_str(ran.success()).unwrap();
    let tasks = dump["asyncio_tasks"].as_array().unwrap();
    let mut found = Vec::new();
    for (name, facts) in told["tasks"].as_object().unwrap() {
        let task = tasks.iter().find(|task| task["id"] == facts["id"]);
        let task = task.unwrap_or_else(|| panic!("{interpreter} {kind}: no {name} in {dump:#}"));
        found.extend(
            wrong(&task["waits"], facts, told["now"].as_f64().unwrap()).map(|wrong| format!("{name}: {wrong}")),
        );
    }
    assert!(found.is_empty(), "{interpreter} {kind}:\n{}", found.join("\n"));
}

#[test]
fn tasks_say_by_which_socket_and_for_which_thread_they_wait() {
    let missing = Missing::default();
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() >= (3, 7)) {
        let mut target = start(interpreter, "task_waits.py", &["asyncio"], &[], false);
        check(interpreter, "asyncio", &mut target);
        let _ = missing.newest(interpreter, "uvloop");
        for uvloop in package(interpreter, "uvloop") {
            let mut target = start(interpreter, "task_waits.py", &["uvloop"], &[&uvloop], false);
            check(interpreter, uvloop.file_name().unwrap().to_str().unwrap(), &mut target);
        }
    }
}
