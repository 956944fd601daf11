//! The manners of `pyspy top` in a real terminal: sizes, colours, endings.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::running::{any, script};
use crate::target::Target;
use crate::terminal::{Terminal, leads};

#[test]
fn every_way_out_leaves_a_sane_terminal() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let mut target = Target::start(any(), "shares.py", &["wait"]);
    let args = format!("-p {}", target.pid());
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        terminal.top(&args);
        terminal.wait("functions", |screen| leads(screen, "heavy"));
        let pid = terminal.pyspy_pid().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        assert_eq!(terminal.ended(), status, "{signal}");
    }
    terminal.top(&args);
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    terminal.keys(&["C-z"]);
    terminal.wait("the shell", |screen| screen.contains("Stopped") || screen.contains("topped"));
    terminal.keys(&["fg", "Enter"]);
    terminal.wait("functions again", |screen| leads(screen, "heavy"));
    target.send("7");
    let last = terminal.wait("the target's end", |screen| screen.contains("target exited"));
    assert!(last.contains(" heavy (shares.py:"), "the last view stays: {last}");
    terminal.keys(&["F5"]);
    terminal.wait("another view of it", |screen| screen.contains("Call tree") && screen.contains("heavy"));
    terminal.keys(&["q"]);
    terminal.wait("the shell's prompt", |screen| screen.trim_end().ends_with('$'));
}

/// A target of another parent, which collects it or does not; how its end is shown.
fn end_of(terminal: &Terminal, collects: bool, line: &str) -> String {
    let script = script("shares.py");
    // The shell says the pid, and waits for it or, as `sleep`, does not.
    let then = if collects { "wait $!; echo collected" } else { "exec sleep 600" };
    let program =
        format!("exec 3<&0; '{}' '{}' wait <&3 & echo pid $!; {then}", any().path.display(), script.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("echo ready; {program}")]);
    let mut parent = Target::start_command(shell, "a shell");
    let mut lines = [parent.line(), parent.line()];
    lines.sort();
    let pid: u32 = lines[0].strip_prefix("pid ").unwrap().parse().unwrap();
    terminal.top(&format!("-p {pid}"));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    match line.strip_prefix('-') {
        Some(signal) => {
            let signal = Signal::from_str(signal).unwrap();
            kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
        }
        None => parent.send(line),
    }
    if collects {
        assert_eq!(parent.line(), "collected");
    }
    let screen = terminal.wait("the end", |screen| screen.contains("target exited, "));
    assert!(screen.contains(" heavy (shares.py:"), "the last view stays: {screen}");
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
    let told = screen.split("target exited, ").nth(1).unwrap();
    told.split([':', '\n']).next().unwrap().trim().to_owned()
}

#[test]
fn how_a_target_of_another_parent_ended_is_told() {
    let Some(terminal) = Terminal::open(100, 24) else { return };
    for (line, expected) in [("0", "status 0"), ("7", "status 7"), ("-SIGKILL", "killed by SIGKILL")] {
        assert_eq!(end_of(&terminal, false, line), expected);
        // Older kernels tell it to nobody once the parent has collected it.
        let told = end_of(&terminal, true, line);
        assert!(told == expected || told == "status unknown", "{told}, not {expected}");
    }
}

/// The colours that are set on a screen: their numbers in the palette, or `None` for what is of no palette.
fn colours(styled: &str) -> HashSet<Option<u32>> {
    let mut seen = HashSet::new();
    for sequence in styled.split("\u{1b}[").skip(1).filter_map(|rest| Some(rest.split_once('m')?.0)) {
        let mut codes = sequence.split([';', ':']).map(|code| code.parse::<u32>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                30..=37 | 40..=47 => drop(seen.insert(Some(code % 10))),
                90..=97 | 100..=107 => drop(seen.insert(Some(code % 10 + 8))),
                38 | 48 if codes.next() == Some(5) => drop(seen.insert(codes.next())),
                38 | 48 => drop(seen.insert(None)),
                _ => {}
            }
        }
    }
    seen
}

#[test]
fn no_color_and_colour_are_as_asked_for() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    for no_color in [false, true] {
        let environment = if no_color { "NO_COLOR=1" } else { "NO_COLOR=" };
        terminal.run(&format!(
            "env {environment} {} top --delay 200ms -p {}",
            env!("CARGO_BIN_EXE_pyspy"),
            target.pid()
        ));
        let mut seen = HashSet::new();
        let mut bold = false;
        for (key, sign) in [
            ("F1", "Function (file:first line)"),
            ("F3", "Thread, and what it is at"),
            ("F5", "Call tree"),
            ("F6", "of all since reset"),
            ("?", "Ctrl-C  quit"),
        ] {
            terminal.keys(&[key]);
            terminal.wait(sign, |screen| screen.contains(sign) && screen.contains("Hz asked"));
            let styled = terminal.styled_screen();
            seen.extend(colours(&styled));
            bold |= styled.contains("\u{1b}[1m");
        }
        assert_eq!(seen.is_empty(), no_color, "{seen:?}");
        assert!(bold, "what stands out does so without colour too");
        // Only colours of the terminal's own palette, which its user has chosen to go with its background.
        assert!(seen.iter().all(|colour| colour.is_some_and(|number| number < 16)), "{seen:?}");
        terminal.keys(&["q"]);
        assert_eq!(terminal.ended(), 0);
    }
}

#[test]
fn wide_and_hostile_names_keep_to_their_columns() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let target = Target::start(any(), "names.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    let names = ["日本語の関数 (names.py:", "a\\u{1b}[31mred\\u{7} (names.py:", "two\\nlines (names.py:", "…"];
    let screen = terminal.wait("all names", |screen| names.iter().all(|name| screen.contains(name)));
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[5].starts_with(" F1 Functions") && lines[23].starts_with("q quit"), "{screen}");
    let starts = lines[7..23].iter().filter(|line| line.contains("names.py") || line.contains('…'));
    for line in starts {
        // Four numbers and a space, whatever follows.
        assert!(line.as_bytes()[34] == b's' || line.as_bytes()[35] == b's', "{line}");
        assert!(unicode_width(line) <= 80, "{line}");
    }
    terminal.keys(&["F6"]);
    terminal.wait("blocks", |screen| screen.contains("▏日本"));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

/// Columns, as far as this test's names need it: East Asian ones are two wide.
fn unicode_width(line: &str) -> usize {
    line.chars().map(|character| if ('\u{3000}'..'\u{a000}').contains(&character) { 2 } else { 1 }).sum()
}

#[test]
fn a_program_that_writes_without_end_or_wants_input_holds_nothing_up() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let program = terminal.path("noisy.py");
    let text = "import sys\nprint(repr(sys.stdin.read()))\ndef noise():\n    number = 0\n    while True:\n        \
                number += 1\n        print('line', number, '\\x1b[31m')\nnoise()\n";
    fs::write(&program, text).unwrap();
    terminal.top(&format!("-- {} {program}", any().path.display()));
    terminal.wait("functions", |screen| leads(screen, "noise"));
    terminal.keys(&["F7"]);
    let number = |screen: &str| {
        // The last one may not be whole.
        let line = screen.lines().rev().find(|line| line.starts_with("line ") && line.ends_with("\\u{1b}[31m"))?;
        line.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let first = number(&terminal.wait("its lines", |screen| number(screen).is_some())).unwrap();
    terminal.wait("later lines", |screen| number(screen) > Some(first + 20_000));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
    // It was ended with us.
    let left = Command::new("pgrep").args(["-f", &program]).output();
    assert!(left.is_ok_and(|left| left.stdout.is_empty()), "it still runs");
}

#[test]
fn a_program_that_ends_at_once_leaves_a_view_or_an_error_and_a_sane_terminal() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    for code in ["pass", "import os; os._exit(4)", "import os; os.abort()"] {
        terminal.top(&format!("-- {} -S -c '{code}'", any().path.display()));
        let there = |screen: &str| screen.contains("target exited, ") || screen.contains("the program ended too soon");
        let screen = terminal.wait("its end", there);
        let how = if code.contains("4") {
            "status 4"
        } else if code.contains("abort") {
            "killed by SIGABRT"
        } else {
            "status 0"
        };
        assert!(screen.contains(how), "{screen}");
        if screen.contains("target exited, ") {
            terminal.keys(&["q"]);
            assert_eq!(terminal.ended(), 0);
        } else {
            assert_eq!(terminal.ended(), 8);
        }
    }
}

#[test]
fn sizes_are_followed_down_to_the_note() {
    let Some(terminal) = Terminal::open(200, 60) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    let footer = |screen: &str, rows: usize| screen.lines().nth(rows - 1).is_some_and(|line| line.contains("q quit"));
    terminal.wait("200×60", |screen| leads(screen, "heavy") && footer(screen, 60));
    terminal.resize(80, 24);
    terminal.wait("80×24", |screen| leads(screen, "heavy") && footer(screen, 24));
    terminal.resize(40, 8);
    terminal.wait("40×8", |screen| screen.contains("heavy") && footer(screen, 8));
    terminal.resize(39, 8);
    terminal.wait("the note", |screen| screen.contains("39×8 is too small") && screen.contains("40×8"));
    // In every view, from one cell on.
    for key in ["F2", "F3", "F4", "F5", "F6", "F1"] {
        terminal.keys(&[key]);
        for (columns, rows) in [(1, 1), (2, 60), (200, 1), (80, 24)] {
            terminal.resize(columns, rows);
        }
        terminal.wait("80×24 of each view", |screen| footer(screen, 24) && screen.contains("Hz asked"));
    }
    terminal.wait("80×24 again", |screen| leads(screen, "heavy") && footer(screen, 24));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn a_started_program_writes_into_a_view_and_its_status_is_told() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/shares.py");
    terminal.top(&format!("-- {} {} for 3", any().path.display(), script.display()));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    terminal.wait("its end", |screen| screen.contains("target exited, status 3"));
    terminal.keys(&["F7"]);
    terminal.wait("what it wrote", |screen| screen.contains("ready") && screen.contains("last words"));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}
