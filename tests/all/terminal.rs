//! A real terminal: tmux holds it, keys go in, and what is on the screen is waited for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// How long something may take to be on the screen. Only what is broken takes this long.
const LIMIT: Duration = Duration::from_secs(90);

/// A tmux server of our own with one terminal, in which a shell waits for a line.
pub struct Terminal {
    socket: String,
    directory: tempfile::TempDir,
}

impl Terminal {
    /// `None` where there is no tmux.
    pub fn open(columns: u16, rows: u16) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let socket = format!("pyspy-test-{}-{}", std::process::id(), directory.path().file_name()?.to_str()?);
        let terminal = Self { socket, directory };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let shell = ["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, "env PS1='$ ' sh"];
        let Ok(output) = Command::new("tmux").args(["-L", &terminal.socket]).args(shell).output() else {
            crate::target::print_note("skipped: there is no tmux");
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        terminal.wait("a prompt", |screen| screen.contains('$'));
        Some(terminal)
    }

    pub fn tmux(&self, args: &[&str]) -> Output {
        Command::new("tmux").args(["-L", &self.socket]).args(args).output().expect("tmux runs")
    }

    pub fn keys(&self, keys: &[&str]) {
        for key in keys {
            assert!(self.tmux(&["send-keys", "-t", "0", key]).status.success());
        }
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p", "-t", "0"]).stdout).into_owned()
    }

    /// The screen with the escapes of its colours and attributes.
    pub fn styled_screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-e", "-p", "-t", "0"]).stdout).into_owned()
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        assert!(self.tmux(&["resize-window", "-t", "0", "-x", &columns, "-y", &rows]).status.success());
    }

    /// Waits until the screen is as it should be; the screen then.
    #[track_caller]
    pub fn wait(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
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

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs `pyspy top`, with the state of the terminal noted before and after, and then its exit status.
    pub fn top(&self, args: &str) {
        self.run(&format!("{} top --delay 200ms {args}", env!("CARGO_BIN_EXE_pyspy")));
    }

    /// Runs a command as [`Terminal::top`] does.
    pub fn run(&self, command: &str) {
        let (before, after, status) = (self.path("before"), self.path("after"), self.path("status"));
        let line = format!(
            "clear; stty -a > {before}; echo $$ > {}; {command}; echo $? > {status}.new; stty -a > {after}; \
             mv {status}.new {status}",
            self.path("shell")
        );
        // The shell's line could be longer than the terminal is wide; a script has no such end.
        fs::write(self.path("script"), line).unwrap();
        self.keys(&[&format!(". {}", self.path("script")), "Enter"]);
    }

    /// Waits for the end of what [`Terminal::top`] has started; its exit status. The terminal must be as it was.
    #[track_caller]
    pub fn ended(&self) -> i32 {
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
    pub fn pyspy_pid(&self) -> i32 {
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

/// The lines below the columns' names.
pub fn rows(screen: &str) -> Vec<&str> {
    screen.lines().skip(7).filter(|line| line.contains('%')).collect()
}

/// Whether the first row that has a share is about `name`.
pub fn leads(screen: &str, name: &str) -> bool {
    rows(screen).first().is_some_and(|row| row.contains(name))
}
