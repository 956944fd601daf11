//! `--once` and `--json`: windows as text, for scripts.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::meter::Meter;
use super::sampling::Sampling;
use super::target::Target;
use super::{Message, settings};
use crate::cli::TopArgs;
use crate::command::shared::below_notes::below_notes;
use crate::command::shared::failure::OutputError;
use crate::command::shared::standard_streams::print_note;
use crate::output::printable;
use crate::sampler::{Ending, LiveRequest, SampleError};
use crate::tui::{Effect, Event, State, layout, plain, update};

/// `--once` and `--json`.
pub(super) fn print(
    arguments: &TopArgs,
    sampling: &Sampling,
    mut meter: Meter,
    messages: &Receiver<Message>,
    target: &mut Target,
) -> anyhow::Result<()> {
    let mut state = State::new(settings(arguments, false), layout::SMALLEST);
    let mut writer = BufWriter::new(io::stdout().lock());
    while let Ok(message) = messages.recv() {
        match message {
            Message::Window(window) => {
                sampling.in_flight.store(false, Ordering::Release);
                let effects = update(&mut state, Event::Window(Box::new(meter.window(*window))));
                if effects.contains(&Effect::BeginAnew) {
                    sampling.send_request(LiveRequest::BeginAnew);
                }
                let written = if arguments.json {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    plain::write_json(&mut state, now.as_secs_f64(), &mut writer)
                } else {
                    plain::write_text(&mut state, &mut writer)
                };
                written.and_then(|()| writer.flush()).map_err(OutputError::of_stdout)?;
                if arguments.once {
                    let counts = state.data.counts();
                    below_notes(&state.data.profile, &state.settings.below, counts)
                        .iter()
                        .for_each(|text| print_note(text));
                    return Ok(());
                }
            }
            Message::Ended(Ending::Lost(reason)) => bail!("{}", printable(&reason)),
            Message::Ended(_) if arguments.once && state.data.windows == 0 => {
                return Err(SampleError::Exited).context("there was no sample");
            }
            Message::Ended(ending) => {
                print_note(&target.how_it_ended(&ending));
                return Ok(());
            }
            #[cfg(unix)]
            Message::Signal(signal) if signal == signal_hook::consts::SIGCONT => {}
            Message::Signal(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
