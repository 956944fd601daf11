//! The directory of one process in `/proc`, kept open.
//!
//! It stays that of the process for which it was opened: once that is gone, everything below it fails (`ESRCH` or
//! `ENOENT`), whoever has the number by then.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};

use super::stat::{STAT_LINE_LIMIT, StatLine};

/// More entries than a directory of `/proc` can have: the kernel's limit on process numbers.
const ENTRY_LIMIT: usize = 4 << 20;

/// Room for most files of `/proc`, in bytes. To begin with less costs a call for each doubling, as these files do not
/// tell their size.
const USUAL_SIZE: u64 = 16 << 10;

/// Files of `/proc` are never waited for.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// Opens a directory, for its entries or as the place that paths begin at.
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Whether the file system of processes is at `/proc`: the bare root of a container or a chroot may have none.
pub(crate) fn is_mounted() -> bool {
    statfs("/proc").is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

/// The directory of one process.
#[derive(Debug)]
pub(crate) struct Directory {
    pid: i32,
    descriptor: OwnedFd,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Directory {
    /// Opens that of process `pid`.
    pub(super) fn open(pid: i32) -> nix::Result<Self> {
        let descriptor = open(format!("/proc/{pid}").as_str(), DIRECTORY, Mode::empty())?;
        Ok(Self { pid, descriptor })
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Opens a file below it for reading.
    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        Ok(File::from(openat(&self.descriptor, name, READ, Mode::empty())?))
    }

    /// The bytes of a file below it, at most `limit`.
    pub(super) fn read_file(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(limit.min(USUAL_SIZE)).unwrap_or(0));
        self.open_file(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where a link below it points to.
    pub(super) fn read_link(&self, name: &str) -> io::Result<PathBuf> {
        Ok(PathBuf::from(readlinkat(&self.descriptor, name)?))
    }

    /// The entries of a directory below it that are numbers.
    pub(super) fn numbers(&self, name: &str) -> io::Result<Vec<i32>> {
        let mut directory = Dir::openat(&self.descriptor, name, DIRECTORY, Mode::empty())?;
        let mut numbers = Vec::new();
        for entry in directory.iter().take(ENTRY_LIMIT) {
            if let Some(number) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// A file below it that is a `stat` line: of the process or of one of its threads.
    pub(super) fn read_stat(&self, name: &str) -> io::Result<StatLine> {
        let file = self.open_file(name)?;
        let mut line = [0; STAT_LINE_LIMIT];
        let length = file.read_at(&mut line, 0)?;
        StatLine::parse(line.get(..length).unwrap_or_default()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
