//! A function's callers, callees and source.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::overlay::draw_frame;
use super::theme::Theme;
use super::{percent, put, seconds};
use crate::output::printable;
use crate::tui::detail::{detail_source, detail_top};
use crate::tui::fit::from_column;
use crate::tui::names;
use crate::tui::state::{Detail, State};

pub(super) fn draw(state: &State, detail: &Detail, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let shares = format!(
        ": own {:.1}% {}, total {:.1}% {}",
        percent(detail.own_us, detail.wall_us),
        seconds(detail.own_us),
        percent(detail.total_us, detail.wall_us),
        seconds(detail.total_us),
    );
    // The frame's corners, and the spaces around a title.
    let room = usize::from(area.width).saturating_sub(shares.len() + 4);
    let title = names::function_within(state, detail.function, room) + &shares;
    let inner = draw_frame(&title, theme, area, buffer);
    let calls = (inner.height / 3).clamp(3, 10);
    let half = inner.width / 2;
    let callers = Rect { height: calls, width: half, ..inner };
    let callees = Rect { x: inner.x + half, width: inner.width - half, ..callers };
    let share = |us: u64| percent(us, detail.wall_us);
    let list = |area: Rect, title: &str, entries: Vec<(String, u64)>, buffer: &mut Buffer| {
        put(buffer, Rect { height: 1, ..area }, title, theme.accent());
        for ((name, us), y) in entries.into_iter().zip(area.y + 1..area.bottom()) {
            let text = format!("{:6.2}%  {name}", share(us));
            put(buffer, Rect { y, height: 1, width: area.width.saturating_sub(1), ..area }, &text, theme.plain());
        }
    };
    // What stands before a name, and a column between the two lists.
    let room = usize::from(half).saturating_sub(10);
    let name = |id| names::function_within(state, id, room);
    let entries = detail.callers.iter().map(|(id, us)| (id.map_or("(called by no Python code)".to_owned(), name), *us));
    list(callers, "Called by", entries.collect(), buffer);
    let entries = detail.callees.iter().map(|(id, us)| (name(*id), *us));
    list(callees, "Calls", entries.collect(), buffer);
    draw_source(state, detail, theme, Rect { y: inner.y + calls, height: inner.height - calls, ..inner }, buffer);
}

fn draw_source(state: &State, detail: &Detail, theme: Theme, area: Rect, buffer: &mut Buffer) {
    put(buffer, Rect { height: 1, ..area }, "   %Own  %Total   Line", theme.accent());
    let file = state.data.index.function(detail.function).map(|function| function.file);
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let numbers = |line: u32| match detail.lines.get(&line) {
        Some(pair) => {
            let (own, total) = (percent(pair.own_us, detail.wall_us), percent(pair.total_us, detail.wall_us));
            format!("{own:6.2}% {total:6.2}%")
        }
        None => " ".repeat(15),
    };
    let heat = |line: u32| detail.lines.get(&line).map_or(0.0, |pair| percent(pair.total_us, detail.wall_us));
    let Some(source) = detail_source(state) else {
        // Without the source there still are the lines' numbers.
        let asked = file.is_some_and(|file| state.data.sources.contains_key(&file));
        let reason = if asked { "the source cannot be read here" } else { "reading the source" };
        put(buffer, Rect { height: 1, ..body }, reason, theme.dim());
        let mut lines: Vec<u32> = detail.lines.keys().copied().collect();
        lines.sort_unstable();
        for (line, y) in lines.into_iter().zip(body.y + 1..body.bottom()) {
            put(buffer, Rect { y, height: 1, ..body }, &format!("{}  {line:>5}", numbers(line)), theme.plain());
        }
        return;
    };
    for ((at, text), y) in source.iter().enumerate().skip(detail_top(state)).zip(body.y..body.bottom()) {
        let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let row = Rect { y, height: 1, ..body };
        let style = if detail.lines.contains_key(&line) { theme.share(heat(line)) } else { theme.plain() };
        put(buffer, Rect { width: 15, ..row }, &numbers(line), style);
        let text = text.replace('\t', "    ");
        let text = format!("{line:>5}  {}", from_column(&printable(&text), detail.left));
        put(buffer, Rect { x: row.x + 17, width: row.width.saturating_sub(17), ..row }, &text, theme.plain());
    }
}
