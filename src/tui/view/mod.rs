//! Puts the state on the screen. Changes nothing.

mod detail;
mod flame;
mod header;
mod overlay;
mod table;
mod theme;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::fit::{first_of, last_of};
use super::layout::{self, SMALLEST, Tab};
use super::state::{Entry, Overlay, State, View};
pub(super) use header::loop_lag;
pub(super) use table::{place, thread_state};
use theme::Theme;

/// Draws everything.
pub(crate) fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let theme = Theme { colour: state.settings.colour };
    if area.width < SMALLEST.width || area.height < SMALLEST.height {
        draw_too_small(state, area, buffer);
        return;
    }
    let areas = layout::areas(area.as_size());
    header::draw(state, theme, areas.header, buffer);
    draw_tabs(state, theme, areas.tabs, buffer);
    match state.selection.view {
        View::Flame => flame::draw(state, theme, areas.columns, areas.body, buffer),
        View::Output => overlay::draw_output(state, theme, areas.columns, areas.body, buffer),
        _ => table::draw(state, theme, areas.columns, areas.body, buffer),
    }
    let over = Rect { height: areas.columns.height + areas.body.height, ..areas.columns };
    match &state.overlay {
        Overlay::Nothing => {}
        Overlay::Help(pane) | Overlay::Dump(pane) => overlay::draw_pane(pane, theme, over, buffer),
        Overlay::Detail(detail) => detail::draw(state, detail, theme, over, buffer),
    }
    header::draw_long_warning(state, theme, areas.body, buffer);
    draw_footer(state, theme, areas.footer, buffer);
}

fn draw_too_small(state: &State, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![
        format!("{}×{} is too small:", area.width, area.height),
        format!("pyspy top needs {}×{}.", SMALLEST.width, SMALLEST.height),
        "Enlarge the terminal,".to_owned(),
        "or press q to quit.".to_owned(),
    ];
    if let Some(ended) = &state.data.ended {
        lines.insert(0, ended.clone());
    }
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        put(buffer, Rect { y, height: 1, ..area }, line, Style::default());
    }
}

fn draw_tabs(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    for Tab { view, x, width } in layout::tabs(state) {
        let style = if view == state.selection.view { theme.selected() } else { theme.plain() };
        let place = Rect { x: area.x + x, width, ..area }.intersection(area);
        put(buffer, place, &layout::tab_text(view), style);
    }
}

fn draw_footer(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let typed = |label: &str, text: &str| {
        let (before, behind) = state.prompt.around_cursor(text);
        let mut behind = behind.chars();
        let at_cursor = behind.next().map_or(" ".to_owned(), String::from);
        // Of a long text what is around the cursor; of what is behind it, half of the line at most.
        let room = usize::from(area.width).saturating_sub(label.width() + at_cursor.width());
        let behind = first_of(behind.as_str(), behind.as_str().width().min(room / 2));
        let behind = if behind.is_empty() || behind == "…" { String::new() } else { behind };
        Line::from(vec![
            Span::styled(label.to_owned(), theme.accent()),
            Span::raw(last_of(before, room.saturating_sub(behind.width()))),
            Span::styled(at_cursor, theme.selected()),
            Span::raw(behind),
        ])
    };
    let line = match (&state.prompt.entry, &state.prompt.notice, &state.data.ended) {
        (Entry::Filter(_), ..) => typed("filter: ", &state.selection.filter),
        (Entry::Write(path), ..) => typed("write to (name.svg, .txt, .speedscope.json): ", path),
        (_, Some(notice), _) => Line::styled(first_of(notice, usize::from(area.width)), theme.accent()),
        (.., Some(ended)) => {
            // What a program wrote may say why it has ended. How several have ended may be more than fits.
            let output = &state.data.output;
            let has_written = state.settings.has_output && !(output.lines.is_empty() && output.open.is_empty());
            let keys = if has_written && state.selection.view != View::Output {
                ": this is the last view; F7 shows what it wrote, q quits"
            } else {
                ": this is the last view; q quits"
            };
            let room = usize::from(area.width).saturating_sub(keys.len());
            Line::styled(first_of(ended, room) + keys, theme.warning())
        }
        _ => Line::styled(footer_keys(usize::from(area.width)), theme.dim()),
    };
    buffer.set_line(area.x, area.y, &line, area.width);
}

/// The keys that the footer names, as many as fit.
fn footer_keys(width: usize) -> String {
    const KEYS: [&str; 10] = [
        "q quit",
        "? help",
        "Tab view",
        "Enter look closer",
        "/ filter",
        "1-4 sort",
        "Space freeze",
        "w write",
        "d dump",
        "r reset",
    ];
    let mut line = String::new();
    for key in KEYS {
        if line.len() + 2 + key.len() > width {
            break;
        }
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(key);
    }
    line
}

/// Writes one line of text, cut with `…` where it does not fit.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    if area.is_empty() {
        return;
    }
    buffer.set_stringn(area.x, area.y, first_of(text, usize::from(area.width)), usize::from(area.width), style);
}

/// Writes one line of text so that it ends at the right edge.
fn put_right(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let text = first_of(text, usize::from(area.width));
    let width = u16::try_from(text.width()).unwrap_or(area.width).min(area.width);
    let place = Rect { x: area.right() - width, width, ..area };
    put(buffer, place, &text, style);
}

/// Seconds as a column shows them.
fn seconds(us: u64) -> String {
    let seconds = us as f64 / 1e6;
    match seconds {
        _ if seconds < 1000.0 => format!("{seconds:.2}s"),
        _ if seconds < 100_000.0 => format!("{seconds:.0}s"),
        _ => format!("{:.0}h", seconds / 3600.0),
    }
}

/// `part` of `whole` in percent; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
