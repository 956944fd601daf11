//! What can go wrong with another process, in types; the advice for a refusal is put together here too.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::ThreadId;

/// Why a process cannot be read or looked at.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// There is none of this number, or it is hidden from us.
    #[error("there is no process {0}")]
    NoSuchProcess(i32),
    /// The number is that of a thread.
    #[error("{thread} is a thread of process {process}, not a process")]
    IsThread {
        /// The number given.
        thread: i32,
        /// The process that the thread belongs to.
        process: i32,
    },
    /// It has exited, though its number may still be taken.
    #[error("process {0} has exited")]
    Exited(i32),
    /// A kernel thread, or a process that has let go of its memory.
    #[error("process {0} has no memory of its own to read (a kernel thread, or it is exiting)")]
    NoMemory(i32),
    /// The system does not let us read it.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// Anything else.
    #[error("cannot read {what} of process {pid}: {source}")]
    System {
        /// The process.
        pid: i32,
        /// What was being read.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// What is known of a refusal: enough to say what would help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("permission denied to read the memory of process {pid}")]
pub struct Denial {
    /// The process.
    pub pid: i32,
    /// The user that we act as.
    pub own_user: u32,
    /// The user that the target acts as, where it could be read.
    pub target_user: Option<u32>,
    /// Whether we hold the capability to trace any process (`CAP_SYS_PTRACE`).
    pub can_trace_all: bool,
    /// The value of `/proc/sys/kernel/yama/ptrace_scope`, where there is one.
    pub yama_scope: Option<u8>,
    /// Whether the target asked not to be read (`PR_SET_DUMPABLE`, or a program of another user or with capabilities).
    pub undumpable: bool,
    /// Whether we run in a container (a pid namespace that is not the machine's first one).
    pub in_container: bool,
    /// The process that traces the target already, if any; 0 when there is one that we cannot see.
    pub tracer: Option<i32>,
}

impl Denial {
    /// What the user can do about it, the likeliest first; each a sentence without its capital and full stop.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let root = self.own_user == 0;
        if cfg!(target_os = "macos") {
            advice.push("on macOS reading another process needs root: run pyspy with sudo".to_owned());
            advice.push(
                "programs below /usr/bin and other protected places cannot be read even by root: use another python"
                    .to_owned(),
            );
            return advice;
        }
        if cfg!(windows) {
            advice.push("run pyspy as administrator, or as the user that owns the process".to_owned());
            return advice;
        }
        if let Some(tracer) = self.tracer.filter(|tracer| *tracer != 0) {
            advice.push(format!("process {tracer} is tracing it already (a debugger or strace)"));
        }
        if root && !self.can_trace_all {
            advice.push(if self.in_container {
                "we are root of a container without CAP_SYS_PTRACE: start it with `docker run --cap-add SYS_PTRACE`, \
                 or in Kubernetes with `securityContext.capabilities.add: [SYS_PTRACE]`"
                    .to_owned()
            } else {
                "we are root without CAP_SYS_PTRACE: give pyspy this capability".to_owned()
            });
        }
        if !root {
            match self.target_user {
                Some(user) if user != self.own_user => advice.push(format!(
                    "it belongs to user {user} and we are user {}: run pyspy with sudo, or as that user",
                    self.own_user
                )),
                _ if self.undumpable => {
                    advice.push("it does not let itself be read (PR_SET_DUMPABLE): run pyspy with sudo".to_owned());
                }
                _ => advice.push("run pyspy with sudo".to_owned()),
            }
        }
        match self.yama_scope {
            Some(1) if !self.can_trace_all => advice.push(
                "kernel.yama.ptrace_scope is 1, so that only a parent may read a process: start the program with pyspy \
                 (`pyspy record -- program`), use sudo, or set it to 0"
                    .to_owned(),
            ),
            Some(2) if !self.can_trace_all => {
                let reason = "kernel.yama.ptrace_scope is 2, so that only an administrator may read a process";
                advice.push(reason.to_owned());
            }
            Some(3) => advice.push(
                "kernel.yama.ptrace_scope is 3, so that no process may trace another until the machine is started \
                 anew with another value"
                    .to_owned(),
            ),
            _ => {}
        }
        if root && self.can_trace_all && advice.is_empty() {
            advice.push(
                "we are root and may trace, so a security module or seccomp filter (SELinux, AppArmor, a sandbox) or \
                 another user namespace is in the way"
                    .to_owned(),
            );
        }
        advice
    }
}

/// Why a thread could not be held.
#[derive(Debug, Error)]
pub enum PauseError {
    /// It is no thread of that process, or is no more.
    #[error("thread {0} is gone")]
    Gone(ThreadId),
    /// Another process traces it.
    #[error("thread {thread} is traced already{}", by_process(*.tracer))]
    AlreadyTraced {
        /// The thread.
        thread: ThreadId,
        /// Who traces it, where that can be seen.
        tracer: Option<i32>,
    },
    /// It waits in the kernel and cannot be stopped now. Its Python frames do not move while it does.
    #[error("thread {0} is in an uninterruptible wait")]
    Uninterruptible(ThreadId),
    /// It did not stop in the time given, as on a machine with far too much to do.
    #[error("thread {0} did not stop in time")]
    TimedOut(ThreadId),
    /// The system does not let us trace it.
    #[error("not permitted to stop thread {0}")]
    Denied(ThreadId),
    /// Anything else.
    #[error("cannot stop thread {thread}: {source}")]
    System {
        /// The thread.
        thread: ThreadId,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a program could not be started.
#[derive(Debug, Error)]
pub(crate) enum SpawnError {
    /// There is no such file, here or in PATH.
    #[error("there is no program {0:?}")]
    NotFound(PathBuf),
    /// The file may not be run.
    #[error("{0:?} is not executable")]
    NotExecutable(PathBuf),
    /// Anything else.
    #[error("cannot start {program:?}: {source}")]
    System {
        /// The program as it was named.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl SpawnError {
    /// The typed error for what starting `program` failed with.
    pub(super) fn from_start(program: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(program),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Self::NotExecutable(program),
            _ => Self::System { program, source },
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn denial() -> Denial {
        Denial {
            pid: 42,
            own_user: 1000,
            target_user: Some(1000),
            can_trace_all: false,
            yama_scope: Some(0),
            undumpable: false,
            in_container: false,
            tracer: None,
        }
    }

    #[test]
    fn advice_for_another_users_process_names_both_users() {
        let advice = Denial { target_user: Some(33), ..denial() }.advice();
        assert_eq!(advice, ["it belongs to user 33 and we are user 1000: run pyspy with sudo, or as that user"]);
    }

    #[test]
    fn advice_for_a_restricted_scope_names_the_setting() {
        let advice = Denial { yama_scope: Some(1), ..denial() }.advice();
        assert!(advice.iter().any(|line| line.contains("ptrace_scope is 1")), "{advice:?}");
    }

    #[test]
    fn root_in_a_container_is_told_of_the_capability_and_not_of_sudo() {
        let advice = Denial { own_user: 0, in_container: true, ..denial() }.advice();
        assert!(advice.iter().any(|line| line.contains("SYS_PTRACE")), "{advice:?}");
        assert!(!advice.iter().any(|line| line.contains("sudo")), "{advice:?}");
    }

    #[test]
    fn there_is_always_some_advice() {
        for own_user in [0, 1000] {
            for can_trace_all in [false, true] {
                let denial = Denial { own_user, can_trace_all, ..denial() };
                assert!(!denial.advice().is_empty(), "{denial:?}");
            }
        }
    }

    #[test]
    fn a_text_with_control_characters_in_a_programs_name_is_escaped() {
        let error = SpawnError::from_start("a\u{1b}[2Jb".into(), io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "there is no program \"a\\u{1b}[2Jb\"");
    }
}

fn by_process(tracer: Option<i32>) -> String {
    tracer.map_or_else(String::new, |tracer| format!(" by process {tracer}"))
}
