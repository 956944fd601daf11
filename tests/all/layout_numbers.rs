//! The numbers of a [`Layout`] by name: the names that `layout_probe.c` prints and `layout_objects.py` asks for.
//!
//! Every struct is taken apart without `..`, so that a new field of the layout does not compile before it is checked.

use pyspy::internals::layout::{
    Code, DictFormat, DictKeys, Frame, FrameEntry, FrameOwner, FrameStates, Generator, Gil, InstructionPosition,
    Interpreter, Layout, ManagedDict, Objects, OwnLine, Runtime, TextBits, TextFormat, Thread, stack_chunk,
};
use std::collections::BTreeMap;

/// All numbers that the layout has.
pub(crate) fn numbers(layout: &Layout) -> BTreeMap<String, i64> {
    let Layout {
        version: _,
        free_threaded: _,
        tentative: _,
        runtime,
        interpreter,
        gil,
        thread,
        frame,
        code,
        object,
        generator,
    } = layout;
    let mut numbers = Numbers::default();
    numbers.runtime(runtime);
    numbers.interpreter(interpreter);
    numbers.gil(*gil);
    numbers.thread(thread);
    numbers.frame(frame);
    numbers.code(code);
    numbers.objects(object);
    numbers.generator(generator);
    numbers.0
}

#[derive(Default)]
struct Numbers(BTreeMap<String, i64>);

impl Numbers {
    fn add(&mut self, name: &str, value: impl Into<i64>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn maybe(&mut self, name: &str, value: Option<impl Into<i64>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn several(&mut self, name: &str, values: Option<&[u32]>) {
        for (index, value) in values.into_iter().flatten().enumerate() {
            self.add(&format!("{name}.{index}"), *value);
        }
    }

    fn runtime(&mut self, runtime: &Runtime) {
        let Runtime { size, interpreters_head, current_thread, gil, gc_collecting } = *runtime;
        self.maybe("runtime.gil", gil);
        self.maybe("runtime.size", size);
        self.maybe("runtime.interpreters_head", interpreters_head);
        self.maybe("runtime.current_thread", current_thread);
        self.maybe("runtime.gc_collecting", gc_collecting);
    }

    fn interpreter(&mut self, interpreter: &Interpreter) {
        let Interpreter {
            size,
            next,
            id,
            threads_head,
            threads_main,
            modules,
            sysdict,
            gil,
            gc_collecting,
            gc_frame,
            gc_stats,
            code_object_generation,
        } = *interpreter;
        self.add("interpreter.size", size);
        self.add("interpreter.next", next);
        self.maybe("interpreter.id", id);
        self.add("interpreter.threads_head", threads_head);
        self.maybe("interpreter.threads_main", threads_main);
        self.add("interpreter.modules", modules);
        self.maybe("interpreter.sysdict", sysdict);
        self.maybe("interpreter.gil", gil);
        self.maybe("interpreter.gc_collecting", gc_collecting);
        self.maybe("interpreter.gc_frame", gc_frame);
        self.maybe("interpreter.gc_stats", gc_stats);
        self.maybe("interpreter.code_object_generation", code_object_generation);
    }

    fn gil(&mut self, gil: Gil) {
        match gil {
            Gil::CurrentThreadSymbol | Gil::RuntimeCurrentThread => {}
            Gil::PerInterpreter { locked, last_holder } => {
                self.add("gil.locked", locked);
                self.add("gil.last_holder", last_holder);
            }
            Gil::InInterpreter { enabled, locked, last_holder, base } => {
                self.maybe("gil.enabled", enabled);
                self.add("gil.locked", locked);
                self.add("gil.last_holder", last_holder);
                self.add("gil.base", base);
            }
        }
    }

    fn thread(&mut self, thread: &Thread) {
        let Thread {
            size,
            next,
            interp,
            frame,
            base_frame,
            thread_id,
            native_thread_id,
            datastack_chunk,
            current_exception,
            current_exception_type,
            holds_gil,
            gil_requested,
            attachment,
        } = *thread;
        self.add("thread.size", size);
        self.add("thread.next", next);
        self.add("thread.interp", interp);
        match frame {
            FrameEntry::Direct(frame) => self.add("thread.frame", frame),
            FrameEntry::ThroughCFrame { cframe, current_frame } => {
                self.add("thread.frame.cframe", cframe);
                self.add("thread.frame.current_frame", current_frame);
            }
        }
        self.maybe("thread.base_frame", base_frame);
        self.add("thread.thread_id", thread_id);
        self.maybe("thread.native_thread_id", native_thread_id);
        self.maybe("thread.datastack_chunk", datastack_chunk);
        self.maybe("thread.current_exception", current_exception);
        self.maybe("thread.current_exception_type", current_exception_type);
        self.maybe("thread.holds_gil", holds_gil);
        self.maybe("thread.gil_requested", gil_requested);
        self.maybe("thread.attachment", attachment);
        if datastack_chunk.is_some() {
            self.add("stack_chunk.previous", stack_chunk::PREVIOUS);
            self.add("stack_chunk.size", stack_chunk::SIZE);
            self.add("stack_chunk.top", stack_chunk::TOP);
            self.add("stack_chunk.data", stack_chunk::DATA);
        }
    }

    fn frame(&mut self, frame: &Frame) {
        let Frame {
            head_size,
            previous,
            code,
            position,
            own_line,
            owner,
            locals,
            is_entry,
            stack_top,
            stack_pointer,
            stack_depth,
            state,
            value_stack,
            tlbc_index,
            tag_mask,
            tagged_ints,
        } = *frame;
        self.add("frame.head_size", head_size);
        self.add("frame.previous", previous);
        self.add("frame.code", code);
        let (InstructionPosition::Lasti { offset, .. } | InstructionPosition::Pointer { offset }) = position;
        self.add("frame.position", offset);
        match own_line {
            OwnLine::InFrame { trace } => {
                self.add("frame.line", offset + 4);
                self.maybe("frame.trace", trace);
            }
            OwnLine::InObject { object, frame, line } => {
                self.add("frame.object", object);
                self.add("frame_object.frame", frame);
                self.add("frame_object.line", line);
            }
        }
        if let Some(FrameOwner { offset, generator, shims }) = owner {
            self.add("frame.owner", offset);
            self.add("frame.owner.generator", generator);
            for (index, shim) in shims.into_iter().enumerate() {
                self.maybe(&format!("frame.owner.shim.{index}"), shim);
            }
        }
        self.add("frame.locals", locals);
        self.maybe("frame.is_entry", is_entry);
        self.maybe("frame.stack_top", stack_top);
        self.maybe("frame.stack_pointer", stack_pointer);
        self.maybe("frame.stack_depth", stack_depth);
        self.maybe("frame.state", state);
        self.maybe("frame.value_stack", value_stack);
        self.maybe("frame.tlbc_index", tlbc_index);
        if tagged_ints {
            self.add("frame.tag_mask", i64::try_from(tag_mask).expect("a few low bits"));
        }
    }

    fn code(&mut self, code: &Code) {
        let Code {
            head_size,
            name,
            qualname,
            filename,
            first_line,
            argument_count,
            keyword_only_count,
            flags,
            line_table,
            line_table_format: _,
            bytecode_object,
            bytecode,
            tlbc,
            variable_names,
            locals_plus,
            local_count,
            unique_version,
        } = *code;
        self.add("code.head_size", head_size);
        self.add("code.name", name);
        self.maybe("code.qualname", qualname);
        self.add("code.filename", filename);
        self.add("code.first_line", first_line);
        self.add("code.argument_count", argument_count);
        self.maybe("code.keyword_only_count", keyword_only_count);
        self.add("code.flags", flags);
        self.add("code.line_table", line_table);
        self.maybe("code.bytecode_object", bytecode_object);
        self.maybe("code.bytecode", bytecode);
        self.maybe("code.tlbc", tlbc);
        self.several("code.variable_names", variable_names.as_ref().map(<[u32; 3]>::as_slice));
        self.several("code.locals_plus", locals_plus.as_ref().map(<[u32; 2]>::as_slice));
        self.maybe("code.local_count", local_count);
        self.maybe("code.unique_version", unique_version);
    }

    fn generator(&mut self, generator: &Generator) {
        let Generator { name, qualname, frame_object, frame, frame_state, states, running } = *generator;
        self.maybe("generator.name", name);
        self.maybe("generator.qualname", qualname);
        self.maybe("generator.frame_object", frame_object);
        self.maybe("generator.frame", frame);
        self.maybe("generator.frame_state", frame_state);
        self.maybe("generator.running", running);
        if let Some(states) = states {
            let FrameStates {
                created,
                suspended,
                suspended_yield_from,
                suspended_yield_from_locked,
                executing,
                finished,
            } = states;
            self.add("generator.states.created", created);
            self.add("generator.states.suspended", suspended);
            self.maybe("generator.states.suspended_yield_from", suspended_yield_from);
            self.maybe("generator.states.suspended_yield_from_locked", suspended_yield_from_locked);
            self.add("generator.states.executing", executing);
            self.add("generator.states.finished", finished);
        }
    }

    fn objects(&mut self, object: &Objects) {
        let Objects {
            head_size,
            ob_type,
            ob_size,
            type_name,
            type_basic_size,
            type_item_size,
            type_flags,
            type_base,
            type_mro,
            type_dict,
            type_dict_offset,
            type_cached_keys,
            type_qualname,
            managed_dict,
            dict_values_offset,
            dict_values_valid,
            text,
            bytes_data,
            bytes_hash,
            tuple_items,
            list_items,
            dict,
            set_used,
            set_mask,
            set_table,
            set_entry_key,
            plain_int_value,
            int_size,
            int_digits,
            int_tagged: _,
            float_value,
            module_dict,
        } = *object;
        self.add("object.head_size", head_size);
        self.add("object.ob_type", ob_type);
        self.add("object.ob_size", ob_size);
        self.add("object.type_name", type_name);
        self.add("object.type_basic_size", type_basic_size);
        self.add("object.type_item_size", type_item_size);
        self.add("object.type_flags", type_flags);
        self.add("object.type_base", type_base);
        self.add("object.type_mro", type_mro);
        self.add("object.type_dict", type_dict);
        self.add("object.type_dict_offset", type_dict_offset);
        self.maybe("object.type_cached_keys", type_cached_keys);
        self.maybe("object.type_qualname", type_qualname);
        self.managed_dict(managed_dict);
        self.add("object.dict_values_offset", dict_values_offset);
        self.maybe("object.dict_values_valid", dict_values_valid);
        self.text(text);
        self.add("object.bytes_data", bytes_data);
        self.add("object.bytes_hash", bytes_hash);
        self.add("object.tuple_items", tuple_items);
        self.add("object.list_items", list_items);
        self.dict(dict);
        self.add("object.set_used", set_used);
        self.add("object.set_mask", set_mask);
        self.add("object.set_table", set_table);
        self.add("object.set_entry_key", set_entry_key);
        self.maybe("object.plain_int_value", plain_int_value);
        self.add("object.int_size", int_size);
        self.add("object.int_digits", int_digits);
        self.add("object.float_value", float_value);
        self.add("object.module_dict", module_dict);
    }

    fn managed_dict(&mut self, managed: ManagedDict) {
        match managed {
            ManagedDict::None => {}
            ManagedDict::ValuesAndDict { values, dict } => {
                self.add("object.managed_dict.values", values);
                self.add("object.managed_dict.dict", dict);
            }
            ManagedDict::Tagged { offset } => self.add("object.managed_dict.tagged", offset),
            ManagedDict::Inline { dict } => self.add("object.managed_dict.inline", dict),
        }
    }

    fn text(&mut self, text: TextFormat) {
        match text {
            TextFormat::Python2 { length, data } => {
                self.add("object.text.length", length);
                self.add("object.text.data", data);
            }
            TextFormat::Compact { length, hash, state, bits, ascii_size, compact_size, data } => {
                let TextBits { kind, compact, ascii } = bits;
                self.add("object.text.length", length);
                self.add("object.text.hash", hash);
                self.add("object.text.state", state);
                self.add("object.text.bits.kind", kind);
                self.add("object.text.bits.compact", compact);
                self.add("object.text.bits.ascii", ascii);
                self.add("object.text.ascii_size", ascii_size);
                self.add("object.text.compact_size", compact_size);
                self.add("object.text.data", data);
            }
        }
    }

    fn dict(&mut self, dict: DictFormat) {
        match dict {
            DictFormat::Table { used, mask, table } => {
                self.add("object.dict.used", used);
                self.add("object.dict.mask", mask);
                self.add("object.dict.table", table);
            }
            DictFormat::Keys { used, keys, values, keys_format } => {
                self.add("object.dict.used", used);
                self.add("object.dict.keys", keys);
                self.add("object.dict.values", values);
                match keys_format {
                    DictKeys::Size { size, entry_count, indices } => {
                        self.add("object.dict.keys.size", size);
                        self.add("object.dict.keys.entry_count", entry_count);
                        self.add("object.dict.keys.indices", indices);
                    }
                    DictKeys::Log2 { log2_index_bytes, kind, entry_count, indices } => {
                        self.add("object.dict.keys.log2_index_bytes", log2_index_bytes);
                        self.add("object.dict.keys.kind", kind);
                        self.add("object.dict.keys.entry_count", entry_count);
                        self.add("object.dict.keys.indices", indices);
                    }
                }
            }
        }
    }
}
