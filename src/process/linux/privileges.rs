//! What we do with rights that our program has and whoever called us has not: set-uid root, as some set it up so that
//! everybody may profile. Then only the capability to read other processes is kept. Files are opened and written, and
//! programs started, with the rights of the caller.

use std::io;

use nix::sys::prctl::set_keepcaps;
use nix::unistd::{getegid, geteuid, getgid, getuid, setresgid, setresuid};

use super::procfs::permission::{CAP_SYS_PTRACE, can_trace_all};

/// The version of the structures of capset(2) with 64 bits (kernel: `include/uapi/linux/capability.h`).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up what the caller has not, but for the capability to read other processes. To be called before anything else
/// is done, and before there are other threads.
///
/// # Errors
/// When that is not possible: then nothing must be done.
pub(crate) fn drop_foreign_rights() -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    if user == geteuid() && group == getegid() {
        return Ok(());
    }
    let keeps_capability = can_trace_all() && !user.is_root();
    set_keepcaps(keeps_capability)?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    if keeps_capability {
        let set = 1 << CAP_SYS_PTRACE;
        set_capabilities(Sets { effective: set, permitted: set, inheritable: 0 })?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "capset has no safe wrapper in nix")]
fn set_capabilities(low: Sets) -> io::Result<()> {
    let header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let sets = [low, Sets::default()];
    // SAFETY: the kernel reads one header and, for this version, two sets, which live through the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
