//! The terminal while it is ours: the alternate screen, raw keys, the mouse. Given back on every path.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

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
use ratatui::layout::{Position, Rect};

use crate::tui::{State, draw};

/// More than a frame takes, so that each is written in one piece and none is seen half drawn.
const FRAME_BYTES: usize = 1 << 20;

/// The terminal, taken until this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    log_level: LevelFilter,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        let writer = BufWriter::with_capacity(FRAME_BYTES, io::stdout());
        let log_level = log::max_level();
        let mut screen = Self { terminal: Terminal::new(CrosstermBackend::new(writer))?, log_level };
        screen.enter()?;
        Ok(screen)
    }

    /// Takes the terminal again, after [`Screen::leave`] or after somebody else had it.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        // What was saved as the usual mode is kept; without this a terminal that a shell has set meanwhile would be taken for raw.
        disable_raw_mode()?;
        enable_raw_mode()?;
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

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
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
