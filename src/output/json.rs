//! JSON that a terminal can show: what serde_json leaves as it is though no terminal should get it is written as an
//! escape. The values are the same.

use std::io::{self, Write};

use serde::Serialize;

use super::text::needs_escape;

/// Writes `value` and an end of line; `pretty` on many lines.
///
/// # Errors
/// When `writer` fails.
pub(crate) fn write_safe_json<T: Serialize + ?Sized>(
    value: &T,
    pretty: bool,
    writer: &mut dyn Write,
) -> io::Result<()> {
    let escaping = Escaping(writer);
    if pretty { serde_json::to_writer_pretty(escaping, value) } else { serde_json::to_writer(escaping, value) }?;
    writeln!(writer)
}

/// Escapes what is written as JSON, as it comes: the whole may be larger than what it is made of.
struct Escaping<'writer>(&'writer mut dyn Write);

impl Write for Escaping<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // serde_json writes whole pieces of strings.
        let mut rest = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        // Outside of strings all is ASCII, and in them serde_json has escaped what is below a space.
        while let Some((index, character)) =
            rest.char_indices().find(|(_, character)| *character >= '\u{7f}' && needs_escape(*character))
        {
            self.0.write_all(&rest.as_bytes()[..index])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = &rest[index + character.len_utf8()..];
        }
        self.0.write_all(rest.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_the_value_stays() {
        let value = ["é 🐍 \u{9b}31m\u{7f}", "\u{202e}\u{61c}\u{1fffe}\n\u{1b}[0m"];
        for pretty in [false, true] {
            let mut bytes = vec![];
            write_safe_json(&value, pretty, &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains("é 🐍 \\u009b31m\\u007f"), "{text}");
            assert!(text.contains("\\u202e\\u061c\\ud83f\\udffe\\n\\u001b[0m"), "{text}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
        }
    }
}
