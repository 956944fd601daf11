//! From debug offsets to a [`Layout`]: what they tell, and what they do not.
//!
//! What they do not tell is derived from a neighbour that they do tell wherever the struct between the two has been the
//! same since 3.13, so that builds with a larger object header (free-threaded, `Py_TRACE_REFS`) come out right. Checked
//! with the headers of 3.13.0, 3.13.18, 3.14.10 and 3.15.2.

use super::{Header, Offsets};
use crate::python::layout::{
    Code, DictFormat, DictKeys, Frame, FrameEntry, FrameOwner, FrameStates, Generator, Gil, InstructionPosition,
    Interpreter, Layout, LineTableFormat, ManagedDict, Objects, OwnLine, Runtime, TextBits, TextFormat, Thread,
};

/// The layout, not yet validated. No sum here overflows: every word is below the limit for offsets.
pub(super) fn layout(header: Header, offsets: &Offsets) -> Layout {
    let interpreter = &offsets.interpreter;
    Layout {
        version: header.version,
        free_threaded: header.free_threaded,
        tentative: header.is_tentative(),
        runtime: Runtime {
            size: Some(offsets.runtime_size),
            interpreters_head: Some(offsets.interpreters_head),
            ..Runtime::default()
        },
        interpreter: Interpreter {
            size: interpreter.size,
            next: interpreter.next,
            id: Some(interpreter.id),
            threads_head: interpreter.threads_head,
            // `struct pythreads` has `head` and `main` side by side in 3.13.
            threads_main: interpreter.threads_main.or(Some(interpreter.threads_head + 8)),
            modules: interpreter.imports_modules,
            sysdict: Some(interpreter.sysdict),
            gil: Some(interpreter.ceval_gil),
            gc_collecting: Some(interpreter.gc + offsets.gc_collecting),
            gc_frame: offsets.gc_frame.map(|frame| interpreter.gc + frame),
            gc_stats: offsets.gc_stats.map(|stats| interpreter.gc + stats),
            code_object_generation: interpreter.code_object_generation,
        },
        gil: Gil::InInterpreter {
            enabled: header
                .free_threaded
                .then_some(interpreter.gil_runtime_state + interpreter.gil_runtime_state_enabled),
            locked: interpreter.gil_runtime_state_locked,
            last_holder: interpreter.gil_runtime_state_holder,
            base: interpreter.gil_runtime_state,
        },
        thread: thread(header, offsets),
        frame: frame(header, offsets),
        code: code(header, offsets),
        object: objects(header, offsets),
        generator: generator(header, offsets),
    }
}

/// cpython/pystate.h.
fn thread(header: Header, offsets: &Offsets) -> Thread {
    let thread = &offsets.thread;
    // Between `_status` and `state` there are `_whence` and, each from the version on that made it a field of its own,
    // `holds_gil` and `gil_requested`.
    let attachment = thread.status
        + match header.list {
            13 => 8,
            14 => 12,
            _ => 16,
        };
    Thread {
        size: thread.size,
        next: thread.next,
        interp: thread.interp,
        frame: FrameEntry::Direct(thread.current_frame),
        base_frame: thread.base_frame,
        thread_id: thread.thread_id,
        native_thread_id: Some(thread.native_thread_id),
        datastack_chunk: Some(thread.datastack_chunk),
        // In 3.13 and 3.14 `current_frame`, two functions and their two objects come before it.
        current_exception: thread.current_exception.or(Some(thread.current_frame + 40)),
        current_exception_type: None,
        holds_gil: thread.holds_gil,
        gil_requested: thread.gil_requested,
        attachment: header.free_threaded.then_some(attachment),
    }
}

/// internal/pycore_frame.h in 3.13, internal/pycore_interpframe_structs.h and internal/pycore_stackref.h from 3.14 on.
fn frame(header: Header, offsets: &Offsets) -> Frame {
    let frame = &offsets.frame;
    let has_stack_references = header.list >= 14;
    Frame {
        head_size: frame.localsplus,
        previous: frame.previous,
        code: frame.executable,
        position: InstructionPosition::Pointer { offset: frame.instr_ptr },
        own_line: OwnLine::InObject {
            // The word before.
            object: frame.instr_ptr.saturating_sub(8),
            // `f_back`, `f_frame`, `f_trace`, `f_lineno`.
            frame: offsets.object_size + 8,
            line: offsets.object_size + 24,
        },
        owner: Some(FrameOwner {
            offset: frame.owner,
            generator: 1,
            shims: match header.list {
                13 => [Some(3), None],    // FRAME_OWNED_BY_CSTACK
                14 => [Some(3), Some(4)], // FRAME_OWNED_BY_INTERPRETER, FRAME_OWNED_BY_CSTACK
                _ => [Some(3), None],     // FRAME_OWNED_BY_INTERPRETER
            },
        }),
        locals: frame.localsplus,
        is_entry: None,
        // 3.13: the `int` after `instr_ptr`.
        stack_top: (!has_stack_references).then_some(frame.instr_ptr + 8),
        stack_pointer: frame.stackpointer,
        stack_depth: None,
        state: None,
        value_stack: None,
        tlbc_index: frame.tlbc_index.filter(|_| header.free_threaded),
        tag_mask: if has_stack_references { 3 } else { 0 },
        tagged_ints: has_stack_references,
    }
}

/// cpython/code.h: `co_flags`, `co_argcount`, `co_posonlyargcount`, `co_kwonlyargcount` are four `int`s in a row, and
/// `co_version` is the one before `co_localsplusnames`.
fn code(header: Header, offsets: &Offsets) -> Code {
    let code = &offsets.code;
    Code {
        head_size: code.co_code_adaptive,
        name: code.name,
        qualname: Some(code.qualname),
        filename: code.filename,
        first_line: code.firstlineno,
        argument_count: code.argcount,
        keyword_only_count: Some(code.argcount + 8),
        flags: code.argcount.saturating_sub(4),
        line_table: code.linetable,
        line_table_format: LineTableFormat::Locations,
        bytecode_object: None,
        bytecode: Some(code.co_code_adaptive),
        tlbc: code.co_tlbc.filter(|_| header.free_threaded),
        variable_names: None,
        locals_plus: Some([code.localsplusnames, code.localspluskinds]),
        local_count: None,
        unique_version: Some(code.localsplusnames.saturating_sub(4)),
    }
}

/// cpython/object.h, cpython/setobject.h, internal/pycore_dict.h, internal/pycore_object.h,
/// internal/pycore_moduleobject.h, cpython/unicodeobject.h, cpython/bytesobject.h.
fn objects(header: Header, offsets: &Offsets) -> Objects {
    let head = offsets.object_size;
    let type_name = offsets.tp_name;
    // Before 3.15 not told, and `PyHeapTypeObject` had one word less in front of it.
    let cached_keys = offsets.ht_cached_keys.unwrap_or(type_name + 856);
    let (state, bits) = text_state(header, offsets.unicode_state);
    Objects {
        head_size: head,
        ob_type: offsets.ob_type,
        ob_size: head,
        type_name,
        type_basic_size: type_name + 8,
        type_item_size: type_name + 16,
        type_flags: offsets.tp_flags,
        type_base: type_name + 232,
        type_mro: type_name + 320,
        type_dict: type_name + 240,
        type_dict_offset: type_name + 264,
        type_cached_keys: Some(cached_keys),
        type_qualname: Some(cached_keys.saturating_sub(8)),
        // Before the object, and before the two words of the collector's header where there is one.
        managed_dict: ManagedDict::Inline { dict: if header.free_threaded { -8 } else { -24 } },
        dict_values_offset: 8,
        dict_values_valid: Some(3),
        text: TextFormat::Compact {
            length: offsets.unicode_length,
            hash: offsets.unicode_length + 8,
            state,
            bits,
            ascii_size: offsets.asciiobject_size,
            compact_size: offsets.asciiobject_size + 16,
            data: offsets.asciiobject_size + 16,
        },
        bytes_data: offsets.bytes_ob_sval,
        bytes_hash: head + 8,
        tuple_items: offsets.tuple_ob_item,
        list_items: offsets.list_ob_item,
        dict: DictFormat::Keys {
            used: head,
            keys: offsets.ma_keys,
            values: offsets.ma_values,
            keys_format: DictKeys::Log2 { log2_index_bytes: 9, kind: 10, entry_count: 24, indices: 32 },
        },
        set_used: head + 8,
        set_mask: head + 16,
        set_table: head + 24,
        set_entry_key: 0,
        plain_int_value: None,
        int_size: offsets.lv_tag,
        int_digits: offsets.ob_digit,
        int_tagged: true,
        float_value: offsets.ob_fval,
        module_dict: head,
    }
}

/// Where the bit fields of a string's state are. Free-threaded builds of 3.14 and later have a byte before them, and
/// the Windows compiler begins a new `int` after that.
fn text_state(header: Header, state: u32) -> (u32, TextBits) {
    if !header.free_threaded || header.list < 14 {
        (state, TextBits { kind: 2, compact: 5, ascii: 6 })
    } else if cfg!(windows) {
        (state + 4, TextBits { kind: 0, compact: 3, ascii: 4 })
    } else {
        (state, TextBits { kind: 8, compact: 11, ascii: 12 })
    }
}

/// cpython/genobject.h in 3.13, internal/pycore_interpframe_structs.h from 3.14 on; internal/pycore_frame.h.
fn generator(header: Header, offsets: &Offsets) -> Generator {
    let head = offsets.object_size;
    let [name, frame, frame_state] = offsets.generator.unwrap_or([head + 8, head + 56, head + 51]);
    let states = if header.list >= 15 {
        FrameStates {
            created: 0,
            suspended: 1,
            suspended_yield_from: Some(2),
            suspended_yield_from_locked: Some(3),
            executing: 4,
            finished: 5,
        }
    } else {
        FrameStates {
            created: -3,
            suspended: -2,
            suspended_yield_from: Some(-1),
            suspended_yield_from_locked: None,
            executing: 0,
            finished: 1,
        }
    };
    Generator {
        name: Some(name),
        qualname: Some(name + 8),
        frame: Some(frame),
        frame_state: Some(frame_state),
        states: Some(states),
        ..Generator::default()
    }
}
