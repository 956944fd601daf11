//! Why we may not read a process: the facts that stand behind a refusal.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::signal::kill;
use nix::sys::stat::fstatat;
use nix::unistd::Pid;

use super::directory::Directory;
use super::stat::status_field;
use crate::process::{Denial, ProcessError};

/// `CAP_SYS_PTRACE` (kernel: `include/uapi/linux/capability.h`).
pub(crate) const CAP_SYS_PTRACE: u32 = 19;

/// Those that decide what is opened of other processes: their numbers and names.
const CAPABILITIES: [(u32, &str); 3] =
    [(CAP_SYS_PTRACE, "CAP_SYS_PTRACE"), (2, "CAP_DAC_READ_SEARCH"), (1, "CAP_DAC_OVERRIDE")];

/// The inodes of the machine's first namespaces (kernel: `include/linux/proc_ns.h`, `PROC_PID_INIT_INO` and
/// `PROC_USER_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The error for `refused` of a process, which we may not read.
pub(crate) fn denied(directory: &Directory, refused: &str) -> ProcessError {
    let status = directory.read_file("status", 64 << 10).unwrap_or_default();
    let target_user = second_number(&status, "Uid:");
    // The kernel gives the files of an undumpable process to root, whoever the process acts as; its directory stays
    // that user's.
    let file = fstatat(directory, "status", AtFlags::empty());
    let file_owner = file.ok().map(|metadata| metadata.st_uid);
    let tracer = status_field(&status, "TracerPid:").and_then(|field| field.parse().ok());
    ProcessError::Denied(Box::new(Denial {
        target_user,
        undumpable: target_user.is_some_and(|user| user != 0) && file_owner == Some(0),
        tracer: tracer.filter(|tracer| *tracer != 0),
        ..own_rights(directory.pid(), refused)
    }))
}

/// The error for a process that `/proc` hides from us though it is there; `None` where there is none.
pub(crate) fn hidden(pid: i32) -> Option<ProcessError> {
    let is_there = !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH));
    let denial = own_rights(pid, "the directory in /proc");
    (is_there && denial.are_processes_hidden).then(|| ProcessError::Denied(Box::new(denial)))
}

/// What a refusal has to do with ourselves.
fn own_rights(pid: i32, refused: &str) -> Denial {
    let own = fs::read("/proc/thread-self/status").unwrap_or_default();
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    let inode = |path: &str| fs::metadata(path).map(|metadata| metadata.ino()).ok();
    Denial {
        pid,
        refused: refused.to_owned(),
        own_user: nix::unistd::geteuid().as_raw(),
        can_trace_all: has_capability(&own, CAP_SYS_PTRACE),
        capabilities: CAPABILITIES
            .iter()
            .filter(|(bit, _)| has_capability(&own, *bit))
            .map(|(_, name)| *name)
            .collect(),
        yama_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        in_container: inode("/proc/self/ns/pid").is_some_and(|inode| inode != FIRST_PID_NAMESPACE),
        in_user_namespace: inode("/proc/self/ns/user").is_some_and(|inode| inode != FIRST_USER_NAMESPACE),
        is_filtered: status_field(&own, "Seccomp:") == Some("2"),
        are_processes_hidden: hides_processes(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()),
        ..Denial::default()
    }
}

/// Whether a list of mounts says that `/proc` shows less of others' processes (proc(5), `hidepid`).
fn hides_processes(mounts: &str) -> bool {
    let proc_mounts = mounts.lines().filter(|line| line.split(' ').nth(1) == Some("/proc"));
    let options = proc_mounts.filter_map(|line| line.split(' ').nth(3));
    options
        .flat_map(|options| options.split(','))
        .any(|option| option.strip_prefix("hidepid=").is_some_and(|value| !["0", "off"].contains(&value)))
}

/// Whether we hold the capability to trace any process.
pub(crate) fn can_trace_all() -> bool {
    has_capability(&fs::read("/proc/thread-self/status").unwrap_or_default(), CAP_SYS_PTRACE)
}

fn has_capability(status: &[u8], capability: u32) -> bool {
    status_field(status, "CapEff:")
        .and_then(|field| u64::from_str_radix(field, 16).ok())
        .is_some_and(|set| set & (1 << capability) != 0)
}

/// The second of the numbers of a field: of `Uid:`, the effective one.
fn second_number(status: &[u8], name: &str) -> Option<u32> {
    status_field(status, name)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        assert!(has_capability(b"CapPrm:\t0000000000000000\nCapEff:\t0000000000080000\n", CAP_SYS_PTRACE));
        assert!(!has_capability(b"CapPrm:\tffffffffffffffff\nCapEff:\t0000000000000000\n", CAP_SYS_PTRACE));
        assert!(!has_capability(b"", CAP_SYS_PTRACE));
    }

    #[test]
    fn hidden_processes_are_an_option_of_the_mount() {
        assert!(!hides_processes("proc /proc proc rw,nosuid 0 0\nproc /chroot/proc proc rw,hidepid=2 0 0\n"));
        assert!(!hides_processes("proc /proc proc rw,hidepid=off 0 0\n"));
        assert!(hides_processes("proc /proc proc rw,nosuid,hidepid=invisible 0 0\n"));
        assert!(hides_processes("proc /proc proc rw,gid=5,hidepid=2 0 0\n"));
    }

    #[test]
    fn the_acting_user_is_the_second_number() {
        assert_eq!(second_number(b"Uid:\t1000\t33\t33\t33\n", "Uid:"), Some(33));
    }
}
