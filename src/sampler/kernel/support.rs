//! Whether the kernel can and may sample for us, and what is missing if not.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use std::io;

use thiserror::Error;

/// Why the kernel does not take samples.
#[derive(Debug, Error)]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    expect(dead_code, reason = "most can only be missing where it is there at all")
)]
pub(crate) enum Unavailable {
    /// Not this system.
    #[cfg_attr(all(target_os = "linux", target_arch = "x86_64"), expect(dead_code, reason = "it is this system"))]
    #[error("it is there on Linux with x86-64 only")]
    System,
    /// We lack rights.
    #[error("it needs CAP_BPF and CAP_PERFMON, which root has: run pyspy as root")]
    Rights,
    /// The kernel does not describe its own structs.
    #[error("the kernel has no /sys/kernel/btf/vmlinux; one that is built with CONFIG_DEBUG_INFO_BTF has")]
    TypeInformation,
    /// The kernel is too old.
    #[error("it takes Linux 5.17 or later, and this is {0}")]
    Release(String),
    /// We are in a container: threads have other numbers outside.
    #[error("pyspy runs in a pid namespace; run it on the host, or with --pid=host")]
    PidNamespace,
    /// The kernel refused the program or an event.
    #[error("the kernel refused {what}: {why}")]
    Refused {
        /// What.
        what: &'static str,
        /// As it says.
        why: String,
    },
    /// The structs of this Python do not fit.
    #[error("this version of Python is not known to it")]
    Version,
    /// The kernel does not tell what its functions are called.
    #[error("--kernel-frames takes the names of the kernel's functions: {0}")]
    Symbols(String),
    /// There is more than one interpreter.
    #[error("the process has several interpreters")]
    Interpreters,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Unavailable {
    /// An error of the system, with what it means to who has all rights.
    pub(super) fn refused(what: &'static str, error: &io::Error) -> Self {
        let hint = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "; a container, kernel lockdown, or kernel.perf_event_paranoid may forbid it"
            }
            Some(libc::EMFILE) => "; a higher limit of open files (ulimit -n) helps",
            Some(libc::EINVAL) => "; it takes Linux 5.17 or later",
            _ => "",
        };
        Self::Refused { what, why: format!("{error}{hint}") }
    }
}

/// The bits of capabilities (`include/uapi/linux/capability.h`).
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const CAP_SYS_ADMIN: u32 = 21;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const CAP_PERFMON: u32 = 38;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const CAP_BPF: u32 = 39;
/// The inode of the machine's first pid namespace (`include/linux/proc_ns.h`, `PROC_PID_INIT_INO`).
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What can be told without asking the kernel to do it.
///
/// # Errors
/// What is missing.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn check_rights() -> Result<(), Unavailable> {
    use std::os::unix::fs::MetadataExt;
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective & 1 << capability != 0;
    if !(has(CAP_SYS_ADMIN) || has(CAP_BPF) && has(CAP_PERFMON)) {
        return Err(Unavailable::Rights);
    }
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(Unavailable::TypeInformation);
    }
    if let Some(release) = release_without_loops() {
        return Err(Unavailable::Release(release));
    }
    let namespace = std::fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino());
    if namespace.is_ok_and(|inode| inode != FIRST_PID_NAMESPACE) {
        return Err(Unavailable::PidNamespace);
    }
    Ok(())
}

/// The release of the kernel if it lacks `bpf_loop`, which came with 5.17; some that are older by name have it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn release_without_loops() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    if version >= (5, 17) {
        return None;
    }
    let types = std::fs::read("/sys/kernel/btf/vmlinux").ok()?;
    memchr::memmem::find(&types, b"\0BPF_FUNC_loop\0").is_none().then_some(release)
}

/// Never.
///
/// # Errors
/// Always.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn check_rights() -> Result<(), Unavailable> {
    Err(Unavailable::System)
}
