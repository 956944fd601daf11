//! 3.13 and later: offsets from the target itself.
//!
//! `_PyRuntime` begins with `_Py_DebugOffsets` (internal/pycore_runtime.h in 3.13, internal/pycore_debug_offsets.h from
//! 3.14 on): a cookie, the version, whether the build is free-threaded, then one group of 8-byte words a struct. Each
//! feature release inserts words, so there is one list for each; a release never changes its list. What the words do
//! not tell is in `assemble`.
//!
//! Limits: alphas, betas and versions newer than 3.15 are taken to have the newest known list. Known relations between
//! the words, most of them near the list's end, show whether that is so; if it is, the layout is marked as tentative,
//! else it is refused.

mod assemble;

use super::Layout;
use super::validate::{LayoutError, OFFSET_LIMIT, validate};
use crate::python::version::Version;
use thiserror::Error;

/// How many bytes [`size`] needs.
pub const HEADER_SIZE: usize = 24;

/// What `_Py_DebugOffsets` begins with.
pub const COOKIE: &[u8; 8] = b"xdebugpy";

/// `sizeof(struct gc_stats)` of 3.15, as it is known, with a GIL and without.
const GC_RINGS: u32 = 1120;
const GC_RINGS_FREE_THREADED: u32 = 224;

/// The newest feature release whose list is known.
const NEWEST: u8 = 15;

/// Why debug offsets are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DebugOffsetsError {
    /// The bytes do not begin with [`COOKIE`].
    #[error("no debug offsets: the cookie is missing")]
    NoCookie,
    /// There are fewer bytes than the version has.
    #[error("the debug offsets are cut short: {available} of {needed} bytes")]
    Short {
        /// How many there are.
        available: usize,
        /// How many there should be.
        needed: usize,
    },
    /// The version in them is not one that has any.
    #[error("version {0} has no debug offsets")]
    Version(Version),
    /// A word does not relate to the others as in the list that was used.
    #[error("the debug offsets of {version} are not laid out as those of 3.{list}: {field} is {value}")]
    OtherList {
        /// The target's version.
        version: Version,
        /// The feature release of the list.
        list: u8,
        /// The word.
        field: &'static str,
        /// What it is.
        value: u64,
    },
    /// The words lead to a layout that cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// How many bytes the debug offsets have that begin with `header` ([`HEADER_SIZE`] bytes or more).
///
/// # Errors
/// When the header is not one.
pub fn size(header: &[u8]) -> Result<usize, DebugOffsetsError> {
    Header::read(header).map(|header| header.size())
}

/// A validated layout from the bytes of `_Py_DebugOffsets`; bytes after its end do not matter.
///
/// # Errors
/// When the bytes are not debug offsets, when they are not laid out as the version's should be, or when they make no
/// sense.
pub fn parse(bytes: &[u8]) -> Result<Layout, DebugOffsetsError> {
    let header = Header::read(bytes)?;
    let needed = header.size();
    let words = bytes.get(HEADER_SIZE..needed).ok_or(DebugOffsetsError::Short { available: bytes.len(), needed })?;
    let mut words = Words { header, words };
    let offsets = Offsets::read(&mut words)?;
    let layout = assemble::layout(header, &offsets);
    validate(&layout)?;
    Ok(layout)
}

/// The first three words.
#[derive(Debug, Clone, Copy)]
struct Header {
    version: Version,
    free_threaded: bool,
    /// The feature release whose list is used.
    list: u8,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DebugOffsetsError> {
        let short = DebugOffsetsError::Short { available: bytes.len(), needed: HEADER_SIZE };
        let header = bytes.first_chunk::<HEADER_SIZE>().ok_or(short)?;
        if !header.starts_with(COOKIE) {
            return Err(DebugOffsetsError::NoCookie);
        }
        let hex = word(header, 8).ok_or(short)?;
        let free_threaded = word(header, 16).ok_or(short)? != 0;
        // A version number past 32 bits is none; 0 is refused below.
        let version = Version::from_hex(u32::try_from(hex).unwrap_or(0));
        if version.major != 3 || version.minor < 13 {
            return Err(DebugOffsetsError::Version(version));
        }
        Ok(Self { version, free_threaded, list: version.minor.min(NEWEST) })
    }

    /// The size of the whole struct.
    fn size(self) -> usize {
        match self.list {
            13 => 584,
            14 => 760,
            _ => 888,
        }
    }

    /// Whether the list is only presumed to be the target's. Candidates have that of the release.
    fn is_tentative(self) -> bool {
        self.version.release < 0xC0 || self.version.minor > NEWEST
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().copied().map(u64::from_ne_bytes)
}

/// The words after the header, taken one by one.
struct Words<'bytes> {
    header: Header,
    words: &'bytes [u8],
}

impl Words<'_> {
    /// The next word, which is called `field` and must be a plausible offset or size.
    fn next(&mut self, field: &'static str) -> Result<u32, DebugOffsetsError> {
        let size = self.header.size();
        let short = DebugOffsetsError::Short { available: size - self.words.len(), needed: size };
        let (word, rest) = self.words.split_first_chunk().ok_or(short)?;
        self.words = rest;
        let value = u64::from_ne_bytes(*word);
        match u32::try_from(value) {
            Ok(offset) if offset < OFFSET_LIMIT => Ok(offset),
            _ => Err(self.other_list(field, value)),
        }
    }

    /// The next word if the list is that of 3.`first` or newer.
    fn next_since(&mut self, first: u8, field: &'static str) -> Result<Option<u32>, DebugOffsetsError> {
        if self.header.list >= first { self.next(field).map(Some) } else { Ok(None) }
    }

    /// The next word, which must be `expected` for this list to be the target's.
    fn expect(&mut self, field: &'static str, expected: u32) -> Result<u32, DebugOffsetsError> {
        let value = self.next(field)?;
        if value == expected { Ok(value) } else { Err(self.other_list(field, value.into())) }
    }

    /// Passes over words that nobody needs.
    fn skip(&mut self, count: usize) {
        self.words = self.words.get(8 * count..).unwrap_or_default();
    }

    fn other_list(&self, field: &'static str, value: u64) -> DebugOffsetsError {
        DebugOffsetsError::OtherList { version: self.header.version, list: self.header.list, field, value }
    }
}

/// The words that are used, by their names in CPython.
struct Offsets {
    runtime_size: u32,
    interpreters_head: u32,
    interpreter: InterpreterOffsets,
    thread: ThreadOffsets,
    frame: FrameOffsets,
    code: CodeOffsets,
    object_size: u32,
    ob_type: u32,
    tp_name: u32,
    tp_flags: u32,
    /// 3.15+.
    ht_cached_keys: Option<u32>,
    tuple_ob_item: u32,
    list_ob_item: u32,
    ma_keys: u32,
    ma_values: u32,
    ob_fval: u32,
    lv_tag: u32,
    ob_digit: u32,
    bytes_ob_sval: u32,
    unicode_state: u32,
    unicode_length: u32,
    asciiobject_size: u32,
    gc_collecting: u32,
    /// From the beginning of `gc` (3.15+).
    gc_frame: Option<u32>,
    /// 3.15+, if the rings are as they are known.
    gc_stats: Option<u32>,
    /// 3.14+: `gi_name`, `gi_iframe`, `gi_frame_state`.
    generator: Option<[u32; 3]>,
}

struct InterpreterOffsets {
    size: u32,
    id: u32,
    next: u32,
    threads_head: u32,
    /// 3.14+.
    threads_main: Option<u32>,
    gc: u32,
    imports_modules: u32,
    sysdict: u32,
    ceval_gil: u32,
    gil_runtime_state: u32,
    /// From the beginning of `_gil_runtime_state`; 0 unless free-threaded.
    gil_runtime_state_enabled: u32,
    gil_runtime_state_locked: u32,
    gil_runtime_state_holder: u32,
    /// 3.14+.
    code_object_generation: Option<u32>,
}

struct ThreadOffsets {
    size: u32,
    next: u32,
    interp: u32,
    current_frame: u32,
    /// 3.15+.
    base_frame: Option<u32>,
    thread_id: u32,
    native_thread_id: u32,
    datastack_chunk: u32,
    status: u32,
    /// 3.15+.
    holds_gil: Option<u32>,
    /// 3.15+.
    gil_requested: Option<u32>,
    /// 3.15+.
    current_exception: Option<u32>,
}

struct FrameOffsets {
    previous: u32,
    executable: u32,
    instr_ptr: u32,
    localsplus: u32,
    owner: u32,
    /// 3.14+.
    stackpointer: Option<u32>,
    /// 3.14+; 0 unless free-threaded.
    tlbc_index: Option<u32>,
}

struct CodeOffsets {
    filename: u32,
    name: u32,
    qualname: u32,
    linetable: u32,
    firstlineno: u32,
    argcount: u32,
    localsplusnames: u32,
    localspluskinds: u32,
    co_code_adaptive: u32,
    /// 3.14+; 0 unless free-threaded.
    co_tlbc: Option<u32>,
}

impl Offsets {
    /// Takes the groups in their order. What is expected of the objects has been so since they came to be what they
    /// are.
    fn read(words: &mut Words<'_>) -> Result<Self, DebugOffsetsError> {
        let runtime_size = words.next("runtime_state.size")?;
        words.skip(1); // finalizing
        let interpreters_head = words.next("runtime_state.interpreters_head")?;
        let interpreter = InterpreterOffsets::read(words)?;
        let thread = ThreadOffsets::read(words)?;
        if words.header.list >= 15 {
            words.skip(1); // err_stackitem.exc_value
        }
        let frame = FrameOffsets::read(words)?;
        let code = CodeOffsets::read(words)?;
        let object_size = words.next("pyobject.size")?;
        let head = object_size;
        let ob_type = words.expect("pyobject.ob_type", head.saturating_sub(8))?;
        words.skip(1); // type_object.size
        let tp_name = words.expect("type_object.tp_name", head + 8)?;
        words.skip(1); // type_object.tp_repr
        let tp_flags = words.next("type_object.tp_flags")?;
        if words.header.list >= 15 {
            words.expect("type_object.tp_basicsize", tp_name + 8)?;
            words.skip(2); // type_object.tp_dictoffset, heap_type_object.size
        }
        let ht_cached_keys = words.next_since(15, "heap_type_object.ht_cached_keys")?;
        words.skip(1); // tuple_object.size
        let tuple_ob_item = words.next("tuple_object.ob_item")?;
        words.expect("tuple_object.ob_size", head)?;
        words.skip(1); // list_object.size
        let list_ob_item = words.expect("list_object.ob_item", head + 8)?;
        words.expect("list_object.ob_size", head)?;
        if words.header.list >= 14 {
            words.skip(1); // set_object.size
            words.expect("set_object.used", head + 8)?;
            words.expect("set_object.table", head + 24)?;
            words.expect("set_object.mask", head + 16)?;
        }
        words.skip(1); // dict_object.size
        let ma_keys = words.expect("dict_object.ma_keys", head + 16)?;
        let ma_values = words.expect("dict_object.ma_values", head + 24)?;
        words.skip(1); // float_object.size
        let ob_fval = words.expect("float_object.ob_fval", head)?;
        words.skip(1); // long_object.size
        let lv_tag = words.expect("long_object.lv_tag", head)?;
        let ob_digit = words.expect("long_object.ob_digit", head + 8)?;
        words.skip(1); // bytes_object.size
        words.expect("bytes_object.ob_size", head)?;
        let bytes_ob_sval = words.next("bytes_object.ob_sval")?;
        words.skip(1); // unicode_object.size
        let unicode_state = words.expect("unicode_object.state", head + 16)?;
        let unicode_length = words.expect("unicode_object.length", head)?;
        let asciiobject_size = words.next("unicode_object.asciiobject_size")?;
        if words.header.list >= 15 {
            words.expect("unicode_object.compactunicodeobject_size", asciiobject_size + 16)?;
        }
        words.skip(1); // gc.size
        let gc_collecting = words.next("gc.collecting")?;
        let gc_frame = words.next_since(15, "gc.frame")?;
        let gc_stats_size = words.next_since(15, "gc.generation_stats_size")?;
        let gc_stats = words.next_since(15, "gc.generation_stats")?;
        let rings = if words.header.free_threaded { GC_RINGS_FREE_THREADED } else { GC_RINGS };
        let gc_stats = gc_stats.filter(|_| gc_stats_size == Some(rings));
        let generator = if words.header.list >= 14 {
            words.skip(1); // gen_object.size
            let gi_name = words.expect("gen_object.gi_name", head + 8)?;
            Some([gi_name, words.next("gen_object.gi_iframe")?, words.next("gen_object.gi_frame_state")?])
        } else {
            None
        };
        Ok(Self {
            runtime_size,
            interpreters_head,
            interpreter,
            thread,
            frame,
            code,
            object_size,
            ob_type,
            tp_name,
            tp_flags,
            ht_cached_keys,
            tuple_ob_item,
            list_ob_item,
            ma_keys,
            ma_values,
            ob_fval,
            lv_tag,
            ob_digit,
            bytes_ob_sval,
            unicode_state,
            unicode_length,
            asciiobject_size,
            gc_collecting,
            gc_frame,
            gc_stats,
            generator,
        })
    }
}

impl InterpreterOffsets {
    fn read(words: &mut Words<'_>) -> Result<Self, DebugOffsetsError> {
        let size = words.next("interpreter_state.size")?;
        let id = words.next("interpreter_state.id")?;
        let next = words.next("interpreter_state.next")?;
        let threads_head = words.next("interpreter_state.threads_head")?;
        let threads_main = words.next_since(14, "interpreter_state.threads_main")?;
        let gc = words.next("interpreter_state.gc")?;
        let imports_modules = words.next("interpreter_state.imports_modules")?;
        let sysdict = words.next("interpreter_state.sysdict")?;
        words.skip(1); // builtins
        let ceval_gil = words.next("interpreter_state.ceval_gil")?;
        let gil_runtime_state = words.next("interpreter_state.gil_runtime_state")?;
        let gil_runtime_state_enabled = words.next("interpreter_state.gil_runtime_state_enabled")?;
        let gil_runtime_state_locked = words.next("interpreter_state.gil_runtime_state_locked")?;
        let gil_runtime_state_holder = words.next("interpreter_state.gil_runtime_state_holder")?;
        let code_object_generation = words.next_since(14, "interpreter_state.code_object_generation")?;
        if words.header.list >= 14 {
            words.skip(1); // tlbc_generation
        }
        Ok(Self {
            size,
            id,
            next,
            threads_head,
            threads_main,
            gc,
            imports_modules,
            sysdict,
            ceval_gil,
            gil_runtime_state,
            gil_runtime_state_enabled,
            gil_runtime_state_locked,
            gil_runtime_state_holder,
            code_object_generation,
        })
    }
}

impl ThreadOffsets {
    fn read(words: &mut Words<'_>) -> Result<Self, DebugOffsetsError> {
        let size = words.next("thread_state.size")?;
        words.skip(1); // prev
        let next = words.next("thread_state.next")?;
        let interp = words.next("thread_state.interp")?;
        let current_frame = words.next("thread_state.current_frame")?;
        let base_frame = words.next_since(15, "thread_state.base_frame")?;
        if words.header.list >= 15 {
            words.skip(2); // last_profiled_frame, last_profiled_frame_seq
        }
        let thread_id = words.next("thread_state.thread_id")?;
        let native_thread_id = words.next("thread_state.native_thread_id")?;
        let datastack_chunk = words.next("thread_state.datastack_chunk")?;
        let status = words.next("thread_state.status")?;
        let holds_gil = words.next_since(15, "thread_state.holds_gil")?;
        let gil_requested = words.next_since(15, "thread_state.gil_requested")?;
        let current_exception = words.next_since(15, "thread_state.current_exception")?;
        if words.header.list >= 15 {
            words.skip(1); // exc_state
        }
        Ok(Self {
            size,
            next,
            interp,
            current_frame,
            base_frame,
            thread_id,
            native_thread_id,
            datastack_chunk,
            status,
            holds_gil,
            gil_requested,
            current_exception,
        })
    }
}

impl FrameOffsets {
    fn read(words: &mut Words<'_>) -> Result<Self, DebugOffsetsError> {
        words.skip(1); // size, which counts one local
        Ok(Self {
            previous: words.next("interpreter_frame.previous")?,
            executable: words.next("interpreter_frame.executable")?,
            instr_ptr: words.next("interpreter_frame.instr_ptr")?,
            localsplus: words.next("interpreter_frame.localsplus")?,
            owner: words.next("interpreter_frame.owner")?,
            stackpointer: words.next_since(14, "interpreter_frame.stackpointer")?,
            tlbc_index: words.next_since(14, "interpreter_frame.tlbc_index")?,
        })
    }
}

impl CodeOffsets {
    fn read(words: &mut Words<'_>) -> Result<Self, DebugOffsetsError> {
        words.skip(1); // size
        Ok(Self {
            filename: words.next("code_object.filename")?,
            name: words.next("code_object.name")?,
            qualname: words.next("code_object.qualname")?,
            linetable: words.next("code_object.linetable")?,
            firstlineno: words.next("code_object.firstlineno")?,
            argcount: words.next("code_object.argcount")?,
            localsplusnames: words.next("code_object.localsplusnames")?,
            localspluskinds: words.next("code_object.localspluskinds")?,
            co_code_adaptive: words.next("code_object.co_code_adaptive")?,
            co_tlbc: words.next_since(14, "code_object.co_tlbc")?,
        })
    }
}

#[cfg(test)]
mod tests;
