//! 2.7.

use super::{LONG, OBJECTS_3_6};
use crate::python::layout::{
    Code, DictFormat, Frame, FrameEntry, Generator, Gil, InstructionPosition, Interpreter, Layout, LineTableFormat,
    Objects, OwnLine, Runtime, TextFormat, Thread,
};
use crate::python::version::Version;

/// pystate.h, frameobject.h, code.h, genobject.h, object.h, stringobject.h, unicodeobject.h, dictobject.h, setobject.h,
/// intobject.h, longintrepr.h; Objects/moduleobject.c. The same in all patch releases up to the fields named here.
pub(super) fn v2_7(version: Version) -> Layout {
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
            sysdict: Some(24),
            ..Interpreter::default()
        },
        gil: Gil::CurrentThreadSymbol,
        thread: Thread {
            size: 152,
            next: 0,
            interp: 8,
            frame: FrameEntry::Direct(16),
            base_frame: None,
            thread_id: 144,
            native_thread_id: None,
            datastack_chunk: None,
            current_exception: Some(80),
            current_exception_type: Some(72),
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
            head_size: 128,
            name: 88,
            qualname: None,
            filename: 80,
            first_line: 96,
            argument_count: 16,
            keyword_only_count: None,
            flags: 28,
            line_table: 104,
            line_table_format: LineTableFormat::LnotabUnsigned,
            bytecode_object: Some(32),
            bytecode: None,
            tlbc: None,
            variable_names: Some([56, 72, 64]),
            locals_plus: None,
            local_count: Some(20),
            unique_version: None,
        },
        object: Objects {
            type_cached_keys: None,
            type_qualname: None,
            text: TextFormat::Python2 { length: 16, data: 24 },
            // After `long ob_shash` and `int ob_sstate`, without padding.
            bytes_data: 24 + LONG + 4,
            dict: DictFormat::Table { used: 24, mask: 32, table: 40 },
            set_entry_key: 8,
            plain_int_value: Some(16),
            ..OBJECTS_3_6
        },
        generator: Generator { frame_object: Some(16), running: Some(24), ..Generator::default() },
    }
}
