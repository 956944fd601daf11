//! A socket to whoever has started us (`--control-fd`): he says when we may begin, and hears when we have.
//!
//! A program that has itself recorded cannot allow its child to read it (Yama, `PR_SET_PTRACER`) before there is a
//! child, and wants to go on only when samples are being taken.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use anyhow::Context;

use crate::cli::RecordArgs;
use crate::sampler::Progress;

/// What is said when the first sample has been taken.
const READY: &[u8] = b"ready\n";

/// The socket, until we have said that we are ready.
#[derive(Debug)]
pub(super) struct Control(Option<File>);

impl Control {
    /// Takes the socket that was asked for, and waits until the other side allows us to begin.
    pub(super) fn take(arguments: &RecordArgs) -> anyhow::Result<Self> {
        let Some(number) = arguments.control_fd else { return Ok(Self(None)) };
        let what = || format!("--control-fd {number}: nobody says there that the recording may begin");
        let mut socket = take_descriptor(number).with_context(what)?;
        let mut word = [0];
        socket.read_exact(&mut word).with_context(what)?;
        Ok(Self(Some(socket)))
    }

    /// Says that we are ready once there has been a sample.
    pub(super) fn tell_of(&mut self, progress: &Progress) {
        if progress.ticks == 0 {
            return;
        }
        if let Some(mut socket) = self.0.take()
            && let Err(error) = socket.write_all(READY)
            && error.kind() != ErrorKind::BrokenPipe
        {
            log::warn!("cannot say that the recording has begun: {error}");
        }
    }
}

/// A handle of our own on a descriptor that we have inherited; programs that we start get neither.
#[cfg(unix)]
#[expect(unsafe_code, reason = "a descriptor given by number belongs to nobody that the compiler knows")]
fn take_descriptor(number: i32) -> io::Result<File> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    // SAFETY: it is borrowed for the two calls below, which fail where the number is that of no open file.
    let inherited = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(inherited, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(File::from(inherited.try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn take_descriptor(_: i32) -> io::Result<File> {
    Err(io::Error::new(ErrorKind::Unsupported, "only Unix has descriptors that are inherited by number"))
}
