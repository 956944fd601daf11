//! An event with what is known of it: the dumps, and what has moved between them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::output::dump::{FrameDump, ProcessDump, ThreadDump};
use crate::process::Process;
use crate::watch::Event;

/// An event with what is known of it.
pub(super) struct Evidence {
    pub(super) event: Event,
    pub(super) process: Process,
    /// What the process is called, in short.
    pub(super) name: String,
    pub(super) time: SystemTime,
    /// For how long it had been so at that time.
    pub(super) lasted: Duration,
    /// In the order in which they were taken.
    pub(super) dumps: Vec<ProcessDump>,
    /// Values of variables may go to others.
    pub(super) has_locals: bool,
    pub(super) dumps_wanted: usize,
    pub(super) due: Instant,
    pub(super) ends: Instant,
    /// The recording of the time before.
    pub(super) before: Vec<u8>,
}

impl Evidence {
    /// Whether it is of this process.
    pub(super) fn is_of(&self, process: &Process) -> bool {
        (process.pid(), process.start_ticks()) == (self.process.pid(), self.process.start_ticks())
    }

    /// Whether it is time for another dump.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due && self.dumps.len() < self.dumps_wanted
    }

    /// No more dumps will come.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        self.dumps.len() >= self.dumps_wanted || now >= self.ends || self.process.has_exited()
    }

    /// No more dumps are to come.
    pub(super) fn gets_no_more(&mut self) {
        self.dumps_wanted = self.dumps.len();
    }

    /// Takes in another dump, with what has moved since the last one marked.
    pub(super) fn add(&mut self, mut dump: ProcessDump) {
        if let Some(last) = self.dumps.last() {
            mark_what_moved(last, &mut dump);
        }
        self.dumps.push(dump);
    }
}

/// What became of the evidence of an event.
pub(super) enum Written {
    /// It is in this folder.
    Folder(PathBuf),
    /// As many folders were written as may be, or nothing is to be done.
    LeftOut,
    /// It could not be written.
    Failed,
}

impl Written {
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::LeftOut | Self::Failed => None,
        }
    }
}

/// The frames of all threads and tasks.
pub(super) fn all_frames(dump: &mut ProcessDump) -> impl Iterator<Item = &mut FrameDump> {
    let ProcessDump { threads, tasks, .. } = dump;
    let of_threads = threads.iter_mut().flat_map(|thread| &mut thread.frames);
    of_threads.chain(tasks.iter_mut().flat_map(|tasks| &mut tasks.tasks).flat_map(|task| &mut task.frames))
}

/// Marks the frames of `now` that were other ones, or elsewhere, in the dump before: all above the first difference,
/// seen from the oldest.
fn mark_what_moved(before: &ProcessDump, now: &mut ProcessDump) {
    let key = |thread: &ThreadDump| (thread.thread_id, thread.os_thread_id);
    for thread in &mut now.threads {
        let Some(same) = before.threads.iter().find(|other| key(other) == key(thread)) else { continue };
        let place = |frame: &FrameDump| (frame.name.clone(), frame.filename.clone(), frame.line);
        let pairs = thread.frames.iter().rev().zip(same.frames.iter().rev());
        let equal = pairs.take_while(|(one, other)| place(one) == place(other)).count();
        // Where it has only returned from functions, the one that it has returned to has moved.
        let has_returned = same.frames.len() > thread.frames.len();
        let moved = (thread.frames.len() - equal).max(usize::from(has_returned));
        thread.frames.iter_mut().take(moved).for_each(|frame| frame.moved = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(frames: &[(&str, u32)]) -> ProcessDump {
        let frames =
            frames.iter().map(|(name, line)| FrameDump { name: (*name).into(), line: *line, ..Default::default() });
        ProcessDump {
            info: Default::default(),
            threads: vec![ThreadDump { thread_id: 7, frames: frames.collect(), ..Default::default() }],
            deadlocks: vec![],
            tasks: None,
        }
    }

    #[test]
    fn frames_above_the_first_difference_have_moved() {
        let before = dump(&[("inner", 5), ("outer", 9), ("main", 1)]);
        let moved = |frames: &[(&str, u32)]| {
            let mut now = dump(frames);
            mark_what_moved(&before, &mut now);
            let thread = &now.threads[0];
            thread.frames.iter().map(|frame| frame.moved).collect::<Vec<_>>()
        };
        assert_eq!(moved(&[("inner", 5), ("outer", 9), ("main", 1)]), [false; 3]);
        assert_eq!(moved(&[("inner", 6), ("outer", 9), ("main", 1)]), [true, false, false]);
        assert_eq!(moved(&[("inner", 5), ("outer", 8), ("main", 1)]), [true, true, false]);
        assert_eq!(moved(&[("other", 2), ("inner", 5), ("outer", 9), ("main", 1)]), [true, false, false, false]);
        assert_eq!(moved(&[("outer", 9), ("main", 1)]), [true, false]);
    }
}
