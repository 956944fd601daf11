//! `pyspy top`: the live view. One thread samples and owns the target's reader, one waits for keys, one reads what a
//! started program writes; this one takes what they send, and draws.

mod live;
mod meter;
mod plain;
mod sampling;
mod screen;
mod signals;
mod target;
mod write;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use ratatui::crossterm::event::Event as Input;

use self::live::Live;
use self::meter::Meter;
use self::sampling::Sampling;
use self::signals::Signals;
use self::target::Target;
use super::shared::arguments::{native, pausing};
use super::shared::standard_streams::check_stdout;
use crate::cli::TopArgs;
use crate::profile::Below;
use crate::sampler::{Ending, Finder, LiveOptions, LiveWindow, PATIENCE_STARTED, Pausing, ProcessOptions};
use crate::tui::Settings;

/// Messages that may wait.
const MESSAGES: usize = 256;

/// Runs `pyspy top`.
///
/// # Errors
/// When there is no terminal or nothing can be sampled.
pub(crate) fn run(arguments: &TopArgs) -> anyhow::Result<ExitCode> {
    let draws = !arguments.once && !arguments.json;
    if draws && !io::stdout().is_terminal() {
        bail!(
            "standard output is not a terminal; `pyspy top --once` prints one window as text, --json a line for each"
        );
    }
    check_stdout()?;
    let (sender, messages) = sync_channel(MESSAGES);
    let signals = Signals::forward_to(&sender)?;
    let mut target = Target::open_or_start(arguments, &sender, draws)?;
    let result = run_target(arguments, &mut target, &sender, &messages, &signals);
    target.end();
    result?;
    Ok(match signals.first() {
        Some(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        None => ExitCode::SUCCESS,
    })
}

/// What the other threads tell.
enum Message {
    Input(Input),
    Window(Box<LiveWindow>),
    Ended(Ending),
    /// There is something in [`Target::captured`].
    Output,
    Dump(String),
    #[cfg_attr(not(unix), expect(dead_code, reason = "no signal is waited for there"))]
    Signal(i32),
    /// No more input will come.
    InputFailed(io::Error),
}

fn run_target(
    arguments: &TopArgs,
    target: &mut Target,
    sender: &SyncSender<Message>,
    messages: &Receiver<Message>,
    signals: &Signals,
) -> anyhow::Result<()> {
    let mut finder = Finder::new();
    let cancelled = || signals.stop.load(Ordering::Relaxed);
    // With children wanted, the processes themselves need not be Python's.
    if !arguments.subprocesses
        && !arguments.all
        && let Err(error) = target.wait_for_python(&mut finder, &cancelled)
    {
        return if cancelled() { Ok(()) } else { Err(error) };
    }
    let pausing = pausing(arguments.pause, Pausing::Adaptive);
    let options = LiveOptions {
        rate: arguments.rate,
        pausing,
        every: arguments.delay,
        processes: ProcessOptions {
            subprocesses: arguments.subprocesses && !arguments.all,
            host: arguments.all,
            adopt: target.program.is_some(),
            merge: false,
            patience: if arguments.subprocesses { Duration::MAX } else { PATIENCE_STARTED },
        },
        native: native(arguments.pause)?,
        below: arguments.below.as_deref().map(Below::new),
    };
    let sampling = Sampling::start(target.roots(), finder, options, sender)?;
    let meter = Meter::new(&target.processes, pausing != Pausing::Never);
    let result = if arguments.once || arguments.json {
        plain::print(arguments, &sampling, meter, messages, target)
    } else {
        Live { sampling: &sampling, target, messages, meter, pausing }.run(arguments, sender)
    };
    sampling.stop();
    result
}

fn settings(arguments: &TopArgs, has_output: bool) -> Settings {
    Settings {
        rate: arguments.rate,
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        full_file_names: arguments.full_filenames,
        gil_only: arguments.gil,
        idle: arguments.idle,
        has_output,
        below: arguments.below.clone().unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
