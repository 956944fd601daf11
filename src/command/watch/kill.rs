//! Ends processes that hang.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::print_note;
use crate::process::Process;

/// After so long a process that was asked to end is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at whether one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Processes that are being ended.
pub(super) struct Kills {
    /// The signal that was asked for; otherwise a gentle one, and later one that cannot be refused.
    signal: Option<Signal>,
    staying: Vec<(Process, Instant)>,
    have_ended_any: bool,
}

impl Kills {
    /// By a signal's name or number; by the default ones where `text` is empty.
    ///
    /// # Errors
    /// When there is no such signal.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let signal = match text {
            "" => None,
            text => {
                let name = text.to_ascii_uppercase();
                let long = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
                let by_number = name.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
                Some(by_number.or_else(|| long.parse().ok()).ok_or_else(|| {
                    anyhow!(
                        "there is no signal {text:?}; a program to start stands behind `--`, as in `--kill -- pytest`"
                    )
                })?)
            }
        };
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
        self.have_ended_any |= send_signal(process, self.signal.unwrap_or(Signal::SIGTERM));
        if self.signal.is_none() {
            self.staying.push((process.clone(), now + GRACE));
        }
    }

    /// Kills those that did not end when they were told to.
    pub(super) fn kill_those_that_stay(&mut self, now: Instant) {
        self.staying.retain(|(process, until)| {
            if !process.has_exited() && now >= *until {
                send_signal(process, Signal::SIGKILL);
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

/// Whether the signal was sent.
fn send_signal(process: &Process, signal: Signal) -> bool {
    let pid = process.pid();
    let sent = kill(Pid::from_raw(pid), signal);
    match &sent {
        Ok(()) => print_note(&format!("sent {signal} to process {pid}")),
        Err(error) => print_note(&format!("cannot send {signal} to process {pid}: {error}")),
    }
    sent.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let signal = |text| Kills::parse(text).ok().map(|kills| kills.signal);
        assert_eq!(signal(""), Some(None));
        assert_eq!(signal("KILL"), Some(Some(Signal::SIGKILL)));
        assert_eq!(signal("sigabrt"), Some(Some(Signal::SIGABRT)));
        assert_eq!(signal("9"), Some(Some(Signal::SIGKILL)));
        assert_eq!(signal("python"), None);
    }
}
