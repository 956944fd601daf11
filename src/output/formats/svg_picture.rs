//! What the pictures have in common: an SVG file with a head that stays in sight, frames below it, and a script that
//! zooms, moves and searches.
//!
//! A file needs nothing but itself. Without a script it is the same picture, 1200 pixels wide, with its hover texts;
//! the script fits it to the window and adds the controls. Colours follow the viewer's wish for light or dark.

use std::borrow::Cow;
use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output::color::{MEANINGS, middle};
use crate::output::place::Origin;
use crate::output::text::xml;

/// The height of a frame with the gap to the next row, in pixels.
pub(super) const ROW: u64 = 16;
/// The picture's width until it is fitted to the window, and the border left and right, in pixels.
const WIDTH: u64 = 1200;
const BORDER: u64 = 10;
const INNER: u64 = WIDTH - 2 * BORDER;
/// The heights of the head and of an axis, in pixels.
const HEAD: u64 = 94;
const AXIS: u64 = 24;
/// The width of a letter of 12 pixels' height, in hundredths of a pixel.
const LETTER_HUNDREDTHS: u64 = 730;
/// Of a name, at least so many letters are shown, or none.
const LEAST_LETTERS: u128 = 3;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Width is time.
    Graph,
    /// As [`Kind::Graph`], coloured by what changed.
    Difference,
    /// Time runs from left to right, and there is an axis.
    Chart,
}

/// A picture as a whole.
pub(super) struct Picture<'text> {
    pub(super) kind: Kind,
    pub(super) title: &'text str,
    pub(super) subtitle: &'text str,
    pub(super) legend: Vec<Swatch>,
    /// Where the picture ends at the right, in the unit of [`Frame::start`]: µs.
    pub(super) end: u64,
    /// What a thousand of those are called.
    pub(super) unit: &'static str,
    /// The height of everything below the head, in pixels.
    pub(super) height: u64,
    /// Callers are below what they call, so that one looks at the lower end first.
    pub(super) is_upward: bool,
}

/// A colour with its meaning.
pub(super) struct Swatch {
    pub(super) color: [u8; 3],
    pub(super) meaning: &'static str,
    /// Drawn as what is gone.
    pub(super) is_gone: bool,
}

/// A rectangle with a name.
pub(super) struct Frame<'text> {
    /// What it is called, [`printable`](crate::output::printable).
    pub(super) name: &'text str,
    /// What there is to say of it, without parentheses.
    pub(super) about: &'text str,
    /// Where it begins and how wide it is, in the unit of [`Picture::end`].
    pub(super) start: u64,
    pub(super) length: u64,
    /// Its upper edge below the head, in pixels.
    pub(super) y: u64,
    pub(super) color: [u8; 3],
    /// Its colour when own times are shown, where that is another question.
    pub(super) own_color: Option<[u8; 3]>,
    /// It is no more.
    pub(super) is_gone: bool,
}

impl Picture<'_> {
    /// The height of the head, in pixels.
    fn top(&self) -> u64 {
        HEAD + if self.kind == Kind::Chart { AXIS } else { 0 }
    }

    /// Writes what is before the frames.
    pub(super) fn write_begin(&self, writer: &mut impl Write) -> io::Result<()> {
        let height = self.top() + self.height + BORDER;
        let kind = match self.kind {
            Kind::Graph => "graph",
            Kind::Difference => "diff",
            Kind::Chart => "chart",
        };
        write_root(writer, height, self.title)?;
        writeln!(
            writer,
            "<script type=\"text/ecmascript\"><![CDATA[{}]]></script>\n\
             <svg id=\"chart\" x=\"{BORDER}\" width=\"{INNER}\" data-kind=\"{kind}\" data-end=\"{}\" \
             data-unit=\"{}\" data-top=\"{}\"{}>",
            include_str!("svg_picture.js"),
            self.end,
            self.unit,
            self.top(),
            if self.is_upward { " data-upward=\"1\"" } else { "" },
        )?;
        if self.kind == Kind::Chart {
            writeln!(writer, "<g id=\"ticks\">")?;
            for tenth in 0..=10 {
                let x = tenth * 10;
                let top = self.top();
                writeln!(
                    writer,
                    "<line class=\"tick\" x1=\"{x}%\" x2=\"{x}%\" y1=\"{top}\" y2=\"{height}\" stroke=\"#ddd\"/>"
                )?;
            }
            writeln!(writer, "</g>")?;
        }
        Ok(())
    }

    /// Writes a frame.
    pub(super) fn write_frame(&self, writer: &mut impl Write, frame: &Frame<'_>) -> io::Result<()> {
        let percent = |length: u64| length as f64 * 100.0 / self.end.max(1) as f64;
        let (x, y) = (percent(frame.start), self.top() + frame.y);
        let name = xml(frame.name);
        write!(
            writer,
            "<g class=\"frame{}\" data-x=\"{}\" data-w=\"{}\"",
            if frame.is_gone { " gone" } else { "" },
            frame.start,
            frame.length,
        )?;
        if let Some(own) = frame.own_color {
            write!(writer, " data-own=\"{}\"", hex(own))?;
        }
        write!(
            writer,
            "><title>{name} ({})</title><rect x=\"{x:.4}%\" y=\"{y}\" width=\"{:.4}%\" height=\"{}\" fill=\"{}\"/>",
            xml(frame.about),
            percent(frame.length),
            ROW - 1,
            hex(frame.color),
        )?;
        // The script knows the window's width, and does this again.
        let pixels = u128::from(frame.length) * u128::from(INNER) / u128::from(self.end.max(1));
        let letters = pixels.saturating_sub(6) * 100 / u128::from(LETTER_HUNDREDTHS);
        if letters >= LEAST_LETTERS {
            let shown = xml(&clipped(frame.name, usize::try_from(letters).unwrap_or(usize::MAX)));
            write!(writer, "<text x=\"{x:.4}%\" dx=\"3\" y=\"{}\">{shown}</text>", y + 12)?;
        }
        writeln!(writer, "</g>")
    }

    /// Writes a line of text between frames, `y` pixels below the head.
    pub(super) fn write_heading(&self, writer: &mut impl Write, y: u64, text: &str) -> io::Result<()> {
        writeln!(writer, "<text class=\"lane\" x=\"0\" y=\"{}\">{}</text>", self.top() + y, xml(text))
    }

    /// Writes what comes after the frames. The head is drawn over them, so it is last.
    pub(super) fn write_end(&self, writer: &mut impl Write) -> io::Result<()> {
        let right = WIDTH - BORDER;
        writeln!(
            writer,
            "<rect id=\"selected\" x=\"0\" y=\"{top}\" width=\"0\" height=\"100%\" pointer-events=\"none\"/>\n\
             </svg>\n<g id=\"head\">\n\
             <rect class=\"back\" width=\"100%\" height=\"{}\" fill=\"#fcfcfa\"/>\n\
             <text id=\"title\" x=\"{BORDER}\" y=\"24\">{}</text>\n\
             <text id=\"subtitle\" x=\"{BORDER}\" y=\"44\">{}</text>",
            self.top() - 2,
            xml(self.title),
            xml(self.subtitle),
            top = self.top(),
        )?;
        let mut x = BORDER;
        for swatch in &self.legend {
            let class = if swatch.is_gone { "swatch gone" } else { "swatch" };
            writeln!(
                writer,
                "<rect class=\"{class}\" x=\"{x}\" y=\"54\" width=\"12\" height=\"12\" fill=\"{}\"/>\
                 <text class=\"note\" x=\"{}\" y=\"64\">{}</text>",
                hex(swatch.color),
                x + 17,
                xml(swatch.meaning),
            )?;
            x += 17 + text_width(swatch.meaning) + 16;
        }
        writeln!(
            writer,
            "<text id=\"details\" x=\"{BORDER}\" y=\"84\"> </text>\n\
             <text id=\"matched\" x=\"{right}\" y=\"84\"> </text>"
        )?;
        if self.kind == Kind::Chart {
            self.write_axis(writer)?;
        }
        writeln!(writer, "</g>\n</svg>")
    }

    fn write_axis(&self, writer: &mut impl Write) -> io::Result<()> {
        let y = HEAD + 14;
        writeln!(
            writer,
            "<g id=\"axis\"><rect class=\"back\" y=\"{HEAD}\" width=\"100%\" height=\"{}\" fill=\"#fcfcfa\"/>\n\
             <g id=\"times\" data-y=\"{y}\">",
            AXIS - 2
        )?;
        for tenth in 0..=10u64 {
            let anchor = ["start", "middle", "end"][usize::from(tenth > 0) + usize::from(tenth == 10)];
            writeln!(
                writer,
                "<text class=\"time\" x=\"{}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
                BORDER + INNER * tenth / 10,
                time(self.end / 10 * tenth),
            )?;
        }
        writeln!(writer, "</g></g>")
    }
}

/// The beginning of a file, up to what is drawn.
fn write_root(writer: &mut impl Write, height: u64, title: &str) -> io::Result<()> {
    writeln!(
        writer,
        "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"monospace\" font-size=\"12\">\n\
         <title>{}</title>\n\
         <style type=\"text/css\">{}</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\" fill=\"#fcfcfa\"/>",
        xml(title),
        include_str!("svg_picture.css"),
    )
}

/// Writes a picture that only says something.
pub(super) fn write_message(title: &str, message: &str, mut writer: impl Write) -> io::Result<()> {
    write_root(&mut writer, HEAD, title)?;
    let title = xml(title);
    writeln!(
        writer,
        "<text id=\"title\" x=\"{BORDER}\" y=\"24\">{title}</text>\n\
         <text x=\"{BORDER}\" y=\"54\">{message}</text>\n</svg>"
    )?;
    writer.flush()
}

/// The meanings of the colours of these origins.
pub(super) fn legend(origins: impl Iterator<Item = Origin>) -> Vec<Swatch> {
    let seen: std::collections::HashSet<Origin> = origins.collect();
    let shown = MEANINGS.into_iter().filter(|(origin, _)| seen.contains(origin));
    shown.map(|(origin, meaning)| Swatch { color: middle(origin), meaning, is_gone: false }).collect()
}

/// A length of time with its unit.
pub(super) fn time(us: u64) -> String {
    match us {
        0 => "0 s".to_owned(),
        1..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.2} ms", us as f64 / 1e3),
        _ => format!("{:.3} s", us as f64 / 1e6),
    }
}

/// As much of a text as fits.
fn clipped(text: &str, letters: usize) -> Cow<'_, str> {
    if text.width() <= letters {
        return Cow::Borrowed(text);
    }
    let mut width = 0;
    let kept = text.chars().take_while(|character| {
        width += character.width().unwrap_or(0);
        width < letters
    });
    Cow::Owned(kept.collect::<String>() + "…")
}

/// The width of a text in pixels, about.
fn text_width(text: &str) -> u64 {
    text.width() as u64 * LETTER_HUNDREDTHS / 100
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::thousands;

    #[test]
    fn texts_are_short_and_amounts_exact_enough() {
        let shown = [0, 1, 40, 1_500, 99_960, 100_400, 2_000, 1_234_567_800].map(thousands);
        assert_eq!(shown, ["0", "0.0", "0.0", "1.5", "100.0", "100", "2", "1,234,568"]);
        let cut = [8, 7, 5, 3].map(|letters| clipped("añ漢字 ef", letters));
        assert_eq!(cut, ["añ漢字 …", "añ漢字…", "añ漢…", "añ…"]);
        assert_eq!(clipped("añ漢字 ef", 9), "añ漢字 ef");
        assert_eq!([0, 999, 1_500, 61_000_000].map(time), ["0 s", "999 µs", "1.50 ms", "61.000 s"]);
    }
}
