//! Ends processes that hang.

use std::time::{Duration, Instant};

use anyhow::anyhow;
#[cfg(unix)]
use nix::sys::signal::Signal;

use crate::command::shared::program_ending::signal_name;
use crate::command::shared::standard_streams::print_note;
use crate::process::Process;

/// After so long a process that was asked to end is killed.
const GRACE: Duration = Duration::from_secs(5);
/// The numbers that these have on every Unix.
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// Between two looks at whether one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Processes that are being ended.
pub(super) struct Kills {
    /// The number of the signal that was asked for; otherwise a gentle one, and later one that cannot be refused.
    signal: Option<i32>,
    staying: Vec<(Process, Instant)>,
    have_ended_any: bool,
}

impl Kills {
    /// By a signal's name or number; by the default ones where `text` is empty.
    ///
    /// # Errors
    /// When there is no such signal.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if cfg!(not(unix)) {
            anyhow::bail!("--kill works on Unix only");
        }
        let unknown =
            || anyhow!("there is no signal {text:?}; a program to start stands behind `--`, as in `--kill -- pytest`");
        let signal = if text.is_empty() { None } else { Some(signal_number(text).ok_or_else(unknown)?) };
        Ok(Self { signal, staying: Vec::new(), have_ended_any: false })
    }

    /// Whether any process was told to end.
    pub(super) fn have_ended_any(&self) -> bool {
        self.have_ended_any
    }

    /// Tells a process to end.
    pub(super) fn kill(&mut self, process: &Process, now: Instant) {
        if process.has_exited() || self.staying.iter().any(|(known, _)| known.pid() == process.pid()) {
            return;
        }
        self.have_ended_any |= send_signal(process, self.signal.unwrap_or(SIGTERM));
        if self.signal.is_none() {
            self.staying.push((process.clone(), now + GRACE));
        }
    }

    /// Kills those that did not end when they were told to.
    pub(super) fn kill_those_that_stay(&mut self, now: Instant) {
        self.staying.retain(|(process, until)| {
            if !process.has_exited() && now >= *until {
                send_signal(process, SIGKILL);
                return false;
            }
            !process.has_exited()
        });
    }

    /// Waits until all have ended or were killed.
    pub(super) fn wait(&mut self) {
        while !self.staying.is_empty() {
            self.kill_those_that_stay(Instant::now());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The number of a signal by its name, with or without `SIG`, or its number.
#[cfg(unix)]
fn signal_number(text: &str) -> Option<i32> {
    let name = text.to_ascii_uppercase();
    let long = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    let by_number = || Signal::try_from(text.parse::<i32>().ok()?).ok();
    long.parse().ok().or_else(by_number).map(|signal: Signal| signal as i32)
}

#[cfg(not(unix))]
fn signal_number(_text: &str) -> Option<i32> {
    None
}

/// Whether the signal was sent.
fn send_signal(process: &Process, number: i32) -> bool {
    let (pid, name) = (process.pid(), signal_name(number));
    let sent = send(pid, number);
    match &sent {
        Ok(()) => print_note(&format!("sent {name} to process {pid}")),
        Err(error) => print_note(&format!("cannot send {name} to process {pid}: {error}")),
    }
    sent.is_ok()
}

#[cfg(unix)]
fn send(pid: i32, number: i32) -> std::io::Result<()> {
    let signal = Signal::try_from(number)?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?)
}

#[cfg(not(unix))]
fn send(_pid: i32, _number: i32) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let signal = |text| Kills::parse(text).ok().map(|kills| kills.signal);
        assert_eq!(signal(""), Some(None));
        assert_eq!(signal("KILL"), Some(Some(SIGKILL)));
        assert_eq!(signal("sigabrt"), Some(Some(Signal::SIGABRT as i32)));
        assert_eq!(signal("9"), Some(Some(SIGKILL)));
        assert_eq!(signal("python"), None);
    }
}
