//! 3.11 and 3.12: frames are `_PyInterpreterFrame`s, most of them one after another in the thread's stack chunks.

use super::{FRAME_STATES, GIL_SIZE, LONG, OBJECTS_3_6, TEXT_BITS};
use crate::python::layout::{
    Code, DictFormat, DictKeys, Frame, FrameEntry, FrameOwner, Generator, Gil, InstructionPosition, Interpreter,
    Layout, LineTableFormat, ManagedDict, Objects, OwnLine, Runtime, TextFormat, Thread,
};
use crate::python::version::Version;

/// internal/pycore_runtime.h, internal/pycore_interp.h, internal/pycore_gc.h, cpython/pystate.h,
/// internal/pycore_frame.h, cpython/code.h, cpython/genobject.h, internal/pycore_dict.h, internal/pycore_object.h. The
/// same in all patch releases up to the fields named here.
pub(super) fn v3_11(version: Version) -> Layout {
    Layout {
        version,
        free_threaded: false,
        tentative: false,
        runtime: Runtime {
            size: None,
            interpreters_head: Some(40),
            current_thread: Some(368 + GIL_SIZE),
            gil: Some(360),
            gc_collecting: None,
        },
        interpreter: Interpreter {
            size: 912,
            next: 0,
            id: Some(48),
            threads_head: 16,
            modules: 888,
            sysdict: Some(904),
            gc_collecting: Some(848),
            ..Interpreter::default()
        },
        gil: Gil::RuntimeCurrentThread,
        thread: Thread {
            size: 304,
            next: 8,
            interp: 16,
            frame: FrameEntry::ThroughCFrame { cframe: 56, current_frame: 8 },
            base_frame: None,
            thread_id: 152,
            native_thread_id: Some(152 + LONG),
            // After `thread_id` and `native_thread_id`.
            datastack_chunk: Some(280 + 2 * LONG),
            current_exception: Some(104),
            current_exception_type: Some(96),
            holds_gil: None,
            gil_requested: None,
            attachment: None,
        },
        frame: Frame {
            head_size: 72,
            previous: 48,
            code: 32,
            position: InstructionPosition::Pointer { offset: 56 },
            own_line: OwnLine::InObject { object: 40, frame: 24, line: 40 },
            owner: Some(FrameOwner { offset: 69, generator: 1, shims: [None, None] }),
            locals: 72,
            is_entry: Some(68),
            stack_top: Some(64),
            stack_pointer: None,
            stack_depth: None,
            state: None,
            value_stack: None,
            tlbc_index: None,
            tag_mask: 0,
            tagged_ints: false,
        },
        code: Code {
            head_size: 184,
            name: 120,
            qualname: Some(128),
            filename: 112,
            first_line: 72,
            argument_count: 56,
            keyword_only_count: Some(64),
            flags: 48,
            line_table: 136,
            line_table_format: LineTableFormat::Locations,
            bytecode_object: None,
            bytecode: Some(184),
            tlbc: None,
            variable_names: None,
            locals_plus: Some([96, 104]),
            local_count: None,
            unique_version: None,
        },
        object: Objects {
            type_cached_keys: Some(872),
            type_qualname: Some(864),
            managed_dict: ManagedDict::ValuesAndDict { values: -32, dict: -24 },
            dict: DictFormat::Keys {
                used: 16,
                keys: 32,
                values: 40,
                keys_format: DictKeys::Log2 { log2_index_bytes: 9, kind: 10, entry_count: 24, indices: 32 },
            },
            ..OBJECTS_3_6
        },
        generator: Generator {
            name: Some(32),
            qualname: Some(40),
            frame: Some(80),
            frame_state: Some(75),
            states: Some(FRAME_STATES),
            ..Generator::default()
        },
    }
}

/// The headers of 3.11, internal/pycore_ceval_state.h, internal/pycore_import.h, internal/pycore_gil.h,
/// cpython/longintrepr.h, cpython/unicodeobject.h. The same in all patch releases up to the fields named here.
pub(super) fn v3_12(version: Version) -> Layout {
    let base = v3_11(version);
    Layout {
        runtime: Runtime { interpreters_head: Some(40), ..Runtime::default() },
        interpreter: Interpreter {
            size: 952,
            next: 0,
            id: Some(8),
            threads_head: 72,
            modules: 944,
            sysdict: Some(352),
            gil: Some(384),
            gc_collecting: Some(312),
            ..Interpreter::default()
        },
        gil: Gil::PerInterpreter { locked: 16, last_holder: 8 },
        thread: Thread {
            size: 240,
            frame: FrameEntry::ThroughCFrame { cframe: 56, current_frame: 0 },
            thread_id: 136,
            native_thread_id: Some(136 + LONG),
            datastack_chunk: Some(216 + 2 * LONG),
            current_exception: Some(96),
            current_exception_type: None,
            ..base.thread
        },
        frame: Frame {
            previous: 8,
            code: 0,
            own_line: OwnLine::InObject { object: 48, frame: 24, line: 40 },
            owner: Some(FrameOwner { offset: 70, generator: 1, shims: [Some(3), None] }),
            is_entry: None,
            ..base.frame
        },
        code: Code {
            head_size: 192,
            first_line: 68,
            argument_count: 52,
            keyword_only_count: Some(60),
            bytecode: Some(192),
            unique_version: Some(92),
            ..base.code
        },
        object: Objects {
            type_cached_keys: Some(880),
            type_qualname: Some(872),
            managed_dict: ManagedDict::Tagged { offset: -24 },
            text: TextFormat::Compact {
                length: 16,
                hash: 24,
                state: 32,
                bits: TEXT_BITS,
                ascii_size: 40,
                compact_size: 56,
                data: 56,
            },
            int_tagged: true,
            ..base.object
        },
        generator: Generator {
            name: Some(24),
            qualname: Some(32),
            frame: Some(72),
            frame_state: Some(67),
            ..base.generator
        },
        ..base
    }
}
