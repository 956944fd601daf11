//! From a process to the Python runtime in it.

mod start_up_wait;

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::binary::{Architecture, Binary, BinaryError, MappedFile, MappedPart};
use crate::memory::{Memory, ReadError, ReadFailure};
use crate::process::{
    ChildProcess, DeviceNumber, ImageIdentity, LiveMemory, Mapping, Process, ProcessError, escaped_path, page_size,
    quoted_path,
};
use crate::python::locate::{LocateError, PythonFile};
use crate::python::runtime::Runtime;

/// How long a process that was already running is given to show its interpreter: it may be about to `exec` one.
pub(crate) const PATIENCE_RUNNING: Duration = Duration::from_millis(1500);
/// How long a program that we started is given: shells, wrappers and environment managers come before Python does.
pub(crate) const PATIENCE_STARTED: Duration = Duration::from_secs(30);
/// A search that took this long is mentioned.
const LONG_SEARCH: Duration = Duration::from_millis(100);
/// A scan that must not take long ends after so long; a single file may take longer.
const SCAN_LIMIT: Duration = Duration::from_millis(5);
/// After a scan there is none for so many times as long.
const REST_FOR_SCAN: u32 = 10;
/// When more files are known than this, all are forgotten: on a machine whose programs come and go there is no end.
const MOST_FILES: usize = 20_000;
/// As many processes below one without an interpreter are looked at for one.
const MOST_BELOW: usize = 256;

/// Why the interpreter of a process could not be found.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The process itself cannot be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Nothing that the process has mapped is CPython.
    #[error("process {pid} ({program}) runs no Python that can be read{}", search_time(*.searched_for))]
    NotPython {
        /// The process.
        pid: i32,
        /// Its program.
        program: String,
        /// How long it was looked for.
        searched_for: Duration,
        /// Processes below it that run Python; none where nothing was waited for.
        below: Vec<i32>,
    },
    /// A 32-bit program.
    #[error("process {pid} ({program}) is a 32-bit program, of which no Python can be read")]
    ThirtyTwoBit {
        /// The process.
        pid: i32,
        /// Its program.
        program: String,
    },
    /// There is a CPython, but within the time given no thread could have run Python code in it.
    #[error("process {pid} ({program}) has Python loaded, but {}", what_is_missing(*.has_interpreter))]
    NotReady {
        /// The process.
        pid: i32,
        /// Its program.
        program: String,
        /// There is an interpreter, which has no threads.
        has_interpreter: bool,
        /// How long ago the process was started, where that can be told.
        age: Option<Duration>,
        /// Processes below it that run Python; none where nothing was waited for.
        below: Vec<i32>,
    },
    /// There is a CPython that we cannot read.
    #[error("the Python in process {pid} cannot be read")]
    Unusable {
        /// The process.
        pid: i32,
        /// Why not.
        #[source]
        source: LocateError,
    },
    /// The process exited while its interpreter was being looked for.
    #[error("process {pid} exited before its Python could be read")]
    Exited {
        /// The process.
        pid: i32,
    },
}

/// What a process that has Python loaded lacks to run any of its code.
fn what_is_missing(has_interpreter: bool) -> &'static str {
    if has_interpreter { "no thread belongs to its interpreter" } else { "no interpreter is initialised in it" }
}

/// How long was searched, where that was long enough to be worth telling.
fn search_time(searched_for: Duration) -> String {
    if searched_for < LONG_SEARCH {
        return String::new();
    }
    format!(": none appeared in {:.1} s", searched_for.as_secs_f64())
}

impl AttachError {
    /// Whether the version is what cannot be read.
    pub fn is_unsupported_version(&self) -> bool {
        matches!(self, Self::Unusable { source: LocateError::Unsupported(_), .. })
    }
}

/// An interpreter that was found in a process.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Where its runtime is and how to read it.
    pub runtime: Runtime,
    /// Which run of a program in the process it belongs to.
    pub image: ImageIdentity,
}

/// Finds interpreters, remembering for each file what it tells, so that many processes of one Python cost one look at
/// its symbols.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    files: HashMap<FileKey, Option<KnownFile>>,
    suspects: HashMap<FileKey, Option<KnownFile>>,
    scans_from: Option<Instant>,
    /// The last file of a process that we may not open.
    refused: Option<(i32, PathBuf)>,
}

/// What a file told, and where in the file's addresses the mapping lies through which it was met.
#[derive(Debug, Clone)]
struct KnownFile {
    python: PythonFile,
    file_offset: u64,
    /// How far it would be moved if that mapping were at 0.
    bias_at_zero: u64,
}

/// A file as the kernel tells it apart; the size is not known here, and a file that is changed in place under a running
/// program is that program's doom anyway. The inode of a file that was deleted may be another's soon, mostly elsewhere,
/// so the path is part of it.
type FileKey = (DeviceNumber, u64, Option<PathBuf>);

/// What one look at a process gave when it gave no interpreter.
#[derive(Debug)]
pub(super) enum Missing {
    /// Nothing is Python.
    NotPython {
        /// Whether a scan could find more than that.
        suspects: Suspects,
    },
    /// The program is a 32-bit one.
    ThirtyTwoBit,
    /// Something is, but no runtime was found in it.
    Failed(LocateError),
    /// The process cannot be read.
    Process(ProcessError),
}

/// Files that may hide a Python, which exports nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspects {
    /// There are none.
    None,
    /// There are some.
    Some,
    /// There are files that have not been asked yet.
    Unknown,
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// At what files tell by their sections and symbols.
    Files,
    /// And by a scan of the memory of those that may hide a Python, as far as it comes in a short time; the next one
    /// goes on.
    Scan,
    /// And by a scan of all of these.
    Everything,
}

impl Finder {
    /// A finder that knows no files yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The error for a file of the process that may have been Python's, but which we may not open.
    fn refused_file_of(&self, process: &Process) -> Option<ProcessError> {
        let (_, path) = self.refused.as_ref().filter(|(pid, _)| *pid == process.pid())?;
        Some(process.denied(&format!("{}, which is mapped,", quoted_path(path))))
    }

    /// One look at each of some processes.
    fn look_at_any(&mut self, processes: &[ChildProcess]) -> Option<Attached> {
        let mut processes = processes.iter().filter_map(|child| Process::observe(child.pid).ok());
        processes.find_map(|process| self.look(&process, Depth::Everything).ok())
    }

    /// The processes below that run Python, by pid, as far as they may be read.
    pub(crate) fn pythons_below(&mut self, process: &Process) -> Vec<i32> {
        let children = process.descendants().into_iter().take(MOST_BELOW);
        let children = children.filter_map(|child| Process::observe(child.pid).ok());
        children.filter_map(|child| self.look(&child, Depth::Files).ok().map(|_| child.pid())).collect()
    }

    /// Whether a scan may be made now. It takes some time of the one who samples, so we rest after each.
    pub(super) fn may_scan(&self) -> bool {
        self.scans_from.is_none_or(|from| Instant::now() >= from)
    }

    /// One look, without waiting. The memory of a process is read only where a file in it is Python's, or is to be
    /// scanned.
    pub(super) fn look(&mut self, process: &Process, depth: Depth) -> Result<Attached, Missing> {
        let begun = Instant::now();
        if self.files.len().max(self.suspects.len()) > MOST_FILES {
            (self.files, self.suspects) = (HashMap::new(), HashMap::new());
        }
        let found = match self.by_files(process) {
            Ok(()) => self.by_memory(process, None),
            Err(Missing::NotPython { suspects: Suspects::Some | Suspects::Unknown }) if depth != Depth::Files => {
                let limit = if depth == Depth::Scan { SCAN_LIMIT } else { Duration::MAX };
                self.by_memory(process, Some(limit))
            }
            Err(missing) => Err(missing),
        };
        if depth == Depth::Scan {
            let now = Instant::now();
            self.scans_from = Some(now + (now - begun) * REST_FOR_SCAN);
        }
        found
    }

    /// Whether a file in the process is Python's.
    fn by_files(&mut self, process: &Process) -> Result<(), Missing> {
        let mappings = process.maps().map_err(Missing::Process)?;
        let first = first_mappings(&mappings);
        let mut missing = Missing::NotPython { suspects: Suspects::None };
        for mapping in &first {
            match self.file(process, mapping, false) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                // Of ours, not of the process: what it runs is not known.
                Err(BinaryError::Read(source)) if source.kind() == ErrorKind::OutOfMemory => {
                    let (pid, what) = (process.pid(), "a file that is mapped");
                    return Err(Missing::Process(ProcessError::System { pid, what, source }));
                }
                Err(BinaryError::Unsupported32Bit) => missing = Missing::ThirtyTwoBit,
                Err(error) => {
                    log::debug!("{:?} in process {}: {error}", mapping.path, process.pid());
                    if matches!(&error, BinaryError::Read(error) if error.kind() == ErrorKind::PermissionDenied) {
                        self.refused = mapping.path.clone().map(|path| (process.pid(), path));
                    }
                }
            }
        }
        if matches!(missing, Missing::NotPython { .. }) {
            let known = |mapping: &&Mapping| self.suspects.get(&file_key(mapping));
            let suspects = if first.iter().any(|mapping| known(mapping).is_none()) {
                Suspects::Unknown
            } else if first.iter().any(|mapping| known(mapping).is_some_and(Option::is_some)) {
                Suspects::Some
            } else {
                Suspects::None
            };
            missing = Missing::NotPython { suspects };
        }
        Err(missing)
    }

    /// Looks for the runtime in the memory of the process: by what the files say, or, as the last resort, for about so
    /// long by a scan of those that may hide one.
    fn by_memory(&mut self, process: &Process, last_resort: Option<Duration>) -> Result<Attached, Missing> {
        let begun = Instant::now();
        let is_last_resort = last_resort.is_some();
        let image = process.image_identity().map_err(Missing::Process)?;
        // Anew, so that they are of that image.
        let mappings = process.maps().map_err(Missing::Process)?;
        let memory = Mapped { memory: process.memory(), mappings: &mappings };
        let mut failure = Missing::NotPython { suspects: Suspects::Some };
        for mapping in first_mappings(&mappings) {
            if last_resort.is_some_and(|limit| begun.elapsed() > limit) {
                return Err(Missing::NotPython { suspects: Suspects::Unknown });
            }
            match self.file(process, mapping, is_last_resort) {
                Ok(Some((file, bias))) => match file.locate(&memory, bias) {
                    Ok(runtime) if image.is_still_in(&memory) => {
                        return Ok(Attached { runtime, image });
                    }
                    Ok(_) => {}
                    Err(error) => {
                        log::debug!("{:?} in process {}: {error}", mapping.path, process.pid());
                        // What the scan of a mere suspect finds missing says nothing.
                        if !is_last_resort {
                            failure = Missing::Failed(error);
                        }
                    }
                },
                Ok(None) => {}
                Err(error) => {
                    log::debug!("{:?} in process {}: {error}", mapping.path, process.pid());
                    // It is not tried again, unless it could not be had because the process has gone on to another
                    // program.
                    if is_last_resort && image.is_still_in(&memory) {
                        self.suspects.insert(file_key(mapping), None);
                    }
                }
            }
        }
        Err(failure)
    }

    /// What the file behind a mapping tells, and how far it was moved.
    fn file(
        &mut self,
        process: &Process,
        mapping: &Mapping,
        last_resort: bool,
    ) -> Result<Option<(PythonFile, u64)>, BinaryError> {
        let key = file_key(mapping);
        let known = if last_resort { &mut self.suspects } else { &mut self.files };
        match known.get(&key) {
            Some(None) => return Ok(None),
            // Loaders map a file in the same pieces each time, so for another process of it there is nothing to look
            // up.
            Some(Some(file)) if file.file_offset == mapping.file_offset => {
                return Ok(Some((file.python.clone(), file.bias_at_zero.wrapping_add(mapping.start))));
            }
            _ => {}
        }
        log::debug!("looking for Python in {:?}", mapping.path);
        let file = MappedFile::open(&process.open_mapping(mapping)?)?;
        let binary = match Binary::parse(&file, Architecture::HOST) {
            Ok(binary) => binary,
            Err(BinaryError::UnknownFormat) => {
                known.insert(key, None);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let python = if last_resort { PythonFile::suspect(&binary) } else { PythonFile::examine(&binary) };
        let Some(python) = python else {
            known.insert(key, None);
            return Ok(None);
        };
        let file_offset = mapping.file_offset;
        let part = MappedPart { start: 0, ..mapped_part(mapping, page_size()) };
        let Some(bias_at_zero) = binary.bias(part) else {
            if last_resort {
                known.insert(key, None);
            }
            return Ok(None);
        };
        known.insert(key, Some(KnownFile { python: python.clone(), file_offset, bias_at_zero }));
        Ok(Some((python, bias_at_zero.wrapping_add(mapping.start))))
    }
}

fn file_key(mapping: &Mapping) -> FileKey {
    (mapping.device, mapping.inode, mapping.path.clone())
}

/// The lowest mapping of each file that has code in it, the program itself (which the kernel maps first, or at least
/// below its libraries) and what is called Python first: an order, not a condition.
pub(super) fn first_mappings(mappings: &[Mapping]) -> Vec<&Mapping> {
    // The mappings of a core file have paths, but no inodes.
    let key = |mapping: &Mapping| (mapping.device, mapping.inode, mapping.path.clone().filter(|_| mapping.inode == 0));
    let is_file = |mapping: &&Mapping| mapping.inode != 0 || mapping.path.is_some();
    let executable: HashSet<_> =
        mappings.iter().filter(is_file).filter(|mapping| mapping.executable).map(key).collect();
    let mut seen = HashSet::new();
    let mut first: Vec<&Mapping> = mappings
        .iter()
        .filter(is_file)
        .filter(|mapping| executable.contains(&key(mapping)) && seen.insert(key(mapping)))
        .collect();
    first.sort_by_key(|mapping| {
        let name = mapping.path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
        !name.is_some_and(|name| name.starts_with("libpython") || name.starts_with("python"))
    });
    first
}

/// A mapping of a file as the file's reader takes it.
pub(in crate::sampler) fn mapped_part(mapping: &Mapping, page_size: u64) -> MappedPart {
    MappedPart { start: mapping.start, file_offset: mapping.file_offset, executable: mapping.executable, page_size }
}

/// The memory of a process, of which only what is mapped is asked for: among the words that a scan tries as pointers,
/// few lead anywhere.
struct Mapped<'mappings> {
    memory: LiveMemory,
    /// In the order of addresses.
    mappings: &'mappings [Mapping],
}

impl Memory for Mapped<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let at = self.mappings.partition_point(|mapping| mapping.end <= address);
        if self.mappings.get(at).is_some_and(|mapping| mapping.readable && mapping.start <= address) {
            return self.memory.read(address, buffer);
        }
        Err(ReadError::new(address, buffer.len(), ReadFailure::Unmapped))
    }
}

fn program_name(process: &Process) -> String {
    let path = process.executable().map_or_else(|_| "unknown program".to_owned(), |path| escaped_path(&path));
    path.chars().take(256).collect()
}
