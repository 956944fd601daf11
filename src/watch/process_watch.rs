//! What is remembered of one process, from look to look.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::conditions::{
    BlockedThread, Conditions, Counters, CpuMeter, Function, GilLook, HeldGils, LateLoops, LongCalls, LongTasks, Rings,
    Stuck,
};
use super::event::Event;
use super::look::{self, ThreadLook};
use super::pace::LookPace;
use super::tracks::{Standing, ThreadTrack, TrackLook};
use crate::inspect::{Details, TasksWanted, inspect_process};
use crate::process::{ProcessUsage, thread_cpu_time};
use crate::sampler::{Glance, LoopLags, Observed, Pausing, ShortNames};

/// After so long it is looked again at a loop that has not told enough.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);
/// So many resting places are kept.
const MOST_RESTING_PLACES: usize = 4096;
/// So soon it is looked whether there are tasks, where none were; then after twice as long each time, up to the
/// longest.
const TASKS_LOOKED_FOR_AFTER: Duration = Duration::from_secs(30);
const TASKS_LOOKED_FOR_LATEST: Duration = Duration::from_secs(240);

/// A process that is watched.
#[derive(Debug)]
pub(crate) struct ProcessWatch {
    /// By the address of the thread state.
    tracks: HashMap<u64, ThreadTrack>,
    /// Where threads were found at rest. Where they were not they may only have been on their way.
    resting_places: HashSet<u64>,
    stuck: Stuck,
    meter: CpuMeter,
    usage: ProcessUsage,
    counters: Counters,
    calls: LongCalls,
    tasks: LongTasks,
    rings: Rings,
    gils: HeldGils,
    late_loops: LateLoops,
    lags: LoopLags,
    pace: LookPace,
    /// A thread has run since rings were last looked for.
    has_run: bool,
    /// When it is to be looked for tasks, and how long after the last look that is, where there were none.
    no_tasks: Option<(Instant, Duration)>,
    short_names: ShortNames,
}

impl ProcessWatch {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            tracks: HashMap::new(),
            resting_places: HashSet::new(),
            stuck: Stuck::new(now),
            meter: CpuMeter::default(),
            usage: ProcessUsage::default(),
            counters: Counters::default(),
            calls: LongCalls::default(),
            tasks: LongTasks::default(),
            rings: Rings::new(now),
            gils: HeldGils::default(),
            late_loops: LateLoops::default(),
            lags: LoopLags::default(),
            pace: LookPace::default(),
            has_run: true,
            no_tasks: None,
            short_names: ShortNames::default(),
        }
    }

    /// For how long nothing has moved.
    pub(crate) fn still_for(&self, now: Instant) -> Duration {
        self.stuck.still_for(now)
    }

    /// Takes in a glance, and says whether the threads are to be looked at now.
    pub(crate) fn wants_look(&mut self, glance: &Glance, conditions: &Conditions, now: Instant) -> bool {
        if let Some(cpu) = glance.cpu {
            self.meter.take_in(now, cpu, conditions.cpu_window());
            if self.meter.works(now, cpu) {
                self.stuck.progress(glance.still_since);
            }
        }
        self.pace.wants_look(glance, conditions, now)
            || self.counters.may_have_passed(conditions, glance, &self.meter, now)
    }

    /// Takes in a look, and says what has happened. `of` processes are watched in all.
    pub(crate) fn take_in(
        &mut self,
        observed: &mut Observed<'_>,
        conditions: &Conditions,
        of: usize,
        now: Instant,
    ) -> Vec<Event> {
        let looks = look::threads(observed.moment, observed.sampler.process());
        let has_moved = self.follow_threads(observed, &looks, conditions, now);
        self.has_run |= looks.iter().any(|look| look.thread.active || !look.thread.is_unmoved);
        let mut events = self.judge_counters(observed, &looks, conditions, has_moved, now);
        let blocked = self.blocked(&looks);
        events.extend(self.stuck.judge(&blocked, conditions.stuck, conditions.idle, now));
        let mut due = self.stuck.due(&blocked, conditions.stuck, conditions.idle);
        if let Some(limit) = conditions.lag {
            self.lags.observe(observed.sampler, observed.moment);
            self.pace.note_loops(self.lags.loops().next().is_some());
            events.extend(self.late_loops.take_in(self.lags.loops(), limit, now));
            due = earliest(due, self.late_loops.due(self.lags.loops(), limit, now));
            due = earliest(due, self.lags.needs_second_look().then(|| now + SECOND_LOOK_AFTER));
        }
        if let Some(limit) = conditions.gil_held {
            events.extend(self.gils.take_in(&gils(&looks), limit, now));
            due = earliest(due, self.gils.due(limit));
        }
        if !conditions.calls.is_empty() {
            events.extend(self.judge_calls(observed, &looks, conditions, now));
        }
        if (conditions.deadlock || !conditions.calls.is_empty()) && self.rings.is_due(now) {
            let has_suspects = self.rings.suspected_from(&blocked).is_some_and(|from| now >= from);
            events.extend(self.inspect(observed, conditions, has_suspects, of, now));
        }
        if conditions.deadlock {
            due = earliest(due, self.rings.suspected_from(&blocked));
        }
        self.pace.has_looked(due, self.gils.needs_every_look(), now);
        events
    }

    /// Whether anything has moved since the last look.
    fn follow_threads(
        &mut self,
        observed: &Observed<'_>,
        looks: &[ThreadLook<'_>],
        conditions: &Conditions,
        now: Instant,
    ) -> bool {
        let Self { tracks, short_names, resting_places, .. } = self;
        let process = observed.sampler.process();
        let mut is_rest = |name: &str, file: &str| {
            conditions.resting.iter().any(|function| {
                let short_file = short_names.shorten(file, |path| process.is_file_in_root(path));
                function.matches_function(name, short_file)
            })
        };
        let mut has_moved = false;
        for look in looks {
            let track = tracks.entry(look.thread.stack.address).or_insert_with(|| ThreadTrack::new(look.place, now));
            let (place, is_asleep) = (look.place, !look.thread.active);
            let standing = if !look::needs_standing(look, track) {
                if is_asleep { track.standing() } else { Standing::Elsewhere }
            } else if resting_places.contains(&place) {
                Standing::Rests
            } else {
                look::standing(observed, look, &mut is_rest)
            };
            if standing == Standing::Rests && resting_places.len() < MOST_RESTING_PLACES {
                resting_places.insert(place);
            }
            let look = TrackLook { place, is_asleep, has_run: !look.thread.is_unmoved, standing };
            has_moved |= track.take_in(look, observed.glance.still_since);
        }
        if tracks.len() > looks.len() {
            let living: HashSet<u64> = looks.iter().map(|look| look.thread.stack.address).collect();
            tracks.retain(|address, _| living.contains(address));
        }
        has_moved
    }

    /// The plain limits; and with what they know of CPU time, whether the process moves.
    fn judge_counters(
        &mut self,
        observed: &Observed<'_>,
        looks: &[ThreadLook<'_>],
        conditions: &Conditions,
        has_moved: bool,
        now: Instant,
    ) -> Vec<Event> {
        let Glance { cpu, still_since, .. } = observed.glance;
        if conditions.rss.is_some() || cpu.is_none() {
            self.usage = observed.sampler.process().usage().unwrap_or_default();
        }
        let usage = ProcessUsage { cpu: cpu.unwrap_or(self.usage.cpu), ..self.usage };
        self.meter.take_in(now, usage.cpu, conditions.cpu_window());
        if has_moved || self.meter.works(now, usage.cpu) {
            self.stuck.progress(still_since);
        }
        self.counters.judge(conditions, &usage, &self.meter, looks.len(), now)
    }

    fn blocked(&self, looks: &[ThreadLook<'_>]) -> Vec<BlockedThread> {
        let blocked = looks.iter().filter_map(|look| {
            let track = self.tracks.get(&look.thread.stack.address)?;
            let since = track.blocked_since()?;
            let at_lock = track.standing() == Standing::AtLock;
            Some(BlockedThread { ident: look.thread.stack.thread_id, since, is_first: look.is_first, at_lock })
        });
        blocked.collect()
    }

    fn judge_calls(
        &mut self,
        observed: &Observed<'_>,
        looks: &[ThreadLook<'_>],
        conditions: &Conditions,
        now: Instant,
    ) -> Vec<Event> {
        let (codes, process) = (observed.sampler.codes(), observed.sampler.process());
        let mut events = Vec::new();
        for look in looks {
            let frames = observed.moment.frames_of(look.thread);
            for frame in frames {
                self.short_names.shorten(&codes.get(frame.code).filename, |path| process.is_file_in_root(path));
            }
            let functions = frames.iter().map(|frame| {
                let code = codes.get(frame.code);
                let short_file = self.short_names.known(&code.filename);
                Function { frame: frame.address, code: frame.code_address, name: &code.name, short_file }
            });
            events.extend(self.calls.take_in(&conditions.calls, look.thread.stack.thread_id, &functions, now));
        }
        self.calls.end_look();
        events
    }

    /// Looks for rings and for tasks that are too old, without stopping the process: what is torn is not there again.
    fn inspect(
        &mut self,
        observed: &mut Observed<'_>,
        conditions: &Conditions,
        has_suspects: bool,
        of: usize,
        now: Instant,
    ) -> Vec<Event> {
        let tasks_due = self.no_tasks.is_none_or(|(due, _)| now >= due);
        // Tasks that sleep on make no ring that was not there before.
        let may_find_tasks = tasks_due && (self.has_run || !conditions.calls.is_empty());
        if !has_suspects && !may_find_tasks {
            return Vec::new();
        }
        self.has_run = false;
        let details = Details { tasks: TasksWanted::Pending, ..Details::default() };
        let (begun, used_before) = (Instant::now(), thread_cpu_time());
        let inspected = inspect_process(observed.sampler, Pausing::Never, details);
        let mut events = Vec::new();
        match inspected {
            Ok(inspected) => {
                if conditions.deadlock {
                    events.extend(self.rings.take_in(&inspected, now));
                }
                let tasks = inspected.tasks.as_ref().map_or(&[][..], |tasks| &tasks.tasks);
                let pause = self.no_tasks.map_or(TASKS_LOOKED_FOR_AFTER, |(_, pause)| pause * 2);
                let pause = pause.min(TASKS_LOOKED_FOR_LATEST);
                self.no_tasks = tasks.is_empty().then_some((now + pause, pause));
                events.extend(self.tasks.take_in(&conditions.calls, tasks, now));
            }
            Err(error) => log::debug!("no search for rings: {error}"),
        }
        let now = Instant::now();
        let cost = thread_cpu_time().zip(used_before).map_or(now - begun, |(used, before)| used.saturating_sub(before));
        self.rings.has_searched(cost, of, now);
        events
    }
}

/// The earlier one of two times, as far as there are any.
fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The GILs of the interpreters that the threads run in.
fn gils(looks: &[ThreadLook<'_>]) -> Vec<GilLook> {
    let mut gils: Vec<GilLook> = Vec::new();
    for look in looks {
        let gil = look.thread.running_in.gil;
        // Up to 3.6 its address may not be known: there is one for all.
        let known = gils.iter().position(|known| known.address == gil.address).filter(|_| gil.exists);
        let at = match known {
            Some(at) => at,
            None if gil.exists => {
                let (address, holder, switches) = (gil.address, gil.holder, gil.switches);
                gils.push(GilLook { address, holder, ident: 0, switches, waiting: 0 });
                gils.len() - 1
            }
            None => continue,
        };
        gils[at].waiting += usize::from(look.thread.waits_for_gil);
        if look.thread.stack.innermost == gil.holder {
            gils[at].ident = look.thread.stack.thread_id;
        }
    }
    gils
}
