//! Going from view to view, and within one: up and down, into things and back.

use super::detail::{detail_source, detail_top};
use super::event::Effect;
use super::flame::{self, Step};
use super::index::{FunctionId, ROOT};
use super::state::{Detail, Key, Overlay, State, View};
use super::{layout, sideways};

/// Shows a view, if there is such.
pub(super) fn show_view(state: &mut State, view: View) {
    if state.views().any(|known| known == view) {
        state.selection.view = view;
        state.overlay = Overlay::Nothing;
    }
}

/// Goes so many tabs to the right, and from the last to the first.
pub(super) fn step_view(state: &mut State, steps: usize) {
    let views: Vec<View> = state.views().collect();
    let at = views.iter().position(|view| *view == state.selection.view).unwrap_or(0);
    show_view(state, views[(at + steps) % views.len()]);
}

/// Up and down: in the flame graph by calls, everywhere else by rows.
pub(super) fn step_rows(state: &mut State, rows: i32) {
    if state.selection.view == View::Flame && matches!(state.overlay, Overlay::Nothing) {
        step_to_block(state, if rows < 0 { Step::Caller } else { Step::Callee });
    } else {
        move_rows(state, rows);
    }
}

/// Selects the block of the flame graph that lies in a direction.
pub(super) fn step_to_block(state: &mut State, step: Step) {
    match flame::neighbour(state, step) {
        Some(node) => state.selection.block = node,
        // Above what was zoomed to lies its caller.
        None if step == Step::Caller && state.selection.zoom != ROOT => {
            state.selection.zoom = state.data.index.node(state.selection.zoom).parent;
            state.selection.block = state.selection.zoom;
        }
        None => {}
    }
}

/// Moves what is shown, or the selection, by so many rows.
pub(super) fn move_rows(state: &mut State, rows: i32) {
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
    match state.selection.view {
        View::Output => {
            let last = (state.data.output.lines.len() + 1).saturating_sub(height);
            let top = moved(state.selection.output_top.unwrap_or(last), last + 1);
            state.selection.output_top = (top < last).then_some(top);
        }
        View::Flame => {
            let first = state.blocks.first().map(|block| block.node);
            let last = state.blocks.last().map(|block| block.node);
            state.selection.block = if rows < 0 { first } else { last }.unwrap_or(ROOT);
        }
        _ => {
            let at = match state.selected_row() {
                Some(at) => moved(at, state.rows.len()),
                // What was chosen is gone.
                None if rows == -1 || rows == 1 => state.selection.cursor().top,
                None => moved(state.selection.cursor().top, state.rows.len()),
            };
            let key = state.rows.get(at).map(|row| row.key);
            state.selection.cursor_mut().selected = key;
        }
    }
}

/// Left and right: in texts sideways, in the tree close and open, in the flame graph to the neighbours.
pub(super) fn move_sideways(state: &mut State, right: bool) {
    if sideways::move_text(state, right) {
        return;
    }
    match state.selection.view {
        View::Flame => step_to_block(state, if right { Step::Right } else { Step::Left }),
        View::Tree => {
            let Some(row) = state.selected_row().and_then(|at| state.rows.get(at)).copied() else { return };
            match row.open {
                Some(open) if open != right => toggle_node(state, row.key),
                // Closed already: to what it lies in.
                _ if !right => {
                    if let Key::Node(thread, node) = row.key {
                        let parent = Key::Node(thread, state.data.index.node(node).parent);
                        if state.rows.iter().any(|row| row.key == parent) {
                            state.selection.cursor_mut().selected = Some(parent);
                        }
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn toggle_node(state: &mut State, key: Key) {
    if !state.selection.toggled.remove(&key) {
        state.selection.toggled.insert(key);
    }
}

/// Goes into what is selected: a function's details, a thread, a process, a block of the flame graph.
pub(super) fn enter_selected(state: &mut State, effects: &mut Vec<Effect>) {
    if !matches!(state.overlay, Overlay::Nothing) {
        return;
    }
    match (state.selection.view, state.selected_key()) {
        (View::Flame, _) if state.selection.block != state.selection.zoom => {
            state.selection.zoom = state.selection.block;
        }
        (View::Threads, Some(Key::Thread(thread))) => {
            state.selection.only_thread = Some(thread);
            show_view(state, View::Functions);
        }
        (View::Tasks, Some(Key::Tasks(id))) => effects.push(Effect::Task(id)),
        (View::Processes, Some(_)) => show_view(state, View::Threads),
        _ => {
            if let Some(function) = state.selected_function() {
                show_detail(state, function, effects);
            }
        }
    }
}

/// Shows a function's callers, callees and source.
fn show_detail(state: &mut State, function: FunctionId, effects: &mut Vec<Effect>) {
    state.overlay = Overlay::Detail(Box::new(Detail { function, ..Detail::default() }));
    if let Some(function) = state.data.index.function(function)
        && !state.data.sources.contains_key(&function.file)
    {
        effects.push(Effect::Source(function.file));
    }
}

/// Takes back one thing: what lies over the view, the zoom, the filter, the choice of a thread, the selection.
pub(super) fn go_back(state: &mut State) {
    if !matches!(state.overlay, Overlay::Nothing) {
        state.overlay = Overlay::Nothing;
    } else if state.selection.view == View::Flame && state.selection.zoom != ROOT {
        state.selection.block = state.selection.zoom;
        state.selection.zoom = state.data.index.node(state.selection.zoom).parent;
    } else if !state.selection.filter.is_empty() {
        state.selection.filter.clear();
    } else if state.selection.only_thread.is_some() {
        state.selection.only_thread = None;
    } else {
        state.selection.cursor_mut().selected = None;
    }
}
