//! A recording from its beginning to its end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Ending, Progress, Recorded, Recorder, Watch};
use crate::process::{release_pending, sharpen_sleep};
use crate::sampler::attach::Finder;
use crate::sampler::clock::Clock;
use crate::sampler::record_options::Intervals;

/// Between two looks at which processes have come, gone or changed their program, while their samples succeed: with
/// children, and without.
const MEET_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// Between two refreshes of thread names and progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How long the lines of native code are waited for at the end.
const WAIT_AT_END: Duration = Duration::from_secs(10);

/// What is due when.
struct Schedule {
    clock: Clock,
    /// The next tick.
    deadline: Instant,
    /// The next word to whoever watches.
    progress_due: Instant,
    /// The next look at which processes there are.
    meet_due: Instant,
}

impl Recorder<'_> {
    /// Records until something ends it.
    pub(super) fn run(
        mut self,
        finder: &mut Finder,
        watch: &mut Watch<'_>,
        mut intervals: Option<&mut Intervals<'_>>,
    ) -> Recorded {
        // So that the first tick finds something to read.
        self.meet(finder);
        self.start_kernel();
        let (clock, deadline, start) = (self.clock(), Instant::now(), self.setup.start);
        let mut schedule = Schedule { clock, deadline, progress_due: start, meet_due: start };
        sharpen_sleep();
        let ending = loop {
            if let Some(ending) = self.round(&mut schedule, finder, watch, intervals.as_deref_mut()) {
                break ending;
            }
        };
        self.finish(ending, schedule, intervals)
    }

    /// What is due now: a word to whoever watches, a tick or a wait for the next, a look at who has come or gone. What
    /// has ended the recording, if anything has.
    fn round(
        &mut self,
        schedule: &mut Schedule,
        finder: &mut Finder,
        watch: &mut Watch<'_>,
        intervals: Option<&mut Intervals<'_>>,
    ) -> Option<Ending> {
        let now = Instant::now();
        let end = self.options.duration.map(|duration| self.setup.start + duration);
        if end.is_some_and(|end| now >= end) {
            return Some(Ending::Duration);
        }
        if let Some(reason) = self.out_of_memory().or_else(|| self.kernel_failure()) {
            return Some(Ending::Lost(reason));
        }
        if now >= schedule.progress_due || self.options.end.load(Ordering::Relaxed) {
            schedule.progress_due = now + PROGRESS_EVERY;
            if !self.tell_progress(now, schedule.clock.missed(), watch) {
                return Some(Ending::Interrupted);
            }
            if let Some(intervals) = intervals
                && intervals.are_due(now, self.profile.totals().is_empty())
            {
                self.end_interval(intervals);
            }
        }
        let is_settled = if now < schedule.deadline {
            let until = end.map_or(schedule.deadline, |end| end.min(schedule.deadline));
            !self.wait(until.saturating_duration_since(now), &schedule.clock)
        } else {
            self.tick_and_retime(schedule, now)
        };
        if is_settled && self.members.iter().all(|member| member.sampler.is_some()) && now < schedule.meet_due {
            return None;
        }
        schedule.meet_due = now + if self.options.processes.subprocesses { MEET_EVERY.0 } else { MEET_EVERY.1 };
        self.meet(finder);
        self.meet_kernel();
        // What is not sampled in the kernel any more, or not yet, is not to wait for the next look at the ring.
        if self.retime(&mut schedule.clock) {
            schedule.deadline = schedule.clock.next_deadline(now);
        }
        self.is_over()
    }

    /// Says how the recording stands; whether to go on.
    fn tell_progress(&mut self, now: Instant, missed: u64, watch: &mut Watch<'_>) -> bool {
        self.count_dropped();
        self.describe();
        self.bound_profile();
        let progress = Progress {
            elapsed: now - self.setup.start,
            samples: self.profile.metadata.counts.taken,
            ticks: self.ticks,
            missed,
            lost: self.profile.metadata.counts.lost,
            processes: self.members.iter().filter(|member| member.sampler.is_some()).count(),
        };
        watch(&progress, &mut self.profile)
    }

    /// A tick, after which the next one is due as it follows from who is sampled how. Whether all could be read.
    fn tick_and_retime(&mut self, schedule: &mut Schedule, now: Instant) -> bool {
        let had_begun = self.ticks > 0;
        let all_read = self.tick(&mut schedule.clock);
        // Who waits for the recording to have begun is told by the first that has read something.
        if !had_begun && self.ticks > 0 {
            schedule.progress_due = now;
        }
        self.meet_kernel();
        self.retime(&mut schedule.clock);
        schedule.deadline = schedule.clock.next_deadline(Instant::now());
        all_read
    }

    /// What is left to do at the end.
    fn finish(mut self, ending: Ending, mut schedule: Schedule, intervals: Option<&mut Intervals<'_>>) -> Recorded {
        let clock = &mut schedule.clock;
        // Where we came too late for the last sample, what the threads did until now would be in none.
        if !matches!(ending, Ending::Exited | Ending::Lost(_)) && Instant::now() >= schedule.deadline + clock.period() {
            self.tick(clock);
        }
        while release_pending() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.look_at_collections(true);
        if !self.all_from_kernel() || self.reads_waiting() {
            self.note_unobserved(clock.period());
        }
        self.describe();
        self.end_kernel();
        self.put_waiting(WAIT_AT_END);
        let mut troubles = self.members.iter().filter_map(|member| member.sampler.as_ref()?.trouble().pause.as_ref());
        if let Some(trouble) = troubles.next() {
            self.report.note(format!("some samples could not be made sure of: {trouble}"));
        }
        // Of time on a CPU nothing was asked for.
        if self.options.off_cpu.is_none() {
            let rate = self.options.rate;
            self.members.iter_mut().for_each(|member| self.report.add_unsampled(member.unsampled(rate)));
        }
        self.arrivals.unread.lines().into_iter().for_each(|line| self.report.note(line));
        if let Some(intervals) = intervals {
            self.end_interval(intervals);
        }
        let off_cpu = self.off_cpu_sums();
        let from_kernel = self.kernel.filter(|kernel| kernel.counts.taken > 0);
        let kernel_waits = from_kernel.map(|kernel| kernel.counts.waits);
        let (notes, unsampled) = self.report.into_parts();
        Recorded { profile: self.profile, ending, ticks: self.ticks, unsampled, kernel_waits, off_cpu, notes }
    }
}
