//! What is kept of a process whose threads the kernel samples.

use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::blocked_threads::Blocks;
use super::last_seen::LastSeen;
use super::moment::{FrameSpan, Moment, MomentFrame, MomentThread, NativeMoment, NativeThread};

/// Between two looks of ours at such a process: which threads there are, and what they are called.
const LOOK_EVERY: Duration = Duration::from_millis(90);
/// Of more processes than this each is looked at seldomer, so that all together take as long as so many,
const OFTEN_LOOKED_AT: usize = 8;
/// but so many times seldomer at most.
const MOST_TIMES_SELDOMER: usize = 8;

/// Whether the kernel samples the threads of a process.
#[derive(Debug, Default)]
pub(super) enum KernelPart {
    /// Not yet: nobody has asked for it since the process began to run its program.
    #[default]
    NotAsked,
    /// It does.
    Samples(Box<KernelMember>),
    /// It cannot.
    Refused,
}

impl KernelPart {
    /// The process as the kernel samples it, if it does.
    pub(super) fn member(&self) -> Option<&KernelMember> {
        match self {
            Self::Samples(member) => Some(member),
            Self::NotAsked | Self::Refused => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn member_mut(&mut self) -> Option<&mut KernelMember> {
        match self {
            Self::Samples(member) => Some(member),
            Self::NotAsked | Self::Refused => None,
        }
    }

    /// Whether the kernel samples it.
    pub(super) fn samples(&self) -> bool {
        self.member().is_some()
    }

    /// Whether the kernel cannot sample the program that it runs.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused)
    }
}

/// A process that the kernel samples.
#[derive(Debug)]
pub(super) struct KernelMember {
    /// Which source does it, by its number.
    pub(super) source: usize,
    /// By this number its records are known: older ones are of another program in the process.
    pub(super) run: u64,
    /// Since when, ns of `CLOCK_MONOTONIC`.
    pub(super) added_ns: u64,
    /// What each thread was seen doing when it last left its CPU and would rather have run on.
    pub(super) left: HashMap<u32, LeftCpu>,
    /// Which threads are blocked, where the kernel tells of that.
    pub(super) blocks: Blocks,
    /// Where each thread was seen last, where somebody looks on.
    pub(super) last_seen: Option<LastSeen>,
    /// It has executed another program since it was last looked at.
    pub(super) has_executed: bool,
    /// When we are to look at it next.
    look_due: Instant,
    /// Nanoseconds that were not enough for a whole microsecond.
    carry_ns: u64,
}

/// A thread as it left its CPU.
#[derive(Debug)]
pub(super) struct LeftCpu {
    thread: Option<MomentThread>,
    native_thread: Option<NativeThread>,
    frames: Vec<MomentFrame>,
    native: NativeMoment,
    /// When, ns of `CLOCK_MONOTONIC`.
    pub(super) time_ns: u64,
    /// It went to sleep, and has to wait for a CPU only once it is woken.
    pub(super) went_to_sleep: bool,
}

impl KernelMember {
    /// That of a source, for a run of a program.
    pub(super) fn new(source: usize, run: u64, added_ns: u64) -> Self {
        Self {
            source,
            run,
            added_ns,
            left: HashMap::default(),
            blocks: Blocks::default(),
            last_seen: None,
            has_executed: false,
            look_due: Instant::now() + LOOK_EVERY,
            carry_ns: 0,
        }
    }

    /// The numbers of code mean others from now on: forgets the stacks that are kept.
    pub(super) fn forget_stacks(&mut self) {
        self.left.clear();
        self.blocks.forget_stacks();
        self.last_seen = self.last_seen.take().map(|_| LastSeen::default());
        self.look_soon();
    }

    /// We are to look at it as soon as can be.
    pub(super) fn look_soon(&mut self) {
        self.look_due = Instant::now();
    }

    /// Whether we are to look at it now, one of so many; then the next look is due some time later.
    pub(super) fn begin_look(&mut self, now: Instant, among: usize) -> bool {
        let is_due = now >= self.look_due;
        if is_due {
            let times = (among / OFTEN_LOOKED_AT).clamp(1, MOST_TIMES_SELDOMER);
            self.look_due = now + LOOK_EVERY * times as u32;
        }
        is_due
    }

    /// Whole microseconds of a time; what is left of it counts for the next one.
    pub(super) fn whole_us(&mut self, time_ns: u64) -> u64 {
        let time_ns = time_ns + self.carry_ns;
        self.carry_ns = time_ns % 1000;
        time_ns / 1000
    }
}

impl LeftCpu {
    /// The only thread of a moment.
    pub(super) fn of(moment: &Moment, time_ns: u64, went_to_sleep: bool) -> Self {
        let thread = moment.threads.first().copied();
        let frames = thread.map_or(&[][..], |thread| moment.frames_of(&thread)).to_vec();
        let (native_thread, native) = (moment.native_threads.first().copied(), moment.native.clone());
        Self { thread, native_thread, frames, native, time_ns, went_to_sleep }
    }

    /// Fills a moment with it.
    pub(super) fn fill(&self, moment: &mut Moment) {
        moment.clear();
        moment.frames.extend_from_slice(&self.frames);
        let frames = FrameSpan::since(0, &self.frames);
        moment.threads.extend(self.thread.map(|thread| MomentThread { frames, ..thread }));
        moment.native_threads.extend(self.native_thread);
        moment.native.clone_from(&self.native);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nanosecond_is_lost() {
        let mut member = KernelMember::new(0, 1, 0);
        let sum: u64 = (0..1000).map(|_| member.whole_us(1_001)).sum();
        assert_eq!(sum, 1001);
    }
}
