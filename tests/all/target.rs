//! Programs that a test starts: Python programs to look into, and `pyspy` itself.
//!
//! Whatever is started here ends with the test: it has a process group of its own, which is killed when its owner is
//! dropped or its time is over.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;

/// How long a Python program may take to be ready or to answer. Only a broken one takes this long.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long one run of pyspy may take. Only one that hangs takes this long.
const PYSPY_LIMIT: Duration = Duration::from_secs(120);

/// Held by a test that measures what takes time, so that no other one that does runs beside it.
pub(crate) fn alone_on_this_machine() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has nothing to leave behind.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints what a test that passes wants to be seen. (Not `eprintln`: the test runner takes that away.)
pub(crate) fn print_note(text: &str) {
    // One write, so that it stays one line.
    let _ = std::io::stderr().write_all(format!("note: {text}\n").as_bytes());
}

/// A running Python program of `tests/targets`. It is killed with its children when this is dropped.
///
/// The program prints a line `ready` when it is where the test wants it. It may then answer what the test writes to it.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    lines: Receiver<String>,
}

impl Target {
    /// Starts `tests/targets/SCRIPT` and waits until it is ready.
    pub(crate) fn start(interpreter: &Interpreter, script: &str, args: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets").join(script);
        let mut command = Command::new(&interpreter.path);
        command.arg(&path).args(args);
        Self::start_command(command, &format!("{script} under {interpreter}"))
    }

    /// Starts a command that becomes a Python program, called `name` in messages, and waits until it is ready.
    pub(crate) fn start_command(mut command: Command, name: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONIOENCODING", "utf-8");
        let mut child =
            in_its_own_group(&mut command).spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut target = Self { child, lines };
        let first = target.line();
        assert_eq!(first, "ready", "{name}");
        target
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the program, which is how one that waits goes on.
    pub(crate) fn send(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        writeln!(stdin, "{line}").expect("the program reads its input");
    }

    /// The next line that the program prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(ANSWER_LIMIT).unwrap_or_else(|error| {
            panic!("no line from process {}: {error}, {:?}", self.child.id(), self.child.try_wait())
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        kill_group(self.child.id());
        // Reaped, so that the process id is free only now.
        self.child.wait().expect("a child that was killed ends");
    }
}

/// What a program that ended has left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// What it printed; it must have succeeded.
    #[track_caller]
    pub(crate) fn success(&self) -> &str {
        assert!(self.status.success(), "{self:#?}");
        &self.stdout
    }

    /// What it complained about; it must have failed, and not by a signal or a panic.
    #[track_caller]
    pub(crate) fn failure(&self) -> &str {
        assert!(self.status.code().is_some_and(|code| code != 0 && code != 101), "{self:#?}");
        &self.stderr
    }
}

/// Runs `pyspy` to its end.
#[track_caller]
pub(crate) fn pyspy(args: &[impl AsRef<OsStr>]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyspy"));
    run(command.args(args), PYSPY_LIMIT).unwrap_or_else(|error| panic!("{command:?} {error}"))
}

/// A copy of a program that can be run at once. Another process makes it: what other tests start meanwhile would else
/// have the copy open for writing until it executes, and the system runs no such file.
#[track_caller]
pub(crate) fn copy_program(from: impl AsRef<OsStr>, to: &Path) {
    let mut command = Command::new("cp");
    run(command.arg("-L").arg(from).arg(to), PYSPY_LIMIT).unwrap().success();
}

/// Why a program has nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("does not start: {0}")]
    Start(std::io::Error),
    /// After this time, with what it had printed; with nothing when something that it started still holds its output.
    #[error("was killed after {0:?}: {1:#?}")]
    TimedOut(Duration, Option<Ran>),
}

/// Runs a program to its end, with nothing to read; with all it has started it is killed when `limit` is over.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ran, RunError> {
    enum Part {
        Stdout(String),
        Stderr(String),
        Status(ExitStatus),
    }
    fn read(mut pipe: impl Read) -> String {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = in_its_own_group(command).spawn().map_err(RunError::Start)?;
    let pid = child.id();
    let (stdout, stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let (sender, parts) = channel();
    // A send fails when nobody waits any more.
    let send = sender.clone();
    thread::spawn(move || send.send(Part::Stdout(read(stdout))));
    let send = sender.clone();
    thread::spawn(move || send.send(Part::Stderr(read(stderr))));
    thread::spawn(move || sender.send(Part::Status(child.wait().expect("a child can be waited for"))));

    let (mut stdout, mut stderr, mut status) = (None, None, None);
    let mut collect_until = |deadline: Instant| {
        while stdout.is_none() || stderr.is_none() || status.is_none() {
            match parts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Part::Stdout(text)) => stdout = Some(text),
                Ok(Part::Stderr(text)) => stderr = Some(text),
                Ok(Part::Status(ended)) => status = Some(ended),
                Err(_) => return None,
            }
        }
        Some(Ran { status: status?, stdout: stdout.take()?, stderr: stderr.take()? })
    };
    if let Some(ran) = collect_until(Instant::now() + limit) {
        return Ok(ran);
    }
    kill_group(pid);
    Err(RunError::TimedOut(limit, collect_until(Instant::now() + ANSWER_LIMIT)))
}

#[cfg(unix)]
fn in_its_own_group(command: &mut Command) -> &mut Command {
    std::os::unix::process::CommandExt::process_group(command, 0)
}

#[cfg(unix)]
fn kill_group(leader: u32) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    // An error means that all of them have ended.
    let _ = killpg(Pid::from_raw(leader.cast_signed()), Signal::SIGKILL);
}

#[cfg(windows)]
fn in_its_own_group(command: &mut Command) -> &mut Command {
    command
}

#[cfg(windows)]
fn kill_group(leader: u32) {
    // With its children; an error means that it has ended.
    let _ = Command::new("taskkill").args(["/F", "/T", "/PID", &leader.to_string()]).output();
}

#[test]
fn a_target_is_ready_answers_and_ends_with_its_owner() {
    for interpreter in Interpreter::all() {
        let mut target = Target::start(interpreter, "echo.py", &["heard"]);
        target.send("one");
        assert_eq!(target.line(), "heard one", "{interpreter}");
        target.send("two");
        assert_eq!(target.line(), "heard two", "{interpreter}");
        #[cfg(target_os = "linux")]
        {
            let process = std::path::PathBuf::from(format!("/proc/{}", target.pid()));
            let executable = std::fs::read_link(process.join("exe")).unwrap();
            assert_eq!(executable, interpreter.path);
            drop(target);
            assert!(!process.exists(), "{interpreter} has outlived its owner");
        }
    }
}

#[test]
fn a_program_that_does_not_end_is_killed_with_its_children() {
    let interpreter = Interpreter::all().last().unwrap();
    let program = "import subprocess, sys; print('begun', flush=True); \
                   subprocess.call([sys.executable, '-c', 'import time; time.sleep(6000)'])";
    let outcome = run(Command::new(&interpreter.path).args(["-c", program]), Duration::from_secs(3));
    // Its child shares its stdout, whose end is there only when both have ended.
    let Err(RunError::TimedOut(_, Some(ran))) = outcome else { panic!("{interpreter}: {outcome:?}") };
    assert!(!ran.status.success());
    assert_eq!(ran.stdout.trim_end(), "begun");
}

#[test]
fn pyspy_says_its_version_and_refuses_nonsense() {
    assert!(pyspy(&["--version"]).success().contains(env!("CARGO_PKG_VERSION")));
    assert!(!pyspy(&["no-such-command"]).failure().is_empty());
}
