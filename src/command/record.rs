//! `pyspy record`: samples into a file.

mod facts;
mod kernel;
mod progress;
mod sink;
mod target;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use wildmatch::WildMatch;

use self::kernel::kernel_use;
use self::progress::Bar;
use self::sink::Sink;
use self::target::Target;
use super::ending::{shell_status, status_text};
use super::failure::UnfinishedError;
use super::output_file::format_by_name;
use super::{Interrupt, below, native, pausing, print_note, shown_lines};
use crate::cli::{AsyncTasks, Limit, Mode, RecordArgs};
use crate::output::{Format, Presentation, printable};
use crate::profile::{Below, Profile};
use crate::sampler::{
    Ending, Filter, Finder, KernelUse, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing, RecordOptions, Recorded,
    TasksShown, Unsampled, record,
};

/// Between two writes of a recording that is streamed, so that a kill loses no more.
const STREAM_EVERY: Duration = Duration::from_millis(900);

/// Runs `pyspy record`.
///
/// # Errors
/// When nothing can be recorded or written.
pub(crate) fn run(arguments: &RecordArgs) -> anyhow::Result<ExitCode> {
    let kernel = kernel_use(arguments)?;
    // What is to be looked at is best looked at as a page.
    let default = if arguments.open { Format::Html } else { Format::Flamegraph };
    let format = match (arguments.format, &arguments.output) {
        (Some(name), _) => name.into(),
        (None, Some(path)) => format_by_name(path, default)?,
        (None, None) => default,
    };
    let path = arguments.output.clone().unwrap_or_else(|| default_path(arguments, format));
    // A program that we start runs as who called us through sudo, and its profile is his.
    let for_caller = !arguments.program.is_empty();
    let mut sink = Sink::open(&path, format, presentation_of(arguments), for_caller)?;
    let interrupt = Interrupt::install().context("cannot take over signals")?;
    let mut finder = Finder::new();
    let mut target = Target::open_or_start(arguments, &mut finder)?;
    sink.find_sources(target.source_files());
    let recorded = match record_target((arguments, kernel), &mut target, &mut finder, &mut sink, &interrupt) {
        Ok(recorded) => recorded,
        Err(error) => {
            // Nothing was recorded; a program that we started is not left behind.
            target.end(arguments.keep);
            return Err(error);
        }
    };
    let (Recorded { mut profile, ending, unsampled, notes, is_from_kernel, .. }, failure) = recorded;
    // That nothing more can be written is no reason to end the program.
    let has_failed = failure.is_some();
    let finished = failure.map_or_else(|| sink.finish(&mut profile), Err);
    let has_ended = target.program_has_ended();
    let status = target.end(arguments.keep || ending == Ending::Exited || has_failed);
    if has_failed && target.is_started() && status.is_none() {
        print_note("the program was left running");
    }
    finished?;
    for text in &notes {
        print_note(&printable(text));
    }
    let program = Program { status, has_ended, left: target.still_running(), is_followed: arguments.subprocesses };
    let mut line = summary(&profile, &ending, &path, &target, &program, interrupt.is_set());
    line.push_str(if is_from_kernel { "; sampled in the kernel" } else { "" });
    line.push_str(&what_is_missing(&profile, unsampled, arguments));
    facts::lines(&profile.metadata).iter().for_each(|text| print_note(text));
    print_note(&line);
    if let Some(below) = &arguments.below {
        below::below_notes(&profile, below, profile.metadata.counts).iter().for_each(|text| print_note(text));
    }
    if arguments.open && path.as_os_str() != "-" {
        open_in_viewer(&path);
    }
    Ok(match status {
        Some(status) if arguments.exit_status => ExitCode::from(shell_status(status)),
        _ => ExitCode::SUCCESS,
    })
}

fn presentation_of(arguments: &RecordArgs) -> Presentation {
    Presentation {
        lines: shown_lines(arguments.function, arguments.nolineno),
        columns: arguments.columns,
        full_file_names: arguments.full_filenames,
        threads: arguments.threads,
        processes: arguments.subprocesses || arguments.name.is_some() || arguments.pid.len() > 1,
        upward: arguments.upward,
    }
}

fn record_target(
    (arguments, kernel): (&RecordArgs, KernelUse),
    target: &mut Target,
    finder: &mut Finder,
    sink: &mut Sink,
    interrupt: &Interrupt,
) -> anyhow::Result<(Recorded, Option<UnfinishedError>)> {
    if !arguments.subprocesses && arguments.name.is_none() {
        target.wait_for_python(finder, &|| interrupt.is_set()).map_err(|error| {
            // Then that it has shown no Python means nothing.
            if interrupt.is_set() { anyhow!("interrupted before there was a Python to record") } else { error }
        })?;
    }
    if arguments.mode == Some(Mode::GilWait) && arguments.below.is_some() {
        anyhow::bail!(
            "--mode=gil-wait has the function that holds the GIL as the root, --below the one that it names; \
             use one of them"
        );
    }
    let options = RecordOptions {
        rate: arguments.rate,
        duration: match arguments.duration {
            Limit::For(duration) => Some(duration),
            Limit::Unlimited => None,
        },
        pausing: pausing(arguments.pause, Pausing::Adaptive),
        kernel,
        filter: filter(arguments),
        keep: sink.keep(),
        patience: match (target.is_started(), arguments.subprocesses) {
            // A server may be long in starting its workers.
            (_, true) => Duration::MAX,
            (true, false) => PATIENCE_STARTED,
            (false, false) => PATIENCE_RUNNING,
        },
        subprocesses: arguments.subprocesses,
        adopt: target.is_started(),
        merge: arguments.merge,
        columns: arguments.columns,
        gc_frames: !arguments.no_gc_frames,
        leaves_resting: false,
        waits: arguments.waits,
        tasks: arguments.tasks.map(|tasks| match tasks {
            AsyncTasks::Running => TasksShown::Running,
            AsyncTasks::All => TasksShown::All,
        }),
        native: native(arguments.pause)?,
        native_threads: arguments.pause.native_threads,
    };
    let bar = Bar::new(options.duration, arguments.hideprogress);
    let (mut streamed_at, mut written_at) = (Instant::now(), Instant::now());
    let mut failure = None;
    let every = match arguments.every {
        Some(Limit::For(every)) => every,
        _ => Duration::MAX,
    };
    let recorded = record(target.roots(), finder, &options, &mut |progress, profile| {
        bar.show(progress);
        let asked = interrupt.take_write_request();
        let mut written = Ok(());
        if asked || written_at.elapsed() >= every {
            written_at = Instant::now();
            written = bar.with_line_hidden(|| sink.write_so_far(profile));
        } else if streamed_at.elapsed() >= STREAM_EVERY {
            streamed_at = Instant::now();
            written = sink.stream(profile);
        }
        failure = written.err();
        failure.is_none() && !interrupt.is_set()
    });
    bar.clear();
    Ok((recorded, failure))
}

fn filter(arguments: &RecordArgs) -> Filter {
    let globs = |patterns: &[String]| patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    Filter {
        gil_only: arguments.gil || arguments.mode == Some(Mode::Gil),
        gil_wait: arguments.mode == Some(Mode::GilWait),
        idle: arguments.idle || arguments.waits || arguments.mode == Some(Mode::Wall),
        main_thread: arguments.main_thread,
        threads: globs(&arguments.thread),
        below: arguments.below.as_deref().map(Below::new),
        include: globs(&arguments.include),
        exclude: globs(&arguments.exclude),
    }
}

/// What became of a program that we started.
struct Program {
    status: Option<ExitStatus>,
    /// By itself, not because we ended it.
    has_ended: bool,
    /// Which processes go on that it has left behind.
    left: Option<String>,
    /// What it leaves behind is recorded too.
    is_followed: bool,
}

/// One line about what was recorded and how well.
fn summary(
    profile: &Profile,
    ending: &Ending,
    path: &Path,
    target: &Target,
    program: &Program,
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
    let sampled: HashSet<u32> =
        profile.totals().iter().map(|total| profile.process(profile.thread(total.thread).process).pid).collect();
    if sampled.len() > 1 {
        line.push_str(&format!("; {} processes", sampled.len()));
    }
    if let Some(seconds) = metadata.unobserved_s() {
        line.push_str(&format!("; {seconds:.1} s unobserved, which is left out: pyspy could not look in time"));
    }
    match (ending, target.is_started(), program.status) {
        (Ending::Lost(reason), _, _) => line.push_str(&format!("; ended because {}", printable(reason))),
        (_, true, Some(status)) if program.has_ended || *ending == Ending::Exited => {
            line.push_str(&format!("; the program ended, {}", status_text(status)));
        }
        (_, true, Some(status)) => {
            line.push_str(&format!("; the program was ended, {}", status_text(status)));
        }
        (_, true, None) => line.push_str("; the program was left running"),
        (Ending::Exited, false, _) => {
            line.push_str("; the process exited");
            if let Some(status) = target.attached_status() {
                line.push_str(&format!(", {}", status_text(status)));
            }
        }
        (_, false, _) => {}
    }
    if let Some(left) = program.left.as_ref().filter(|_| program.status.is_some()) {
        line.push_str(&format!("; still running: {left}"));
        if !program.is_followed {
            line.push_str(" (--subprocesses records these too)");
        }
    }
    if interrupted {
        line.push_str("; interrupted");
    }
    line
}

/// The end of that line: what the profile does not show, and what would show it.
fn what_is_missing(profile: &Profile, unsampled: Option<Unsampled>, arguments: &RecordArgs) -> String {
    let mut text = String::new();
    if let Some(Unsampled { pid, time, of, have_states }) = unsampled {
        let several = profile.processes().len() > 1;
        let whose = if several { format!(" of process {pid}") } else { String::new() };
        let advice = match (arguments.pause.native, arguments.pause.native_threads) {
            (false, _) if have_states => ": --native shows their native frames",
            (false, _) => ": --native --native-threads shows them",
            (true, false) => ": --native-threads shows them",
            (true, true) => "",
        };
        let (time, of) = (time.as_secs_f64(), of.as_secs_f64());
        let place = "was in threads that were not sampled, as they ran no Python";
        text = format!("; most CPU time{whose} ({time:.1} of {of:.1} s) {place}{advice}");
    } else if profile.metadata.counts.taken == 0 && profile.metadata.counts.outside == 0 {
        text.push_str(match arguments.mode {
            Some(Mode::GilWait) => "; no thread was seen to wait for the GIL",
            _ => "; every thread was idle or none ran Python: --idle shows idle threads too",
        });
    }
    if arguments.tasks.is_some() && profile.metadata.counts.in_tasks == 0 {
        text.push_str("; no task of an event loop was seen");
    }
    match profile.metadata.counts.unproven_tasks {
        0 => {}
        count => text.push_str(&format!("; {count} times a task moved on while it was looked at and is left out")),
    }
    if profile.is_clipped() {
        text.push_str("; some names or stacks were too many and are left out");
    }
    text
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
        print_note(&format!("cannot open the result: {opener}: {error}"));
    }
}
