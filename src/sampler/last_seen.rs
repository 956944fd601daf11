//! Where the threads of a process were seen last, for somebody who looks on: of those that run, a look of ours at a
//! process that the kernel samples tells no frames; the kernel's records do.

use std::time::Duration;

use foldhash::HashMap;

use super::moment::{Assurance, FrameSpan, Moment, MomentFrame, MomentThread, NativeThread, Owner};
use super::process_sampler::collects;
use crate::native::MixedFrame;

/// A thread that runs has a record in each period of its CPU time. One that is not older than so many is taken for what
/// the thread does now,
const PERIODS: u32 = 3;
/// or than this, where that is more: looks and records do not keep step.
const AT_LEAST: Duration = Duration::from_millis(100);

/// Where each thread of a process was seen last.
#[derive(Debug, Default)]
pub(super) struct LastSeen(HashMap<Owner, Seen>);

/// A thread as it was seen.
#[derive(Debug, Default)]
struct Seen {
    /// By this it is the same thread, whoever has had its thread state's memory before.
    thread_id: u64,
    /// One without a thread state.
    native_thread: Option<NativeThread>,
    frames: Vec<MomentFrame>,
    native: Option<Vec<MixedFrame>>,
    /// When, ns of `CLOCK_MONOTONIC`.
    time_ns: u64,
    /// It has not moved since, unless it was seen again: it waits for a CPU.
    stands_still: bool,
    /// It ran then.
    ran: bool,
}

impl LastSeen {
    /// Takes note of the only thread of a moment, which was made of a record of the kernel; whether it left its CPU
    /// there and wants it back.
    pub(super) fn note_record(&mut self, moment: &Moment, time_ns: u64, stands_still: bool) {
        if let Some(thread) = moment.threads.first() {
            self.note(moment, thread, time_ns, (stands_still, true));
        } else if let Some(thread) = moment.native_threads.first() {
            let seen = self.0.entry(Owner::Thread(thread.os_id)).or_default();
            seen.native_thread = Some(*thread);
            seen.native = moment.native.of_native(thread).map(<[MixedFrame]>::to_vec);
            (seen.time_ns, seen.stands_still, seen.ran) = (time_ns, stands_still, true);
        }
    }

    /// Takes note of a thread, unless something later is known of it.
    fn note(&mut self, moment: &Moment, thread: &MomentThread, time_ns: u64, (stands_still, ran): (bool, bool)) {
        let seen = self.0.entry(Owner::State(thread.stack.address)).or_default();
        if seen.time_ns > time_ns {
            return;
        }
        seen.thread_id = thread.stack.thread_id;
        seen.frames.clear();
        seen.frames.extend_from_slice(moment.frames_of(thread));
        seen.native = moment.native.of(thread).map(<[MixedFrame]>::to_vec);
        (seen.time_ns, seen.stands_still, seen.ran) = (time_ns, stands_still, ran);
    }

    /// Gives the threads of a look, made at a time, that run their frames. Those of a thread of which there is no
    /// record of late are where it was before; they count as unproven.
    pub(super) fn complete(&mut self, moment: &mut Moment, now_ns: u64, period: Duration) {
        let fresh_ns = u64::try_from((period * PERIODS).max(AT_LEAST).as_nanos()).unwrap_or(u64::MAX);
        let is_fresh = |seen: &Seen| seen.ran && (seen.stands_still || seen.time_ns.saturating_add(fresh_ns) >= now_ns);
        for index in 0..moment.threads.len() {
            let thread = moment.threads[index];
            if !thread.stack.is_left_out {
                self.note(moment, &thread, now_ns, (false, false));
            }
            // What has not moved is left out as well, with the frames that are known of it.
            if !thread.stack.is_left_out || thread.is_unmoved {
                continue;
            }
            let owner = Owner::State(thread.stack.address);
            let Some(seen) = self.0.get(&owner).filter(|seen| seen.thread_id == thread.stack.thread_id) else {
                continue;
            };
            let first = moment.frames.len();
            moment.frames.extend_from_slice(&seen.frames);
            if let Some(native) = &seen.native {
                moment.native.put(owner, native);
            }
            moment.of_kernel.recorded_ns.insert(thread.stack.address, seen.time_ns);
            let thread = &mut moment.threads[index];
            thread.frames = FrameSpan::since(first, &moment.frames);
            thread.stack.is_left_out = false;
            let gil = thread.running_in.gil;
            thread.collecting = match gil.exists && gil.tells_holder {
                // Nobody else can, whatever frames it has by now.
                true => thread.running_in.collecting && thread.stack.holds_gil,
                false => collects(&thread.running_in, thread.stack.holds_gil, &seen.frames),
            };
            thread.assurance = if is_fresh(seen) { Assurance::Proven } else { Assurance::Unproven };
        }
        for (owner, seen) in &self.0 {
            let Some(thread) = seen.native_thread.filter(|_| is_fresh(seen)) else { continue };
            if moment.native_threads.iter().all(|known| known.os_id != thread.os_id) {
                moment.native_threads.push(thread);
                moment.native.put(*owner, seen.native.as_deref().unwrap_or_default());
            }
        }
        if self.0.len() > moment.threads.len() + moment.native_threads.len() {
            self.0.retain(|owner, seen| match owner {
                Owner::State(address) => moment.threads.iter().any(|thread| thread.stack.address == *address),
                Owner::Thread(_) => is_fresh(seen),
            });
        }
    }
}
