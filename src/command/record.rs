//! `pyspy record`: samples into a file.

mod control;
mod destination;
mod facts;
mod kernel;
mod progress;
mod push;
mod sink;
mod target;

use std::collections::HashSet;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use wildmatch::WildMatch;

use self::control::Control;
use self::destination::Destination;
use self::kernel::{kernel_use, off_cpu};
use self::progress::Bar;
use self::target::Target;
use super::shared::arguments::{native, pausing, shown_lines};
use super::shared::below_notes::below_notes;
use super::shared::failure::UnfinishedError;
use super::shared::interrupt::Interrupt;
use super::shared::program_ending::{shell_status, status_text};
use super::shared::source_finder::SourceFinder;
use super::shared::standard_streams::print_note;
use crate::cli::{AsyncTasks, Limit, Mode, RecordArgs};
use crate::output::{Presentation, printable};
use crate::profile::{Below, Profile};
use crate::sampler::{
    Ending, Filter, Finder, FramesShown, Intervals, KernelUse, OffCpuSums, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing,
    ProcessOptions, Progress, RecordOptions, Recorded, TasksShown, Unsampled, record, record_in_intervals,
};

/// Between two writes of a recording that is streamed, so that a kill loses no more.
const STREAM_EVERY: Duration = Duration::from_millis(900);

/// What has ended within this time, in µs, has not run for long enough to be told how idle threads are seen.
const BRIEF_US: u64 = 1_000_000;

/// Runs `pyspy record`.
///
/// # Errors
/// When nothing can be recorded or written.
pub(crate) fn run(arguments: &RecordArgs) -> anyhow::Result<ExitCode> {
    let kernel = kernel_use(arguments)?;
    let mut destination = Destination::open(arguments, presentation_of(arguments))?;
    let interrupt = Interrupt::install().context("cannot take over signals")?;
    let mut finder = Finder::new();
    let mut control = Control::take(arguments)?;
    let mut target = Target::open_or_start(arguments, &mut finder)?;
    destination.find_sources(if arguments.all { SourceFinder::Nowhere } else { target.source_files() });
    let watched = (&interrupt, &mut control);
    let recorded = match record_target((arguments, kernel), &mut target, &mut finder, &mut destination, watched) {
        Ok(recorded) => recorded,
        Err(error) => {
            // Nothing was recorded; a program that we started is not left behind.
            target.end(arguments.keep, &interrupt);
            return Err(error);
        }
    };
    let (Recorded { mut profile, ending, unsampled, notes, kernel_waits, off_cpu, ticks, .. }, failure) = recorded;
    if let (Ending::Lost(reason), 0, None) = (&ending, ticks, &failure) {
        // A file without samples would look like a program at rest.
        target.end(arguments.keep, &interrupt);
        return Err(anyhow!("{}", printable(reason)).context("nothing was recorded"));
    }
    if arguments.all {
        destination.find_sources(SourceFinder::of_profile(&profile));
    }
    // That nothing more can be written is no reason to end the program.
    let has_failed = failure.is_some();
    let finished = failure.map_or_else(|| destination.finish(&mut profile), Err);
    let has_ended = target.program_has_ended();
    let keep = arguments.keep || ending == Ending::Exited || has_failed;
    let status = target.end(keep, &interrupt);
    if has_failed && target.is_started() && status.is_none() {
        print_note("the program was left running");
    }
    let finished = finished?;
    for text in &notes {
        print_note(&printable(text));
    }
    let program = Program { status, has_ended, left: target.still_running(), is_followed: arguments.subprocesses };
    let done = match &off_cpu {
        Some(sums) => off_cpu_summary(&profile, sums, &finished.text),
        None => sampled_summary(&profile, &finished.text),
    };
    let mut line = summary(&profile, &ending, done, &target, &program, interrupt.is_set());
    if let Some(waits) = kernel_waits.filter(|_| off_cpu.is_none()) {
        line.push_str(&kernel_summary(waits, profile.metadata.counts.taken));
    }
    line.push_str(&what_is_missing(&profile, unsampled, &ending, arguments));
    facts::lines(&profile.metadata).iter().for_each(|text| print_note(text));
    print_note(&line);
    if let Some(below) = arguments.below.as_ref().filter(|_| finished.path.is_some()) {
        below_notes(&profile, below, profile.metadata.counts).iter().for_each(|text| print_note(text));
    }
    if let Some(path) = finished.path.filter(|path| arguments.open && path.as_os_str() != "-") {
        open_in_viewer(&path);
    }
    if let Some(error) = finished.error {
        return Err(error.into());
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
        processes: arguments.subprocesses || arguments.all || arguments.name.is_some() || arguments.pid.len() > 1,
        upward: arguments.upward,
    }
}

fn record_target(
    (arguments, kernel): (&RecordArgs, KernelUse),
    target: &mut Target,
    finder: &mut Finder,
    destination: &mut Destination,
    (interrupt, control): (&Interrupt, &mut Control),
) -> anyhow::Result<(Recorded, Option<UnfinishedError>)> {
    if !arguments.subprocesses && !arguments.all && arguments.name.is_none() {
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
        rate: arguments.rate(),
        duration: match arguments.duration {
            Limit::For(duration) => Some(duration),
            Limit::Unlimited => None,
        },
        end: interrupt.end_flag(),
        pausing: pausing(arguments.pause, Pausing::Adaptive),
        kernel,
        off_cpu: off_cpu(arguments),
        filter: filter(arguments),
        keep: destination.keep(arguments.tasks == Some(AsyncTasks::All)),
        longest_pause: Duration::ZERO,
        processes: ProcessOptions {
            subprocesses: arguments.subprocesses && !arguments.all,
            host: arguments.all,
            adopt: target.is_started(),
            merge: arguments.merge,
            patience: match (target.is_started(), arguments.subprocesses) {
                // A server may be long in starting its workers.
                (_, true) => Duration::MAX,
                (true, false) => PATIENCE_STARTED,
                (false, false) => PATIENCE_RUNNING,
            },
        },
        frames: FramesShown {
            columns: arguments.columns,
            gc_frames: !arguments.no_gc_frames,
            tasks: arguments.tasks.map(|tasks| match tasks {
                AsyncTasks::Running => TasksShown::Running,
                AsyncTasks::All => TasksShown::All,
            }),
            waits: arguments.waits || arguments.mode == Some(Mode::Offcpu),
            kernel: arguments.kernel_frames,
        },
        native: native(arguments.pause)?,
    };
    // Progress would be drawn over the lines that the program has begun.
    let is_shared = target.writes_to_our_terminal();
    if is_shared && !arguments.hideprogress {
        print_note(&announcement(arguments, target.is_started()));
    }
    let bar = Bar::new(options.duration, is_shared || arguments.hideprogress);
    let (mut streamed_at, mut written_at) = (Instant::now(), Instant::now());
    let mut failure = None;
    let every = destination.every(arguments.every);
    let recorded = match destination {
        Destination::File(sink, _) => record(target.roots(), finder, &options, &mut |progress, profile| {
            bar.show(progress);
            control.tell_of(progress);
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
        }),
        Destination::Server(pusher) => {
            let mut watch = |progress: &Progress, _: &mut Profile| {
                bar.show(progress);
                control.tell_of(progress);
                !interrupt.is_set()
            };
            let (mut is_asked, mut push) = (|| interrupt.take_write_request(), |interval| pusher.push(interval));
            let mut intervals = Intervals::new(every, &mut is_asked, &mut push);
            record_in_intervals(target.roots(), finder, &options, &mut watch, &mut intervals)
        }
    };
    bar.clear();
    Ok((recorded, failure))
}

/// What is said once where no progress is shown.
fn announcement(arguments: &RecordArgs, is_started: bool) -> String {
    let end = match (arguments.duration, is_started) {
        (Limit::For(duration), _) => format!("for {} s", duration.as_secs_f64()),
        (Limit::Unlimited, true) => "until the program ends".to_owned(),
        (Limit::Unlimited, false) => "until the process exits".to_owned(),
    };
    match arguments.mode {
        Some(Mode::Offcpu) => format!("recording when threads are blocked {end}; Ctrl-C to stop"),
        _ => format!("sampling {} times a second {end}; Ctrl-C to stop", arguments.rate()),
    }
}

fn filter(arguments: &RecordArgs) -> Filter {
    let globs = |patterns: &[String]| patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    Filter {
        gil_only: arguments.gil || arguments.mode == Some(Mode::Gil),
        gil_wait: arguments.mode == Some(Mode::GilWait),
        idle: arguments.idle || arguments.waits || matches!(arguments.mode, Some(Mode::Wall | Mode::Offcpu)),
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

/// What was sampled, and how well.
fn sampled_summary(profile: &Profile, done: &str) -> String {
    let metadata = &profile.metadata;
    let counts = metadata.counts;
    format!(
        "{done} {} samples in {:.1} s: {} stopped, {} unproven, {} lost; {:.1} Hz held of {:.0} asked for",
        counts.taken,
        metadata.duration_us as f64 / 1e6,
        counts.stopped,
        counts.unproven,
        counts.lost,
        metadata.rate_held,
        metadata.rate_asked,
    )
}

/// That the kernel has sampled. Where threads wanted a CPU that others had there are more samples than the rate says:
/// each such wait is one, and stands for its time.
fn kernel_summary(waits: u64, taken: u64) -> String {
    /// Fewer waits than one in so many samples are not told.
    const WORTH_A_WORD: u64 = 10;
    let mut text = "; sampled in the kernel".to_owned();
    if waits.saturating_mul(WORTH_A_WORD) > taken {
        text.push_str(&format!(", {waits} times waiting for a CPU"));
    }
    text
}

/// How often threads were blocked, and for how long.
fn off_cpu_summary(profile: &Profile, sums: &OffCpuSums, done: &str) -> String {
    let metadata = &profile.metadata;
    let seconds = |ns: u64| ns as f64 / 1e9;
    let mut line = format!(
        "{done} {} blocks in {:.1} s, {:.3} s in all: {} lost",
        sums.recorded,
        metadata.duration_us as f64 / 1e6,
        seconds(sums.recorded_ns),
        metadata.counts.lost,
    );
    if sums.min_block_ns > 0 {
        let (least_ms, time) = (sums.min_block_ns as f64 / 1e6, seconds(sums.brief_ns));
        line.push_str(&format!("; {} shorter than {least_ms} ms are left out, {time:.3} s in all", sums.brief));
    }
    line
}

/// One line about what was recorded and how it ended; `line` is its beginning.
fn summary(
    profile: &Profile,
    ending: &Ending,
    mut line: String,
    target: &Target,
    program: &Program,
    interrupted: bool,
) -> String {
    let metadata = &profile.metadata;
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
fn what_is_missing(profile: &Profile, unsampled: Option<Unsampled>, ending: &Ending, arguments: &RecordArgs) -> String {
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
        let is_narrowed = !arguments.thread.is_empty() || arguments.main_thread;
        let is_brief = *ending == Ending::Exited && profile.metadata.duration_us < BRIEF_US;
        text.push_str(match arguments.mode {
            Some(Mode::GilWait) => "; no thread was seen to wait for the GIL",
            Some(Mode::Offcpu) => "; no thread that runs Python was blocked",
            _ if is_narrowed && profile.metadata.filters.idle => {
                "; no thread is what was asked for: `pyspy dump` shows their names"
            }
            _ if is_narrowed => "; none of what was asked for was seen to run: --idle shows idle threads too",
            _ if is_brief => "; it ended before a thread was seen to run",
            _ if profile.metadata.filters.idle => "; no thread ran Python",
            _ => "; every thread was idle or none ran Python: --idle shows idle threads too",
        });
    }
    if text.is_empty() && was_mostly_idle(profile, arguments) {
        text.push_str("; most of the time every thread was idle: --idle shows idle threads too");
    }
    if arguments.tasks.is_some() && profile.metadata.counts.in_tasks == 0 {
        text.push_str("; no task of an event loop and no greenlet was seen");
    }
    match profile.metadata.counts.cut {
        0 => {}
        count => text.push_str(&format!("; {count} native stacks are deeper than what is copied of them")),
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

/// Whether at nine of ten looks no thread ran, so that there are few samples although the rate was held; nothing is
/// said where something else was asked for than what runs.
fn was_mostly_idle(profile: &Profile, arguments: &RecordArgs) -> bool {
    let (metadata, counts) = (&profile.metadata, profile.metadata.counts);
    let is_narrowed = arguments.main_thread
        || [&arguments.thread, &arguments.include, &arguments.exclude].into_iter().any(|globs| !globs.is_empty());
    let is_of_cpu = !metadata.filters.idle && !metadata.filters.gil_only && !metadata.filters.gil_wait;
    let looks = metadata.rate_held * metadata.duration_us.saturating_sub(metadata.unobserved_us) as f64 / 1e6;
    let seen = counts.taken + counts.outside + counts.lost;
    is_of_cpu && !is_narrowed && metadata.duration_us >= BRIEF_US && (seen as f64) < looks / 10.0
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
