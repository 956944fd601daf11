//! The second read of a thread whose stack could not be made sure of: it is stopped, read again and let go.

use std::time::{Duration, Instant};

use super::ProcessSampler;
use crate::process::ThreadId;
use crate::sampler::moment::{Assurance, Held, Moment, Pausing};

/// How often a thread is stopped until its stack is whole: it may stand in the middle of a call.
const STOPS: u32 = 4;
/// How long it then runs in between: stopped again at once it would stand where it stood.
const BETWEEN_STOPS: Duration = Duration::from_micros(20);

impl ProcessSampler {
    /// A thread whose stack could not be made sure of, or whose native frames are wanted: stopped and read again, or
    /// taken for what it is.
    pub(super) fn emit_uncertain(&mut self, index: usize, pausing: Pausing, moment: &mut Moment) {
        let thread = self.reader.stacks.threads[index];
        if !self.threads.exists(thread.address) {
            // Of what it was doing nothing is left: another thread may have its memory.
            self.reader.stacks.threads[index].end_frame = thread.first_frame;
            self.emit(index, Assurance::Unproven, moment);
            return;
        }
        if pausing == Pausing::Never {
            self.reader.read_unstopped_thread(index, &mut self.records);
        } else {
            if self.emit_after_stop(index, moment) {
                return;
            }
            self.reader.stacks.threads[index] = thread;
        }
        // Only a stack that was followed to its end can have been; any other counts as lost.
        if self.reader.stacks.threads[index].is_truncated || !self.reader.knows_codes(index) {
            moment.lost += 1;
        } else {
            self.emit(index, Assurance::Unproven, moment);
        }
    }

    /// Stops one thread, reads its stack again, lets it go and puts it into the moment. Whether that was possible.
    pub(super) fn emit_after_stop(&mut self, index: usize, moment: &mut Moment) -> bool {
        let Some(os_id) = self.threads.os_id(self.reader.stacks.threads[index].address) else { return false };
        let (mut is_complete, mut stopped_for) = (false, Duration::ZERO);
        for stop in 0..STOPS {
            if stop > 0 {
                std::thread::sleep(BETWEEN_STOPS);
            }
            // Registers are those of a stop; for its frames alone one that waits need not be disturbed.
            if self.natives.native.is_none() && self.activities.waits_now(os_id) {
                if self.read_waiting(index, os_id) {
                    self.emit(index, Assurance::Proven, moment);
                    return true;
                }
                continue;
            }
            let started = Instant::now();
            let Some(pause) = self.stopper.stop(&self.process, &self.activities, os_id) else { break };
            moment.stops += 1;
            is_complete = self.reader.read_stopped_thread(index, &mut self.records);
            if is_complete {
                self.capture_native(index, |_| pause.registers());
            }
            drop(pause);
            stopped_for += started.elapsed();
            self.reader.snapshot.note_resumed();
            if is_complete {
                break;
            }
        }
        moment.add_hold(Held::Thread(os_id), stopped_for);
        if is_complete {
            self.emit(index, Assurance::Stopped, moment);
        }
        is_complete
    }

    /// Reads the stack of a thread again that has run since it was seen waiting, and puts it into the moment. Whether
    /// it was found waiting.
    pub(super) fn emit_if_waiting(&mut self, index: usize, moment: &mut Moment) -> bool {
        let thread = self.reader.stacks.threads[index];
        let Some(os_id) = self.threads.os_id(thread.address) else { return false };
        for _ in 0..STOPS {
            if !self.activities.waits_now(os_id) {
                break;
            }
            if self.read_waiting(index, os_id) {
                self.emit(index, Assurance::Proven, moment);
                return true;
            }
        }
        self.reader.stacks.threads[index] = thread;
        false
    }

    /// Reads the stack of a thread again that was seen waiting just now. Whether it was still waiting afterwards, and
    /// has not run meanwhile, so that it stood as still as one that is stopped.
    fn read_waiting(&mut self, index: usize, os_id: ThreadId) -> bool {
        let is_complete = self.reader.read_stopped_thread(index, &mut self.records);
        self.reader.snapshot.note_resumed();
        is_complete && self.activities.has_kept_waiting(os_id)
    }
}
