//! One file a subcommand, each joining the command line, the sampler and the output. The only layer that prints.

mod attach;
mod below;
mod completion;
pub(crate) mod convert;
pub(crate) mod dump;
mod ending;
pub(crate) mod failure;
mod kernel_use;
mod left;
mod naming;
mod output_file;
mod program;
mod prometheus;
mod pythons;
pub(crate) mod record;
mod screen;
pub(crate) mod serve;
mod source_text;
pub(crate) mod top;
pub(crate) mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(any(fuzzing, test))]
pub(crate) use self::dump::dump_as_written;
use self::failure::OutputError;
pub use self::program::run_program;
use crate::cli::{Cli, Command, FormatName, PauseArgs};
use crate::output::{Format, Lines};
use crate::process::{Process, Registers, stdout_was_closed};
use crate::sampler::{NativeWanted, Pausing};

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever kept it from being done; [`failure::status`] gives the exit status.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Record(arguments) => record::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Convert(arguments) => convert::convert(&arguments),
        Command::Diff(arguments) => convert::diff(&arguments),
        Command::Completions { shell } => completion::print_script(shell),
        Command::Man { subcommand } => completion::print_page(subcommand.as_deref()),
    }
}

/// Makes sure that there is a standard output, before work is done for it.
///
/// # Errors
/// When it was closed when we were started: what is written there is lost, as the runtime puts `/dev/null` in its
/// place.
fn check_stdout() -> Result<(), OutputError> {
    if stdout_was_closed() {
        return Err(OutputError::of_stdout(std::io::Error::other("it was closed when pyspy was started")));
    }
    Ok(())
}

/// When the target is to be stopped, given the flags and what is the default.
fn pausing(arguments: PauseArgs, default: Pausing) -> Pausing {
    match (arguments.blocking, arguments.nonblocking) {
        (true, _) => Pausing::Blocking,
        (_, true) => Pausing::Never,
        _ => default,
    }
}

/// Whether native frames are wanted.
///
/// # Errors
/// When they are, and this system does not show them.
fn native(arguments: PauseArgs) -> anyhow::Result<NativeWanted> {
    if arguments.native && !Registers::READABLE {
        anyhow::bail!("--native works on Linux with x86-64 or aarch64 only");
    }
    Ok(NativeWanted { frames: arguments.native, threads: arguments.native_threads })
}

/// Which line frames show, from the flags `--function` and `--nolineno`.
fn shown_lines(function: bool, nolineno: bool) -> Lines {
    match (nolineno, function) {
        (true, _) => Lines::None,
        (false, true) => Lines::First,
        (false, false) => Lines::Current,
    }
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Flamegraph => Self::Flamegraph,
            FormatName::Raw => Self::Raw,
            FormatName::Speedscope => Self::Speedscope,
            FormatName::Chrometrace => Self::Chrometrace,
            FormatName::Flamechart => Self::Flamechart,
            FormatName::Firefox => Self::Firefox,
            FormatName::Pprof => Self::Pprof,
            FormatName::Otlp => Self::Otlp,
            FormatName::Callgrind => Self::Callgrind,
            FormatName::Pstats => Self::Pstats,
            FormatName::Html => Self::Html,
            FormatName::Summary => Self::Summary,
            FormatName::Markdown => Self::Markdown,
            FormatName::SummaryJson => Self::SummaryJson,
            FormatName::Pyspy => Self::Pyspy,
        }
    }
}

/// The CPU time that this program has used.
fn own_cpu() -> Duration {
    Process::observe(std::process::id().cast_signed())
        .ok()
        .and_then(|process| process.usage().ok())
        .map(|usage| usage.cpu)
        .unwrap_or_default()
}

/// Tells the user something beside the product.
fn print_note(text: &str) {
    // The terminal may be gone; what is recorded is worth more than that.
    let _ = writeln!(std::io::stderr(), "pyspy: {text}");
}

/// Whether whoever started us had this signal ignored, as far as that can be told.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
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

/// Ctrl-Break, or a console that is closed, by the C runtime's number.
#[cfg(not(unix))]
const SIGBREAK: i32 = 21;

/// What signals ask for. SIGINT, SIGTERM and SIGHUP: to end; a SIGINT after that was begun ends the program at once.
/// SIGUSR1: to write what there is.
///
/// The others may come twice without anybody's being impatient: a shell that closes and the kernel both send SIGHUP,
/// `timeout` sends its signal to the program and to its group.
#[derive(Debug, Clone, Default)]
struct Interrupt {
    end: Arc<AtomicBool>,
    /// SIGINT has come.
    interrupted: Arc<AtomicBool>,
    /// It was noticed that we are to end.
    noticed: Arc<AtomicBool>,
    write: Arc<AtomicBool>,
}

impl Interrupt {
    fn install() -> std::io::Result<Self> {
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
            use signal_hook::consts::{SIGINT, SIGTERM};
            signal_hook::flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&interrupt.noticed))?;
            signal_hook::flag::register(SIGINT, Arc::clone(&interrupt.interrupted))?;
            for signal in [SIGINT, SIGTERM, SIGBREAK] {
                signal_hook::flag::register(signal, Arc::clone(&interrupt.end))?;
            }
        }
        Ok(interrupt)
    }

    /// Whether we are to end; once that has been said, another SIGINT does not wait.
    fn is_set(&self) -> bool {
        let is_set = self.end.load(Ordering::Relaxed);
        if is_set {
            self.noticed.store(true, Ordering::Relaxed);
        }
        is_set
    }

    /// Whether Ctrl-C was pressed at our terminal, which a program that we started has been told of then too.
    fn is_from_keyboard(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) && is_in_foreground()
    }

    /// Waits until `is_over`, which waits itself for as long as it is told, for `limit` at most, or until SIGINT comes
    /// again: that only ends this wait.
    fn wait_for_another(&self, limit: Duration, mut is_over: impl FnMut(Duration) -> bool) {
        const STEP: Duration = Duration::from_millis(50);
        self.noticed.store(false, Ordering::Relaxed);
        self.interrupted.store(false, Ordering::Relaxed);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && !self.interrupted.load(Ordering::Relaxed) && !is_over(STEP) {}
        self.noticed.store(true, Ordering::Relaxed);
    }

    /// What is set when we are to end.
    fn end_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.end)
    }

    /// Whether SIGUSR1 has come since the last call.
    fn take_write_request(&self) -> bool {
        self.write.swap(false, Ordering::Relaxed)
    }
}
