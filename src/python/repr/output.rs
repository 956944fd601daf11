//! Text that stays on one line, in bounds and harmless to a terminal, whatever the target puts into it.

use std::fmt::Write as _;

/// What a value is written to. Once it is full, all that follows is dropped.
#[derive(Debug)]
pub(super) struct Output {
    text: String,
    /// Characters that still fit.
    left: usize,
    full: bool,
}

impl Output {
    /// Room for `length` characters.
    pub(super) fn new(length: usize) -> Self {
        Self { text: String::new(), left: length, full: false }
    }

    /// Whether something did not fit.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// How many characters still fit.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The text, with `…` at its end where it was cut.
    pub(super) fn finish(mut self) -> String {
        if self.full {
            self.text.push('…');
        }
        self.text
    }

    /// Text of ours, or of the target: what is not printable is escaped.
    pub(super) fn plain(&mut self, text: &str) {
        for character in text.chars() {
            if is_printable(character) { self.push(character) } else { self.escaped(u32::from(character)) }
        }
    }

    /// `text` as a Python string literal without prefix.
    pub(super) fn quoted(&mut self, text: &str) {
        self.literal(text.chars().map(u32::from), true);
    }

    /// `points` as a Python string literal without prefix: in single quotes unless those are in it and double ones are
    /// not. `unicode` says whether a printable character above ASCII is written as it is.
    pub(super) fn literal(&mut self, points: impl Iterator<Item = u32> + Clone, unicode: bool) {
        let has = |quote: char| points.clone().any(|point| point == u32::from(quote));
        let quote = if has('\'') && !has('"') { '"' } else { '\'' };
        self.in_quotes(quote, &[quote, '\\'], points, unicode);
    }

    fn in_quotes(&mut self, quote: char, escaped: &[char], points: impl Iterator<Item = u32>, unicode: bool) {
        self.push(quote);
        for point in points {
            match char::from_u32(point) {
                Some(character) if escaped.contains(&character) => {
                    self.push('\\');
                    self.push(character);
                }
                Some('\n') => self.plain("\\n"),
                Some('\r') => self.plain("\\r"),
                Some('\t') => self.plain("\\t"),
                Some(character) if (character.is_ascii() || unicode) && is_printable(character) => self.push(character),
                _ => self.escaped(point),
            }
            if self.full {
                return;
            }
        }
        self.push(quote);
    }

    /// Bytes as the inside of a bytes literal, quotes included.
    pub(super) fn bytes_literal(&mut self, bytes: &[u8]) {
        self.literal(bytes.iter().copied().map(u32::from), false);
    }

    /// As [`Output::bytes_literal`] for a `bytearray` up to 3.14, which escapes a single quote inside of double ones
    /// too.
    pub(super) fn byte_array_literal(&mut self, bytes: &[u8]) {
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
        self.in_quotes(quote, &['\'', '\\'], bytes.iter().copied().map(u32::from), false);
    }

    /// The shortest of `\x`, `\u`, `\U`.
    fn escaped(&mut self, point: u32) {
        let mut escape = String::new();
        let _ = match point {
            0..=0xFF => write!(escape, "\\x{point:02x}"),
            0x100..=0xFFFF => write!(escape, "\\u{point:04x}"),
            _ => write!(escape, "\\U{point:08x}"),
        };
        for character in escape.chars() {
            self.push(character);
        }
    }

    fn push(&mut self, character: char) {
        if self.left == 0 {
            self.full = true;
        }
        if !self.full {
            self.text.push(character);
            self.left -= 1;
        }
    }
}

/// Whether Python's `str.isprintable` holds for the character: the general categories are not those of control, format,
/// surrogate, private use, unassigned, or of a separator other than the space. Rust's `escape_debug` goes by the same
/// categories, for a character that is not the first of a text. A character newer than the target's Python but known to
/// us counts as printable.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    let mut bytes = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut bytes[1..]).len();
    str::from_utf8(&bytes[..=length]).is_ok_and(|text| text.escape_debug().nth(1) == Some(character))
}
