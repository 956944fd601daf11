//! What happens to the state: one event after the other. Does nothing else; what must be done outside is returned.

use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Size;

use super::event::{Effect, Event};
use super::key_bindings::{self, Action};
use super::state::{Entry, Key, Overlay, Pane, Scope, State, View};
use super::{layout, memory_limit, mouse, navigate, typing};

/// Rates that `+` and `-` go through.
const RATES: [u32; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
/// Changes the state by what happened, and says what is to be done.
pub(crate) fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        Event::Window(window) => {
            if window.delta.fresh && state.data.windows > 0 {
                state.condense();
            }
            state.data.add_window(*window);
            if state.data.room.is_exceeded(&state.data.profile) {
                state.data.room.is_asked = true;
                effects.push(Effect::BeginAnew);
            }
            if state.data.frozen.is_none() {
                state.refresh();
            }
        }
        Event::Output(text) => {
            let gone = state.data.output.append(&text);
            let top = &mut state.selection.output_top;
            *top = top.map(|top| top.saturating_sub(gone));
        }
        Event::Source(file, lines) => {
            if state.data.sources.len() >= memory_limit::MOST_SOURCES {
                state.data.sources.clear();
            }
            state.data.sources.insert(file, lines);
        }
        Event::Dump(text) => {
            let lines = text.lines().map(str::to_owned).collect();
            state.overlay =
                Overlay::Dump(Pane { title: "what threads are doing".to_owned(), lines, ..Pane::default() });
        }
        Event::Notice(text) => state.prompt.notice = Some(text),
        Event::Ended(how) => state.data.ended = Some(how),
        Event::Input(Input::Resize(columns, rows)) => {
            state.size = Size::new(columns, rows);
            if let Overlay::Help(pane) = &mut state.overlay {
                *pane = Pane {
                    title: std::mem::take(&mut pane.title),
                    lines: key_bindings::help(columns),
                    ..Pane::default()
                };
            }
            state.refresh();
        }
        Event::Input(Input::Key(key)) if key.kind != KeyEventKind::Release => {
            for key in key_bindings::pressed(&key) {
                handle_key(state, &key, &mut effects);
            }
        }
        Event::Input(Input::Mouse(event)) => mouse::handle(state, &event, &mut effects),
        Event::Input(Input::Paste(text)) if state.prompt.entry != Entry::Nothing => {
            for character in text.chars().filter(|character| !character.is_control()) {
                typing::type_character(state, character);
            }
            state.refresh();
        }
        Event::Input(_) => {}
    }
    effects
}

fn handle_key(state: &mut State, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let action = key_bindings::action(key);
    if state.prompt.entry != Entry::Nothing && action != Some(Action::Suspend) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            typing::handle_key(state, &KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE), effects);
        } else {
            typing::handle_key(state, key, effects);
        }
        return;
    }
    state.prompt.notice = None;
    if let Some(action) = action {
        carry_out(state, action, effects);
    }
}

fn carry_out(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Quit => effects.push(Effect::Quit),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Help => {
            state.overlay = match state.overlay {
                Overlay::Help(_) => Overlay::Nothing,
                _ => Overlay::Help(Pane {
                    title: "keys, and at the end what the numbers are".to_owned(),
                    lines: key_bindings::help(state.size.width),
                    ..Pane::default()
                }),
            };
        }
        Action::Show(view) => navigate::show_view(state, view),
        Action::NextView => navigate::step_view(state, 1),
        Action::PreviousView => navigate::step_view(state, state.views().count() - 1),
        Action::Move(rows) => navigate::step_rows(state, rows),
        Action::Page(pages) => {
            let page = i32::try_from(layout::body_rows(state.size)).unwrap_or(1);
            navigate::move_rows(state, pages * (page - 1).max(1));
        }
        Action::First => navigate::move_rows(state, i32::MIN),
        Action::Last => navigate::move_rows(state, i32::MAX),
        Action::Left => navigate::move_sideways(state, false),
        Action::Right => navigate::move_sideways(state, true),
        Action::CloseAll(closed) => {
            state.selection.tree_closed = closed;
            state.selection.toggled.clear();
        }
        Action::Enter => navigate::enter_selected(state, effects),
        Action::Back => navigate::go_back(state),
        Action::Sort(column) => state.selection.column = column,
        Action::SortNext => state.selection.column = state.selection.column.next(),
        Action::Reverse => state.selection.reversed = !state.selection.reversed,
        Action::Lines => {
            let view = if state.selection.view == View::Functions { View::Lines } else { View::Functions };
            navigate::show_view(state, view);
        }
        Action::Scope => {
            state.selection.scope = match state.selection.scope {
                Scope::Both => Scope::Window,
                Scope::Window => Scope::Reset,
                Scope::Reset => Scope::Both,
            };
        }
        Action::Reset => state.data.forget_samples(),
        Action::Freeze => state.data.toggle_frozen(),
        Action::Gil => state.selection.gil_only = !state.selection.gil_only,
        Action::Idle => state.selection.idle = !state.selection.idle,
        Action::Threads => state.selection.per_thread = !state.selection.per_thread,
        Action::FileNames => state.selection.full_file_names = !state.selection.full_file_names,
        Action::Rate(faster) => {
            let now = state.data.facts.rate_asked;
            let next = if faster {
                RATES.into_iter().find(|rate| *rate > now)
            } else {
                RATES.into_iter().rev().find(|rate| *rate < now)
            };
            if let Some(rate) = next {
                state.data.facts.rate_asked = rate;
                effects.push(Effect::Rate(rate));
            }
        }
        Action::Dump => {
            let thread = state.selected_thread();
            let process = match state.selected_key() {
                Some(Key::Process(process)) => Some(process),
                _ => thread.map(|thread| state.data.profile.thread(thread).process),
            };
            effects.push(Effect::Dump(process, thread));
        }
        Action::Write => {
            let pid = state.data.profile.processes().next().map_or(0, |(_, process)| process.pid);
            let path =
                if state.prompt.path.is_empty() { format!("pyspy-{pid}.svg") } else { state.prompt.path.clone() };
            state.prompt.entry = Entry::Write(path);
            state.prompt.behind = 0;
        }
        Action::Filter => {
            state.prompt.entry = Entry::Filter(std::mem::take(&mut state.selection.filter));
            state.prompt.behind = 0;
            state.overlay = Overlay::Nothing;
        }
    }
    state.refresh();
}
