//! What somebody who looks on needs of processes that the kernel samples: what their threads do now, how well the last
//! window was sampled, and another rate.

use std::time::{Duration, Instant};

use super::kernel_ticks::{KernelSampling, monotonic_ns};
use super::{HIGHEST_RATE, Recorder, micros};
use crate::sampler::kernel_member::KernelPart;
use crate::sampler::members::Member;
use crate::sampler::record_options::KernelUse;

/// Where nobody has come for so long, what the kernel has sampled meanwhile is left out.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// How often the rings are emptied where somebody looks on, unless there are event loops: what keeps these is to be
/// seen while it does.
const TAKE_EVERY: Duration = Duration::from_millis(45);

/// How often is sampled, and when the rings are emptied.
#[derive(Debug)]
pub(super) struct Pace {
    /// Samples a second.
    pub(super) rate: u32,
    /// Somebody looks on: of each thread it is kept what it does now.
    pub(super) is_looked_on: bool,
    /// When the rings are to be emptied next, where they are not at each tick.
    take_due: Option<Instant>,
    /// When they were emptied last.
    last_take: Option<Instant>,
}

impl Pace {
    /// So many samples a second, for nobody who looks on.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, is_looked_on: false, take_due: None, last_take: None }
    }
}

/// Whether we have been away for so long, with samples this far apart, that what was sampled meanwhile is left out.
pub(in crate::sampler) fn is_gap(away: Duration, period: Duration) -> bool {
    away > LONGEST_GAP.max(period * 3)
}

impl Recorder<'_> {
    /// From now on it is kept what each thread does, for somebody who looks on.
    pub(in crate::sampler) fn be_looked_on(&mut self) {
        self.pace.is_looked_on = true;
        if let Some(kernel) = &mut self.kernel {
            kernel.is_looked_on = true;
        }
    }

    /// Whether the rings are to be emptied at this tick.
    pub(super) fn records_are_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = !self.pace.is_looked_on
            || self.pace.take_due.is_none_or(|due| now >= due)
            || self.members.iter().any(|member| member.loops.lags().next().is_some());
        if is_due {
            self.pace.take_due = Some(now + TAKE_EVERY);
        }
        is_due
    }

    /// Gives the threads that run in the last look at a member their frames, where the kernel samples it and somebody
    /// looks on.
    pub(in crate::sampler) fn complete_moment(&mut self, index: usize) {
        let period = Duration::from_secs(1) / self.pace.rate.max(1);
        let member = &mut self.members[index];
        if let Some(seen) = member.kernel.member_mut().and_then(|kernel| kernel.last_seen.as_mut()) {
            seen.complete(&mut member.moment, monotonic_ns(), period);
        }
    }

    /// Samples at another rate from now on, or, where the kernel must do it and cannot so fast, at its highest; which
    /// one that is.
    pub(in crate::sampler) fn set_rate(&mut self, rate: u32) -> u32 {
        let is_a_must = self.options.kernel == KernelUse::Always;
        let rate = if is_a_must { rate.min(HIGHEST_RATE) } else { rate };
        if rate != std::mem::replace(&mut self.pace.rate, rate) {
            self.take_from_kernel();
            self.kernel = None;
            self.members.iter_mut().for_each(|member| member.kernel = KernelPart::default());
            self.kernel = KernelSampling::new(self.options, rate);
            if let Some(kernel) = &mut self.kernel {
                kernel.is_looked_on = self.pace.is_looked_on;
                kernel.load_meanwhile();
                // Times of its records count from there.
                kernel.span_ns.start = monotonic_ns().saturating_sub(micros(self.setup.start.elapsed()) * 1000);
            }
            self.meet_kernel();
        }
        rate
    }

    /// Forgets what the kernel has recorded, if nobody has come for it for long: who waited meanwhile was not seen, so
    /// that time counts as unobserved. Whether it was so.
    pub(super) fn discard_after_gap(&mut self) -> bool {
        let period = Duration::from_secs(1) / self.pace.rate.max(1);
        let now = Instant::now();
        let away = now.saturating_duration_since(self.pace.last_take.replace(now).unwrap_or(now));
        let Some(kernel) = self.kernel.as_mut().filter(|_| self.pace.is_looked_on && is_gap(away, period)) else {
            return false;
        };
        kernel.discard();
        self.members.iter_mut().for_each(Member::forget_left);
        self.note_unobserved(period);
        true
    }

    /// The share of the kernel's samples that have arrived since the last call; `None` where it takes none.
    pub(in crate::sampler) fn share_from_kernel(&mut self) -> Option<f64> {
        self.kernel.as_ref().filter(|kernel| kernel.has_sources())?;
        self.take_and_count();
        self.kernel.as_mut().map(KernelSampling::new_share_taken)
    }

    /// Whether the kernel samples any process that is there.
    pub(in crate::sampler) fn is_from_kernel(&self) -> bool {
        self.members.iter().any(|member| member.kernel.samples())
    }
}
