//! The views that are tables: functions, lines, threads, processes, and the call tree.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::header::memory;
use super::theme::Theme;
use super::{percent, put, put_right, seconds};
use crate::output::{is_of_program, printable};
use crate::profile::{Flags, FrameId, StackId};
use crate::tui::layout::{number_starts, numbers_width};
use crate::tui::state::{Key, Row, Scope, State, View};
use crate::tui::{fit, names};

/// A tree is indented so far at most, as a part of the room for names; deeper nodes tell their depth.
const DEEPEST_INDENT: u32 = 3;

pub(super) fn draw(state: &State, theme: Theme, header: Rect, body: Rect, buffer: &mut Buffer) {
    draw_header(state, theme, header, buffer);
    let shown = state.data.shown();
    let (percent_of, _) = match state.selection.scope {
        Scope::Both | Scope::Window => (shown.window_us, ()),
        Scope::Reset => (shown.all_us, ()),
    };
    let selected = state.selected_key();
    let rows = state.rows.iter().skip(state.selection.cursor().top);
    for (row, y) in rows.zip(body.y..body.bottom()) {
        let line = Rect { y, height: 1, ..body };
        let scope = if state.selection.view == View::Tasks { Scope::Both } else { state.selection.scope };
        let numbers = row.columns(scope);
        for (at, us) in numbers.into_iter().enumerate() {
            let (text, style) = match (state.selection.view, at) {
                (View::Tasks, 1) => (share_text(us as f64 / 100.0), theme.share(us as f64 / 100.0)),
                (View::Tasks, 0 | 2) => (us.to_string(), theme.plain()),
                (View::Tasks, _) | (_, 2..) => (seconds(us), theme.plain()),
                _ => {
                    let share = percent(us, percent_of);
                    (share_text(share), theme.share(share))
                }
            };
            // A blank before each, however large the number.
            let Some(Rect { x, width, .. }) = number(line, at) else { continue };
            put_right(buffer, Rect { x: x + 1, width: width - 1, ..line }, &text, style);
        }
        let rest = behind_numbers(line);
        put(buffer, rest, &text(state, row, rest.width), theme.plain());
        if selected == Some(row.key) {
            buffer.set_style(line, theme.selected());
        }
    }
    if state.rows.is_empty() {
        draw_empty_reason(state, theme, body, buffer);
    }
}

/// Why there is nothing to see, in as many lines as it takes.
pub(super) fn draw_empty_reason(state: &State, theme: Theme, body: Rect, buffer: &mut Buffer) {
    // Indented, and a line below the names of the columns where there is room for that.
    let y = body.y + u16::from(body.height > 3);
    let place = Rect { x: body.x + 2, y, width: body.width.saturating_sub(3), ..body }.intersection(body);
    let lines = fit::lines(empty_reason(state), usize::from(place.width));
    for (text, y) in lines.iter().zip(place.y..place.bottom()) {
        put(buffer, Rect { y, height: 1, ..place }, text, theme.dim());
    }
}

/// A percentage that leaves a space in its column: many threads together may have thousands.
fn share_text(percent: f64) -> String {
    if percent < 1000.0 { format!("{percent:.2}%") } else { format!("{percent:.0}%") }
}

/// The place of a number in a line, where it has one.
fn number(line: Rect, at: usize) -> Option<Rect> {
    let [start, end] = number_starts(line.width).get(at..at + 2)? else { return None };
    Some(Rect { x: line.x + start, width: end - start, ..line })
}

fn behind_numbers(line: Rect) -> Rect {
    let start = numbers_width(line.width) + 1;
    Rect { x: line.x + start, width: line.width.saturating_sub(start), ..line }
}

fn draw_header(state: &State, theme: Theme, line: Rect, buffer: &mut Buffer) {
    let names = match state.selection.view {
        View::Threads | View::Processes => ["%Active", "%GIL", "Active", "GIL"],
        View::Tasks => ["Tasks", "%Run", "Waiting", "Known for"],
        _ => ["%Own", "%Total", "OwnTime", "TotalTime"],
    };
    let is_sorted = |at: usize| state.selection.column as usize == at;
    let mark = if state.selection.reversed { "▲" } else { "▼" };
    let texts: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| if is_sorted(at) { format!("{name}{mark}") } else { (*name).to_owned() })
        .collect();
    for (at, text) in texts.iter().enumerate() {
        let style = if is_sorted(at) { theme.accent() } else { theme.bold() };
        let Some(mut place) = number(line, at) else { continue };
        // The name to the right may take all of its column.
        let next = texts.get(at + 1).zip(number(line, at + 1));
        place.width -= u16::from(next.is_some_and(|(next, place)| next.width() >= usize::from(place.width)));
        put_right(buffer, place, text, style);
    }
    let what = match state.selection.view {
        View::Functions => "Function (file:first line)",
        View::Lines => "Function (file:line)",
        View::Threads if shows_gil_waits(state) => "State     GILwait  Thread, and what it is at",
        View::Threads => "State     Thread, and what it is at",
        View::Processes => " CPU%    RSS Threads  Process",
        View::Tasks => "Coroutine or greenlet, and what most wait in",
        _ => "Call tree",
    };
    let scope = match state.selection.scope {
        Scope::Both => "% of the last window, times since reset",
        Scope::Window => "the last window",
        Scope::Reset => "all since reset",
    };
    let rest = behind_numbers(line);
    put(buffer, rest, what, theme.bold());
    let room = usize::from(rest.width).saturating_sub(what.len() + 2);
    if scope.len() <= room && state.selection.view != View::Tasks {
        put_right(buffer, rest, scope, theme.dim());
    }
}

/// What a row says behind its numbers.
pub(in crate::tui) fn text(state: &State, row: &Row, width: u16) -> String {
    let room = |before: &str| usize::from(width).saturating_sub(before.width());
    match row.key {
        Key::Function(..) | Key::Line(..) => names::row_name_within(state, row.key, room("")),
        Key::Thread(thread) => {
            let now = state.data.shown().threads.iter().find(|now| now.thread == thread);
            let flags = now.map_or(Flags::NONE, |now| now.flags);
            let share = row.gil_wait_us as f64 * 100.0 / state.data.shown().window_us.max(1) as f64;
            let share = format!("{share:.1}%");
            let wait = if shows_gil_waits(state) { format!("{share:>7}  ") } else { String::new() };
            let before = format!("{:<9} {wait}{}  ", thread_state(flags), names::thread(state, thread));
            let at = now.map(|now| own_place(state, now.stack, room(&before))).unwrap_or_default();
            before + &at
        }
        Key::Process(process) => {
            let threads = state.data.shown().threads.iter();
            let threads = threads.filter(|now| state.data.profile.thread(now.thread).process == process).count();
            let pid = state.data.profile.process(process).pid;
            let usage = state.data.facts.processes.iter().find(|usage| usage.pid == pid);
            let cpu = usage.and_then(|usage| usage.cpu).map_or("-".to_owned(), |cpu| format!("{cpu:.0}%"));
            let bytes = usage.map_or("-".to_owned(), |usage| memory(usage.resident_bytes as f64));
            let indent = "  ".repeat(row.depth.min(20) as usize);
            let before = format!("{cpu:>5} {bytes:>6} {threads:>7}  {indent}");
            let name = names::row_name_within(state, row.key, room(&before));
            before + &name
        }
        Key::Tasks(id) => {
            let name = names::row_name_within(state, row.key, room(""));
            let group = state.data.facts.tasks.iter().find(|group| group.id == id);
            let waits = group.and_then(|group| group.waits.as_deref());
            name + &waits.map(|waits| format!("  {}", printable(waits))).unwrap_or_default()
        }
        Key::Node(..) => {
            let widest = u32::from(width) / 2 / DEEPEST_INDENT;
            let sign = match row.open {
                Some(true) => "▾ ",
                Some(false) => "▸ ",
                None => "  ",
            };
            let indent = " ".repeat(row.depth.min(widest) as usize * 2);
            let depth = if row.depth > widest { format!("[{}] ", row.depth) } else { String::new() };
            let before = format!("{indent}{sign}{depth}");
            let name = names::row_name_within(state, row.key, room(&before));
            before + &name
        }
    }
}

/// Whether threads have a column for how long they waited for the GIL: where they did.
fn shows_gil_waits(state: &State) -> bool {
    state.data.facts.gil_waiters >= 0.05
}

/// What a thread is doing, in a word.
pub(in crate::tui) fn thread_state(flags: Flags) -> &'static str {
    match (flags.contains(Flags::ACTIVE), flags.contains(Flags::GIL), flags.contains(Flags::GC)) {
        _ if flags.contains(Flags::GIL_WAIT) => "gil wait",
        (_, _, true) => "gc",
        (true, true, _) => "run+gil",
        (true, false, _) => "run",
        (false, true, _) => "idle+gil",
        (false, false, _) => "idle",
    }
}

/// The innermost function and line of a stack, in so many columns.
pub(in crate::tui) fn place(state: &State, stack: StackId, width: usize) -> String {
    match state.data.profile.pop(stack) {
        Some((_, frame)) => names::row_name_within(state, Key::Line(None, frame.number()), width),
        None => String::new(),
    }
}

/// Frames that are looked through for one of the program's own.
const FRAMES_SEARCHED: usize = 200;

/// The same, behind the innermost function of the program's own code where that is another: of most threads that wait,
/// what they are in is `Condition.wait`, and which wait that is tells who called it.
fn own_place(state: &State, stack: StackId, width: usize) -> String {
    let profile = &state.data.profile;
    let is_own = |frame: &FrameId| is_of_program(profile.text(profile.frame_of(*frame).file));
    let mut frames = profile.frames_of(stack).take(FRAMES_SEARCHED);
    let (Some(innermost), own) = (frames.next(), frames.find(is_own)) else { return String::new() };
    match own.filter(|_| !is_own(&innermost)) {
        Some(own) => {
            let end = format!(" › {}", printable(profile.text(profile.frame_of(innermost).name)));
            let room = width.saturating_sub(end.width());
            names::row_name_within(state, Key::Line(None, own.number()), room) + &end
        }
        None => place(state, stack, width),
    }
}

fn empty_reason(state: &State) -> &'static str {
    let (selection, shown) = (&state.selection, state.data.shown());
    // Threads, processes and tasks are there whether they run or not.
    let is_of_code = !matches!(selection.view, View::Threads | View::Processes | View::Tasks);
    let mut totals = shown.window.iter().chain(shown.all);
    // Without the filter there would be something.
    let is_hidden = !selection.filter.is_empty() && (!is_of_code || totals.any(|total| selection.wants(total)));
    if state.data.windows == 0 {
        "waiting for the first samples"
    } else if is_hidden {
        "nothing matches the filter; Esc drops it"
    } else if shown.all_us == 0 {
        "waiting for samples since the reset"
    } else if selection.view == View::Tasks {
        "there are no tasks"
    } else if !is_of_code {
        "none was seen in the last window"
    } else if selection.gil_only {
        "nothing that holds the GIL was seen; g shows all"
    } else if selection.idle {
        "no Python code was seen"
    } else if selection.only_thread.is_some() {
        "this thread is idle: i shows where it is, d what it waits for, Esc all threads"
    } else {
        "no thread runs, every thread is idle: i shows where they are, d what they wait for"
    }
}
