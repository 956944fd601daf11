//! What belongs to the address space of a process rather than to a thread of it: the maps, the program, and its
//! identity.
//!
//! The kernel shows these through the first thread, and shows nothing once that thread has exited while others go on;
//! then any living thread will do.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::handle::Handle;
use super::maps;
use super::stat::{STAT_LINE_LIMIT, stack_start};
use crate::memory::Memory;
use crate::process::{Mapping, ThreadActivity};

/// More than the maps of a process with the kernel's usual limit of 65530 mappings and long paths.
const MAPS_LIMIT: u64 = 256 << 20;

/// Bytes that hold some dozens of mappings.
const FIRST_MAPS: u64 = 4096;

/// More variables of an environment than are looked past, and more entries than an auxiliary vector has.
const MOST_VARIABLES: usize = 1 << 16;
const MOST_ENTRIES: usize = 64;

/// The entry of the auxiliary vector that holds the address of 16 random bytes (kernel: `include/uapi/linux/auxvec.h`).
const AT_RANDOM: u64 = 25;

/// What tells one run of a program in a process from the next: it changes when the process calls `exec`.
///
/// The kernel puts 16 random bytes into each new image and never touches them again. A forked child has those of its
/// parent, as it has its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageIdentity {
    /// Device and inode of the program.
    program: (u64, u64),
    /// Where the random bytes are, in the target.
    random_address: u64,
    random: [u8; 16],
}

impl ImageIdentity {
    /// Whether the process still runs this image, by one small read of `memory`, which must be that of the process.
    /// A failed read counts as another image.
    pub fn is_still_in<M: Memory>(&self, memory: &M) -> bool {
        memory.read_array(self.random_address) == Ok(self.random)
    }

    /// Where the 16 bytes lie in the target that prove the image, to be read along with others; see
    /// [`Self::is_proven_by`].
    pub fn proof_address(&self) -> u64 {
        self.random_address
    }

    /// Whether the bytes found at [`Self::proof_address`] are those of this image.
    pub fn is_proven_by(&self, bytes: [u8; 16]) -> bool {
        bytes == self.random
    }
}

/// What moves, all but certainly, when a process maps something or begins to run another program. It is told without
/// its memory being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappingsSign {
    /// Device and inode of the program.
    program: (u64, u64),
    /// How much is mapped, in pages.
    pages: u64,
}

impl MappingsSign {
    /// Whether both were of one program.
    pub fn is_of_same_program(&self, other: &Self) -> bool {
        self.program == other.program
    }
}

/// The sign of what is mapped now; `None` when it cannot be told.
pub(crate) fn mappings_sign(handle: &Handle) -> Option<MappingsSign> {
    let program = fstatat(handle.directory(), "exe", AtFlags::empty()).ok()?;
    let sizes = handle.read_file("statm", 256).ok()?;
    let pages = str::from_utf8(&sizes).ok()?.split(' ').next()?.parse().ok()?;
    Some(MappingsSign { program: (program.st_dev, program.st_ino), pages })
}

/// A thread of the process that has not exited, for when the first one has.
pub(crate) fn living_thread(handle: &Handle) -> io::Result<i32> {
    let living = |thread: &i32| {
        let line = u64::try_from(*thread).ok().and_then(|thread| handle.thread_stat(thread).ok());
        line.is_some_and(|line| line.activity != ThreadActivity::Zombie)
    };
    handle.threads()?.into_iter().find(living).ok_or_else(|| Errno::ESRCH.into())
}

/// The bytes of a file that shows the address space, such as `maps`.
pub(crate) fn read_file(handle: &Handle, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    match handle.read_file(name, limit) {
        Ok(bytes) if bytes.is_empty() => {}
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
        result => return result,
    }
    handle.read_file(&format!("task/{}/{name}", living_thread(handle)?), limit)
}

/// The first mappings of the process, for their addresses: the last may lack the end of its name.
pub(crate) fn first_mappings(handle: &Handle) -> io::Result<Vec<Mapping>> {
    Ok(maps::parse(&read_file(handle, "maps", FIRST_MAPS)?))
}

/// The mappings of the process.
pub(crate) fn mappings(handle: &Handle) -> io::Result<Vec<Mapping>> {
    Ok(maps::parse(&read_file(handle, "maps", MAPS_LIMIT)?))
}

/// The name below the process's directory by which its program can be opened.
pub(crate) fn program_link(handle: &Handle) -> io::Result<String> {
    match handle.read_link("exe") {
        Ok(_) => Ok("exe".to_owned()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) && !handle.has_exited() => {
            let link = format!("task/{}/exe", living_thread(handle)?);
            handle.read_link(&link)?;
            Ok(link)
        }
        Err(error) => Err(error),
    }
}

/// The path of the program, without the mark of a deleted file.
pub(crate) fn program_path(handle: &Handle) -> io::Result<PathBuf> {
    let path = handle.read_link(&program_link(handle)?)?;
    Ok(without_deleted_mark(&path).map_or(path.clone(), Path::to_path_buf))
}

fn without_deleted_mark(path: &Path) -> Option<&Path> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(Path::new(std::ffi::OsStr::from_bytes(bytes)))
}

/// The identity of the image that the process runs now.
pub(crate) fn image_identity<M: Memory>(handle: &Handle, memory: &M) -> io::Result<ImageIdentity> {
    let program = fstatat(handle.directory(), program_link(handle)?.as_str(), AtFlags::empty())?;
    let random_address = match read_file(handle, "auxv", 64 << 10) {
        Ok(vector) => auxiliary_value(&vector, AT_RANDOM).unwrap_or(0),
        // The file is its owner's; the capability to trace opens memory, where the kernel has put the vector.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            random_address_on_stack(handle, memory).ok_or(error)?
        }
        Err(error) => return Err(error),
    };
    let random = memory.read_array(random_address).map_err(io::Error::other)?;
    Ok(ImageIdentity { program: (program.st_dev, program.st_ino), random_address, random })
}

/// The address of the random bytes by the auxiliary vector on the stack of the program (64-bit): from where the stack
/// begins upwards lie the number of arguments, their addresses, 0, those of the environment, 0, and the vector (kernel:
/// `fs/binfmt_elf.c`, `create_elf_tables`).
fn random_address_on_stack<M: Memory>(handle: &Handle, memory: &M) -> Option<u64> {
    let line = handle.read_file("stat", STAT_LINE_LIMIT as u64).ok()?;
    let start = stack_start(&line)?;
    let mut place = start.checked_add(8)?.checked_add(memory.read_u64(start).ok()?.checked_mul(8)?)?;
    if memory.read_u64(place).ok()? != 0 {
        return None;
    }
    for _ in 0..MOST_VARIABLES {
        place = place.checked_add(8)?;
        if memory.read_u64(place).ok()? == 0 {
            break;
        }
    }
    for _ in 0..MOST_ENTRIES {
        let (key, value) = (place.checked_add(8)?, place.checked_add(16)?);
        match memory.read_u64(key).ok()? {
            0 => return None,
            AT_RANDOM => return memory.read_u64(value).ok(),
            _ => place = value,
        }
    }
    None
}

/// The value of an entry of an auxiliary vector. A 32-bit program has one of 32-bit numbers; in one of 64-bit numbers
/// no key needs more than 32 bits.
fn auxiliary_value(vector: &[u8], key: u64) -> Option<u64> {
    let (words, _) = vector.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    let (halves, _) = vector.as_chunks::<4>();
    let halves: Vec<u64> = halves.iter().map(|half| u32::from_ne_bytes(*half).into()).collect();
    let keys = words.iter().step_by(2).take_while(|key| **key != 0);
    let numbers = if keys.copied().all(|key| u32::try_from(key).is_ok()) { words } else { halves };
    let mut entries = numbers.chunks_exact(2).take_while(|entry| entry[0] != 0);
    entries.find(|entry| entry[0] == key).map(|entry| entry[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::Target;

    #[test]
    fn the_vector_on_the_stack_says_what_the_file_says() {
        let mut target = Target::python("ready(); sys.stdin.readline(); say('still there')");
        let (process, handle) = (target.process(), target.handle());
        let vector = read_file(&handle, "auxv", 64 << 10).unwrap();
        let by_file = auxiliary_value(&vector, AT_RANDOM);
        assert!(by_file.is_some());
        assert_eq!(random_address_on_stack(&handle, &process.memory()), by_file);
        target.tell("end");
        assert_eq!(target.line(), "still there");
    }
}
