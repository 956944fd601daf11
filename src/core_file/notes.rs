//! The notes of a core: threads with their registers, what the process was, and which files it had mapped.
//!
//! The structs are those of the kernel (include/uapi/linux/elfcore.h, include/linux/elfcore.h, fs/binfmt_elf.c); gdb
//! writes the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use scroll::{LE, Pread};

use super::CoreError;
use super::content::Content;
use super::headers::{Headers, Segment};
use crate::binary::Architecture;
use crate::process::{CallNumbers, DeviceNumber, Mapping, SystemCall};

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_FILE: u32 = 0x4649_4c45;

/// The page size of the machine.
const AT_PAGESZ: u64 = 6;
/// Where the program headers of the program are (include/uapi/linux/auxvec.h).
pub(super) const AT_PHDR: u64 = 3;
/// The random bytes of the image.
pub(super) const AT_RANDOM: u64 = 25;

/// Bytes of notes that are read: a thread has some kilobytes of registers.
const LARGEST_NOTES: u64 = 1 << 30;
const MOST_THREADS: usize = 1 << 20;
const MOST_FILES: u64 = 1 << 20;

/// `elf_prstatus`: `pr_cursig`, `pr_pid` and `pr_reg`, the same on both architectures.
const STATUS_SIGNAL: usize = 12;
const STATUS_PID: usize = 32;
const STATUS_REGISTERS: usize = 112;
/// `elf_prpsinfo`: `pr_pid`, `pr_psargs`.
const INFO_PID: usize = 24;
const INFO_ARGUMENTS: usize = 56;
const INFO_ARGUMENTS_SIZE: usize = 80;

/// A thread of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreThread {
    /// Its number, in the namespace of the process (a core of the kernel) or of the debugger.
    pub id: u64,
    /// The signal that it was stopped or killed by.
    pub signal: i32,
    /// The system call that it was waiting in; `None` when it was running.
    pub system_call: Option<SystemCall>,
}

/// What the notes say.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) pid: i32,
    pub(super) threads: Vec<CoreThread>,
    /// The first 80 bytes of them, split at spaces by the kernel's own joining.
    pub(super) arguments: Vec<String>,
    pub(super) auxiliary: Vec<(u64, u64)>,
    files: Vec<MappedRange>,
}

#[derive(Debug)]
struct MappedRange {
    start: u64,
    end: u64,
    offset: u64,
    path: PathBuf,
    deleted: bool,
}

/// One note.
struct Note<'bytes> {
    owner: &'bytes [u8],
    kind: u32,
    content: &'bytes [u8],
}

/// The first note of `bytes` and what comes after it: {length of the owner's name, length of the content, kind}, then
/// the two, each padded to 4 bytes. (goblin's reader writes each note out as text for its log, megabytes of it with
/// many threads.)
fn next_note(bytes: &[u8]) -> Option<(Note<'_>, &[u8])> {
    let word = |offset: usize| bytes.pread_with::<u32>(offset, LE).ok();
    let (owner_length, length, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
    let start = 12 + owner_length.next_multiple_of(4);
    let owner = bytes.get(12..12 + owner_length)?;
    let content = bytes.get(start..start.checked_add(length)?)?;
    let after = bytes.get(start + length.next_multiple_of(4)..).unwrap_or_default();
    Some((Note { owner, kind, content }, after))
}

pub(super) fn read(path: &Path, content: &Content, headers: &Headers) -> Result<Notes, CoreError> {
    let malformed = |what| CoreError::Malformed { path: path.to_owned(), what };
    let mut notes = Notes { pid: 0, threads: vec![], arguments: vec![], auxiliary: vec![], files: vec![] };
    for (offset, length) in &headers.notes {
        if *length > LARGEST_NOTES {
            return Err(malformed("the notes are too large"));
        }
        let bytes = content.read_bytes(*offset, *length);
        let bytes = bytes.map_err(|source| CoreError::Read { path: path.to_owned(), source })?;
        let Some(bytes) = bytes else {
            let (size, expected) = (content.size(), headers.expected_size);
            let missing = "what it says of the process";
            return Err(CoreError::Truncated { path: path.to_owned(), size, expected, missing });
        };
        let mut rest = bytes.as_slice();
        while let Some((note, after)) = next_note(rest) {
            notes.add_note(&note, headers.architecture);
            rest = after;
        }
    }
    if notes.threads.is_empty() {
        return Err(malformed("it says nothing of threads (NT_PRSTATUS)"));
    }
    if notes.files.is_empty() {
        return Err(malformed("it does not say which files were mapped (NT_FILE)"));
    }
    if notes.pid == 0 {
        notes.pid = i32::try_from(notes.threads[0].id).unwrap_or(0);
    }
    Ok(notes)
}

impl Notes {
    /// The value of an entry of the auxiliary vector.
    pub(super) fn auxiliary(&self, key: u64) -> Option<u64> {
        self.auxiliary.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// The page size of the machine: x86-64 has 4 KiB, aarch64 has 4, 16 or 64.
    pub(super) fn page_size(&self) -> u64 {
        let sizes = 4 << 10..=64 << 10;
        let told = self.auxiliary(AT_PAGESZ).filter(|size| size.is_power_of_two() && sizes.contains(size));
        told.unwrap_or(*sizes.start())
    }

    /// The mapped files, with the permissions that the segments have.
    pub(super) fn mappings(&self, segments: &[Segment]) -> Vec<Mapping> {
        let mut mappings: Vec<Mapping> = self.files.iter().map(|file| mapping(file, segments)).collect();
        mappings.sort_by_key(|mapping| mapping.start);
        mappings
    }

    fn add_note(&mut self, note: &Note<'_>, architecture: Architecture) {
        if note.owner != b"CORE\0" {
            return;
        }
        let bytes = note.content;
        match note.kind {
            NT_PRSTATUS if self.threads.len() < MOST_THREADS => self.threads.extend(thread(bytes, architecture)),
            NT_PRPSINFO => {
                self.pid = bytes.pread_with(INFO_PID, LE).unwrap_or(0);
                let arguments = bytes.get(INFO_ARGUMENTS..INFO_ARGUMENTS + INFO_ARGUMENTS_SIZE).unwrap_or_default();
                let end = arguments.iter().position(|byte| *byte == 0).unwrap_or(arguments.len());
                let arguments = String::from_utf8_lossy(&arguments[..end]).trim_end().to_owned();
                self.arguments = if arguments.is_empty() { vec![] } else { vec![arguments] };
            }
            NT_AUXV => {
                let (words, _) = bytes.as_chunks::<16>();
                let pairs = words.iter().map(|pair| {
                    (pair.pread_with(0, LE).unwrap_or_default(), pair.pread_with(8, LE).unwrap_or_default())
                });
                self.auxiliary = pairs.take_while(|(key, _)| *key != 0).collect();
            }
            NT_FILE => self.files = mapped_files(bytes).unwrap_or_default(),
            _ => {}
        }
    }
}

fn thread(bytes: &[u8], architecture: Architecture) -> Option<CoreThread> {
    let id: u32 = bytes.pread_with(STATUS_PID, LE).ok()?;
    let signal: i16 = bytes.pread_with(STATUS_SIGNAL, LE).ok()?;
    let system_call = waiting_call(bytes, architecture);
    Some(CoreThread { id: u64::from(id), signal: i32::from(signal), system_call })
}

/// The system call that a thread was interrupted in: it is in one, and its result says "interrupted" or "to be
/// restarted".
fn waiting_call(bytes: &[u8], architecture: Architecture) -> Option<SystemCall> {
    let register = |index: usize| bytes.pread_with::<u64>(STATUS_REGISTERS + 8 * index, LE).ok();
    // The order is that of `struct user_regs_struct`: x86-64 keeps the number in `orig_rax`, aarch64 in x8.
    let (number, result, arguments) = match architecture {
        Architecture::X86_64 => (register(15)?, register(10)?, [14, 13, 12, 7, 9, 8]),
        Architecture::Aarch64 => (register(8)?, register(0)?, [0, 1, 2, 3, 4, 5]),
    };
    // EINTR, and the kernel's own ERESTARTSYS to ERESTART_RESTARTBLOCK (include/linux/errno.h).
    let interrupted = matches!(result.cast_signed(), -4 | -514..=-512 | -516);
    if !interrupted || number.cast_signed() < 0 {
        return None;
    }
    let mut values = [0; 6];
    for (value, index) in values.iter_mut().zip(arguments) {
        *value = register(index)?;
    }
    let numbers = match architecture {
        Architecture::X86_64 => CallNumbers::X86_64,
        Architecture::Aarch64 => CallNumbers::Aarch64,
    };
    Some(SystemCall { number, arguments: values, numbers })
}

/// `NT_FILE`: how many, the unit of offsets, then start, end and offset of each, then their names one after the other.
fn mapped_files(bytes: &[u8]) -> Option<Vec<MappedRange>> {
    let word = |index: u64| bytes.pread_with::<u64>(usize::try_from(index.checked_mul(8)?).ok()?, LE).ok();
    let (count, unit) = (word(0)?, word(1)?);
    if count > MOST_FILES {
        return None;
    }
    let names = bytes.get(usize::try_from(16 + count * 24).ok()?..)?;
    let mut names = names.split(|byte| *byte == 0);
    let mut files = Vec::new();
    for index in 0..count {
        let at = 2 + index * 3;
        let name = names.next()?;
        let undeleted = name.strip_suffix(b" (deleted)");
        files.push(MappedRange {
            start: word(at)?,
            end: word(at + 1)?,
            offset: word(at + 2)?.wrapping_mul(unit),
            path: path_of(undeleted.unwrap_or(name)),
            deleted: undeleted.is_some(),
        });
    }
    Some(files)
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes.to_vec()))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from(String::from_utf8_lossy(bytes).into_owned()))
}

fn mapping(file: &MappedRange, segments: &[Segment]) -> Mapping {
    let index = segments.partition_point(|segment| segment.end <= file.start);
    let segment = segments.get(index).filter(|segment| segment.start < file.end);
    Mapping {
        start: file.start,
        end: file.end,
        file_offset: file.offset,
        readable: segment.is_none_or(|segment| segment.readable),
        writable: segment.is_some_and(|segment| segment.writable),
        // A debugger may leave out the code altogether; then nothing says that it was not there.
        executable: segment.is_none_or(|segment| segment.executable),
        device: DeviceNumber::default(),
        inode: 0,
        path: Some(file.path.clone()),
        deleted: file.deleted,
        label: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_size_is_that_of_the_machine_that_wrote_the_core() {
        let size = |auxiliary: &[(u64, u64)]| {
            let auxiliary = auxiliary.to_vec();
            Notes { pid: 1, threads: vec![], arguments: vec![], auxiliary, files: vec![] }.page_size()
        };
        assert_eq!(size(&[(25, 1), (6, 16 << 10)]), 16 << 10);
        assert_eq!(size(&[(6, 64 << 10)]), 64 << 10);
        // What a damaged core says is not believed.
        for told in [0, 1, 5000, 1 << 40] {
            assert_eq!(size(&[(6, told)]), 4 << 10, "{told}");
        }
        assert_eq!(size(&[]), 4 << 10);
    }
}
