//! Interpreter states: which there are, whether their collector runs, who holds their GIL.

use super::gil::GilState;
use super::runtime::Runtime;
use crate::memory::{ReadError, Reader};

/// One interpreter of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterpreterState {
    /// Its `PyInterpreterState`.
    pub address: u64,
    /// Its id: 0 for the main one.
    pub id: i64,
    /// Its garbage collector runs.
    pub collecting: bool,
    /// The frame that started the collection that runs (3.15+); 0 when none did or it is not told.
    pub collecting_frame: u64,
    /// `_code_object_generation` (3.14+): equal numbers mean that no code object died in between.
    pub code_generation: Option<u64>,
    /// Its GIL, which other interpreters may share.
    pub gil: GilState,
}

/// The interpreter state at `address`, and the address of the next one. What the whole runtime knows is handed in: who
/// holds the one GIL (before 3.12), and whether the collector runs (3.7 and 3.8).
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_interpreter(
    reader: &mut impl Reader,
    runtime: &Runtime,
    address: u64,
    runtime_holder: Option<u64>,
    runtime_collecting: bool,
) -> Result<(InterpreterState, u64), ReadError> {
    let offsets = &runtime.layout.interpreter;
    let at = |offset: u32| address.wrapping_add(u64::from(offset));
    let next = reader.volatile_word(at(offsets.next))?;
    let id = match offsets.id {
        Some(offset) => reader.volatile_word(at(offset))?.cast_signed(),
        None => 0,
    };
    let collecting = match offsets.gc_collecting {
        Some(offset) => reader.volatile_half(at(offset))? != 0,
        None => runtime_collecting,
    };
    let collecting_frame = match offsets.gc_frame {
        Some(offset) if collecting => reader.volatile_word(at(offset))?,
        _ => 0,
    };
    let code_generation = match offsets.code_object_generation {
        Some(offset) => Some(reader.volatile_word(at(offset))?),
        None => None,
    };
    let gil = GilState::read(reader, runtime, address, runtime_holder);
    let interpreter = InterpreterState { address, id, collecting, collecting_frame, code_generation, gil };
    Ok((interpreter, next))
}
