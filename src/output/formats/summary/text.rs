//! The summary as text for a terminal or a log.

use std::fmt::Write;

use super::fit::Room;
use crate::output::summary::{Amount, Summary};

/// `summary` in as much room as there is.
pub(super) fn text(summary: &Summary, room: Room) -> String {
    let mut out = String::new();
    let unit = if summary.unit == "seconds" { "s" } else { "samples" };
    let time = |amount: Amount| if unit == "s" { format!("{:.2}", amount.time) } else { format!("{:.0}", amount.time) };
    let columns = |amount: Amount| format!("{:>9} {:>7.1}", time(amount), amount.share * 100.0);
    line(&mut out, &room.cut(&summary.title));
    line(&mut out, &summary.about);

    line(&mut out, &format!("\n{unit:>9} {:>7}  kind of code that ran", "%"));
    for part in &summary.kinds {
        line(&mut out, &format!("{}  {}", columns(part.amount), part.name));
    }
    if !summary.states.is_empty() {
        line(&mut out, &format!("{unit:>9} {:>7}  what threads did", "%"));
        for part in &summary.states {
            line(&mut out, &format!("{}  {}", columns(part.amount), part.name));
        }
    }
    let shown = summary.functions.len().min(room.rows);
    let of = left_out(shown, summary.function_count);
    let head = format!("\n{:>9} {:>7} {:>9} {:>7}  function at its hottest line{of}", "own", "%", "total", "%");
    line(&mut out, &head);
    for function in summary.functions.iter().take(shown) {
        let label = function.label();
        line(&mut out, &format!("{} {}  {}", columns(function.own), columns(function.total), room.cut(&label)));
        if let Some(source) = function.hottest.as_ref().and_then(|hottest| hottest.source.as_deref()) {
            line(&mut out, &format!("{:>40}{}", "", room.cut(source)));
        }
    }
    line(&mut out, &format!("\n{unit:>9} {:>7}  heaviest paths, by their own time", "%"));
    for path in summary.paths.iter().take(room.rows) {
        line(&mut out, &format!("{}  {}", columns(path.amount), room.cut(&path.text(room.characters))));
    }
    let shown = summary.threads.len().min(room.rows);
    line(&mut out, &format!("\n{unit:>9} {:>7}  thread{}", "%", left_out(shown, summary.thread_count)));
    for thread in summary.threads.iter().take(shown) {
        line(&mut out, &format!("{}  {}", columns(thread.amount), room.cut(&thread.label())));
    }
    line(&mut out, "\nTo be kept in mind:");
    for doubt in &summary.doubts {
        line(&mut out, &format!("- {doubt}"));
    }
    out
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
