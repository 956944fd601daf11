//! Text: `str` of all kinds, and in 2.7 both the byte string `str` and `unicode`.
//!
//! Python text is a sequence of code points and may hold lone surrogates, which Rust's cannot: file names that are not
//! UTF-8 have them. Here text for people is a `String` in which a lone surrogate is written as Python's
//! `backslashreplace` writes it (`\udc80`), and a byte of a 2.7 `str` that is not UTF-8 as `\x80`; whoever needs the
//! code points themselves asks for those.

use std::fmt::Write as _;

use super::{ObjectReader, TypeFlags, at_most, implausible};
use crate::memory::ReadError;
use crate::python::layout::TextFormat;

/// Text of the target, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Text {
    /// The characters; see the module on those that Rust does not have. Control characters are as they are: escape
    /// before printing.
    pub text: String,
    /// Whether the target's text is longer than the limit.
    pub truncated: bool,
}

/// Code points of the target's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CodePoints {
    pub(crate) points: Vec<u32>,
    pub(crate) truncated: bool,
}

/// `points` as text, with what is no character written as an escape.
pub(crate) fn escape_lone_surrogates(points: impl IntoIterator<Item = u32>) -> String {
    let mut text = String::new();
    for point in points {
        match char::from_u32(point) {
            Some(character) => text.push(character),
            None if point <= 0xFFFF => {
                let _ = write!(text, "\\u{point:04x}");
            }
            None => {
                let _ = write!(text, "\\U{point:08x}");
            }
        }
    }
    text
}

impl ObjectReader<'_> {
    /// The text of a `str` object (2.7: also of a `unicode`), cut after `limit` characters (2.7 `str`: bytes).
    ///
    /// # Errors
    /// When it cannot be read, or does not look like text.
    pub(crate) fn text(&self, object: u64, limit: usize) -> Result<Text, ReadError> {
        if matches!(self.layout.object.text, TextFormat::Python2 { .. }) {
            let flags = self.flags_of(object)?;
            if flags.contains(TypeFlags::BYTES) {
                let (bytes, size) = self.bytes(object, limit)?;
                let truncated = size > bytes.len() as u64;
                return Ok(Text { text: decode_utf8(&bytes, truncated), truncated });
            }
            if !flags.contains(TypeFlags::TEXT) {
                return Err(ReadError::implausible(object));
            }
        }
        let CodePoints { points, truncated } = self.code_points(object, limit)?;
        Ok(Text { text: escape_lone_surrogates(points), truncated })
    }

    /// The code points of a `str` (2.7: `unicode`), `limit` at most.
    pub(crate) fn code_points(&self, object: u64, limit: usize) -> Result<CodePoints, ReadError> {
        match self.layout.object.text {
            TextFormat::Python2 { length, data } => self.python2_code_points(object, length, data, limit),
            TextFormat::Compact { .. } => self.compact_code_points(object, limit),
        }
    }

    fn compact_code_points(&self, object: u64, limit: usize) -> Result<CodePoints, ReadError> {
        let TextFormat::Compact { length, state, bits, ascii_size, compact_size, data, .. } = self.layout.object.text
        else {
            return Err(ReadError::implausible(object));
        };
        let size = u64::try_from(self.signed(object, length)?).map_err(|_| ReadError::implausible(object))?;
        let state = self.int(object, state)?.cast_unsigned();
        let is_set = |bit: u8| state.checked_shr(u32::from(bit)).unwrap_or(0) & 1 == 1;
        let width = match state.checked_shr(u32::from(bits.kind)).unwrap_or(0) & 7 {
            1 => 1,
            2 => 2,
            4 => 4,
            // A legacy string that nobody has looked at yet has kind 0; its text is elsewhere, in another encoding.
            _ => return Err(ReadError::implausible(object)),
        };
        let start = match (is_set(bits.compact), is_set(bits.ascii)) {
            (true, true) => object.wrapping_add(u64::from(ascii_size)),
            (true, false) => object.wrapping_add(u64::from(compact_size)),
            (false, _) => self.pointer(object, data)?,
        };
        let wanted = at_most(size, limit);
        let bytes = wanted.checked_mul(width).ok_or_else(|| implausible(object, wanted))?;
        let bytes = self.memory.read_bytes(start, bytes as u64, bytes)?;
        let points: Vec<u32> = match width {
            1 => bytes.into_iter().map(u32::from).collect(),
            2 => units_of_2(&bytes).map(u32::from).collect(),
            _ => units_of_4(&bytes).collect(),
        };
        if points.iter().any(|point| *point > 0x10_FFFF) {
            return Err(ReadError::implausible(object));
        }
        Ok(CodePoints { truncated: size > points.len() as u64, points })
    }

    /// 2.7 `unicode` has 2 or 4 bytes a unit, which only the build knows. The units are followed by one of zero and no
    /// character is above 0x10FFFF; narrow text read as wide is above that in nearly every unit and has anything at all
    /// where the zero should be.
    fn python2_code_points(&self, object: u64, length: u32, data: u32, limit: usize) -> Result<CodePoints, ReadError> {
        let size = u64::try_from(self.signed(object, length)?).map_err(|_| ReadError::implausible(object))?;
        let start = self.pointer(object, data)?;
        let wanted = at_most(size, limit);
        let truncated = size > wanted as u64;
        let with_end = if truncated { wanted } else { wanted + 1 };
        let wide_length = with_end.checked_mul(4).ok_or_else(|| implausible(object, wanted))?;
        // Of a narrow build not all of this need be mapped.
        if let Ok(bytes) = self.memory.read_bytes(start, wide_length as u64, wide_length) {
            let mut points: Vec<u32> = units_of_4(&bytes).collect();
            let ends_well = truncated || points.pop() == Some(0);
            if ends_well && points.iter().all(|point| *point <= 0x10_FFFF) {
                return Ok(CodePoints { points, truncated });
            }
        }
        let bytes = self.memory.read_bytes(start, wanted as u64 * 2, wanted * 2)?;
        let mut points = Vec::with_capacity(wanted);
        for unit in char::decode_utf16(units_of_2(&bytes)) {
            points.push(unit.map_or_else(|lone| u32::from(lone.unpaired_surrogate()), u32::from));
        }
        Ok(CodePoints { points, truncated })
    }
}

/// UTF-8 with `\xNN` for what is not; where the text was cut, the beginning of a character at the end is dropped.
fn decode_utf8(bytes: &[u8], truncated: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        if truncated && chunks.peek().is_none() {
            break;
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn units_of_2(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let (chunks, _) = bytes.as_chunks::<2>();
    chunks.iter().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn units_of_4(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| u32::from_ne_bytes(*chunk))
}
