//! Code objects, read once: names, file and lines by address, with a proof that the address still means the same.
//!
//! A code object may die and another be born at its address, so each entry keeps the bytes that it was read from (its
//! *evidence*: the fields of the code object and the strings behind them). An entry is used unchecked only for a while
//! after its evidence was last seen to hold, a while that grows with the time for which it is known to have held: what
//! has lasted will last. Where the interpreter counts the deaths of code objects (3.14+), it is used as long as that
//! count stands still. Once an address was seen to have changed its meaning, the program is taken for one that makes
//! and drops code, and every entry is checked in every sample.

use std::collections::HashMap;
use std::hash::BuildHasher;

use thiserror::Error;

use super::layout::{Layout, TextFormat};
use super::line_table::{LineTable, Location};
use super::object::ObjectReader;
use super::stack::{FrameLine, Position, RawFrame};
use crate::memory::{Memory, PageCache, ReadError, Recording};

/// Samples for which an entry is believed after a check, at most.
const TRUST: u32 = 64;
/// An entry that has held for so many samples is believed for one more after a check.
const PROBATION: u32 = 8;
/// Samples for which every entry is checked each time after an address was found reused.
const WARY_AFTER_REUSE: u32 = 4096;
/// Longest name and file name that is read, in characters.
const LONGEST_TEXT: usize = 4096;
/// As much of a line table is read, in bytes: what lies behind has no line.
const LARGEST_TABLE: usize = 4 * 1024 * 1024;
/// A table that takes more bytes than this reads no more lines. Who holds it forgets it before it is so large; this is
/// for what is read between two looks at its size, be it thousands of code objects.
const MOST_WITH_LINES: usize = 40 << 20;
/// What an entry, a piece of its evidence and a code object take beside their bytes.
const ENTRY: usize = 160;
const EVIDENCE_PIECE: usize = 40;
const CODE: usize = 200;
/// More bytes than a code object has before its bytecode.
const EXTENT: u64 = 512;
/// Of one read of the evidence, as much is kept, in bytes.
const EVIDENCE: usize = 512;

/// A code object that was read; stays valid when the object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CodeId(u32);

#[cfg(test)]
impl CodeId {
    /// That of the code that a table met first.
    pub(crate) const FIRST: Self = Self(0);
}

/// What a code object says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Code {
    /// `co_qualname` (3.11+), else `co_name`.
    pub name: String,
    /// `co_filename`.
    pub filename: String,
    /// `co_firstlineno`; 0 when it is negative.
    pub first_line: u32,
    /// Lines of instructions.
    pub lines: LineTable,
    /// It has no instructions (≤ 3.10): it stands for a function that was compiled to C, as by Nuitka.
    pub is_empty: bool,
}

/// Where in which code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The code.
    pub code: CodeId,
    /// The line; 0 is "no line".
    pub line: u32,
    /// The instruction: bytes from the beginning of the bytecode; negative before the first one or where it is not
    /// known.
    pub offset: i32,
}

/// Why an address gave no code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CodeError {
    /// The object there is of another type.
    #[error("the object at {0:#x} is no code object")]
    NotCode(u64),
    /// Something that the code object needs cannot be read.
    #[error("cannot read the code object at {address:#x}")]
    Unreadable {
        /// The code object.
        address: u64,
        /// What could not be read.
        #[source]
        source: ReadError,
    },
}

/// Whether the table can tell what is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Yes.
    Fresh,
    /// It could, once its evidence is seen to hold.
    Due,
    /// No.
    Unknown,
}

/// All the code that was seen, by address and for good.
#[derive(Debug, Default)]
pub(crate) struct CodeTable {
    codes: Vec<Code>,
    /// By a hash of the whole: code of one name and file, such as what `eval` runs, may have many tables of lines.
    by_content: HashMap<u64, Vec<CodeId>, foldhash::fast::RandomState>,
    entries: HashMap<u64, Entry, foldhash::fast::RandomState>,
    /// `PyCode_Type`, once one object was seen to be of it.
    code_type: Option<u64>,
    sample: u32,
    /// Moments at which the target was looked at: one a sample, and one more each time that a thread is stopped.
    look: u64,
    generation: Option<u64>,
    wary_until: u32,
    /// What all of it takes, in bytes, about.
    size: usize,
}

#[derive(Debug)]
struct Entry {
    code: CodeId,
    evidence: Vec<(u64, Vec<u8>)>,
    /// The sample in which it was read.
    read: u32,
    /// The last sample in which its evidence was seen to hold.
    checked: u32,
    checked_in_look: u64,
    generation: Option<u64>,
    /// The offset that was asked for last, with its line.
    last_line: Option<(i64, u32)>,
    /// Where each copy of the bytecode begins (free-threaded), as far as asked for.
    copies: Vec<u64>,
}

impl Code {
    /// The line of the instruction at a byte offset; 0 is "no line".
    fn line_at(&self, offset: i64) -> u32 {
        match i32::try_from(offset) {
            Ok(offset) if offset >= 0 => self.lines.line_of(offset).unwrap_or(0),
            // Before the first instruction, or a pointer that is not in this code: the function itself is certain.
            _ => self.first_line,
        }
    }
}

impl Entry {
    /// Samples for which it is believed after its last check.
    fn trust(&self) -> u32 {
        ((self.checked - self.read) / PROBATION).min(TRUST)
    }
}

impl CodeTable {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What all of it takes, in bytes, about. Code that has gone keeps its place: a table that has become too large is
    /// to be begun anew.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size
    }

    /// The code behind an id of this table.
    pub(crate) fn get(&self, id: CodeId) -> &Code {
        &self.codes[id.0 as usize]
    }

    /// Begins a sample. `generation` is the sum of the interpreters' counts of dead code objects (3.14+), `None` where
    /// there is none.
    pub(crate) fn begin_sample(&mut self, generation: Option<u64>) {
        self.sample += 1;
        self.begin_look(generation);
    }

    /// Begins another look within the sample: what held at its first one may have changed since.
    pub(crate) fn begin_look(&mut self, generation: Option<u64>) {
        self.look += 1;
        self.generation = generation;
    }

    /// What is known of the code object at `address` in this sample.
    pub(crate) fn knows(&self, address: u64) -> Known {
        match self.entries.get(&address) {
            None => Known::Unknown,
            Some(entry) if entry.checked_in_look == self.look => Known::Fresh,
            Some(entry) => {
                let fresh = match self.generation {
                    Some(_) => entry.generation == self.generation,
                    None => self.sample >= self.wary_until && self.sample - entry.checked < entry.trust(),
                };
                if fresh { Known::Fresh } else { Known::Due }
            }
        }
    }

    /// Whether an entry that is fresh has used up half of its trust: when others are checked anyway, it may as well be.
    pub(crate) fn is_half_due(&self, address: u64) -> bool {
        self.generation.is_none()
            && self.entries.get(&address).is_some_and(|entry| 2 * (self.sample - entry.checked) > entry.trust())
    }

    /// The evidence of an entry: ranges of the target and the bytes that they must hold.
    pub(crate) fn evidence(&self, address: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let entry = self.entries.get(&address);
        entry.into_iter().flat_map(|entry| &entry.evidence).map(|(address, bytes)| (*address, bytes.as_slice()))
    }

    /// Notes that the evidence of an entry was just seen to hold.
    pub(crate) fn confirm(&mut self, address: u64) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.checked = self.sample;
            entry.checked_in_look = self.look;
            entry.generation = self.generation;
        }
    }

    /// Drops an entry whose evidence no longer holds: its address was reused.
    pub(crate) fn forget(&mut self, address: u64) {
        if self.entries.remove(&address).is_some() {
            self.wary_until = self.sample.saturating_add(WARY_AFTER_REUSE);
        }
    }

    /// Drops an entry that was read from a target in motion and not confirmed.
    pub(crate) fn discard(&mut self, address: u64) {
        self.entries.remove(&address);
    }

    /// The address of the type of code objects in the target, once one was read.
    pub(crate) fn code_type(&self) -> Option<u64> {
        self.code_type
    }

    /// Reads the code object at `address` and keeps it. Unless the target stands still, the entry is only good once its
    /// evidence was seen to hold (see [`CodeTable::evidence`], [`CodeTable::confirm`]) together with a frame that
    /// refers to it.
    ///
    /// # Errors
    /// When what is there is no code object or cannot be read.
    pub(crate) fn load(&mut self, memory: &impl Memory, layout: &Layout, address: u64) -> Result<CodeId, CodeError> {
        let cached = PageCache::new(memory);
        let recording = Recording::new(&cached);
        let type_address = recording
            .read_u64(address.wrapping_add(u64::from(layout.object.ob_type)))
            .map_err(|source| CodeError::Unreadable { address, source })?;
        if self.code_type != Some(type_address) {
            let is_code =
                ObjectReader::new(&cached, layout).name_of_type(type_address).is_ok_and(|name| name == "code");
            if !is_code {
                return Err(CodeError::NotCode(address));
            }
        }
        let largest_table = if self.size < MOST_WITH_LINES { LARGEST_TABLE } else { 0 };
        let (code, version) = read_code(&recording, layout, address, largest_table)
            .map_err(|source| CodeError::Unreadable { address, source })?;
        self.code_type = Some(type_address);
        let id = self.intern(code);
        let mut evidence = recording.into_reads();
        if version != 0 {
            // The same number means the same object, which keeps its strings; what lies outside of it need not be
            // looked at again.
            evidence.retain(|(place, _)| (address..address.saturating_add(EXTENT)).contains(place));
        }
        for (_, bytes) in &mut evidence {
            bytes.truncate(EVIDENCE);
        }
        let (read, checked_in_look, generation) = (self.sample, self.look, self.generation);
        let entry = Entry {
            code: id,
            evidence,
            read,
            checked: read,
            checked_in_look,
            generation,
            last_line: None,
            copies: Vec::new(),
        };
        self.size += ENTRY + entry.evidence.iter().map(|(_, bytes)| EVIDENCE_PIECE + bytes.len()).sum::<usize>();
        self.entries.insert(address, entry);
        Ok(id)
    }

    /// Where in which code a frame is whose code object is known.
    pub(crate) fn resolve(&mut self, memory: &impl Memory, layout: &Layout, frame: &RawFrame) -> Option<Place> {
        let entry = self.entries.get_mut(&frame.code)?;
        let offset = offset_of(memory, layout, frame.code, frame.position, &mut entry.copies);
        let code = entry.code;
        let line = match entry.last_line {
            Some((known, line)) if known == offset => line,
            _ => {
                let line = self.codes[code.0 as usize].line_at(offset);
                entry.last_line = Some((offset, line));
                line
            }
        };
        Some(self.place(code, (offset, line), frame.line))
    }

    /// The line of the instruction at a byte offset of code that was read; 0 is "no line".
    pub(crate) fn line_at(&self, code: CodeId, offset: i64) -> u32 {
        self.get(code).line_at(offset)
    }

    /// Where a frame is whose instruction is at a byte offset and, by that, in a line, and that says this of its line.
    pub(crate) fn place(&self, code: CodeId, (offset, line): (i64, u32), said: FrameLine) -> Place {
        let offset = i32::try_from(offset).unwrap_or(-1);
        let said = match said {
            FrameLine::Said(said) => Some(said),
            FrameLine::SaidUntraced(said) => Some(said).filter(|_| self.get(code).is_empty),
            FrameLine::Unsaid => None,
        };
        match said {
            // The columns of the instruction would be those of another line.
            Some(said) if said != line => Place { code, line: said, offset: -1 },
            _ => Place { code, line, offset },
        }
    }

    /// Line and columns of the instruction at a byte offset, where the version keeps columns (3.11+).
    pub(crate) fn location_at(&self, id: CodeId, offset: i32) -> Option<Location> {
        self.get(id).lines.location_of(offset)
    }

    /// Adds code that no code object at an address stands for by itself, such as a function that was compiled to C.
    pub(crate) fn add_compiled(&mut self, code: Code) -> CodeId {
        self.intern(code)
    }

    fn intern(&mut self, code: Code) -> CodeId {
        let hash = self.by_content.hasher().hash_one(&code);
        let ids = self.by_content.entry(hash).or_default();
        if let Some(id) = ids.iter().find(|id| self.codes[id.0 as usize] == code) {
            return *id;
        }
        let id = CodeId(u32::try_from(self.codes.len()).unwrap_or(u32::MAX));
        ids.push(id);
        self.size += CODE + code.name.len() + code.filename.len() + code.lines.size_bytes();
        self.codes.push(code);
        id
    }
}

/// The byte offset of an instruction in its code object; −1 where it cannot be told. `copies` is what is known of where
/// the thread-local copies of the bytecode begin, by their numbers.
pub(crate) fn offset_of(
    memory: &impl Memory,
    layout: &Layout,
    code: u64,
    position: Position,
    copies: &mut Vec<u64>,
) -> i64 {
    match position {
        Position::Offset(offset) => offset,
        Position::Pointer(pointer) => offset_in_code(layout, code, pointer),
        Position::LocalCopy { pointer, index: 0 } => offset_in_code(layout, code, pointer),
        Position::LocalCopy { pointer, index } => match copy_start(memory, layout, code, copies, index) {
            Some(start) => pointer.wrapping_sub(start).cast_signed(),
            None => -1,
        },
    }
}

/// Byte offset of an instruction pointer, or −1 when it points elsewhere.
fn offset_in_code(layout: &Layout, code: u64, pointer: u64) -> i64 {
    let start = code.wrapping_add(u64::from(layout.code.bytecode.unwrap_or(0)));
    pointer.wrapping_sub(start).cast_signed()
}

/// Where a thread-local copy of the bytecode begins: `co_tlbc->entries[index]` (`_PyCodeArray`, pycore_code.h, 3.14+).
fn copy_start(memory: &impl Memory, layout: &Layout, code: u64, copies: &mut Vec<u64>, index: u32) -> Option<u64> {
    let index = usize::try_from(index).ok()?;
    if let Some(start) = copies.get(index).filter(|start| **start != 0) {
        return Some(*start);
    }
    let array = memory.read_u64(code.wrapping_add(u64::from(layout.code.tlbc?))).ok()?;
    let count = usize::try_from(memory.read_u64(array).ok()?).ok()?;
    if index >= count || count > 1 << 16 {
        return None;
    }
    let start = memory.read_u64(array.wrapping_add(8 + 8 * index as u64)).ok()?;
    if copies.len() <= index {
        copies.resize(index + 1, 0);
    }
    copies[index] = start;
    Some(start)
}

/// The code object, with as many bytes of its table of lines at most, and the number that it shares with no other of
/// its interpreter (3.12+); 0 is none.
fn read_code(
    memory: &impl Memory,
    layout: &Layout,
    address: u64,
    largest_table: usize,
) -> Result<(Code, u32), ReadError> {
    let offsets = &layout.code;
    let at = |offset: u32| address.wrapping_add(u64::from(offset));
    let version = match offsets.unique_version {
        Some(offset) => memory.read_u32(at(offset))?,
        None => 0,
    };
    let first_line = memory.read_u32(at(offsets.first_line))?;
    let name = memory.read_u64(at(offsets.qualname.unwrap_or(offsets.name)))?;
    let filename = memory.read_u64(at(offsets.filename))?;
    let table = memory.read_u64(at(offsets.line_table))?;
    let name = read_text(memory, layout, name)?;
    let filename = read_text(memory, layout, filename)?;
    let length = memory.read_u64(table.wrapping_add(u64::from(layout.object.ob_size)))?;
    let has_lines = length > 0;
    let length = length.min(largest_table as u64);
    let table = memory.read_bytes(table.wrapping_add(u64::from(layout.object.bytes_data)), length, largest_table)?;
    // What was compiled to C has neither; so hardly any bytecode need be looked at.
    let is_empty = match offsets.bytecode_object {
        Some(offset) if !has_lines => {
            let bytecode = memory.read_u64(at(offset))?;
            memory.read_u64(bytecode.wrapping_add(u64::from(layout.object.ob_size)))? == 0
        }
        _ => false,
    };
    let lines = LineTable::decode(offsets.line_table_format, &table, first_line.cast_signed(), None);
    let first_line = u32::try_from(first_line.cast_signed()).unwrap_or(0);
    Ok((Code { name, filename, first_line, lines, is_empty }, version))
}

/// A string and its hash: two strings that lived at one address one after the other and are equal in length and hash
/// are equal.
fn read_text(memory: &impl Memory, layout: &Layout, address: u64) -> Result<String, ReadError> {
    if let TextFormat::Compact { hash, .. } = layout.object.text {
        memory.read_u64(address.wrapping_add(u64::from(hash)))?;
    }
    ObjectReader::new(memory, layout).text(address, LONGEST_TEXT).map(|text| text.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::test_support::{Interpreter, Target};

    #[test]
    fn a_table_that_is_full_reads_names_and_no_lines() {
        for interpreter in Interpreter::all().into_iter().filter(|found| found.version >= (3, 11)) {
            let program = "
def made(): pass
table = bytes([0x80 | 0x50, 1, 2, 0x80 | 0x50, 3, 4]) * (1 << 18)
for number in range(8):
    show('code', made.__code__.replace(co_linetable=table, co_firstlineno=number + 1, co_name='made%d' % number), '')";
            let target = Target::start(&interpreter, program);
            let mut codes = CodeTable::new();
            codes.begin_sample(None);
            let shown = target.all_shown().iter();
            let ids: Vec<CodeId> =
                shown.map(|shown| codes.load(&target.memory(), &target.layout, shown.address).unwrap()).collect();
            // Up to the last that was begun before it was full.
            assert!(codes.size_bytes() < MOST_WITH_LINES + (MOST_WITH_LINES >> 1), "{interpreter}");
            let has_lines = |id: &CodeId| codes.get(*id).lines.size_bytes() > 0;
            assert!(has_lines(&ids[0]) && !has_lines(&ids[7]), "{interpreter}");
            assert_eq!((codes.get(ids[7]).first_line, codes.line_at(ids[7], 2)), (8, 0), "{interpreter}");
            assert!(codes.get(ids[7]).name.starts_with("made"), "{interpreter}");
        }
    }
}
