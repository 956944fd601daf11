//! `pyspy record`: samples into a file.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::output_file::OutputFile;
use super::{Interrupt, pausing};
use crate::cli::{FormatName, Limit, RecordArgs};
use crate::output::{Format, Lines, Presentation, printable};
use crate::process::{Process, SpawnedProgram};
use crate::profile::Keep;
use crate::sampler::{
    AttachError, Ending, Filter, Finder, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing, Progress, RecordOptions,
    Recorded, Spy, record,
};

/// A program that does not end on SIGTERM is killed after so long.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `pyspy record`.
///
/// # Errors
/// When nothing can be recorded or written.
pub fn run(arguments: &RecordArgs) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        FormatName::Flamegraph => Format::Flamegraph,
        FormatName::Raw => Format::Raw,
        FormatName::Speedscope => Format::Speedscope,
    };
    let path = arguments.output.clone().unwrap_or_else(|| default_path(arguments, format));
    let output = OutputFile::create(&path)?;
    let interrupt = Interrupt::install().context("cannot take over signals")?;
    let mut target = Target::take(arguments)?;
    let recorded = record_target(arguments, format, &mut target, &interrupt);
    let recorded = match recorded {
        Ok(recorded) => recorded,
        Err(error) => {
            // Nothing was recorded; a program that we started is not left behind, unless it is what the error is about.
            target.end(arguments.keep);
            return Err(error);
        }
    };
    let presentation = Presentation {
        lines: match (arguments.nolineno, arguments.function) {
            (true, _) => Lines::None,
            (false, true) => Lines::First,
            (false, false) => Lines::Current,
        },
        full_file_names: arguments.full_filenames,
        threads: arguments.threads,
        ..Presentation::default()
    };
    let file_name = path.to_string_lossy();
    output.finish(|writer| format.write(&recorded.profile, &presentation, &file_name, writer))?;
    let status = target.end(arguments.keep || recorded.ending == Ending::Exited);
    summarise(&recorded, &path, &target, status, interrupt.is_set());
    Ok(match status {
        Some(status) if arguments.exit_status => ExitCode::from(shell_status(status)),
        _ => ExitCode::SUCCESS,
    })
}

/// What is recorded: a process that was there, or one that we started.
struct Target {
    process: Process,
    program: Option<SpawnedProgram>,
}

impl Target {
    fn take(arguments: &RecordArgs) -> anyhow::Result<Self> {
        if let Some(pid) = arguments.pid {
            return Ok(Self { process: Process::open(pid)?, program: None });
        }
        let (name, rest) = arguments.program.split_first().context("there is neither a pid nor a program")?;
        let program = SpawnedProgram::start(name.clone(), rest)?;
        // Whether we may read it is found out while waiting for its interpreter: the first program in the process may be another's.
        let process = Process::observe(program.pid())?;
        Ok(Self { process, program: Some(program) })
    }

    /// Sees a program that we started to its end, or leaves it running with `keep`; its status if it has ended.
    fn end(&mut self, keep: bool) -> Option<ExitStatus> {
        let program = self.program.as_mut()?;
        let ended = if keep { program.wait_at_most(Duration::from_millis(200)) } else { program.end(GRACE).map(Some) };
        ended.unwrap_or_else(|error| {
            log::warn!("cannot learn how process {} ended: {error}", program.pid());
            None
        })
    }
}

fn record_target(
    arguments: &RecordArgs,
    format: Format,
    target: &mut Target,
    interrupt: &Interrupt,
) -> anyhow::Result<Recorded> {
    let started = target.program.is_some();
    let patience = if started { PATIENCE_STARTED } else { PATIENCE_RUNNING };
    let mut finder = Finder::new();
    let attached = finder.attach(&target.process, patience, &|| interrupt.is_set()).map_err(|error| {
        if started && matches!(error, AttachError::Exited { .. }) {
            let status = target.program.as_mut().and_then(|program| program.wait_at_most(GRACE).ok().flatten());
            let how = status.map(|status| format!(" ({status})")).unwrap_or_default();
            return anyhow::Error::new(error).context(format!("the program ended too soon{how}"));
        }
        error.into()
    })?;
    if attached.runtime.layout.tentative {
        let version = attached.runtime.layout.version;
        note(&format!("Python {version} is newer than what this pyspy knows; trusting the interpreter's own offsets"));
    }
    let spy = Spy::new(target.process.clone(), attached);
    let options = RecordOptions {
        rate: arguments.rate,
        duration: match arguments.duration {
            Limit::For(duration) => Some(duration),
            Limit::Unlimited => None,
        },
        pausing: pausing(arguments.pause, Pausing::Adaptive),
        filter: Filter { gil_only: arguments.gil, idle: arguments.idle },
        keep: Keep { timeline: format.needs_timeline(), journal: false },
        patience,
    };
    let bar = progress_bar(&options);
    let recorded = record(spy, &mut finder, &options, &mut |progress| {
        show(&bar, &options, progress);
        !interrupt.is_set()
    });
    bar.finish_and_clear();
    Ok(recorded)
}

fn progress_bar(options: &RecordOptions) -> ProgressBar {
    // Drawn on standard error, and only if that is a terminal.
    let bar = match options.duration {
        Some(duration) => ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => ProgressBar::new_spinner(),
    };
    let template = match options.duration {
        Some(_) => "{bar:30} {msg}",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, options: &RecordOptions, progress: &Progress) {
    if options.duration.is_some() {
        bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
    } else {
        bar.tick();
    }
    let late = if progress.missed > 0 { format!(", {} ticks missed", progress.missed) } else { String::new() };
    let seconds = progress.elapsed.as_secs();
    bar.set_message(format!("{seconds} s, {} samples{late}; Ctrl-C to stop", progress.samples));
}

/// One line about what was recorded and how well.
fn summarise(recorded: &Recorded, path: &Path, target: &Target, status: Option<ExitStatus>, interrupted: bool) {
    for text in &recorded.notes {
        note(text);
    }
    let metadata = &recorded.profile.metadata;
    let counts = metadata.counts;
    let mut line = format!(
        "wrote {} with {} samples in {:.1} s: {} stopped, {} unproven, {} lost; {:.1} Hz held of {:.0}",
        printable(&path.display().to_string()),
        counts.taken,
        metadata.duration_us as f64 / 1e6,
        counts.stopped,
        counts.unproven,
        counts.lost,
        metadata.rate_held,
        metadata.rate_asked,
    );
    match (&recorded.ending, target.program.is_some(), status) {
        (Ending::Lost(reason), _, _) => line.push_str(&format!("; ended because {}", printable(reason))),
        (Ending::Exited, true, Some(status)) => line.push_str(&format!("; the program ended with {status}")),
        (_, true, Some(status)) => line.push_str(&format!("; the program was ended ({status})")),
        (_, true, None) => line.push_str("; the program was left running"),
        (Ending::Exited, false, _) => line.push_str("; the process exited"),
        (_, false, _) => {}
    }
    if interrupted {
        line.push_str("; interrupted");
    }
    if counts.taken == 0 {
        line.push_str("; every thread was idle or none ran Python: --idle shows idle threads too");
    }
    note(&line);
}

#[expect(clippy::print_stderr, reason = "this layer talks to the user")]
fn note(text: &str) {
    eprintln!("pyspy: {text}");
}

/// As a shell gives it: the code, or 128 and the signal.
fn shell_status(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(255);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// `NAME-TIME.EXTENSION`, from the program or the pid.
fn default_path(arguments: &RecordArgs, format: Format) -> PathBuf {
    let name = match (arguments.pid, arguments.program.first()) {
        (Some(pid), _) => pid.to_string(),
        (None, Some(program)) => {
            let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|| "profile".to_owned())
        }
        (None, None) => "profile".to_owned(),
    };
    let time = jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string();
    PathBuf::from(format!("{name}-{time}.{}", format.default_extension()))
}
