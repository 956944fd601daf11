//! `pyspy watch`: waits until a process hangs, and keeps the evidence.
//!
//! What is looked at and how it is judged is done by `sampler::observe` and `watch`. Here an event becomes lines for a
//! reader, a folder of evidence, and whatever else is asked for. Nothing of that holds up the looks: dumps are taken
//! one a second between two looks, commands and webhooks run in threads of their own.

mod actions;
mod evidence;
mod folders;
mod kill;
mod metrics;
mod report;
mod targets;

use std::collections::HashMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use self::actions::Actions;
use self::evidence::Evidence;
use self::folders::EvidenceFolders;
use self::kill::Kills;
use self::metrics::Metrics;
use self::targets::Targets;
use super::shared::failure::OutputError;
use super::shared::interrupt::Interrupt;
use super::shared::own_cpu::own_cpu;
use super::shared::program_ending::shell_status;
use super::shared::program_names::program_name;
use super::shared::standard_streams::print_note;
use crate::cli::{Status, WatchArgs};
use crate::output::printable;
use crate::process::Process;
use crate::profile::Below;
use crate::sampler::{
    Ending, Finder, Glance, ObserveOptions, Observed, Observer, PATIENCE_RUNNING, PATIENCE_STARTED, Pausing,
    ProcessOptions, ProcessSampler, Recent, command_line, observe,
};
use crate::watch::{CallCondition, Cause, Conditions, CpuCondition, ProcessWatch};

/// Between two lines that say that all is well.
const ALIVE_EVERY: Duration = Duration::from_secs(60);
/// Between two looks at which of the processes have ended.
const LIVING_EVERY: Duration = Duration::from_secs(1);
/// What is watched for when nothing is asked for.
const DEFAULTS: (Duration, Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(5), Duration::from_secs(10));

/// Runs `pyspy watch`.
///
/// # Errors
/// When there is nothing to watch, this is no Linux, or the evidence has no place.
pub(crate) fn run(arguments: &WatchArgs) -> anyhow::Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        // Whether a thread has run since the last look is what everything else follows from.
        anyhow::bail!("watch works on Linux only: no other system tells which threads have run between two looks");
    }
    let folders =
        EvidenceFolders::open(arguments).map_err(|source| OutputError { path: arguments.output.clone(), source })?;
    let metrics = arguments.metrics.as_deref().map(Metrics::open).transpose()?;
    let kills = arguments.kill.as_deref().map(Kills::parse).transpose()?;
    let interrupt = Interrupt::install().context("cannot take over signals")?;
    let mut finder = Finder::new();
    let mut targets = Targets::open_or_start(arguments)?;
    if let Err(error) = targets.wait_for_python(arguments, &mut finder, &|| interrupt.is_set()) {
        targets.end();
        return Err(error);
    }
    let options = ObserveOptions {
        rate: arguments.rate,
        pausing: if arguments.nonblocking { Pausing::Never } else { Pausing::Adaptive },
        processes: ProcessOptions {
            subprocesses: arguments.subprocesses && !arguments.all,
            host: arguments.all,
            adopt: targets.is_started(),
            merge: false,
            patience: match (arguments.subprocesses, targets.is_started()) {
                (true, _) => Duration::MAX,
                (false, true) => PATIENCE_STARTED,
                (false, false) => PATIENCE_RUNNING,
            },
        },
        goes_on_without: arguments.name.is_some() || arguments.all,
        keep_for: arguments.before,
    };
    let conditions = conditions(arguments);
    report::print_beginning(&conditions, arguments);
    let now = Instant::now();
    let roots = targets.roots();
    let mut watcher = Watcher {
        arguments,
        conditions,
        interrupt: &interrupt,
        ends_at: arguments.timeout.map(|timeout| now + timeout),
        watched: HashMap::new(),
        underway: Vec::new(),
        folders,
        actions: Actions::new(arguments),
        kills,
        metrics,
        targets: &mut targets,
        looks: 0,
        events: HashMap::new(),
        alive_due: now + ALIVE_EVERY,
        living_due: now,
        started: now,
        is_over: false,
    };
    let ending = observe(roots, &mut finder, &options, &mut watcher);
    watcher.finish(&ending);
    let has_killed = watcher.kills.as_ref().is_some_and(Kills::have_ended_any);
    let is_interrupted = interrupt.is_set();
    let status = targets.program_status(has_killed || is_interrupted);
    Ok(match status {
        Some(_) if has_killed => ExitCode::from(Status::Killed as u8),
        Some(status) => ExitCode::from(shell_status(status)),
        None => ExitCode::SUCCESS,
    })
}

fn conditions(arguments: &WatchArgs) -> Conditions {
    let has_own = arguments.has_conditions();
    let or_default = |given: Option<Duration>, default| if has_own { given } else { Some(default) };
    let call = |(glob, limit): &(String, Duration)| CallCondition { function: Below::new(glob), limit: *limit };
    Conditions {
        stuck: or_default(arguments.stuck, DEFAULTS.0),
        lag: or_default(arguments.lag, DEFAULTS.1),
        gil_held: or_default(arguments.gil_held, DEFAULTS.2),
        deadlock: arguments.deadlock || !has_own,
        idle: arguments.idle_is_stuck,
        calls: arguments.call.iter().map(call).collect(),
        cpu: arguments.cpu.map(|(share, window)| CpuCondition { share, window }),
        rss: arguments.rss,
        threads: arguments.max_threads,
        resting: arguments.rests_in.iter().map(|glob| Below::new(glob)).collect(),
    }
}

/// A process that is watched.
struct Watched {
    watch: ProcessWatch,
    process: Process,
    /// The number of its reader.
    reader: u64,
    /// Until when events of a cause are left alone.
    quiet_until: HashMap<Cause, Instant>,
}

struct Watcher<'run> {
    arguments: &'run WatchArgs,
    conditions: Conditions,
    interrupt: &'run Interrupt,
    ends_at: Option<Instant>,
    watched: HashMap<i32, Watched>,
    /// Events whose dumps are not all taken yet.
    underway: Vec<Evidence>,
    folders: EvidenceFolders,
    actions: Actions,
    kills: Option<Kills>,
    metrics: Option<Metrics>,
    targets: &'run mut Targets,
    looks: u64,
    events: HashMap<Cause, u64>,
    alive_due: Instant,
    living_due: Instant,
    started: Instant,
    /// The one event was, and nothing of it is left to do.
    is_over: bool,
}

impl Observer for Watcher<'_> {
    fn wants_look(&mut self, sampler: &ProcessSampler, glance: &Glance) -> bool {
        let now = Instant::now();
        let process = sampler.process();
        let has_dump_due = |evidence: &Evidence| evidence.is_of(process) && evidence.is_due(now);
        let Some(watched) = self.watched.get_mut(&process.pid()) else { return true };
        let wants = watched.watch.wants_look(glance, &self.conditions, now);
        wants || watched.reader != sampler.code_epoch().reader || self.underway.iter().any(has_dump_due)
    }

    fn take_in(&mut self, seen: &mut [Observed<'_>], recent: &Recent<'_>) -> bool {
        let now = Instant::now();
        self.looks += seen.len() as u64;
        for observed in seen.iter_mut() {
            self.judge(observed, recent, now);
        }
        if now >= self.living_due {
            self.living_due = now + LIVING_EVERY;
            self.watched.retain(|_, watched| !watched.process.has_exited());
        }
        self.complete_evidence(now);
        if let Some(kills) = &mut self.kills {
            kills.kill_those_that_stay(now);
        }
        if now >= self.alive_due {
            self.alive_due = now + ALIVE_EVERY;
            print_note(&self.alive_line());
        }
        self.write_metrics(now);
        let is_late = self.ends_at.is_some_and(|end| now >= end);
        !(self.is_over || is_late || self.interrupt.is_set())
    }

    fn arrivals(&mut self) -> Vec<Process> {
        self.targets.arrivals()
    }
}

impl Watcher<'_> {
    fn judge(&mut self, observed: &mut Observed<'_>, recent: &Recent<'_>, now: Instant) {
        let pid = observed.sampler.process().pid();
        let (epoch, of) = (observed.sampler.code_epoch(), self.watched.len());
        let watched = self.watched.entry(pid).or_insert_with(|| Watched::new(observed, now));
        // Another process of that number, or another program in the same process.
        if watched.reader != epoch.reader {
            *watched = Watched::new(observed, now);
        }
        let events = watched.watch.take_in(observed, &self.conditions, of, now);
        for event in events {
            if watched.quiet_until.get(&event.cause).is_some_and(|until| now < *until) {
                continue;
            }
            if self.arguments.once && !self.underway.is_empty() {
                continue;
            }
            watched.quiet_until.insert(event.cause, now + self.arguments.cooldown);
            *self.events.entry(event.cause).or_default() += 1;
            let begun = self.folders.begin_evidence(event, observed, recent, now);
            report::print_event(&begun, self.targets.is_started());
            self.underway.push(begun);
        }
        for evidence in &mut self.underway {
            if evidence.is_of(observed.sampler.process()) && evidence.is_due(now) {
                self.folders.add_dump(evidence, observed, now);
            }
        }
    }

    /// Writes down what is complete, or will get no more dumps, and does what is to be done then.
    fn complete_evidence(&mut self, now: Instant) {
        let (complete, underway): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.underway).into_iter().partition(|evidence| evidence.is_complete(now));
        self.underway = underway;
        for evidence in complete {
            let written = self.folders.write(&evidence);
            report::print_end(&evidence, &written, self.targets.is_started());
            if self.arguments.dry_run {
                report::print_what_would_be(self.arguments, &evidence);
            } else {
                self.actions.start(&evidence, &written);
                if let Some(kills) = &mut self.kills {
                    kills.kill(&evidence.process, now);
                    if let Some(program) = self.targets.program_process() {
                        kills.kill(&program, now);
                    }
                }
            }
            self.is_over |= self.arguments.once;
        }
    }

    fn alive_line(&self) -> String {
        let events: u64 = self.events.values().sum();
        let share = own_cpu().as_secs_f64() / self.started.elapsed().as_secs_f64().max(1e-9);
        let processes = self.watched.len();
        let noun = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        format!(
            "watching {}, {}, {:.2} % of a core",
            noun(processes as u64, "process", "processes"),
            noun(events, "event", "events"),
            share * 100.0
        )
    }

    fn write_metrics(&mut self, now: Instant) {
        let Some(metrics) = self.metrics.as_mut().filter(|metrics| metrics.is_due(now)) else { return };
        let processes = self.watched.iter().map(|(pid, watched)| metrics::ProcessNumbers {
            pid: *pid,
            command: program_name(&command_line(&watched.process)),
            still_seconds: watched.watch.still_for(now).as_secs_f64(),
        });
        metrics.write(now, self.looks, own_cpu(), &self.events, processes);
    }

    /// What is left to be done when no more looks are taken.
    fn finish(&mut self, ending: &Ending) {
        for evidence in &mut self.underway {
            evidence.gets_no_more();
        }
        self.complete_evidence(Instant::now());
        self.actions.wait();
        if let Some(kills) = &mut self.kills {
            kills.wait();
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.set_due();
        }
        self.write_metrics(Instant::now());
        let why = match ending {
            Ending::Lost(reason) => format!("ended because {}; ", printable(reason)),
            Ending::Exited => "the process exited; ".to_owned(),
            Ending::Duration | Ending::Interrupted => String::new(),
        };
        print_note(&format!("{why}{}", self.alive_line()));
    }
}

impl Watched {
    fn new(observed: &Observed<'_>, now: Instant) -> Self {
        let (process, reader) = (observed.sampler.process().clone(), observed.sampler.code_epoch().reader);
        Self { watch: ProcessWatch::new(now), process, reader, quiet_until: HashMap::new() }
    }
}

/// `14:02:11`, by the clock of this machine and its zone.
fn clock_time(time: SystemTime) -> String {
    let zoned = jiff::Timestamp::try_from(time).map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map(|zoned| zoned.strftime("%H:%M:%S").to_string()).unwrap_or_default()
}

/// Seconds since 1970, to a millisecond.
fn unix_seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    (since * 1000.0).round() / 1000.0
}

/// Writes a file so that whoever looks finds all of it or none.
fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(std::path::Path::new(".")))?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether a directory can be written into; it is made if it is not there.
fn make_directory(path: &std::path::Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    tempfile::tempfile_in(path).map(drop)
}
