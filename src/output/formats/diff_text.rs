//! The difference between two profiles as text, Markdown and JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::summary::Form;
use super::summary::fit::{Room, fitted};
use super::summary::markdown::{code, escaped};
use crate::output::changed_functions::{ChangedAmount, Difference};
use crate::output::json::write_safe_json;

/// Writes a difference.
///
/// # Errors
/// When `writer` fails.
pub(super) fn write(form: Form, difference: &Difference, mut writer: impl Write) -> io::Result<()> {
    match form {
        Form::Text => writer.write_all(fitted(|room| text(difference, room)).as_bytes())?,
        Form::Markdown => writer.write_all(fitted(|room| markdown(difference, room)).as_bytes())?,
        Form::Json => write_safe_json(difference, true, &mut writer)?,
    }
    writer.flush()
}

/// What has changed in words: the head of the list.
fn head(difference: &Difference, shown: usize) -> String {
    let Difference { changed_count, function_count, .. } = difference;
    let more = if shown < *changed_count { format!(", {shown} of them below") } else { String::new() };
    format!("{changed_count} of {function_count} functions have changed by more than the noise of sampling{more}")
}

/// Rows that fit in a list of lines of two.
fn rows(room: Room) -> usize {
    room.rows * 3 / 2
}

/// A sentence, for which there is more room than for a name.
fn whole(sentence: &str, room: Room) -> Cow<'_, str> {
    Room { characters: room.characters * 3, ..room }.cut(sentence)
}

/// `12.0 % → 14.5 %  +2.5`.
fn change(amount: ChangedAmount) -> [String; 3] {
    let [before, after] = amount.share.map(|share| format!("{:.1}", share * 100.0));
    let mark = if amount.is_significant { "" } else { "~" };
    [before, after, format!("{mark}{:+.1}", amount.points())]
}

fn text(difference: &Difference, room: Room) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}\n{}\n", room.cut(&difference.title), difference.about);
    let shown = difference.changed.len().min(rows(room));
    let _ = writeln!(out, "{}\n", head(difference, shown));
    if shown > 0 {
        let half = format!("{:>6} {:>6} {:>7}", "before", "after", "points");
        let _ = writeln!(out, "{half}   {half}\n{:>14} {:>22}          (shares in %; ~ may be noise)", "own", "total");
    }
    for function in difference.changed.iter().take(shown) {
        let [own, total] = [function.own, function.total].map(|amount| {
            let [before, after, points] = change(amount);
            format!("{before:>6} {after:>6} {points:>7}")
        });
        let _ = writeln!(out, "{own}   {total}  {}", room.cut(&function.label()));
    }
    for (at, check) in difference.checks.iter().enumerate() {
        let _ = writeln!(out, "{}- {}", if at == 0 { "\n" } else { "" }, whole(check, room));
    }
    out
}

fn markdown(difference: &Difference, room: Room) -> String {
    let mut out = String::new();
    let shown = difference.changed.len().min(rows(room));
    let _ = writeln!(out, "{}\n\n{}\n", code(&room.cut(&difference.title)), escaped(&difference.about));
    let _ = writeln!(out, "{}\n", head(difference, shown));
    if shown > 0 {
        let _ = writeln!(out, "| function | own % before | after | points | total % before | after | points |");
        let _ = writeln!(out, "| --- | --: | --: | --: | --: | --: | --: |");
    }
    for function in difference.changed.iter().take(shown) {
        let cells = [function.own, function.total].map(|amount| change(amount).map(|text| escaped(&text)).join(" | "));
        let _ = writeln!(out, "| {} | {} |", code(&room.cut(&function.label())), cells.join(" | "));
    }
    if shown > 0 {
        let _ = writeln!(out, "\n\\~ may be noise");
    }
    for (at, check) in difference.checks.iter().enumerate() {
        let _ = writeln!(out, "{}- {}", if at == 0 { "\n" } else { "" }, code(&whole(check, room)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Lines, collapsed};

    fn difference(before: &str, after: &str) -> Difference {
        let [before, after] = [before, after].map(|text| collapsed::read(text.as_bytes()).unwrap());
        Difference::new(&before, &after, Lines::None, &["app/*:+5%: nothing has grown by more".to_owned()])
    }

    fn written(form: Form, difference: &Difference) -> String {
        let mut bytes = vec![];
        write(form, difference, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_has_changed_stands_in_all_three_forms() {
        let before = "main (a.py:9);grows (a.py:3) 1000\nmain (a.py:9);shrinks (a.py:5) 3000\nmain (a.py:8);x 1000\n";
        let after = "main (a.py:10);grows (a.py:4) 3000\nmain (a.py:10);shrinks (a.py:6) 1000\nmain (a.py:9);x 1010\n";
        let difference = difference(before, after);
        assert_eq!((difference.changed_count, difference.function_count), (2, 4));
        let text = written(Form::Text, &difference);
        for line in [
            "2 of 4 functions have changed by more than the noise of sampling",
            "  20.0   59.9   +39.9     20.0   59.9   +39.9  grows (a.py)",
            "  60.0   20.0   -40.0     60.0   20.0   -40.0  shrinks (a.py)",
            "- app/*:+5%: nothing has grown by more",
        ] {
            assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
        }
        let markdown = written(Form::Markdown, &difference);
        let row = "| `grows (a.py)` | 20.0 | 59.9 | +39.9 | 20.0 | 59.9 | +39.9 |";
        assert!(markdown.lines().any(|line| line == row), "{markdown}");
        let json: serde_json::Value = serde_json::from_str(&written(Form::Json, &difference)).unwrap();
        assert_eq!(json["changed"][1]["name"], "grows");
        assert_eq!(json["changed"][1]["own"]["time"], serde_json::json!([1000.0, 3000.0]));
    }

    #[test]
    fn equal_profiles_have_no_list() {
        let same = "main;a 1000\nmain;b 1000\n";
        let difference = difference(same, "main;a 1020\nmain;b 990\n");
        let text = written(Form::Text, &difference);
        assert!(text.contains("0 of 3 functions have changed") && !text.contains("points"), "{text}");
        assert!(!written(Form::Markdown, &difference).contains("| "));
    }
}
