//! The keys: one table says what each does and what help says of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::fit;
use super::state::{Column, View};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// End.
    Quit,
    /// Show the keys.
    Help,
    /// Show a view.
    Show(View),
    /// Show the view to the right.
    NextView,
    /// Show the view to the left.
    PreviousView,
    /// Select what is so many rows below.
    Move(i32),
    /// Select what is so many pages below.
    Page(i32),
    /// Select the first.
    First,
    /// Select the last.
    Last,
    /// To the left; close.
    Left,
    /// To the right; open.
    Right,
    /// Look closer.
    Enter,
    /// Back, one thing after the other.
    Back,
    /// Close or open the whole tree.
    CloseAll(bool),
    /// Sort by a column.
    Sort(Column),
    /// Sort by the next column.
    SortNext,
    /// Turn the order.
    Reverse,
    /// Lines or functions.
    Lines,
    /// Which time the numbers are of.
    Scope,
    /// Forget all samples.
    Reset,
    /// Let the view stand still, or go on.
    Freeze,
    /// Only what held the GIL, or all.
    Gil,
    /// Idle threads too, or not.
    Idle,
    /// Threads apart, or together.
    Threads,
    /// Whole file names, or from the package on.
    FileNames,
    /// Another rate.
    Rate(bool),
    /// What a thread is doing.
    Dump,
    /// Write what was collected.
    Write,
    /// Type a filter.
    Filter,
    /// Draw everything anew.
    Redraw,
    /// Stop, as the shell's job control does.
    Suspend,
}

/// A line of the table.
pub(crate) struct Binding {
    /// The keys.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// What help says; an empty one goes with the line above.
    pub help: &'static str,
}

/// A key as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character.
    Char(char),
    /// With Ctrl held.
    Ctrl(char),
    /// Any other.
    Code(KeyCode),
}

use Key::{Char, Code, Ctrl};

const fn binding(keys: &'static [Key], action: Action, help: &'static str) -> Binding {
    Binding { keys, action, help }
}

/// All keys, in the order in which help lists them.
pub(crate) const BINDINGS: &[Binding] = &[
    binding(&[Char('q'), Char('Q'), Ctrl('c')], Action::Quit, "quit"),
    binding(&[Char('?'), Char('h')], Action::Help, "this help"),
    binding(&[Code(KeyCode::Tab)], Action::NextView, "next view"),
    binding(&[Code(KeyCode::BackTab)], Action::PreviousView, "previous view"),
    binding(&[Code(KeyCode::F(1))], Action::Show(View::Functions), "functions"),
    binding(&[Code(KeyCode::F(2))], Action::Show(View::Lines), "lines"),
    binding(&[Code(KeyCode::F(3))], Action::Show(View::Threads), "threads"),
    binding(&[Code(KeyCode::F(4))], Action::Show(View::Processes), "processes"),
    binding(&[Code(KeyCode::F(5))], Action::Show(View::Tree), "call tree"),
    binding(&[Code(KeyCode::F(6))], Action::Show(View::Flame), "flame graph"),
    binding(&[Code(KeyCode::F(7))], Action::Show(View::Output), "what a started program has written"),
    binding(&[Code(KeyCode::F(8))], Action::Show(View::Tasks), "the tasks of event loops, where there are some"),
    binding(&[Code(KeyCode::Up), Char('k')], Action::Move(-1), "up; in the flame graph to the caller"),
    binding(&[Code(KeyCode::Down), Char('j')], Action::Move(1), "down; in the flame graph to the heaviest callee"),
    binding(&[Code(KeyCode::PageUp), Ctrl('b')], Action::Page(-1), "a page up"),
    binding(&[Code(KeyCode::PageDown), Ctrl('f')], Action::Page(1), "a page down"),
    binding(&[Code(KeyCode::Home)], Action::First, "to the first row"),
    binding(&[Code(KeyCode::End), Char('G')], Action::Last, "to the last row"),
    binding(&[Code(KeyCode::Left)], Action::Left, "close a tree node; in the flame graph and in texts to the left"),
    binding(&[Code(KeyCode::Right)], Action::Right, "open a tree node; in the flame graph and in texts to the right"),
    binding(&[Char('['), Char(']')], Action::CloseAll(true), "close [ or open ] the whole tree"),
    binding(
        &[Code(KeyCode::Enter)],
        Action::Enter,
        "a function's callers, callees and source; only this thread; zoom into a block; the stack of a task",
    ),
    binding(
        &[Code(KeyCode::Esc), Code(KeyCode::Backspace), Char('x'), Char('X')],
        Action::Back,
        "back, out, all threads",
    ),
    binding(&[Char('1')], Action::Sort(Column::OwnPercent), "sort by %Own: time in the function itself"),
    binding(
        &[Char('2')],
        Action::Sort(Column::TotalPercent),
        "sort by %Total: time in the function and what it called",
    ),
    binding(&[Char('3')], Action::Sort(Column::OwnTime), "sort by OwnTime"),
    binding(&[Char('4')], Action::Sort(Column::TotalTime), "sort by TotalTime"),
    binding(&[Char('s')], Action::SortNext, "sort by the next column"),
    binding(&[Char('S')], Action::Reverse, "turn the order"),
    binding(&[Char('l'), Char('L')], Action::Lines, "lines or functions"),
    binding(&[Char('a')], Action::Scope, "% of the window and time since reset; all of the window; all since reset"),
    binding(&[Char('r'), Char('R')], Action::Reset, "reset: forget all samples"),
    binding(&[Char(' ')], Action::Freeze, "freeze the view, or go on"),
    binding(
        &[Char('/')],
        Action::Filter,
        "filter by name and file, and by thread where they are apart; Enter keeps it, Esc drops it",
    ),
    binding(&[Char('g')], Action::Gil, "only what holds the GIL, or all"),
    binding(&[Char('i')], Action::Idle, "idle threads too, or not"),
    binding(&[Char('t')], Action::Threads, "each thread apart, or all together"),
    binding(&[Char('f')], Action::FileNames, "whole file names, or from the package on"),
    binding(&[Char('+'), Char('=')], Action::Rate(true), "a higher rate of sampling"),
    binding(&[Char('-')], Action::Rate(false), "a lower rate of sampling"),
    binding(&[Char('d')], Action::Dump, "dump: what the selected thread, or every one, is doing right now"),
    binding(&[Char('w')], Action::Write, "write what was collected since reset to a file"),
    binding(&[Ctrl('l')], Action::Redraw, "draw everything anew"),
    binding(&[Ctrl('z')], Action::Suspend, "suspend"),
];

/// What the mouse does, for help.
pub(crate) const MOUSE: &[(&str, &str)] = &[
    ("click", "select a row or block, again to look closer; show a view; sort by a column"),
    ("wheel", "up and down"),
];

/// What the numbers on the screen are, for help.
pub(crate) const NUMBERS: &[(&str, &str)] = &[
    ("%Own, %Total", "of wall time; threads that run at the same time add up, so several make more than 100%"),
    ("Hz asked, held", "samples to be taken each second, and those that were: fewer on a busy machine"),
    ("late, lost", "samples that were skipped as it was too late for them, and that could not be read"),
    ("unproven", "samples that may be of two moments, as the thread could not be stopped"),
    ("GIL, active, GC", "time in which a thread held the GIL, ran, collected garbage"),
    ("stopped", "time in which a thread was stopped to be read"),
];

/// The keys that were pressed. A terminal tells Esc and a key soon after it as that key with Alt, with which nothing
/// here is called.
pub(crate) fn pressed(event: &KeyEvent) -> impl Iterator<Item = KeyEvent> + use<> {
    let codes = matches!(event.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace);
    let is_after_escape = codes && event.modifiers.contains(KeyModifiers::ALT);
    let mut key = *event;
    if is_after_escape {
        key.modifiers.remove(KeyModifiers::ALT);
    }
    is_after_escape.then(|| KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)).into_iter().chain([key])
}

/// What a key does, if anything.
pub(crate) fn action(event: &KeyEvent) -> Option<Action> {
    let key = key(event)?;
    // Two keys, one line of help.
    if key == Char(']') {
        return Some(Action::CloseAll(false));
    }
    BINDINGS.iter().find(|binding| binding.keys.contains(&key)).map(|binding| binding.action)
}

fn key(event: &KeyEvent) -> Option<Key> {
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match event.code {
        KeyCode::Char(character) if event.modifiers.contains(KeyModifiers::CONTROL) => {
            Ctrl(character.to_ascii_lowercase())
        }
        KeyCode::Char(character) => Char(character),
        code => Code(code),
    })
}

impl Key {
    /// What it is called.
    pub(crate) fn name(self) -> String {
        match self {
            Char(' ') => "Space".to_owned(),
            Char(character) => character.to_string(),
            Ctrl(character) => format!("Ctrl-{}", character.to_ascii_uppercase()),
            Code(KeyCode::BackTab) => "Shift-Tab".to_owned(),
            Code(KeyCode::PageUp) => "PgUp".to_owned(),
            Code(KeyCode::PageDown) => "PgDn".to_owned(),
            Code(code) => code.to_string(),
        }
    }
}

/// The columns of the names of keys on the help screen, and of what is said of them: together they fit in the smallest
/// terminal's frame.
const HELP_COLUMNS: (usize, usize) = (22, 54);

/// The lines of the help screen on a terminal so wide: side by side as often as they fit.
pub(crate) fn help(width: u16) -> Vec<String> {
    let lines = help_lines();
    // The frame takes two columns, and so does the room between two.
    let each = HELP_COLUMNS.0 + 2 + HELP_COLUMNS.1;
    let columns = (usize::from(width) / (each + 2)).max(1);
    let rows = lines.len().div_ceil(columns);
    let row = |row: usize| {
        let cells = (0..columns).filter_map(|column| lines.get(column * rows + row));
        let cells: Vec<String> = cells.map(|line| format!("{line:<each$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    (0..rows).map(row).collect()
}

fn help_lines() -> Vec<String> {
    let of_keys = BINDINGS.iter().map(|binding| {
        let keys: Vec<String> = binding.keys.iter().map(|key| key.name()).collect();
        (keys.join(", "), binding.help)
    });
    let of_others = MOUSE.iter().chain(NUMBERS).map(|(what, help)| ((*what).to_owned(), *help));
    let mut lines = Vec::new();
    for (mut keys, help) in of_keys.chain(of_others) {
        for help in fit::lines(help, HELP_COLUMNS.1) {
            lines.push(format!("{keys:>0$}  {help}", HELP_COLUMNS.0));
            keys.clear();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_in_the_table_twice_and_all_have_help() {
        let keys: Vec<Key> = BINDINGS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key:?}");
        }
        assert!(BINDINGS.iter().all(|binding| !binding.help.is_empty()));
    }

    #[test]
    fn every_key_of_the_table_is_handled_as_it_says() {
        for binding in BINDINGS {
            for key in binding.keys {
                let event = match *key {
                    Char(character) => KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE),
                    Ctrl(character) => KeyEvent::new(KeyCode::Char(character), KeyModifiers::CONTROL),
                    Code(code) => KeyEvent::new(code, KeyModifiers::NONE),
                };
                let expected = if *key == Char(']') { Action::CloseAll(false) } else { binding.action };
                assert_eq!(action(&event), Some(expected));
            }
        }
    }

    #[test]
    fn help_names_every_key() {
        for (width, columns) in [(80, 1), (120, 1), (160, 2), (250, 3)] {
            let lines = help(width);
            assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width) - 2), "{lines:#?}");
            assert_eq!(lines.len(), help_lines().len().div_ceil(columns));
            assert!(help_lines().iter().all(|line| lines.iter().any(|row| row.contains(line.trim_end()))));
        }
        let help = help(80).join("\n");
        let numbers = ["more than 100%", "Hz asked, held"];
        let keys = ["q, Q, Ctrl-C", "Shift-Tab", "F6", "PgDn", "Space", "Esc, Backspace, x, X", "wheel"];
        for name in keys.into_iter().chain(numbers) {
            assert!(help.contains(name), "{name} in {help}");
        }
    }
}
