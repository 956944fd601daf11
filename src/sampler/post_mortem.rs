//! From a core file to what every thread of it was doing: the same walk as over a living process, over the memory that
//! the core keeps.

use std::collections::HashSet;
use std::path::PathBuf;

use thiserror::Error;

use super::attach::{first_mappings, mapped_part};
use super::moment::{Assurance, FrameSpan, Moment, MomentFrame, MomentThread};
use super::os_thread_evidence::{Identity, KernelThreads, identify};
use super::os_threads::id_in_pthread;
use super::thread_names::ThreadNames;
use crate::binary::{Architecture, Binary, BinaryError};
use crate::core_file::{BinarySources, CoreBinary, CoreFile, CoreMemory};
use crate::memory::{Memory, ReadError};
use crate::process::{Mapping, ThreadId, quoted_path};
use crate::python::code::{CodeTable, Place};
use crate::python::data_stack::{Below, below};
use crate::python::locate::{LocateError, PythonFile, SUPPORTED};
use crate::python::object::ObjectReader;
use crate::python::runtime::Runtime;
use crate::python::stack::{RawFrame, Stacks, ThreadStack};

/// Gaps in one stack that are bridged.
const MOST_GAPS: usize = 4096;
/// Missing binaries that a message names.
const NAMED: usize = 3;

/// Why no stacks can be read from a core file.
#[derive(Debug, Error)]
pub(crate) enum PostMortemError {
    /// No mapped binary is CPython.
    #[error("the process of core file {at} ran no Python that can be read", at = quoted_path(.core))]
    NotPython {
        /// The core file.
        core: PathBuf,
    },
    /// No binary that could be opened is CPython, and some could not be opened.
    #[error(
        "no Python was found in core file {}, but {} binaries of its process are not here: {}",
        quoted_path(.core),
        .missing.len(),
        names(.missing)
    )]
    BinariesMissing {
        /// The core file.
        core: PathBuf,
        /// Where they were.
        missing: Vec<PathBuf>,
    },
    /// A binary has changed since.
    #[error(
        "the Python in core file {at} cannot be read with {of}, which is of another build",
        at = quoted_path(.core),
        of = quoted_path(.binary)
    )]
    OtherBuild {
        /// The core file.
        core: PathBuf,
        /// The file here.
        binary: PathBuf,
    },
    /// What is needed is in the part of the core file that is missing.
    #[error(
        "the Python in core file {at} cannot be read: the file is cut off, it has {size} bytes of {expected}",
        at = quoted_path(.core)
    )]
    CutOff {
        /// The core file.
        core: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// What it should be.
        expected: u64,
    },
    /// There is a CPython that cannot be read.
    #[error("the Python in core file {at} cannot be read", at = quoted_path(.core))]
    Unusable {
        /// The core file.
        core: PathBuf,
        /// Why not.
        #[source]
        source: LocateError,
    },
    /// Its lists of interpreters cannot be read.
    #[error("the stacks in core file {at} cannot be read", at = quoted_path(.core))]
    Unreadable {
        /// The core file.
        core: PathBuf,
        /// What failed.
        #[source]
        source: ReadError,
    },
}

impl PostMortemError {
    /// Whether the version is what cannot be read.
    pub(crate) fn is_unsupported_version(&self) -> bool {
        matches!(self, Self::Unusable { source: LocateError::Unsupported(_), .. })
    }

    /// What the user can do about it, without capital and full stop.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::BinariesMissing { .. } | Self::OtherBuild { .. } => vec![
                "give the executable with --exe, or a directory with the machine's files or just these with --root"
                    .to_owned(),
            ],
            Self::NotPython { .. } | Self::Unusable { .. } => vec![format!("pyspy reads {SUPPORTED}, 64-bit")],
            Self::CutOff { .. } | Self::Unreadable { .. } => vec![],
        }
    }
}

fn names(paths: &[PathBuf]) -> String {
    let mut names: Vec<String> = paths.iter().take(NAMED).map(|path| quoted_path(path)).collect();
    if paths.len() > NAMED {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// What a core file shows.
#[derive(Debug)]
pub(crate) struct PostMortem {
    /// Its runtime.
    pub runtime: Runtime,
    /// What its threads were doing.
    pub moment: Moment,
    /// The code that they ran.
    pub codes: CodeTable,
    /// Binaries that are not those of the process, by where they are here.
    pub other_builds: Vec<PathBuf>,
    names: ThreadNames,
}

impl PostMortem {
    /// Reads all stacks.
    ///
    /// # Errors
    /// When there is no Python in it, or it cannot be read.
    pub(crate) fn read(core: &CoreFile, sources: &BinarySources) -> Result<Self, PostMortemError> {
        let (runtime, other_builds) = locate(core, sources)?;
        Self::walk(core, &CoreMemory::new(core, sources), runtime, other_builds)
    }

    /// Reads all stacks of a runtime that was found; `memory` is that of the core's process, `other_builds` what was
    /// found on the way.
    ///
    /// # Errors
    /// When its lists of interpreters cannot be read.
    pub(crate) fn walk(
        core: &CoreFile,
        memory: &dyn Memory,
        runtime: Runtime,
        other_builds: Vec<PathBuf>,
    ) -> Result<Self, PostMortemError> {
        let mut stacks = Stacks::default();
        let unreadable = |source| match cut_off(core) {
            Some(error) => error,
            None => PostMortemError::Unreadable { core: core.path().to_owned(), source },
        };
        stacks.walk(&mut &memory, &runtime).map_err(unreadable)?;
        bridge_gaps(&mut stacks, memory, &runtime);
        let mut reader = Reader {
            memory,
            runtime: &runtime,
            core,
            codes: CodeTable::new(),
            bad: HashSet::new(),
            moment: Moment::default(),
        };
        reader.codes.begin_sample(None);
        let identities = reader.identify(&stacks.threads);
        for (thread, identity) in stacks.threads.iter().zip(identities) {
            reader.take(&stacks, thread, identity);
        }
        let (codes, moment) = (reader.codes, reader.moment);
        let mut names = ThreadNames::default();
        names.read(&memory, &runtime, &stacks.interpreters);
        Ok(Self { runtime, moment, codes, other_builds, names })
    }

    /// The name of a thread: what `threading` says, else what must be so.
    pub(crate) fn thread_name(&self, core: &CoreFile, thread: &MomentThread) -> Option<&str> {
        self.names.name(thread, thread.os_id == Some(u64::from(core.pid().unsigned_abs())))
    }
}

struct Reader<'read> {
    memory: &'read dyn Memory,
    runtime: &'read Runtime,
    core: &'read CoreFile,
    codes: CodeTable,
    bad: HashSet<u64>,
    moment: Moment,
}

impl Reader<'_> {
    fn identify(&mut self, threads: &[ThreadStack]) -> Vec<Identity> {
        let mut kernel = CoreThreads { core: self.core, memory: self.memory, offset: None };
        identify(threads, |_| None, &mut kernel)
    }

    fn take(&mut self, stacks: &Stacks, thread: &ThreadStack, identity: Identity) {
        let first_frame = self.moment.frames.len();
        let mut is_truncated = thread.is_truncated;
        for frame in stacks.frames_of(thread) {
            let layout = &self.runtime.layout;
            let known = self.codes.evidence(frame.code).next().is_some();
            if !known
                && !self.bad.contains(&frame.code)
                && let Err(error) = self.codes.load(&self.memory, layout, frame.code)
            {
                log::debug!("{error}");
                self.bad.insert(frame.code);
            }
            let Some(Place { code, line, offset }) = self.codes.resolve(&self.memory, layout, frame) else {
                is_truncated = true;
                break;
            };
            let (address, code_address) = (frame.address, frame.code);
            let interpreter = stacks.interpreters[frame.interpreter].id;
            self.moment.frames.push(MomentFrame { address, code_address, code, line, offset, interpreter });
        }
        let frames = FrameSpan::since(first_frame, &self.moment.frames);
        // There will be no other look at this process: the newer part of a stack is better than nothing.
        if is_truncated {
            self.moment.lost += 1;
            if frames.len() == 0 {
                return;
            }
        }
        let interpreter = stacks.interpreters[thread.interpreter];
        let os_id = identity.os_id;
        let known = self.core.threads().iter().find(|known| Some(known.id) == os_id);
        let active = known.is_some_and(|known| known.system_call.is_none());
        let running_in = stacks.interpreters[thread.running_in];
        let futex = known.and_then(|known| known.system_call?.futex());
        let is_at_gil = futex.is_some_and(|futex| running_in.gil.is_waited_for_at(self.runtime, futex));
        self.moment.threads.push(MomentThread {
            stack: *thread,
            interpreter,
            running_in,
            os_id,
            exists: identity.exists,
            active,
            waits_for_gil: !thread.holds_gil && (thread.requests_gil || is_at_gil),
            takes_gil: false,
            is_unmoved: false,
            collecting: stacks.collects(thread).unwrap_or(active),
            assurance: Assurance::Stopped,
            frames,
        });
    }
}

/// The threads of a core file.
struct CoreThreads<'read> {
    core: &'read CoreFile,
    memory: &'read dyn Memory,
    offset: Option<u64>,
}

impl KernelThreads for CoreThreads<'_> {
    fn named(&mut self, native: u64) -> Option<ThreadId> {
        self.core.threads().iter().any(|thread| thread.id == native).then_some(native)
    }

    fn by_pthread(&mut self, pthread: u64) -> Option<ThreadId> {
        let threads = self.core.threads();
        let known = |id: u64| threads.iter().any(|thread| thread.id == id).then_some(id);
        id_in_pthread(&self.memory, pthread, &mut self.offset, known)
    }

    fn all(&mut self) -> Vec<ThreadId> {
        self.core.threads().iter().map(|thread| thread.id).collect()
    }

    fn leader(&self) -> ThreadId {
        ThreadId::from(self.core.pid().unsigned_abs())
    }
}

/// Goes on behind the links that lead into what the core has not.
fn bridge_gaps(stacks: &mut Stacks, memory: &dyn Memory, runtime: &Runtime) {
    for index in 0..stacks.threads.len() {
        let mut begun = 0;
        for _ in 0..MOST_GAPS {
            let thread = stacks.threads[index];
            let objects = ObjectReader::new(memory, &runtime.layout);
            let frames = stacks.frames_of(&thread);
            let good = frames.iter().skip(begun).take_while(|frame| objects.is_code(frame.code)).count() + begun;
            if good == frames.len() && !thread.is_truncated {
                break;
            }
            let place = |frame: &RawFrame| below(&memory, &runtime.layout, thread.address, frame.address);
            // A frame of a generator lies elsewhere; one that called it, directly or not, does not.
            match frames.iter().take(good).rev().map(place).find(|place| *place != Below::Unknown) {
                Some(Below::Frame(frame)) => stacks.walk_on(&mut &memory, runtime, index, good, frame),
                Some(Below::Nothing) => {
                    let thread = &mut stacks.threads[index];
                    thread.end_frame = thread.first_frame + good;
                    thread.is_truncated = false;
                    break;
                }
                _ => break,
            }
            begun = good;
        }
    }
}

fn cut_off(core: &CoreFile) -> Option<PostMortemError> {
    let (size, expected) = core.missing_end()?;
    Some(PostMortemError::CutOff { core: core.path().to_owned(), size, expected })
}

/// The runtime, and which binaries were found to be of another build on the way.
fn locate(core: &CoreFile, sources: &BinarySources) -> Result<(Runtime, Vec<PathBuf>), PostMortemError> {
    let memory = CoreMemory::new(core, sources);
    let mut search = RuntimeSearch::default();
    for last_resort in [false, true] {
        for mapping in first_mappings(core.mappings()) {
            if let Some(binary) = sources.binary(core, mapping)
                && let Some(runtime) = search.look(&memory, mapping, binary, last_resort)
            {
                return Ok((runtime, search.others));
            }
        }
        if search.failure.is_some() {
            break;
        }
    }
    Err(search.into_error(core))
}

/// The search for the runtime in the binaries of a core file.
#[derive(Default)]
struct RuntimeSearch {
    /// Binaries that are not here.
    missing: Vec<PathBuf>,
    /// Binaries that are of another build.
    others: Vec<PathBuf>,
    /// Why the first that is Python's has shown no runtime, and which it is, if it is of another build.
    failure: Option<(LocateError, Option<PathBuf>)>,
}

impl RuntimeSearch {
    /// Looks for it by one binary; as the last resort by a scan.
    fn look(
        &mut self,
        memory: &CoreMemory<'_>,
        mapping: &Mapping,
        binary: &CoreBinary,
        last_resort: bool,
    ) -> Option<Runtime> {
        let bytes = match &binary.file {
            Ok(bytes) => bytes,
            Err(error) => {
                log::debug!("{:?}: {error}", binary.path);
                if !last_resort {
                    self.missing.push(mapping.path.clone().unwrap_or_default());
                }
                return None;
            }
        };
        let parsed = match Binary::parse(bytes, Architecture::HOST) {
            Ok(parsed) => parsed,
            Err(BinaryError::UnknownFormat) => return None,
            Err(error) => {
                log::debug!("{:?}: {error}", binary.path);
                return None;
            }
        };
        if binary.is_another && !last_resort {
            self.others.push(binary.path.clone());
        }
        let python = if last_resort { PythonFile::suspect(&parsed) } else { PythonFile::examine(&parsed) };
        let (python, bias) = python.zip(parsed.bias(mapped_part(mapping, memory.page_size())))?;
        let error = match python.locate(memory, bias) {
            Ok(runtime) => return Some(runtime),
            Err(error) => error,
        };
        log::debug!("{:?}: {error}", binary.path);
        if !last_resort {
            self.failure.get_or_insert_with(|| (error, binary.is_another.then(|| binary.path.clone())));
        }
        None
    }

    /// Why there is none.
    fn into_error(self, core: &CoreFile) -> PostMortemError {
        if let Some(error) = cut_off(core) {
            return error;
        }
        let path = core.path().to_owned();
        match self.failure {
            Some((_, Some(binary))) => PostMortemError::OtherBuild { core: path, binary },
            Some((source, None)) => PostMortemError::Unusable { core: path, source },
            None if self.missing.is_empty() => PostMortemError::NotPython { core: path },
            None => PostMortemError::BinariesMissing { core: path, missing: self.missing },
        }
    }
}
