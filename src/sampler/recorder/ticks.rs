//! One sample of every process, and what becomes of it.

use std::time::{Duration, Instant};

use super::kernel_ticks::keep_waiting;
use super::{Recorder, SHORTEST_SHARED_PERIOD, WAIT_FOR_LINES, micros};
use crate::process::release_pending;
use crate::sampler::clock::Clock;
use crate::sampler::glances::Visit;
use crate::sampler::kernel_member::LOOK_EVERY;
use crate::sampler::moment::{Pausing, SampleError};
use crate::sampler::unobserved::longest_weight_us;

/// For as long as this an interpreter may be unreadable before it is looked for anew.
const UNREADABLE: Duration = Duration::from_millis(500);
/// After it was held, a thread runs for so many times as long before the next sample, unless stops were asked for: at
/// high rates nothing else would keep it from standing still most of the time.
const RUN_FOR_STOP: u32 = 3;
/// Between two looks at what interpreters have counted of garbage collections.
const COUNTS_EVERY: Duration = Duration::from_millis(100);

impl Recorder<'_> {
    /// One sample of every process, for the last deadline of `clock`; whether all could be read.
    pub(in crate::sampler) fn tick(&mut self, clock: &mut Clock) -> bool {
        clock.begin_tick(Instant::now());
        self.take_from_kernel();
        self.bound_codes();
        // Whatever becomes of the processes meanwhile: what ends while we are away was not observed either.
        if !self.all_from_kernel() {
            self.note_unobserved(clock.period());
        }
        let mut all = true;
        let mut any = false;
        let is_alone = self.members.len() == 1;
        let has_time = clock.period() >= SHORTEST_SHARED_PERIOD && !clock.is_often_late();
        let may_pin = is_alone && has_time && self.options.pausing != Pausing::Blocking;
        let has_kernel = self.kernel.is_some();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if member.sampler.is_none() || member.builder.is_none() {
                continue;
            }
            member.was_looked_at |= member.visit == Visit::Look;
            let is_for_kernel = has_kernel && !member.is_not_for_kernel;
            if let Some(kernel) = &mut member.kernel
                && !self.options.filter.idle
            {
                let now = Instant::now();
                if now < kernel.look_due {
                    any = true;
                    continue;
                }
                kernel.look_due = now + LOOK_EVERY;
            }
            let sampled = match member.visit {
                Visit::Left => continue,
                Visit::Same => {
                    member.moment.last_on();
                    Ok(())
                }
                Visit::Look => {
                    if let Some(until) = member.glances.begin_look().filter(|until| *until > member.last_tick) {
                        member.moment.last_on();
                        self.enter_moment(index, until, clock.period());
                    }
                    let member = &mut self.members[index];
                    let Some(sampler) = &mut member.sampler else { continue };
                    let pausing = if member.is_held || is_for_kernel { Pausing::Never } else { self.options.pausing };
                    sampler.allow_pinning(may_pin && !is_for_kernel);
                    if member.kernel.is_some() {
                        sampler.sample_waiting(&mut member.moment)
                    } else {
                        sampler.sample(pausing, &mut member.moment)
                    }
                }
            };
            match sampled {
                Ok(()) => {
                    any = true;
                    self.members[index].unreadable_since = None;
                    let enter =
                        if self.members[index].kernel.is_some() { Self::enter_waiting } else { Self::enter_moment };
                    enter(self, index, Instant::now(), clock.period());
                }
                Err(error) => {
                    all = false;
                    self.note_failure(index, &error);
                }
            }
        }
        release_pending();
        if any && self.gc_due.is_none_or(|due| Instant::now() >= due) {
            self.gc_due = Some(Instant::now() + COUNTS_EVERY);
            self.look_at_collections();
        }
        if self.options.pausing == Pausing::Adaptive {
            let read = self.members.iter().filter(|member| member.sampler.is_some() && member.visit == Visit::Look);
            let held = read.map(|member| member.moment.longest_hold).max().unwrap_or_default();
            clock.rest(Instant::now(), held * RUN_FOR_STOP);
        }
        self.ticks += u64::from(any);
        self.last_tick_us = Some(micros(self.setup.start.elapsed()));
        all
    }

    /// Puts the moment of a member into the profile: it stands for the time from its last one to `now`.
    fn enter_moment(&mut self, index: usize, now: Instant, period: Duration) {
        let Self { members, profile, unobserved, gil, gc, setup, options, .. } = self;
        let member = &mut members[index];
        let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { return };
        // Both ends are rounded in the same way, so that one sample begins where the last one ended.
        let since_start = |time: Instant| micros(time.saturating_duration_since(setup.start));
        let (from_us, time_us) = (since_start(member.last_tick), since_start(now));
        let longest_us = longest_weight_us(period).max(micros(options.longest_pause));
        let weight_us = unobserved.weight_us(from_us, time_us, longest_us);
        member.last_tick = now;
        member.cpu_time.add(&member.moment, weight_us);
        builder.add(profile, &options.filter, sampler, &member.moment, (time_us, weight_us));
        let moment = &member.moment;
        let mut function = |index: usize| builder.function_of(profile, sampler, moment, index);
        gc.add(member.process.pid(), moment, weight_us, &mut function);
        gil.add(moment, weight_us, function);
    }

    /// The same for a member whose running threads the kernel samples, whether we come or not: of the moment those
    /// count that wait.
    fn enter_waiting(&mut self, index: usize, now: Instant, period: Duration) {
        let Self { members, profile, waiting, gil, gc, setup, options, .. } = self;
        let member = &mut members[index];
        let (Some(sampler), Some(builder)) = (&mut member.sampler, &mut member.builder) else { return };
        let since_start = |time: Instant| micros(time.saturating_duration_since(setup.start));
        let (from_us, time_us) = (since_start(member.last_tick), since_start(now));
        let weight_us = (time_us - from_us).min(longest_weight_us(period));
        member.last_tick = now;
        gc.observe(weight_us);
        gil.add_waiting(&member.moment, weight_us);
        if options.filter.idle {
            keep_waiting(&member.moment, waiting);
            builder.add(profile, &options.filter, sampler, waiting, (time_us, weight_us));
        }
    }

    /// There is no sample of a member.
    fn note_failure(&mut self, index: usize, error: &SampleError) {
        let member = &mut self.members[index];
        member.glances.forget_look();
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
                let since = *member.unreadable_since.get_or_insert_with(Instant::now);
                if since.elapsed() > UNREADABLE {
                    builder.put_waiting(&mut self.profile, &self.options.filter, sampler, Duration::ZERO);
                    member.lose_program();
                }
            }
        }
    }
}
