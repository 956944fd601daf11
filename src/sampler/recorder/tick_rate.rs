//! How often there is a tick: at each a sample is taken, unless the kernel takes those that are wanted.

use std::time::Instant;

use super::Recorder;
use crate::sampler::clock::Clock;

/// How often a second the rings of the kernel are emptied at least, where there is nothing else to do at a tick,
const TAKE_RATE: u32 = 4;
/// and where something is looked up that the kernel does not tell, as who holds a lock.
const LOOK_UP_RATE: u32 = 10;
/// Where somebody looks on and the kernel samples what runs, who waits is looked at half as often as is sampled, but so
/// often a second at least, if that is not more.
const LOOKS: u32 = 50;

impl Recorder<'_> {
    /// Whether all that is wanted is in the rings.
    pub(in crate::sampler) fn only_takes(&self) -> bool {
        let is_looked_up = self.reads_waiting() || self.options.off_cpu.is_some() || self.pace.is_looked_on;
        self.all_from_kernel() && !is_looked_up
    }

    /// How often a second there is a tick: as often as is asked for, unless the kernel sees all that is wanted.
    fn tick_rate(&self) -> u32 {
        match (self.all_from_kernel(), self.reads_waiting()) {
            (true, false) if self.only_takes() => TAKE_RATE.min(self.pace.rate),
            (true, false) => LOOK_UP_RATE.min(self.pace.rate),
            (true, true) if self.pace.is_looked_on => LOOKS.max(self.pace.rate / 2).min(self.pace.rate),
            _ => self.pace.rate,
        }
    }

    /// Whether threads that wait are samples of ours, whoever samples those that run.
    pub(super) fn reads_waiting(&self) -> bool {
        self.options.filter.idle && self.options.off_cpu.is_none()
    }

    /// Whether the kernel samples all processes that can be read, and there are any.
    pub(in crate::sampler) fn all_from_kernel(&self) -> bool {
        let mut read = self.members.iter().filter(|member| member.sampler.is_some()).peekable();
        read.peek().is_some() && read.all(|member| member.kernel.samples())
    }

    /// A clock for the ticks from now on.
    pub(in crate::sampler) fn clock(&self) -> Clock {
        let start = if self.only_takes() { Clock::steady } else { Clock::new };
        start(self.tick_rate(), Instant::now())
    }

    /// Has the clock tick in another way where that is due; whether it is.
    pub(in crate::sampler) fn retime(&self, clock: &mut Clock) -> bool {
        let next = self.clock();
        let is_due = (clock.period(), clock.is_steady()) != (next.period(), next.is_steady());
        if is_due {
            *clock = next;
        }
        is_due
    }
}
