//! From an instruction to its line: the four ways in which CPython has written that down, decoded from bytes.
//!
//! A table is decoded once for each code object into sorted ranges; a lookup is then a binary search that allocates
//! nothing. The bytes are taken as they come: a table that is cut off or nonsense gives the ranges that it has, never
//! an error, so the caller bounds the length of the table and this file bounds the rest: of more ranges than a compiler
//! makes for any function the first are kept, and what lies behind them has no line.
//!
//! Limits: positions are those that the compiler wrote. Code that was made with altered tables is believed.

use std::cmp::Ordering;

use crate::python::layout::LineTableFormat;

/// Ranges of one code object that are kept; they take 20 bytes each.
const MOST_RANGES: usize = 1 << 19;

/// Where an instruction comes from, as far as the code object tells (3.11+, unless run with `-X no_debug_ranges`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The first line, counted from 1 (0 for the first instruction of a module).
    pub line: u32,
    /// The last line.
    pub end_line: u32,
    /// Where the expression begins in its first line: a count of UTF-8 bytes from 0.
    pub column: Option<u32>,
    /// Where it ends in its last line: the byte after it, counted as [`Location::column`].
    pub end_column: Option<u32>,
}

/// The lines of one code object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LineTable {
    /// `co_firstlineno`, the answer for an offset before the first instruction.
    first_line: i32,
    /// The offset that no instruction reaches.
    end: u32,
    /// Sorted by start, the first one at 0 unless the table is empty; each holds up to the start of the next.
    ranges: Vec<Range>,
}

/// Instructions from `start` on; a negative number is the absence of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Range {
    start: u32,
    position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Position {
    line: i32,
    end_line: i32,
    column: i32,
    end_column: i32,
}

impl Position {
    const NONE: Self = Self::of_line(-1);

    const fn of_line(line: i32) -> Self {
        Self { line, end_line: line, column: -1, end_column: -1 }
    }
}

impl LineTable {
    /// Decodes `table`, the bytes of `co_lnotab` or `co_linetable`, of a code object that begins in line `first_line`
    /// (`co_firstlineno`).
    ///
    /// `code_length` is the length of the bytecode in bytes: where it is given, offsets past it have no line. The older
    /// two formats do not say by themselves where their last line ends.
    pub fn decode(format: LineTableFormat, table: &[u8], first_line: i32, code_length: Option<u32>) -> Self {
        let mut builder = Builder { ranges: Vec::new(), offset: 0 };
        match format {
            LineTableFormat::LnotabUnsigned => builder.lnotab(table, first_line, i32::from),
            LineTableFormat::Lnotab => builder.lnotab(table, first_line, |step| i32::from(step.cast_signed())),
            LineTableFormat::Pairs => builder.pairs(table, first_line),
            LineTableFormat::Locations => builder.locations(table, first_line),
        }
        let table_end = match format {
            LineTableFormat::LnotabUnsigned | LineTableFormat::Lnotab => u32::MAX,
            LineTableFormat::Pairs | LineTableFormat::Locations => builder.offset,
        };
        let end = table_end.min(code_length.unwrap_or(u32::MAX));
        builder.ranges.shrink_to_fit();
        Self { first_line, end, ranges: builder.ranges }
    }

    /// What it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.ranges.len() * size_of::<Range>()
    }

    /// The line of the instruction at `byte_offset` of the bytecode; before the first instruction, the line of the
    /// definition.
    pub fn line_of(&self, byte_offset: i32) -> Option<u32> {
        let Ok(offset) = u32::try_from(byte_offset) else { return u32::try_from(self.first_line).ok() };
        u32::try_from(self.position(offset)?.line).ok()
    }

    /// Lines and columns of the instruction at `byte_offset`; the formats before 3.11 know no columns, and their
    /// `end_line` is the line.
    pub fn location_of(&self, byte_offset: i32) -> Option<Location> {
        let position = match u32::try_from(byte_offset) {
            Ok(offset) => self.position(offset)?,
            Err(_) => Position::of_line(self.first_line),
        };
        let line = u32::try_from(position.line).ok()?;
        Some(Location {
            line,
            end_line: u32::try_from(position.end_line).unwrap_or(line),
            column: u32::try_from(position.column).ok(),
            end_column: u32::try_from(position.end_column).ok(),
        })
    }

    fn position(&self, offset: u32) -> Option<Position> {
        if offset >= self.end {
            return None;
        }
        let after = self.ranges.partition_point(|range| range.start <= offset);
        self.ranges.get(after.checked_sub(1)?).map(|range| range.position)
    }
}

/// Collects ranges in order.
struct Builder {
    ranges: Vec<Range>,
    /// Where the next range begins.
    offset: u32,
}

impl Builder {
    /// Adds `length` bytes of code; neighbours of one position become one range.
    fn push(&mut self, length: u32, position: Position) {
        if length > 0 && self.ranges.last().is_none_or(|last| last.position != position) {
            match self.ranges.len().cmp(&MOST_RANGES) {
                Ordering::Less => self.ranges.push(Range { start: self.offset, position }),
                Ordering::Equal => self.ranges.push(Range { start: self.offset, position: Position::NONE }),
                Ordering::Greater => {}
            }
        }
        self.offset = self.offset.saturating_add(length);
    }

    /// `co_lnotab` (Objects/lnotab_notes.txt up to 3.9): pairs of a byte step and a line step, both taken before the
    /// next range.
    fn lnotab(&mut self, table: &[u8], first_line: i32, line_step: impl Fn(u8) -> i32) {
        let mut line = first_line;
        let (pairs, _) = table.as_chunks::<2>();
        for [bytes, lines] in pairs {
            self.push(u32::from(*bytes), Position::of_line(line));
            line = line.saturating_add(line_step(*lines));
        }
        // What follows the last step lasts to the end of the code, whose length the table does not know.
        self.push(u32::MAX, Position::of_line(line));
    }

    /// `co_linetable` of 3.10 (PEP 626): pairs of the bytes of a range and the line step that is taken for it.
    fn pairs(&mut self, table: &[u8], first_line: i32) {
        const NO_LINE: i8 = -128;
        let mut line = first_line;
        let (pairs, _) = table.as_chunks::<2>();
        for [bytes, step] in pairs {
            let step = step.cast_signed();
            let position = if step == NO_LINE {
                Position::NONE
            } else {
                line = line.saturating_add(i32::from(step));
                Position::of_line(line)
            };
            self.push(u32::from(*bytes), position);
        }
    }

    /// `co_linetable` of 3.11+ (PEP 657; Objects/locations.md): an entry begins with a byte of bit 7 set, a kind in
    /// bits 3–6 and the number of 2-byte code units, less one, in bits 0–2.
    fn locations(&mut self, table: &[u8], first_line: i32) {
        let mut line = first_line;
        let mut bytes = Entries { bytes: table };
        while let Some((kind, units)) = bytes.next_entry() {
            let position = match kind {
                // The line stays, and both columns are below 128.
                0..=9 => {
                    let second = bytes.next();
                    let column = i32::from(kind) << 3 | i32::from((second >> 4) & 7);
                    Position { line, end_line: line, column, end_column: column + i32::from(second & 15) }
                }
                // The line grows by 0, 1 or 2.
                10..=12 => {
                    line = line.saturating_add(i32::from(kind) - 10);
                    let (column, end_column) = (i32::from(bytes.next()), i32::from(bytes.next()));
                    Position { line, end_line: line, column, end_column }
                }
                // A line without columns.
                13 => {
                    line = line.saturating_add(bytes.signed());
                    Position::of_line(line)
                }
                // Everything in full; a column is one more than it is, 0 is none.
                14 => {
                    line = line.saturating_add(bytes.signed());
                    let end_line = line.saturating_add(bytes.unsigned());
                    let column = bytes.unsigned().wrapping_sub(1);
                    let end_column = bytes.unsigned().wrapping_sub(1);
                    Position { line, end_line, column, end_column }
                }
                _ => Position::NONE,
            };
            self.push(u32::from(units) * 2, position);
        }
    }
}

/// The bytes of a location table that are not read yet. Past the end it reads zeros; only [`Entries::next_entry`] ends.
struct Entries<'table> {
    bytes: &'table [u8],
}

impl Entries<'_> {
    /// Kind and code units of the next entry. Bytes that do not begin an entry are skipped.
    fn next_entry(&mut self) -> Option<(u8, u8)> {
        while let Some((first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            if first & 0x80 != 0 {
                return Some(((first >> 3) & 15, (first & 7) + 1));
            }
        }
        None
    }

    /// A byte that belongs to the entry.
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// Six bits a byte, the lowest first; bit 6 says that more follow. What does not fit into 32 bits is lost.
    fn unsigned(&mut self) -> i32 {
        let mut value = 0_u32;
        let mut shift = 0;
        loop {
            let byte = self.next();
            value |= u32::from(byte & 63).checked_shl(shift).unwrap_or(0);
            shift += 6;
            // Bit 7 begins the next entry: a number that runs into it was cut off.
            if byte & 0x40 == 0 || self.bytes.is_empty() || shift > 30 {
                return value.cast_signed();
            }
        }
    }

    /// As [`Entries::unsigned`], with the sign in the lowest bit.
    fn signed(&mut self) -> i32 {
        let value = self.unsigned().cast_unsigned();
        let magnitude = (value >> 1).cast_signed();
        if value & 1 == 0 { magnitude } else { -magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::test_support::{Interpreter, Random};

    const FORMATS: [LineTableFormat; 4] =
        [LineTableFormat::LnotabUnsigned, LineTableFormat::Lnotab, LineTableFormat::Pairs, LineTableFormat::Locations];

    /// Prints, for every code object of a part of the standard library and of a source with extreme steps: first line,
    /// length of the code, table in hexadecimal, and the position of every instruction.
    const PROGRAM: &str = r#"
from __future__ import print_function
import binascii, dis, io, os, sys, types
names = ['argparse.py', 'ast.py', 'difflib.py', 'decimal.py', 'inspect.py', 'threading.py', 'asyncio/base_events.py',
         'unittest/mock.py']
folder = os.path.dirname(os.__file__)
paths = [os.path.join(folder, name) for name in names]
sources = [io.open(path, 'rb').read() for path in paths if os.path.exists(path)]
sources.append(b'x = 1\n' + b'\n' * 70000 + b'y = (x +\n' + b'\n' * 300 + b'x)\n')
sources.append(b'def f(a):\n    return (' + b'a +\n' * 400 + b'a)\nz = [' + b'f(1), ' * 700 + b']\n')
sources.append(b'def g(a):\n    return a(\n' + b'\n' * 200 + b' ' * 300 + b'b=a(1),\n\n c=2)\n')
sources.append(b'with x:\n  try:\n    y()\n  finally:\n    while z: pass\n' * 9)

def positions(code):
    length = len(code.co_code)
    if hasattr(code, 'co_positions'):
        return [','.join(str(-1 if n is None else n) for n in position) for position in code.co_positions()]
    lines = {}
    if hasattr(code, 'co_lines'):
        for start, end, line in code.co_lines():
            lines.update((offset, -1 if line is None else line) for offset in range(start, end))
    else:
        starts = dict(dis.findlinestarts(code))
        line = -1
        for offset in range(length):
            line = starts.get(offset, line)
            lines[offset] = line
    step = 1 if sys.version_info < (3,) else 2
    return [str(lines.get(offset, -1)) for offset in range(0, length, step)]

def walk(code):
    table = code.co_linetable if hasattr(code, 'co_linetable') else code.co_lnotab
    print(code.co_firstlineno, len(code.co_code), 'x' + binascii.hexlify(table).decode(), *positions(code))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            walk(constant)

for source in sources:
    walk(compile(source, 'source', 'exec', 0, True))
"#;

    fn bytes_of(hexadecimal: &str) -> Vec<u8> {
        let digits = hexadecimal.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn every_instruction_has_the_line_that_the_interpreter_says() {
        for interpreter in Interpreter::all() {
            let (format, step) = match interpreter.version {
                (2, _) => (LineTableFormat::LnotabUnsigned, 1),
                (3, ..10) => (LineTableFormat::Lnotab, 2),
                (3, 10) => (LineTableFormat::Pairs, 2),
                _ => (LineTableFormat::Locations, 2),
            };
            let output = interpreter.output_of(PROGRAM);
            let mut instructions = 0;
            for code in output.lines() {
                let mut words = code.split(' ');
                let first_line: i32 = words.next().unwrap().parse().unwrap();
                let length: u32 = words.next().unwrap().parse().unwrap();
                let bytes = bytes_of(&words.next().unwrap()[1..]);
                let table = LineTable::decode(format, &bytes, first_line, Some(length));
                assert_eq!(table.line_of(-1), u32::try_from(first_line).ok());
                assert_eq!(table.line_of(length.cast_signed()), None);
                for (offset, expected) in (0..).step_by(step).zip(words) {
                    let location = table.location_of(offset);
                    let found = match (format, location) {
                        (LineTableFormat::Locations, None) => "-1,-1,-1,-1".to_owned(),
                        (LineTableFormat::Locations, Some(location)) => format!(
                            "{},{},{},{}",
                            location.line,
                            location.end_line,
                            location.column.map_or(-1, u32::cast_signed),
                            location.end_column.map_or(-1, u32::cast_signed)
                        ),
                        (_, location) => location.map_or(-1, |location| location.line.cast_signed()).to_string(),
                    };
                    assert_eq!(found, expected, "{interpreter}: offset {offset} of code at line {first_line}");
                    assert_eq!(table.line_of(offset), location.map(|location| location.line));
                    instructions += 1;
                }
            }
            assert!(instructions > 10_000, "{interpreter} printed {instructions} instructions");
        }
    }

    #[test]
    fn any_bytes_give_some_table() {
        let mut random = Random::new(1);
        for round in 0..20_000_u32 {
            let length = random.below(40);
            let table = random.bytes(length);
            let first_line = [1, 0, -1, i32::MAX, i32::MIN][random.below(5)];
            for format in FORMATS {
                let code_length = (round % 2 == 0).then_some(round);
                let decoded = LineTable::decode(format, &table, first_line, code_length);
                assert!(decoded.ranges.len() <= table.len() + 1);
                assert!(decoded.ranges.is_sorted_by_key(|range| range.start), "{table:?}");
                for offset in [i32::MIN, -1, 0, 1, 7, 300, i32::MAX] {
                    let location = decoded.location_of(offset);
                    assert_eq!(location.map(|location| location.line), decoded.line_of(offset));
                }
            }
        }
    }

    #[test]
    fn a_table_that_was_cut_off_keeps_its_beginning() {
        let whole = [0x80, 0x12, 0xE9, 3, 0xF1, 0x41, 2, 0, 1, 2];
        let lines = |table: &[u8]| -> Vec<_> {
            let table = LineTable::decode(LineTableFormat::Locations, table, 5, None);
            (0..8).step_by(2).map(|offset| table.line_of(offset)).collect()
        };
        assert_eq!(lines(&whole[..2])[0], Some(5));
        assert_eq!(lines(&whole[..4])[..3], lines(&whole)[..3]);
        assert_eq!(lines(&[]), [None; 4]);
    }
}
