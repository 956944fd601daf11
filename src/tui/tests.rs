use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::style::Color;

use super::rows::Key;
use super::state::{Column, Entry, Overlay, Scope, View};
use super::window::{Facts, ThreadNow, Usage, Window};
use super::*;
use crate::profile::{Flags, Frame, Mark, Process, ProcessRef, Profile, StackId, Thread, ThreadRef, Total};

mod load;

const ACTIVE_GIL: Flags = Flags::ACTIVE.with(Flags::GIL);

/// A target made up: `main` calls `heavy` (60 %), `medium` (30 %) and `light` (10 %) with the GIL; another thread sleeps.
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

    /// A stack of functions that begin in lines 10, 20 … of app.py, each at the line after, `+N` behind a name adds to that.
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
            active: 100.0,
            gc: 3.0,
            cpu: Some(98.0),
            own_cpu: Some(0.7),
            resident_bytes: Some(123 << 20),
            uptime: Some(Duration::from_secs(3723)),
            rate_asked: 100,
            rate_held: 99.5,
            missed: 2,
            stopped: 0.01,
            processes: vec![Usage { pid: 4242, cpu: Some(98.0), resident_bytes: 123 << 20 }],
            running: 1,
            threads: threads.len(),
            trouble: None,
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

fn usual(size: (u16, u16)) -> (State, Source) {
    let mut state = State::new(Settings { rate: 100, colour: true, ..Settings::default() }, size);
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
    let mut terminal = Terminal::new(TestBackend::new(state.size.0, state.size.1)).unwrap();
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
    let footer = usize::from(state.size.1) - 1;
    let body: Vec<&str> = lines.iter().take(footer).skip(usize::from(layout::HEADER) + 1).map(String::as_str).collect();
    body.join("\n").trim_end().to_owned()
}

#[track_caller]
fn assert_view(state: &State, expected: &str) {
    let seen = view(state);
    assert!(seen == expected.trim_matches('\n'), "seen:\n{seen}\nexpected:\n{expected}");
}

#[test]
fn the_whole_screen_of_80_by_24() {
    let (state, _) = usual((80, 24));
    let expected = "
python3 app.py --serve
pid 4242  Python 3.11.7  up 1:02:03
100 Hz asked, 99.5 held  400 samples  0 lost  2 late  0 unproven  stopped 0.01%
GIL 100%      ██    active 100%   ██    GC 3%         ▁▁    CPU 98%       ██
threads 1/2   ██    RSS 123M      ██    pyspy 0.7%    ▁▁
 F1 Functions  F2 Lines  F3 Threads  F4 Processes  F5 Tree  F6 Flame
   %Own▼  %Total   OwnTime TotalTime Function (file:first line)
  60.00%  60.00%     1.20s     1.20s heavy (app.py:20)
  20.00%  30.00%     0.40s     0.60s medium (app.py:120)
  10.00%  10.00%     0.20s     0.20s helper (app.py:110)
  10.00%  10.00%     0.20s     0.20s light (app.py:870)
   0.00% 100.00%     0.00s     2.00s main (app.py:620)











q quit  ? help  Tab view  Enter look closer  1-4 sort  / filter  Space freeze  r";
    let seen = screen(&state).join("\n");
    assert!(
        seen.trim_end().starts_with(expected.trim_start_matches('\n').split("\nq quit").next().unwrap().trim_end()),
        "{seen}"
    );
    assert!(seen.lines().last().unwrap().starts_with("q quit  ? help"), "{seen}");
}

#[test]
fn every_view_is_drawn() {
    let (mut state, _) = usual((80, 24));
    press(&mut state, "F2");
    assert_view(
        &state,
        "
   %Own▼  %Total   OwnTime TotalTime Function (file:line)
  50.00%  50.00%     1.00s     1.00s heavy (app.py:21)
  20.00%  30.00%     0.40s     0.60s medium (app.py:121)
  10.00%  10.00%     0.20s     0.20s heavy (app.py:23)
  10.00%  10.00%     0.20s     0.20s helper (app.py:111)
  10.00%  10.00%     0.20s     0.20s light (app.py:871)
   0.00%  60.00%     0.00s     1.20s main (app.py:621)
   0.00%  30.00%     0.00s     0.60s main (app.py:622)
   0.00%  10.00%     0.00s     0.20s main (app.py:623)",
    );
    press(&mut state, "F3");
    assert_view(
        &state,
        "
%Active▼    %GIL    Active       GIL State     Thread, and what it is at
 100.00%  90.00%     2.00s     1.80s run       4242 \"MainThread\"  light (app.py…
   0.00%   0.00%     0.00s     0.00s idle      4243 \"sleepy\"  sleep (app.py:881)",
    );
    press(&mut state, "F4");
    assert_view(
        &state,
        "
%Active▼    %GIL    Active       GIL  CPU%    RSS Threads  Process
 100.00%  90.00%     2.00s     1.80s   98%   123M       2  4242 python3 app.py …",
    );
    press(&mut state, "F5");
    assert_view(
        &state,
        "
   %Own▼  %Total   OwnTime TotalTime Call tree
   0.00% 100.00%     0.00s     2.00s ▾ main (app.py:620)
  60.00%  60.00%     1.20s     1.20s     heavy (app.py:20)
  20.00%  30.00%     0.40s     0.60s   ▾ medium (app.py:120)
  10.00%  10.00%     0.20s     0.20s       helper (app.py:110)
  10.00%  10.00%     0.20s     0.20s     light (app.py:870)",
    );
    press(&mut state, "F6");
    assert_view(
        &state,
        "
all  100.0% 2.00s in all, 0.0% itself, of all since reset
▏all
▏main
▏heavy                                          ▏medium                 ▏light
                                                ▏helper",
    );
    // Without a started program there is no view of its output.
    press(&mut state, "F7");
    assert_eq!(state.view, View::Flame);
    press(&mut state, "Tab");
    assert_eq!(state.view, View::Functions);
    press(&mut state, "BackTab");
    assert_eq!(state.view, View::Flame);
}

#[test]
fn sizes_below_80_by_24_say_so_and_larger_ones_are_filled() {
    let (mut state, _) = usual((40, 10));
    let seen = screen(&state).join("\n");
    assert!(seen.contains("40×10 is too small") && seen.contains("80×24"), "{seen}");
    for size in [(79, 24), (80, 23), (1, 1), (3, 2)] {
        update(&mut state, Event::Input(Input::Resize(size.0, size.1)));
        assert!(!screen(&state).join("\n").contains("heavy"));
    }
    update(&mut state, Event::Input(Input::Resize(200, 60)));
    let seen = screen(&state);
    assert_eq!(seen.len(), 60, "the footer is in the last line");
    assert!(seen[6].ends_with("% of the last window, times since reset"), "{seen:?}");
    for (view, _) in View::ALL.iter().zip(0..6) {
        press(&mut state, &format!("F{}", view.position() + 1));
        screen(&state);
    }
}

#[test]
fn sorting_and_scope_choose_columns() {
    let (mut state, mut source) = usual((100, 30));
    let first = |state: &State| names::of(state, state.rows[0].key);
    for (keys, column, expected) in [
        ("2", Column::TotalPercent, "main (app.py:620)"),
        ("3", Column::OwnTime, "heavy (app.py:20)"),
        ("4", Column::TotalTime, "main (app.py:620)"),
        ("1", Column::OwnPercent, "heavy (app.py:20)"),
        ("s", Column::TotalPercent, "main (app.py:620)"),
        ("s s s", Column::OwnPercent, "heavy (app.py:20)"),
        ("S", Column::OwnPercent, "main (app.py:620)"),
        ("S", Column::OwnPercent, "heavy (app.py:20)"),
    ] {
        press(&mut state, keys);
        assert_eq!((state.column, first(&state).as_str()), (column, expected), "{keys}");
    }
    // A window in which something else is the heaviest.
    let main = source.threads[0];
    source.add(main, &["main", "sudden"], ACTIVE_GIL, 1_000_000);
    let window = source.window(1_000_000);
    update(&mut state, window);
    assert!(first(&state).starts_with("sudden"));
    press(&mut state, "3");
    assert!(first(&state).starts_with("heavy"), "1.2 s since reset are more than 1 s");
    press(&mut state, "a");
    assert_eq!(state.scope, Scope::Window);
    assert!(first(&state).starts_with("sudden"));
    press(&mut state, "a");
    assert_eq!(state.scope, Scope::Reset);
    assert!(first(&state).starts_with("heavy"));
    assert!(view(&state).contains("  40.00%  40.00%     1.20s     1.20s heavy"), "{}", view(&state));
    press(&mut state, "a");
    assert_eq!(state.scope, Scope::Both);
}

#[test]
fn idle_gil_and_threads_change_what_counts() {
    let (mut state, _) = usual((100, 30));
    let names = |state: &State| state.rows.iter().map(|row| names::of(state, row.key)).collect::<Vec<_>>();
    assert!(!names(&state).iter().any(|name| name.starts_with("sleep")));
    press(&mut state, "i");
    assert!(names(&state)[0].starts_with("sleep"));
    press(&mut state, "g");
    assert!(!names(&state).iter().any(|name| name.starts_with("sleep") || name.starts_with("light")));
    press(&mut state, "g t");
    assert!(names(&state)[0].starts_with("[4243 \"sleepy\"] sleep"), "{:?}", names(&state));
    assert!(names(&state)[1].starts_with("[4242 \"MainThread\"] heavy"));
    press(&mut state, "F5");
    assert_eq!(names(&state)[0], "4242 \"MainThread\"");
    press(&mut state, "t i f F1");
    assert_eq!(names(&state)[0], "heavy (/srv/site/app.py:20)");
}

#[test]
fn a_thread_can_be_looked_at_alone() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "F3 j j Enter i");
    assert_eq!((state.view, state.only_thread), (View::Functions, Some(state.shown().threads[1].thread)));
    assert_eq!(state.rows.len(), 2);
    press(&mut state, "Esc");
    assert_eq!(state.only_thread, None);
}

#[test]
fn the_filter_works_as_it_is_typed_and_can_be_dropped() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "/ MED");
    assert_eq!(state.rows.len(), 0, "capital letters are meant");
    assert!(view(&state).contains("nothing matches the filter"));
    press(&mut state, "Backspace Backspace Backspace me");
    assert!(screen(&state).last().unwrap().starts_with("filter: me"));
    assert_eq!(state.rows.len(), 1);
    // Keys that do something elsewhere are letters here.
    press(&mut state, "d Enter");
    assert_eq!((state.filter.as_str(), &state.entry), ("med", &Entry::Nothing));
    press(&mut state, "F5");
    assert_eq!(state.rows.len(), 2, "what leads there stays: {}", view(&state));
    press(&mut state, "/ iumx Esc");
    assert_eq!(state.filter, "med", "as it was before");
    press(&mut state, "Esc");
    assert_eq!(state.filter, "");
}

#[test]
fn reset_forgets_and_freeze_holds() {
    let (mut state, mut source) = usual((100, 30));
    press(&mut state, "Space");
    assert!(screen(&state)[5].ends_with("FROZEN"));
    let before = view(&state);
    let window = usual_window(&mut source);
    update(&mut state, window);
    assert_eq!(view(&state), before);
    press(&mut state, "2 1");
    assert_eq!(view(&state), before, "sorting shows what was held");
    press(&mut state, "Space");
    assert!(view(&state).contains("1.80s     1.80s heavy"), "{}", view(&state));
    press(&mut state, "r");
    assert!(view(&state).contains("every thread is idle"), "{}", view(&state));
    let window = usual_window(&mut source);
    update(&mut state, window);
    assert!(view(&state).contains("0.60s     0.60s heavy"), "{}", view(&state));
    assert!(screen(&state)[2].contains("  200 samples"), "{:?}", screen(&state));
}

#[test]
fn a_function_is_shown_with_callers_callees_and_source() {
    let (mut state, _) = usual((100, 30));
    let effects = press(&mut state, "j j Enter");
    let [Effect::Source(file)] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(state.profile.text(file), "/srv/site/app.py");
    assert!(view(&state).contains("reading the source"));
    let lines = (1..=2000).map(|line| format!("line {line} \u{1b}[31m")).collect();
    update(&mut state, Event::Source(file, Some(lines)));
    let seen = view(&state);
    assert!(seen.contains("medium (app.py:120): own 20.0% 0.40s, total 30.0% 0.60s"), "{seen}");
    assert!(seen.contains("30.00%  main (app.py:620)"), "{seen}");
    assert!(seen.contains("10.00%  helper (app.py:110)"), "{seen}");
    assert!(seen.contains(" 20.00%  30.00%    121  line 121 \\u{1b}[31m"), "{seen}");
    press(&mut state, "j");
    assert!(!view(&state).contains("line 120 ") && view(&state).contains("line 121 "));
    press(&mut state, "Esc");
    assert!(matches!(state.overlay, Overlay::Nothing));
    assert_eq!(press(&mut state, "Enter"), [], "the source is known");
    update(&mut state, Event::Source(file, None));
    assert!(view(&state).contains("the source cannot be read here"));
    assert!(view(&state).contains(" 20.00%  30.00%    121"), "the lines' numbers are there all the same");
}

#[test]
fn long_paths_do_not_push_what_tells_most_off_the_screen() {
    let folder = "/srv/".to_owned() + &"a_long_way_down/".repeat(20);
    let mut source = Source::new();
    let command_line = source.profile.intern(&format!("{folder}bin/python3.11 -X dev {folder}serve.py --workers 3"));
    let process = Process { pid: 4242, command_line, ..Process::default() };
    source.process = source.profile.add_process(process);
    let thread = source.thread("MainThread");
    let frame = Frame {
        name: source.profile.intern("handle"),
        file: source.profile.intern(&format!("{folder}shop/views.py")),
        line: 13,
        first_line: 12,
        ..Frame::default()
    };
    let frame = source.profile.frame(frame);
    let stack = source.profile.push(StackId::EMPTY, frame);
    source.profile.add_total(Total { thread, stack, flags: ACTIVE_GIL, samples: 100, weight_us: 1_000_000 });
    let mut state = State::new(Settings::default(), (80, 24));
    let window = source.window(1_000_000);
    update(&mut state, window);
    for (keys, expected) in [
        ("F1", "handle (…/a_long_way_down/shop/views.py:12)"),
        ("F2", "handle (…/a_long_way_down/shop/views.py:13)"),
        ("F3", "4242 \"MainThread\"  handle (…"),
        ("F4", "4242 …/serve.py"),
        ("F5", "handle (…/shop/views.py:12)"),
    ] {
        press(&mut state, keys);
        assert!(view(&state).contains(expected), "{}", view(&state));
    }
    assert_eq!(screen(&state)[0], "…/python3.11 -X dev …/serve.py --workers 3");
}

#[test]
fn recursion_counts_once() {
    let mut source = Source::new();
    let thread = source.thread("MainThread");
    source.add(thread, &["fib", "fib", "fib"], ACTIVE_GIL, 1_000_000);
    let mut state = State::new(Settings::default(), (100, 30));
    let window = source.window(1_000_000);
    update(&mut state, window);
    assert!(view(&state).contains(" 100.00% 100.00%     1.00s     1.00s fib"), "{}", view(&state));
    press(&mut state, "j Enter");
    let Overlay::Detail(detail) = &state.overlay else { panic!() };
    assert_eq!((detail.total_us, detail.callers.as_slice()), (1_000_000, &[(None, 1_000_000)][..]));
    assert_eq!(detail.callees, [(detail.function, 1_000_000)]);
    press(&mut state, "Esc F5");
    assert_eq!(state.rows.len(), 3);
}

#[test]
fn tree_nodes_close_and_open() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "F5 j Left");
    assert!(view(&state).contains("▸ main") && state.rows.len() == 1, "{}", view(&state));
    press(&mut state, "Right Down Down Down Left");
    assert!(matches!(state.cursor().selected, Some(Key::Node(..))));
    assert!(names::of(&state, state.cursor().selected.unwrap()).starts_with("medium"), "a leaf's caller is selected");
    press(&mut state, "[");
    assert_eq!(state.rows.len(), 1);
    press(&mut state, "]");
    assert_eq!(state.rows.len(), 5);
}

#[test]
fn the_flame_graph_is_walked_and_zoomed_by_keys_and_mouse() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "F6 Down Down Down");
    assert!(view(&state).starts_with("heavy (app.py:20)  60.0%"), "{}", view(&state));
    press(&mut state, "Right");
    assert!(view(&state).starts_with("medium (app.py:120)  30.0%"));
    press(&mut state, "Enter");
    assert_eq!(state.blocks[0].width, 100);
    assert!(view(&state).contains("▏medium") && !view(&state).contains("▏heavy"));
    press(&mut state, "Esc Esc");
    assert_eq!(state.zoom, index::ROOT);
    assert!(view(&state).contains("▏heavy"));
    let body = layout::areas(state.size).body.y;
    let click = MouseEventKind::Down(MouseButton::Left);
    mouse(&mut state, click, 95, body + 2);
    assert!(view(&state).starts_with("light"), "{}", view(&state));
    mouse(&mut state, click, 95, body + 2);
    assert_eq!(state.blocks[0].width, 100);
}

#[test]
fn rows_are_walked_by_keys_and_mouse() {
    let mut source = Source::new();
    let thread = source.thread("MainThread");
    let names: Vec<String> = (0..100).map(|number| format!("function_{number:03}")).collect();
    for (at, name) in names.iter().enumerate() {
        source.add(thread, &[name], ACTIVE_GIL, 1_000_000 - at as u64 * 1000);
    }
    let mut state = State::new(Settings::default(), (80, 24));
    let window = source.window(100_000_000);
    update(&mut state, window);
    let selected = |state: &State| state.selected_row();
    assert_eq!(selected(&state), None);
    press(&mut state, "j");
    assert_eq!(selected(&state), Some(0));
    press(&mut state, "Down j k Up Up Up");
    assert_eq!(selected(&state), Some(0));
    press(&mut state, "PgDn PgDn");
    assert_eq!(selected(&state), Some(30));
    assert!(view(&state).contains("function_030") && !view(&state).contains("function_000"));
    press(&mut state, "End");
    assert_eq!(selected(&state), Some(99));
    press(&mut state, "PgUp");
    assert_eq!(selected(&state), Some(84));
    press(&mut state, "Home");
    assert_eq!(selected(&state), Some(0));
    mouse(&mut state, MouseEventKind::ScrollDown, 0, 0);
    assert_eq!(selected(&state), Some(3));
    let areas = layout::areas(state.size);
    let click = MouseEventKind::Down(MouseButton::Left);
    mouse(&mut state, click, 40, areas.body.y + 5);
    assert_eq!(selected(&state), Some(5));
    mouse(&mut state, click, 40, areas.body.y + 5);
    assert!(matches!(state.overlay, Overlay::Detail(_)), "a second click looks closer");
    press(&mut state, "Esc");
    mouse(&mut state, click, 30, areas.columns.y);
    assert_eq!(state.column, Column::TotalTime);
    let tab = layout::tabs(&state)[2];
    mouse(&mut state, click, tab.1 + 1, areas.tabs.y);
    assert_eq!(state.view, View::Threads);
    // The selected function stays selected where it moves.
    press(&mut state, "F1 S");
    assert_eq!(selected(&state), Some(94));
}

#[test]
fn effects_are_asked_for() {
    let (mut state, _) = usual((100, 30));
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    assert_eq!(press(&mut state, "^c"), [Effect::Quit]);
    assert_eq!(press(&mut state, "+ - -"), [Effect::Rate(200), Effect::Rate(100), Effect::Rate(50)]);
    assert_eq!(press(&mut state, "d"), [Effect::Dump(None, None)]);
    let thread = state.shown().threads[0].thread;
    let process = state.profile.thread(thread).process;
    assert_eq!(press(&mut state, "F3 j d"), [Effect::Dump(Some(process), Some(thread))]);
    assert_eq!(press(&mut state, "F4 j d"), [Effect::Dump(Some(process), None)]);
    assert_eq!(press(&mut state, "w"), []);
    assert!(screen(&state).last().unwrap().contains("pyspy-4242.svg"));
    assert_eq!(
        press(&mut state, "Backspace Backspace Backspace txt Enter"),
        [Effect::Write("pyspy-4242.txt".to_owned())]
    );
    assert_eq!(press(&mut state, "w Esc"), []);
    assert_eq!(press(&mut state, "^l ^z"), [Effect::Redraw, Effect::Suspend]);
    update(&mut state, Event::Notice("wrote x".to_owned()));
    assert_eq!(screen(&state).last().unwrap(), "wrote x");
    update(&mut state, Event::Dump("Thread 1\n    f (a.py:1)\n".to_owned()));
    assert!(view(&state).contains("    f (a.py:1)"));
}

#[test]
fn help_lists_the_table_and_scrolls() {
    let (mut state, _) = usual((100, 24));
    press(&mut state, "?");
    assert!(view(&state).contains("q, Q, Ctrl-C  quit"), "{}", view(&state));
    let mut seen = view(&state);
    for _ in 0..50 {
        press(&mut state, "j");
        seen.push_str(&view(&state));
    }
    for binding in keys::BINDINGS {
        let help = binding.help.split(';').next().unwrap();
        assert!(seen.contains(help), "{help}");
    }
    press(&mut state, "x");
    assert!(matches!(state.overlay, Overlay::Nothing));
}

#[test]
fn the_last_view_stays_when_the_target_ends() {
    let (mut state, _) = usual((80, 24));
    update(&mut state, Event::Ended("target exited, status 3".to_owned()));
    let seen = screen(&state);
    assert!(seen[1].ends_with("target exited, status 3"), "{seen:?}");
    assert!(seen.last().unwrap().starts_with("target exited, status 3"), "{seen:?}");
    assert!(view(&state).contains("heavy"));
    press(&mut state, "F5");
    assert!(view(&state).contains("▾ main"));
}

#[test]
fn what_the_target_wrote_is_scrolled_through_escaped() {
    let settings = Settings { has_output: true, ..Settings::default() };
    let mut state = State::new(settings, (80, 24));
    update(&mut state, Event::Output("one\ntwo \u{1b}[2Jthree\npart".to_owned()));
    press(&mut state, "F7");
    let seen = view(&state);
    assert!(seen.contains("one\ntwo \\u{1b}[2Jthree\npart"), "{seen}");
    for number in 0..20_000 {
        update(&mut state, Event::Output(format!("\nline {number}")));
    }
    assert!(view(&state).ends_with("line 19999"));
    press(&mut state, "PgUp");
    assert!(!view(&state).contains("line 19999"));
    press(&mut state, "End");
    assert!(view(&state).ends_with("line 19999"));
    press(&mut state, "Home");
    assert!(view(&state).contains("line 10000"), "{}", view(&state));
    assert!(state.output.len() <= 10_000);
}

#[test]
fn hostile_and_wide_names_do_not_break_the_screen() {
    let mut source = Source::new();
    let thread = source.thread("\u{1b}]0;x\u{7}\n名前\u{202e}");
    for name in [
        "\u{1b}[2J\u{1b}[H",
        "a\nb\tc\r",
        "\u{202e}evil",
        "日本語の関数名がとても長い場合でも列は崩れない関数",
        "e\u{301}👩‍👩‍👧‍👦",
    ] {
        source.add(thread, &[name], ACTIVE_GIL, 100_000);
    }
    source.add(thread, &["x".repeat(4000).as_str()], ACTIVE_GIL, 100_000);
    let mut state = State::new(Settings { colour: true, ..Settings::default() }, (80, 24));
    let window = source.window(600_000);
    update(&mut state, window);
    for key in ["F1", "F2", "F3", "F4", "F5", "F6", "F1 j Enter"] {
        press(&mut state, key);
        let lines = screen(&state);
        for line in &lines {
            assert!(!line.chars().any(|character| character.is_control() || character == '\u{202e}'), "{line:?}");
            assert!(unicode_width::UnicodeWidthStr::width(line.as_str()) <= 80, "{line:?}");
        }
    }
}

/// Every view, with every kind of row and overlay, in a state with something to warn of.
fn every_look(state: &mut State, mut look: impl FnMut(&State)) {
    for key in [
        "F1", "F2", "F3", "F4", "F5", "F6", "Down", "Enter", "F1 j", "Enter", "Esc ?", "Esc /", "h Enter", "Space",
        "g", "t",
    ] {
        press(state, key);
        look(state);
    }
}

#[test]
fn without_colour_there_is_none() {
    for colour in [true, false] {
        let (mut state, _) = usual((80, 24));
        state.settings.colour = colour;
        state.ended = Some("target exited, status 1".to_owned());
        let mut coloured = false;
        every_look(&mut state, |state| {
            let terminal = drawn(state);
            let cells = &terminal.backend().buffer().content;
            coloured |= cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        });
        assert_eq!(coloured, colour);
    }
}

#[test]
fn colours_are_readable_on_light_and_dark_backgrounds() {
    let (mut state, _) = usual((80, 24));
    state.ended = Some("target exited, status 1".to_owned());
    let mut seen = std::collections::HashSet::new();
    every_look(&mut state, |state| {
        for cell in &drawn(state).backend().buffer().content {
            seen.insert((cell.fg, cell.bg));
        }
    });
    assert!(seen.len() > 3, "{seen:?}");
    for (front, back) in seen {
        let on_theirs = [Color::Reset, Color::Red, Color::Green, Color::Magenta];
        // On the terminal's own background only what its palette makes readable there; elsewhere both colours are ours.
        let readable = match back {
            Color::Reset => on_theirs.contains(&front),
            Color::Yellow | Color::LightYellow | Color::LightRed | Color::LightMagenta | Color::Red => {
                front == Color::Black
            }
            _ => false,
        };
        assert!(readable, "{front:?} on {back:?}");
    }
}

#[test]
fn plain_text_and_json_tell_what_the_screen_tells() {
    let (mut state, _) = usual((80, 24));
    let mut text = Vec::new();
    plain::write_text(&mut state, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("  60.00%  60.00%     1.20s     1.20s  heavy (app.py:20)\n"), "{text}");
    let mut line = Vec::new();
    plain::write_json(&mut state, 1.5, &mut line).unwrap();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(json["functions"][0]["name"], "heavy");
    assert_eq!(json["functions"][0]["own_percent"], 60.0);
    assert_eq!(json["threads"][1]["state"], "idle");
    assert_eq!(json["processes"][0]["pid"], 4242);
}
