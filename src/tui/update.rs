//! What happens to the state: one event after the other. Does nothing else; what must be done outside is returned.

use ratatui::crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::flame::{self, Step};
use super::index::{FunctionId, ROOT};
use super::keys::{self, Action};
use super::layout;
use super::room;
use super::rows::Key;
use super::sideways;
use super::state::{Detail, Entry, Overlay, Pane, Scope, State, View};
use super::window::Window;
use crate::profile::{ProcessRef, TextId, ThreadRef};

/// Rates that `+` and `-` go through.
const RATES: [u32; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
/// Rows that one turn of the wheel moves.
const WHEEL: i32 = 3;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A key, the mouse, or another size.
    Input(Input),
    /// A window of samples.
    Window(Box<Window>),
    /// The target has written something.
    Output(String),
    /// A source that was asked for, or none.
    Source(TextId, Option<Vec<String>>),
    /// What threads are doing, as asked for.
    Dump(String),
    /// Something to tell.
    Notice(String),
    /// The target is no more; how it ended.
    Ended(String),
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Sample at this rate.
    Rate(u32),
    /// Read a source file; answered by [`Event::Source`].
    Source(TextId),
    /// Look at a thread, or at all of a process, or at all; answered by [`Event::Dump`].
    Dump(Option<ProcessRef>, Option<ThreadRef>),
    /// Write what was collected to this file; answered by [`Event::Notice`].
    Write(String),
    /// Draw all of the screen.
    Redraw,
    /// Stop ourselves.
    Suspend,
    /// Have the sampler begin its tables anew: the next window but one, or so, is fresh.
    BeginAnew,
}

/// Changes the state by what happened, and says what is to be done.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        Event::Window(window) => {
            state.take_window(*window);
            if state.is_over_room() {
                state.room.is_asked = true;
                effects.push(Effect::BeginAnew);
            }
            if state.frozen.is_none() {
                state.refresh();
            }
        }
        Event::Output(text) => state.take_output(&text),
        Event::Source(file, lines) => {
            if state.sources.len() >= room::MOST_SOURCES {
                state.sources.clear();
            }
            state.sources.insert(file, lines);
        }
        Event::Dump(text) => {
            let lines = text.lines().map(str::to_owned).collect();
            state.overlay =
                Overlay::Dump(Pane { title: "what threads are doing".to_owned(), lines, ..Pane::default() });
        }
        Event::Notice(text) => state.notice = Some(text),
        Event::Ended(how) => state.ended = Some(how),
        Event::Input(Input::Resize(columns, rows)) => {
            state.size = (columns, rows);
            state.refresh();
        }
        Event::Input(Input::Key(key)) if key.kind != KeyEventKind::Release => {
            for key in keys::pressed(&key) {
                press(state, &key, &mut effects);
            }
        }
        Event::Input(Input::Mouse(mouse)) => point(state, &mouse, &mut effects),
        Event::Input(Input::Paste(text)) if state.entry != Entry::Nothing => {
            for character in text.chars().filter(|character| !character.is_control()) {
                type_character(state, character);
            }
            state.refresh();
        }
        Event::Input(_) => {}
    }
    effects
}

fn press(state: &mut State, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let action = keys::action(key);
    if state.entry != Entry::Nothing && action != Some(Action::Suspend) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            key_in_entry(state, KeyCode::Esc, effects);
        } else {
            key_in_entry(state, key.code, effects);
        }
        return;
    }
    state.notice = None;
    if let Some(action) = action {
        act(state, action, effects);
    }
}

fn key_in_entry(state: &mut State, code: KeyCode, effects: &mut Vec<Effect>) {
    match code {
        KeyCode::Enter => {
            if let Entry::Write(path) = std::mem::take(&mut state.entry)
                && !path.trim().is_empty()
            {
                path.trim().clone_into(&mut state.path);
                effects.push(Effect::Write(state.path.clone()));
            }
        }
        KeyCode::Esc => {
            if let Entry::Filter(before) = std::mem::take(&mut state.entry) {
                state.filter = before;
            }
        }
        KeyCode::Backspace => match &mut state.entry {
            Entry::Filter(_) => drop(state.filter.pop()),
            Entry::Write(path) => drop(path.pop()),
            Entry::Nothing => {}
        },
        KeyCode::Char(character) => type_character(state, character),
        _ => {}
    }
    state.refresh();
}

fn type_character(state: &mut State, character: char) {
    match &mut state.entry {
        Entry::Filter(_) => state.filter.push(character),
        Entry::Write(path) => path.push(character),
        Entry::Nothing => {}
    }
}

fn act(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Quit => effects.push(Effect::Quit),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Help => {
            state.overlay = match state.overlay {
                Overlay::Help(_) => Overlay::Nothing,
                _ => Overlay::Help(Pane { title: "keys".to_owned(), lines: keys::help(), ..Pane::default() }),
            };
        }
        Action::Show(view) => show(state, view),
        Action::NextView => step_view(state, 1),
        Action::PreviousView => step_view(state, state.views().count() - 1),
        Action::Move(rows) => step(state, rows),
        Action::Page(pages) => {
            let page = i32::try_from(layout::body_rows(state.size)).unwrap_or(1);
            move_by(state, pages * (page - 1).max(1));
        }
        Action::First => move_by(state, i32::MIN),
        Action::Last => move_by(state, i32::MAX),
        Action::Left => turn(state, false),
        Action::Right => turn(state, true),
        Action::CloseAll(closed) => {
            state.tree_closed = closed;
            state.toggled.clear();
        }
        Action::Enter => enter(state, effects),
        Action::Back => back(state),
        Action::Sort(column) => state.column = column,
        Action::SortNext => state.column = state.column.next(),
        Action::Reverse => state.reversed = !state.reversed,
        Action::Lines => {
            let view = if state.view == View::Functions { View::Lines } else { View::Functions };
            show(state, view);
        }
        Action::Scope => {
            state.scope = match state.scope {
                Scope::Both => Scope::Window,
                Scope::Window => Scope::Reset,
                Scope::Reset => Scope::Both,
            };
        }
        Action::Reset => state.reset(),
        Action::Freeze => {
            state.frozen = match state.frozen {
                Some(_) => None,
                None => {
                    let mut frozen = state.latest.clone();
                    frozen.all = state.profile.totals().to_vec();
                    Some(frozen)
                }
            };
        }
        Action::Gil => state.gil_only = !state.gil_only,
        Action::Idle => state.idle = !state.idle,
        Action::Threads => state.per_thread = !state.per_thread,
        Action::FileNames => state.full_file_names = !state.full_file_names,
        Action::Rate(faster) => {
            let now = state.facts.rate_asked;
            let next = if faster {
                RATES.into_iter().find(|rate| *rate > now)
            } else {
                RATES.into_iter().rev().find(|rate| *rate < now)
            };
            if let Some(rate) = next {
                state.facts.rate_asked = rate;
                effects.push(Effect::Rate(rate));
            }
        }
        Action::Dump => {
            let thread = state.selected_thread();
            let process = match state.cursor().selected {
                Some(Key::Process(process)) => Some(process),
                _ => thread.map(|thread| state.profile.thread(thread).process),
            };
            effects.push(Effect::Dump(process, thread));
        }
        Action::Write => {
            let pid = state.profile.processes().next().map_or(0, |(_, process)| process.pid);
            let path = if state.path.is_empty() { format!("pyspy-{pid}.svg") } else { state.path.clone() };
            state.entry = Entry::Write(path);
        }
        Action::Filter => {
            state.entry = Entry::Filter(std::mem::take(&mut state.filter));
            state.overlay = Overlay::Nothing;
        }
    }
    state.refresh();
}

fn show(state: &mut State, view: View) {
    if state.views().any(|known| known == view) {
        state.view = view;
        state.overlay = Overlay::Nothing;
    }
}

fn step_view(state: &mut State, steps: usize) {
    let views: Vec<View> = state.views().collect();
    let at = views.iter().position(|view| *view == state.view).unwrap_or(0);
    show(state, views[(at + steps) % views.len()]);
}

/// Up and down: in the flame graph by calls, everywhere else by rows.
fn step(state: &mut State, rows: i32) {
    if state.view == View::Flame && matches!(state.overlay, Overlay::Nothing) {
        go(state, if rows < 0 { Step::Caller } else { Step::Callee });
    } else {
        move_by(state, rows);
    }
}

fn go(state: &mut State, step: Step) {
    match flame::neighbour(state, step) {
        Some(node) => state.block = node,
        // Above what was zoomed to lies its caller.
        None if step == Step::Caller && state.zoom != ROOT => {
            state.zoom = state.index.node(state.zoom).parent;
            state.block = state.zoom;
        }
        None => {}
    }
}

fn move_by(state: &mut State, rows: i32) {
    let moved = |at: usize, count: usize| {
        let last = i64::try_from(count).unwrap_or(i64::MAX) - 1;
        let wanted = i64::try_from(at).unwrap_or(i64::MAX).saturating_add(i64::from(rows));
        usize::try_from(wanted.min(last).max(0)).unwrap_or(0)
    };
    let height = layout::body_rows(state.size);
    match &mut state.overlay {
        Overlay::Help(pane) | Overlay::Dump(pane) => {
            // The frame around it takes two rows.
            let shown = height.saturating_sub(2);
            pane.top = moved(pane.top, pane.lines.len().saturating_sub(shown).max(1));
            return;
        }
        Overlay::Detail(_) => {
            let count = detail_source(state).map_or(0, |lines| lines.len());
            let top = detail_top(state);
            if let Overlay::Detail(detail) = &mut state.overlay {
                detail.top = Some(moved(top, count.max(1)));
            }
            return;
        }
        Overlay::Nothing => {}
    }
    match state.view {
        View::Output => {
            let last = (state.output.len() + 1).saturating_sub(height);
            let top = moved(state.output_top.unwrap_or(last), last + 1);
            state.output_top = (top < last).then_some(top);
        }
        View::Flame => {
            let first = state.blocks.first().map(|block| block.node);
            let last = state.blocks.last().map(|block| block.node);
            state.block = if rows < 0 { first } else { last }.unwrap_or(ROOT);
        }
        _ => {
            let at = match state.selected_row() {
                Some(at) => moved(at, state.rows.len()),
                // The first step selects what is there to be seen.
                None if rows < 0 && rows > -2 => state.cursor().top,
                None if rows == 1 => state.cursor().top,
                None => moved(state.cursor().top, state.rows.len()),
            };
            let key = state.rows.get(at).map(|row| row.key);
            state.cursor_mut().selected = key;
        }
    }
}

/// The source of the function that is looked at, if it is known.
pub(super) fn detail_source(state: &State) -> Option<&[String]> {
    let Overlay::Detail(detail) = &state.overlay else { return None };
    let function = state.index.function(detail.function)?;
    state.sources.get(&function.file)?.as_deref()
}

/// The first line of source to show: where somebody has scrolled to, or so that the heaviest line is to be seen.
pub(super) fn detail_top(state: &State) -> usize {
    let Overlay::Detail(detail) = &state.overlay else { return 0 };
    if let Some(top) = detail.top {
        return top;
    }
    let first = state.index.function(detail.function).map_or(0, |function| function.first_line);
    let heaviest = detail.lines.iter().max_by_key(|(line, (own, total))| (*total, *own, std::cmp::Reverse(**line)));
    let heaviest = heaviest.map_or(first, |(line, _)| *line);
    // From the definition on, if the heaviest line is near it.
    let top = if heaviest.saturating_sub(first) < 6 { first.saturating_sub(1) } else { heaviest.saturating_sub(4) };
    usize::try_from(top).unwrap_or(0)
}

/// Left and right: in texts sideways, in the tree close and open, in the flame graph to the neighbours.
fn turn(state: &mut State, right: bool) {
    if sideways::move_text(state, right) {
        return;
    }
    match state.view {
        View::Flame => go(state, if right { Step::Right } else { Step::Left }),
        View::Tree => {
            let Some(row) = state.selected_row().and_then(|at| state.rows.get(at)).copied() else { return };
            match row.open {
                Some(open) if open != right => toggle(state, row.key),
                // Closed already: to what it lies in.
                _ if !right => {
                    if let Key::Node(thread, node) = row.key {
                        let parent = Key::Node(thread, state.index.node(node).parent);
                        if state.rows.iter().any(|row| row.key == parent) {
                            state.cursor_mut().selected = Some(parent);
                        }
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn toggle(state: &mut State, key: Key) {
    if !state.toggled.remove(&key) {
        state.toggled.insert(key);
    }
}

fn enter(state: &mut State, effects: &mut Vec<Effect>) {
    if !matches!(state.overlay, Overlay::Nothing) {
        return;
    }
    match (state.view, state.cursor().selected) {
        (View::Flame, _) if state.block != state.zoom => state.zoom = state.block,
        (View::Threads, Some(Key::Thread(thread))) => {
            state.only_thread = Some(thread);
            show(state, View::Functions);
        }
        (View::Processes, Some(_)) => show(state, View::Threads),
        _ => {
            if let Some(function) = state.selected_function() {
                look_at(state, function, effects);
            }
        }
    }
}

fn look_at(state: &mut State, function: FunctionId, effects: &mut Vec<Effect>) {
    state.overlay = Overlay::Detail(Box::new(Detail { function, ..Detail::default() }));
    if let Some(function) = state.index.function(function)
        && !state.sources.contains_key(&function.file)
    {
        effects.push(Effect::Source(function.file));
    }
}

/// Takes back one thing: what lies over the view, the zoom, the filter, the choice of a thread, the selection.
fn back(state: &mut State) {
    if !matches!(state.overlay, Overlay::Nothing) {
        state.overlay = Overlay::Nothing;
    } else if state.view == View::Flame && state.zoom != ROOT {
        state.block = state.zoom;
        state.zoom = state.index.node(state.zoom).parent;
    } else if !state.filter.is_empty() {
        state.filter.clear();
    } else if state.only_thread.is_some() {
        state.only_thread = None;
    } else {
        state.cursor_mut().selected = None;
    }
}

fn point(state: &mut State, mouse: &MouseEvent, effects: &mut Vec<Effect>) {
    match mouse.kind {
        MouseEventKind::ScrollUp => step_rows(state, -WHEEL),
        MouseEventKind::ScrollDown => step_rows(state, WHEEL),
        MouseEventKind::Down(MouseButton::Left) => click(state, mouse.column, mouse.row, effects),
        _ => return,
    }
    state.refresh();
}

fn step_rows(state: &mut State, rows: i32) {
    if state.view == View::Flame && matches!(state.overlay, Overlay::Nothing) {
        go(state, if rows < 0 { Step::Caller } else { Step::Callee });
    } else {
        move_by(state, rows);
    }
}

fn click(state: &mut State, column: u16, row: u16, effects: &mut Vec<Effect>) {
    let areas = layout::areas(state.size);
    if row == areas.tabs.y {
        let tab = layout::tabs(state).into_iter().find(|(_, x, width)| (*x..x + width).contains(&column));
        if let Some((view, ..)) = tab {
            show(state, view);
        }
    } else if !matches!(state.overlay, Overlay::Nothing) {
    } else if row == areas.columns.y {
        let starts = layout::NUMBER_STARTS;
        let clicked = starts.windows(2).position(|pair| (pair[0]..pair[1]).contains(&column));
        if let Some(at) = clicked.filter(|_| !matches!(state.view, View::Flame | View::Output)) {
            state.column = super::state::Column::ALL[at];
        }
    } else if (areas.body.y..areas.body.bottom()).contains(&row) {
        let line = usize::from(row - areas.body.y);
        if state.view == View::Flame {
            let level = line + state.cursor().top;
            let block = state
                .blocks
                .iter()
                .find(|block| block.level as usize == level && (block.x..block.x + block.width).contains(&column));
            if let Some(node) = block.map(|block| block.node) {
                if node == state.block {
                    enter(state, effects);
                }
                state.block = node;
            }
        } else if let Some(key) = state.rows.get(state.cursor().top + line).map(|row| row.key) {
            if state.cursor().selected == Some(key) {
                enter(state, effects);
            }
            state.cursor_mut().selected = Some(key);
        }
    }
}
