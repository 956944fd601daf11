//! Interpreter states: which there are, whether their collector runs, who holds their GIL.

use super::layout::{Gil, Layout};
use super::runtime::Runtime;
use crate::memory::{Memory, ReadError, Reader};

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
    /// Whether it has a GIL now: a free-threaded build can do without.
    pub has_gil: bool,
    /// The struct of its GIL (3.12+); 0 where it is not reached by a pointer.
    pub gil: u64,
    /// The thread state that holds its GIL; 0 when none does.
    pub gil_holder: u64,
    /// Who holds it can be told.
    pub tells_holder: bool,
}

impl InterpreterState {
    /// The thread state that holds its GIL right now, by a fresh look; 0 when none does.
    pub fn current_holder(&self, memory: &impl Memory, runtime: &Runtime) -> u64 {
        let layout = &runtime.layout;
        let places = match (runtime.current_thread, gil_places(layout, self.gil, self.address)) {
            (Some(address), _) => return memory.read_u64(address).unwrap_or(0),
            (None, Some(places)) => places,
            (None, None) => return 0,
        };
        match (memory.read_u32(places.locked), memory.read_u64(places.last_holder)) {
            (Ok(1), Ok(holder)) => holder,
            _ => 0,
        }
    }
}

/// The interpreter state at `address`, and the address of the next one. What the whole runtime knows is handed in: who
/// holds the one GIL (before 3.12), and whether the collector runs (3.7 and 3.8).
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_interpreter(
    reader: &mut impl Reader,
    layout: &Layout,
    address: u64,
    runtime_holder: Option<u64>,
    runtime_collecting: bool,
) -> Result<(InterpreterState, u64), ReadError> {
    let offsets = &layout.interpreter;
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
    let gil = match offsets.gil {
        Some(offset) => reader.volatile_word(at(offset))?,
        None => 0,
    };
    let gil_holder = match (layout.gil, gil_places(layout, gil, address)) {
        (Gil::CurrentThreadSymbol | Gil::RuntimeCurrentThread, _) => runtime_holder,
        (_, Some(places)) => Some(read_holder(reader, places)),
        (_, None) => None,
    };
    let has_gil = match layout.gil {
        Gil::InInterpreter { enabled: Some(enabled), .. } => reader.volatile_half(at(enabled))? != 0,
        _ => true,
    };
    let tells_holder = has_gil && gil_holder.is_some();
    let gil_holder = gil_holder.filter(|_| has_gil).unwrap_or(0);
    let interpreter = InterpreterState {
        address,
        id,
        collecting,
        collecting_frame,
        code_generation,
        has_gil,
        gil,
        gil_holder,
        tells_holder,
    };
    Ok((interpreter, next))
}

/// Where the fields of a GIL are in the target.
#[derive(Clone, Copy)]
struct GilPlaces {
    locked: u64,
    last_holder: u64,
}

/// Where the fields of a GIL are, given its struct and its interpreter.
fn gil_places(layout: &Layout, gil: u64, interpreter: u64) -> Option<GilPlaces> {
    let places = |base: u64, locked: u32, last_holder: u32| GilPlaces {
        locked: base.wrapping_add(u64::from(locked)),
        last_holder: base.wrapping_add(u64::from(last_holder)),
    };
    match layout.gil {
        Gil::PerInterpreter { locked, last_holder } if gil != 0 => Some(places(gil, locked, last_holder)),
        Gil::InInterpreter { locked, last_holder, base, .. } => {
            // The offsets are those of the main interpreter's GIL inside of its interpreter state; another GIL is a
            // struct like it.
            let origin = if gil == 0 { interpreter } else { gil.wrapping_sub(u64::from(base)) };
            Some(places(origin, locked, last_holder))
        }
        _ => None,
    }
}

/// The last holder of a GIL, if it is locked; a GIL that cannot be read has none.
fn read_holder(reader: &mut impl Reader, places: GilPlaces) -> u64 {
    match (reader.volatile_half(places.locked), reader.volatile_word(places.last_holder)) {
        (Ok(1), Ok(holder)) => holder,
        _ => 0,
    }
}
