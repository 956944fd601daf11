//! Texts made to fit in the columns that there are, so that what tells most about a thing stays to be seen. All of them
//! are escaped already.

use std::borrow::Cow;
use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands for what was left out.
const LEFT_OUT: char = '…';

/// Whether `text` fits in `width` columns.
pub(super) fn fits(text: &str, width: usize) -> bool {
    // No character is wider than it has bytes. Names can be long; only as much as may fit is measured.
    text.len() <= width || text.len() <= width.saturating_mul(4) && text.width() <= width
}

/// The beginning of `text` that fits in `width` columns.
pub(super) fn first_of(text: &str, width: usize) -> String {
    if fits(text, width) {
        return text.to_owned();
    }
    let mut used = 0;
    let mut end = text.len();
    for (at, character) in text.char_indices() {
        let next = used + character.width().unwrap_or(0);
        if next + 1 > width {
            end = at;
            break;
        }
        used = next;
    }
    if end == text.len() {
        return text.to_owned();
    }
    format!("{}{LEFT_OUT}", text[..end].trim_end_matches(LEFT_OUT))
}

/// The end of `text` that fits in `width` columns.
pub(super) fn last_of(text: &str, width: usize) -> String {
    let mut used = 0;
    let mut start = 0;
    for (at, character) in text.char_indices().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            start = at + character.len_utf8();
            break;
        }
    }
    text[start..].to_owned()
}

/// `text` from a column on. Of a wide character that begins before it a space is left.
pub(super) fn from_column(text: &str, column: usize) -> Cow<'_, str> {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        if used == column {
            return Cow::Borrowed(&text[at..]);
        }
        if used > column {
            return Cow::Owned(format!("{}{}", " ".repeat(used - column), &text[at..]));
        }
        used += character.width().unwrap_or(0);
    }
    Cow::Borrowed("")
}

/// A text in lines of so many columns, broken between words.
pub(super) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A path with as many of its last parts as fit in `width` columns, at least the last one.
pub(super) fn path(text: &str, width: usize) -> Cow<'_, str> {
    if fits(text, width) {
        return Cow::Borrowed(text);
    }
    // What stands for the folders takes one.
    let mut used = 1;
    let mut start = None;
    // A slash at the end belongs to the last part.
    for (at, character) in text.char_indices().rev() {
        used += character.width().unwrap_or(0);
        if used > width && start.is_some() {
            break;
        }
        if character == '/' && at + 1 < text.len() {
            start = Some(at);
        }
    }
    match start {
        // A slash at the beginning takes as much room as what would stand for it.
        Some(at) if at > 0 => Cow::Owned(format!("{LEFT_OUT}{}", &text[at..])),
        _ => Cow::Borrowed(text),
    }
}

/// `name (file:line)` in `width` columns; of a long path the first folders are left out.
pub(super) fn place(name: &str, file: &str, line: u32, width: usize) -> String {
    if file.is_empty() {
        return first_of(name, width);
    }
    let after = if line == 0 { ")".to_owned() } else { format!(":{line})") };
    let whole = format!("{name} ({file}{after}");
    if fits(&whole, width) {
        return whole;
    }
    let room = if fits(name, width) { width.saturating_sub(name.width() + 2 + after.len()) } else { 0 };
    first_of(&format!("{name} ({}{after}", path(file, room)), width)
}

/// A command line in `width` columns. As far as needed the folders of its words are left out, then what stands between
/// the interpreter and the program that it runs, then the interpreter, and at last the end.
pub(super) fn command_line(text: &str, width: usize) -> String {
    if fits(text, width) {
        return text.to_owned();
    }
    let mut words: Vec<Cow<'_, str>> = text.split(' ').map(Cow::Borrowed).collect();
    let program = program(&words);
    // Behind `-c` is Python code; no word of that is a path, whatever is in it.
    let paths = if words[program.start].ends_with('c') && words[program.start].starts_with('-') {
        program.start
    } else {
        words.len()
    };
    let mut used = text.width();
    for (at, word) in words[..paths].iter_mut().enumerate() {
        if used <= width {
            break;
        }
        let is_path = at == 0 || program.contains(&at) || word.starts_with(['/', '.', '~', '-']);
        if let Some(short) = without_folders(word).filter(|_| is_path) {
            used = used + short.width() - word.width();
            *word = Cow::Owned(short);
        }
    }
    let before = if program.start == 0 { String::new() } else { words[..program.start].join(" ") + " " };
    let shown = words[program.clone()].join(" ");
    let rest = words[program.start..].join(" ");
    for head in [before.as_str(), &format!("{} {LEFT_OUT} ", words[0]), ""] {
        let needed = head.width() + shown.width();
        // What is cut at its end loses one more column.
        if needed < width || needed == width && shown == rest {
            return first_of(&format!("{head}{rest}"), width);
        }
        if program.start == 0 {
            break;
        }
    }
    format!("{LEFT_OUT}{}", last_of(&shown, width.saturating_sub(1)))
}

/// Which words of a command line say what runs: a script or `-m` and its module, where the first is Python; else the
/// first.
fn program(words: &[Cow<'_, str>]) -> Range<usize> {
    let first = words[0].rsplit('/').next().unwrap_or_default();
    let mut at = 1;
    while first.starts_with("python")
        && let Some(word) = words.get(at)
    {
        let letters = match word.strip_prefix('-') {
            Some(letters) if !letters.is_empty() => letters,
            // A script, or standard input.
            _ => return at..at + 1,
        };
        // Options whose value may be the next word, as the interpreter has them.
        let with_value = if letters.starts_with('-') { None } else { letters.find(['c', 'm', 'W', 'X']) };
        let is_last = with_value.is_some_and(|place| place + 1 == letters.len());
        match with_value.map(|place| letters.as_bytes()[place]) {
            Some(b'm') if is_last && at + 1 < words.len() => return at..at + 2,
            Some(b'm' | b'c') => return at..at + 1,
            _ => at += 1 + usize::from(is_last || letters == "-check-hash-based-pycs"),
        }
    }
    0..1
}

/// A word that is a path, or an option with one behind its `=`, without the folders; `None` where there are none.
fn without_folders(word: &str) -> Option<String> {
    let option = if word.starts_with('-') { word.find('=').map_or(0, |at| at + 1) } else { 0 };
    let (option, path) = word.split_at(option);
    let slash = path.trim_end_matches('/').rfind('/').filter(|at| *at > 0)?;
    (!path.contains("://")).then(|| format!("{option}{LEFT_OUT}{}", &path[slash..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_width_not_by_characters() {
        assert_eq!(first_of("abcdef", 6), "abcdef");
        assert_eq!(first_of("abcdef", 4), "abc…");
        assert_eq!(first_of("日本語テキスト", 6), "日本…");
        assert_eq!(first_of("日本語", 5), "日本…");
        assert_eq!(first_of("x", 0), "…");
        assert_eq!(last_of("日本語", 4), "本語");
        assert_eq!(last_of("abc", 10), "abc");
    }

    #[test]
    fn texts_are_moved_sideways_by_columns() {
        assert_eq!(from_column("abc", 0), "abc");
        assert_eq!(from_column("abc", 2), "c");
        assert_eq!(from_column("abc", 3), "");
        assert_eq!(from_column("日本語", 2), "本語");
        assert_eq!(from_column("日本語", 3), " 語");
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(lines("one two three", 7), ["one two", "three"]);
        assert_eq!(lines("one two three", 2), ["one", "two", "three"]);
        assert_eq!(lines("", 2), [""]);
    }

    #[test]
    fn paths_keep_their_ends() {
        for (width, expected) in
            [(15, "/srv/app/one.py"), (14, "…/app/one.py"), (12, "…/app/one.py"), (11, "…/one.py"), (3, "…/one.py")]
        {
            assert_eq!(path("/srv/app/one.py", width), expected, "{width}");
        }
        assert_eq!(path("/srv/写真/日本.py", 15), "…/写真/日本.py");
        assert_eq!(path("/srv/写真/日本.py", 13), "…/日本.py");
        assert_eq!(path("/srv/lib/", 8), "…/lib/");
        assert_eq!(path("one.py", 3), "one.py");
        assert_eq!(path("/one.py", 3), "/one.py");
        assert_eq!(path("", 0), "");
    }

    #[test]
    fn places_keep_the_name_the_file_and_the_line() {
        let place = |width| place("run", "/srv/app/one.py", 12, width);
        assert_eq!(place(24), "run (/srv/app/one.py:12)");
        assert_eq!(place(23), "run (…/app/one.py:12)");
        assert_eq!(place(17), "run (…/one.py:12)");
        assert_eq!(place(16), "run (…/one.py:1…");
        assert_eq!(place(2), "r…");
        assert_eq!(super::place("run", "", 0, 2), "r…");
        assert_eq!(super::place("run", "app.py", 0, 20), "run (app.py)");
        assert_eq!(super::place(&"x".repeat(4000), "/srv/app.py", 3, 5), "xxxx…");
    }

    #[test]
    fn a_command_line_that_does_not_fit_still_tells_what_runs() {
        let usual = "/opt/python/bin/python3.11 -X dev /srv/shop/tests/targets/shares.py wait /var/log/shares.txt";
        for (width, expected) in [
            (100, usual),
            (80, "…/python3.11 -X dev /srv/shop/tests/targets/shares.py wait /var/log/shares.txt"),
            (70, "…/python3.11 -X dev …/shares.py wait /var/log/shares.txt"),
            (54, "…/python3.11 -X dev …/shares.py wait …/shares.txt"),
            (40, "…/python3.11 -X dev …/shares.py wait …/…"),
            (31, "…/python3.11 … …/shares.py wai…"),
            (27, "…/python3.11 … …/shares.py…"),
            (26, "…/shares.py wait …/shares…"),
            (12, "…/shares.py…"),
            (11, "…/shares.py"),
            (6, "…es.py"),
            (1, "…"),
        ] {
            let fitted = command_line(usual, width);
            assert!(fitted.width() <= width, "{width}: {fitted}");
            assert_eq!(fitted, expected, "{width}");
        }
        for (text, width, expected) in [
            // A module, code, no program at all, and what is no Python.
            (
                "/usr/bin/python3 -um http.server --directory /srv/www 8000",
                40,
                "…/python3 -um http.server --directory …",
            ),
            (
                "/usr/bin/python3 -um http.server --directory=/srv/www/pages 80",
                51,
                "…/python3 -um http.server --directory=…/pages 80",
            ),
            ("/usr/bin/python3 -W error -m http.server", 20, "-m http.server"),
            (
                "/usr/bin/python3 -c print(1/2, \"/srv/x\", 'and more')",
                40,
                "…/python3 -c print(1/2, \"/srv/x\", 'and …",
            ),
            ("/usr/local/bin/python3 -i", 15, "…/python3 -i"),
            ("/usr/sbin/uwsgi --ini /etc/uwsgi/apps/shop.ini", 34, "…/uwsgi --ini …/shop.ini"),
            ("gunicorn: worker [shop.wsgi:application]", 20, "gunicorn: worker [s…"),
            ("/bin/sh -c cd /srv/shop && exec python3 serve.py", 30, "…/sh -c cd …/shop && exec pyt…"),
            // Wide characters, and an address that is no path.
            ("/usr/bin/python3 /home/写真/日本語.py 引数", 26, "…/python3 …/日本語.py 引数"),
            ("/usr/bin/python3 /home/写真/日本語.py 引数", 25, "…/python3 …/日本語.py 引…"),
            ("/usr/bin/python3 get.py https://example.org/a/b", 40, "…/python3 get.py https://example.org/a/b"),
            ("", 0, ""),
        ] {
            assert_eq!(command_line(text, width), expected);
        }
    }
}
