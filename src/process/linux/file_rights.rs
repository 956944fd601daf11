//! Acting as another user where files are opened, as a file server does: what that user may not reach stays closed,
//! also to root.
//!
//! The kernel has user, group and supplementary groups a thread (setfsuid(2)), and takes the capabilities that overrule
//! the permissions of files from a thread whose user for files is not root. Others of our threads notice nothing.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use super::procfs::handle::Handle;
use super::procfs::stat::status_field;

/// What a process may do with files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRights {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// Gives the calling thread its own rights back.
struct Restored {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Drop for Restored {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
        if let Err(error) = set_groups_of_thread(&self.groups) {
            log::warn!("cannot set the groups of this thread back: {error}");
        }
    }
}

impl FileRights {
    /// Those of a process.
    pub(super) fn of_process(handle: &Handle) -> Option<Self> {
        let status = handle.read_file("status", 64 << 10).ok()?;
        // The last of the four numbers is the one for files.
        let last = |name| status_field(&status, name)?.split_ascii_whitespace().nth(3)?.parse().ok();
        let groups = status_field(&status, "Groups:")?.split_ascii_whitespace();
        Some(Self {
            uid: Uid::from_raw(last("Uid:")?),
            gid: Gid::from_raw(last("Gid:")?),
            groups: groups.filter_map(|group| group.parse().ok()).map(Gid::from_raw).collect(),
        })
    }

    /// Whether we may do with files what another user may not: we are root and these are not.
    pub(super) fn are_less_than_ours(&self) -> bool {
        nix::unistd::geteuid().is_root() && !self.uid.is_root()
    }

    /// Does `work` with these rights. `None` where we may not take them.
    pub(super) fn with<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let own_groups = nix::unistd::getgroups().ok()?;
        set_groups_of_thread(&self.groups).ok()?;
        // Both calls return the value before and tell of no failure.
        let gid = setfsgid(self.gid);
        let _restored = Restored { uid: setfsuid(self.uid), gid, groups: own_groups };
        let is_taken = setfsuid(self.uid) == self.uid && setfsgid(self.gid) == self.gid;
        is_taken.then(work)
    }
}

/// `setgroups(2)` for the calling thread only; the C library's is for all threads.
#[expect(unsafe_code, reason = "the C library has no setgroups for one thread")]
fn set_groups_of_thread(groups: &[Gid]) -> io::Result<()> {
    let numbers: Vec<libc::gid_t> = groups.iter().map(|group| group.as_raw()).collect();
    // SAFETY: the kernel reads as many numbers as are given, from memory that lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, numbers.len(), numbers.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Does `work` with the rights of whoever owns `file`, where that is less than ours.
///
/// # Errors
/// When we may not take them.
pub(crate) fn with_rights_of_owner<T>(file: &Metadata, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let rights = FileRights { uid: Uid::from_raw(file.uid()), gid: Gid::from_raw(file.gid()), groups: Vec::new() };
    if !rights.are_less_than_ours() {
        return work();
    }
    rights.with(work).unwrap_or_else(|| Err(io::ErrorKind::PermissionDenied.into()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_thread_has_the_rights_of_another_user_for_a_while() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can act as another user");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let at = |name: &str| folder.path().join(name);
        let of_group = |name: &str, group| {
            fs::write(at(name), "x").unwrap();
            std::os::unix::fs::chown(at(name), None, Some(group)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o640)).unwrap();
        };
        of_group("own", 0);
        of_group("groups", 4242);
        let rights = |groups| FileRights { uid: Uid::from_raw(4000), gid: Gid::from_raw(4001), groups };
        let opens = |groups: Vec<Gid>, name: &str| rights(groups).with(|| File::open(at(name)).is_ok());
        assert_eq!(opens(vec![], "own"), Some(false));
        assert_eq!(opens(vec![], "groups"), Some(false));
        assert_eq!(opens(vec![Gid::from_raw(4242)], "groups"), Some(true));
        let made = rights(vec![]).with(|| File::create(at("made")).unwrap().metadata().unwrap()).unwrap();
        assert_eq!((made.uid(), made.gid()), (4000, 4001));
        // Afterwards, also after a panic, it is itself again.
        let panicked = std::panic::catch_unwind(|| rights(vec![]).with(|| panic!("for this test")));
        assert!(panicked.is_err());
        assert!(File::open(at("own")).is_ok());
        assert_eq!(File::create(at("ours")).unwrap().metadata().unwrap().uid(), 0);
    }
}
