//! What keys and the mouse do.

use super::*;

#[test]
fn sorting_and_scope_choose_columns() {
    let (mut state, mut source) = usual((100, 30));
    let first = |state: &State| names::row_name(state, state.rows[0].key);
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
        assert_eq!((state.selection.column, first(&state).as_str()), (column, expected), "{keys}");
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
    assert_eq!(state.selection.scope, Scope::Window);
    assert!(first(&state).starts_with("sudden"));
    press(&mut state, "a");
    assert_eq!(state.selection.scope, Scope::Reset);
    assert!(first(&state).starts_with("heavy"));
    assert!(view(&state).contains("  40.00%  40.00%     1.20s     1.20s heavy"), "{}", view(&state));
    press(&mut state, "a");
    assert_eq!(state.selection.scope, Scope::Both);
}

#[test]
fn idle_gil_and_threads_change_what_counts() {
    let (mut state, _) = usual((100, 30));
    let names = |state: &State| state.rows.iter().map(|row| names::row_name(state, row.key)).collect::<Vec<_>>();
    assert!(!names(&state).iter().any(|name| name.starts_with("sleep")));
    press(&mut state, "i");
    assert!(names(&state)[0].starts_with("sleep"));
    press(&mut state, "g");
    assert!(!names(&state).iter().any(|name| name.starts_with("sleep") || name.starts_with("light")));
    press(&mut state, "g t");
    assert!(names(&state)[0].starts_with("[4243 \"sleepy\"] sleep"), "{:?}", names(&state));
    assert!(names(&state)[1].starts_with("[4242 \"MainThread\"] heavy"));
    for view in ["F1", "F2"] {
        press(&mut state, view);
        press(&mut state, "/ sleepy Enter");
        let seen = names(&state);
        assert!(!seen.is_empty() && seen.iter().all(|name| name.starts_with("[4243 \"sleepy\"]")), "{view}: {seen:?}");
        press(&mut state, "Esc");
    }
    press(&mut state, "F5");
    assert_eq!(names(&state)[0], "4242 \"MainThread\"");
    press(&mut state, "t i f F1");
    assert_eq!(names(&state)[0], "heavy (/srv/site/app.py:20)");
}

/// A program that hangs: a thread waits for ever, and no other is there.
fn hung(size: (u16, u16)) -> State {
    let mut source = Source::new();
    let thread = source.thread("MainThread");
    source.add(thread, &["main", "wait"], Flags::NONE, 1_000_000);
    let mut state = State::new(Settings::default(), Size::new(size.0, size.1));
    let window = source.window(1_000_000);
    update(&mut state, window);
    state
}

#[test]
fn an_empty_view_says_why_it_is_empty() {
    for size in [(80, 24), (40, 8)] {
        let mut state = hung(size);
        let said = |state: &State| view(state).split_whitespace().collect::<Vec<_>>().join(" ");
        for key in ["F1", "F2", "F5", "F6"] {
            press(&mut state, key);
            let seen = said(&state);
            assert!(seen.contains("no thread runs, every thread is idle: i shows where they are, d what"), "{seen}");
        }
        // What is typed is not why.
        press(&mut state, "F1 / wait Enter");
        assert!(said(&state).contains("every thread is idle"), "{}", view(&state));
        press(&mut state, "i");
        assert_eq!(state.rows.len(), 1);
        press(&mut state, "/ x Enter");
        assert!(said(&state).contains("nothing matches the filter; Esc drops it"), "{}", view(&state));
        press(&mut state, "F3");
        assert!(said(&state).contains("nothing matches the filter"), "{}", view(&state));
        press(&mut state, "Esc Enter i");
        assert!(said(&state).contains("this thread is idle: i shows where it is"), "{}", view(&state));
    }
}

#[test]
fn a_thread_can_be_looked_at_alone() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "F3 j Enter i");
    assert_eq!(
        (state.selection.view, state.selection.only_thread),
        (View::Functions, Some(state.data.shown().threads[1].thread))
    );
    assert_eq!(state.rows.len(), 2);
    press(&mut state, "Esc");
    assert_eq!(state.selection.only_thread, None);
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
    assert_eq!((state.selection.filter.as_str(), &state.prompt.entry), ("med", &Entry::Nothing));
    press(&mut state, "F5");
    assert_eq!(state.rows.len(), 2, "what leads there stays: {}", view(&state));
    press(&mut state, "/ iumx Esc");
    assert_eq!(state.selection.filter, "med", "as it was before");
    press(&mut state, "Esc");
    assert_eq!(state.selection.filter, "");
}

#[test]
fn what_is_typed_is_edited_as_in_a_shell() {
    let (mut state, _) = usual((100, 30));
    for (keys, text, shown) in [
        ("w ^u one.svg Home x", "xone.svg", "xone.svg"),
        ("^e y Left Left ^k", "xone.sv", "xone.sv"),
        ("Space t w o ^w", "xone.sv ", "xone.sv"),
        ("^w", "", ""),
        ("a日b Left Left Delete", "ab", "ab"),
        ("^f ^h ^a ^d", "", ""),
        ("^w ^u ^k Left Right Delete Backspace Home End", "", ""),
    ] {
        press(&mut state, keys);
        assert_eq!(state.prompt.entry, Entry::Write(text.to_owned()), "{keys}");
        let expected = format!("json): {shown}");
        assert!(screen(&state).last().unwrap().ends_with(expected.trim_end()), "{keys}: {:?}", screen(&state));
    }
    press(&mut state, "Esc / med Home x");
    assert_eq!(state.selection.filter, "xmed");
    press(&mut state, "Delete Backspace Esc / ^u");
    assert_eq!(state.selection.filter, "");
    let long = "/very/long/".repeat(20) + "end";
    press(&mut state, &format!("Esc w ^u {long}"));
    assert!(screen(&state).last().unwrap().ends_with("long/end"), "{:?}", screen(&state));
    press(&mut state, "Home");
    let line = screen(&state).pop().unwrap();
    assert!(line.contains("json): /very/long/") && line.chars().count() <= 100, "{line}");
}

#[test]
fn a_warning_is_whole_and_goes_with_its_cause() {
    for size in [(80, 24), (200, 50)] {
        let (mut state, mut source) = usual(size);
        let trouble = "process 4242 may not be stopped: it is traced by process 17, a debugger that does not let \
                       it go, and so on and so forth until the end";
        state.data.facts.trouble = Some(trouble.to_owned());
        let words = |state: &State| {
            let text = screen(state).join(" ");
            trouble.split(' ').all(|word| text.contains(word)) && text.contains("the end")
        };
        assert!(words(&state), "{:#?}", screen(&state));
        let window = usual_window(&mut source);
        update(&mut state, window);
        assert!(!screen(&state).join(" ").contains("debugger"), "{:#?}", screen(&state));
    }
}

#[test]
fn columns_do_not_touch() {
    let (mut state, _) = usual((80, 24));
    for key in ["1", "2", "3", "4"] {
        press(&mut state, key);
        let seen = screen(&state);
        for name in ["%Own", "%Total", " OwnTime", " TotalTime"] {
            assert!(seen[6].contains(name), "{seen:?}");
        }
    }
    state.data.facts.threads = 1_000_000;
    state.data.facts.running = 1_000_000;
    assert!(!screen(&state)[4].contains("000RSS"), "{:?}", screen(&state));
}

#[test]
fn help_says_that_there_is_more() {
    let (mut state, _) = usual((80, 24));
    press(&mut state, "?");
    assert!(view(&state).contains(" more lines "), "{}", view(&state));
    press(&mut state, "End");
    assert!(!view(&state).contains(" more lines "), "{}", view(&state));
    let (mut state, _) = usual((170, 50));
    press(&mut state, "?");
    assert!(!view(&state).contains(" more lines ") && view(&state).contains("suspend"), "{}", view(&state));
}

#[test]
fn a_key_soon_after_escape_is_not_lost() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "/ med");
    let event = KeyEvent::new(KeyCode::Char('2'), KeyModifiers::ALT);
    update(&mut state, Event::Input(Input::Key(event)));
    assert_eq!(
        (state.selection.filter.as_str(), &state.prompt.entry, state.selection.column),
        ("", &Entry::Nothing, Column::TotalPercent)
    );
}

#[test]
fn reset_forgets_and_freeze_holds() {
    let (mut state, mut source) = usual((100, 30));
    press(&mut state, "Space");
    assert!(screen(&state)[0].ends_with("FROZEN"));
    let before = view(&state);
    let window = usual_window(&mut source);
    update(&mut state, window);
    assert_eq!(view(&state), before);
    press(&mut state, "2 1");
    assert_eq!(view(&state), before, "sorting shows what was held");
    press(&mut state, "Space");
    assert!(view(&state).contains("1.80s     1.80s heavy"), "{}", view(&state));
    press(&mut state, "r");
    assert!(view(&state).contains("waiting for samples since the reset"), "{}", view(&state));
    let window = usual_window(&mut source);
    update(&mut state, window);
    assert!(view(&state).contains("0.60s     0.60s heavy"), "{}", view(&state));
    assert!(screen(&state)[2].contains("  200 samples"), "{:?}", screen(&state));
}

#[test]
fn tree_nodes_close_and_open() {
    let (mut state, _) = usual((100, 30));
    press(&mut state, "F5 Left");
    assert!(view(&state).contains("▸ main") && state.rows.len() == 1, "{}", view(&state));
    press(&mut state, "Right Down Down Down Left");
    assert!(matches!(state.selection.cursor().selected, Some(Key::Node(..))));
    assert!(
        names::row_name(&state, state.selection.cursor().selected.unwrap()).starts_with("medium"),
        "a leaf's caller is selected"
    );
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
    assert_eq!(state.selection.zoom, index::ROOT);
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
    let mut state = State::new(Settings::default(), Size::new(80, 24));
    let window = source.window(100_000_000);
    update(&mut state, window);
    let selected = |state: &State| state.selected_row();
    assert_eq!(selected(&state), Some(0));
    press(&mut state, "j");
    assert_eq!(selected(&state), Some(1));
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
    assert_eq!(state.selection.column, Column::TotalTime);
    let tab = layout::tabs(&state)[2];
    mouse(&mut state, click, tab.x + 1, areas.tabs.y);
    assert_eq!(state.selection.view, View::Threads);
    // The selected function stays selected where it moves.
    press(&mut state, "F1 S");
    assert_eq!(selected(&state), Some(94));
}

#[test]
fn long_lines_of_texts_are_read_sideways() {
    let (mut state, _) = usual((80, 24));
    let long = format!("{}|{}|end", "a".repeat(70), "b".repeat(40));
    update(&mut state, Event::Dump(format!("Thread 1\n{long}\n")));
    assert!(view(&state).contains("a|bbbbbb…│"), "{}", view(&state));
    press(&mut state, "Right Right Right Right Right Right");
    assert!(view(&state).contains("b|end"), "{}", view(&state));
    press(&mut state, "Left");
    assert!(view(&state).contains("a|bbbb"), "{}", view(&state));
    press(&mut state, "Esc");
    state.settings.has_output = true;
    update(&mut state, Event::Output(long.clone()));
    press(&mut state, "F7 Right Right Right");
    assert!(view(&state).ends_with("b|end"), "{}", view(&state));
    press(&mut state, "F1 Enter");
    let Overlay::Detail(detail) = &state.overlay else { panic!() };
    let file = state.data.index.function(detail.function).unwrap().file;
    update(&mut state, Event::Source(file, Some(vec![long; 30])));
    press(&mut state, "Right Right Right Right");
    assert!(view(&state).contains("b|end"), "{}", view(&state));
}

#[test]
fn effects_are_asked_for() {
    let (mut state, _) = usual((100, 30));
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    assert_eq!(press(&mut state, "^c"), [Effect::Quit]);
    assert_eq!(press(&mut state, "+ - -"), [Effect::Rate(200), Effect::Rate(100), Effect::Rate(50)]);
    assert_eq!(press(&mut state, "d"), [Effect::Dump(None, None)]);
    let thread = state.data.shown().threads[0].thread;
    let process = state.data.profile.thread(thread).process;
    assert_eq!(press(&mut state, "F3 d"), [Effect::Dump(Some(process), Some(thread))]);
    assert_eq!(press(&mut state, "F4 j d"), [Effect::Dump(Some(process), None)]);
    assert_eq!(press(&mut state, "w"), []);
    assert!(screen(&state).last().unwrap().contains("pyspy-4242.svg"));
    assert_eq!(
        press(&mut state, "Backspace Backspace Backspace txt Enter"),
        [Effect::Write("pyspy-4242.txt".to_owned())]
    );
    assert_eq!(
        press(&mut state, "w Backspace Backspace Backspace pb Enter"),
        [Effect::Write("pyspy-4242.pb".to_owned())]
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
    for binding in key_bindings::BINDINGS {
        for line in fit::lines(binding.help, 54) {
            assert!(seen.contains(&line), "{line}");
        }
    }
    press(&mut state, "x");
    assert!(matches!(state.overlay, Overlay::Nothing));
}
