//! Finds the runtime: from what a binary's file says ([`PythonFile`]) and what the process's memory shows.
//!
//! A file is Python when its content says so, never by its name. The order: the section `.PyRuntime` (3.11.7, 3.12.1
//! and later), the exported symbols (`_PyRuntime` from 3.7 on, `_PyThreadState_Current` before), at last a scan of the
//! writable data for a pointer to something that is an interpreter state by all that can be checked.

use std::ops::Range;

use thiserror::Error;

use super::layout::{Layout, debug_offsets, up_to_3_12};
use super::object::ObjectReader;
use super::runtime::{GilStatics, Runtime};
use super::version::Version;
use crate::binary::{Binary, SectionName};
use crate::memory::{Memory, PageCache, ReadError};

/// The section that `_PyRuntime` has to itself (`GENERATE_DEBUG_SECTION`, pycore_debug_offsets.h).
const RUNTIME_SECTION: SectionName = SectionName { elf: ".PyRuntime", mach_o: "__DATA,PyRuntime", pe: "PyRuntim" };
/// The most writable data that is scanned, in bytes.
const MOST_SCANNED: u64 = 64 * 1024 * 1024;
/// The scan reads so much at a time, in bytes.
const SCAN_STEP: u64 = 64 * 1024;
/// The versions that can be read, for messages.
pub(crate) const SUPPORTED: &str = "CPython 2.7 and 3.6 to 3.15";

/// What a binary's file tells about the CPython in it. Addresses are the file's; see [`Binary::bias`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PythonFile {
    runtime: Option<u64>,
    version_symbol: Option<u64>,
    current_thread: Option<u64>,
    interpreters_head: Option<u64>,
    collecting: Option<u64>,
    gil: GilStatics,
    /// `PY_VERSION` is one of these.
    versions: Vec<Version>,
    writable: Vec<Range<u64>>,
}

/// Why no runtime was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LocateError {
    /// The interpreter is there but has not started, or is on its way out.
    #[error("Python is not initialised")]
    NotReady,
    /// There is an interpreter, but no thread belongs to it.
    #[error("no thread belongs to its interpreter")]
    NoThread,
    /// A version without a layout.
    #[error("Python {0} is not supported (supported: {SUPPORTED})")]
    Unsupported(Version),
    /// It says that it is Python, but what lies in memory makes no sense as any version that it could be.
    #[error("the Python runtime makes no sense")]
    Implausible,
    /// Its `_Py_DebugOffsets` cannot be used.
    #[error("the runtime's debug offsets cannot be used: {0}")]
    DebugOffsets(String),
    /// The memory cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

impl PythonFile {
    /// What the file tells, or `None` when it neither is nor contains a CPython runtime by its symbols and sections.
    pub(crate) fn examine(binary: &Binary<'_>) -> Option<Self> {
        let section = binary.section(RUNTIME_SECTION).map(|section| section.address);
        let exported = binary.exported(&["_PyRuntime", "Py_Version", "_PyThreadState_Current"]);
        let address = |index: usize| exported.get(index).copied().flatten().map(|symbol| symbol.address);
        let runtime = section.or(address(0));
        let mut file = Self {
            runtime,
            version_symbol: address(1),
            current_thread: address(2),
            interpreters_head: None,
            collecting: None,
            gil: GilStatics::default(),
            versions: Vec::new(),
            writable: Vec::new(),
        };
        if file.runtime.is_none() && file.current_thread.is_none() {
            return None;
        }
        if file.runtime.is_none() {
            let names = [
                "interp_head",
                "collecting",
                "interpreter_lock",
                "gil_switch_number",
                "gil_cond",
                "gil_mutex",
                "switch_cond",
                "switch_mutex",
            ];
            let local = binary.symbols(&names);
            let address = |index: usize| local.get(index).copied().flatten().map(|symbol| symbol.address);
            file.interpreters_head = address(0);
            file.collecting = address(1);
            file.gil = GilStatics { lock: address(2), switch_number: address(3), waits: [4, 5, 6, 7].map(address) };
        }
        file.add_data(binary);
        Some(file)
    }

    /// The last resort, for a program that exports nothing: any binary with a version of Python that can be read among
    /// its constants, to be scanned.
    pub(crate) fn suspect(binary: &Binary<'_>) -> Option<Self> {
        let mut file = Self {
            runtime: None,
            version_symbol: None,
            current_thread: None,
            interpreters_head: None,
            collecting: None,
            gil: GilStatics::default(),
            versions: Vec::new(),
            writable: Vec::new(),
        };
        file.add_data(binary);
        file.versions.retain(|version| up_to_3_12::layout(*version).is_some());
        (!file.versions.is_empty()).then_some(file)
    }

    /// A file that is not there, of which is known what a saved image of its process says: the address of `_PyRuntime`
    /// in that process, and the version.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn known(runtime: u64, version: Version) -> Self {
        Self {
            runtime: Some(runtime),
            version_symbol: None,
            current_thread: None,
            interpreters_head: None,
            collecting: None,
            gil: GilStatics::default(),
            versions: vec![version],
            writable: Vec::new(),
        }
    }

    fn add_data(&mut self, binary: &Binary<'_>) {
        // Where a symbol tells the version, the pass over the constants is saved.
        if self.version_symbol.is_none() {
            self.versions = binary.version_strings().into_iter().filter_map(Version::parse).collect();
        }
        self.writable = binary.zero_ranges();
        self.writable.extend(binary.data_ranges());
    }

    /// Finds the runtime in a process that has this file mapped with `bias`.
    ///
    /// # Errors
    /// When there is none (yet), or none that we can read.
    pub(crate) fn locate(&self, memory: &impl Memory, bias: u64) -> Result<Runtime, LocateError> {
        let memory = PageCache::new(memory);
        let in_process = |address: u64| address.wrapping_add(bias);
        if let Some(runtime) = self.runtime.map(in_process)
            && let Some(found) = by_debug_offsets(&memory, runtime)?
        {
            return Ok(found);
        }
        let versions = match self.version_symbol {
            Some(symbol) => vec![Version::from_hex(memory.read_u32(in_process(symbol))?)],
            None => self.versions.clone(),
        };
        let layouts: Vec<Layout> = versions.iter().filter_map(|version| up_to_3_12::layout(*version)).collect();
        if layouts.is_empty() {
            let known =
                versions.iter().copied().filter(|version| matches!(version.feature(), (2, 0..=7) | (3, 0..=30)));
            return Err(known.max().map_or(LocateError::Implausible, LocateError::Unsupported));
        }
        let mut failure = LocateError::Implausible;
        for layout in layouts {
            match self.with_layout(&memory, layout, bias) {
                Ok(runtime) => return Ok(runtime),
                // "Not yet" says more than "not this version".
                Err(error @ (LocateError::NotReady | LocateError::NoThread)) => failure = error,
                Err(error) => {
                    if !matches!(failure, LocateError::NotReady | LocateError::NoThread) {
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }

    fn with_layout(&self, memory: &impl Memory, layout: Layout, bias: u64) -> Result<Runtime, LocateError> {
        let in_process = |address: u64| address.wrapping_add(bias);
        let head = match (self.runtime, layout.runtime.interpreters_head) {
            (Some(runtime), Some(offset)) => Some(in_process(runtime).wrapping_add(u64::from(offset))),
            _ => self.interpreters_head.map(in_process),
        };
        let head = match head {
            Some(head) => {
                check_interpreter(memory, &layout, memory.read_u64(head)?)?;
                head
            }
            None => self.scan(memory, &layout, bias).ok_or(LocateError::NotReady)?,
        };
        let runtime = layout.runtime.interpreters_head.map(|offset| head.wrapping_sub(u64::from(offset)));
        let inside = |offset: Option<u32>| Some(runtime?.wrapping_add(u64::from(offset?)));
        Ok(Runtime {
            interpreters_head: head,
            current_thread: inside(layout.runtime.current_thread).or(self.current_thread.map(in_process)),
            collecting: inside(layout.runtime.gc_collecting).or(self.collecting.map(in_process)),
            gil_statics: GilStatics {
                lock: self.gil.lock.map(in_process),
                switch_number: self.gil.switch_number.map(in_process),
                waits: self.gil.waits.map(|place| place.map(in_process)),
            },
            layout,
        })
    }

    /// The address of the first word in the writable data that points to an interpreter state.
    fn scan(&self, memory: &impl Memory, layout: &Layout, bias: u64) -> Option<u64> {
        let mut left = MOST_SCANNED;
        let mut bytes = vec![0; SCAN_STEP as usize];
        for range in &self.writable {
            let (mut address, end) = (range.start.wrapping_add(bias) & !7, range.end.wrapping_add(bias));
            while address < end && left > 0 {
                let step = SCAN_STEP.min(end - address).min(left);
                left -= step;
                let buffer = &mut bytes[..step as usize];
                if memory.read(address, buffer).is_ok() {
                    let words = buffer.chunks_exact(8).map(|word| {
                        let mut bytes = [0; 8];
                        bytes.copy_from_slice(word);
                        u64::from_ne_bytes(bytes)
                    });
                    let looks_like_pointer = |word: u64| word > 0x1000 && word >> 48 == 0 && word.is_multiple_of(8);
                    for (index, word) in words.enumerate() {
                        if looks_like_pointer(word) && check_interpreter(memory, layout, word).is_ok() {
                            return Some(address + 8 * index as u64);
                        }
                    }
                }
                address += step;
            }
        }
        None
    }
}

/// The runtime whose debug offsets lie at `runtime` (3.13+); `None` when there are none there.
fn by_debug_offsets(memory: &impl Memory, runtime: u64) -> Result<Option<Runtime>, LocateError> {
    let header: [u8; debug_offsets::HEADER_SIZE] = memory.read_array(runtime)?;
    if !header.starts_with(debug_offsets::COOKIE) {
        return Ok(None);
    }
    let refused = |error: debug_offsets::DebugOffsetsError| LocateError::DebugOffsets(error.to_string());
    let mut bytes = vec![0; debug_offsets::size(&header).map_err(refused)?];
    memory.read(runtime, &mut bytes)?;
    let layout = debug_offsets::parse(&bytes).map_err(refused)?;
    let offset = layout.runtime.interpreters_head.ok_or(LocateError::Implausible)?;
    let head = runtime.wrapping_add(u64::from(offset));
    check_interpreter(memory, &layout, memory.read_u64(head)?)?;
    let gil_statics = GilStatics::default();
    Ok(Some(Runtime { interpreters_head: head, current_thread: None, collecting: None, gil_statics, layout }))
}

/// Whether `interpreter` is an interpreter state with at least one thread, by what its thread state and its
/// `sys.modules` say.
fn check_interpreter(memory: &impl Memory, layout: &Layout, interpreter: u64) -> Result<(), LocateError> {
    if interpreter == 0 {
        return Err(LocateError::NotReady);
    }
    let at = |offset: u32| interpreter.wrapping_add(u64::from(offset));
    let implausible = |_: ReadError| LocateError::Implausible;
    let thread = memory.read_u64(at(layout.interpreter.threads_head)).map_err(implausible)?;
    if thread == 0 {
        return Err(LocateError::NoThread);
    }
    let back = memory.read_u64(thread.wrapping_add(u64::from(layout.thread.interp))).map_err(implausible)?;
    if back != interpreter {
        return Err(LocateError::Implausible);
    }
    let modules = memory.read_u64(at(layout.interpreter.modules)).map_err(implausible)?;
    if modules == 0 {
        return Err(LocateError::NotReady);
    }
    let kind = memory.read_u64(modules.wrapping_add(u64::from(layout.object.ob_type))).map_err(implausible)?;
    match ObjectReader::new(memory, layout).name_of_type(kind) {
        Ok(name) if name == "dict" => Ok(()),
        _ => Err(LocateError::Implausible),
    }
}
