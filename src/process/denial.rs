//! What is known of a refusal to read a process, and what follows from it for the user.

use thiserror::Error;

/// What is known of a refusal: enough to say what would help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("permission denied to read {refused} of process {pid}")]
pub struct Denial {
    /// The process.
    pub pid: i32,
    /// What was refused: a file of the process in `/proc`, or its memory by a system call.
    pub refused: String,
    /// The user that we act as.
    pub own_user: u32,
    /// The user that the target acts as, where it could be read.
    pub target_user: Option<u32>,
    /// Whether we hold the capability to trace any process (`CAP_SYS_PTRACE`).
    pub can_trace_all: bool,
    /// Our capabilities that have to do with it, by their names; or all, where we have all.
    pub capabilities: Vec<&'static str>,
    /// The value of `/proc/sys/kernel/yama/ptrace_scope`, where there is one.
    pub yama_scope: Option<u8>,
    /// Whether the target asked not to be read (`PR_SET_DUMPABLE`, or a program of another user or with capabilities).
    pub undumpable: bool,
    /// Whether we run in a container (a pid namespace that is not the machine's first one).
    pub in_container: bool,
    /// Whether we run in a user namespace that is not the machine's first one, where capabilities count for what is in
    /// it only.
    pub in_user_namespace: bool,
    /// Whether a seccomp filter is in force on us.
    pub is_filtered: bool,
    /// Whether `/proc` is mounted so that it hides the processes of others (`hidepid`).
    pub are_processes_hidden: bool,
    /// The process that traces the target already, if any; 0 when there is one that we cannot see.
    pub tracer: Option<i32>,
}

impl Denial {
    /// What the user can do about it, the likeliest first; each a sentence without its capital and full stop.
    pub fn advice(&self) -> Vec<String> {
        if cfg!(target_os = "macos") {
            return vec![
                "on macOS reading another process needs root: run pyspy with sudo".to_owned(),
                "System Integrity Protection lets nobody, not even root, read programs of the system \
                 (/usr/bin/python3, what is below /System) or ones with the hardened runtime: run the program with a \
                 python of Homebrew, pyenv or conda"
                    .to_owned(),
            ];
        }
        if cfg!(windows) {
            return vec!["run pyspy as administrator, or as the user that owns the process".to_owned()];
        }
        let mut advice = Vec::new();
        if let Some(tracer) = self.tracer.filter(|tracer| *tracer != 0) {
            advice.push(format!("process {tracer} is tracing it already (a debugger or strace)"));
        }
        if self.can_trace_all {
            self.advise_tracer(&mut advice);
        } else if self.own_user == 0 {
            advice.push(self.advice_for_root());
        } else {
            advice.push(self.advice_for_user());
        }
        advice.extend(self.advice_on_yama());
        if self.are_processes_hidden && !self.can_trace_all {
            let text = "/proc is mounted with hidepid, so that it hides the processes of others";
            advice.push(format!("{text}: run pyspy with sudo, or as a user of the group that its gid= names"));
        }
        advice.push(format!("we are {}", self.who_we_are()));
        advice
    }

    /// For one who may trace and is refused all the same.
    fn advise_tracer(&self, advice: &mut Vec<String>) {
        if self.in_user_namespace {
            advice.push(
                "we are in a user namespace, where capabilities count only for processes of that namespace: run pyspy \
                 outside of it, as root"
                    .to_owned(),
            );
        }
        if self.is_filtered {
            advice.push(
                "a seccomp filter is in force on us, which may forbid the call (of containers: \
                 `--security-opt seccomp=unconfined`)"
                    .to_owned(),
            );
        }
        if advice.is_empty() && self.yama_scope != Some(3) {
            advice.push(
                "we may trace, so a security module (SELinux, AppArmor) or another user namespace is in the way, or a \
                 file that only its owner or CAP_DAC_READ_SEARCH opens"
                    .to_owned(),
            );
        }
    }

    fn advice_for_root(&self) -> String {
        if self.in_container {
            "we are root of a container without CAP_SYS_PTRACE: start it with `docker run --cap-add SYS_PTRACE`, or in \
             Kubernetes with `securityContext.capabilities.add: [SYS_PTRACE]`"
                .to_owned()
        } else {
            "we are root without CAP_SYS_PTRACE: give pyspy this capability".to_owned()
        }
    }

    fn advice_for_user(&self) -> String {
        match self.target_user {
            Some(user) if user != self.own_user => format!(
                "it belongs to user {user} and we are user {}: run pyspy with sudo, or as that user",
                self.own_user
            ),
            _ if self.undumpable => "it does not let itself be read (PR_SET_DUMPABLE): run pyspy with sudo".to_owned(),
            _ => "run pyspy with sudo, or give it CAP_SYS_PTRACE".to_owned(),
        }
    }

    fn advice_on_yama(&self) -> Option<String> {
        let text = match self.yama_scope? {
            1 if !self.can_trace_all => {
                "kernel.yama.ptrace_scope is 1, so that only a parent may read a process: start the program with pyspy \
                 (`pyspy record -- program`), use sudo, or set it to 0"
            }
            2 if !self.can_trace_all => {
                "kernel.yama.ptrace_scope is 2, so that only an administrator may read a process"
            }
            3 => {
                "kernel.yama.ptrace_scope is 3, so that no process may trace another until the machine is started anew \
                 with another value"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn who_we_are(&self) -> String {
        let user = format!("user {}", self.own_user);
        match self.capabilities[..] {
            [] => format!("{user} without CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE"),
            _ => format!("{user} with {}", self.capabilities.join(", ")),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn denial() -> Denial {
        Denial { pid: 42, own_user: 1000, target_user: Some(1000), yama_scope: Some(0), ..Denial::default() }
    }

    #[track_caller]
    fn assert_advised(denial: &Denial, words: &[&str], not: &[&str]) {
        let advice = denial.advice().join("\n");
        words.iter().for_each(|word| assert!(advice.contains(word), "{word}: {advice}"));
        not.iter().for_each(|word| assert!(!advice.contains(word), "{word}: {advice}"));
    }

    #[test]
    fn advice_names_what_is_in_the_way() {
        let other = Denial { target_user: Some(33), ..denial() };
        assert_advised(&other, &["belongs to user 33 and we are user 1000", "sudo", "without CAP_SYS_PTRACE"], &[]);
        assert_advised(&Denial { yama_scope: Some(1), ..denial() }, &["ptrace_scope is 1"], &[]);
        assert_advised(&Denial { undumpable: true, ..denial() }, &["PR_SET_DUMPABLE"], &[]);
        let hidden = Denial { are_processes_hidden: true, ..denial() };
        assert_advised(&hidden, &["hidepid"], &[]);
        let root = Denial { own_user: 0, in_container: true, ..denial() };
        assert_advised(&root, &["--cap-add SYS_PTRACE"], &["sudo"]);
    }

    #[test]
    fn who_may_trace_is_not_told_to_become_root() {
        let tracer = Denial { can_trace_all: true, capabilities: vec!["CAP_SYS_PTRACE"], ..denial() };
        assert_advised(&tracer, &["security module", "with CAP_SYS_PTRACE"], &["sudo"]);
        let inside = Denial { in_user_namespace: true, own_user: 0, ..tracer.clone() };
        assert_advised(&inside, &["user namespace"], &["security module", "sudo"]);
        assert_advised(&Denial { is_filtered: true, ..tracer.clone() }, &["seccomp"], &["sudo"]);
        assert_advised(&Denial { yama_scope: Some(3), ..tracer }, &["ptrace_scope is 3"], &["sudo", "security module"]);
    }
}
