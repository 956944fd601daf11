//! The target's files, opened so that it cannot lead us astray.
//!
//! A hostile target chooses the paths that we see. So a path is walked inside the target's own root, with symbolic links that cannot leave
//! it; what is there is first only pointed at (`O_PATH`), which waits for nothing and starts no driver; it is opened for reading if it is
//! a regular file, without waiting; and a file that should stand behind a mapping is accepted only if it is the very same one.
//!
//! # Whether it is the same file
//! Device and inode of the maps are compared with those of `stat`. File systems with several devices (btrfs, overlayfs) give different
//! numbers there; then one page of our file is mapped into ourselves and *our* maps are asked, which speak as the target's do.
//!
//! # Limits
//! A file system of the target's own making (FUSE) can still make a read wait.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::handle::Handle;
use super::{address_space, maps};
use crate::process::{DeviceNumber, Mapping};

/// As many symbolic links in one path as the kernel follows.
const LINK_LIMIT: usize = 40;

/// As many parts of a path as are walked, links included.
const PART_LIMIT: usize = 4096;

/// Points at a file without opening it.
const POINT: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// The file behind a mapping.
pub(super) fn open_mapping(handle: &Handle, mapping: &Mapping) -> io::Result<File> {
    let candidates: [&dyn Fn() -> io::Result<OwnedFd>; 4] = [
        // Needs CAP_CHECKPOINT_RESTORE; works for files that are deleted, replaced or in another mount namespace.
        &|| point_at(handle, &format!("map_files/{:x}-{:x}", mapping.start, mapping.end)),
        &|| point_at(handle, &address_space::program_link(handle)?),
        &|| point_in_root(handle, path_of(mapping)?),
        // The path is printed for our root, so that of a target in a changed root (chroot) can be right as it is.
        &|| Ok(open(path_of(mapping)?, POINT | OFlag::O_NOFOLLOW, Mode::empty())?),
    ];
    let mut first_error = None;
    for candidate in candidates {
        match candidate().and_then(|pointer| open_regular(&pointer)).and_then(|file| same_file(file, mapping)) {
            Ok(file) => return Ok(file),
            // The first error is that of a way that needs more rights than most have; the others say more.
            Err(error) => {
                first_error = Some(first_error.filter(|_: &io::Error| !is_permission(&error)).unwrap_or(error))
            }
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// A regular file at `path` as the target would find it; a relative path is taken from its working directory and must stay below that.
pub(super) fn open_in_root(handle: &Handle, path: &Path) -> io::Result<File> {
    open_regular(&point_in_root(handle, path)?)
}

/// Whether there is a regular file at `path` as the target would find it.
pub(super) fn is_file_in_root(handle: &Handle, path: &Path) -> bool {
    point_in_root(handle, path).and_then(|pointer| Ok(fstat(&pointer)?)).is_ok_and(|metadata| is_regular(&metadata))
}

/// A regular file at `path` as a process with the root directory `root` would find it.
///
/// # Errors
/// When there is none or it may not be read.
pub fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let anchor = open(root, POINT | OFlag::O_DIRECTORY, Mode::empty())?;
    open_regular(&point_below(&anchor, Path::new("/").join(path).as_path())?)
}

fn path_of(mapping: &Mapping) -> io::Result<&Path> {
    mapping.path.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn is_permission(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Points at what a link in the process's own directory of `/proc` leads to.
fn point_at(handle: &Handle, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(handle.directory(), name, POINT, Mode::empty())?)
}

fn point_in_root(handle: &Handle, path: &Path) -> io::Result<OwnedFd> {
    let anchor = if path.is_absolute() { "root" } else { "cwd" };
    let anchor = openat(handle.directory(), anchor, POINT | OFlag::O_DIRECTORY, Mode::empty())?;
    point_below(&anchor, path)
}

/// An absolute path is walked with `anchor` as the root, a relative one from there and never above it.
fn point_below(anchor: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let resolve = if path.is_absolute() { ResolveFlag::RESOLVE_IN_ROOT } else { ResolveFlag::RESOLVE_BENEATH };
    let how = OpenHow::new().flags(POINT).resolve(resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(anchor, path, how) {
        Ok(pointer) => Ok(pointer),
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(walk(anchor.as_fd(), path, path.is_absolute())?),
        Err(error) => Err(error.into()),
    }
}

/// What `openat2` does, part by part. With `is_root` the anchor is the root, above which there is nothing; else nothing may lead out.
fn walk(anchor: BorrowedFd<'_>, path: &Path, is_root: bool) -> Result<OwnedFd, Errno> {
    // What is still to be walked, the next part last.
    let mut parts: Vec<PathBuf> = parts_of(path);
    // The directories from the anchor down to where we are.
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    let mut walked = 0;
    while let Some(part) = parts.pop() {
        walked += 1;
        if walked > PART_LIMIT {
            return Err(Errno::ENAMETOOLONG);
        }
        match part.as_os_str().as_encoded_bytes() {
            b"/" if is_root => above.clear(),
            b"/" => return Err(Errno::EXDEV),
            b"." => {}
            b".." if above.is_empty() && !is_root => return Err(Errno::EXDEV),
            b".." => drop(above.pop()),
            _ => {
                let here = above.last().map_or(anchor, AsFd::as_fd);
                let next = openat(here, part.as_path(), POINT | OFlag::O_NOFOLLOW, Mode::empty())?;
                if file_type(&fstat(&next)?) == SFlag::S_IFLNK {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(Errno::ELOOP);
                    }
                    let target = readlinkat(&next, "")?;
                    parts.extend(parts_of(Path::new(&target)));
                } else {
                    above.push(next);
                }
            }
        }
    }
    // A path of no parts is the anchor itself, a directory, which nobody here asks for.
    above.pop().ok_or(Errno::EISDIR)
}

/// The parts of a path, the first one last.
fn parts_of(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Opens for reading what is pointed at, if it is a regular file.
fn open_regular(pointer: &OwnedFd) -> io::Result<File> {
    if !is_regular(&fstat(pointer)?) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    // This link leads to the very file that was looked at, whatever its path names by now.
    let link = format!("/proc/self/fd/{}", pointer.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(File::from(open(link.as_str(), flags, Mode::empty())?))
}

fn file_type(metadata: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(metadata.st_mode & SFlag::S_IFMT.bits())
}

fn is_regular(metadata: &FileStat) -> bool {
    file_type(metadata) == SFlag::S_IFREG
}

/// Hands `file` through if it is the one behind `mapping`.
fn same_file(file: File, mapping: &Mapping) -> io::Result<File> {
    let metadata = fstat(&file)?;
    let device = DeviceNumber { major: libc::major(metadata.st_dev), minor: libc::minor(metadata.st_dev) };
    let wanted = (mapping.device, mapping.inode);
    if mapping.inode != 0 && ((device, metadata.st_ino) == wanted || identity_in_maps(&file)? == wanted) {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "there is another file now where the mapped one was"))
}

/// Device and inode of a file as maps show them, found by mapping it into ourselves.
fn identity_in_maps(file: &File) -> io::Result<(DeviceNumber, u64)> {
    let mapped = map_one_byte(file)?;
    let address = mapped.as_ptr().addr() as u64;
    let mappings = maps::parse(&fs::read("/proc/self/maps")?);
    let own = mappings.iter().find(|mapping| mapping.contains(address)).ok_or(io::ErrorKind::NotFound)?;
    Ok((own.device, own.inode))
}

#[expect(unsafe_code, reason = "mapping a file is unsafe in memmap2, as another process may change it")]
fn map_one_byte(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is never read, so that it does not matter who changes the file; only its address is used.
    unsafe { MmapOptions::new().len(1).map(file) }
}
