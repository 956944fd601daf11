//! What is drawn of what was sampled.

use unicode_width::UnicodeWidthStr;

use super::*;

#[test]
fn the_whole_screen_of_80_by_24() {
    let (state, _) = usual((80, 24));
    let expected = "
python3 app.py --serve
pid 4242  Python 3.11.7  up 1:02:03
100 Hz asked, 99.5 held  400 samples  0 lost  2 late  0 unproven
GIL 100%      ██    active 100%   ██    GC 3%         ▁▁    CPU 98%       ██
run/idle 1/1  ██    RSS 123M      ██    pyspy 0.7%    ▁▁    stopped 0.01%
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
    assert_eq!(state.selection.view, View::Flame);
    press(&mut state, "Tab");
    assert_eq!(state.selection.view, View::Functions);
    press(&mut state, "BackTab");
    assert_eq!(state.selection.view, View::Flame);
}

#[test]
fn sizes_below_40_by_8_say_so_and_larger_ones_are_filled() {
    let (mut state, _) = usual((39, 10));
    let seen = screen(&state).join("\n");
    assert!(seen.contains("39×10 is too small") && seen.contains("40×8"), "{seen}");
    for size in [(39, 24), (80, 7), (1, 1), (3, 2)] {
        update(&mut state, Event::Input(Input::Resize(size.0, size.1)));
        assert!(!screen(&state).join("\n").contains("heavy"));
    }
    // Half of an ordinary terminal, either way, and a quarter of it.
    for size in [(40, 24), (80, 12), (40, 12), (40, 8)] {
        for view in ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F1"] {
            update(&mut state, Event::Input(Input::Resize(size.0, size.1)));
            press(&mut state, view);
            let seen = screen(&state);
            assert_eq!(seen.len(), usize::from(size.1), "the footer is in the last line");
            assert!(seen.iter().all(|line| line.width() <= usize::from(size.0)), "{seen:?}");
        }
        let seen = screen(&state).join("\n");
        assert!(seen.contains("medium (app.py:120)") && seen.contains("%Own▼  %Total"), "{seen}");
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
fn a_function_is_shown_with_callers_callees_and_source() {
    let (mut state, _) = usual((100, 30));
    let effects = press(&mut state, "j Enter");
    let [Effect::Source(file)] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(state.data.profile.text(file), "/srv/site/app.py");
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
fn what_is_switched_on_is_told_beside_every_tab_at_80_columns() {
    let (mut state, _) = usual((80, 24));
    state.settings.has_output = true;
    press(&mut state, "F3 Enter g i t / m e d Enter Space");
    let seen = screen(&state);
    assert_eq!(seen[0], "python3 app.py --serve     FROZEN  gil  idle  threads  /med  thread 4242 \"MainT…");
    assert!(seen[5].ends_with(" F6 Flame  F7 Output"), "{seen:?}");
    press(&mut state, "g i t Esc / \u{1b} Enter");
    assert!(screen(&state)[0].ends_with("  /\\u{1b}  thread 4242 \"MainThread\""), "{:?}", screen(&state)[0]);
}

#[test]
fn no_thread_has_more_than_the_whole_window() {
    let mut source = Source::new();
    let thread = source.thread("MainThread");
    source.add(thread, &["main"], ACTIVE_GIL, 1_000_000);
    let mut state = State::new(Settings::default(), Size::new(80, 24));
    let window = source.window(999_500);
    update(&mut state, window);
    assert!(view(&state).contains(" 100.00% 100.00%     1.00s     1.00s main"), "{}", view(&state));
}

#[test]
fn recursion_counts_once() {
    let mut source = Source::new();
    let thread = source.thread("MainThread");
    source.add(thread, &["fib", "fib", "fib"], ACTIVE_GIL, 1_000_000);
    let mut state = State::new(Settings::default(), Size::new(100, 30));
    let window = source.window(1_000_000);
    update(&mut state, window);
    assert!(view(&state).contains(" 100.00% 100.00%     1.00s     1.00s fib"), "{}", view(&state));
    press(&mut state, "Enter");
    let Overlay::Detail(detail) = &state.overlay else { panic!() };
    assert_eq!((detail.total_us, detail.callers.as_slice()), (1_000_000, &[(None, 1_000_000)][..]));
    assert_eq!(detail.callees, [(detail.function, 1_000_000)]);
    press(&mut state, "Esc F5");
    assert_eq!(state.rows.len(), 3);
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
    let mut state = State::new(Settings::default(), Size::new(80, 24));
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

/// Of sixty-four threads in `Condition.wait` the one that hangs is called by the program's own code.
#[test]
fn threads_in_the_library_are_shown_with_who_called_it() {
    let mut source = Source::new();
    let mut state = State::new(Settings::default(), Size::new(100, 24));
    let library = |source: &mut Source, name: &str| {
        let file = source.profile.intern("/usr/lib/python3.11/threading.py");
        let name = source.profile.intern(name);
        source.profile.frame(Frame { name, file, line: 327, first_line: 288, ..Frame::default() })
    };
    let (hangs, rests) = (source.thread("hangs"), source.thread("rests"));
    for (thread, own) in [(hangs, &["serve", "handle"][..]), (rests, &[])] {
        let mut stack = source.stack(own);
        for name in ["Event.wait", "Condition.wait"] {
            let frame = library(&mut source, name);
            stack = source.profile.push(stack, frame);
        }
        source.profile.add_total(Total { thread, stack, flags: Flags::NONE, samples: 100, weight_us: 1_000_000 });
    }
    let window = source.window(1_000_000);
    update(&mut state, window);
    press(&mut state, "F3");
    let seen = view(&state);
    assert!(seen.contains("\"hangs\"  handle (app.py:") && seen.contains(") › Condition.wait"), "{seen}");
    assert!(seen.contains("\"rests\"  Condition.wait ("), "{seen}");
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
    state.settings.has_output = true;
    assert!(screen(&state).last().unwrap().ends_with("this is the last view; q quits"), "it wrote nothing");
    update(&mut state, Event::Output("can't open file\n".to_owned()));
    assert!(screen(&state).last().unwrap().ends_with("; F7 shows what it wrote, q quits"), "{:?}", screen(&state));
}

#[test]
fn what_the_target_wrote_is_scrolled_through_escaped() {
    let settings = Settings { has_output: true, ..Settings::default() };
    let mut state = State::new(settings, Size::new(80, 24));
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
    assert!(state.data.output.lines.len() <= 10_000);
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

#[test]
fn the_latest_event_loop_is_told_of_with_what_keeps_it() {
    let (mut state, mut source) = usual((110, 24));
    assert!(!screen(&state)[2].contains("lag"), "{:#?}", screen(&state));
    let late = |milliseconds: u64, function: &str| EventLoop {
        lag: Duration::from_millis(milliseconds),
        blocker: Some(LoopBlocker { task: None, function: function.to_owned(), running: None }),
        ..EventLoop::default()
    };
    let mut window = usual_window(&mut source);
    if let Event::Window(window) = &mut window {
        window.facts.loops = vec![late(312, "handle\u{1b}r"), late(4, "other")];
    }
    update(&mut state, window);
    assert!(screen(&state)[2].ends_with("  lag 312 ms: handle\\u{1b}r"), "{}", screen(&state)[2]);
    // Where there is no room what there is none of goes first, and then its end.
    state.size = Size::new(80, 24);
    let line = &screen(&state)[2];
    assert!(line.ends_with("  lag 312 ms: handle\\u{1b}r") && !line.contains("0 lost"), "{line}");
    state.size = Size::new(60, 24);
    assert!(screen(&state)[2].ends_with("  lag 312 ms: h…"), "{}", screen(&state)[2]);
}

#[test]
fn tasks_have_a_view_where_there_are_some() {
    let (mut state, mut source) = usual((100, 24));
    assert!(!screen(&state)[5].contains("Tasks"));
    press(&mut state, "F8");
    assert!(view(&state).contains("Function (file:first line)"));
    let group = |id: u64, coroutine: &str, count: u32, running: f64, waits: Option<&str>| TaskGroup {
        id,
        pid: 4242,
        kind: if count == 1 { TaskKind::Trio } else { TaskKind::Asyncio },
        coroutine: coroutine.to_owned(),
        count,
        running,
        waiting: count - 1,
        oldest: Duration::from_millis(2500 * id),
        waits: waits.map(str::to_owned),
    };
    let mut window = usual_window(&mut source);
    if let Event::Window(window) = &mut window {
        let waits = Some("waits in Lock.acquire");
        window.facts.tasks = vec![group(7, "Server.handle\u{7}", 312, 0.0, waits), group(9, "refresh", 1, 42.5, None)];
    }
    update(&mut state, window);
    assert!(screen(&state)[5].ends_with("F6 Flame  F8 Tasks"), "{:#?}", screen(&state));
    press(&mut state, "F8");
    assert_view(
        &state,
        "
  Tasks▼    %Run   Waiting Known for Coroutine or greenlet, and what most wait in
     312   0.00%       311    17.50s Server.handle\\u{7}  waits in Lock.acquire
       1  42.50%         0    22.50s trio refresh",
    );
    // Sorted by how much they run, and by name.
    press(&mut state, "2");
    assert!(view(&state).lines().nth(1).unwrap().ends_with("refresh"), "{}", view(&state));
    assert_eq!(press(&mut state, "Enter"), [Effect::Task(9)]);
    press(&mut state, "Esc / h a n d Enter");
    assert!(!view(&state).contains("refresh"), "{}", view(&state));
}
