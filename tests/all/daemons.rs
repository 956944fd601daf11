//! Programs that daemonize: what they leave behind is followed to its end, collected, never ended by us, and named.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interpreters::Interpreter;
use crate::recording::{Recording, names, stacks};
use crate::running::{Running, any, chosen, script};
use crate::target::{Ran, alone_on_this_machine, pyspy, run};

/// Samples a second.
const RATE: f64 = 200.0;
/// The least part of its time that each process must have been seen for; what is not seen is the time until it is
/// found.
const LEAST: f64 = 0.6;

/// Whether the time of a process is right, given for how long nothing was observed.
fn is_near(found: f64, seconds: f64, ran: &Ran) -> bool {
    let unobserved = Recording::summary_of(&ran.stderr).unobserved;
    (LEAST * seconds - unobserved..1.1 * seconds).contains(&found)
}

/// A process that a test has to end, as nobody else does.
struct Left(i32);

impl Left {
    /// The processes that a program says it has left.
    fn all(stdout: &str) -> Vec<Self> {
        stdout.lines().filter_map(|line| Some(Self(line.strip_prefix("left ")?.parse().ok()?))).collect()
    }

    /// Whether it is there, as a zombie or alive.
    fn is_there(&self) -> bool {
        Path::new(&format!("/proc/{}", self.0)).exists()
    }

    fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// What each process says that it computed, in seconds.
fn truth(stdout: &str) -> HashMap<u32, f64> {
    let line = |line: &str| {
        let mut words = line.strip_prefix("burned ")?.split(' ');
        Some((words.next()?.parse().unwrap(), words.next()?.parse().unwrap()))
    };
    stdout.lines().filter_map(line).collect()
}

/// Seconds in which each process was seen computing.
fn sampled(path: &Path) -> HashMap<u32, f64> {
    let mut found = HashMap::new();
    for (stack, count) in stacks(&fs::read_to_string(path).unwrap()) {
        if !names(&stack).contains(&"burn") {
            continue;
        }
        let of_process = |frame: &String| frame.strip_prefix("process ")?.split_once(":\"")?.0.parse().ok();
        let pid: u32 = stack.iter().filter_map(of_process).next_back().unwrap();
        *found.entry(pid).or_default() += count as f64 / RATE;
    }
    found
}

fn program<'a>(interpreter: &'a Interpreter, path: &'a Path, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec![interpreter.path.to_str().unwrap(), path.to_str().unwrap()];
    all.extend(arguments);
    all
}

fn record(options: &[&str], output: &Path, program: &[&str]) -> Ran {
    let mut args = vec!["record", "-F", "-f", "raw", "-r", "200", "-o", output.to_str().unwrap()];
    args.extend(options);
    args.push("--");
    args.extend(program);
    pyspy(&args)
}

#[test]
fn what_a_program_leaves_behind_is_recorded_to_its_end() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let (output, target) = (folder.path().join("a.txt"), script("daemon.py"));
    for interpreter in chosen() {
        for (mode, processes) in [("double", 1), ("workers", 2), ("chain", 3)] {
            let ran = record(&["-s"], &output, &program(interpreter, &target, &[mode, "1"]));
            let truth = truth(ran.success());
            assert_eq!(truth.len(), processes, "{interpreter} {mode}: {ran:#?}");
            let sampled = sampled(&output);
            for (pid, seconds) in &truth {
                let found = sampled.get(pid).copied().unwrap_or(0.0);
                assert!(
                    found > 0.0 && is_near(found, *seconds, &ran),
                    "{interpreter} {mode}: process {pid} was seen for {found} s of {seconds} s: {ran:#?}"
                );
            }
            assert!(ran.stderr.contains("; the program ended, status 3"), "{ran:#?}");
            assert!(!ran.stderr.contains("still running"), "{ran:#?}");
        }
    }
}

#[test]
fn a_daemon_is_not_ended_by_us_and_the_summary_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (output, target) = (folder.path().join("a.txt"), script("daemon.py"));
    for options in [&["-s", "-d", "6", "--exit-status"][..], &["--exit-status"]] {
        // What a daemon holds of our output would keep a pipe open.
        let mut args = vec!["record", "-F", "-f", "raw", "-o", output.to_str().unwrap()];
        args.extend(options);
        args.push("--");
        args.extend(program(any(), &target, &["late", "0.7"]));
        let ran = Running::start(&args).ended();
        let left = Left::all(&ran.stdout);
        let [daemon] = &left[..] else { panic!("{ran:#?}") };
        assert!(daemon.is_alive(), "{ran:#?}");
        assert_eq!(ran.status.code(), Some(3), "{ran:#?}");
        assert!(ran.stderr.contains("; the program ended, status 3; still running: "), "{ran:#?}");
        assert!(ran.stderr.contains(&format!("{} (", daemon.0)), "{ran:#?}");
        assert_eq!(ran.stderr.contains("--subprocesses records these too"), !options.contains(&"-s"), "{ran:#?}");
    }
}

#[test]
fn a_recording_of_a_daemon_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (output, target) = (folder.path().join("a.txt"), script("daemon.py"));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let _ = fs::remove_file(&output);
        let mut args = vec!["record", "-s", "-f", "raw", "--every", "200ms", "-o", output.to_str().unwrap(), "--"];
        args.extend(program(any(), &target, &["double", "600"]));
        let mut running = Running::start(&args);
        let is_seen = || fs::read_to_string(&output).is_ok_and(|text| text.contains(";burn ("));
        running.wait_until("samples of the daemon", is_seen);
        running.signal(signal);
        let ran = running.ended();
        ran.success();
        let left = Left::all(&ran.stdout);
        assert!(left.len() == 1 && left[0].is_alive(), "{signal}: {ran:#?}");
        let told = format!("; the program ended, status 3; still running: {} (", left[0].0);
        assert!(ran.stderr.contains(&told) && ran.stderr.contains("; interrupted"), "{signal}: {ran:#?}");
    }
}

#[test]
fn no_zombie_is_left_while_we_run() {
    let folder = tempfile::tempdir().unwrap();
    let target = script("daemon.py");
    let output = folder.path().join("a.txt");
    let record = ["record", "-f", "raw", "-o", output.to_str().unwrap()];
    for (face, follows) in
        [(&record[..], true), (&record, false), (&["top", "--json"], true), (&["top", "--json"], false)]
    {
        let end = folder.path().join("end");
        let mut args = face.to_vec();
        args.extend(follows.then_some("-s"));
        args.push("--");
        args.extend(program(any(), &target, &["many", "0.02", folder.path().to_str().unwrap()]));
        let mut running = Running::start(&args);
        // What the program writes comes out on stderr of `top`.
        let written = running.output_path(if face[0] == "top" { "stderr" } else { "stdout" });
        let text = || fs::read_to_string(&written).unwrap_or_default();
        running.wait_until("the last orphan", || text().lines().any(|line| line == "all"));
        let left = Left::all(&text());
        assert_eq!(left.len(), 20);
        running.wait_until("they are collected", || left.iter().all(|process| !process.is_there()));
        fs::write(&end, "").unwrap();
        let ran = running.ended();
        ran.success();
        assert!(ran.stderr.contains("status 3"), "{ran:#?}");
        fs::remove_file(end).unwrap();
    }
}

/// A shell that starts something and does not wait for it.
#[test]
fn what_a_launcher_leaves_behind_is_what_it_was_to_launch() {
    let _alone = alone_on_this_machine();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("a.txt");
    for interpreter in chosen() {
        let line = format!("'{}' '{}' exec 1 1 & exit 4", interpreter.path.display(), script("tree.py").display());
        let ran = record(&[], &output, &["sh", "-c", &line]);
        let truth: f64 = truth(ran.success()).values().sum();
        let raw = stacks(&fs::read_to_string(&output).unwrap());
        let burning = raw.iter().filter(|(stack, _)| names(stack).contains(&"burn"));
        let found = burning.map(|(_, count)| *count as f64 / RATE).sum::<f64>();
        assert!(found > 0.0 && is_near(found, truth, &ran), "{interpreter}: {found} s of {truth} s: {ran:#?}");
        assert!(ran.stderr.contains("; the program ended, status 4"), "{ran:#?}");
    }
}

#[test]
fn the_live_view_goes_on_with_what_is_left_behind() {
    let target = script("daemon.py");
    let mut args = vec!["top", "-s", "--json", "--delay", "200ms", "--"];
    args.extend(program(any(), &target, &["double", "600"]));
    let mut running = Running::start(&args);
    let stdout = running.output_path("stdout");
    let is_seen = || fs::read_to_string(&stdout).is_ok_and(|text| text.contains("\"name\":\"burn\""));
    running.wait_until("samples of the daemon", is_seen);
    running.signal(Signal::SIGINT);
    let ran = running.ended();
    let left = Left::all(&ran.stderr);
    assert!(left.len() == 1 && left[0].is_alive(), "{ran:#?}");
    assert!(ran.stderr.contains(&format!("pyspy: still running: {} (", left[0].0)), "{ran:#?}");
}

/// Children from before, which a process has that becomes pyspy, are neither followed nor collected nor named.
#[test]
fn what_was_there_before_is_not_what_the_program_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (output, pid) = (folder.path().join("a.txt"), folder.path().join("pid"));
    let line = format!(
        "sleep 600 > /dev/null 2>&1 & echo $! > '{}'; exec '{}' record -s -f raw -o '{}' -- '{}' -c pass",
        pid.display(),
        env!("CARGO_BIN_EXE_pyspy"),
        output.display(),
        any().path.display()
    );
    let ran = run(Command::new("sh").args(["-c", &line]), Duration::from_secs(100)).unwrap();
    let before = Left(fs::read_to_string(pid).unwrap().trim().parse().unwrap());
    assert!(before.is_alive(), "{ran:#?}");
    assert!(!ran.stderr.contains("still running"), "{ran:#?}");
}
