//! The header: what is sampled, how well, and what it uses.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::theme::Theme;
use super::{put, put_right};
use crate::output::printable;
use crate::tui::fit::{self, first_of};
use crate::tui::names;
use crate::tui::state::{Entry, State};
use crate::tui::window::Facts;

/// A loop that is as late as this is worth a warning: what it serves is seen to wait.
const LATE: Duration = Duration::from_millis(100);
/// Columns that a number needs with its name.
const NARROWEST_CELL: u16 = 18;
/// Steps of a sparkline from nothing to all.
const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn draw(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // Empty below the last line there is.
    let line = |number: u16| Rect { y: area.y + number, height: 1, ..area }.intersection(area);
    let process = state.data.profile.processes().next().map(|(_, process)| process);
    let command = process.map(|process| names::text(state, process.command_line).into_owned()).unwrap_or_default();
    // What is switched on, at the right edge; a command line can be told in a third.
    let switches = first_of(&switches(state), usize::from(area.width) * 2 / 3);
    let room = usize::from(area.width).saturating_sub(if switches.is_empty() { 0 } else { switches.width() + 2 });
    put(buffer, line(0), &fit::command_line(&command, room), theme.bold());
    put_right(buffer, line(0), &switches, theme.accent());
    let facts = &state.data.facts;
    let left = process_line(state);
    put(buffer, line(1), &left, theme.plain());
    if let Some(ended) = &state.data.ended {
        put_right(buffer, line(1), &format!("  {}", printable(ended)), theme.warning());
    } else if let Some(trouble) = &facts.trouble {
        let trouble = printable(trouble);
        let room = usize::from(area.width).saturating_sub(left.width() + 2);
        if trouble.width() <= room {
            put_right(buffer, line(1), &trouble, theme.warning());
        }
    }
    if area.height > 2 {
        draw_samples(state, theme, line(2), buffer);
    }
    let history = &state.data.history;
    let bytes = facts.resident_bytes.map(|bytes| bytes as f64);
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}%"));
    let none = VecDeque::new();
    let cells: [(&str, String, &VecDeque<f64>, Option<f64>); 8] = [
        ("GIL", gil(facts), &history.gil, Some(100.0)),
        ("active", percent(Some(facts.active)), &history.active, Some(100.0)),
        ("GC", percent(Some(facts.gc)), &history.gc, Some(100.0)),
        ("CPU", percent(facts.cpu), &history.cpu, None),
        (
            "run/idle",
            format!("{}/{}", facts.running, facts.threads.saturating_sub(facts.running)),
            &history.running,
            None,
        ),
        ("RSS", bytes.map_or("-".to_owned(), memory), &history.resident, None),
        ("pyspy", facts.own_cpu.map_or("-".to_owned(), |value| format!("{value:.1}%")), &history.own_cpu, Some(100.0)),
        ("stopped", format!("{:.2}%", facts.stopped), &none, None),
    ];
    // Four in a line, or as many as there is room for; the cells take the whole width.
    let in_line = (area.width / NARROWEST_CELL).clamp(1, 4);
    let width = area.width / in_line;
    for (at, (name, value, values, full)) in cells.into_iter().enumerate() {
        let (column, row) = (at as u16 % in_line, at as u16 / in_line);
        let place = line(3 + row);
        if place.is_empty() {
            break;
        }
        let text = format!("{name} {value} ");
        // Values below each other begin their sparklines in one column.
        let text = format!("{text:<14}");
        let room = usize::from(width).saturating_sub(text.len() + 1);
        let spans = vec![Span::raw(text), Span::styled(sparkline(values, full, room), theme.spark())];
        buffer.set_line(area.x + column * width, place.y, &Line::from(spans), width.saturating_sub(1));
    }
}

/// Which processes are sampled.
fn process_line(state: &State) -> String {
    let process = state.data.profile.processes().next().map(|(_, process)| process);
    // When all have ended they are what the last view is of.
    let all_ended = state.data.profile.processes().all(|(_, process)| process.end_us.is_some());
    let living = state.data.profile.processes().filter(|(_, process)| all_ended || process.end_us.is_none());
    let pids: Vec<String> = living.map(|(_, process)| process.pid.to_string()).collect();
    let version = process.map(|process| names::text(state, process.python_version).into_owned()).unwrap_or_default();
    let facts = &state.data.facts;
    let uptime = facts.uptime.map_or("-".to_owned(), duration);
    let more = if pids.len() > 4 { format!(" and {} more", pids.len() - 4) } else { String::new() };
    let pids = pids.get(..4).unwrap_or(&pids).join(", ");
    format!("pid {pids}{more}  Python {version}  up {uptime}")
}

/// What there is to warn of and has no room in the header: in as many lines as it takes, at the end of `area`.
pub(super) fn draw_long_warning(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(trouble) = state.data.facts.trouble.as_ref().filter(|_| state.data.ended.is_none()) else { return };
    let trouble = printable(trouble);
    let width = usize::from(area.width);
    if process_line(state).width() + 2 + trouble.width() <= width {
        return;
    }
    let lines = fit::lines(&trouble, width);
    let count = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    for (text, y) in lines.iter().zip(area.bottom() - count..area.bottom()) {
        put(buffer, Rect { y, height: 1, ..area }, &format!("{text:<width$}"), theme.warning());
    }
}

/// How much of the time the GIL was held, and by how many threads it was waited for, where any did.
fn gil(facts: &Facts) -> String {
    let waiters = if facts.gil_waiters >= 0.05 { format!(" {:.1} wait", facts.gil_waiters) } else { String::new() };
    format!("{:.0}%{waiters}", facts.gil)
}

/// What is not as it is at first.
fn switches(state: &State) -> String {
    let mut on = Vec::new();
    let mut add = |is_on: bool, text: &str| {
        if is_on {
            on.push(text.to_owned());
        }
    };
    add(state.data.frozen.is_some(), "FROZEN");
    add(state.selection.gil_only, "gil");
    add(state.selection.idle, "idle");
    add(state.selection.per_thread, "threads");
    if !state.settings.below.is_empty() {
        on.push(format!("below {}", printable(&state.settings.below)));
    }
    if !state.selection.filter.is_empty() || matches!(state.prompt.entry, Entry::Filter(_)) {
        on.push(format!("/{}", printable(&state.selection.filter)));
    }
    if let Some(thread) = state.selection.only_thread {
        on.push(format!("thread {}", names::thread(state, thread)));
    }
    on.join("  ")
}

fn draw_samples(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let facts = &state.data.facts;
    let lag = loop_lag(facts);
    let lag_width = lag.as_ref().map_or(0, |lag| lag.width() + 2);
    let line = samples_line(state, theme, true);
    // What there is none of gives way to what made a loop late.
    let has_room = line.width() + lag_width <= usize::from(area.width);
    let line = if has_room { line } else { samples_line(state, theme, false) };
    let room = usize::from(area.width).saturating_sub(line.width() + 2);
    buffer.set_line(area.x, area.y, &line, area.width);
    if let Some(lag) = lag {
        let is_late = facts.loops.first().is_some_and(|event_loop| event_loop.lag >= LATE);
        put_right(buffer, area, &first_of(&lag, room), if is_late { theme.warning() } else { theme.plain() });
    }
}

/// The rate and how many samples there are of each kind; of kinds without any only if `with_none`.
fn samples_line(state: &State, theme: Theme, with_none: bool) -> Line<'static> {
    let facts = &state.data.facts;
    let counts = state.data.counts();
    let source = if facts.is_from_kernel { " in the kernel" } else { "" };
    let mut spans = vec![Span::raw(format!("{} Hz asked, {:.1} held{source}", facts.rate_asked, facts.rate_held))];
    spans.push(Span::raw(format!("  {} samples", counts.taken)));
    let mut part = |number: u64, what: &str| {
        let style = if number > 0 { theme.accent() } else { theme.dim() };
        if number > 0 || with_none {
            spans.push(Span::styled(format!("  {number} {what}"), style));
        }
    };
    if counts.taken == 0 {
        part(counts.outside, "not below it");
    }
    part(counts.lost, "lost");
    part(facts.missed, "late");
    part(counts.unproven, "unproven");
    if let Some(seconds) = state.data.profile.metadata.unobserved_s() {
        spans.push(Span::styled(format!("  {seconds:.1} s unobserved"), theme.accent()));
    }
    Line::from(spans)
}

/// `lag 312 ms: handler`: how late the latest event loop was in the last window, and why.
pub(in crate::tui) fn loop_lag(facts: &Facts) -> Option<String> {
    let latest = facts.loops.first()?;
    let lag = match latest.lag {
        lag if lag < Duration::from_secs(10) => format!("lag {} ms", lag.as_millis()),
        lag => format!("lag {:.1} s", lag.as_secs_f64()),
    };
    let blocker = latest.blocker.as_ref().map(|blocker| match &blocker.task {
        Some(task) if *task != blocker.function => format!(": {} ({})", blocker.function, task),
        _ => format!(": {}", blocker.function),
    });
    Some(printable(&(lag + &blocker.unwrap_or_default())).into_owned())
}

/// All values as bars, several averaged into one where there are more than fit; `full` is what a whole bar stands for,
/// or else the highest value does.
fn sparkline(values: &VecDeque<f64>, full: Option<f64>, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    let in_one = values.len().div_ceil(width).max(1);
    // The newest value ends the last bar, so that a bar once full stays as it is until bars grow wider.
    let first = values.len() % in_one;
    let mut bars: Vec<f64> = Vec::with_capacity(width);
    let average = |from: usize, to: usize| values.range(from..to).sum::<f64>() / (to - from) as f64;
    if first > 0 {
        bars.push(average(0, first));
    }
    bars.extend((first..values.len()).step_by(in_one).map(|from| average(from, from + in_one)));
    let highest = full.unwrap_or_else(|| bars.iter().copied().fold(0.0, f64::max));
    bars.into_iter()
        .map(|value| {
            let share = if highest > 0.0 { (value / highest).clamp(0.0, 1.0) } else { 0.0 };
            // What is not nothing is to be seen.
            let step = (share * 8.0).round() as usize;
            STEPS[if value > 0.0 { step.clamp(1, 8) } else { 0 }]
        })
        .collect()
}

/// `1:02:03`, or with days.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let time = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    if days > 0 { format!("{days}d {time}") } else { time }
}

/// Bytes with a unit.
pub(super) fn memory(bytes: f64) -> String {
    let mebibytes = bytes / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.0}M") } else { format!("{:.1}G", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_show_all_values_averaged_where_they_do_not_fit() {
        let values = VecDeque::from(vec![0.0, 1.0, 50.0, 100.0, 200.0]);
        assert_eq!(sparkline(&values, Some(100.0), 5), " ▁▄██");
        assert_eq!(sparkline(&values, None, 10), " ▁▂▄█");
        assert_eq!(sparkline(&values, Some(100.0), 3), " ▂█");
        assert_eq!(sparkline(&VecDeque::new(), None, 3), "");
        assert_eq!(sparkline(&values, None, 0), "");
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(duration(Duration::from_secs(90_061)), "1d 1:01:01");
        assert_eq!(memory(12.0 * 1048576.0), "12M");
        assert_eq!(memory(2048.0 * 1048576.0), "2.0G");
    }
}
