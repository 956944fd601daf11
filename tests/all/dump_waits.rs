//! What `dump` says of waiting threads: locks and their holders, rings, sockets, children, exceptions; of living
//! processes and of cores.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy, run};

/// Threads of the target's and the main one.
const THREADS: usize = 18;

fn threads_of(json: &str) -> HashMap<String, Value> {
    let threads: Vec<Value> = serde_json::from_str(json).unwrap();
    threads.into_iter().map(|thread| (thread["thread_name"].as_str().unwrap_or_default().to_owned(), thread)).collect()
}

/// The threads by name, once all of them wait for what they will wait for.
fn at_rest(target: &Target) -> HashMap<String, Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = threads_of(pyspy(&["dump", "--json", "--pid", &target.pid().to_string()]).success());
        let rests = |thread: &Value| thread["active"] == false && thread["waits_for_gil"] == false;
        let settled = found.values().filter(|thread| thread["deadlocked"] == true).count() == 2;
        if settled && found.len() == THREADS && found.values().all(rests) {
            return found;
        }
        assert!(Instant::now() < deadline, "the threads do not come to rest: {found:#?}");
    }
}

fn check_locks(threads: &HashMap<String, Value>, context: &str) {
    let waits_for = |name: &str| &threads[name]["waits_for"];
    for (waiter, operation, holder) in [
        ("ring 1", "RLock.acquire", "ring 2"),
        ("ring 2", "RLock.acquire", "ring 1"),
        ("taker", "Lock.acquire", "holder"),
        ("joiner", "Thread.join", "joined"),
    ] {
        let wait = waits_for(waiter);
        assert_eq!(wait["operation"], operation, "{context}: {waiter}");
        assert_eq!(wait["holder_name"], holder, "{context}: {waiter}");
        assert_eq!(wait["holder_os_thread_id"], threads[holder]["os_thread_id"], "{context}: {waiter}");
    }
    assert_eq!(waits_for("queue")["operation"], "Queue.get", "{context}");
    assert!(waits_for("semaphore")["operation"].as_str().unwrap().ends_with("Semaphore.acquire"), "{context}");
    // 2.7's `Event` is a function that makes an `_Event`.
    assert!(waits_for("event")["operation"].as_str().unwrap().ends_with("Event.wait"), "{context}");
    for (name, thread) in threads {
        assert_eq!(thread["deadlocked"], name.starts_with("ring"), "{context}: {name}");
    }
    assert_eq!(threads["handler"]["exception"]["type_name"], "KeyError", "{context}");
    assert_eq!(threads["handler"]["exception"]["message"], "the\nmessage", "{context}");
    assert_eq!(threads["handler"]["exception"]["handled"], true, "{context}");
    assert_eq!(threads["event"]["exception"], Value::Null, "{context}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_thread_waits_for_is_told_with_who_holds_it() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "waits.py", &[]);
        let (peer, child, server, pipe) = (target.line(), target.line(), target.line(), target.line());
        let threads = at_rest(&target);
        check_locks(&threads, &interpreter.name);

        let call = |name: &str| threads[name]["waits_in"].as_str().unwrap_or_default().to_owned();
        assert!(call("recv").starts_with(&format!("recvfrom fd {server} (tcp 127.0.0.1:")), "{}", call("recv"));
        assert!(call("recv").ends_with(&format!(" → {peer})")), "{interpreter}: {}", call("recv"));
        assert!(call("accept").starts_with("accept"), "{interpreter}: {}", call("accept"));
        assert!(call("accept").contains("(tcp listening on 127.0.0.1:"), "{interpreter}: {}", call("accept"));
        assert_eq!(call("read"), format!("read fd {pipe} (pipe)"), "{interpreter}");
        for name in ["poll", "epoll", "select"] {
            assert!(call(name).contains(name), "{interpreter}: {}", call(name));
            assert!(call(name).contains(&format!("fd {server} (tcp ")), "{interpreter}: {}", call(name));
            assert!(call(name).ends_with(&format!(" → {peer})")), "{interpreter}: {}", call(name));
        }
        assert_eq!(call("child"), format!("wait4 pid {child}"), "{interpreter}");
        let sleeping = call("joined");
        assert!(sleeping.contains("select") || sleeping.contains("nanosleep"), "{interpreter}: {sleeping}");

        let text = pyspy(&["dump", "--pid", &target.pid().to_string()]).success().to_owned();
        let deadlock = text.find("Deadlock: 2 threads wait for each other").expect("the ring is there");
        assert!(deadlock < text.find("\nThread ").unwrap(), "{interpreter}: the ring comes first:\n{text}");
        assert!(text.contains("handles KeyError: the\\nmessage"), "{interpreter}:\n{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_core_shows_the_same_waits() {
    use std::process::Command;
    for interpreter in Interpreter::all().iter().filter(|interpreter| interpreter.feature() < (3, 13)) {
        // A debugger that cannot read the C stacks of a newer C library leaves them out, and with them the entries of
        // the parking lot.
        let target = Target::start(interpreter, "waits.py", &[]);
        at_rest(&target);
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("gcore");
        command.arg("-o").arg(folder.path().join("core")).arg(target.pid().to_string());
        if !run(&mut command, Duration::from_secs(120)).is_ok_and(|ran| ran.status.success()) {
            std::io::Write::write_all(&mut std::io::stderr(), b"skipped: gcore does not work here\n").unwrap();
            return;
        }
        let core = folder.path().join(format!("core.{}", target.pid()));
        let ran = pyspy(&["dump", "--json", "--core", core.to_str().unwrap()]);
        let threads = threads_of(ran.success());
        check_locks(&threads, &format!("core of {interpreter}"));
        let call = threads["recv"]["waits_in"].as_str().unwrap_or_default();
        assert!(call.starts_with("recvfrom fd "), "{interpreter}: {call}");
    }
}
