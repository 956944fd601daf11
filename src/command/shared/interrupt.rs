//! Signals that ask us to end, or to write what there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether whoever started us had this signal ignored, as far as that can be told.
#[cfg(unix)]
pub(in crate::command) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// Whether we are in the group of processes to which our terminal sends its signals.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| nix::unistd::tcgetpgrp(terminal) == Ok(nix::unistd::getpgrp()))
}

/// Whether we have the console whose Ctrl-C all of its programs are told of.
#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal()
}

/// What signals ask for. SIGINT, SIGTERM and SIGHUP: to end; a SIGINT after that was begun ends the program at once.
/// SIGUSR1: to write what there is. On Windows Ctrl-C is what SIGINT is, and Ctrl-Break what SIGTERM is, as is a
/// console that closes.
///
/// The others may come twice without anybody's being impatient: a shell that closes and the kernel both send SIGHUP,
/// `timeout` sends its signal to the program and to its group.
#[derive(Debug, Clone, Default)]
pub(in crate::command) struct Interrupt {
    end: Arc<AtomicBool>,
    /// SIGINT has come.
    interrupted: Arc<AtomicBool>,
    /// It was noticed that we are to end.
    noticed: Arc<AtomicBool>,
    write: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes the signals over.
    pub(in crate::command) fn install() -> std::io::Result<Self> {
        let interrupt = Self::default();
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                // Under `nohup` the recording outlives its terminal.
                if signal == SIGHUP && is_ignored(signal) {
                    continue;
                }
                if signal == SIGINT {
                    signal_hook::flag::register_conditional_shutdown(
                        signal,
                        128 + signal,
                        Arc::clone(&interrupt.noticed),
                    )?;
                    signal_hook::flag::register(signal, Arc::clone(&interrupt.interrupted))?;
                }
                signal_hook::flag::register(signal, Arc::clone(&interrupt.end))?;
            }
            signal_hook::flag::register(SIGUSR1, Arc::clone(&interrupt.write))?;
        }
        #[cfg(not(unix))]
        {
            let pressed = interrupt.clone();
            crate::process::listen_to_console(move |is_ctrl_c| pressed.take_key(is_ctrl_c))?;
        }
        Ok(interrupt)
    }

    /// Ctrl-C was pressed, or Ctrl-Break, or the console closes.
    #[cfg(not(unix))]
    fn take_key(&self, is_ctrl_c: bool) {
        /// That of a program that SIGINT ends.
        const STATUS: i32 = 128 + 2;
        if is_ctrl_c && self.noticed.load(Ordering::Relaxed) {
            std::process::exit(STATUS);
        }
        self.interrupted.fetch_or(is_ctrl_c, Ordering::Relaxed);
        self.end.store(true, Ordering::Relaxed);
    }

    /// Whether we are to end; once that has been said, another SIGINT does not wait.
    pub(in crate::command) fn is_set(&self) -> bool {
        let is_set = self.end.load(Ordering::Relaxed);
        if is_set {
            self.noticed.store(true, Ordering::Relaxed);
        }
        is_set
    }

    /// Whether Ctrl-C was pressed at our terminal, which a program that we started has been told of then too.
    pub(in crate::command) fn is_from_keyboard(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) && is_in_foreground()
    }

    /// Waits until `is_over`, which waits itself for as long as it is told, for `limit` at most, or until SIGINT comes
    /// again: that only ends this wait.
    pub(in crate::command) fn wait_for_another(&self, limit: Duration, mut is_over: impl FnMut(Duration) -> bool) {
        const STEP: Duration = Duration::from_millis(50);
        self.noticed.store(false, Ordering::Relaxed);
        self.interrupted.store(false, Ordering::Relaxed);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && !self.interrupted.load(Ordering::Relaxed) && !is_over(STEP) {}
        self.noticed.store(true, Ordering::Relaxed);
    }

    /// What is set when we are to end.
    pub(in crate::command) fn end_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.end)
    }

    /// Whether SIGUSR1 has come since the last call.
    pub(in crate::command) fn take_write_request(&self) -> bool {
        self.write.swap(false, Ordering::Relaxed)
    }
}
