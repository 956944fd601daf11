//! `pyspy record` from start to end: how it ends, what it leaves, what it shows.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::dump::{dump, frames, wait_until_waiting};
use crate::interpreters::Interpreter;
use crate::recording::{Recording, stacks};
use crate::target::{Target, print_note, pyspy, run};

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// A field of `/proc/PID/status`.
fn status_field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().to_owned()
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

/// A recording of `pid` without an end, which has taken some samples.
fn recorder(pid: u32, output: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    command.args(["record", "-f", "raw", "-o"]).arg(output).args(["--pid", &pid.to_string()]);
    let recorder = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It sleeps once before each sample.
    let sleeps = || status_field(recorder.id(), "voluntary_ctxt_switches").parse::<u64>().unwrap();
    wait_until(|| sleeps() > 100);
    recorder
}

fn newest() -> &'static Interpreter {
    Interpreter::all().iter().rfind(|interpreter| !interpreter.free_threaded).unwrap()
}

#[test]
fn signals_end_a_recording_and_the_file_is_written() {
    for sent in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("profile.txt");
        let target = Target::start(newest(), "busy.py", &["20"]);
        let recorder = recorder(target.pid(), &output);
        assert!(!output.exists(), "it is written at the end");
        signal(recorder.id(), sent);
        let ended = recorder.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{sent}: {ended:?}");
        assert!(stacks(&fs::read_to_string(&output).unwrap()).iter().any(|(stack, _)| stack.len() == 20));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        assert!(Path::new(&format!("/proc/{}", target.pid())).exists(), "the target goes on");
    }
}

#[test]
fn the_end_of_the_target_ends_a_recording() {
    let output = tempfile::NamedTempFile::new().unwrap();
    let target = Target::start(newest(), "busy.py", &["20"]);
    let recorder = recorder(target.pid(), output.path());
    drop(target);
    let ended = recorder.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("exited"), "{ended:?}");
    assert!(!stacks(&fs::read_to_string(output.path()).unwrap()).is_empty());
}

#[test]
fn a_program_keeps_its_standard_streams_and_its_status_can_be_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("app.py");
    let text = "import sys, time\nline = sys.stdin.readline()\nend = time.time() + 0.3\nwhile time.time() < end: pass\n\
                sys.stdout.write('out ' + line)\nsys.stderr.write('err ' + line)\nsys.exit(7)\n";
    fs::write(&script, text).unwrap();
    for (option, expected) in [(None, 0), (Some("--exit-status"), 7)] {
        let output = folder.path().join("profile.txt");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
        command
            .args(["record", "-f", "raw", "-o"])
            .arg(&output)
            .args(option)
            .arg("--")
            .arg(&newest().path)
            .arg(&script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut recorder = command.spawn().unwrap();
        recorder.stdin.take().unwrap().write_all(b"hello\n").unwrap();
        let ended = recorder.wait_with_output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.status.code(), Some(expected), "{stderr}");
        assert_eq!(stdout, "out hello\n");
        assert!(stderr.contains("err hello\n") && stderr.contains("the program ended, status 7"), "{stderr}");
        assert!(!stacks(&fs::read_to_string(&output).unwrap()).is_empty(), "{stderr}");
    }
}

#[test]
fn a_started_program_ends_with_the_duration_unless_it_is_kept() {
    for keep in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let line =
            format!("echo $$ > '{}'; exec '{}' '{}' 20", pid_file.display(), newest().path.display(), busy().display());
        let mut args = vec!["record", "-d", "0.5", "-f", "raw", "-o", "/dev/null"];
        args.extend(keep.then_some("--keep"));
        // What it prints goes elsewhere: a program that is kept keeps what it was given, too.
        let line = format!("{line} > /dev/null 2>&1");
        args.extend(["--", "sh", "-c", &line]);
        pyspy(&args).success();
        let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let runs = Path::new(&format!("/proc/{pid}")).exists();
        if runs {
            signal(pid, Signal::SIGKILL);
        }
        assert_eq!(runs, keep);
    }
}

fn busy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/busy.py")
}

#[test]
fn a_stopped_target_is_read_as_it_stands() {
    for interpreter in Interpreter::all() {
        let target = Target::start(interpreter, "busy.py", &["20"]);
        signal(target.pid(), Signal::SIGSTOP);
        wait_until(|| status_field(target.pid(), "State").starts_with('T'));
        let pid = target.pid().to_string();
        for mode in [&["dump", "--pid", &pid][..], &["dump", "--blocking", "--pid", &pid]] {
            let ran = pyspy(mode);
            assert!(ran.success().contains("compute"), "{interpreter}: {ran:#?}");
            assert!(ran.stderr.contains("SIGSTOP"), "{interpreter}: {ran:#?}");
        }
        let recording = Recording::of(target.pid(), &["-d", "0.3", "--idle", "--blocking"]);
        assert!(recording.stderr.contains("SIGSTOP"), "{interpreter}: {recording:#?}");
        assert!(recording.count(|names| names.len() == 20) > 10, "{interpreter}: {recording:#?}");
        assert_eq!(recording.summary.stopped, 0, "{interpreter}: {recording:#?}");
        assert!(status_field(target.pid(), "State").starts_with('T'), "{interpreter}: it is still stopped");
        signal(target.pid(), Signal::SIGCONT);
        wait_until(|| status_field(target.pid(), "State").starts_with('R'));
    }
}

#[test]
fn a_target_that_another_traces_is_read_without_a_stop() {
    let interpreter = newest();
    let target = Target::start(interpreter, "busy.py", &["20"]);
    let pid = target.pid().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-p", &pid]).stderr(Stdio::null());
    let Ok(mut strace) = strace.spawn() else {
        print_note("skipped: there is no strace here to trace a target with");
        return;
    };
    wait_until(|| status_field(target.pid(), "TracerPid") != "0" || strace_has_ended(strace.id()));
    let tracer = status_field(target.pid(), "TracerPid");
    let ran = pyspy(&["dump", "--pid", &pid]);
    let recording = Recording::of(target.pid(), &["-d", "0.3", "--blocking"]);
    strace.kill().unwrap();
    strace.wait().unwrap();
    assert_eq!(tracer, strace.id().to_string());
    assert!(ran.success().contains("compute") && ran.stderr.contains("traced"), "{ran:#?}");
    assert!(recording.stderr.contains("traced") && recording.summary.stopped == 0, "{recording:#?}");
    assert!(recording.count(|names| names.len() == 20) > 10, "{recording:#?}");
}

fn strace_has_ended(pid: u32) -> bool {
    status_field(pid, "State").starts_with('Z')
}

/// py-spy itself: on `PATH`, or where `tests/interpreters/fetch` may put it.
fn py_spy() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/py-spy/bin/py-spy");
    [PathBuf::from("py-spy"), fetched].into_iter().find(|program| {
        run(Command::new(program).arg("--version"), Duration::from_secs(10)).is_ok_and(|ran| ran.status.success())
    })
}

#[test]
fn options_show_what_py_spy_shows() {
    let Some(py_spy) = py_spy() else {
        print_note("skipped: py-spy is not here to be compared with");
        return;
    };
    // Where line numbers jump far, py-spy shows wrong ones, even negative.
    let jumps =
        |stack: &[String]| stack.iter().any(|frame| frame.contains("far_down") || frame.contains("long_function"));
    let shown = |text: &str| -> BTreeSet<Vec<String>> {
        stacks(text).into_iter().map(|(stack, _)| stack).filter(|stack| !jumps(stack)).collect()
    };
    for interpreter in Interpreter::all().iter().filter(|found| found.feature() <= (3, 13) && !found.free_threaded) {
        let mut target = Target::start(interpreter, "known.py", &[]);
        target.line();
        let pid = target.pid().to_string();
        for options in [
            "-i",
            "-i -t",
            "-i -F",
            "-i --nolineno",
            "-i --full-filenames",
            "-i -t -F --full-filenames",
            "-g",
            "-g -i",
            "",
        ] {
            // It knows no thread names of Python 2.
            if options.contains("-t") && interpreter.feature() < (3, 0) {
                continue;
            }
            wait_until_waiting(target.pid());
            let output = tempfile::NamedTempFile::new().unwrap();
            let path = output.path().to_str().unwrap();
            let mut args = vec!["record", "-d", "1", "-r", "20", "-f", "raw", "-o", path, "--pid", &pid];
            args.extend(options.split_whitespace());
            let theirs = run(Command::new(&py_spy).args(&args), Duration::from_secs(60)).unwrap();
            if !theirs.status.success() {
                print_note(&format!(
                    "skipped: py-spy does not read {interpreter}: {}",
                    theirs.stderr.lines().next().unwrap_or_default()
                ));
                break;
            }
            let theirs = shown(&fs::read_to_string(path).unwrap());
            wait_until_waiting(target.pid());
            pyspy(&args).success();
            let ours = shown(&fs::read_to_string(path).unwrap());
            if options.contains("-i") && !options.contains("-g") {
                assert!(ours.len() > 10, "{interpreter} {options}: {ours:#?}");
                let only_theirs: Vec<_> = theirs.difference(&ours).collect();
                let only_ours: Vec<_> = ours.difference(&theirs).collect();
                assert!(
                    only_theirs.is_empty() && only_ours.is_empty(),
                    "{interpreter} {options}: only py-spy's {only_theirs:#?} only ours {only_ours:#?}"
                );
            } else {
                // Nothing runs and nothing holds the GIL; py-spy takes some that wait for running ones.
                assert!(ours.is_empty(), "{interpreter} {options}: {ours:#?}");
            }
        }
    }
}

#[test]
fn only_the_holder_of_the_gil_is_shown_when_asked_for() {
    for interpreter in Interpreter::all().iter().filter(|interpreter| !interpreter.free_threaded) {
        let target = Target::start(interpreter, "many.py", &["2", "2"]);
        let threads = dump(target.pid(), &[]);
        let computing = threads.iter().filter(|thread| frames(thread).iter().any(|(name, ..)| *name == "computes"));
        assert_eq!(computing.count(), 2, "{interpreter}");
        let all = Recording::of(target.pid(), &["-d", "1", "--threads"]);
        let holders = Recording::of(target.pid(), &["-d", "1", "--threads", "--gil"]);
        assert_eq!(holders.count(|names| names.contains(&"waits")), 0, "{interpreter}: {holders:#?}");
        // One of the two at a time. Each stack is rounded to whole intervals, and the time to a tenth of a second.
        let (count, least) = (holders.total() as f64, holders.summary.intervals("100"));
        let most = (holders.summary.observed() + 0.05) * 100.0 + holders.stacks.len() as f64;
        assert!(count >= 0.6 * least && count <= 1.02 * most, "{interpreter}: {count}, {all:#?} {holders:#?}");
    }
}
