//! What is recorded, and where it goes, by the options of `pyspy record`.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::recording::{Recording, stacks};
use crate::running::{Running, any, chosen, read_profile, wait_for_handlers};
use crate::target::{Target, alone_on_this_machine, pyspy, run};
use crate::terminal::Terminal;

fn workers() -> Target {
    Target::start(any(), "workers.py", &["alone"])
}

fn has(recording: &Recording, function: &str) -> bool {
    recording.count(|names| names.contains(&function)) > 0
}

#[test]
fn threads_and_files_are_chosen() {
    let _alone = alone_on_this_machine();
    let target = workers();
    let record = |args: &[&str]| {
        let mut all = vec!["-d", "0.7"];
        all.extend(args);
        Recording::of(target.pid(), &all)
    };
    let main = record(&["--main-thread"]);
    assert!(has(&main, "compute") && !has(&main, "decode") && !has(&main, "run"), "{main:?}");
    let named = record(&["--thread", "worker-d*"]);
    assert!(has(&named, "decode") && !has(&named, "compute"), "{named:?}");
    let two = record(&["--thread", "worker-d*", "--thread", "MainThread"]);
    assert!(has(&two, "decode") && has(&two, "compute"), "{two:?}");
    let included = record(&["--include", "*/json/*"]);
    assert!(has(&included, "decode") && !has(&included, "compute"), "{included:?}");
    let module = record(&["--include", "json.decoder"]);
    assert!(has(&module, "decode") && !has(&module, "compute"), "{module:?}");
    let excluded = record(&["--exclude", "threading"]);
    assert!(has(&excluded, "compute") && !has(&excluded, "decode") && !has(&excluded, "run"), "{excluded:?}");
}

#[test]
fn what_counts_is_chosen() {
    let _alone = alone_on_this_machine();
    let interpreter = chosen().next().unwrap();
    let target = Target::start(interpreter, "waiting.py", &[]);
    let record = |mode: &str| Recording::of(target.pid(), &["-d", "1", "--mode", mode]);
    let wall = record("wall");
    assert!(has(&wall, "sleeps") && has(&wall, "computes"), "{wall:?}");
    let cpu = record("cpu");
    let share =
        |recording: &Recording, name| recording.count(|names| names.contains(&name)) as f64 / recording.total() as f64;
    assert!(share(&cpu, "sleeps") < 0.05 && share(&cpu, "computes") > 0.9, "{cpu:?}");
    let gil = record("gil");
    assert!(share(&gil, "computes") > 0.95, "{gil:?}");
}

/// How many lines there are but for those on the GIL and on the garbage collector, which come where there is something
/// to say.
fn lines_but_of_facts(stderr: &str) -> usize {
    stderr.lines().filter(|line| !line.starts_with("pyspy: GIL: ") && !line.starts_with("pyspy: GC: ")).count()
}

#[test]
fn columns_are_told_apart() {
    let interpreter = chosen().find(|found| found.feature() >= (3, 11)).unwrap();
    let target = Target::start(interpreter, "workers.py", &["alone"]);
    let recording = Recording::of(target.pid(), &["-d", "0.5", "--columns"]);
    assert_eq!(lines_but_of_facts(&recording.stderr), 1, "{}", recording.stderr);
    let places: Vec<&str> = recording.stacks.iter().flat_map(|(stack, _)| stack).map(String::as_str).collect();
    assert!(places.iter().any(|place| place.starts_with("compute (workers.py:14:9)")), "{places:?}");
}

#[test]
fn several_processes_are_recorded_together() {
    let _alone = alone_on_this_machine();
    let targets = [Target::start(any(), "fib.py", &["one"]), Target::start(any(), "fib.py", &["two"])];
    let pids = targets.each_ref().map(|target| target.pid().to_string());
    let ran = pyspy(&["record", "-p", &pids[0], "-p", &pids[1], "-d", "1", "-f", "raw", "-o", "-"]);
    let found = stacks(ran.success());
    let observed = Recording::summary_of(&ran.stderr).observed();
    for pid in &pids {
        let of_this = found.iter().filter(|(stack, _)| stack[0].starts_with(&format!("process {pid}:")));
        let seconds = of_this.map(|(_, count)| count).sum::<u64>() as f64 / 100.0;
        // On a busy machine one of them may be looked at later than the other.
        assert!((observed - 0.25..1.1).contains(&seconds), "{pid}: {seconds} s in {ran:#?}");
    }
    assert!(ran.stderr.contains("; 2 processes"), "{}", ran.stderr);
}

/// The shell has the words in its command line too, and is no Python.
#[test]
fn processes_are_found_by_name() {
    let word = format!("word{}", std::process::id());
    let targets = [Target::start(any(), "fib.py", &[&word]), Target::start(any(), "fib.py", &[&word])];
    let other = Target::start(any(), "fib.py", &["another"]);
    let inner = format!("'{}' record --name '*fib.py {word}*' -d 0.7 -f raw -o -; true", env!("CARGO_BIN_EXE_pyspy"));
    let ran = run(Command::new("sh").args(["-c", &inner]), Duration::from_secs(60)).unwrap();
    let found = stacks(ran.success());
    let seen = |pid: u32| found.iter().any(|(stack, _)| stack[0].starts_with(&format!("process {pid}:")));
    assert!(seen(targets[0].pid()) && seen(targets[1].pid()) && !seen(other.pid()), "{ran:#?}");
    assert!(ran.stderr.contains("; 2 processes"), "{}", ran.stderr);

    let none = pyspy(&["record", "--name", "*no-such-name-anywhere*", "-d", "1", "-o", "-"]);
    assert!(none.failure().contains("no Python process has this name or a command line like"), "{none:#?}");
}

#[test]
fn what_there_is_is_written_on_the_way() {
    let target = workers();
    let folder = tempfile::tempdir().unwrap();
    let pid = target.pid().to_string();
    for (name, options) in [("asked.txt", &[][..]), ("often.txt", &["--every", "300ms"][..])] {
        let path = folder.path().join(name);
        let mut args = vec!["record", "-p", &pid, "-o", path.to_str().unwrap()];
        args.extend(options);
        let mut running = Running::start(&args);
        if options.is_empty() {
            wait_for_handlers(&mut running);
            assert!(!path.exists(), "nothing was asked for");
            running.signal(Signal::SIGUSR1);
        }
        running.wait_until("a file", || path.exists());
        let total = |path: &std::path::Path| {
            stacks(&fs::read_to_string(path).unwrap()).iter().map(|(_, count)| count).sum::<u64>()
        };
        if options.is_empty() {
            // It may have been asked before it had a sample.
            let recorder = nix::unistd::Pid::from_raw(running.pid().cast_signed());
            running.wait_until("samples in it", || {
                nix::sys::signal::kill(recorder, Signal::SIGUSR1).unwrap();
                total(&path) > 0
            });
        }
        let first = total(&path);
        if !options.is_empty() {
            running.wait_until("another file", || total(&path) > first + 20);
        }
        running.signal(Signal::SIGINT);
        let ran = running.ended();
        ran.success();
        assert!(total(&path) >= first, "{ran:#?}");
        assert!(Recording::summary_of(&ran.stderr).samples > 0, "{ran:#?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
}

#[test]
fn names_of_files_choose_formats_and_are_made_up_when_missing() {
    let target = workers();
    let folder = tempfile::tempdir().unwrap();
    let pid = target.pid().to_string();
    for (name, format) in [
        ("a.svg", "flamegraph"),
        ("a.speedscope.json", "speedscope"),
        ("a.trace.json", "chrometrace"),
        ("a.json.gz", "firefox"),
        ("a.pb.gz", "pprof"),
        ("a.pstats", "pstats"),
        ("a.txt", "raw"),
    ] {
        let path = folder.path().join(name);
        pyspy(&["record", "-p", &pid, "-d", "0.3", "-o", path.to_str().unwrap()]).success();
        assert!(read_profile(format, &path, 100).contains_key("compute"), "{name}");
    }
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    command.args(["record", "-p", &pid, "-d", "0.3", "-f", "speedscope"]).current_dir(&empty);
    run(&mut command, Duration::from_secs(60)).unwrap().success();
    let made: Vec<_> = fs::read_dir(&empty).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [path] = &made[..] else { panic!("{made:?}") };
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&format!("{pid}-20")) && name.ends_with(".json"), "{name}");
    assert!(read_profile("speedscope", path, 100).contains_key("compute"));
}

#[test]
fn the_result_is_opened() {
    let target = workers();
    let folder = tempfile::tempdir().unwrap();
    let (opener, told) = (folder.path().join("xdg-open"), folder.path().join("told"));
    fs::write(&opener, format!("#!/bin/sh\nprintf %s \"$1\" > '{0}.part'; mv '{0}.part' '{0}'\n", told.display()))
        .unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let svg = folder.path().join("result.svg");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.args(["record", "-d", "0.3", "--open", "-p", &target.pid().to_string(), "-o"]).arg(&svg).env("PATH", path);
    run(&mut command, Duration::from_secs(60)).unwrap().success();
    // `run` waits for the end of the output, which the opener shares.
    assert_eq!(fs::read_to_string(&told).unwrap(), svg.to_str().unwrap());
}

/// The line that shows how it stands is for a terminal; elsewhere there are the lines that say something once.
#[test]
fn progress_is_shown_on_a_terminal_only() {
    let target = workers();
    let pid = target.pid().to_string();
    let args = ["record", "-d", "1", "-p", &pid, "-f", "raw", "-o", "/dev/null"];
    let quiet = pyspy(&args);
    quiet.success();
    assert_eq!(lines_but_of_facts(&quiet.stderr), 1, "{quiet:#?}");
    assert!(!quiet.stderr.contains('\u{1b}'), "{quiet:#?}");

    let mut command = Command::new(&any().path);
    command.args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)", env!("CARGO_BIN_EXE_pyspy")]);
    let shown = run(command.args(args).env("TERM", "xterm"), Duration::from_secs(60)).unwrap();
    let screen = shown.success();
    assert!(screen.contains(" samples, ") && screen.contains(" Hz; Ctrl-C to stop"), "{screen:?}");
    assert!(screen.contains("pyspy: wrote /dev/null with "), "{screen:?}");
}

/// A line that goes over the edge would stay where it was, each time that it is drawn.
#[test]
fn progress_is_one_line_in_a_narrow_terminal_too() {
    let Some(terminal) = Terminal::open(40, 12) else { return };
    let target = workers();
    for duration in ["", "-d 60"] {
        let program = env!("CARGO_BIN_EXE_pyspy");
        terminal.run(&format!("{program} record {duration} -p {} -f raw -o /dev/null", target.pid()));
        terminal.wait("progress", |screen| screen.contains("2 s, "));
        let shown = terminal.wait("progress", |screen| screen.contains("3 s, "));
        assert_eq!(shown.lines().filter(|line| !line.trim().is_empty()).count(), 1, "{shown}");
        terminal.keys(&["C-c"]);
        assert_eq!(terminal.ended(), 0);
    }
}

#[test]
fn who_starts_pyspy_says_when_it_may_begin_and_hears_when_it_has() {
    let target = workers();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.txt");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let pid = target.pid().to_string();
    let words = ["--idle", "--pid", &pid, "--control-fd", "3", "-o", path.to_str().unwrap()];
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3<&0 0</dev/null", "sh", env!("CARGO_BIN_EXE_pyspy"), "record"]).args(words);
    let mut pyspy = command.stdin(OwnedFd::from(theirs)).spawn().unwrap();
    // The command holds a copy of their end, which is to be seen to close.
    drop(command);
    ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    ours.write_all(b"\n").unwrap();
    let mut word = [0; 6];
    ours.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pyspy.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(pyspy.wait().unwrap().success());
    assert!(!fs::read_to_string(&path).unwrap().is_empty(), "it was ready, so there is a sample");
}

#[test]
fn where_nobody_says_that_it_may_begin_nothing_is_recorded() {
    let target = workers();
    let pid = target.pid().to_string();
    let ran = pyspy(&["record", "--pid", &pid, "--control-fd", "99", "-o", "/dev/null", "-f", "raw"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:#?}");
    assert!(ran.stderr.contains("--control-fd 99: nobody says there that the recording may begin"), "{ran:#?}");
}
