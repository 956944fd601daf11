//! The summary as text for a terminal or a log.

use std::fmt::Write;

use super::fit::Room;
use crate::output::summary::{Amount, Summary};

/// `summary` in as much room as there is.
pub(super) fn text(summary: &Summary, room: Room) -> String {
    let mut out = String::new();
    line(&mut out, &room.cut(&summary.title));
    line(&mut out, &summary.about);
    if summary.samples > 0 {
        write_tables(summary, room, &mut out);
    }
    line(&mut out, "\nTo be kept in mind:");
    for doubt in &summary.doubts {
        line(&mut out, &format!("- {doubt}"));
    }
    out
}

/// What took the time.
fn write_tables(summary: &Summary, room: Room, out: &mut String) {
    let (unit, time) = unit_of(summary);
    let columns = |amount: Amount| format!("{:>9} {:>7.1}", time(amount), amount.share * 100.0);
    line(out, &format!("\n{unit:>9} {:>7}  kind of code that ran", "%"));
    for part in &summary.kinds {
        line(out, &format!("{}  {}", columns(part.amount), part.name));
    }
    if !summary.states.is_empty() {
        line(out, &format!("{unit:>9} {:>7}  what threads did", "%"));
        for part in &summary.states {
            line(out, &format!("{}  {}", columns(part.amount), part.name));
        }
    }
    let shown = summary.functions.len().min(room.rows);
    let of = left_out(shown, summary.function_count);
    let head = format!("\n{:>9} {:>7} {:>9} {:>7}  function at its hottest line{of}", "own", "%", "total", "%");
    line(out, &head);
    for function in summary.functions.iter().take(shown) {
        let label = function.label();
        line(out, &format!("{} {}  {}", columns(function.own), columns(function.total), room.cut(&label)));
        if let Some(source) = function.hottest.as_ref().and_then(|hottest| hottest.source.as_deref()) {
            line(out, &format!("{:>40}{}", "", room.cut(source)));
        }
    }
    line(out, &format!("\n{unit:>9} {:>7}  heaviest paths, by their own time", "%"));
    for path in summary.paths.iter().take(room.rows) {
        line(out, &format!("{}  {}", columns(path.amount), room.cut(&path.text(room.characters))));
    }
    let shown = summary.threads.len().min(room.rows);
    line(out, &format!("\n{unit:>9} {:>7}  thread{}", "%", left_out(shown, summary.thread_count)));
    for thread in summary.threads.iter().take(shown) {
        line(out, &format!("{}  {}", columns(thread.amount), room.cut(&thread.label())));
    }
}

/// What times are told in, and how.
pub(super) fn unit_of(summary: &Summary) -> (&'static str, fn(Amount) -> String) {
    if summary.unit == "seconds" {
        ("s", |amount| format!("{:.2}", amount.time))
    } else {
        ("samples", |amount| format!("{:.0}", amount.time))
    }
}

/// `, 3 of 40` where not all are shown.
pub(super) fn left_out(shown: usize, all: usize) -> String {
    if shown < all { format!(", {shown} of {all}") } else { String::new() }
}

/// A line without spaces at its end.
fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", text.trim_end());
}
