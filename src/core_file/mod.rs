//! A process that is no more, as a core file keeps it: its memory, its mappings, its threads, and what it was.
//!
//! Cores of the kernel and of `gcore` are read, whole or compressed (`.gz`, `.zst`; told by their content). Both leave
//! out what can be had from the binaries, so [`CoreMemory`] takes from there what the core has not.
//!
//! The file is not trusted: every count and offset is checked against its length, and the paths in it are opened only
//! as regular files.
//!
//! # Limits
//! 64-bit little-endian ELF of x86-64 and aarch64. No minidumps, no Mach-O cores.

mod binaries;
mod command_line;
mod content;
mod headers;
mod kept;
mod memory;
mod notes;
#[cfg(any(fuzzing, test))]
mod reduced;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub(crate) use binaries::{BinarySources, CoreBinary};
pub(crate) use memory::CoreMemory;
pub(crate) use notes::CoreThread;
#[cfg(any(fuzzing, test))]
pub(crate) use reduced::PAGE;

use crate::process::{DeviceNumber, Mapping, quoted_path};
use content::Content;
use headers::Segment;
use kept::KeptMemory;
use notes::Notes;

/// Why a core file is of no use.
#[derive(Debug, Error)]
pub(crate) enum CoreError {
    /// The system would not give us its bytes.
    #[error("cannot read the core file {at}: {source}", at = quoted_path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is compressed in a way that we do not read.
    #[error(
        "the core file {at} is compressed with {with}, which pyspy does not read: decompress it first",
        at = quoted_path(.path)
    )]
    Compression {
        /// The file.
        path: PathBuf,
        /// The program that wrote it.
        with: &'static str,
    },
    /// The compressed data are damaged or cut off.
    #[error("cannot decompress the core file {at}: {source}", at = quoted_path(.path))]
    Decompression {
        /// The file.
        path: PathBuf,
        /// The decompressor's error.
        source: io::Error,
    },
    /// Something else than a core.
    #[error("{at} is no core file: {what}", at = quoted_path(.path))]
    NotACore {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A core of a machine that we do not read.
    #[error("the core file {at} is of another kind of machine: {what}", at = quoted_path(.path))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What kind.
        what: &'static str,
    },
    /// The end is missing, and with it what nothing can be read without.
    #[error(
        "the core file {at} is cut off: it has {size} bytes of {expected}, and {missing} is in the missing part",
        at = quoted_path(.path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// What it should be by its own headers.
        expected: u64,
        /// What is missing.
        missing: &'static str,
    },
    /// Its headers contradict themselves, or what every core has is not there.
    #[error("the core file {at} is damaged: {what}", at = quoted_path(.path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        what: &'static str,
    },
}

/// A core file that was opened.
#[derive(Debug)]
pub(crate) struct CoreFile {
    path: PathBuf,
    content: Content,
    expected_size: u64,
    segments: Vec<Segment>,
    notes: Notes,
    mappings: Vec<Mapping>,
}

impl CoreFile {
    /// The page size of the machine that wrote it.
    pub(crate) fn page_size(&self) -> u64 {
        self.notes.page_size()
    }

    /// Opens a core file and reads what it says of its process; a compressed one is decompressed into a temporary file
    /// first.
    ///
    /// # Errors
    /// When it is no core file of a machine that we read, or too much of it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, CoreError> {
        let content = Content::open(path)?;
        let headers = headers::read(path, &content)?;
        let notes = notes::read(path, &content, &headers)?;
        let mappings = notes.mappings(&headers.segments);
        let headers::Headers { expected_size, segments, .. } = headers;
        Ok(Self { path: path.to_owned(), content, expected_size, segments, notes, mappings })
    }

    /// Does `work` with the rights of whoever owns the core file: it may have been made up to have root read something.
    ///
    /// # Errors
    /// Those of `work`, and when the owner is not known or we may not act as him.
    pub(crate) fn with_rights_of_owner<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        #[cfg(target_os = "linux")]
        return crate::process::with_rights_of_owner(&std::fs::metadata(&self.path)?, work);
        #[cfg(not(target_os = "linux"))]
        work()
    }

    /// The path that it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The process that it was: its number as it knew itself, or as the debugger saw it.
    pub(crate) fn pid(&self) -> i32 {
        self.notes.pid
    }

    /// Its threads. The kernel puts the one that died first, `gcore` the one that was the process's first.
    pub(crate) fn threads(&self) -> &[CoreThread] {
        &self.notes.threads
    }

    /// The signal that ended it, `None` where a debugger took the core of a living process.
    pub(crate) fn signal(&self) -> Option<i32> {
        let signal = self.notes.threads.first().map_or(0, |thread| thread.signal);
        // What gdb, ptrace and the job control stop with is no death.
        (signal > 0 && !matches!(signal, libc_signals::STOP | libc_signals::TRAP)).then_some(signal)
    }

    /// The mapped files, in the order of addresses.
    pub(crate) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// What of its memory can be written and has no file behind it, in the order of addresses: heap, stacks, what else
    /// it has asked for.
    pub(crate) fn private_mappings(&self) -> Vec<Mapping> {
        let has_file = |segment: &Segment| self.mappings.iter().any(|mapping| mapping.contains(segment.start));
        let private = self.segments.iter().filter(|segment| segment.writable && segment.size > 0 && !has_file(segment));
        let as_mapping = |segment: &Segment| Mapping {
            start: segment.start,
            end: segment.start.saturating_add(segment.size),
            file_offset: 0,
            readable: segment.readable,
            writable: segment.writable,
            executable: segment.executable,
            device: DeviceNumber::default(),
            inode: 0,
            path: None,
            deleted: false,
            label: None,
        };
        private.map(as_mapping).collect()
    }

    /// Its arguments: whole where the core has the stack that the kernel made, else the first 80 bytes of them.
    pub(crate) fn command_line(&self) -> Vec<String> {
        command_line::from_stack(&KeptMemory(self), &self.segments, &self.notes)
            .unwrap_or_else(|| self.notes.arguments.clone())
    }

    /// The mapping of the program itself: the one that holds the program headers that the kernel told it of.
    pub(crate) fn executable_mapping(&self) -> Option<&Mapping> {
        let address = self.notes.auxiliary(notes::AT_PHDR)?;
        self.mappings.iter().find(|mapping| mapping.contains(address))
    }

    /// The length in bytes that it has and the one that it should have, when its end is missing.
    pub(crate) fn missing_end(&self) -> Option<(u64, u64)> {
        (self.content.size() < self.expected_size).then(|| (self.content.size(), self.expected_size))
    }
}

/// Numbers of signals, the same on every Linux that we read cores of.
mod libc_signals {
    pub(super) const TRAP: i32 = 5;
    pub(super) const STOP: i32 = 19;
}
