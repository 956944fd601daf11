//! What is held and how long things take is bounded by us, whatever the target does.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::dump::dump;
use crate::interpreters::Interpreter;
use crate::running::{Running, any, python_with, script, status_kb};
use crate::target::{Ran, Target, alone_on_this_machine, pyspy, run};

fn of_versions(features: &[(u8, u8)]) -> impl Iterator<Item = &'static Interpreter> {
    Interpreter::all().iter().filter(|found| features.contains(&found.feature()) && !found.free_threaded)
}

/// Waits for the end, which must be a success; with the most memory that it has had, kB, as far as that was seen.
#[track_caller]
fn ended_with_peak(mut running: Running) -> (Ran, u64) {
    let mut peak = 0;
    while !running.has_ended() {
        peak = status_kb(running.pid(), "VmHWM").unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran = running.ended();
    ran.success();
    (ran, peak)
}

#[test]
fn the_holder_of_a_lock_is_found_for_thousands_at_once() {
    let _alone = alone_on_this_machine();
    for interpreter in of_versions(&[(3, 12), (3, 14)]) {
        let target = Target::start(interpreter, "lock_queue.py", &["1000"]);
        let started = Instant::now();
        let threads = dump(target.pid(), &[]);
        // Each that waits compared with each would take minutes.
        assert!(started.elapsed() < Duration::from_secs(40), "{interpreter}: {:?}", started.elapsed());
        assert_eq!(threads.len(), 1001, "{interpreter}");
        let main = threads.iter().find(|thread| thread["thread_name"] == "MainThread").unwrap();
        let waits = |thread: &&Value| thread["waits_for"]["holder_thread_id"] == main["thread_id"];
        assert_eq!(threads.iter().filter(waits).count(), 1000, "{interpreter}");
    }
}

#[test]
fn code_that_is_made_without_end_is_forgotten() {
    for (kind, sampler) in [("tables", "reader"), ("tables", "auto"), ("names", "auto")] {
        let target = Target::start(any(), "makes_code.py", &[kind]);
        let sampler = format!("--sampler={sampler}");
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("a.txt");
        let pid = target.pid().to_string();
        let args =
            ["record", &sampler, "-r", "250", "-d", "5", "-f", "raw", "-o", output.to_str().unwrap(), "-p", &pid];
        let (ran, peak) = ended_with_peak(Running::start(&args));
        assert!((1..150_000).contains(&peak), "{kind}: {peak} kB; {ran:#?}");
        assert!(fs::metadata(&output).unwrap().len() > 0, "{kind}: {ran:#?}");
    }
}

#[test]
fn a_dump_of_very_many_tasks_takes_bounded_memory() {
    let dump = |target: &Target, args: &[&str]| {
        let pid = target.pid().to_string();
        let (ran, peak) = ended_with_peak(Running::start(&[&["dump", "--all-tasks", "--pid", &pid], args].concat()));
        assert!((1..130_000).contains(&peak), "{args:?}: {peak} kB");
        ran.stdout
    };
    for interpreter in of_versions(&[(3, 12), (3, 14)]) {
        let target = Target::start(interpreter, "many_tasks.py", &["tasks", "20000", "8"]);
        assert!(dump(&target, &[]).contains("there are more tasks than are read"), "{interpreter}");
        let shown = dump(&target, &["--json"]).matches("\"coroutine\": ").count();
        assert!((5_000..15_000).contains(&shown), "{interpreter}: {shown}");
    }
    let Some((python, packages)) = python_with("greenlet") else { return };
    let mut command = Command::new(&python.path);
    command.env("PYTHONPATH", packages).arg(script("many_tasks.py")).args(["greenlets", "20000", "8"]);
    let target = Target::start_command(command, "many_tasks.py");
    let json = dump(&target, &["--json"]);
    assert!(json.matches("\"coroutine\": ").count() >= 20_000);
    let frames = json.matches("\"short_filename\": ").count();
    assert!((90_000..110_000).contains(&frames), "{frames}");
}

#[test]
fn a_profile_that_is_joined_is_whole_and_says_who_held_the_gil() {
    // Read, as code that dies before it is looked at is lost where the kernel samples.
    let target = Target::start(any(), "makes_code.py", &["stacks"]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.txt");
    let pid = target.pid().to_string();
    let args = ["record", "--sampler=reader", "-r", "500", "-f", "raw", "-o", output.to_str().unwrap(), "-p", &pid];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    let mut running = Running::start_command(command.args(args).env("RUST_LOG", "pyspy=debug"));
    // Each sample has some 80 kB of names that no other has.
    let deadline = Instant::now() + Duration::from_secs(300);
    while !running.stderr().contains(" bytes condensed to ") {
        assert!(!running.has_ended() && Instant::now() < deadline, "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    ran.success();
    assert!(ran.stderr.contains("joined to `<rarely seen>`"), "{ran:#?}");
    let raw = fs::read_to_string(&output).unwrap();
    assert!(raw.contains("<rarely seen>") && raw.contains("computes ("), "{} bytes", raw.len());
    // The one function that was there all the time, under its own name.
    assert!(ran.stderr.contains("longest holder computes (makes_code.py:"), "{ran:#?}");
}

#[test]
fn a_limit_on_memory_ends_a_recording_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.txt");
    // What it needs for a target that makes nothing new.
    let quiet = Target::start(any(), "fib.py", &[]);
    for sampler in ["--sampler=reader", "--sampler=auto"] {
        let mut running = Running::start(&["record", sampler, "-o", "/dev/null", "-p", &quiet.pid().to_string()]);
        crate::running::wait_for_handlers(&mut running);
        std::thread::sleep(Duration::from_millis(500));
        let usual = status_kb(running.pid(), "VmPeak").unwrap();
        drop(running);
        // With each sample comes a table of more than a megabyte.
        let target = Target::start(any(), "makes_code.py", &["tables"]);
        let script = format!("ulimit -v {}; exec \"$@\"", usual + (10 << 10));
        let mut command = Command::new("sh");
        let record = ["record", sampler, "-d", "60", "-f", "raw", "-o"];
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_pyspy")]).args(record);
        let ran = run(command.arg(&output).arg("-p").arg(target.pid().to_string()), Duration::from_secs(100)).unwrap();
        ran.success();
        assert!(ran.stderr.contains("no more memory"), "{ran:#?}");
        // Code that is gone when it is looked at is lost where the kernel samples: there may be nothing else.
        let raw = fs::read_to_string(&output).unwrap();
        assert!(raw.contains("template") || !ran.stderr.contains(" 0 lost"), "{ran:#?}");
    }
}

#[test]
fn a_dump_of_a_process_that_dies_says_that_it_has_exited() {
    for round in 0..24 {
        let target = Target::start(any(), "many.py", &["40"]);
        let pid = target.pid().to_string();
        let running = Running::start(&["dump", "--pid", &pid]);
        std::thread::sleep(Duration::from_millis(round * 3));
        drop(target);
        let ran = running.ended();
        // Before it was opened, or after it was read.
        let status = ran.status.code();
        assert!([Some(0), Some(3), Some(8)].contains(&status), "{round}: {ran:#?}");
    }
}

#[test]
fn two_at_once_get_along_or_say_why_not() {
    let target = Target::start(any(), "fib.py", &[]);
    let pid = target.pid().to_string();
    let mut running = Running::start(&["record", "--blocking", "-r", "1000", "-o", "/dev/null", "-p", &pid]);
    crate::running::wait_for_handlers(&mut running);
    for _ in 0..10 {
        let ran = pyspy(&["dump", "--pid", &pid]);
        assert!(ran.success().contains("fib ("), "{ran:#?}");
        assert!(ran.stderr.is_empty() || ran.stderr.contains("is traced"), "{ran:#?}");
    }
    running.signal(Signal::SIGINT);
    running.ended().success();
}
