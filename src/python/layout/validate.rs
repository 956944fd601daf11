//! Proof that a [`Layout`] is fit for use, so that the readers can add its offsets without asking again.
//!
//! From 3.13 on the numbers come from the target, which is hostile. A valid layout has only offsets that are aligned as
//! their field is, that lie inside of their struct, and that are small; it may still be wrong, and then reads bring
//! nonsense, never more bytes than the caps here say.

use super::{
    Code, DictFormat, DictKeys, Frame, FrameEntry, Gil, InstructionPosition, Interpreter, Layout, ManagedDict, Objects,
    OwnLine, TextFormat, Thread,
};
use thiserror::Error;

/// No offset and no size reaches this: the largest struct, `_PyRuntimeState`, has some 350 KiB in 3.15.
pub const OFFSET_LIMIT: u32 = 1 << 20;
/// The limit for a thread state, which has about 1 KiB.
const THREAD_LIMIT: u32 = 1 << 16;
/// The limit for objects, frames and generators without what varies in length.
const OBJECT_LIMIT: u32 = 1 << 12;

/// What is wrong with a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A field begins before the place where it can, or ends after its struct.
    #[error("{structure}.{field} at offset {offset} is outside of {begin}..{end}")]
    Outside {
        /// The group of the layout.
        structure: &'static str,
        /// The field of the layout.
        field: &'static str,
        /// The offset in question.
        offset: i64,
        /// The first offset that the field may have.
        begin: i64,
        /// The end of the struct.
        end: i64,
    },
    /// A field does not lie where the compiler would put one of its size.
    #[error("{structure}.{field} at offset {offset} is not aligned to {alignment} bytes")]
    Unaligned {
        /// The group of the layout.
        structure: &'static str,
        /// The field of the layout.
        field: &'static str,
        /// The offset in question.
        offset: i64,
        /// What it should be a multiple of.
        alignment: u32,
    },
    /// A size is nothing like the struct's.
    #[error("the size of {structure}, {size}, is outside of {least}..{limit}")]
    Size {
        /// The group of the layout.
        structure: &'static str,
        /// The size in question.
        size: u32,
        /// The least size that makes sense.
        least: u32,
        /// What the size must stay below.
        limit: u32,
    },
}

/// Checks every offset and size of a layout.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(layout: &Layout) -> Result<(), LayoutError> {
    validate_runtime(layout)?;
    validate_interpreter(&layout.interpreter, layout.gil)?;
    validate_thread(&layout.thread)?;
    validate_frame(&layout.frame)?;
    let head = layout.object.head_size;
    size("object", head, 16, 64)?;
    validate_code(&layout.code, head)?;
    validate_generator(layout)?;
    validate_objects(&layout.object)
}

/// A struct that fields must lie in.
#[derive(Clone, Copy)]
struct Bounds {
    structure: &'static str,
    begin: u32,
    end: u32,
}

impl Bounds {
    /// A field of `width` bytes, aligned to as many.
    fn field(self, field: &'static str, offset: u32, width: u32) -> Result<(), LayoutError> {
        let Self { structure, begin, end } = self;
        if offset < begin || offset >= OFFSET_LIMIT || offset + width > end {
            return Err(LayoutError::Outside {
                structure,
                field,
                offset: offset.into(),
                begin: begin.into(),
                end: end.min(OFFSET_LIMIT).into(),
            });
        }
        if !offset.is_multiple_of(width) {
            return Err(LayoutError::Unaligned { structure, field, offset: offset.into(), alignment: width });
        }
        Ok(())
    }

    /// Several fields of the same width, those that the version has.
    fn fields(self, width: u32, fields: &[(&'static str, Option<u32>)]) -> Result<(), LayoutError> {
        for (field, offset) in fields {
            if let Some(offset) = offset {
                self.field(field, *offset, width)?;
            }
        }
        Ok(())
    }

    /// The same struct, for fields that can be its first.
    fn at_zero(self) -> Self {
        Self { begin: 0, ..self }
    }
}

fn size(structure: &'static str, size: u32, least: u32, limit: u32) -> Result<(), LayoutError> {
    if size < least || size >= limit { Err(LayoutError::Size { structure, size, least, limit }) } else { Ok(()) }
}

fn validate_runtime(layout: &Layout) -> Result<(), LayoutError> {
    let runtime = layout.runtime;
    let end = runtime.size.unwrap_or(OFFSET_LIMIT);
    size("runtime", end, 64, OFFSET_LIMIT + 1)?;
    let bounds = Bounds { structure: "runtime", begin: 8, end };
    bounds
        .fields(8, &[("interpreters_head", runtime.interpreters_head), ("current_thread", runtime.current_thread)])?;
    bounds.fields(4, &[("gc_collecting", runtime.gc_collecting)])
}

fn validate_interpreter(interpreter: &Interpreter, gil: Gil) -> Result<(), LayoutError> {
    size("interpreter", interpreter.size, 32, OFFSET_LIMIT)?;
    let bounds = Bounds { structure: "interpreter", begin: 8, end: interpreter.size };
    bounds.at_zero().field("next", interpreter.next, 8)?;
    bounds.fields(
        8,
        &[
            ("id", interpreter.id),
            ("threads_head", Some(interpreter.threads_head)),
            ("threads_main", interpreter.threads_main),
            ("modules", Some(interpreter.modules)),
            ("sysdict", interpreter.sysdict),
            ("gil", interpreter.gil),
            ("gc_frame", interpreter.gc_frame),
            ("gc_stats", interpreter.gc_stats),
            ("code_object_generation", interpreter.code_object_generation),
        ],
    )?;
    bounds.fields(4, &[("gc_collecting", interpreter.gc_collecting)])?;
    match gil {
        Gil::PerInterpreter { locked, last_holder } => {
            let bounds = Bounds { structure: "gil", begin: 0, end: OBJECT_LIMIT };
            bounds.field("last_holder", last_holder, 8)?;
            bounds.field("locked", locked, 4)
        }
        Gil::InInterpreter { enabled, locked, last_holder, base } => {
            bounds.field("gil base", base, 8)?;
            let bounds = Bounds { structure: "gil", begin: base, end: interpreter.size.min(base + OBJECT_LIMIT) };
            bounds.field("last_holder", last_holder, 8)?;
            bounds.fields(4, &[("locked", Some(locked)), ("enabled", enabled)])
        }
        Gil::CurrentThreadSymbol | Gil::RuntimeCurrentThread => Ok(()),
    }
}

fn validate_thread(thread: &Thread) -> Result<(), LayoutError> {
    size("thread", thread.size, 64, THREAD_LIMIT)?;
    let bounds = Bounds { structure: "thread", begin: 8, end: thread.size };
    let frame = match thread.frame {
        FrameEntry::Direct(frame) => frame,
        FrameEntry::ThroughCFrame { cframe, current_frame } => {
            Bounds { structure: "cframe", begin: 0, end: OBJECT_LIMIT }.field("current_frame", current_frame, 8)?;
            cframe
        }
    };
    bounds.at_zero().field("next", thread.next, 8)?;
    bounds.fields(
        8,
        &[
            ("interp", Some(thread.interp)),
            ("frame", Some(frame)),
            ("base_frame", thread.base_frame),
            ("datastack_chunk", thread.datastack_chunk),
            ("current_exception", thread.current_exception),
            ("current_exception_type", thread.current_exception_type),
        ],
    )?;
    // `unsigned long` has 4 bytes on Windows.
    let long = if cfg!(windows) { 4 } else { 8 };
    bounds.fields(long, &[("thread_id", Some(thread.thread_id)), ("native_thread_id", thread.native_thread_id)])?;
    let (holds_gil, gil_requested) = (thread.holds_gil, thread.gil_requested);
    let attachment = ("attachment", thread.attachment);
    bounds.fields(4, &[("holds_gil", holds_gil), ("gil_requested", gil_requested), attachment])
}

fn validate_frame(frame: &Frame) -> Result<(), LayoutError> {
    size("frame", frame.head_size, 32, OBJECT_LIMIT)?;
    let bounds = Bounds { structure: "frame", begin: 0, end: frame.head_size };
    bounds.fields(
        8,
        &[
            ("code", Some(frame.code)),
            ("previous", Some(frame.previous)),
            ("stack_pointer", frame.stack_pointer),
            ("value_stack", frame.value_stack),
        ],
    )?;
    bounds.fields(
        4,
        &[("stack_top", frame.stack_top), ("stack_depth", frame.stack_depth), ("tlbc_index", frame.tlbc_index)],
    )?;
    let owner = frame.owner.map(|owner| owner.offset);
    bounds.fields(1, &[("owner", owner), ("is_entry", frame.is_entry), ("state", frame.state)])?;
    match frame.position {
        InstructionPosition::Lasti { offset, .. } => bounds.field("position", offset, 4)?,
        InstructionPosition::Pointer { offset } => bounds.field("position", offset, 8)?,
    }
    match frame.own_line {
        OwnLine::InFrame { trace } => bounds.fields(8, &[("trace", trace)])?,
        OwnLine::InObject { object, frame, line } => {
            bounds.field("frame_object", object, 8)?;
            let bounds = Bounds { structure: "frame object", begin: 16, end: OBJECT_LIMIT };
            bounds.field("frame", frame, 8)?;
            bounds.field("line", line, 4)?;
        }
    }
    // The locals begin where the head ends or later.
    Bounds { structure: "frame", begin: 32, end: OBJECT_LIMIT }.field("locals", frame.locals, 8)
}

fn validate_code(code: &Code, object_head: u32) -> Result<(), LayoutError> {
    size("code", code.head_size, object_head + 64, OBJECT_LIMIT)?;
    let bounds = Bounds { structure: "code", begin: object_head, end: code.head_size };
    let [variables, cells, free] = code.variable_names.map_or([None; 3], |names| names.map(Some));
    let [names, kinds] = code.locals_plus.map_or([None; 2], |fields| fields.map(Some));
    bounds.fields(
        8,
        &[
            ("name", Some(code.name)),
            ("qualname", code.qualname),
            ("filename", Some(code.filename)),
            ("line_table", Some(code.line_table)),
            ("bytecode_object", code.bytecode_object),
            ("tlbc", code.tlbc),
            ("variable_names", variables),
            ("cell_names", cells),
            ("free_names", free),
            ("locals_plus_names", names),
            ("locals_plus_kinds", kinds),
        ],
    )?;
    bounds.fields(
        4,
        &[
            ("first_line", Some(code.first_line)),
            ("argument_count", Some(code.argument_count)),
            ("keyword_only_count", code.keyword_only_count),
            ("flags", Some(code.flags)),
            ("local_count", code.local_count),
            ("unique_version", code.unique_version),
        ],
    )?;
    let bounds = Bounds { structure: "code", begin: object_head, end: OBJECT_LIMIT };
    bounds.fields(8, &[("bytecode", code.bytecode)])
}

fn validate_generator(layout: &Layout) -> Result<(), LayoutError> {
    let generator = &layout.generator;
    let bounds = Bounds { structure: "generator", begin: layout.object.head_size, end: OBJECT_LIMIT };
    bounds.fields(
        8,
        &[
            ("name", generator.name),
            ("qualname", generator.qualname),
            ("frame_object", generator.frame_object),
            ("frame", generator.frame),
        ],
    )?;
    bounds.fields(1, &[("frame_state", generator.frame_state), ("running", generator.running)])
}

fn validate_objects(object: &Objects) -> Result<(), LayoutError> {
    Bounds { structure: "object", begin: 8, end: object.head_size }.field("ob_type", object.ob_type, 8)?;
    let bounds = Bounds { structure: "object", begin: object.head_size, end: OBJECT_LIMIT };
    bounds.fields(
        8,
        &[
            ("ob_size", Some(object.ob_size)),
            ("type_name", Some(object.type_name)),
            ("type_basic_size", Some(object.type_basic_size)),
            ("type_item_size", Some(object.type_item_size)),
            ("type_flags", Some(object.type_flags)),
            ("type_base", Some(object.type_base)),
            ("type_mro", Some(object.type_mro)),
            ("type_dict", Some(object.type_dict)),
            ("type_dict_offset", Some(object.type_dict_offset)),
            ("type_cached_keys", object.type_cached_keys),
            ("type_qualname", object.type_qualname),
            ("bytes_hash", Some(object.bytes_hash)),
            ("tuple_items", Some(object.tuple_items)),
            ("list_items", Some(object.list_items)),
            ("set_used", Some(object.set_used)),
            ("set_mask", Some(object.set_mask)),
            ("set_table", Some(object.set_table)),
            ("int_size", Some(object.int_size)),
            ("float_value", Some(object.float_value)),
            ("module_dict", Some(object.module_dict)),
        ],
    )?;
    bounds.fields(4, &[("int_digits", Some(object.int_digits)), ("plain_int_value", object.plain_int_value)])?;
    bounds.fields(1, &[("bytes_data", Some(object.bytes_data))])?;
    validate_text(bounds, object.text)?;
    validate_dict(bounds, object.dict)?;
    let inner = bounds.at_zero();
    inner.field("dict_values_offset", object.dict_values_offset, 8)?;
    inner.fields(8, &[("set_entry_key", Some(object.set_entry_key))])?;
    inner.fields(1, &[("dict_values_valid", object.dict_values_valid)])?;
    validate_managed_dict(object.managed_dict)
}

fn validate_text(bounds: Bounds, text: TextFormat) -> Result<(), LayoutError> {
    match text {
        TextFormat::Python2 { length, data } => {
            bounds.fields(8, &[("text length", Some(length)), ("text data", Some(data))])
        }
        TextFormat::Compact { length, hash, state, bits: _, ascii_size, compact_size, data } => {
            bounds.fields(8, &[("text length", Some(length)), ("text hash", Some(hash)), ("text data", Some(data))])?;
            bounds.field("text state", state, 4)?;
            bounds.fields(8, &[("ascii_size", Some(ascii_size)), ("compact_size", Some(compact_size))])
        }
    }
}

fn validate_dict(bounds: Bounds, dict: DictFormat) -> Result<(), LayoutError> {
    match dict {
        DictFormat::Table { used, mask, table } => {
            bounds.fields(8, &[("dict used", Some(used)), ("dict mask", Some(mask)), ("dict table", Some(table))])
        }
        DictFormat::Keys { used, keys, values, keys_format } => {
            bounds.fields(8, &[("dict used", Some(used)), ("dict keys", Some(keys)), ("dict values", Some(values))])?;
            let bounds = Bounds { structure: "dict keys", begin: 1, end: OBJECT_LIMIT };
            match keys_format {
                DictKeys::Size { size, entry_count, indices } => bounds
                    .fields(8, &[("size", Some(size)), ("entry_count", Some(entry_count)), ("indices", Some(indices))]),
                DictKeys::Log2 { log2_index_bytes, kind, entry_count, indices } => {
                    bounds.fields(1, &[("log2_index_bytes", Some(log2_index_bytes)), ("kind", Some(kind))])?;
                    bounds.fields(8, &[("entry_count", Some(entry_count)), ("indices", Some(indices))])
                }
            }
        }
    }
}

/// These are before the object.
fn validate_managed_dict(managed: ManagedDict) -> Result<(), LayoutError> {
    let words: &[(&'static str, i32)] = match managed {
        ManagedDict::None => &[],
        ManagedDict::ValuesAndDict { values, dict } => &[("managed values", values), ("managed dict", dict)],
        ManagedDict::Tagged { offset } => &[("managed dict", offset)],
        ManagedDict::Inline { dict } => &[("managed dict", dict)],
    };
    let structure = "object";
    for &(field, offset) in words {
        let (begin, end) = (-64, 0);
        if !(begin..end).contains(&offset) {
            let (offset, begin, end) = (offset.into(), begin.into(), end.into());
            return Err(LayoutError::Outside { structure, field, offset, begin, end });
        }
        if offset % 8 != 0 {
            return Err(LayoutError::Unaligned { structure, field, offset: offset.into(), alignment: 8 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::layout::up_to_3_12;
    use crate::python::version::Version;

    fn sound() -> Layout {
        up_to_3_12::layout(Version::new(3, 12, 4)).expect("a table")
    }

    #[test]
    fn an_offset_past_its_struct_is_refused() {
        let mut layout = sound();
        layout.interpreter.modules = layout.interpreter.size;
        let refusal = validate(&layout).expect_err("past the end");
        assert_eq!(refusal.to_string(), "interpreter.modules at offset 952 is outside of 8..952");
    }

    #[test]
    fn huge_offsets_and_sizes_are_refused() {
        let mut layout = sound();
        layout.runtime.interpreters_head = Some(u32::MAX);
        assert!(matches!(validate(&layout), Err(LayoutError::Outside { field: "interpreters_head", .. })));
        let mut layout = sound();
        layout.thread.size = u32::MAX;
        assert!(matches!(validate(&layout), Err(LayoutError::Size { structure: "thread", .. })));
        let mut layout = sound();
        layout.gil = Gil::InInterpreter { enabled: None, locked: 8, last_holder: 16, base: u32::MAX };
        assert!(matches!(validate(&layout), Err(LayoutError::Outside { field: "gil base", .. })));
    }

    #[test]
    fn an_offset_that_no_compiler_would_choose_is_refused() {
        let mut layout = sound();
        layout.code.first_line = 70;
        assert!(matches!(validate(&layout), Err(LayoutError::Unaligned { field: "first_line", alignment: 4, .. })));
        let mut layout = sound();
        layout.object.managed_dict = ManagedDict::Inline { dict: -20 };
        assert!(matches!(validate(&layout), Err(LayoutError::Unaligned { field: "managed dict", .. })));
    }

    #[test]
    fn a_field_in_the_object_header_is_refused() {
        let mut layout = sound();
        layout.code.name = 0;
        assert!(matches!(validate(&layout), Err(LayoutError::Outside { structure: "code", field: "name", .. })));
    }
}
