//! 3.6 to 3.10: frames are `PyFrameObject`s in the heap, linked by `f_back`.

use super::{FRAME_STATES, GIL_SIZE, OBJECTS_3_6};
use crate::python::layout::{
    Code, Frame, FrameEntry, Generator, Gil, InstructionPosition, Interpreter, Layout, LineTableFormat, Objects,
    OwnLine, Runtime, Thread,
};
use crate::python::version::Version;

/// pystate.h, frameobject.h, code.h, genobject.h. The same in all patch releases up to the fields named here.
pub(super) fn v3_6(version: Version) -> Layout {
    Layout {
        version,
        free_threaded: false,
        tentative: false,
        runtime: Runtime::default(),
        interpreter: Interpreter {
            size: 40,
            next: 0,
            threads_head: 8,
            modules: 16,
            sysdict: Some(32),
            ..Interpreter::default()
        },
        gil: Gil::CurrentThreadSymbol,
        thread: Thread {
            size: 160,
            next: 8,
            interp: 16,
            frame: FrameEntry::Direct(24),
            base_frame: None,
            thread_id: 152,
            native_thread_id: None,
            datastack_chunk: None,
            current_exception: Some(88),
            current_exception_type: Some(80),
            holds_gil: None,
            gil_requested: None,
            attachment: None,
        },
        frame: Frame {
            head_size: 376,
            previous: 24,
            code: 32,
            position: InstructionPosition::Lasti { offset: 120, scale: 1 },
            own_line: OwnLine::InFrame { trace: Some(80) },
            owner: None,
            locals: 376,
            is_entry: None,
            stack_top: None,
            stack_pointer: Some(72),
            stack_depth: None,
            state: None,
            value_stack: Some(64),
            tlbc_index: None,
            tag_mask: 0,
            tagged_ints: false,
        },
        code: Code {
            head_size: 144,
            name: 104,
            qualname: None,
            filename: 96,
            first_line: 36,
            argument_count: 16,
            keyword_only_count: Some(20),
            flags: 32,
            line_table: 112,
            line_table_format: LineTableFormat::Lnotab,
            bytecode_object: Some(40),
            bytecode: None,
            tlbc: None,
            variable_names: Some([64, 80, 72]),
            locals_plus: None,
            local_count: Some(24),
            unique_version: None,
        },
        object: OBJECTS_3_6,
        generator: Generator {
            name: Some(48),
            qualname: Some(56),
            frame_object: Some(16),
            running: Some(24),
            ..Generator::default()
        },
    }
}

/// pystate.h, internal/pystate.h, internal/mem.h, internal/ceval.h, internal/gil.h, frameobject.h, objimpl.h; the rest
/// as in 3.6.
///
/// 3.7.4 made `PyGC_Head` as large and as aligned as a `long double`, and the collector's state, which comes before the
/// GIL's, holds four of them. Where a `long double` is a `double`, nothing moved.
pub(super) fn v3_7(version: Version) -> Layout {
    let long_double_is_wide = !cfg!(any(windows, all(target_vendor = "apple", target_arch = "aarch64")));
    let wide_gc_heads = if version.patch >= 4 && long_double_is_wide { 88 } else { 0 };
    let base = v3_6(version);
    Layout {
        runtime: Runtime {
            size: None,
            interpreters_head: Some(24),
            current_thread: Some(1184 + wide_gc_heads + GIL_SIZE),
            gil: Some(1176 + wide_gc_heads),
            gc_collecting: Some(544 + wide_gc_heads),
        },
        interpreter: Interpreter { size: 64, id: Some(16), modules: 40, sysdict: Some(56), ..base.interpreter },
        gil: Gil::RuntimeCurrentThread,
        thread: Thread {
            size: 184,
            thread_id: 176,
            current_exception: Some(96),
            current_exception_type: Some(88),
            ..base.thread
        },
        frame: Frame {
            head_size: 360,
            position: InstructionPosition::Lasti { offset: 104, scale: 1 },
            locals: 360,
            ..base.frame
        },
        ..base
    }
}

/// internal/pycore_pystate.h, internal/pycore_pymem.h, internal/pycore_gil.h, cpython/pystate.h, code.h,
/// cpython/object.h; the rest as in 3.7.
pub(super) fn v3_8(version: Version) -> Layout {
    let base = v3_7(version);
    Layout {
        runtime: Runtime {
            size: None,
            interpreters_head: Some(32),
            current_thread: Some(1160 + GIL_SIZE),
            gil: Some(1152),
            gc_collecting: Some(544),
        },
        interpreter: Interpreter { size: 80, modules: 56, sysdict: Some(72), ..base.interpreter },
        code: Code {
            head_size: 176,
            name: 112,
            filename: 104,
            first_line: 40,
            keyword_only_count: Some(24),
            flags: 36,
            line_table: 120,
            bytecode_object: Some(48),
            variable_names: Some([72, 88, 80]),
            local_count: Some(28),
            ..base.code
        },
        object: Objects { type_cached_keys: Some(872), type_qualname: Some(864), ..base.object },
        ..base
    }
}

/// internal/pycore_runtime.h, internal/pycore_interp.h, internal/pycore_gc.h, cpython/object.h; the rest as in 3.8.
pub(super) fn v3_9(version: Version) -> Layout {
    let base = v3_8(version);
    Layout {
        runtime: Runtime {
            size: None,
            interpreters_head: Some(32),
            current_thread: Some(360 + GIL_SIZE),
            gil: Some(352),
            gc_collecting: None,
        },
        interpreter: Interpreter {
            size: 880,
            id: Some(24),
            modules: 856,
            sysdict: Some(872),
            gc_collecting: Some(816),
            ..base.interpreter
        },
        object: Objects { type_cached_keys: Some(864), type_qualname: Some(856), ..base.object },
        ..base
    }
}

/// internal/pycore_interp.h, cpython/frameobject.h, cpython/code.h, genobject.h, cpython/object.h; the rest as in 3.9.
pub(super) fn v3_10(version: Version) -> Layout {
    let base = v3_9(version);
    Layout {
        frame: Frame {
            head_size: 352,
            position: InstructionPosition::Lasti { offset: 96, scale: 2 },
            own_line: OwnLine::InFrame { trace: None },
            locals: 352,
            stack_pointer: None,
            stack_depth: Some(80),
            state: Some(108),
            ..base.frame
        },
        code: Code { line_table_format: LineTableFormat::Pairs, ..base.code },
        object: Objects { type_cached_keys: Some(872), type_qualname: Some(864), ..base.object },
        generator: Generator {
            name: Some(40),
            qualname: Some(48),
            states: Some(FRAME_STATES),
            running: None,
            ..base.generator
        },
        ..base
    }
}
