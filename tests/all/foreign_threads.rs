//! Threads that Python did not start: what they are called, and those that have a thread state and run no Python code.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::target::{Target, print_note, pyspy, run};

/// The targets with the threads of `host.c`, one after the other.
fn for_each_target(mut check: impl FnMut(&Interpreter, &Target)) {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libhost.so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-w", "-O1", "-pthread", "-o"]).arg(&library);
    compile.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/host.c"));
    if !run(&mut compile, Duration::from_secs(60)).is_ok_and(|ran| ran.status.success()) {
        print_note("skipped: there is no cc to make a library with");
        return;
    }
    for interpreter in Interpreter::all() {
        let has_ctypes = Command::new(&interpreter.path).args(["-c", "import ctypes"]).output().unwrap();
        if !has_ctypes.status.success() {
            print_note(&format!("skipped: {interpreter} has no ctypes"));
            continue;
        }
        check(interpreter, &Target::start(interpreter, "foreign_threads.py", &[library.to_str().unwrap()]));
    }
}

#[test]
fn a_thread_without_a_python_name_has_that_of_the_kernel() {
    for_each_target(|interpreter, target| {
        let threads = dump(target.pid(), &[]);
        let foreign = threads
            .iter()
            .filter(|thread| thread["frames"].as_array().unwrap().iter().any(|frame| frame["name"] == "foreign"));
        let mut names: Vec<_> = foreign.map(|thread| thread["thread_name"].as_str()).collect();
        names.sort();
        // The other one is called as the program is, which says nothing of it.
        assert_eq!(names, [None, Some("tokio-rt-\x1b[31m")], "{interpreter}");

        let pid = target.pid().to_string();
        let text = pyspy(&["dump", "--pid", &pid]).success().to_owned();
        assert!(text.contains("\"tokio-rt-\\u{1b}[31m\""), "{interpreter}:\n{text}");
        let raw = pyspy(&["record", "-t", "-i", "-d", "1", "-f", "raw", "-o", "-", "--pid", &pid]).success().to_owned();
        assert!(raw.contains("tokio-rt-") && !raw.contains('\x1b'), "{interpreter}:\n{raw}");
    });
}

#[test]
fn a_thread_without_python_code_is_said_to_run_none() {
    for_each_target(|interpreter, target| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = pyspy(&["dump", "--pid", &target.pid().to_string()]).success().to_owned();
            let thread = |name: &str| {
                let thread = text.split("\n\n").find(|thread| thread.contains(&format!("\"{name}\"")));
                thread.unwrap_or_else(|| panic!("{interpreter}: no {name} in\n{text}")).lines().collect::<Vec<_>>()
            };
            let (waits, spins) = (thread("host-wait"), thread("host-spin"));
            assert_eq!(spins[1..], ["  runs no Python code"], "{interpreter}:\n{text}");
            // It may not have come to rest yet.
            if waits[0].contains("(idle)") && waits.len() == 3 {
                assert_eq!(waits[1..], ["  runs no Python code", "  waits in pause"], "{interpreter}:\n{text}");
                assert!(spins[0].contains("(active)"), "{interpreter}:\n{text}");
                assert!(!text.contains("runs no Python code\n    "), "{interpreter}:\n{text}");
                break;
            }
            assert!(Instant::now() < deadline, "{interpreter}: it does not come to rest:\n{text}");
        }
    });
}
