//! Threads that run no Python: with a thread state, and without one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::native::{has_ctypes, library};
use crate::recording::{Recording, until_fed};
use crate::running::cpu_time;
use crate::target::{Ran, Target, alone_on_this_machine, pyspy};

fn names(thread: &Value) -> Vec<&str> {
    thread["frames"].as_array().unwrap().iter().map(|frame| frame["name"].as_str().unwrap()).collect()
}

/// A recording of two seconds in which pyspy had a CPU, and the target for half a second, with what was written.
fn record(folder: &Path, target: &Target, args: &[&str]) -> (Ran, String) {
    let output = folder.join("raw");
    let (pid, output) = (target.pid().to_string(), output.to_str().unwrap());
    let mut all = vec!["record", "-t", "-d", "2", "-f", "raw", "-o", output, "--pid", &pid];
    all.extend(args);
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let before = cpu_time(target.pid());
        let ran = until_fed(100.0, |ran: &Ran| Recording::summary_of(&ran.stderr), || pyspy(&all));
        ran.success();
        if cpu_time(target.pid()) - before >= 0.5 || Instant::now() > deadline {
            return (ran, std::fs::read_to_string(output).unwrap());
        }
    }
}

#[test]
fn a_thread_state_without_python_frames_shows_its_native_ones() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "threads.c", &["-O1", "-pthread"]) else { return };
    for interpreter in Interpreter::all().iter().filter(|interpreter| has_ctypes(interpreter)) {
        let args = ["threads", library.to_str().unwrap(), "attached"];
        let target = Target::start(interpreter, "native_names.py", &args);
        // It may not have its thread state yet, or have it only since the look at what runs.
        let deadline = Instant::now() + Duration::from_secs(60);
        let thread = loop {
            assert!(Instant::now() < deadline, "{interpreter}");
            let threads = dump(target.pid(), &["--native"]);
            let is_it = |thread: &Value| names(thread).contains(&"spin_attached") && thread["active"] == true;
            if let Some(thread) = threads.into_iter().find(is_it) {
                break thread;
            }
        };
        // What started the thread is left out.
        assert_eq!(names(&thread), ["spin_attached", "attached"], "{interpreter}");
        assert_eq!(thread["native"], false, "{interpreter}");
    }
}

#[test]
fn such_a_thread_is_recorded() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "threads.c", &["-O1", "-pthread"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = Target::start(interpreter, "native_names.py", &["threads", library.to_str().unwrap(), "attached"]);
    let (_, raw) = record(folder.path(), &target, &["-n"]);
    assert!(raw.contains(";attached (libnest.so);spin_attached (libnest.so) "), "{raw}");
    // Without native frames there is nothing to show, but not because nothing ran.
    let (ran, raw) = record(folder.path(), &target, &[]);
    assert_eq!(raw, "");
    assert!(ran.stderr.contains("most CPU time (") && ran.stderr.contains(": --native shows"), "{ran:#?}");
    assert!(!ran.stderr.contains("every thread was idle"), "{ran:#?}");
}

#[test]
fn threads_that_python_does_not_know_are_shown_when_asked_for() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path(), "threads.c", &["-O1", "-pthread"]) else { return };
    let interpreter = Interpreter::all().iter().rfind(|interpreter| has_ctypes(interpreter)).unwrap();
    let target = Target::start(interpreter, "native_names.py", &["threads", library.to_str().unwrap(), "alone"]);
    assert_eq!(dump(target.pid(), &["--native"]).len(), 1);
    let is_asleep = |thread: &Value| names(thread).contains(&"sleep_alone") && thread["waits_in"] == "pause";
    let deadline = Instant::now() + Duration::from_secs(60);
    let threads = loop {
        let threads = dump(target.pid(), &["--native", "--native-threads"]);
        if threads.len() == 3 && threads.iter().any(is_asleep) {
            break threads;
        }
        assert!(Instant::now() < deadline, "{threads:#?}");
    };
    let named = |name: &str| threads.iter().find(|thread| thread["thread_name"] == name).unwrap();
    let (busy, idle) = (named("busy-worker"), named("idle-worker"));
    assert_eq!((names(busy), &busy["active"]), (vec!["spin_alone", "busy"], &true.into()));
    assert_eq!(
        (&names(idle)[names(idle).len() - 2..], &idle["waits_in"]),
        (&["sleep_alone", "asleep"][..], &"pause".into())
    );
    assert_eq!((&busy["native"], &busy["thread_id"], &threads[0]["native"]), (&true.into(), &0.into(), &false.into()));

    let (ran, raw) = record(folder.path(), &target, &["-n", "--native-threads"]);
    assert!(raw.contains(": busy-worker;busy (libnest.so);spin_alone (libnest.so) "), "{raw}");
    assert!(!raw.contains("idle-worker") && !ran.stderr.contains("most CPU time"), "{raw} {ran:#?}");
    let (_, raw) = record(folder.path(), &target, &["-n", "--native-threads", "--idle", "--thread", "idle-*"]);
    assert!(raw.contains(": idle-worker;asleep (libnest.so);sleep_alone (libnest.so)"), "{raw}");
    assert!(!raw.contains("busy-worker"), "{raw}");
    let (ran, raw) = record(folder.path(), &target, &["-n"]);
    assert!(raw.is_empty() && ran.stderr.contains("--native-threads shows them"), "{raw} {ran:#?}");
    let pid = target.pid().to_string();
    let once = pyspy(&["top", "--once", "-n", "--native-threads", "--pid", &pid]);
    assert!(once.success().contains("spin_alone (libnest.so)"), "{once:#?}");
}

#[test]
fn native_threads_go_with_native_frames() {
    for command in ["record", "top", "dump"] {
        let ran = pyspy(&[command, "--native-threads", "--pid", "1"]);
        assert_eq!(ran.status.code(), Some(2), "{ran:#?}");
        assert!(ran.stderr.contains("--native"), "{ran:#?}");
    }
}
