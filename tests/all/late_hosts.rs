//! Trees with processes that are no Python: they cost next to nothing, and are found when they become Python's at last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::running::{Running, any, script};
use crate::target::{Target, print_note, run};

/// The shared library of an interpreter, if it has one.
fn library_of(interpreter: &Interpreter) -> Option<PathBuf> {
    let program = "import os, sysconfig\n\
                   print(os.path.join(sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('INSTSONAME')))";
    let ran = run(Command::new(&interpreter.path).args(["-c", program]), Duration::from_secs(60)).unwrap();
    let path = PathBuf::from(ran.stdout.trim());
    (path.to_string_lossy().contains(".so") && path.exists()).then_some(path)
}

/// The program of `tests/native/late_host.c`; `None`, which is said, without a compiler.
fn late_host(folder: &Path) -> Option<PathBuf> {
    let output = folder.join("late_host");
    let mut command = Command::new("cc");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native/late_host.c"));
    command.args(["-w", "-ldl", "-o"]).arg(&output);
    match run(&mut command, Duration::from_secs(60)) {
        Ok(ran) => assert!(ran.status.success(), "{ran:#?}"),
        Err(error) => {
            print_note(&format!("skipped: no host of Python can be made, for cc {error}"));
            return None;
        }
    }
    Some(output)
}

/// As PL/Python and `mod_wsgi` do: the interpreter comes long after the program.
#[test]
fn a_host_that_loads_python_late_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(host) = late_host(folder.path()) else { return };
    let (begin, output) = (folder.path().join("begin"), folder.path().join("a.txt"));
    // Those that have no library of their own, as most built from source, say nothing here.
    for interpreter in Interpreter::all() {
        let Some(library) = library_of(interpreter) else { continue };
        let (_, _) = (fs::remove_file(&begin), fs::remove_file(&output));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        // So that it finds its standard library.
        let home = interpreter.path.parent().and_then(Path::parent).unwrap();
        command.env("PYTHONHOME", home).args(["record", "-s", "-f", "raw", "--every", "100ms", "-o"]).arg(&output);
        command.arg("--").arg(&host).arg(&begin).arg(&library).arg("def spin():\n    while True: pass\nspin()\n");
        let mut running = Running::start_command(&mut command);
        let started = Instant::now();
        running.wait_until("the time when looks are rare", || started.elapsed() > Duration::from_secs(4));
        fs::write(&begin, "").unwrap();
        let begun = Instant::now();
        running.wait_until("samples of the host", || {
            fs::read_to_string(&output).is_ok_and(|text| text.contains("spin ("))
        });
        print_note(&format!("{interpreter}: a library loaded late is seen after {:?}", begun.elapsed()));
        running.signal(Signal::SIGINT);
        running.ended().success();
    }
}

/// Fifty processes of no Python beside one of Python's.
#[test]
fn processes_that_are_no_python_are_asked_cheaply() {
    const OTHERS: usize = 50;
    let calls = tempfile::NamedTempFile::new().unwrap();
    let line = format!(
        "n=0; while [ $n -lt {OTHERS} ]; do sleep 600 & n=$((n + 1)); done; '{}' '{}' exec 1 600 & echo ready; wait",
        any().path.display(),
        script("tree.py").display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]);
    let tree = Target::start_command(shell, "a shell");
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=process_vm_readv", "-o"]).arg(calls.path()).arg(env!("CARGO_BIN_EXE_pyspy"));
    command.args(["record", "-s", "-d", "4", "-f", "raw", "-o", "/dev/null", "-p", &tree.pid().to_string()]);
    let ran = match run(&mut command, Duration::from_secs(100)) {
        Ok(ran) => ran,
        Err(error) => return print_note(&format!("skipped: reads are not counted, for strace {error}")),
    };
    ran.success();
    let reads = fs::read_to_string(calls.path()).unwrap().matches("process_vm_readv(").count();
    let summary = Recording::summary_of(&ran.stderr);
    print_note(&format!("{reads} reads for {} samples beside {OTHERS} processes", summary.samples));
    // What one process costs is tested elsewhere; at first it is read twice for a sample and more.
    let of_python = 8.0 * summary.rate_held * summary.seconds + 500.0;
    assert!((reads as f64) < of_python + 10.0 * OTHERS as f64, "{reads} reads: {ran:#?}");
}
