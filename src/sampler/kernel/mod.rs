//! Samples that the kernel takes: a program in the timer interrupt of each thread reads its frames while it cannot
//! move, and we empty the ring buffer into which it puts them.
//!
//! Every chain of frames is one that the thread had. What its code objects are called is found out only later, when
//! they may be gone; `process_sampler::recorded_frame_names` says how it is made sure of.

mod blocked_call;
mod evidence;
mod frame_slots;
mod kallsyms;
mod kept_stacks;
mod layout;
mod record;
mod support;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod known_codes;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod program;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod source;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod absent;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) use absent::{RingWaits, Source};
pub(super) use blocked_call::{BlockedCall, OffCpu};
pub(super) use evidence::{Identity, read_identities};
pub(super) use frame_slots::{FrameSlot, Frames};
pub(crate) use kallsyms::{KernelFunction, KernelSymbols};
pub(super) use kept_stacks::{KeptStacks, Slot, StackSlots};
pub(super) use record::{Record, RecordedStack, Records};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use source::{RingWaits, Source};
pub(crate) use support::{Unavailable, check_rights};

/// What records have beside Python frames.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Registers and native stacks.
    pub(super) native: bool,
    /// With these, threads without a thread state have records too.
    pub(super) of_stateless: bool,
    /// It is kept with which registers threads go to sleep.
    pub(super) of_sleeping: bool,
    /// The kernel's own stack.
    pub(super) kernel: bool,
}

impl Contents {
    /// So many bytes of a stack are copied at most (`MOST_STACK`): that is some 130 calls up to 3.10, each of which
    /// takes half a kilobyte. More would hold the interrupt for longer than a stop is worth.
    pub(super) const MOST_STACK: u32 = 64 << 10;
}

/// What the kernel does for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KernelTask {
    /// It samples threads that run, each time that they have run for so many ns.
    Samples {
        /// So many.
        period_ns: u64,
        /// What their records have beside Python frames.
        contents: Contents,
    },
    /// It tells when threads are blocked, and where.
    Blocks,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl KernelTask {
    /// Threads are interrupted at least so often, ns of CPU time, unless samples are to come more often still: what
    /// runs for less is not seen.
    const LONGEST_INTERRUPT_NS: u64 = 1_000_000;
    /// A sample has no more interrupts than that.
    const MOST_INTERRUPTS: u64 = 16;

    /// How many interrupts of a thread there are for a sample of it. More than one, so that the first may come after
    /// any of them: threads that end before a whole period is over would have none.
    fn interrupts_a_sample(self) -> u32 {
        match self {
            Self::Samples { period_ns, .. } => {
                (period_ns / Self::LONGEST_INTERRUPT_NS).clamp(1, Self::MOST_INTERRUPTS) as u32
            }
            Self::Blocks => 1,
        }
    }
}

/// What the kernel knows of a thread, where it tells of [blocks](KernelTask::Blocks).
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    expect(dead_code, reason = "only the program in the kernel tells it")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// It has slept since before its process was added.
    SinceBefore,
    /// Since then, ns of `CLOCK_MONOTONIC`.
    Since(u64),
    /// It was woken.
    Woken,
}

/// What has ended a [wait](RingWaits::wait) before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Woken {
    /// The program in the kernel wants its ring to be emptied soon.
    pub(super) by_ring: bool,
    /// The process has exited.
    pub(super) by_exit: bool,
}

/// Code objects of which the program in the kernel is to know what we know of them: each by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeNews {
    /// We know what it is, but it has not proven yet that it stays.
    OnProbation(u64),
    /// It has.
    Known(u64),
    /// It is another one by now, or may be.
    Unknown(u64),
}
