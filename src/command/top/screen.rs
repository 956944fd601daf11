//! The terminal while it is ours: the alternate screen, raw keys, the mouse. Given back on every path.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use log::LevelFilter;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Position, Rect, Size};

use crate::tui::{State, draw};

/// The terminal is ours and must be given back: once, for the second time would put the cursor where it was before what
/// was printed since.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// More than a frame takes, so that each is written in one piece and none is seen half drawn.
const FRAME_BYTES: usize = 1 << 20;

/// The terminal, taken until this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    log_level: LevelFilter,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take_over() -> io::Result<Self> {
        give_back_on_panic();
        let writer = BufWriter::with_capacity(FRAME_BYTES, io::stdout());
        let log_level = log::max_level();
        let mut screen = Self { terminal: Terminal::new(CrosstermBackend::new(writer))?, log_level };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the terminal again, after [`Screen::leave`] or after somebody else had it.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        // What was saved as the usual mode is kept; without this a terminal that a shell has set meanwhile would be
        // taken for raw.
        disable_raw_mode()?;
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)?;
        if io::stderr().is_terminal() {
            log::set_max_level(LevelFilter::Off);
        }
        self.redraw()
    }

    /// Gives the terminal back for a while.
    pub(super) fn leave(&mut self) {
        give_back();
        log::set_max_level(self.log_level);
    }

    /// Its size.
    pub(super) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Draws what has changed; everything after a [`Screen::redraw`].
    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| draw(state, frame))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()
    }

    /// Sees to it that everything is drawn.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        // Not `clear`: that asks the terminal where its cursor is, and the answer goes to the thread that reads keys.
        self.terminal.resize(Rect::from((Position::ORIGIN, self.terminal.size()?)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Puts the terminal back as it was. A terminal that is gone cannot be helped.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(io::stdout(), DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// A panic is to be read on the screen that the user had before.
fn give_back_on_panic() {
    let main = std::thread::current().id();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        print(panic);
        if std::thread::current().id() != main {
            // The screen would be drawn on again. What is held of the target is let go by the system.
            std::process::exit(101);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    /// Where the test that panics is asked for, in a terminal of its own: in the thread that has the screen, or in
    /// another.
    const PLACE: &str = "PYSPY_TEST_PANIC_IN";

    #[test]
    fn panics_when_asked_to() {
        let Ok(place) = std::env::var(PLACE) else { return };
        let screen = Screen::take_over().unwrap();
        assert!(ratatui::crossterm::terminal::is_raw_mode_enabled().unwrap());
        if place == "another" {
            let other = std::thread::spawn(|| panic!("on purpose, in another thread"));
            let _ = other.join();
            std::thread::sleep(Duration::from_secs(60));
        }
        let _kept = screen;
        panic!("on purpose, in {place} thread");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read_on_the_usual_screen() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let ourselves = std::env::current_exe().unwrap();
        for place in ["this", "another"] {
            let socket = format!("pyspy-panic-{}-{place}", std::process::id());
            let tmux = |args: &[&str]| Command::new("tmux").args(["-L", &socket]).args(args).output();
            let script = format!(
                "stty -a > {before}; {PLACE}={place} {ourselves} --exact \
                 command::top::screen::tests::panics_when_asked_to --nocapture; echo status $?; \
                 stty -a > {after}.new; mv {after}.new {after}; sleep 60",
                before = path("before").display(),
                after = path("after").display(),
                ourselves = ourselves.display(),
            );
            std::fs::write(path("script"), script).unwrap();
            let shell = format!("sh {}", path("script").display());
            let Ok(started) = tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40", &shell]) else {
                let _ = io::stderr().write_all(b"skipped: there is no tmux\n");
                return;
            };
            assert!(started.status.success(), "{started:?}");
            let deadline = Instant::now() + Duration::from_secs(60);
            while !path("after").exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let text = |args: &[&str]| String::from_utf8_lossy(&tmux(args).unwrap().stdout).into_owned();
            let screen = text(&["capture-pane", "-p"]);
            let modes = text(&["display-message", "-p", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"]);
            let _ = tmux(&["kill-server"]);
            assert_eq!(modes.trim(), "0 0 1", "the usual screen, no mouse, a cursor: {screen}");
            assert!(screen.contains(&format!("on purpose, in {place} thread")), "{screen}");
            assert!(screen.contains("status 101"), "{screen}");
            let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
            assert_eq!(read("before"), read("after"));
            std::fs::remove_file(path("after")).unwrap();
        }
    }
}
