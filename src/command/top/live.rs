//! The view on a terminal: takes what the other threads send, draws, and does what the state asks for.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::crossterm::event;

use super::meter::Meter;
use super::sampling::{OneThread, Sampling};
use super::screen::Screen;
use super::target::{Target, take_captured};
use super::{MESSAGES, Message, settings, write};
use crate::cli::TopArgs;
use crate::command::shared::source_finder::SourceFinder;
use crate::inspect::source_file;
use crate::output::printable;
use crate::profile::{Profile, TextId, ThreadRef};
use crate::sampler::{LiveRequest, Pausing};
use crate::tui::{Effect, Event, State, update};

/// What the target writes is shown at most so often.
const OUTPUT_EVERY: Duration = Duration::from_millis(100);
/// Longer source files are cut.
const SOURCE_BYTES: u64 = 4 << 20;

/// The view on a terminal.
pub(super) struct Live<'run> {
    pub(super) sampling: &'run Sampling,
    pub(super) target: &'run mut Target,
    pub(super) messages: &'run Receiver<Message>,
    pub(super) meter: Meter,
    pub(super) pausing: Pausing,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

impl Live<'_> {
    pub(super) fn run(mut self, arguments: &TopArgs, sender: &SyncSender<Message>) -> anyhow::Result<()> {
        let mut screen = Screen::take_over().context("cannot take over the terminal")?;
        let mut state = State::new(settings(arguments, self.target.program.is_some()), screen.size()?);
        wait_for_input(sender)?;
        screen.draw(&state)?;
        let mut drawn = Instant::now();
        let mut output_waits = false;
        loop {
            let limit = if output_waits { OUTPUT_EVERY.saturating_sub(drawn.elapsed()) } else { Duration::MAX };
            let first = match self.messages.recv_timeout(limit.min(Duration::from_secs(3600))) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What waits is drawn once.
            let mut draw_now = first.is_none();
            let begun = Instant::now();
            let mut windows = 0;
            for message in first.into_iter().chain(self.messages.try_iter().take(MESSAGES)) {
                if matches!(message, Message::Output) {
                    output_waits = true;
                    continue;
                }
                draw_now = true;
                windows += u32::from(matches!(message, Message::Window(_)));
                if self.handle_message(message, &mut state, &mut screen)? == Next::Quit {
                    return Ok(());
                }
            }
            if draw_now {
                output_waits = false;
                if let Some(text) = take_captured(&self.target.captured) {
                    update(&mut state, Event::Output(text));
                }
                screen.draw(&state)?;
                drawn = Instant::now();
                if windows > 0 {
                    let (sizes, totals) = (state.data.profile.table_sizes(), state.data.profile.totals().len());
                    log::debug!("a window and its drawing took {:?}; {sizes:?}, {totals} totals", begun.elapsed());
                }
            }
        }
    }

    fn handle_message(&mut self, message: Message, state: &mut State, screen: &mut Screen) -> anyhow::Result<Next> {
        let event = match message {
            Message::Input(input) => {
                if matches!(input, event::Event::Resize(..)) {
                    // Whatever size it had in between, what was on it may have been moved or cut.
                    screen.redraw()?;
                }
                Event::Input(input)
            }
            Message::Window(window) => {
                self.sampling.in_flight.store(false, Ordering::Release);
                Event::Window(Box::new(self.meter.window(*window)))
            }
            Message::Ended(ending) => Event::Ended(self.target.how_it_ended(&ending)),
            Message::Dump(text) => Event::Dump(text),
            Message::Output => return Ok(Next::GoOn),
            #[cfg(unix)]
            Message::Signal(signal) if signal == signal_hook::consts::SIGCONT => {
                // Whoever had the terminal meanwhile may have left it in another state.
                screen.enter()?;
                state.size = screen.size()?;
                return Ok(Next::GoOn);
            }
            Message::Signal(_) => return Ok(Next::Quit),
            Message::InputFailed(error) => return Err(error).context("cannot read keys from the terminal"),
        };
        for effect in update(state, event) {
            if self.carry_out(effect, state, screen)? == Next::Quit {
                return Ok(Next::Quit);
            }
        }
        Ok(Next::GoOn)
    }

    fn carry_out(&mut self, effect: Effect, state: &mut State, screen: &mut Screen) -> anyhow::Result<Next> {
        match effect {
            Effect::Quit => return Ok(Next::Quit),
            Effect::Rate(rate) => self.sampling.send_request(LiveRequest::Rate(rate)),
            Effect::Redraw => screen.redraw()?,
            Effect::Source(file) => {
                let source = self.read_source(state, file);
                update(state, Event::Source(file, source));
            }
            Effect::Dump(process, thread) => {
                if let Some(ended) = &state.data.ended {
                    let notice = format!("{ended}: there is nothing to dump");
                    update(state, Event::Notice(notice));
                } else {
                    let only = thread.map(|thread| ident(&state.data.profile, thread));
                    let pid = process.map(|process| state.data.profile.process(process).pid);
                    self.sampling.request_dump(self.pausing, state.selection.full_file_names, pid, only);
                }
            }
            Effect::Task(id) => {
                if let Some(ended) = &state.data.ended {
                    let notice = format!("{ended}: there is nothing to look at");
                    update(state, Event::Notice(notice));
                } else if let Some(group) = state.data.facts.tasks.iter().find(|group| group.id == id) {
                    let full_file_names = state.selection.full_file_names;
                    self.sampling.request_task(self.pausing, full_file_names, group.clone());
                }
            }
            Effect::Write(path) => {
                let notice = write::write(state, Path::new(&path)).unwrap_or_else(|error| format!("{error:#}"));
                update(state, Event::Notice(printable(&notice).into_owned()));
            }
            Effect::Suspend => self.suspend(state, screen)?,
            Effect::BeginAnew => self.sampling.send_request(LiveRequest::BeginAnew),
        }
        Ok(Next::GoOn)
    }

    /// A source file as the target finds it.
    fn read_source(&self, state: &State, file: TextId) -> Option<Vec<String>> {
        let path = Path::new(state.data.profile.text(file));
        if self.target.processes.is_empty() {
            let text = SourceFinder::of_profile(&state.data.profile).text(path.to_str()?)?;
            return Some(text.lines().map(str::to_owned).collect());
        }
        let mut processes = self.target.processes.iter();
        let bytes =
            processes.find_map(|process| source_file::read(&|path| process.open_source(path), path, SOURCE_BYTES))?;
        Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Stops ourselves as Ctrl-Z does, the target not held and the terminal given back.
    #[cfg(unix)]
    fn suspend(&self, state: &mut State, screen: &mut Screen) -> anyhow::Result<()> {
        screen.leave();
        let (done, stopped) = std::sync::mpsc::channel();
        // Done by the thread that samples, so that it cannot hold the target meanwhile.
        self.sampling.send_request(LiveRequest::Inspect(Box::new(move |_| {
            let _ = done.send(nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP));
        })));
        if stopped.recv().is_err() {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
        screen.enter()?;
        state.size = screen.size()?;
        Ok(())
    }

    #[cfg(not(unix))]
    fn suspend(&self, _state: &mut State, _screen: &mut Screen) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What tells a thread from all others of its process.
fn ident(profile: &Profile, thread: ThreadRef) -> OneThread {
    let thread = profile.thread(thread);
    OneThread { python_id: thread.python_id, interpreter: thread.interpreter, os_id: thread.os_id }
}

fn wait_for_input(sender: &SyncSender<Message>) -> io::Result<()> {
    let sender = sender.clone();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        loop {
            let (message, is_last) = match event::read() {
                Ok(input) => (Message::Input(input), false),
                Err(error) => (Message::InputFailed(error), true),
            };
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}
