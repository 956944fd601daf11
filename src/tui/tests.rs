//! A target made up, and what is shown of it.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Size;
use ratatui::style::Color;

use super::state::{Column, Entry, Key, Overlay, Scope, View};
use super::window::{EventLoop, Facts, LoopBlocker, TaskGroup, ThreadNow, Usage, Window};
use super::*;
use crate::output::dump::TaskKind;
use crate::profile::{Flags, Frame, Mark, Process, ProcessRef, Profile, StackId, Thread, ThreadRef, Total};

mod input;
mod load;
mod looks;
mod views;

const ACTIVE_GIL: Flags = Flags::ACTIVE.with(Flags::GIL);

/// A target made up: `main` calls `heavy` (60 %), `medium` (30 %) and `light` (10 %) with the GIL; another thread
/// sleeps.
struct Source {
    profile: Profile,
    mark: Mark,
    threads: Vec<ThreadRef>,
    process: ProcessRef,
}

impl Source {
    fn new() -> Self {
        let mut profile = Profile::default();
        let command_line = profile.intern("python3 app.py --serve");
        let python_version = profile.intern("3.11.7");
        let process = profile.add_process(Process { pid: 4242, command_line, python_version, ..Process::default() });
        Self { profile, mark: Mark::default(), threads: Vec::new(), process }
    }

    /// The same process and threads in a new profile, as the sampler makes it when it is asked to begin anew.
    fn begin_anew(&mut self) {
        let before = std::mem::take(&mut self.profile);
        self.mark = Mark::default();
        self.profile.metadata = before.metadata.clone();
        let process = before.process(self.process);
        let (command_line, python_version) = (before.text(process.command_line), before.text(process.python_version));
        let command_line = self.profile.intern(command_line);
        let python_version = self.profile.intern(python_version);
        self.process = self.profile.add_process(Process { command_line, python_version, ..process.clone() });
        for thread in &mut self.threads {
            let known = *before.thread(*thread);
            let name = known.name.map(|name| self.profile.intern(before.text(name)));
            *thread = self.profile.add_thread(Thread { process: self.process, name, ..known });
        }
    }

    fn thread(&mut self, name: &str) -> ThreadRef {
        let name = self.profile.intern(name);
        let number = 4242 + self.threads.len() as u64;
        let thread = Thread {
            process: self.process,
            os_id: Some(number),
            python_id: number << 20,
            interpreter: 0,
            name: Some(name),
        };
        let thread = self.profile.add_thread(thread);
        self.threads.push(thread);
        thread
    }

    /// A stack of functions that begin in lines 10, 20 … of app.py, each at the line after, `+N` behind a name adds to
    /// that.
    fn stack(&mut self, functions: &[&str]) -> StackId {
        let mut stack = StackId::EMPTY;
        for function in functions {
            let (name, offset) = function.split_once('+').unwrap_or((function, "1"));
            let first_line = 10 * (1 + name.bytes().map(u32::from).sum::<u32>() % 90);
            let frame = Frame {
                name: self.profile.intern(name),
                file: self.profile.intern("/srv/site/app.py"),
                short_file: self.profile.intern("app.py"),
                line: first_line + offset.parse::<u32>().unwrap(),
                first_line,
                ..Frame::default()
            };
            let frame = self.profile.frame(frame);
            stack = self.profile.push(stack, frame);
        }
        stack
    }

    fn add(&mut self, thread: ThreadRef, functions: &[&str], flags: Flags, weight_us: u64) {
        let stack = self.stack(functions);
        self.profile.metadata.counts.taken += weight_us / 10_000;
        self.profile.add_total(Total { thread, stack, flags, samples: weight_us / 10_000, weight_us });
    }

    fn window(&mut self, wall_us: u64) -> Event {
        let totals = self.profile.take_totals();
        let mut last = std::collections::BTreeMap::new();
        for total in &totals {
            last.insert(total.thread, ThreadNow { thread: total.thread, stack: total.stack, flags: total.flags });
        }
        let mut delta = self.profile.delta_since(&mut self.mark);
        delta.totals = totals;
        let threads: Vec<ThreadNow> = last.into_values().collect();
        let facts = Facts {
            gil: 100.0,
            gil_waiters: 0.0,
            active: 100.0,
            gc: 3.0,
            cpu: Some(98.0),
            own_cpu: Some(0.7),
            resident_bytes: Some(123 << 20),
            uptime: Some(Duration::from_secs(3723)),
            rate_asked: 100,
            rate_held: 99.5,
            is_from_kernel: false,
            missed: 2,
            stopped: 0.01,
            processes: vec![Usage { pid: 4242, cpu: Some(98.0), resident_bytes: 123 << 20 }],
            running: 1,
            threads: threads.len(),
            trouble: None,
            loops: Vec::new(),
            tasks: Vec::new(),
        };
        Event::Window(Box::new(Window { delta, wall_us, facts, threads }))
    }
}

fn usual_window(source: &mut Source) -> Event {
    if source.threads.is_empty() {
        source.thread("MainThread");
        source.thread("sleepy");
    }
    let (main, sleepy) = (source.threads[0], source.threads[1]);
    source.add(main, &["main", "heavy"], ACTIVE_GIL, 500_000);
    source.add(main, &["main", "heavy+3"], ACTIVE_GIL, 100_000);
    source.add(main, &["main+2", "medium"], ACTIVE_GIL, 200_000);
    source.add(main, &["main+2", "medium", "helper"], ACTIVE_GIL, 100_000);
    source.add(main, &["main+3", "light"], Flags::ACTIVE, 100_000);
    source.add(sleepy, &["worker", "sleep"], Flags::NONE, 1_000_000);
    source.window(1_000_000)
}

fn usual((columns, rows): (u16, u16)) -> (State, Source) {
    let mut state = State::new(Settings { rate: 100, colour: true, ..Settings::default() }, Size::new(columns, rows));
    let mut source = Source::new();
    for _ in 0..2 {
        let window = usual_window(&mut source);
        update(&mut state, window);
    }
    (state, source)
}

fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.split(' ') {
        let (code, modifiers) = match key {
            "Space" => (KeyCode::Char(' '), KeyModifiers::NONE),
            "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
            "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
            "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
            "BackTab" => (KeyCode::BackTab, KeyModifiers::SHIFT),
            "Backspace" => (KeyCode::Backspace, KeyModifiers::NONE),
            "Up" => (KeyCode::Up, KeyModifiers::NONE),
            "Down" => (KeyCode::Down, KeyModifiers::NONE),
            "Left" => (KeyCode::Left, KeyModifiers::NONE),
            "Right" => (KeyCode::Right, KeyModifiers::NONE),
            "PgUp" => (KeyCode::PageUp, KeyModifiers::NONE),
            "PgDn" => (KeyCode::PageDown, KeyModifiers::NONE),
            "Delete" => (KeyCode::Delete, KeyModifiers::NONE),
            "Home" => (KeyCode::Home, KeyModifiers::NONE),
            "End" => (KeyCode::End, KeyModifiers::NONE),
            _ if key.len() == 2 && key.starts_with('F') => (KeyCode::F(key[1..].parse().unwrap()), KeyModifiers::NONE),
            _ if key.starts_with('^') => (KeyCode::Char(key.chars().nth(1).unwrap()), KeyModifiers::CONTROL),
            _ => {
                for character in key.chars() {
                    let event = KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE);
                    effects.extend(update(state, Event::Input(Input::Key(event))));
                }
                continue;
            }
        };
        effects.extend(update(state, Event::Input(Input::Key(KeyEvent::new(code, modifiers)))));
    }
    effects
}

fn mouse(state: &mut State, kind: MouseEventKind, column: u16, row: u16) -> Vec<Effect> {
    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    update(state, Event::Input(Input::Mouse(event)))
}

fn drawn(state: &State) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(state.size.width, state.size.height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    terminal
}

/// The screen as lines, without the space at their ends.
fn screen(state: &State) -> Vec<String> {
    let terminal = drawn(state);
    let buffer = terminal.backend().buffer();
    let mut lines = Vec::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // The cell behind a wide character is part of it.
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        lines.push(line.trim_end().to_owned());
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// From the tabs on, without what is always the same below.
fn view(state: &State) -> String {
    let lines = screen(state);
    let footer = usize::from(state.size.height) - 1;
    let header = usize::from(layout::header_lines(state.size.height));
    let body: Vec<&str> = lines.iter().take(footer).skip(header + 1).map(String::as_str).collect();
    body.join("\n").trim_end().to_owned()
}

#[track_caller]
fn assert_view(state: &State, expected: &str) {
    let seen = view(state);
    assert!(seen == expected.trim_matches('\n'), "seen:\n{seen}\nexpected:\n{expected}");
}
