//! The keys and the mouse of `pyspy top` in a real terminal.

use std::fs;

use crate::running::any;
use crate::target::Target;
use crate::terminal::{Terminal, leads, rows};

#[test]
fn keys_do_what_help_says() {
    let Some(terminal) = Terminal::open(120, 40) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    terminal.keys(&["Tab"]);
    terminal.wait("the next view", |screen| screen.contains("Function (file:line)"));
    terminal.keys(&["BTab"]);
    terminal.wait("the view before", |screen| screen.contains("Function (file:first line)"));
    terminal.keys(&["l"]);
    terminal.wait("lines", |screen| screen.contains("Function (file:line)"));
    terminal.keys(&["l", "i"]);
    terminal.wait("idle threads", |screen| rows(screen).iter().any(|row| row.contains("sleeper")));
    terminal.keys(&["t"]);
    terminal.wait("threads apart", |screen| rows(screen).iter().any(|row| row.contains("\"sleepy\"] sleeper")));
    terminal.keys(&["t", "i", "/", "m", "e", "d"]);
    terminal.wait("the filter", |screen| rows(screen).len() == 1 && leads(screen, "medium"));
    terminal.keys(&["Enter", "Escape"]);
    terminal.wait("no filter", |screen| leads(screen, "heavy"));
    terminal.keys(&["f"]);
    terminal.wait("whole file names", |screen| rows(screen)[0].contains("/targets/shares.py"));
    terminal.keys(&["f", "+"]);
    terminal.wait("a higher rate", |screen| screen.contains("200 Hz asked"));
    terminal.keys(&["-", "-"]);
    terminal.wait("a lower rate", |screen| screen.contains("50 Hz asked"));
    terminal.keys(&["Space"]);
    let frozen = terminal.wait("a frozen view", |screen| screen.contains("FROZEN"));
    let samples = |screen: &str| screen.lines().nth(2).map(str::to_owned);
    let later = terminal.wait("more samples", |screen| samples(screen) != samples(&frozen));
    assert_eq!(rows(&later), rows(&frozen));
    terminal.keys(&["Space"]);
    terminal.wait("a view that goes on", |screen| !screen.contains("FROZEN") && rows(screen) != rows(&frozen));
    terminal.keys(&["d"]);
    terminal.wait("a dump", |screen| {
        screen.contains("Thread") && screen.contains("work (shares.py:") && screen.contains("sleeper")
    });
    terminal.keys(&["Escape"]);
    terminal.wait("no dump", |screen| !screen.contains("what threads are doing"));
    terminal.keys(&["w"]);
    terminal.wait("a name to write to", |screen| screen.contains(&format!("pyspy-{}.svg", target.pid())));
    terminal.keys(&["BSpace"; 40]);
    let written = terminal.path("written.txt");
    terminal.keys(&[&written, "Enter"]);
    terminal.wait("a written file", |screen| screen.contains("wrote "));
    let stacks = fs::read_to_string(&written).unwrap();
    let samples = |name: &str| {
        let lines = stacks.lines().filter(|line| line.contains(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    // It sleeps all the time, but for the moment of its start.
    assert!(samples(";heavy (shares.py:") > 2 * samples("sleeper"), "{stacks}");
    terminal.keys(&["r"]);
    let since_reset = |screen: &str| {
        let time = |row: &str| row.split_whitespace().nth(2)?.strip_suffix('s')?.parse::<f64>().ok();
        rows(screen).first().and_then(|row| time(row)).is_some_and(|time| time < 2.0)
    };
    terminal.wait("a reset", since_reset);
    terminal.keys(&["C-c"]);
    assert_eq!(terminal.ended(), 0);
}

/// Which of the rows below the columns' names is selected.
fn selected(terminal: &Terminal) -> Option<usize> {
    let styled = terminal.styled_screen();
    let rows = styled.lines().skip(7).filter(|line| line.contains('%'));
    // Attribute 7 is reverse; which others are set or taken back with it depends on what is drawn before.
    let is_reverse = |codes: &str| codes.split(';').any(|code| code == "7");
    let has_reverse = |row: &str| {
        row.split("\u{1b}[").skip(1).any(|rest| rest.split_once('m').is_some_and(|(codes, _)| is_reverse(codes)))
    };
    rows.enumerate().find(|(_, row)| has_reverse(row)).map(|(at, _)| at)
}

#[test]
fn keys_that_move_sort_and_open_do_what_help_says() {
    let Some(terminal) = Terminal::open(120, 30) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-i -p {}", target.pid()));
    let all = ["heavy", "medium", "light", "sleeper", "work"];
    terminal.wait("functions", |screen| all.iter().all(|name| screen.contains(name)));
    // What stands still can be counted.
    terminal.keys(&["Space"]);
    let frozen = terminal.wait("a frozen view", |screen| screen.contains("FROZEN  idle"));
    let last = rows(&frozen).len() - 1;
    for (key, row) in [
        ("j", 1),
        ("Up", 0),
        ("Down", 1),
        ("k", 0),
        ("G", last),
        ("Home", 0),
        ("End", last),
        ("PageUp", 0),
        ("PageDown", last),
        ("C-b", 0),
        ("C-f", last),
        ("Up", last - 1),
    ] {
        terminal.keys(&[key]);
        terminal.wait(key, |_| selected(&terminal) == Some(row));
    }
    for (key, sign) in [
        ("S", "%Own▲"),
        ("S", "%Own▼"),
        ("s", "%Total▼"),
        ("s", "OwnTime▼"),
        ("4", "TotalTime▼"),
        ("3", "OwnTime▼"),
        ("s", "TotalTime▼"),
        ("s", "%Own▼"),
        ("a", "  the last window"),
        ("a", "  all since reset"),
        ("a", "% of the last window, times since reset"),
        ("L", "Function (file:line)"),
        ("L", "Function (file:first line)"),
        ("g", "FROZEN  gil  idle"),
    ] {
        terminal.keys(&[key]);
        terminal.wait(key, |screen| screen.contains(sign));
    }
    terminal.wait("what had the GIL", |screen| screen.contains("heavy") && !screen.contains("sleeper"));
    terminal.keys(&["g", "F5", "["]);
    terminal.wait("a closed tree", |screen| screen.contains("▸ <module>") && !screen.contains("heavy"));
    terminal.keys(&["]"]);
    terminal.wait("an open tree", |screen| screen.contains("▾ <module>") && screen.contains("heavy"));
    terminal.keys(&["/", "m", "a", "i", "n", "Enter", "Home", "Left"]);
    terminal.wait("a closed node", |screen| screen.contains("▸ <module>") && !screen.contains(" main ("));
    terminal.keys(&["Right"]);
    terminal.wait("an open node", |screen| screen.contains("▾ <module>") && screen.contains(" main ("));
    // One thing after the other is taken back.
    terminal.keys(&["X", "F3", "Home", "Enter"]);
    let only = format!("thread {} \"MainThread\"", target.pid());
    terminal.wait("one thread", |screen| screen.contains(&only) && !screen.contains("sleeper"));
    terminal.keys(&["BSpace"]);
    terminal.wait("all threads", |screen| !screen.contains(&only) && screen.contains("sleeper"));
    terminal.keys(&["h"]);
    terminal.wait("help", |screen| screen.contains("this help"));
    terminal.keys(&["h"]);
    terminal.wait("no help", |screen| !screen.contains("this help"));
    // Something else writes on the screen where nothing has changed since.
    let tty = terminal.tmux(&["display-message", "-p", "-t", "0", "#{pane_tty}"]);
    fs::write(String::from_utf8_lossy(&tty.stdout).trim(), "\u{1b}[25;60Hrubbish").unwrap();
    terminal.wait("rubbish", |screen| screen.contains("rubbish"));
    terminal.keys(&["C-l"]);
    terminal.wait("a screen drawn anew", |screen| !screen.contains("rubbish") && screen.contains("heavy"));
    terminal.keys(&["Q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn the_mouse_does_what_help_says() {
    let Some(terminal) = Terminal::open(120, 30) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-i -p {}", target.pid()));
    terminal.wait("functions", |screen| ["heavy", "medium", "light"].iter().all(|name| screen.contains(name)));
    terminal.keys(&["Space"]);
    terminal.wait("a frozen view", |screen| screen.contains("FROZEN"));
    // As a terminal reports it: the button, the column and the row, both from 1.
    let mouse = |button: u32, column: usize, row: usize| {
        let report = format!("\u{1b}[<{button};{column};{row}M");
        assert!(terminal.tmux(&["send-keys", "-t", "0", "-l", &report]).status.success());
    };
    mouse(0, 50, 9);
    terminal.wait("the second row", |_| selected(&terminal) == Some(1));
    mouse(65, 50, 9);
    terminal.wait("three rows below", |_| selected(&terminal) == Some(4));
    mouse(64, 50, 9);
    terminal.wait("three rows above", |_| selected(&terminal) == Some(1));
    mouse(0, 50, 9);
    terminal.wait("a closer look", |screen| screen.contains("Called by"));
    terminal.keys(&["Escape"]);
    terminal.wait("functions again", |screen| !screen.contains("Called by"));
    mouse(0, 12, 7);
    terminal.wait("another order", |screen| screen.contains("%Total▼"));
    let tabs = terminal.screen().lines().nth(5).unwrap().to_owned();
    mouse(0, tabs.find("F5").unwrap() + 1, 6);
    terminal.wait("the call tree", |screen| screen.contains("Call tree"));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn what_was_collected_is_written_in_any_format() {
    let Some(terminal) = Terminal::open(120, 30) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    let write = |name: &str| {
        let path = terminal.path(name);
        terminal.keys(&["w"]);
        terminal.wait("a name to write to", |screen| screen.contains("write to"));
        assert!(terminal.tmux(&["send-keys", "-t", "0", "-N", "200", "BSpace"]).status.success());
        assert!(terminal.tmux(&["send-keys", "-t", "0", "-l", &path]).status.success());
        terminal.keys(&["Enter"]);
        path
    };
    for (name, begins) in [
        ("a.svg", &b"<?xml"[..]),
        ("a.flamechart.svg", b"<?xml"),
        ("a.txt", b""),
        ("a.speedscope", b"{\"$schema"),
        ("a.trace.json", b"["),
        ("a.firefox.json", b"{"),
        ("a.pb.gz", b"\x1f\x8b"),
        ("a.callgrind", b"# callgrind format"),
        ("a.pstats", b"{"),
        ("a.pyspy", b""),
    ] {
        let path = write(name);
        // A file has its name only when all of it is there.
        terminal.wait(name, |_| fs::read(&path).is_ok_and(|bytes| !bytes.is_empty()));
        assert!(fs::read(&path).unwrap().starts_with(begins), "{name}");
    }
    write("a.unknown");
    terminal.wait("which formats there are", |screen| screen.contains("which format? .svg"));
    // What was typed is there to be put right.
    terminal.keys(&["w", "BSpace", "BSpace", "BSpace"]);
    terminal.wait("the same name", |screen| screen.contains("/a.unkn"));
    terminal.keys(&["C-c"]);
    terminal.wait("the keys", |screen| screen.contains("q quit"));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}
