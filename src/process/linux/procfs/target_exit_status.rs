//! How a process ended that is not our child, so that `waitpid` is not for us.
//!
//! Two places tell. While its parent has not collected it, field 52 of its `stat` line does, to those who may trace it;
//! to all others it shows 0, which must not be taken for success. Once it is collected, a pidfd that was opened before
//! does, from Linux 6.15 on. Where both fail (an older kernel and a parent that was quicker than we), it cannot be
//! known.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::directory::Directory;
use super::stat::exit_code;

/// The status of a process that has exited, if it can be known from its directory and its pidfd.
pub(super) fn exit_status_of(directory: &Directory, pidfd: Option<BorrowedFd<'_>>) -> Option<ExitStatus> {
    let raw = pidfd.and_then(of_collected).or_else(|| of_zombie(directory))?;
    Some(ExitStatus::from_raw(raw))
}

/// From `stat`, while its parent has not collected it.
fn of_zombie(directory: &Directory) -> Option<i32> {
    // The link needs the same right as the field. To whoever has it the link of a process without memory is not there.
    let denied = directory.read_link("exe").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if denied {
        return None;
    }
    let line = directory.read_file("stat", 4096).ok()?;
    exit_code(&line)
}

/// `struct pidfd_info` of Linux, in its first size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    /// What is asked for; what was answered.
    mask: u64,
    control_group: u64,
    /// The pid, that of the thread group and of the parent; four user ids, four group ids.
    numbers: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`
const WITH_EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: both directions, the size of the structure, `PIDFS_IOCTL_MAGIC`, 11.
const GET_INFO: u32 = (3 << 30) | ((size_of::<PidfdInfo>() as u32) << 16) | (0xFF << 8) | 11;

/// From the pidfd, once its parent has collected it.
#[expect(unsafe_code, reason = "this ioctl has no wrapper in nix")]
fn of_collected(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: WITH_EXIT, ..PidfdInfo::default() };
    // SAFETY: the number tells the kernel the size of `info`, which lives through the call; older kernels refuse the
    // number.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (result == 0 && info.mask & WITH_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::linux::procfs::handle::Handle;
    use crate::process::linux::testing::{Target, become_nobody, wait_until};

    /// A shell whose child, a shell too, runs `script` after a line of input. The parent collects it only after a
    /// second line, and then says so.
    fn parent_of(script: &str) -> (Target, Handle) {
        let program = format!(
            "import subprocess; child = subprocess.Popen(['sh', '-c', 'read line; {script}'], stdin=subprocess.PIPE); \
             ready(); say(str(child.pid)); sys.stdin.readline(); child.stdin.write(b'\\n'); child.stdin.flush(); \
             sys.stdin.readline(); child.wait(); say('collected'); sys.stdin.readline()"
        );
        let mut parent = Target::python(&program);
        let child = parent.line().parse().unwrap();
        let handle = Handle::open(child).unwrap();
        (parent, handle)
    }

    #[test]
    fn codes_and_signals_are_known_before_and_after_the_parent_collects_them() {
        for (script, code, signal) in [
            ("exit 0", Some(0), None),
            ("exit 42", Some(42), None),
            ("kill -KILL $$", None, Some(libc::SIGKILL)),
            ("kill -TERM $$", None, Some(libc::SIGTERM)),
        ] {
            let (mut parent, handle) = parent_of(script);
            assert_eq!(status_of(&handle), None, "it has not exited");
            parent.tell("");
            assert!(handle.wait_for_exit(Duration::from_secs(30)));
            let expected = Some((code, signal));
            let seen = |status: Option<ExitStatus>| status.map(|status| (status.code(), status.signal()));
            assert_eq!(of_zombie(handle.directory()).map(ExitStatus::from_raw).map(|status| status.code()), Some(code));
            assert_eq!(seen(status_of(&handle)), expected, "{script}, not collected");
            parent.tell("");
            assert_eq!(parent.line(), "collected");
            assert_eq!(of_zombie(handle.directory()), None);
            let collected = handle.pidfd().and_then(of_collected);
            if collected.is_none() {
                note_skip("this kernel tells no exit status by pidfd");
            } else {
                assert_eq!(collected.map(ExitStatus::from_raw).map(|s| (s.code(), s.signal())), expected, "{script}");
            }
            // What was seen at the exit is kept.
            assert_eq!(seen(handle.exit_status()), expected, "{script}, collected");
        }
    }

    fn status_of(handle: &Handle) -> Option<ExitStatus> {
        exit_status_of(handle.directory(), handle.pidfd())
    }

    fn note_skip(reason: &str) {
        eprintln!("skipped: {reason}");
    }

    #[test]
    fn a_process_that_was_collected_before_anyone_looked_has_a_status_or_none_but_no_wrong_one() {
        let (mut parent, handle) = parent_of("exit 7");
        parent.tell("");
        parent.tell("");
        assert_eq!(parent.line(), "collected");
        wait_until("it is gone", || handle.stat_line().is_err());
        assert!(matches!(handle.exit_status().map(|status| status.code()), None | Some(Some(7))));
        // Without a pidfd there is nobody left to ask.
        let (mut parent, handle) = parent_of("exit 7");
        let handle = handle.without_pidfd();
        parent.tell("");
        parent.tell("");
        assert_eq!(parent.line(), "collected");
        assert_eq!(handle.exit_status(), None);
    }

    #[test]
    fn who_may_not_trace_it_is_not_told_success() {
        if !nix::unistd::geteuid().is_root() {
            return note_skip("only root can become somebody else");
        }
        let mut child = std::process::Command::new("sh").args(["-c", "exit 9"]).spawn().unwrap();
        let handle = Handle::open(child.id().cast_signed()).unwrap();
        wait_until("it is a zombie", || handle.has_exited_quietly());
        let seen_by_nobody = std::thread::scope(|scope| {
            let look = || {
                become_nobody();
                (of_zombie(handle.directory()), handle.exit_status())
            };
            scope.spawn(look).join().unwrap()
        });
        assert_eq!(seen_by_nobody, (None, None));
        assert_eq!(handle.exit_status().and_then(|status| status.code()), Some(9));
        child.wait().unwrap();
    }
}
