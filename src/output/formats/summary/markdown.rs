//! The summary as Markdown.
//!
//! Whatever the target names stands in code spans, in which nothing is markup, a link or a mention of somebody.

use std::fmt::Write;

use super::fit::Room;
use super::text::{left_out, unit_of};
use crate::output::summary::{Amount, Summary};

/// `summary` in as much room as there is.
pub(super) fn markdown(summary: &Summary, room: Room) -> String {
    let mut out = String::new();
    let (unit, time) = unit_of(summary);
    let percent = |amount: Amount| format!("{:.1}", amount.share * 100.0);
    let mut row = |cells: &[&str]| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    row(&[&code(&room.cut(&summary.title)), unit, "%"]);
    row(&["---", "--:", "--:"]);
    for part in summary.kinds.iter().chain(&summary.states) {
        row(&[part.name, &time(part.amount), &percent(part.amount)]);
    }
    let _ = writeln!(out, "\n{}\n", escaped(&summary.about));
    if summary.samples > 0 {
        write_tables(summary, room, &mut out);
    }
    for doubt in &summary.doubts {
        let _ = writeln!(out, "- {}", escaped(doubt));
    }
    out
}

/// The functions, paths and threads that took the time.
fn write_tables(summary: &Summary, room: Room, out: &mut String) {
    let (unit, time) = unit_of(summary);
    let percent = |amount: Amount| format!("{:.1}", amount.share * 100.0);
    let shown = summary.functions.len().min(room.rows);
    let head = format!("function at its hottest line{}", left_out(shown, summary.function_count));
    let mut row = |cells: &[&str]| {
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    row(&[&head, &format!("own {unit}"), "own %", &format!("total {unit}"), "total %", "source"]);
    row(&["---", "--:", "--:", "--:", "--:", "---"]);
    for function in summary.functions.iter().take(shown) {
        let source = function.hottest.as_ref().and_then(|hottest| hottest.source.as_deref());
        let source = source.map(|source| code(&room.cut(source))).unwrap_or_default();
        let (own, total) = (function.own, function.total);
        let label = code(&room.cut(&function.label()));
        row(&[&label, &time(own), &percent(own), &time(total), &percent(total), &source]);
    }
    let mut list = |head: &str, rows: &mut dyn Iterator<Item = (Amount, String)>| {
        let _ = writeln!(out, "\n| {head} | {unit} | % |\n| --- | --: | --: |");
        for (amount, name) in rows {
            let _ = writeln!(out, "| {} | {} | {} |", code(&room.cut(&name)), time(amount), percent(amount));
        }
    };
    let paths = summary.paths.iter().take(room.rows);
    list("heaviest path, by its own time", &mut paths.map(|path| (path.amount, path.text(room.characters))));
    let shown = summary.threads.len().min(room.rows);
    let head = format!("thread{}", left_out(shown, summary.thread_count));
    let threads = summary.threads.iter().take(shown);
    list(&head, &mut threads.map(|thread| (thread.amount, thread.label())));
    out.push('\n');
}

/// A code span that can stand in a cell of a table: its fence is longer than any in the text, and a bar is no border.
pub(in crate::output::formats) fn code(text: &str) -> String {
    let text = text.trim();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // Without the space, a fence would be joined by what the text begins or ends with.
    let space = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{}{space}{fence}", text.replace('|', "\\|"))
}

/// Text outside of code spans, in which a glob may stand.
pub(in crate::output::formats) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '#' | '@' | '!') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
