//! Looks at processes a few times a second, for whoever waits for something to happen to them.
//!
//! At each tick there is a glance at each process ([`Glance`]), and a look at its threads only where who waits wants
//! one: that is a hundred times as dear. The looks are ordinary samples. What they have seen lately is kept
//! ([`Recent`]), so that what came before an event can be written down when it has happened.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::attach::Finder;
use super::clock::Clock;
use super::filter::Filter;
use super::glances::{Glance, Pace, SAME_EVERY, Visit};
use super::members::{Member, Roots};
use super::moment::{Moment, Pausing};
use super::process_sampler::ProcessSampler;
use super::record_options::{ProcessOptions, RecordOptions};
use super::recorder::{Ending, Recorder};
use crate::process::{Process, release_pending, thread_cpu_time};
use crate::profile::{Delta, Follower, Keep, Mark, Profile, Run};

/// Between two looks at what the profile says of itself, and at the names of threads.
const DESCRIBE_EVERY: Duration = Duration::from_secs(30);
/// With so many distinct stacks the profile begins anew: what programs that make code without end have shown is let go.
const MOST_STACKS: usize = 20_000;
/// The same for texts.
const MOST_TEXTS: usize = 50_000;
/// The same for threads that have come and gone.
const MOST_THREADS: usize = 5_000;

/// How to look.
#[derive(Debug, Clone)]
pub(crate) struct ObserveOptions {
    /// Glances a second, and looks a second at most.
    pub rate: u32,
    /// When a process is stopped for a look.
    pub pausing: Pausing,
    /// Which processes are looked at.
    pub processes: ProcessOptions,
    /// Go on when no process is left: others will come.
    pub goes_on_without: bool,
    /// How much of what was seen is kept.
    pub keep_for: Duration,
}

/// A process as it was just seen.
pub(crate) struct Observed<'look> {
    /// Its reader. What stops the process must be done with it in the thread that looks.
    pub sampler: &'look mut ProcessSampler,
    /// What its threads were doing.
    pub moment: &'look Moment,
    /// What the glance just before has shown.
    pub glance: Glance,
}

/// Who waits for something.
pub(crate) trait Observer {
    /// Whether the threads of a process are to be looked at now. Where nothing has run since they were, that is no more
    /// than to be asked with what was seen then.
    fn wants_look(&mut self, sampler: &ProcessSampler, glance: &Glance) -> bool;

    /// Takes in one look at the processes that were looked at; whether to go on.
    fn take_in(&mut self, seen: &mut [Observed<'_>], recent: &Recent<'_>) -> bool;

    /// Processes that are to be looked at too from now on.
    fn arrivals(&mut self) -> Vec<Process>;
}

/// What was seen lately.
pub(crate) struct Recent<'look> {
    profile: &'look Profile,
    kept: &'look Kept,
}

impl Recent<'_> {
    /// It as a profile of its own, with its order in the journal.
    pub(crate) fn profile(&self) -> Profile {
        let mut copy = Profile::new(Keep { timeline: false, journal: true });
        let mut follower = Follower::default();
        for (profile, runs) in [(&self.kept.before, &self.kept.runs_before), (self.profile, &self.kept.runs)] {
            let mut delta: Delta = profile.delta_since(&mut Mark::default());
            delta.fresh = true;
            follower.take_in(&mut copy, &delta);
            for run in runs.iter().flat_map(|(_, runs)| runs) {
                if let Some(thread) = follower.thread_here(run.thread) {
                    copy.add_run(Run { thread, stack: follower.stack(run.stack), ..*run });
                }
            }
        }
        copy
    }
}

/// The runs of the last looks, with when each was; those from before the profile began anew, with the profile that
/// their numbers belong to, apart.
#[derive(Default)]
struct Kept {
    runs: VecDeque<(Instant, Vec<Run>)>,
    before: Profile,
    runs_before: VecDeque<(Instant, Vec<Run>)>,
}

impl Kept {
    fn forget_until(&mut self, oldest: Instant) {
        for runs in [&mut self.runs_before, &mut self.runs] {
            while runs.front().is_some_and(|(time, _)| *time < oldest) {
                runs.pop_front();
            }
        }
        if self.runs_before.is_empty() && self.before.table_sizes().texts > 1 {
            self.before = Profile::default();
        }
    }
}

/// The looks as a recording.
fn record_options(options: &ObserveOptions) -> RecordOptions {
    RecordOptions {
        rate: options.rate,
        pausing: options.pausing,
        filter: Filter { idle: true, ..Filter::default() },
        keep: Keep { timeline: false, journal: true },
        processes: options.processes,
        longest_pause: 2 * SAME_EVERY,
        ..RecordOptions::default()
    }
}

/// Looks at processes until `observer` has seen enough or they have ended.
pub(crate) fn observe(
    roots: Roots,
    finder: &mut Finder,
    options: &ObserveOptions,
    observer: &mut dyn Observer,
) -> Ending {
    let record = record_options(options);
    let mut recorder = Recorder::new(roots, &record);
    let mut kept = Kept::default();
    recorder.meet(finder);
    let mut deadline = Instant::now();
    let mut clock = Clock::new(options.rate, deadline);
    let mut describe_due = deadline;
    let mut pace = Pace::new();
    let ending = loop {
        let now = Instant::now();
        if now < deadline {
            std::thread::sleep(deadline - now);
            continue;
        }
        glance_at_all(&mut recorder.members, &pace, observer, now);
        let (used, threads) = (thread_cpu_time(), threads_looked_at(&recorder.members));
        recorder.tick(&mut clock);
        deadline = clock.next_deadline(Instant::now());
        kept.runs.push_back((now, recorder.profile.drain_journal()));
        if let Some(oldest) = now.checked_sub(options.keep_for) {
            kept.forget_until(oldest);
        }
        let Recorder { members, profile, .. } = &mut recorder;
        let seen = members.iter_mut().filter(|member| member.visits.last_tick >= now).filter_map(|member| {
            let glance = member.visits.glance?;
            Some(Observed { sampler: member.sampler.as_mut()?, moment: &member.moment, glance })
        });
        let goes_on = observer.take_in(&mut seen.collect::<Vec<_>>(), &Recent { profile, kept: &kept });
        if let Some(cost) = thread_cpu_time().zip(used).map(|(now, before)| now.saturating_sub(before)) {
            pace.take_in(threads, cost);
        }
        if !goes_on {
            break Ending::Interrupted;
        }
        begin_anew_when_large(&mut recorder, &mut kept);
        if now >= describe_due {
            describe_due = now + DESCRIBE_EVERY;
            recorder.describe();
        }
        recorder.meet(finder);
        if options.goes_on_without {
            recorder.members.retain(|member| !member.has_exited);
        } else if let Some(ending) = recorder.is_over() {
            break ending;
        }
        recorder.members.extend(observer.arrivals().into_iter().map(|process| Member::new(process, true)));
    };
    while release_pending() > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    ending
}

/// Glances at all processes, and decides what is done with each.
fn glance_at_all(members: &mut [Member], pace: &Pace, observer: &mut dyn Observer, now: Instant) {
    let interval = pace.interval(members.iter().map(|member| member.moment.threads.len()).sum());
    for member in members {
        let Some(sampler) = &member.sampler else { continue };
        member.visits.glance(&member.process, interval, now, |glance| observer.wants_look(sampler, glance));
    }
}

/// How many threads there are in the processes that are to be looked at, as far as is known.
fn threads_looked_at(members: &[Member]) -> usize {
    members.iter().filter(|member| member.visits.next == Visit::Look).map(|member| member.moment.threads.len()).sum()
}

fn begin_anew_when_large(recorder: &mut Recorder<'_>, kept: &mut Kept) {
    let sizes = recorder.profile.table_sizes();
    let threads = recorder.profile.threads().len();
    if sizes.stacks > MOST_STACKS || sizes.texts > MOST_TEXTS || threads > MOST_THREADS {
        kept.before = recorder.begin_anew();
        kept.runs_before = std::mem::take(&mut kept.runs);
    }
}
