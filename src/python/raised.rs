//! The exception that a thread is busy with: one that was raised and not yet caught, or the one that an `except` or
//! `finally` handles now.

use super::object::{ObjectReader, TypeFlags};

/// Characters of a message that are read.
const MESSAGE_LIMIT: usize = 1000;
/// Entries of the stack of handled exceptions that are looked at; generators push empty ones.
const ITEMS_LIMIT: usize = 100;

/// An exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raised {
    /// Its type: `KeyError`.
    pub type_name: String,
    /// Its first argument, where that is text.
    pub message: Option<String>,
    /// It was caught, and its handler runs.
    pub handled: bool,
}

/// The exception that the thread state `thread` is busy with. What cannot be read is none.
pub(crate) fn raised(objects: ObjectReader<'_>, thread: u64) -> Option<Raised> {
    in_flight(objects, thread).or_else(|| handled(objects, thread))
}

fn in_flight(objects: ObjectReader<'_>, thread: u64) -> Option<Raised> {
    let layout = &objects.layout().thread;
    let field = |offset: Option<u32>| objects.pointer(thread, offset?).ok().filter(|pointer| *pointer != 0);
    let value = field(layout.current_exception);
    let of_type = match layout.current_exception_type {
        Some(offset) => field(Some(offset))?,
        None => objects.type_of(value?).ok()?,
    };
    describe(objects, of_type, value, false)
}

/// The newest exception on the stack of those that are handled: `exc_value` up to 3.6, then `exc_info`, which points to
/// `_PyErr_StackItem` {exc_type, exc_value, exc_traceback, previous}, from 3.11 on {exc_value, previous}
/// (cpython/pystate.h).
fn handled(objects: ObjectReader<'_>, thread: u64) -> Option<Raised> {
    let layout = &objects.layout().thread;
    let exception = layout.current_exception_type.or(layout.current_exception)?;
    // How far behind the exception in flight the field is, and where an item has its value and the next item.
    let (field, value, previous) = match objects.layout().version.feature() {
        (2, _) | (3, ..=6) => return describe_object(objects, objects.pointer(thread, exception + 32).ok()?),
        (3, 7..=10) => (56, 8, 24),
        (3, 11) => (24, 0, 8),
        _ => (8, 0, 8),
    };
    let mut item = objects.pointer(thread, exception + field).ok()?;
    for _ in 0..ITEMS_LIMIT {
        if item == 0 {
            return None;
        }
        if let Some(found) = describe_object(objects, objects.pointer(item, value).ok()?) {
            return Some(found);
        }
        item = objects.pointer(item, previous).ok()?;
    }
    None
}

fn describe_object(objects: ObjectReader<'_>, exception: u64) -> Option<Raised> {
    if exception == 0 {
        return None;
    }
    describe(objects, objects.type_of(exception).ok()?, Some(exception), true)
}

fn describe(objects: ObjectReader<'_>, of_type: u64, value: Option<u64>, handled: bool) -> Option<Raised> {
    let type_info = objects.type_info(of_type).ok()?;
    if !type_info.flags.contains(TypeFlags::EXCEPTION) {
        return None;
    }
    let type_name = objects.type_qualname(&type_info).ok()?.text;
    let message = value.and_then(|value| {
        // Before 3.12 it may still be the argument that the exception will be made of.
        if !objects.flags_of(value).ok()?.contains(TypeFlags::EXCEPTION) {
            return objects.text_or_none(value, MESSAGE_LIMIT);
        }
        // `PyBaseExceptionObject`: {head, dict, args}.
        let arguments = objects.pointer(value, objects.layout().object.head_size + 8).ok()?;
        let (arguments, _) = objects.tuple_items(arguments, 1).ok()?;
        objects.text_or_none(*arguments.first()?, MESSAGE_LIMIT)
    });
    Some(Raised { type_name, message, handled })
}
