//! `pyspy top` in a real terminal: tmux holds it, keys go in, and what is on the screen is waited for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::interpreters::Interpreter;
use crate::target::{Target, pyspy};

/// How long something may take to be on the screen. Only what is broken takes this long.
const LIMIT: Duration = Duration::from_secs(90);

/// A tmux server of our own with one terminal, in which a shell waits for a line.
struct Terminal {
    socket: String,
    directory: tempfile::TempDir,
}

impl Terminal {
    /// `None` where there is no tmux.
    fn open(columns: u16, rows: u16) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let socket = format!("pyspy-test-{}-{}", std::process::id(), directory.path().file_name()?.to_str()?);
        let terminal = Self { socket, directory };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let shell = ["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, "env PS1='$ ' sh"];
        let Ok(output) = Command::new("tmux").args(["-L", &terminal.socket]).args(shell).output() else {
            crate::target::note("skipped: there is no tmux");
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        terminal.wait("a prompt", |screen| screen.contains('$'));
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Output {
        Command::new("tmux").args(["-L", &self.socket]).args(args).output().expect("tmux runs")
    }

    fn keys(&self, keys: &[&str]) {
        for key in keys {
            assert!(self.tmux(&["send-keys", "-t", "0", key]).status.success());
        }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-t", "0"]).stdout).into_owned()
    }

    /// Waits until the screen is as it should be; the screen then.
    #[track_caller]
    fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what}:\n{screen}");
            thread::yield_now();
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs `pyspy top`, with the state of the terminal noted before and after, and then its exit status.
    fn top(&self, args: &str) {
        let program = env!("CARGO_BIN_EXE_pyspy");
        let (before, after, status) = (self.path("before"), self.path("after"), self.path("status"));
        let line = format!(
            "clear; stty -a > {before}; echo $$ > {}; {program} top --delay 200ms {args}; echo $? > {status}.new; stty -a > {after}; mv {status}.new {status}",
            self.path("shell")
        );
        // The shell's line could be longer than the terminal is wide; a script has no such end.
        fs::write(self.path("script"), line).unwrap();
        self.keys(&[&format!(". {}", self.path("script")), "Enter"]);
    }

    /// Waits for the end of what [`Terminal::top`] has started; its exit status. The terminal must be as it was.
    #[track_caller]
    fn ended(&self) -> i32 {
        let deadline = Instant::now() + LIMIT;
        while !Path::new(&self.path("status")).exists() {
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.screen());
            thread::yield_now();
        }
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap();
        // All but the first line, which has the size.
        let modes_of = |name: &str| read(name).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(modes_of("before"), modes_of("after"), "stty -a");
        let modes = ["alternate_on", "mouse_any_flag", "cursor_flag"].map(|flag| format!("#{{{flag}}}")).join(" ");
        let modes = self.tmux(&["display-message", "-p", "-t", "0", &modes]);
        assert_eq!(String::from_utf8_lossy(&modes.stdout).trim(), "0 0 1", "the usual screen, no mouse, a cursor");
        let status = read("status").trim().parse().unwrap();
        fs::remove_file(self.path("status")).unwrap();
        status
    }

    /// The process id of the pyspy that runs.
    fn pyspy_pid(&self) -> i32 {
        let shell = fs::read_to_string(self.path("shell")).unwrap();
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.trim())).unwrap();
        children.split_whitespace().next().expect("pyspy runs").parse().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn interpreter() -> &'static Interpreter {
    let all = Interpreter::all();
    all.iter().find(|interpreter| interpreter.feature() == (3, 11)).or(all.last()).expect("an interpreter")
}

/// The lines below the columns' names.
fn rows(screen: &str) -> Vec<&str> {
    screen.lines().skip(7).filter(|line| line.contains('%')).collect()
}

/// Whether the first row that has a share is about `name`.
fn leads(screen: &str, name: &str) -> bool {
    rows(screen).first().is_some_and(|row| row.contains(name))
}

#[test]
fn every_view_shows_the_right_thing_first() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let target = Target::start(interpreter(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    let is_table = |screen: &str| screen.contains("TotalTime Function (file:first line)");
    let screen = terminal.wait("functions", |screen| is_table(screen) && leads(screen, "heavy (shares.py:"));
    assert!(screen.contains(&format!("pid {}  Python 3.", target.pid())), "{screen}");
    assert!(screen.contains("100 Hz asked"), "{screen}");
    terminal.keys(&["2"]);
    terminal
        .wait("%Total", |screen| screen.contains("%Total▼") && leads(screen, "<module>") && screen.contains("medium"));
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
    terminal.keys(&["F1", "j", "Enter"]);
    let has_source = |screen: &str| screen.contains("Called by") && screen.contains("while turns > 0:");
    terminal.wait("callers and source", |screen| has_source(screen) && screen.contains("work (shares.py:"));
    terminal.keys(&["Escape", "?"]);
    terminal.wait("help", |screen| screen.contains("q, Q, Ctrl-C  quit"));
    terminal.keys(&["x", "q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn keys_do_what_help_says() {
    let Some(terminal) = Terminal::open(120, 40) else { return };
    let target = Target::start(interpreter(), "shares.py", &[]);
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
    terminal.keys(&["Escape", "w"]);
    terminal.wait("a name to write to", |screen| screen.contains(&format!("pyspy-{}.svg", target.pid())));
    terminal.keys(&["BSpace"; 40]);
    let written = terminal.path("written.txt");
    terminal.keys(&[&written, "Enter"]);
    terminal.wait("a written file", |screen| screen.contains("wrote "));
    let stacks = fs::read_to_string(&written).unwrap();
    assert!(stacks.contains(";heavy (shares.py:") && !stacks.contains("sleeper"), "{stacks}");
    terminal.keys(&["r"]);
    let since_reset = |screen: &str| {
        let time = |row: &str| row.split_whitespace().nth(2)?.strip_suffix('s')?.parse::<f64>().ok();
        rows(screen).first().and_then(|row| time(row)).is_some_and(|time| time < 2.0)
    };
    terminal.wait("a reset", since_reset);
    terminal.keys(&["C-c"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn every_way_out_leaves_a_sane_terminal() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let mut target = Target::start(interpreter(), "shares.py", &["wait"]);
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
    assert!(leads(&last, "heavy"), "the last view stays: {last}");
    terminal.keys(&["F5"]);
    terminal.wait("another view of it", |screen| screen.contains("Call tree") && screen.contains("heavy"));
    terminal.keys(&["q"]);
    terminal.wait("the shell's prompt", |screen| screen.trim_end().ends_with('$'));
}

#[test]
fn sizes_are_followed_down_to_the_note() {
    let Some(terminal) = Terminal::open(200, 60) else { return };
    let target = Target::start(interpreter(), "shares.py", &[]);
    terminal.top(&format!("-p {}", target.pid()));
    let footer = |screen: &str, rows: usize| screen.lines().nth(rows - 1).is_some_and(|line| line.contains("q quit"));
    terminal.wait("200×60", |screen| leads(screen, "heavy") && footer(screen, 60));
    let resize = |columns: &str, rows: &str| {
        assert!(terminal.tmux(&["resize-window", "-t", "0", "-x", columns, "-y", rows]).status.success());
    };
    resize("80", "24");
    terminal.wait("80×24", |screen| leads(screen, "heavy") && footer(screen, 24));
    resize("40", "10");
    terminal.wait("the note", |screen| screen.contains("40×10 is too small") && screen.contains("80×24"));
    resize("80", "24");
    terminal.wait("80×24 again", |screen| leads(screen, "heavy") && footer(screen, 24));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn a_started_program_writes_into_a_view_and_its_status_is_told() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/shares.py");
    terminal.top(&format!("-- {} {} for 3", interpreter().path.display(), script.display()));
    terminal.wait("functions", |screen| leads(screen, "heavy"));
    terminal.wait("its end", |screen| screen.contains("target exited, status 3"));
    terminal.keys(&["F7"]);
    terminal.wait("what it wrote", |screen| screen.contains("ready") && screen.contains("last words"));
    terminal.keys(&["q"]);
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn without_a_terminal_it_points_to_once() {
    let target = Target::start(interpreter(), "shares.py", &[]);
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
