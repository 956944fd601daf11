//! However a recording ends, there is a file that opens, or an error that says where the data are.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::recording::Recording;
use crate::running::{Running, Unmount, any, cpu_time, read_profile, script, status_kb, wait_for_handlers};
use crate::target::{Target, alone_on_this_machine, print_note, pyspy, run};
use crate::terminal::Terminal;

/// Every format with a name of a file for it.
const FILES: [(&str, &str); 9] = [
    ("flamegraph", "a.svg"),
    ("flamechart", "b.svg"),
    ("raw", "a.txt"),
    ("speedscope", "a.json"),
    ("chrometrace", "b.json"),
    ("firefox", "c.json"),
    ("pprof", "a.pb.gz"),
    ("pstats", "a.pstats"),
    ("pyspy", "a.pyspy"),
];

/// The seconds of a function in a file of any format.
#[track_caller]
fn seconds(format: &str, path: &Path, function: &str) -> f64 {
    let times = if format == "pyspy" {
        let text = path.with_extension("converted");
        pyspy(&["convert", path.to_str().unwrap(), "-f", "raw", "-o", text.to_str().unwrap()]).success();
        read_profile("raw", &text, 100)
    } else {
        read_profile(format, path, 100)
    };
    times.get(function).and_then(serde_json::Value::as_f64).unwrap_or(0.0)
}

/// Starts a recording of a running target and waits until it has something.
fn start_recording(target: u32, format: &str, path: &Path, options: &[&str]) -> Running {
    let pid = target.to_string();
    let mut args = vec!["-p", &pid, "-f", format, "-o", path.to_str().unwrap()];
    args.extend(if options.is_empty() { &["--every", "200ms"] } else { options });
    let mut running = Running::start_recording(&args);
    // It has a sample of a thread once that has run for some periods.
    let before = cpu_time(target);
    running.wait_until("the first file", || path.exists() && cpu_time(target) - before > 0.05);
    running
}

/// Whether we, and so whom we start, have SIGHUP ignored.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 != 0
}

#[test]
fn signals_leave_a_file_that_opens() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut signals = vec![Signal::SIGINT, Signal::SIGTERM];
    if hangups_are_ignored() {
        print_note("skipped: SIGHUP, which whoever started the tests ignores, as nohup does");
    } else {
        signals.push(Signal::SIGHUP);
    }
    for ((format, name), signal) in FILES.iter().zip(signals.iter().cycle()) {
        let path = folder.path().join(name);
        let running = start_recording(target.pid(), format, &path, &[]);
        running.signal(*signal);
        if *signal != Signal::SIGINT {
            // A shell that closes, and `timeout`, send theirs twice.
            running.signal(*signal);
        }
        let ran = running.ended();
        ran.success();
        assert!(ran.stderr.contains("; interrupted"), "{signal} {format}: {ran:#?}");
        assert!(seconds(format, &path, "fib") > 0.0, "{signal} {format}: {ran:#?}");
    }
}

#[test]
fn under_nohup_a_hangup_does_not_end_it() {
    let target = Target::start(any(), "fib.py", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_pyspy")).args([
        "record",
        "--every",
        "200ms",
        "-p",
        &target.pid().to_string(),
        "-o",
    ]);
    let mut running = Running::start_command(command.arg(&path));
    running.wait_until("the first file", || path.exists());
    running.signal(Signal::SIGHUP);
    fs::remove_file(&path).unwrap();
    running.wait_until("another file after the hangup", || path.exists());
    running.signal(Signal::SIGTERM);
    running.ended().success();
}

#[test]
fn the_end_of_the_target_leaves_a_file_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in FILES {
        let path = folder.path().join(name);
        let target = Target::start(any(), "fib.py", &[]);
        let running = start_recording(target.pid(), format, &path, &[]);
        drop(target);
        let ran = running.ended();
        ran.success();
        assert!(ran.stderr.contains("; the process exited"), "{format}: {ran:#?}");
        assert!(seconds(format, &path, "fib") > 0.0, "{format}: {ran:#?}");
    }
}

#[test]
fn a_kill_leaves_all_but_the_last_second_of_a_recording() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let mut target = Target::start(any(), "phases.py", &[]);
    let path = folder.path().join("a.pyspy");
    let mut running = start_recording(target.pid(), "pyspy", &path, &["--every", "10m"]);
    assert_eq!((target.line(), target.line()), ("second".to_owned(), "second".to_owned()));
    assert!(!running.has_ended());
    // How long it has recorded is known from its own clock: it began after its process did.
    let began = fs::metadata(format!("/proc/{}", running.pid())).unwrap().modified().unwrap();
    running.signal(Signal::SIGKILL);
    let lived = began.elapsed().unwrap().as_secs_f64();
    assert!(!running.ended().status.success());
    let found = seconds("pyspy", &path, "spin");
    // A second, and what pyspy took to start.
    assert!(found > lived - 1.6 && found <= lived, "{found} s of {lived} s");
    target.send("end");
}

#[test]
fn a_kill_leaves_what_was_there_in_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(any(), "fib.py", &[]);
    for (format, name) in FILES.iter().filter(|(format, _)| *format != "pyspy") {
        let path = folder.path().join(name);
        fs::write(&path, "what was there").unwrap();
        let args = ["record", "-p", &target.pid().to_string(), "-f", format, "-o", path.to_str().unwrap()];
        let mut running = Running::start(&args);
        wait_for_handlers(&mut running);
        running.signal(Signal::SIGKILL);
        running.ended();
        assert_eq!(fs::read_to_string(&path).unwrap(), "what was there", "{format}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{format}: something was left beside it");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_recording_that_fails_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.pyspy");
    fs::write(&path, "what was there").unwrap();
    let ran = pyspy(&["record", "-p", "2147483647", "-o", path.to_str().unwrap()]);
    assert!(!ran.failure().is_empty());
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The path in a message, quoted as Rust does.
#[track_caller]
fn kept(message: &str) -> String {
    let after = message.split("what was recorded is in \"").nth(1).unwrap_or_else(|| panic!("{message}"));
    after.split('"').next().unwrap().to_owned()
}

#[test]
fn a_full_device_is_an_error_that_says_where_the_data_are() {
    let target = Target::start(any(), "fib.py", &[]);
    let pid = target.pid().to_string();
    for format in ["flamegraph", "raw", "speedscope", "firefox", "pprof"] {
        let ran = pyspy(&["record", "-p", &pid, "-d", "0.5", "-f", format, "-o", "/dev/full"]);
        let message = ran.failure();
        assert_eq!(ran.status.code(), Some(7), "{message}");
        assert!(message.contains("No space left"), "{message}");
        let data = tempfile::TempPath::try_from_path(kept(message)).unwrap();
        assert!(seconds("pyspy", &data, "fib") > 0.3, "{format}: {message}");
        fs::remove_file(data.with_extension("converted")).unwrap();
    }
}

/// A file system that is full before the recording ends.
#[test]
fn a_full_disk_leaves_a_recording_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
    if !mount.is_ok_and(|ran| ran.status.success()) {
        return print_note("skipped: a full disk: no tmpfs can be mounted here");
    }
    let unmount = Unmount(folder.path());
    let target = Target::start(any(), "churn.py", &[]);
    let path = folder.path().join("a.pyspy");
    let pid = target.pid().to_string();
    let ran = pyspy(&["record", "-p", &pid, "-d", "60", "-r", "1000", "-o", path.to_str().unwrap()]);
    let message = ran.failure();
    assert_eq!((ran.status.code(), kept(message)), (Some(7), path.to_str().unwrap().to_owned()), "{message}");
    let text = tempfile::NamedTempFile::new().unwrap();
    let args = ["convert", path.to_str().unwrap(), "-f", "raw", "-o", text.path().to_str().unwrap()];
    assert!(pyspy(&args).stderr.contains("was cut off"), "{message}");
    assert!(read_profile("raw", text.path(), 1000)["main"].as_f64().unwrap() > 0.5, "{message}");

    // Another format is kept somewhere else.
    let svg = folder.path().join("a.svg");
    let ran = pyspy(&["record", "-p", &pid, "-d", "1", "-r", "200", "-o", svg.to_str().unwrap()]);
    let message = ran.failure();
    let data = tempfile::TempPath::try_from_path(kept(message)).unwrap();
    assert!(seconds("pyspy", &data, "main") > 0.5, "{message}");
    fs::remove_file(data.with_extension("converted")).unwrap();
    drop(unmount);
}

/// A late sample stands for more, but not for all that pyspy missed while it was stopped: that is told.
#[test]
fn time_in_which_pyspy_was_stopped_is_told() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let target = Target::start(any(), "phases.py", &[]);
    let path = folder.path().join("a.txt");
    // The kernel would go on.
    let mut running = start_recording(target.pid(), "raw", &path, &["--every", "200ms", "--sampler=reader"]);
    running.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    running.signal(Signal::SIGCONT);
    running.wait_until("it writes again", || fs::metadata(&path).is_ok_and(|file| file.modified().unwrap() > before));
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    assert_eq!(ran.status.code(), Some(0), "{ran:#?}");
    let summary = Recording::summary_of(&ran.stderr);
    let found = seconds("raw", &path, "main");
    assert!(summary.rate_held < 90.0, "{summary:?}");
    assert!(summary.unobserved > 1.0, "{summary:?}");
    // Both times of the summary are rounded to a tenth.
    let tolerance = 0.1 + 0.03 * summary.seconds;
    assert!((found - summary.observed()).abs() < tolerance, "{found} s, {summary:?}");
}

/// Fifty threads at a rate at which an hour's samples come in minutes: memory is as it was after the first moments.
#[test]
fn memory_does_not_grow_with_samples() {
    let _alone = alone_on_this_machine();
    let target = Target::start(any(), "many.py", &["49", "0"]);
    let args = [
        "record",
        "-i",
        "-r",
        "1000",
        "-d",
        "15",
        "-f",
        "flamegraph",
        "-o",
        "/dev/null",
        "-p",
        &target.pid().to_string(),
    ];
    let mut running = Running::start(&args);
    let mut resident = vec![];
    while !running.has_ended() {
        resident.extend(status_kb(running.pid(), "VmRSS"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let ran = running.ended();
    ran.success();
    let summary = Recording::summary_of(&ran.stderr);
    let (third, last) = (resident[resident.len() / 3], resident[resident.len() - 10]);
    let most = *resident.iter().max().unwrap();
    print_note(&format!(
        "{} samples of 50 threads: {third} kB after a third, {last} kB at the end, {most} kB at most",
        summary.samples
    ));
    assert!(summary.samples > 100_000, "{summary:?}");
    assert!(most < 100 * 1024, "{most} kB");
    assert!(last <= third + 1024, "{resident:?}");
}

#[test]
fn the_program_is_ended_or_left_as_asked() {
    let python = any().path.to_str().unwrap();
    let phases = script("phases.py");
    let args = ["record", "-d", "1", "-f", "raw", "-o", "/dev/null", "--", python, phases.to_str().unwrap(), "60"];
    let ran = run(Command::new(env!("CARGO_BIN_EXE_pyspy")).args(args), Duration::from_secs(60)).unwrap();
    ran.success();
    assert!(ran.stderr.contains("; the program was ended, killed by SIGTERM"), "{ran:#?}");
    let exit =
        ["record", "--exit-status", "-f", "raw", "-o", "/dev/null", "--", python, "-c", "import sys; sys.exit(7)"];
    let ran = pyspy(&exit);
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
}

#[test]
fn an_interrupted_program_finishes_what_it_does_about_that() {
    let Some(terminal) = Terminal::open(100, 12) else { return };
    let program = terminal.path("program.py");
    let text = "import time\ntry:\n    print('computes', flush=True)\n    while True: pass\n\
        except KeyboardInterrupt:\n    time.sleep(1)\n    print('all is saved', flush=True)\n";
    fs::write(&program, text).unwrap();
    let (pyspy, python, output) = (env!("CARGO_BIN_EXE_pyspy"), any().path.display(), terminal.path("out.txt"));
    terminal.run(&format!("{pyspy} record --every 200ms -f raw -o {output} -- {python} {program}"));
    terminal.wait("the program computes", |screen| screen.contains("computes"));
    terminal.wait("it is sampled", |_| fs::read_to_string(&output).is_ok_and(|text| text.contains("program.py")));
    terminal.keys(&["C-c"]);
    let screen = terminal.wait("the end", |screen| screen.contains("wrote"));
    assert!(screen.contains("all is saved") && screen.contains("waiting for the program"), "{screen}");
    assert_eq!(terminal.ended(), 0, "{screen}");
    assert!(fs::read_to_string(output).unwrap().contains("program.py"));
}

/// The dots of a test runner come without the end of a line, which is where progress is drawn: of a program that we
/// started, and of one that was started in the same terminal before.
#[test]
fn nothing_is_drawn_over_what_a_program_writes() {
    let Some(terminal) = Terminal::open(100, 24) else { return };
    let program = terminal.path("program.py");
    let text = "import sys, time\nend = time.time() + 2\nwritten = 0\nwhile time.time() < end:\n    \
        if time.time() > end - 2 + 0.1 * written and written < 15:\n        \
        written += 1\n        sys.stdout.write('#')\n        sys.stdout.flush()\n\
        sys.stdout.write('\\n')\n";
    fs::write(&program, text).unwrap();
    let (pyspy, python) = (env!("CARGO_BIN_EXE_pyspy"), any().path.display());
    let record = format!("{pyspy} record -f raw -o /dev/null");
    for line in [format!("{record} -- {python} {program}"), format!("{python} {program} & {record} -p $!")] {
        terminal.run(&line);
        let screen = terminal.wait("the end", |screen| screen.contains("wrote /dev/null"));
        assert!(screen.contains("sampling 100 times a second until the pro"), "{screen}");
        assert_eq!(screen.matches('#').count(), 15, "{screen}");
        assert_eq!(terminal.ended(), 0, "{screen}");
    }
}

#[test]
fn a_program_that_ignores_an_interrupt_is_ended_by_the_next() {
    let Some(terminal) = Terminal::open(120, 12) else { return };
    let program = terminal.path("program.py");
    let text = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('computes', flush=True)\n\
        while True: pass\n";
    fs::write(&program, text).unwrap();
    let (pyspy, python) = (env!("CARGO_BIN_EXE_pyspy"), any().path.display());
    terminal.run(&format!("{pyspy} record -f raw -o /dev/null -- {python} {program}"));
    terminal.wait("the program computes", |screen| screen.contains("computes"));
    terminal.keys(&["C-c"]);
    terminal.wait("a word", |screen| screen.contains("waiting for the program"));
    terminal.keys(&["C-c"]);
    // The line may be longer than the terminal is wide.
    terminal.wait("the end", |screen| screen.replace('\n', "").contains("killed by SIGTERM"));
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn what_a_program_writes_is_not_mixed_with_a_profile_on_standard_output() {
    let program = "import time\nprint('words of the program', flush=True)\nend = time.time() + 0.5\n\
        while time.time() < end: pass";
    let interpreter = any().path.to_str().unwrap();
    let ran = pyspy(&["record", "-f", "speedscope", "-o", "-", "--", interpreter, "-c", program]);
    serde_json::from_str::<serde_json::Value>(ran.success()).unwrap();
    assert!(ran.stderr.contains("words of the program"), "{ran:#?}");
}

#[test]
fn a_program_outlives_a_recording_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("done");
    let program = "import sys, time\nend = time.time() + 3\nwhile time.time() < end: pass\nopen(sys.argv[1], 'w')";
    let interpreter = any().path.to_str().unwrap();
    let args = ["record", "-f", "pyspy", "-o", "/dev/full", "--", interpreter, "-c", program, path.to_str().unwrap()];
    let ran = pyspy(&args);
    assert_eq!(ran.status.code(), Some(7), "{ran:#?}");
    let data = tempfile::TempPath::try_from_path(kept(&ran.stderr)).unwrap();
    assert!(seconds("pyspy", &data, "<module>") > 0.3, "{ran:#?}");
    fs::remove_file(data.with_extension("converted")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < deadline, "the program comes to its end");
        std::thread::sleep(Duration::from_millis(10));
    }
}
