//! Whom a program that we start runs as: where sudo made us root, not as root but as whoever called sudo, as py-spy has
//! it. A program is profiled with the rights that it is run with otherwise, and leaves no files of root's behind.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, getgrouplist, setgid, setgroups, setuid};

use super::file_rights::FileRights;
use super::procfs::permission::can_trace_all;

/// A user with his groups.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// His name, or his number where he has none.
    pub(super) name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: Option<PathBuf>,
}

impl Caller {
    /// Who called us through sudo (`SUDO_UID`, sudo(8)); `None` where nobody did, or where we could not read a program
    /// of his.
    pub(super) fn find() -> Option<Self> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let uid = Uid::from_raw(number("SUDO_UID").filter(|uid| *uid != 0)?);
        if !nix::unistd::geteuid().is_root() || !can_trace_all() {
            return None;
        }
        let user = User::from_uid(uid).ok().flatten();
        let gid = user.as_ref().map(|user| user.gid).or_else(|| number("SUDO_GID").map(Gid::from_raw))?;
        let groups = user.as_ref().and_then(|user| getgrouplist(&CString::new(user.name.as_str()).ok()?, gid).ok());
        Some(Self {
            name: user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone()),
            uid,
            gid,
            groups: groups.unwrap_or_else(|| vec![gid]),
            home: user.map(|user| user.dir),
        })
    }

    /// Does `work` with the rights that this user has to files; what it makes is his. `None` where we may not act as
    /// him.
    pub(super) fn with_rights<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        FileRights { uid: self.uid, gid: self.gid, groups: self.groups.clone() }.with(work)
    }

    /// Lets the program of `command` run as this user.
    #[expect(unsafe_code, reason = "what runs between fork and exec is restricted")]
    pub(super) fn run_as(self, command: &mut Command) {
        if let Some(home) = &self.home {
            command.env("HOME", home).env("USER", &self.name).env("LOGNAME", &self.name);
        }
        let Self { uid, gid, groups, .. } = self;
        // SAFETY: between fork and exec this makes three system calls and takes no memory and no lock; the errors are
        // numbers.
        unsafe {
            command.pre_exec(move || {
                setgroups(&groups)?;
                setgid(gid)?;
                setuid(uid)?;
                Ok(())
            });
        }
    }
}
