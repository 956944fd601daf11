//! `pyspy top` in a real terminal: its views, and what it is for scripts.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interpreters::Interpreter;
use crate::running::{any, script};
use crate::target::{Target, pyspy};
use crate::terminal::{Terminal, leads, rows};

/// One interpreter of each of the versions that differ most; those that are not there are said to be skipped by the
/// interpreters' own test.
fn versions() -> impl Iterator<Item = &'static Interpreter> {
    let features = [(2, 7), (3, 8), (3, 11), (3, 13), (3, 15)];
    features.into_iter().filter_map(|feature| {
        Interpreter::all().iter().find(|found| found.feature() == feature && !found.free_threaded)
    })
}

#[test]
fn every_view_shows_the_right_thing_first() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    for version in versions() {
        let target = Target::start(version, "shares.py", &[]);
        terminal.top(&format!("-p {}", target.pid()));
        show_every_view(&terminal, &target, version);
    }
}

fn show_every_view(terminal: &Terminal, target: &Target, version: &Interpreter) {
    let is_table = |screen: &str| screen.contains("TotalTime Function (file:first line)");
    let screen = terminal.wait("functions", |screen| is_table(screen) && leads(screen, "heavy (shares.py:"));
    let (major, minor) = version.feature();
    assert!(screen.contains(&format!("pid {}  Python {major}.{minor}.", target.pid())), "{screen}");
    assert!(screen.contains("100 Hz asked"), "{screen}");
    terminal.keys(&["2"]);
    // All three have the whole of the time; the order of equals is that of their own time, which a sample or two
    // decide.
    let is_base = |screen: &str| ["<module>", "main", "work"].iter().any(|name| leads(screen, name));
    terminal.wait("%Total", |screen| screen.contains("%Total▼") && is_base(screen) && screen.contains("medium"));
    terminal.keys(&["1", "F2"]);
    terminal.wait("lines", |screen| screen.contains("Function (file:line)") && leads(screen, "heavy (shares.py:1"));
    terminal.keys(&["F3"]);
    let is_first =
        |screen: &str| leads(screen, "MainThread") && screen.contains("\"sleepy\"") && screen.contains("idle");
    terminal.wait("threads", is_first);
    terminal.keys(&["F4"]);
    terminal.wait("processes", |screen| leads(screen, &target.pid().to_string()) && screen.contains("shares.py"));
    terminal.keys(&["F5"]);
    let heavy_above_medium = |screen: &str| {
        let at = |name: &str| screen.lines().position(|line| line.contains(name));
        screen.contains("Call tree") && at("heavy").zip(at("medium")).is_some_and(|(heavy, medium)| heavy < medium)
    };
    terminal.wait("the call tree", heavy_above_medium);
    terminal.keys(&["F6"]);
    // A block is as wide as it is to the next one or to the edge.
    let width = |screen: &str, name: &str| {
        let line = screen.lines().find(|line| line.contains(name))?;
        let after = line.split(name).nth(1)?;
        Some(after.find('▏').unwrap_or(100 - line.chars().count() + after.chars().count()) + name.chars().count())
    };
    terminal
        .wait("the flame graph", |screen| width(screen, "▏heavy") > width(screen, "▏medium").map(|width| width + 10));
    terminal.keys(&["Down", "Down", "Down", "Down"]);
    terminal.wait("the heaviest block", |screen| screen.contains("heavy (shares.py:") && screen.contains("itself"));
    terminal.keys(&["F1", "Enter"]);
    let has_source = |screen: &str| screen.contains("Called by") && screen.contains("while turns > 0:");
    terminal.wait("callers and source", |screen| has_source(screen) && screen.contains("work (shares.py:"));
    terminal.keys(&["Escape"]);
    terminal.wait("functions again", |screen| !screen.contains("Called by"));
    terminal.keys(&["?"]);
    terminal.wait("help", |screen| screen.contains("q, Q, Ctrl-C  quit"));
    terminal.keys(&["x", "q"]);
    assert_eq!(terminal.ended(), 0, "{version}");
}

#[test]
fn processes_below_and_beside_are_shown_as_a_tree() {
    let Some(terminal) = Terminal::open(200, 30) else { return };
    let tree = script("tree.py");
    terminal.top(&format!("-s -- {} {} subprocess 3 600", any().path.display(), tree.display()));
    terminal.keys(&["F4"]);
    // Each is two columns further in than its parent, and names its own command line.
    let indents = |screen: &str| {
        let place = |depth: u32| {
            let program = format!("tree.py subprocess {depth} 600");
            let row = rows(screen).into_iter().find(|row| row.contains(&program))?.to_owned();
            let name = row.split("  ").last()?.trim_start().to_owned();
            Some((row.find(&name)?, name.split(' ').next()?.parse::<u32>().ok()?, row))
        };
        Some([place(3)?, place(2)?, place(1)?])
    };
    let line = |screen: &str, row: &str| screen.lines().position(|line| line == row).unwrap();
    let is_tree = |screen: &str| {
        indents(screen).is_some_and(|[first, second, third]| {
            let lines = [&first, &second, &third].map(|place| line(screen, &place.2));
            second.0 == first.0 + 2 && third.0 == second.0 + 2 && lines.is_sorted()
        })
    };
    let screen = terminal.wait("three processes", is_tree);
    let [first, second, third] = indents(&screen).unwrap();
    for (_, _, row) in [&first, &second, &third] {
        assert!(row.contains('M'), "memory: {row}");
    }
    assert!(screen.contains(&format!("pid {}, {}, {}", first.1, second.1, third.1)), "{screen}");
    terminal.wait("all are active", |screen| screen.contains("run/idle 3/0"));
    // One that ends is not there any more; what it took remains.
    kill(Pid::from_raw(third.1.cast_signed()), Signal::SIGKILL).unwrap();
    terminal.wait("two processes", |screen| screen.contains(&format!("pid {}, {}  ", first.1, second.1)));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn several_pids_are_one_view_until_the_last_has_ended() {
    let Some(terminal) = Terminal::open(200, 30) else { return };
    let one = Target::start(any(), "shares.py", &[]);
    let mut other = Target::start(any(), "shares.py", &["wait"]);
    terminal.top(&format!("-p {} -p {}", one.pid(), other.pid()));
    let both = format!("pid {}, {}  Python", one.pid(), other.pid());
    terminal.wait("both", |screen| screen.contains(&both) && leads(screen, "heavy"));
    terminal.keys(&["F4"]);
    let has_row = |screen: &str, pid: u32| {
        let row = rows(screen).into_iter().find(|row| row.contains(&format!("  {pid} ")));
        row.is_some_and(|row| row.contains("shares.py") && !row.trim_start().starts_with("0.00%"))
    };
    terminal.wait("both processes", |screen| has_row(screen, one.pid()) && has_row(screen, other.pid()));
    kill(Pid::from_raw(one.pid().cast_signed()), Signal::SIGKILL).unwrap();
    terminal.wait("the other", |screen| screen.contains(&format!("pid {}  Python", other.pid())));
    other.send("3");
    let ended = format!("targets exited: {} killed by SIGKILL; {} status 3", one.pid(), other.pid());
    terminal.wait("how both ended", |screen| screen.contains(&ended));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn a_dump_is_of_the_selected_thread_with_its_locals() {
    let Some(terminal) = Terminal::open(120, 40) else { return };
    let target = Target::start(any(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    terminal.keys(&["F3"]);
    terminal.wait("threads", |screen| leads(screen, "MainThread") && screen.contains("\"sleepy\""));
    terminal.keys(&["d"]);
    let main = terminal.wait("the main thread", |screen| screen.contains("Thread ") && screen.contains("turns: "));
    assert!(main.contains("Arguments:") && main.contains("work (shares.py:"), "{main}");
    assert!(!main.contains("sleeper (shares.py:"), "{main}");
    terminal.keys(&["Escape"]);
    terminal.wait("threads again", |screen| leads(screen, "MainThread"));
    terminal.keys(&["j", "d"]);
    let other = terminal.wait("the other thread", |screen| screen.contains("sleeper (shares.py:"));
    assert!(other.contains("\"sleepy\"") && !other.contains("work (shares.py:"), "{other}");
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn without_a_terminal_it_points_to_once() {
    let target = Target::start(any(), "shares.py", &[]);
    let pid = target.pid().to_string();
    let ran = pyspy(&["top", "-p", &pid]);
    assert!(ran.failure().contains("not a terminal") && ran.stderr.contains("--once"), "{ran:?}");
    let ran = pyspy(&["top", "-p", &pid, "--once", "--delay", "2s"]);
    let first = ran.success().lines().skip_while(|line| !line.contains("%Own")).nth(1).unwrap().to_owned();
    assert!(first.contains("heavy (shares.py:"), "{ran:?}");
    let ran = pyspy(&["top", "-p", &pid, "--once", "--json", "--delay", "2s"]);
    assert_eq!(ran.success().lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(ran.success()).unwrap();
    assert_eq!(json["functions"][0]["name"], "heavy");
    let share = json["functions"][0]["own_percent"].as_f64().unwrap();
    assert!((45.0..75.0).contains(&share), "{share}");
}
