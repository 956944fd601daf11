//! Real processes for the tests: started, ready when they say so, ended and collected when dropped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::process::Process;
use super::procfs::children;
use super::procfs::handle::Handle;

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
        Self::start(Command::new("python3").args(["-c", &python_program(program)]))
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
        let handle = Handle::open(self.pid());
        let below = handle.map(|handle| children::descendants(&handle)).unwrap_or_default();
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

/// `program` with what every Python target has. One that is forgotten ends by itself, so that no test waits for ever.
pub(super) fn python_program(program: &str) -> String {
    let prelude = "\
import sys, os, threading, time, signal
signal.alarm(120)
def say(text): os.write(1, (text + '\\n').encode())
def ready(): say('ready')
";
    format!("{prelude}{program}")
}

/// Waits for a condition that is bound to come; fails after a time in which any machine would have brought it.
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}: this did not happen in 30 s");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Makes `process_vm_readv` fail with EPERM in the calling thread from now on, as older container sandboxes do.
#[expect(unsafe_code, reason = "a seccomp filter is set by raw system calls")]
pub(super) fn forbid_process_vm_readv() {
    // Load the number of the call; if it is the one, EPERM; else allow (kernel: include/uapi/linux/seccomp.h,
    // bpf_common.h).
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let number = u32::try_from(libc::SYS_process_vm_readv).unwrap();
    let mut filter = [
        statement(0x20, 0),
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: number },
        statement(0x06, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        statement(0x06, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program and its filter live through the call, which copies them.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }, 0);
}

/// Makes the calling thread, and only it, act as a user without rights from now on.
#[expect(unsafe_code, reason = "the C library changes the user of all threads")]
pub(super) fn become_nobody() {
    // SAFETY: takes numbers only. The user of this one thread changes, which nothing else in the test program relies
    // on.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
}
