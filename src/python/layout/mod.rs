//! Where CPython keeps things: one [`Layout`] describes one version, as data.
//!
//! For 3.13 and later the numbers come from the target's own `_Py_DebugOffsets` ([`debug_offsets`]), for older ones
//! from constant tables ([`up_to_3_12`]) that a test compares with the headers of every interpreter present. All
//! offsets are in bytes from the beginning of the struct that the group is named for; an `Option` is `None` where the
//! version has no such field. One walker serves all versions: what differs is a number or a small enum here, never a
//! second walker.

pub mod debug_offsets;
pub mod up_to_3_12;
pub mod validate;

use crate::python::version::Version;

/// Everything about one version of CPython that the readers in [`crate::python`] need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The version that this describes.
    pub version: Version,
    /// A build without GIL (3.13t and later).
    pub free_threaded: bool,
    /// The version is newer than any known one, or an alpha, beta or candidate: what its debug offsets do not tell was
    /// assumed to be as in the newest known version, and may be wrong.
    pub tentative: bool,
    /// `_PyRuntimeState` (3.7+).
    pub runtime: Runtime,
    /// `PyInterpreterState`.
    pub interpreter: Interpreter,
    /// Where the GIL's holder can be read.
    pub gil: Gil,
    /// `PyThreadState`.
    pub thread: Thread,
    /// `PyFrameObject` up to 3.10, `_PyInterpreterFrame` from 3.11.
    pub frame: Frame,
    /// `PyCodeObject`.
    pub code: Code,
    /// Objects in general and the built-in types.
    pub object: Objects,
    /// Generators, coroutines and async generators, which share one head.
    pub generator: Generator,
}

/// `_PyRuntimeState`, offsets from `_PyRuntime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Runtime {
    /// `sizeof`, as the target says (3.13+).
    pub size: Option<u32>,
    /// `interpreters.head`; `None` before 3.7, where the local symbol `interp_head` holds it.
    pub interpreters_head: Option<u32>,
    /// `gilstate.tstate_current` (3.7–3.11).
    pub current_thread: Option<u32>,
    /// `ceval.gil`, a `struct _gil_runtime_state` (3.7–3.11).
    pub gil: Option<u32>,
    /// `gc.collecting` (3.7, 3.8).
    pub gc_collecting: Option<u32>,
}

/// `PyInterpreterState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interpreter {
    /// `sizeof`, as the target says (3.13+); before that, a length which every patch release has and which holds all of
    /// the fields below.
    pub size: u32,
    /// `next`: the interpreter made before this one.
    pub next: u32,
    /// `id` (3.7+), an `int64_t`.
    pub id: Option<u32>,
    /// `tstate_head` or `threads.head`: the thread state made last.
    pub threads_head: u32,
    /// `threads.main` (3.13+): the thread state that runs `__main__`, NULL when none does.
    pub threads_main: Option<u32>,
    /// The dict `sys.modules`: `modules` or `imports.modules`.
    pub modules: u32,
    /// `sysdict`.
    pub sysdict: Option<u32>,
    /// `ceval.gil`, a pointer to `struct _gil_runtime_state` (3.12+).
    pub gil: Option<u32>,
    /// `gc.collecting` (3.9+).
    pub gc_collecting: Option<u32>,
    /// `gc.frame` (3.15+ by debug offsets), a `_PyInterpreterFrame *`: the frame that started the collection that runs.
    pub gc_frame: Option<u32>,
    /// `gc.generation_stats` (3.15+ by debug offsets), a `struct gc_stats *`: what was counted of collections.
    pub gc_stats: Option<u32>,
    /// `_code_object_generation` (3.14+), a `uint64_t` that grows when a code object dies.
    pub code_object_generation: Option<u32>,
}

/// How to learn which thread holds the GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gil {
    /// The symbol `_PyThreadState_Current` holds the thread state (2.7, 3.6).
    CurrentThreadSymbol,
    /// [`Runtime::current_thread`] holds it (3.7–3.11).
    RuntimeCurrentThread,
    /// `struct _gil_runtime_state`, reached through [`Interpreter::gil`] (3.12+), with these offsets inside of it.
    PerInterpreter {
        /// `locked`, an `int` (1 held, 0 free, −1 never made).
        locked: u32,
        /// `last_holder`, a `PyThreadState *`.
        last_holder: u32,
    },
    /// As [`Gil::PerInterpreter`], but with the struct inside of `PyInterpreterState`; offsets are from that (3.13+ by
    /// debug offsets: `gil_runtime_state_locked`, `gil_runtime_state_holder`). They are true only for an interpreter
    /// with its own GIL or the main one, so [`Interpreter::gil`] is followed where it is known.
    InInterpreter {
        /// Free-threaded: offset of `_gil.enabled` from the interpreter state, an `int` that is 0 while there is no
        /// GIL. `None` where there always is one.
        enabled: Option<u32>,
        /// Offset of `_gil.locked` from the interpreter state.
        locked: u32,
        /// Offset of `_gil.last_holder` from the interpreter state.
        last_holder: u32,
        /// Offset of `_gil` itself, so that the two become offsets for a GIL found through [`Interpreter::gil`].
        base: u32,
    },
}

/// How a thread state leads to its newest frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameEntry {
    /// A pointer in the thread state: `frame` (≤ 3.10) or `current_frame` (3.13+).
    Direct(u32),
    /// A pointer in the `_PyCFrame` that the thread state points to (3.11, 3.12).
    ThroughCFrame {
        /// `PyThreadState.cframe`.
        cframe: u32,
        /// `_PyCFrame.current_frame`.
        current_frame: u32,
    },
}

/// `PyThreadState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// `sizeof`, as the target says (3.13+); before that, a length which every patch release has and which holds all of
    /// the fields below.
    pub size: u32,
    /// `next`: the thread state made before this one.
    pub next: u32,
    /// `interp`.
    pub interp: u32,
    /// The newest frame.
    pub frame: FrameEntry,
    /// `base_frame` (3.15+): the sentinel that every complete walk ends at.
    pub base_frame: Option<u32>,
    /// `thread_id`, an `unsigned long` (4 bytes on Windows): the `pthread_t` on Linux and macOS, the thread's id on
    /// Windows.
    pub thread_id: u32,
    /// `native_thread_id` (3.11+), an `unsigned long` (4 bytes on Windows): the kernel's thread id as the target sees
    /// it.
    pub native_thread_id: Option<u32>,
    /// `datastack_chunk` (3.11+): the newest [stack chunk](stack_chunk).
    pub datastack_chunk: Option<u32>,
    /// The exception in flight: `curexc_value` (≤ 3.11; a normalised or raw value, NULL where only the type is set yet)
    /// or `current_exception` (3.12+).
    pub current_exception: Option<u32>,
    /// `curexc_type` (≤ 3.11).
    pub current_exception_type: Option<u32>,
    /// `holds_gil` (3.15+ by debug offsets).
    pub holds_gil: Option<u32>,
    /// `gil_requested` (3.15+ by debug offsets).
    pub gil_requested: Option<u32>,
    /// `state` (free-threaded), an `int`: see [`attachment`].
    pub attachment: Option<u32>,
}

/// The values of `PyThreadState.state` (internal/pycore_pystate.h, the same from 3.13 to 3.15).
pub mod attachment {
    /// `_Py_THREAD_ATTACHED`: it may run Python code.
    pub const ATTACHED: u32 = 1;
    /// `_Py_THREAD_SUSPENDED`: it may not until the world runs on that another thread has stopped.
    pub const SUSPENDED: u32 = 2;
}

/// `_PyStackChunk` (cpython/pystate.h, the same from 3.11 to 3.15): where a thread's frames lie.
pub mod stack_chunk {
    /// `previous`, the chunk below.
    pub const PREVIOUS: u32 = 0;
    /// `size` of the whole chunk in bytes, header included.
    pub const SIZE: u32 = 8;
    /// `top`, counted in words from `data`; set only when a newer chunk is begun.
    pub const TOP: u32 = 16;
    /// `data`, the frames themselves. The oldest chunk leaves the first word unused.
    pub const DATA: u32 = 24;
}

/// What tells the current instruction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionPosition {
    /// `f_lasti`, an `int`: a byte offset into `co_code` when `scale` is 1 (≤ 3.9), a count of 2-byte units when 2
    /// (3.10). Negative before the first instruction.
    Lasti {
        /// Offset of the field.
        offset: u32,
        /// Bytes a step.
        scale: u8,
    },
    /// `prev_instr` or `instr_ptr`: a pointer into the code object's `co_code_adaptive` (or thread-local copy).
    Pointer {
        /// Offset of the field.
        offset: u32,
    },
}

/// Where a frame keeps the line that it says of itself, `f_lineno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnLine {
    /// In the frame (≤ 3.10): an `int` directly behind `f_lasti`.
    InFrame {
        /// `f_trace` (≤ 3.9): while that is NULL, CPython does not believe the line. Where there is no such
        /// condition (3.10), it believes any line but 0.
        trace: Option<u32>,
    },
    /// In the frame object, if the frame has one (3.11+); CPython believes any line but 0.
    InObject {
        /// `_PyInterpreterFrame.frame_obj`, a pointer that may be NULL.
        object: u32,
        /// `PyFrameObject.f_frame`: the frame that the object is of.
        frame: u32,
        /// `PyFrameObject.f_lineno`, an `int`.
        line: u32,
    },
}

/// Which byte of `_PyInterpreterFrame.owner` means what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameOwner {
    /// Offset of `owner`, a `char`.
    pub offset: u32,
    /// `FRAME_OWNED_BY_GENERATOR`.
    pub generator: u8,
    /// The owner values of frames that are no Python code: `FRAME_OWNED_BY_CSTACK` (3.12–3.14) and
    /// `FRAME_OWNED_BY_INTERPRETER` (3.14+).
    pub shims: [Option<u8>; 2],
}

/// `PyFrameObject` (≤ 3.10) or `_PyInterpreterFrame` (3.11+).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes from the frame's beginning that hold all of the fields below except the locals.
    pub head_size: u32,
    /// `f_back` or `previous`.
    pub previous: u32,
    /// `f_code` or `f_executable`.
    pub code: u32,
    /// The current instruction.
    pub position: InstructionPosition,
    /// The line that it says of itself.
    pub own_line: OwnLine,
    /// `owner` (3.11+).
    pub owner: Option<FrameOwner>,
    /// `f_localsplus` or `localsplus`: the first of the fast locals.
    pub locals: u32,
    /// `is_entry` (3.11), a `bool`: this frame was entered from C. From 3.12 on shim frames say so, before that it is
    /// so for every frame.
    pub is_entry: Option<u32>,
    /// `stacktop` (3.11–3.13, an `int` index) — the number of live entries of `localsplus`, −1 while the frame runs.
    pub stack_top: Option<u32>,
    /// `f_stacktop` (≤ 3.9) or `stackpointer` (3.14+), a pointer to the first free entry, NULL while the frame runs.
    pub stack_pointer: Option<u32>,
    /// `f_stackdepth` (3.10), an `int`: live entries counted from [`Frame::value_stack`].
    pub stack_depth: Option<u32>,
    /// `f_state` (3.10), an `int8_t`: one of [`Generator::states`].
    pub state: Option<u32>,
    /// `f_valuestack` (≤ 3.10).
    pub value_stack: Option<u32>,
    /// `tlbc_index` (3.14+ free-threaded): which thread-local copy of the bytecode `instr_ptr` points into.
    pub tlbc_index: Option<u32>,
    /// The low bits of a `_PyStackRef` (`f_executable`, locals) that are tags: 0 where references are plain pointers (≤
    /// 3.13).
    pub tag_mask: u64,
    /// Whether a stack reference whose two low bits are 3 is an int instead of a pointer, its value in the bits above
    /// (3.14+).
    pub tagged_ints: bool,
}

/// How a code object tells lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineTableFormat {
    /// `co_lnotab` with unsigned line steps (2.7).
    LnotabUnsigned,
    /// `co_lnotab` with signed line steps (3.6–3.9).
    Lnotab,
    /// `co_linetable`: pairs of (byte step, line step), −128 is "no line" (3.10).
    Pairs,
    /// `co_linetable`: the location table with columns (3.11+).
    Locations,
}

/// `PyCodeObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Bytes from the object's beginning that hold all of the fields below (the code itself not).
    pub head_size: u32,
    /// `co_name`.
    pub name: u32,
    /// `co_qualname` (3.11+).
    pub qualname: Option<u32>,
    /// `co_filename`.
    pub filename: u32,
    /// `co_firstlineno`, an `int`.
    pub first_line: u32,
    /// `co_argcount`, an `int` (positional ones; from 3.8 it includes the positional-only ones).
    pub argument_count: u32,
    /// `co_kwonlyargcount`, an `int` (3.x).
    pub keyword_only_count: Option<u32>,
    /// `co_flags`, an `int`: `CO_VARARGS` 4, `CO_VARKEYWORDS` 8.
    pub flags: u32,
    /// `co_lnotab` or `co_linetable`, a bytes object (`str` in 2.7).
    pub line_table: u32,
    /// What that holds.
    pub line_table_format: LineTableFormat,
    /// `co_code`, a bytes object (≤ 3.10).
    pub bytecode_object: Option<u32>,
    /// `co_code_adaptive` (3.11+): the bytecode begins here, inside of the code object.
    pub bytecode: Option<u32>,
    /// `co_tlbc` (3.14+ free-threaded): pointer to `_PyCodeArray` {Py_ssize_t size; char *entries[]}.
    pub tlbc: Option<u32>,
    /// `co_varnames`, `co_cellvars`, `co_freevars`, tuples of names (≤ 3.10).
    pub variable_names: Option<[u32; 3]>,
    /// `co_localsplusnames` (a tuple) and `co_localspluskinds` (a bytes object) (3.11+).
    pub locals_plus: Option<[u32; 2]>,
    /// `co_nlocals`, an `int` (≤ 3.10; 3.11+ counts by kinds).
    pub local_count: Option<u32>,
    /// `co_version`, a `uint32_t` that no other code object of the interpreter ever gets (3.12+), 0 when they ran out.
    pub unique_version: Option<u32>,
}

/// The values of `PyFrameState` (cpython/frameobject.h in 3.10, internal/pycore_frame.h from 3.11 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameStates {
    /// `FRAME_CREATED`: not begun.
    pub created: i8,
    /// `FRAME_SUSPENDED`: at a `yield`; up to 3.12 at a `yield from` or `await` too.
    pub suspended: i8,
    /// `FRAME_SUSPENDED_YIELD_FROM` (3.13+): at a `yield from` or `await`; the top of the stack is what it waits for.
    pub suspended_yield_from: Option<i8>,
    /// `FRAME_SUSPENDED_YIELD_FROM_LOCKED` (3.15+): the same, while another thread looks at it (free-threaded).
    pub suspended_yield_from_locked: Option<i8>,
    /// `FRAME_EXECUTING`.
    pub executing: i8,
    /// The least value of a frame that has ended.
    pub finished: i8,
}

/// Generators, coroutines, async generators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generator {
    /// `gi_name`.
    pub name: Option<u32>,
    /// `gi_qualname`.
    pub qualname: Option<u32>,
    /// `gi_frame` (≤ 3.10), a pointer to a `PyFrameObject`.
    pub frame_object: Option<u32>,
    /// `gi_iframe` (3.11+): the `_PyInterpreterFrame` itself, inside of the generator.
    pub frame: Option<u32>,
    /// `gi_frame_state` (3.11+), an `int8_t`: one of [`Generator::states`].
    pub frame_state: Option<u32>,
    /// What the states are called (3.10+, where [`Frame::state`] has them).
    pub states: Option<FrameStates>,
    /// `gi_running` (≤ 3.9), a `char`.
    pub running: Option<u32>,
}

/// How `str` lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// 2.7: `str` is a byte string; `unicode` is {length, `Py_UNICODE *` str, hash, defenc} with 2 or 4 bytes a unit.
    Python2 {
        /// `PyUnicodeObject.length`.
        length: u32,
        /// `PyUnicodeObject.str`.
        data: u32,
    },
    /// PEP 393: ASCII data after `PyASCIIObject`, other compact data after `PyCompactUnicodeObject`, legacy data
    /// through a pointer.
    Compact {
        /// `PyASCIIObject.length`.
        length: u32,
        /// `PyASCIIObject.hash`.
        hash: u32,
        /// `PyASCIIObject.state`, 4 bytes of bit fields.
        state: u32,
        /// Which bits those are.
        bits: TextBits,
        /// `sizeof(PyASCIIObject)`.
        ascii_size: u32,
        /// `sizeof(PyCompactUnicodeObject)`.
        compact_size: u32,
        /// `PyUnicodeObject.data`, for the strings that are not compact.
        data: u32,
    },
}

/// The bit fields of `PyASCIIObject.state`, counted from the lowest bit of the 4-byte word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextBits {
    /// Where `kind` begins, 3 bits wide: the bytes a character (1, 2, 4; 0 for a legacy string that is not ready).
    pub kind: u8,
    /// `compact`.
    pub compact: u8,
    /// `ascii`.
    pub ascii: u8,
}

/// How `dict` lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DictFormat {
    /// 2.7: `ma_table` of {hash, key, value}, `ma_mask + 1` slots.
    Table {
        /// `ma_used`.
        used: u32,
        /// `ma_mask`.
        mask: u32,
        /// `ma_table`.
        table: u32,
    },
    /// 3.6+: `ma_keys` (and `ma_values` when split).
    Keys {
        /// `ma_used`.
        used: u32,
        /// `ma_keys`.
        keys: u32,
        /// `ma_values`.
        values: u32,
        /// The struct behind `ma_keys`.
        keys_format: DictKeys,
    },
}

/// `PyDictKeysObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DictKeys {
    /// 3.6–3.10: `dk_size` slots, an index table whose item width follows from `dk_size`, entries {hash, key, value}.
    Size {
        /// `dk_size`.
        size: u32,
        /// `dk_nentries`.
        entry_count: u32,
        /// `dk_indices`.
        indices: u32,
    },
    /// 3.11+: logarithms of the sizes, and entries without hash where all the keys are strings.
    Log2 {
        /// `dk_log2_index_bytes`.
        log2_index_bytes: u32,
        /// `dk_kind`: 0 general {hash, key, value}, 1 unicode {key, value}, 2 split {key, value}.
        kind: u32,
        /// `dk_nentries`.
        entry_count: u32,
        /// `dk_indices`.
        indices: u32,
    },
}

/// Where the attributes of a plain instance are when its type has no ordinary `tp_dictoffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedDict {
    /// No such thing: `tp_dictoffset` alone (≤ 3.10).
    None,
    /// 3.11: before the object, a pointer to the values (at `values`, NULL when there is a dict) and one to the dict
    /// (at `dict`), both negative offsets.
    ValuesAndDict {
        /// Offset of the `PyDictValues *`.
        values: i32,
        /// Offset of the `PyDictObject *`.
        dict: i32,
    },
    /// 3.12: one word before the object: a dict where it is even; where it is odd, the address of the values less 1
    /// (`_PyDictOrValues`).
    Tagged {
        /// Offset of the pointer.
        offset: i32,
    },
    /// 3.13+: a `PyDictObject *` before the object; the values are inside of the object at `tp_basicsize` when
    /// `Py_TPFLAGS_INLINE_VALUES` is set and the dict pointer is NULL (and their `valid` byte says so).
    Inline {
        /// Offset of the dict pointer.
        dict: i32,
    },
}

/// Objects in general and the built-in types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objects {
    /// `sizeof(PyObject)`.
    pub head_size: u32,
    /// `ob_type`.
    pub ob_type: u32,
    /// `PyVarObject.ob_size`.
    pub ob_size: u32,
    /// `PyTypeObject.tp_name`.
    pub type_name: u32,
    /// `PyTypeObject.tp_basicsize`.
    pub type_basic_size: u32,
    /// `PyTypeObject.tp_itemsize`.
    pub type_item_size: u32,
    /// `PyTypeObject.tp_flags`, an `unsigned long` of which 4 bytes matter.
    pub type_flags: u32,
    /// `PyTypeObject.tp_base`.
    pub type_base: u32,
    /// `PyTypeObject.tp_mro`, a tuple.
    pub type_mro: u32,
    /// `PyTypeObject.tp_dict` (static built-in types of 3.12+ keep it in the interpreter and have NULL here).
    pub type_dict: u32,
    /// `PyTypeObject.tp_dictoffset`, a `Py_ssize_t`; negative counts from the end; −1 with a managed dict (3.12+).
    pub type_dict_offset: u32,
    /// `PyHeapTypeObject.ht_cached_keys` (3.x): the shared keys of split dicts and inline values.
    pub type_cached_keys: Option<u32>,
    /// `PyHeapTypeObject.ht_qualname` (`None` in 2.7).
    pub type_qualname: Option<u32>,
    /// Where instances keep their attributes.
    pub managed_dict: ManagedDict,
    /// `PyDictValues.values` (3.11+; 0 where the array of values is bare).
    pub dict_values_offset: u32,
    /// `PyDictValues.valid` (3.13+), a byte: 0 once the values have moved to a dict of their own.
    pub dict_values_valid: Option<u32>,
    /// `str`.
    pub text: TextFormat,
    /// `bytes` (2.7 `str`): `ob_sval`.
    pub bytes_data: u32,
    /// `bytes.ob_shash`.
    pub bytes_hash: u32,
    /// `tuple.ob_item`, the array itself.
    pub tuple_items: u32,
    /// `list.ob_item`, a pointer to the array.
    pub list_items: u32,
    /// `dict`.
    pub dict: DictFormat,
    /// `set`: `used`.
    pub set_used: u32,
    /// `set`: `mask`.
    pub set_mask: u32,
    /// `set`: `table`, a pointer to entries of two words, key and hash.
    pub set_table: u32,
    /// Where in such an entry the key is: 0, but 8 in 2.7, where the hash comes first.
    pub set_entry_key: u32,
    /// 2.7: `int` and `bool`, `ob_ival`, a `long` (4 bytes on Windows). The following three are about its `long`.
    pub plain_int_value: Option<u32>,
    /// `int`: `lv_tag` (3.12+) or `ob_size` (before): where sign and digit count are.
    pub int_size: u32,
    /// `int`: `ob_digit`, 30 bits in each `uint32_t` on 64-bit builds.
    pub int_digits: u32,
    /// Whether [`Objects::int_size`] is an `lv_tag` (3.12+).
    pub int_tagged: bool,
    /// `float.ob_fval`.
    pub float_value: u32,
    /// `PyModuleObject.md_dict`.
    pub module_dict: u32,
}
