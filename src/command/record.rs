//! `pyspy record`: samples into a file.

mod progress;
mod target;

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use wildmatch::WildMatch;

use self::progress::Bar;
use self::target::Target;
use super::failure::OutputError;
use super::output_file::OutputFile;
use super::{Interrupt, note, pausing, presentation};
use crate::cli::{Limit, Mode, RecordArgs};
use crate::output::recording::RecordingWriter;
use crate::output::{Format, Presentation, printable};
use crate::profile::{Keep, Profile};
use crate::sampler::{
    Ending, Filter, Finder, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing, RecordOptions, Recorded, record,
};

/// Between two writes of a recording that is streamed, so that a kill loses no more.
const STREAM_EVERY: Duration = Duration::from_millis(900);

/// Runs `pyspy record`.
///
/// # Errors
/// When nothing can be recorded or written.
pub fn run(arguments: &RecordArgs) -> anyhow::Result<ExitCode> {
    let format = match (arguments.format, &arguments.output) {
        (Some(name), _) => name.into(),
        (None, Some(path)) => Format::from_suffix(&path.to_string_lossy()).unwrap_or(Format::Flamegraph),
        (None, None) => Format::Flamegraph,
    };
    let path = arguments.output.clone().unwrap_or_else(|| default_path(arguments, format));
    let mut sink = Sink::open(&path, format, presentation_of(arguments))?;
    let interrupt = Interrupt::install().context("cannot take over signals")?;
    let mut target = Target::take(arguments)?;
    let recorded = match record_target(arguments, &mut target, &mut sink, &interrupt) {
        Ok(recorded) => recorded,
        Err(error) => {
            // Nothing was recorded; a program that we started is not left behind.
            target.end(arguments.keep);
            sink.discard();
            return Err(error);
        }
    };
    let Recorded { mut profile, ending, notes, .. } = recorded;
    sink.finish(&mut profile)?;
    let status = target.end(arguments.keep || ending == Ending::Exited);
    for text in &notes {
        note(text);
    }
    note(&summary(&profile, &ending, &path, &target, status, interrupt.is_set()));
    if arguments.open {
        open_in_viewer(&path);
    }
    Ok(match status {
        Some(status) if arguments.exit_status => ExitCode::from(shell_status(status)),
        _ => ExitCode::SUCCESS,
    })
}

fn presentation_of(arguments: &RecordArgs) -> Presentation {
    Presentation {
        columns: arguments.columns,
        ..presentation(
            (arguments.function, arguments.nolineno),
            arguments.full_filenames,
            arguments.threads,
            arguments.subprocesses || arguments.name.is_some() || arguments.pid.len() > 1,
        )
    }
}

fn record_target(
    arguments: &RecordArgs,
    target: &mut Target,
    sink: &mut Sink,
    interrupt: &Interrupt,
) -> anyhow::Result<Recorded> {
    let mut finder = Finder::new();
    let several = arguments.subprocesses || arguments.name.is_some();
    if !several {
        target.wait_for_python(&mut finder, &|| interrupt.is_set())?;
    }
    let options = RecordOptions {
        rate: arguments.rate,
        duration: match arguments.duration {
            Limit::For(duration) => Some(duration),
            Limit::Unlimited => None,
        },
        pausing: pausing(arguments.pause, Pausing::Adaptive),
        filter: filter(arguments),
        keep: sink.keep(),
        patience: match (target.is_started(), several) {
            // A server may be long in starting its workers.
            (_, true) => Duration::MAX,
            (true, false) => PATIENCE_STARTED,
            (false, false) => PATIENCE_RUNNING,
        },
        subprocesses: arguments.subprocesses,
        adopt: target.is_started(),
        merge: arguments.merge,
        columns: arguments.columns,
    };
    let bar = Bar::new(options.duration);
    let mut written_at = Instant::now();
    let mut failure = None;
    let every = match arguments.every {
        Some(Limit::For(every)) => Some(every),
        _ => None,
    };
    let recorded = record(target.processes(), &mut finder, &options, &mut |progress, profile| {
        bar.show(progress);
        let asked = interrupt.take_write_request();
        let due = every.is_some_and(|every| written_at.elapsed() >= every);
        let written = if asked || due {
            sink.write_so_far(profile)
        } else if written_at.elapsed() >= STREAM_EVERY {
            sink.stream(profile)
        } else {
            return !interrupt.is_set();
        };
        if asked || due || every.is_none() {
            written_at = Instant::now();
        }
        if let Err(error) = written {
            failure = Some(error);
        }
        failure.is_none() && !interrupt.is_set()
    });
    bar.clear();
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(recorded),
    }
}

fn filter(arguments: &RecordArgs) -> Filter {
    let globs = |patterns: &[String]| patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    Filter {
        gil_only: arguments.gil || arguments.mode == Some(Mode::Gil),
        idle: arguments.idle || arguments.mode == Some(Mode::Wall),
        main_thread: arguments.main_thread,
        threads: globs(&arguments.thread),
        include: globs(&arguments.include),
        exclude: globs(&arguments.exclude),
    }
}

/// Where a profile goes.
struct Sink {
    path: PathBuf,
    format: Format,
    presentation: Presentation,
    state: SinkState,
}

enum SinkState {
    /// A file that is written as a whole.
    Whole(Option<OutputFile>),
    /// A recording that grows while it is made.
    Stream(Option<RecordingWriter<BufWriter<File>>>),
}

impl Sink {
    fn open(path: &Path, format: Format, presentation: Presentation) -> Result<Self, OutputError> {
        let failed = |source| OutputError { path: path.to_owned(), source };
        let state = if format == Format::Pyspy && path.as_os_str() != "-" {
            // It stands in its place from the beginning: a kill must leave what there is.
            let file = File::create(path).map_err(failed)?;
            SinkState::Stream(Some(RecordingWriter::new(BufWriter::new(file)).map_err(failed)?))
        } else {
            SinkState::Whole(Some(OutputFile::create(path)?))
        };
        Ok(Self { path: path.to_owned(), format, presentation, state })
    }

    fn keep(&self) -> Keep {
        match self.state {
            SinkState::Stream(_) => Keep { timeline: false, journal: true },
            SinkState::Whole(_) => Keep { timeline: self.format.needs_timeline(), journal: false },
        }
    }

    fn failed(&self, source: io::Error) -> OutputError {
        OutputError { path: self.path.clone(), source }
    }

    /// Adds what is new to a recording that grows.
    fn stream(&mut self, profile: &mut Profile) -> Result<(), OutputError> {
        let written = match &mut self.state {
            SinkState::Stream(Some(writer)) => writer.append(profile),
            _ => Ok(()),
        };
        written.map_err(|source| self.failed(source))
    }

    /// Writes a file with what there is so far.
    fn write_so_far(&mut self, profile: &mut Profile) -> Result<(), OutputError> {
        let SinkState::Whole(file) = &mut self.state else { return self.stream(profile) };
        if let Some(file) = file.take() {
            let name = self.path.to_string_lossy();
            file.finish(|writer| self.format.write(profile, &self.presentation, &name, writer))?;
        }
        self.state = SinkState::Whole(Some(OutputFile::create(&self.path)?));
        Ok(())
    }

    fn finish(mut self, profile: &mut Profile) -> Result<(), OutputError> {
        match &mut self.state {
            SinkState::Stream(writer) => {
                let finished = match writer.take() {
                    Some(writer) => writer.finish(profile).map(drop),
                    None => Ok(()),
                };
                finished.map_err(|source| self.failed(source))
            }
            SinkState::Whole(file) => match file.take() {
                Some(file) => {
                    let name = self.path.to_string_lossy();
                    file.finish(|writer| self.format.write(profile, &self.presentation, &name, writer))
                }
                None => Ok(()),
            },
        }
    }

    /// Nothing was recorded: an empty recording is not left behind.
    fn discard(self) {
        if let SinkState::Stream(_) = self.state
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::debug!("cannot remove {:?}: {error}", self.path);
        }
    }
}

/// One line about what was recorded and how well.
fn summary(
    profile: &Profile,
    ending: &Ending,
    path: &Path,
    target: &Target,
    status: Option<ExitStatus>,
    interrupted: bool,
) -> String {
    let metadata = &profile.metadata;
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
    match (ending, target.is_started(), status) {
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
    if profile.is_clipped() {
        line.push_str("; some names or stacks were too many and are left out");
    }
    line
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
    let name = match (arguments.pid.first(), arguments.program.first()) {
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

/// Shows a file with what the desktop has for it.
fn open_in_viewer(path: &Path) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    if let Err(error) = std::process::Command::new(opener).arg(path).spawn() {
        note(&format!("cannot open the result: {opener}: {error}"));
    }
}
