//! Real processes for the tests: started, ready when they say so, ended and collected when dropped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::handle::Handle;
use super::process::Process;

/// A process of ours to look at.
pub(super) struct Target {
    child: Child,
    output: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Target {
    /// Starts `command` and waits for its first line.
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take();
        let mut target = Self { child, output, input };
        assert_eq!(target.line(), "ready", "the target did not start");
        target
    }

    /// A shell script; it must print `ready`.
    pub(super) fn shell(script: &str) -> Self {
        Self::start(Command::new("sh").args(["-c", script]))
    }

    /// A Python program; `ready()` in it says that it is.
    pub(super) fn python(program: &str) -> Self {
        let prelude = "import sys, os, threading, time, signal\ndef say(text): sys.stdout.write(text + '\\n'); sys.stdout.flush()\ndef ready(): say('ready')\n";
        Self::start(Command::new("python3").args(["-c", &format!("{prelude}{program}")]))
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Gives it a line to read.
    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::open(self.pid()).unwrap()
    }

    pub(super) fn process(&self) -> Process {
        Process::open(self.pid()).unwrap()
    }

    /// Kills it, with all that it started, and collects it.
    pub(super) fn end(&mut self) {
        drop(self.input.take());
        let below = super::children::descendants(&self.handle());
        let _ = self.child.kill();
        for handle in below.iter().filter_map(|child| Handle::open(child.pid).ok()) {
            let _ = handle.send_signal(libc::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for a condition that is bound to come; fails after a time in which any machine would have brought it.
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}: this did not happen in 30 s");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
