//! The exception that a thread has in flight: raised and not yet caught.

use super::object::{ObjectReader, TypeFlags};

/// Characters of a message that are read.
const MESSAGE_LIMIT: usize = 1000;

/// An exception in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Its type: `KeyError`.
    pub type_name: String,
    /// Its first argument, where that is text.
    pub message: Option<String>,
    /// The exception; 0 where there is no object of it yet (≤ 3.11).
    pub address: u64,
}

/// The exception that the thread state `thread` has in flight. What cannot be read is none.
pub fn in_flight(objects: ObjectReader<'_>, thread: u64) -> Option<Raised> {
    let layout = objects.layout();
    let field = |offset: Option<u32>| objects.pointer(thread, offset?).ok().filter(|pointer| *pointer != 0);
    let value = field(layout.thread.current_exception);
    let of_type = match layout.thread.current_exception_type {
        Some(offset) => field(Some(offset))?,
        None => objects.type_of(value?).ok()?,
    };
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
        let arguments = objects.pointer(value, layout.object.head_size + 8).ok()?;
        let (arguments, _) = objects.tuple_items(arguments, 1).ok()?;
        objects.text_or_none(*arguments.first()?, MESSAGE_LIMIT)
    });
    Some(Raised { type_name, message, address: value.unwrap_or(0) })
}
