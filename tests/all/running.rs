//! `pyspy` while it runs: its signals, what it has written so far, its end.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interpreters::Interpreter;
use crate::packages::package;
use crate::target::{Ran, print_note, run};

/// How long something may take that a working pyspy does in a moment.
const LIMIT: Duration = Duration::from_secs(60);

/// A pyspy that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: tempfile::TempDir,
}

impl Running {
    /// Starts `pyspy` with these arguments.
    pub fn start(args: &[impl AsRef<OsStr>]) -> Self {
        Self::start_command(Command::new(env!("CARGO_BIN_EXE_pyspy")).args(args))
    }

    /// Starts `pyspy record` with these arguments and waits until it has taken its first sample.
    #[cfg(unix)]
    #[track_caller]
    pub fn start_recording(args: &[impl AsRef<OsStr>]) -> Self {
        use std::io::{Read, Write};
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 0</dev/null", "sh", env!("CARGO_BIN_EXE_pyspy"), "record"]);
        command.args(["--control-fd", "3"]).args(args).stdin(std::os::fd::OwnedFd::from(theirs));
        let mut running = Self::start_with_stdin(&mut command);
        // The command holds a copy of their end.
        drop(command);
        ours.set_read_timeout(Some(LIMIT)).unwrap();
        ours.write_all(b"\n").unwrap();
        let mut word = [0; 6];
        if let Err(error) = ours.read_exact(&mut word) {
            panic!("it has not begun: {error}; ended: {}: {}", running.has_ended(), running.stderr());
        }
        running
    }

    /// Starts a command that is a pyspy or becomes one.
    pub fn start_command(command: &mut Command) -> Self {
        Self::start_with_stdin(command.stdin(Stdio::null()))
    }

    fn start_with_stdin(command: &mut Command) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name| Stdio::from(fs::File::create(output.path().join(name)).unwrap());
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        Self { child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until `is_so`; it must not end before.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so() {
            assert!(!self.has_ended(), "it ended before {what}: {}", self.stderr());
            assert!(Instant::now() < deadline, "{what} did not come: {}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Ran {
        let deadline = Instant::now() + LIMIT;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "it does not end: {}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().unwrap();
        let stdout = fs::read(self.output.path().join("stdout")).unwrap();
        Ran { status, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr: self.stderr() }
    }

    /// The file to which it prints on `stdout` or `stderr`.
    pub fn output_path(&self, stream: &str) -> PathBuf {
        self.output.path().join(stream)
    }

    /// What it has printed on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path().join("stderr")).unwrap()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field in kB of `/proc/PID/status`, if the process is there.
pub fn status_kb(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Seconds of each function with all that it calls, and of the whole under "", as a reader of the format in Python sees
/// them.
#[track_caller]
pub fn read_profile(format: &str, path: &Path, rate: u32) -> serde_json::Map<String, serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_profile.py");
    let python = Interpreter::all().iter().rfind(|found| found.version >= (3, 8, 0)).unwrap();
    let mut command = Command::new(&python.path);
    let ran = run(command.arg(script).arg(format).arg(path).arg(rate.to_string()), LIMIT).unwrap();
    serde_json::from_str(ran.success()).unwrap()
}

/// As [`read_profile`], of a file for OpenTelemetry, by its own messages; `None` where these are not there.
#[track_caller]
pub fn read_otlp(path: &Path, rate: u32) -> Option<serde_json::Map<String, serde_json::Value>> {
    let (python, packages) = python_with("opentelemetry-proto")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_profile.py");
    let mut command = Command::new(&python.path);
    command.env("PYTHONPATH", packages).arg(script).arg("otlp").arg(path).arg(rate.to_string());
    Some(serde_json::from_str(run(&mut command, LIMIT).unwrap().success()).unwrap())
}

/// An interpreter that has a package, and where that is; that there is none is said.
pub fn python_with(name: &str) -> Option<(&'static Interpreter, PathBuf)> {
    let found = Interpreter::all().iter().rev().find_map(|python| Some((python, package(python, name).pop()?)));
    if found.is_none() {
        print_note(&format!("skipped: no {name}; tests/packages/fetch brings it"));
    }
    found
}

/// The samples of a text of metrics as the parser of `prometheus_client` reads it: name, labels, value. None, and it is
/// said, where there is no such package.
pub fn prometheus_numbers(text: &str) -> Option<Vec<(String, serde_json::Value, f64)>> {
    let (python, packages) = python_with("prometheus-client")?;
    let program = "import json, sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
        print(json.dumps([[s.name, s.labels, s.value] for f in parse(sys.argv[1]) for s in f.samples]))";
    let mut command = Command::new(&python.path);
    let ran = run(command.env("PYTHONPATH", packages).args(["-c", program, text]), Duration::from_secs(60)).unwrap();
    Some(serde_json::from_str(ran.success()).unwrap())
}

/// A place where something is mounted; no more when this is dropped.
pub struct Unmount<'path>(pub &'path Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let ran = Command::new("umount").arg("-l").arg(self.0).output();
        assert!(ran.is_ok_and(|ran| ran.status.success()), "it stays mounted");
    }
}

/// A script of `tests/targets`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(name)
}

/// One interpreter of each of the versions that differ most in how they keep their stacks.
pub fn chosen() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(3, 8), (3, 11), (3, 15)];
    features.into_iter().filter_map(|feature| {
        Interpreter::all().iter().find(|found| found.feature() == feature && !found.free_threaded)
    })
}

/// An interpreter for what does not depend on its version.
pub fn any() -> &'static Interpreter {
    Interpreter::all().iter().rfind(|found| (3, 8, 0) <= found.version && !found.free_threaded).unwrap()
}

/// The CPU time of a process, threads that have ended included, s.
pub fn cpu_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Waits until pyspy has its signals, which it takes before it opens its target.
#[track_caller]
pub fn wait_for_handlers(running: &mut Running) {
    let status = format!("/proc/{}/status", running.pid());
    running.wait_until("SIGUSR1 is caught", || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
        mask >> (Signal::SIGUSR1 as i32 - 1) & 1 == 1
    });
}
