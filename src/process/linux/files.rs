//! The target's files, opened so that it cannot lead us astray.
//!
//! A hostile target chooses the paths that we see. So a path is walked inside the target's own root, with symbolic
//! links that cannot leave it; what is there is first only pointed at (`O_PATH`), which waits for nothing and starts no
//! driver; it is opened for reading if it is a regular file, without waiting; and a file that should stand behind a
//! mapping is accepted only if it is the very same one.
//!
//! # Whether it is the same file
//! Device and inode of the maps are compared with those of `stat`. File systems with several devices (btrfs, overlayfs)
//! give different numbers there; then one page of our file is mapped into ourselves and *our* maps are asked, which
//! speak as the target's do.
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

use super::file_rights::FileRights;
use super::procfs::handle::Handle;
use super::procfs::{address_space, maps};
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
    let mut failure: Option<io::Error> = None;
    for candidate in candidates {
        match candidate().and_then(|pointer| open_regular(&pointer)).and_then(|file| same_file(file, mapping)) {
            Ok(file) => return Ok(file),
            // That a way needs more rights than we have says less than what another way ended with.
            Err(error) if failure.as_ref().is_none_or(is_permission) => failure = Some(error),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// A regular file at `path` as the target would find it; a relative path is taken from its working directory and must
/// stay below that.
pub(super) fn open_in_root(handle: &Handle, path: &Path) -> io::Result<File> {
    open_regular(&point_in_root(handle, path)?)
}

/// A regular file at `path` as the target would find it, if the target's user may read it: where we are root, what the
/// target names must not show what it has no right to.
pub(super) fn open_as_target(handle: &Handle, path: &Path) -> io::Result<File> {
    let rights = FileRights::of_process(handle).ok_or(io::ErrorKind::PermissionDenied)?;
    if !rights.are_less_than_ours() {
        return open_in_root(handle, path);
    }
    let (anchor, is_root) = anchor_of(handle, path)?;
    let opened = rights.with(|| open_regular(&resolve(anchor.as_fd(), path, is_root)?));
    opened.unwrap_or_else(|| Err(io::ErrorKind::PermissionDenied.into()))
}

/// Whether there is a regular file at `path` as the target would find it.
pub(super) fn is_file_in_root(handle: &Handle, path: &Path) -> bool {
    point_in_root(handle, path).and_then(|pointer| Ok(fstat(&pointer)?)).is_ok_and(|metadata| is_regular(&metadata))
}

/// A regular file at `path` as a process with the root directory `root` would find it.
///
/// # Errors
/// When there is none or it may not be read.
pub(crate) fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let anchor = open(root, POINT | OFlag::O_DIRECTORY, Mode::empty())?;
    open_regular(&resolve(anchor.as_fd(), &Path::new("/").join(path), true)?)
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
    let (anchor, is_root) = anchor_of(handle, path)?;
    Ok(resolve(anchor.as_fd(), path, is_root)?)
}

/// Where the target begins to look for `path`, and whether that is its root.
fn anchor_of(handle: &Handle, path: &Path) -> io::Result<(OwnedFd, bool)> {
    let anchor = if path.is_absolute() { "root" } else { "cwd" };
    let anchor = openat(handle.directory(), anchor, POINT | OFlag::O_DIRECTORY, Mode::empty())?;
    Ok((anchor, path.is_absolute()))
}

/// Points at `path` as seen from the anchor, without leaving it.
fn resolve(anchor: BorrowedFd<'_>, path: &Path, is_root: bool) -> Result<OwnedFd, Errno> {
    let scope = if is_root { ResolveFlag::RESOLVE_IN_ROOT } else { ResolveFlag::RESOLVE_BENEATH };
    let how = OpenHow::new().flags(POINT).resolve(scope | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(anchor, path, how) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => walk(anchor, path, is_root),
        result => result,
    }
}

/// What `openat2` does, part by part. With `is_root` the anchor is the root, above which there is nothing; else nothing
/// may lead out.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::Target;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn text_of(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// A directory that stands for a root: files, links that would lead out of it elsewhere, a FIFO, a loop.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("usr/lib")).unwrap();
        fs::create_dir_all(at("etc")).unwrap();
        fs::write(at("etc/hostname"), "inside").unwrap();
        fs::write(at("usr/lib/module.py"), "module").unwrap();
        symlink("/etc/hostname", at("absolute")).unwrap();
        symlink("../../../../etc/hostname", at("usr/lib/relative")).unwrap();
        symlink("/usr/lib", at("lib")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("/proc/self/root/etc/hostname", at("magic")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        root
    }

    type Resolve = fn(BorrowedFd<'_>, &Path, bool) -> Result<OwnedFd, Errno>;

    const RESOLVERS: [Resolve; 2] = [walk, resolve];

    fn find(resolve: Resolve, root: &Path, path: &str, is_root: bool) -> Result<String, i32> {
        let anchor = open(root, POINT | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let pointer = resolve(anchor.as_fd(), Path::new(path), is_root).map_err(|error| error as i32)?;
        open_regular(&pointer).map(text_of).map_err(|error| error.raw_os_error().unwrap_or(-1))
    }

    #[test]
    fn links_stay_in_the_targets_root() {
        let root = root();
        for resolve in RESOLVERS {
            let find = |path| find(resolve, root.path(), path, true);
            for path in
                ["/etc/hostname", "/absolute", "/usr/lib/relative", "/../../etc/./hostname", "/lib/../../absolute"]
            {
                assert_eq!(find(path).as_deref(), Ok("inside"), "{path}");
            }
            assert_eq!(find("/lib/module.py").as_deref(), Ok("module"));
            assert_eq!(find("/loop"), Err(libc::ELOOP));
            assert_eq!(find("/magic"), Err(libc::ENOENT));
            assert_eq!(find("/etc/hostname/below"), Err(libc::ENOTDIR));
        }
    }

    #[test]
    fn a_relative_path_stays_below_its_directory() {
        let root = root();
        for resolve in RESOLVERS {
            let find = |path| find(resolve, &root.path().join("usr"), path, false);
            assert_eq!(find("lib/module.py").as_deref(), Ok("module"));
            assert_eq!(find("lib/../lib/module.py").as_deref(), Ok("module"));
            assert_eq!(find("../etc/hostname"), Err(libc::EXDEV));
            assert_eq!(find("lib/relative"), Err(libc::EXDEV));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let root = root();
        for resolve in RESOLVERS {
            // A FIFO would make us wait for a writer.
            for path in ["/fifo", "/etc"] {
                assert_eq!(find(resolve, root.path(), path, true), Err(-1), "{path}");
            }
        }
        let target = Target::shell("echo ready; read line");
        let handle = target.handle();
        assert!(open_in_root(&handle, Path::new("/dev/null")).is_err());
        assert!(!is_file_in_root(&handle, Path::new("/dev/null")));
        assert!(!is_file_in_root(&handle, Path::new("/")));
        assert!(is_file_in_root(&handle, Path::new("/etc/passwd")));
    }

    /// A target whose program is a copy of ours to play with; the copy's path.
    fn target_of_copied_program(directory: &Path) -> (Target, PathBuf) {
        let program = directory.join("program");
        let shell = fs::canonicalize("/bin/sh").unwrap();
        fs::copy(shell, &program).unwrap();
        (Target::start(std::process::Command::new(&program).args(["-c", "echo ready; read line"])), program)
    }

    fn mapping_of(handle: &Handle, path: &Path) -> Mapping {
        let mappings = address_space::mappings(handle).unwrap();
        mappings.into_iter().find(|mapping| mapping.path.as_deref() == Some(path)).unwrap()
    }

    fn bytes_of(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_replaced_program_is_read_as_it_was_started() {
        let directory = tempfile::tempdir().unwrap();
        let (target, program) = target_of_copied_program(directory.path());
        let original = fs::read(&program).unwrap();
        fs::rename(&program, directory.path().join("old")).unwrap();
        fs::write(&program, "another file").unwrap();
        let handle = target.handle();
        assert_eq!(
            bytes_of(open_mapping(&handle, &mapping_of(&handle, &directory.path().join("old"))).unwrap()),
            original
        );
        fs::remove_file(directory.path().join("old")).unwrap();
        let mapping = mapping_of(&handle, &directory.path().join("old"));
        assert!(mapping.deleted);
        assert_eq!(bytes_of(open_mapping(&handle, &mapping).unwrap()), original);
        assert_eq!(address_space::program_path(&handle).unwrap(), directory.path().join("old"));
    }

    #[test]
    fn another_file_at_the_path_of_a_mapping_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (target, program) = target_of_copied_program(directory.path());
        let handle = target.handle();
        let mapping = mapping_of(&handle, &program);
        let open = |path: &Path| File::open(path).and_then(|file| same_file(file, &mapping));
        assert!(open(&program).is_ok());
        let copy = directory.path().join("copy");
        fs::copy(&program, &copy).unwrap();
        assert!(open(&copy).is_err());
        // Ranges without a file have none to be opened.
        let heap = Mapping { inode: 0, path: None, ..mapping.clone() };
        assert!(same_file(File::open(&program).unwrap(), &heap).is_err());
    }

    #[test]
    fn a_file_is_recognized_by_our_own_maps_too() {
        let directory = tempfile::tempdir().unwrap();
        let (target, program) = target_of_copied_program(directory.path());
        let mapping = mapping_of(&target.handle(), &program);
        let identity = identity_in_maps(&File::open(&program).unwrap()).unwrap();
        assert_eq!(identity, (mapping.device, mapping.inode));
    }

    #[test]
    fn files_of_a_target_in_a_changed_root_are_its_own() {
        if !nix::unistd::geteuid().is_root() {
            // Only root may change its root.
            return;
        }
        let root = root();
        let target =
            Target::python(&format!("os.chroot({:?}); os.chdir('/usr'); ready(); sys.stdin.readline()", root.path()));
        let handle = target.handle();
        assert_eq!(text_of(open_in_root(&handle, Path::new("/absolute")).unwrap()), "inside");
        assert_eq!(text_of(open_in_root(&handle, Path::new("lib/module.py")).unwrap()), "module");
        assert!(is_file_in_root(&handle, Path::new("/lib/module.py")));
        assert!(!is_file_in_root(&handle, Path::new("/etc/passwd")));
        // Its program lies outside of that root, and is found all the same.
        let program = address_space::program_path(&handle).unwrap();
        let mapping = mapping_of(&handle, &program);
        assert_eq!(bytes_of(open_mapping(&handle, &mapping).unwrap()), fs::read(&program).unwrap());
    }
}
