//! What is at the place of an output already, opened by the rules of the kernel: a path that only names it, looked up
//! by us, would go past `fs.protected_symlinks`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::time::{Duration, Instant};

#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};

/// How long somebody is given to open the other end of a FIFO.
#[cfg(unix)]
const READER_PATIENCE: Duration = Duration::from_secs(5);
#[cfg(unix)]
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Something that is at the place of an output and may be written.
pub(super) struct Existing {
    /// Open for writing, and as it was.
    pub(super) file: File,
    /// Where it is, without links.
    pub(super) path: PathBuf,
}

/// Opens what is at `path`, through links as far as the kernel follows them; `None` where nothing is, or a link that
/// leads to nothing.
pub(super) fn open_existing(path: &Path) -> io::Result<Option<Existing>> {
    let file = match open_for_writing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error_of(path, error)),
    };
    // A pipe or a socket that we have as a descriptor has no other path.
    let real = if file.metadata()?.is_file() { fs::canonicalize(path)? } else { path.to_owned() };
    if is_at(&file, path)? && is_at(&file, &real)? {
        return Ok(Some(Existing { file, path: real }));
    }
    Err(io::Error::other("it was replaced while it was opened"))
}

/// Whether `file` is what `path` leads to.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(identity(&file.metadata()?) == identity(&fs::metadata(path)?));
    #[cfg(not(unix))]
    return fs::metadata(path).map(|_| file.metadata().is_ok());
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A FIFO is opened without waiting for a reader, who then has some time to come.
#[cfg(unix)]
fn open_for_writing(path: &Path) -> io::Result<File> {
    let started = Instant::now();
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    loop {
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_fifo(path) => {
                if started.elapsed() >= READER_PATIENCE {
                    let text = "nobody has opened this FIFO for reading";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                std::thread::sleep(BETWEEN_TRIES);
            }
            Err(error) => return Err(error),
            Ok(file) => {
                let flags = nix::fcntl::OFlag::empty();
                nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(flags))?;
                return Ok(file);
            }
        }
    }
}

#[cfg(not(unix))]
fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

#[cfg(unix)]
fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// With what the system's error does not say: that it was the link, not the file, that we may not use.
#[cfg(unix)]
fn error_of(path: &Path, error: io::Error) -> io::Error {
    let Some(owner) = owner_of_foreign_link(path) else { return error };
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let text = format!(
        "{error}: it is a link of user {owner} in a directory for everybody, which fs.protected_symlinks forbids to \
         follow"
    );
    io::Error::new(error.kind(), text)
}

#[cfg(not(unix))]
fn error_of(_path: &Path, error: io::Error) -> io::Error {
    error
}

/// Who owns `path` if that is a link which the kernel follows only for its owner (kernel: `fs/namei.c`,
/// `may_follow_link`).
#[cfg(unix)]
fn owner_of_foreign_link(path: &Path) -> Option<u32> {
    const STICKY: u32 = 0o1000;
    const WRITABLE_FOR_ALL: u32 = 0o002;
    let link = fs::symlink_metadata(path).ok().filter(|metadata| metadata.is_symlink())?;
    let folder = fs::metadata(path.parent().filter(|folder| !folder.as_os_str().is_empty())?).ok()?;
    let is_for_all = folder.permissions().mode() & (STICKY | WRITABLE_FOR_ALL) == STICKY | WRITABLE_FOR_ALL;
    (is_for_all && link.uid() != nix::unistd::geteuid().as_raw()).then_some(link.uid())
}

/// Owner and mode of a file that another one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ownership {
    #[cfg(unix)]
    user: u32,
    #[cfg(unix)]
    group: u32,
    #[cfg(unix)]
    mode: u32,
}

impl Ownership {
    /// That of a file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let metadata = file.metadata()?;
            // Bits that run a file as its owner are lost when it is written, too.
            Ok(Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.permissions().mode() & 0o777 })
        }
        #[cfg(not(unix))]
        file.metadata().map(|_| Self {})
    }

    /// Gives it to another file.
    ///
    /// # Errors
    /// When that file may not be given away.
    pub(super) fn give_to(self, file: &File) -> io::Result<()> {
        if Self::of(file)? == self {
            return Ok(());
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::fchown(file, Some(self.user), Some(self.group))?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        }
        Ok(())
    }
}
