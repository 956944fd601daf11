//! Lines that end somewhere, whatever is in them.

use std::io::{self, Write};

/// Passes on what is written, of each line so many characters; `…` stands for the rest. Sequences of a terminal
/// (ESC to the letter that ends them) do not count and are all passed on, so that no colour stays on.
pub(super) struct LineLimit<'writer> {
    writer: &'writer mut dyn Write,
    /// Characters of a line, at most.
    limit: usize,
    /// Those that the current line has.
    length: usize,
    in_sequence: bool,
}

impl<'writer> LineLimit<'writer> {
    pub(super) fn new(writer: &'writer mut dyn Write, limit: usize) -> Self {
        Self { writer, limit, length: 0, in_sequence: false }
    }
}

impl Write for LineLimit<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let is_continued = byte & 0xC0 == 0x80;
            if *byte == b'\n' {
                if self.length > self.limit {
                    kept.extend_from_slice("…".as_bytes());
                }
                (self.length, self.in_sequence) = (0, false);
            } else if *byte == 0x1B || self.in_sequence {
                self.in_sequence = !byte.is_ascii_alphabetic();
                kept.push(*byte);
                continue;
            } else if !is_continued {
                self.length += 1;
            }
            if self.length <= self.limit {
                kept.push(*byte);
            }
        }
        self.writer.write_all(&kept)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(text: &str, limit: usize) -> String {
        let mut written = Vec::new();
        let mut writer = LineLimit::new(&mut written, limit);
        for byte in text.as_bytes() {
            writer.write_all(&[*byte]).unwrap();
        }
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn long_lines_are_cut_and_short_ones_are_not() {
        assert_eq!(limited("abc\n日本語\n\n", 3), "abc\n日本語\n\n");
        assert_eq!(limited("abcd\n日本語語\nx\n", 3), "abc…\n日本語…\nx\n");
        assert_eq!(limited("\u{1b}[31mabcd\u{1b}[0m\n", 3), "\u{1b}[31mabc\u{1b}[0m…\n");
        assert_eq!(limited("\u{1b}[31mabc\u{1b}[0m", 3), "\u{1b}[31mabc\u{1b}[0m");
    }
}
