//! Why we may not read a process: the facts that stand behind a refusal.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::directory::Directory;
use super::stat::status_field;
use crate::process::{Denial, ProcessError};

/// `CAP_SYS_PTRACE` (kernel: `include/uapi/linux/capability.h`).
const CAP_SYS_PTRACE: u32 = 19;

/// The inode of the machine's first pid namespace (kernel: `include/linux/proc_ns.h`, `PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The error for a process that we may not read.
pub(crate) fn denied(directory: &Directory) -> ProcessError {
    let status = directory.read_file("status", 64 << 10).unwrap_or_default();
    let target_user = second_number(&status, "Uid:");
    // The kernel gives the files of an undumpable process to root, whoever the process acts as; its directory stays
    // that user's.
    let file = fstatat(directory, "status", AtFlags::empty());
    let file_owner = file.ok().map(|metadata| metadata.st_uid);
    let tracer = status_field(&status, "TracerPid:").and_then(|field| field.parse().ok());
    ProcessError::Denied(Box::new(Denial {
        pid: directory.pid(),
        own_user: nix::unistd::geteuid().as_raw(),
        target_user,
        can_trace_all: can_trace_all(),
        yama_scope: fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        undumpable: target_user.is_some_and(|user| user != 0) && file_owner == Some(0),
        in_container: fs::metadata("/proc/self/ns/pid").is_ok_and(|metadata| metadata.ino() != FIRST_PID_NAMESPACE),
        tracer: tracer.filter(|tracer| *tracer != 0),
    }))
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
    fn the_acting_user_is_the_second_number() {
        assert_eq!(second_number(b"Uid:\t1000\t33\t33\t33\n", "Uid:"), Some(33));
    }
}
