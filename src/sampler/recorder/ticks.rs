//! One sample of every process, and what becomes of it.

use std::time::{Duration, Instant};

use super::{Recorder, SHORTEST_SHARED_PERIOD, WAIT_FOR_LINES, micros};
use crate::process::release_pending;
use crate::sampler::clock::Clock;
use crate::sampler::glances::Visit;
use crate::sampler::members::Member;
use crate::sampler::moment::{Pausing, SampleError};
use crate::sampler::unobserved::longest_weight_us;

/// After it was held, a thread runs for so many times as long before the next sample, unless stops were asked for: at
/// high rates nothing else would keep it from standing still most of the time.
const RUN_FOR_STOP: u32 = 3;

/// Why native frames are missing of processes that have just come below another.
const WITHOUT_NATIVE_FRAMES: &str = "child processes have no native frames in their first 0.1 s of CPU time: without \
    CAP_SYS_PTRACE a stop would take its rights from a set-uid program that they are about to execute";

impl Recorder<'_> {
    /// One sample of every process, for the last deadline of `clock`; whether all could be read.
    pub(in crate::sampler) fn tick(&mut self, clock: &mut Clock) -> bool {
        clock.begin_tick(Instant::now());
        if self.records_are_due() {
            self.take_from_kernel();
        }
        self.cut_blocks(false);
        self.bound_codes();
        // Whatever becomes of the processes meanwhile: what ends while we are away was not observed either.
        if !self.all_from_kernel() || self.reads_waiting() {
            self.note_unobserved(clock.period());
        }
        let is_alone = self.members.len() == 1;
        let has_time = clock.period() >= SHORTEST_SHARED_PERIOD && !clock.is_often_late();
        let may_pin = is_alone && has_time && self.options.pausing != Pausing::Blocking;
        let (mut all, mut any) = (true, false);
        for index in 0..self.members.len() {
            match self.visit(index, clock.period(), may_pin) {
                None => {}
                Some(true) => any = true,
                Some(false) => all = false,
            }
        }
        release_pending();
        if any && self.sums.begin_counts(Instant::now()) {
            self.look_at_collections(false);
        }
        if self.options.pausing == Pausing::Adaptive {
            let is_read = |member: &&Member| member.sampler.is_some() && member.visits.next == Visit::Look;
            let read = self.members.iter().filter(is_read);
            let held = read.map(|member| member.moment.longest_hold).max().unwrap_or_default();
            clock.rest(Instant::now(), held * RUN_FOR_STOP);
        }
        self.ticks += u64::from(any);
        self.unobserved.end_tick(micros(self.setup.start.elapsed()));
        all
    }

    /// Does with a member what is due at this tick. Whether it is known what its threads do; `None` where nobody wants
    /// to know.
    pub(super) fn visit(&mut self, index: usize, period: Duration, may_pin: bool) -> Option<bool> {
        let wants_idle = self.reads_waiting();
        let among = if self.options.off_cpu.is_some() { 1 } else { self.members.len() };
        let member = &mut self.members[index];
        if member.sampler.is_none() || member.builder.is_none() {
            return None;
        }
        if let Some(kernel) = member.kernel.member_mut().filter(|_| !wants_idle)
            && !kernel.begin_look(Instant::now(), among)
        {
            return Some(true);
        }
        let sampled = match member.visits.next {
            Visit::Left => return None,
            Visit::Same => {
                member.moment.last_on();
                Ok(())
            }
            Visit::Look => self.look_at(index, period, may_pin)?,
        };
        if let Err(error) = &sampled {
            self.note_failure(index, error);
        } else {
            let member = &mut self.members[index];
            member.search.note_read();
            self.complete_moment(index);
            let member = &self.members[index];
            let enter = if member.kernel.samples() { Self::enter_waiting } else { Self::enter_moment };
            enter(self, index, Instant::now(), period);
            self.look_at_blocks(index);
        }
        Some(sampled.is_ok())
    }

    /// Reads the threads of a member, if it has a reader.
    fn look_at(&mut self, index: usize, period: Duration, may_pin: bool) -> Option<Result<(), SampleError>> {
        let member = &mut self.members[index];
        if let Some(until) = member.visits.begin_look() {
            member.moment.last_on();
            self.enter_moment(index, until, period);
        }
        let member = &mut self.members[index];
        let is_from_kernel = member.kernel.samples();
        let is_spared = self.setup.spares_new && member.is_new();
        if is_spared && self.setup.native.frames {
            self.report.note_once(WITHOUT_NATIVE_FRAMES.to_owned());
        }
        let pausing = if member.is_held || is_spared { Pausing::Never } else { self.options.pausing };
        let sampler = member.sampler.as_mut()?;
        sampler.allow_pinning(may_pin && !is_from_kernel);
        Some(if is_from_kernel {
            let pid = member.process.pid().unsigned_abs();
            let kernel = self.kernel.as_ref().zip(member.kernel.member());
            let registers =
                |thread| kernel.and_then(|(kernel, state)| kernel.registers_asleep(state.source, pid, thread));
            sampler.sample_waiting(pausing, &registers, &mut member.moment)
        } else {
            sampler.sample(pausing, &mut member.moment)
        })
    }

    /// Puts the moment of a member into the profile: it stands for the time from its last one to `now`.
    fn enter_moment(&mut self, index: usize, now: Instant, period: Duration) {
        let Self { members, profile, unobserved, sums, setup, options, .. } = self;
        let member = &mut members[index];
        let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { return };
        // Both ends are rounded in the same way, so that one sample begins where the last one ended.
        let since_start = |time: Instant| micros(time.saturating_duration_since(setup.start));
        let (from_us, time_us) = (since_start(member.visits.last_tick), since_start(now));
        let longest_us = longest_weight_us(period).max(micros(options.longest_pause));
        let weight_us = unobserved.weight_us(from_us, time_us, longest_us);
        member.visits.last_tick = now;
        member.cpu_time.add(&member.moment, weight_us);
        builder.add(profile, &options.filter, sampler, &member.moment, (time_us, weight_us));
        let moment = &member.moment;
        let function = |index: usize| builder.function_of(profile, sampler, moment, index);
        sums.add(member.process.pid(), moment, weight_us, function);
    }

    /// The same for a member whose running threads the kernel samples, whether we come or not: of the moment those
    /// count that wait.
    fn enter_waiting(&mut self, index: usize, now: Instant, period: Duration) {
        let Self { members, profile, kernel, sums, setup, options, .. } = self;
        let member = &mut members[index];
        let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { return };
        let since_start = |time: Instant| micros(time.saturating_duration_since(setup.start));
        let (from_us, time_us) = (since_start(member.visits.last_tick), since_start(now));
        let weight_us = (time_us - from_us).min(longest_weight_us(period));
        member.visits.last_tick = now;
        if options.off_cpu.is_some() {
            return;
        }
        sums.add_waiting(&member.moment, weight_us);
        if let Some(kernel) = kernel.as_mut().filter(|_| options.filter.idle) {
            let waiting = kernel.waiting_of(&member.moment);
            builder.add(profile, &options.filter, sampler, waiting, (time_us, weight_us));
        }
    }

    /// There is no sample of a member.
    fn note_failure(&mut self, index: usize, error: &SampleError) {
        let member = &mut self.members[index];
        member.visits.glances.forget_look();
        let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { return };
        match error {
            SampleError::Exited => {}
            SampleError::Exec => {
                sampler.wait_for_lines(WAIT_FOR_LINES);
                builder.put_waiting(&mut self.profile, &self.options.filter, sampler, Duration::ZERO);
                builder.name_threads(&mut self.profile, sampler, &member.moment);
                builder.end(&mut self.profile, micros(self.setup.start.elapsed()));
                member.builder = None;
                member.lose_program();
            }
            SampleError::Unreadable(_) | SampleError::Pause(_) => {
                log::debug!("no sample of process {}: {error}", member.process.pid());
                if member.search.note_unreadable() {
                    builder.put_waiting(&mut self.profile, &self.options.filter, sampler, Duration::ZERO);
                    member.lose_program();
                }
            }
        }
    }
}
