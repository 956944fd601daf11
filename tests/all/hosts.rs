//! Servers that have Python loaded and run none of it themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::target::{Ran, Target, print_note, pyspy, run};

/// `/usr` of `/usr/bin/python3`.
fn prefix(interpreter: &Interpreter) -> &Path {
    interpreter.path.ancestors().nth(2).expect("an interpreter is in PREFIX/bin")
}

/// The library that holds an interpreter for the server to load, where there is one and it can.
fn library(server: &Path, interpreter: &Interpreter) -> Option<PathBuf> {
    let (major, minor) = interpreter.feature();
    let names = ["", "m", "t"].map(|abi| format!("libpython{major}.{minor}{abi}.so.1.0"));
    let folder = prefix(interpreter).join("lib");
    let loads = |path: &PathBuf| {
        let ran = run(Command::new(server).arg(path).arg("probe"), Duration::from_secs(60));
        ran.is_ok_and(|ran| ran.status.success())
    };
    let is_it = |path: &PathBuf| path.ends_with(&names[2]) == interpreter.free_threaded && path.exists() && loads(path);
    let folders = [folder.join("x86_64-linux-gnu"), folder.join("aarch64-linux-gnu"), folder];
    folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).find(is_it)
}

/// `server.c`, made once; `None`, which is said, without a compiler.
fn server(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("application server");
    let mut compile = Command::new("cc");
    compile.arg("-w").arg("-o").arg(&program);
    compile.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/server.c")).arg("-ldl");
    let made = run(&mut compile, Duration::from_secs(60)).is_ok_and(|ran| ran.status.success());
    if !made {
        print_note("skipped: there is no cc to make a server with");
    }
    made.then_some(program)
}

fn start_server(server: &Path, interpreter: &Interpreter, library: &Path, options: &[&str]) -> Target {
    let mut command = Command::new(server);
    command.arg(library).args(options).env("PYTHONHOME", prefix(interpreter));
    Target::start_command(command, &format!("a server with {interpreter}"))
}

fn children(pid: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_server_whose_workers_run_python_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = server(folder.path()) else { return };
    let mut tested = 0;
    for interpreter in Interpreter::all() {
        let Some(library) = library(&server, interpreter) else { continue };
        let target = start_server(&server, interpreter, &library, &["workers"]);
        let (pid, workers) = (target.pid().to_string(), children(target.pid()));
        assert_eq!(workers.len(), 2);
        for command in [vec!["dump"], vec!["record", "-d", "1", "-f", "raw", "-o", "-"], vec!["top", "--once"]] {
            let ran = pyspy(&[command.as_slice(), &["--pid", &pid]].concat());
            assert_eq!(ran.status.code(), Some(5), "{interpreter}: {ran:#?}");
            let message = "has Python loaded, but no interpreter is initialised in it";
            assert!(ran.failure().contains(message), "{interpreter}: {ran:#?}");
            assert!(ran.stderr.contains(&workers.join(", ")), "{interpreter}: {ran:#?}");
            assert!(ran.stderr.contains("--subprocesses") && !ran.stderr.contains("try again"), "{ran:#?}");
        }
        // What it says to do does it.
        let dumped = pyspy(&["dump", "--subprocesses", "--pid", &pid]).success().to_owned();
        assert_eq!(dumped.matches("    serve (<string>:4)").count(), 2, "{interpreter}:\n{dumped}");
        let recorded = pyspy(&["record", "-s", "-i", "-d", "1", "-f", "raw", "-o", "-", "--pid", &pid]);
        assert!(recorded.success().contains("serve (<string>:4)"), "{interpreter}: {recorded:#?}");
        tested += 1;
    }
    print_note(&format!("servers with {tested} of {} interpreters", Interpreter::all().len()));
}

#[test]
fn a_server_whose_interpreter_has_nothing_to_run_names_its_workers_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = server(folder.path()) else { return };
    for interpreter in Interpreter::all() {
        let Some(library) = library(&server, interpreter) else { continue };
        let target = start_server(&server, interpreter, &library, &["master"]);
        let ran = pyspy(&["dump", "--pid", &target.pid().to_string()]);
        assert!(ran.success().contains(": \"MainThread\"\n  runs no Python code\n"), "{interpreter}: {ran:#?}");
        assert!(ran.stderr.contains(&children(target.pid()).join(", ")), "{interpreter}: {ran:#?}");
    }
}

#[test]
fn a_server_without_workers_is_not_taken_for_a_program_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = server(folder.path()) else { return };
    let Some((interpreter, library)) =
        Interpreter::all().iter().rev().find_map(|one| Some((one, library(&server, one)?)))
    else {
        print_note("skipped: no interpreter comes as a library");
        return;
    };
    let target = start_server(&server, interpreter, &library, &[]);
    let pid = target.pid().to_string();
    let ask = || -> Ran { pyspy(&["dump", "--pid", &pid]) };
    let started = Instant::now();
    let ran = ask();
    // As far as can be told it may be starting.
    let is_young = started.elapsed() < Duration::from_secs(5);
    assert!(!is_young || ran.failure().contains("try again when the program has started"), "{ran:#?}");
    loop {
        let ran = ask();
        assert_eq!(ran.status.code(), Some(5), "{ran:#?}");
        if ran.failure().contains("in worker processes") {
            assert!(!ran.stderr.contains("try again"), "{ran:#?}");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{ran:#?}");
    }
}
