//! How the frames of a file's functions lie on the stack: `.eh_frame`, which every function that an exception may pass
//! has, and on our machines all others too.
//!
//! The bytes are not trusted. Entries are looked at only up to a length, so that none costs more than some microseconds
//! however often it is referred to; programs in them end with their bytes, expressions after a number of steps.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, Evaluation, EvaluationResult, Expression, LittleEndian, Location,
    Register, RegisterRule, StoreOnHeap, UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow, Value,
};

/// The longest entry for a function; the largest function of an interpreter has some kilobytes.
const LONGEST_ENTRY: usize = 256 << 10;
/// The longest entry that others refer to.
const LONGEST_COMMON: usize = 1 << 10;
/// More entries than any library has.
const MOST_ENTRIES: usize = 4 << 20;
/// Steps of one expression.
const MOST_STEPS: u32 = 256;
/// Values that one expression asks for.
const MOST_ANSWERS: u32 = 64;
/// Rules of one row; machines have 33 registers that programs save, of which the most are saved by signals.
const MOST_RULES: usize = 40;

type Bytes<'bytes> = EndianSlice<'bytes, LittleEndian>;

/// Where what is needed of a file lies in its addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bases {
    /// `.eh_frame`.
    pub(super) eh_frame: u64,
    /// `.eh_frame_hdr`, 0 if there is none.
    pub(super) header: u64,
    /// `.text`.
    pub(super) text: u64,
    /// `.got`.
    pub(super) got: u64,
}

/// The unwind information of one file.
#[derive(Debug)]
pub(super) struct FrameInfo {
    bytes: Vec<u8>,
    bases: BaseAddresses,
    index: Index,
}

/// Functions by address: (first address, place of the entry), both counted from `.eh_frame_hdr` or as they are.
#[derive(Debug)]
enum Index {
    /// The sorted table of `.eh_frame_hdr`: pairs of 32-bit distances from the header.
    Header { table: Vec<u8>, header: u64, eh_frame: u64 },
    /// Made from the entries themselves.
    Made(Vec<(u64, u32)>),
}

/// How to get from a frame to its caller's, at one instruction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// Where the caller's stack pointer was before the call: the *canonical frame address*.
    pub(super) cfa: Cfa,
    /// Where registers are, by number.
    pub(super) rules: Vec<(u16, Rule)>,
    /// Which of them is the return address.
    pub(super) return_address: u16,
    /// The kernel made this frame to deliver a signal: its caller was interrupted, not left by a call.
    pub(super) is_signal: bool,
    /// The first address of the function, in the file.
    pub(super) function: u64,
}

/// The canonical frame address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cfa {
    /// A register and a distance.
    Register(u16, i64),
    /// An expression.
    Expression(Program),
}

/// Where the value of a register in the caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    /// Lost; for the return address: there is no caller.
    Undefined,
    /// In the register still.
    Same,
    /// In memory, that far from the canonical frame address.
    At(i64),
    /// It is the canonical frame address and so much.
    Is(i64),
    /// In another register.
    In(u16),
    /// In memory, where an expression says.
    AtExpression(Program),
    /// What an expression says.
    IsExpression(Program),
}

/// The place of an expression in `.eh_frame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Program {
    offset: usize,
    length: usize,
}

#[cfg(test)]
impl Program {
    pub(super) fn new(offset: usize, length: usize) -> Self {
        Self { offset, length }
    }
}

impl FrameInfo {
    /// Of a file with these two sections; the header may be missing or of a kind that we do not read.
    pub(super) fn new(bytes: Vec<u8>, header: &[u8], places: Bases) -> Self {
        let bases = BaseAddresses::default()
            .set_eh_frame(places.eh_frame)
            .set_eh_frame_hdr(places.header)
            .set_text(places.text)
            .set_got(places.got);
        let mut info = Self { bytes, bases, index: Index::Made(Vec::new()) };
        info.index = match header_table(header) {
            Some(table) => Index::Header { table: table.to_vec(), header: places.header, eh_frame: places.eh_frame },
            None => Index::Made(info.entries()),
        };
        info
    }

    fn section(&self) -> EhFrame<Bytes<'_>> {
        let mut section = EhFrame::new(&self.bytes, LittleEndian);
        section.set_address_size(8);
        if cfg!(target_arch = "aarch64") {
            section.set_vendor(gimli::Vendor::AArch64);
        }
        section
    }

    /// The function around an address of the file and how to leave it there; `None` where nothing is said.
    pub(super) fn row(&self, address: u64, context: &mut UnwindContext<usize>) -> Option<Row> {
        let offset = match &self.index {
            Index::Header { table, header, eh_frame } => find_in_table(table, *header, *eh_frame, address)?,
            Index::Made(entries) => {
                let end = entries.partition_point(|(start, _)| *start <= address);
                entries[end.checked_sub(1)?].1 as usize
            }
        };
        let entry = self.entry(offset)?;
        if !entry.contains(address) {
            return None;
        }
        let section = self.section();
        let row = entry.unwind_info_for_address(&section, &self.bases, context, address).ok()?;
        let return_address = entry.cie().return_address_register().0;
        row_of(row, return_address, entry.is_signal_trampoline(), entry.initial_address())
    }

    /// The entry at a place of the section, if it is that of a function and neither it nor what it refers to is too
    /// long.
    fn entry(&self, offset: usize) -> Option<gimli::FrameDescriptionEntry<Bytes<'_>>> {
        let (length, back) = self.head(offset)?;
        let common = (offset + 4).checked_sub(back as usize)?;
        let is_sane = back != 0 && length <= LONGEST_ENTRY && self.head(common)?.0 <= LONGEST_COMMON;
        if !is_sane {
            return None;
        }
        self.section().fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()
    }

    /// The length of an entry without the length itself, and how far before its second word lies the entry that it
    /// refers to, 0 for one that others refer to.
    fn head(&self, offset: usize) -> Option<(usize, u32)> {
        let word = |at: usize| self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let length = word(offset)?;
        // The escape to lengths of 64 bits, which linkers do not use.
        (length != u32::MAX && length >= 4).then_some(())?;
        Some((length as usize, word(offset.checked_add(4)?)?))
    }

    /// The functions by going through the section.
    fn entries(&self) -> Vec<(u64, u32)> {
        let mut entries = Vec::new();
        let mut offset = 0;
        while let Ok(place) = u32::try_from(offset)
            && offset + 4 <= self.bytes.len()
            && entries.len() < MOST_ENTRIES
        {
            match self.head(offset) {
                Some((length, _)) => {
                    if let Some(entry) = self.entry(offset) {
                        entries.push((entry.initial_address(), place));
                    }
                    offset += 4 + length;
                }
                // Objects that were linked together may each end with a zero.
                None if self.bytes[offset..offset + 4] == [0; 4] => offset += 4,
                None => break,
            }
        }
        entries.sort_unstable();
        entries
    }

    /// The value of an expression. `memory` reads a word of the stack.
    pub(super) fn evaluate(
        &self,
        program: Program,
        start: Option<u64>,
        registers: &dyn Fn(u16) -> Option<u64>,
        memory: &dyn Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let section = self.section();
        let expression: Expression<Bytes<'_>> =
            UnwindExpression { offset: program.offset, length: program.length }.get(&section).ok()?;
        let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
        let mut evaluation = Evaluation::new(expression.0, encoding);
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(start) = start {
            evaluation.set_initial_value(start);
        }
        let mut result = evaluation.evaluate().ok()?;
        for _ in 0..MOST_ANSWERS {
            result = match result {
                EvaluationResult::Complete => {
                    return match evaluation.as_result().last()?.location {
                        Location::Address { address } => Some(address),
                        _ => None,
                    };
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(registers(register.0)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: 8, space: None, .. } => {
                    evaluation.resume_with_memory(Value::Generic(memory(address)?)).ok()?
                }
                _ => return None,
            };
        }
        None
    }
}

fn row_of(
    row: &UnwindTableRow<usize, StoreOnHeap>,
    return_address: u16,
    is_signal: bool,
    function: u64,
) -> Option<Row> {
    let program =
        |expression: &UnwindExpression<usize>| Program { offset: expression.offset, length: expression.length };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register: Register(register), offset } => Cfa::Register(*register, *offset),
        CfaRule::Expression(expression) => Cfa::Expression(program(expression)),
    };
    let mut rules = Vec::new();
    for (Register(register), rule) in row.registers().take(MOST_RULES) {
        let rule = match rule {
            RegisterRule::Undefined => Rule::Undefined,
            RegisterRule::SameValue => Rule::Same,
            RegisterRule::Offset(offset) => Rule::At(*offset),
            RegisterRule::ValOffset(offset) => Rule::Is(*offset),
            RegisterRule::Register(other) => Rule::In(other.0),
            RegisterRule::Expression(expression) => Rule::AtExpression(program(expression)),
            RegisterRule::ValExpression(expression) => Rule::IsExpression(program(expression)),
            // The marks of signed return addresses; the signature is taken off in any case.
            _ => continue,
        };
        rules.push((*register, rule));
    }
    Some(Row { cfa, rules, return_address, is_signal, function })
}

/// The table of an `.eh_frame_hdr` of the one kind that linkers make: version 1, a 32-bit distance to `.eh_frame`, a
/// 32-bit count, and pairs of 32-bit distances from the header.
fn header_table(header: &[u8]) -> Option<&[u8]> {
    const KIND: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let (kind, rest) = header.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (count, table) = rest.split_first_chunk::<4>()?;
    let size = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
    (*kind == KIND && size > 0).then(|| table.get(..size))?
}

/// The place in `.eh_frame` of the last entry that begins at or before `address`.
fn find_in_table(table: &[u8], header: u64, eh_frame: u64, address: u64) -> Option<usize> {
    let (rows, _) = table.as_chunks::<8>();
    let at = |bytes: &[u8]| {
        let distance = bytes.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes));
        header.wrapping_add_signed(i64::from(distance))
    };
    let end = rows.partition_point(|row| at(&row[..4]) <= address);
    let row = &rows[end.checked_sub(1)?];
    usize::try_from(at(&row[4..]).checked_sub(eh_frame)?).ok()
}

impl Row {
    /// The rule for a register, if it has one.
    pub(super) fn rule(&self, register: u16) -> Option<Rule> {
        self.rules.iter().find(|(number, _)| *number == register).map(|(_, rule)| *rule)
    }
}

/// The numbers of the registers that have a part in every frame.
#[derive(Debug)]
pub(super) struct Machine;

#[cfg(not(target_arch = "aarch64"))]
impl Machine {
    pub(super) const STACK_POINTER: u16 = 7;
    pub(super) const FRAME_POINTER: u16 = 6;
    /// Registers that a function hands back as it found them.
    pub(super) const PRESERVED: &'static [u16] = &[3, 6, 12, 13, 14, 15];
    /// The register that holds the return address on entry, if a register does.
    pub(super) const LINK: Option<u16> = None;
    /// The bits of an address; others are a signature.
    pub(super) const ADDRESS_BITS: u64 = u64::MAX;
}

#[cfg(target_arch = "aarch64")]
impl Machine {
    pub(super) const STACK_POINTER: u16 = 31;
    pub(super) const FRAME_POINTER: u16 = 29;
    /// Registers that a function hands back as it found them.
    pub(super) const PRESERVED: &'static [u16] = &[19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29];
    /// The register that holds the return address on entry, if a register does.
    pub(super) const LINK: Option<u16> = Some(30);
    /// The bits of an address; others are a signature.
    pub(super) const ADDRESS_BITS: u64 = (1 << 48) - 1;
}
