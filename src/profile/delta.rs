//! What a profile has grown by, to keep a copy of it elsewhere: in a thread that must not hold up the one that samples.
//!
//! Tables only grow and ids are given out in order, so a copy that is told of every addition in order has the same ids.

use super::{Frame, FrameId, Metadata, Process, Profile, StackId, Thread, Total};

/// How far a copy of a profile's tables has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    texts: usize,
    frames: usize,
    stacks: usize,
}

/// Additions to the tables of a profile since a [`Mark`], with all processes and threads as they are now and the totals that the caller chose.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// What is known of the recording by now.
    pub metadata: Metadata,
    /// Every process.
    pub processes: Vec<Process>,
    /// Every thread.
    pub threads: Vec<Thread>,
    /// Samples to be added.
    pub totals: Vec<Total>,
    texts: Vec<Box<str>>,
    frames: Vec<Frame>,
    stacks: Vec<(StackId, FrameId)>,
}

impl Profile {
    /// What the tables have grown by since `mark`, which is moved on; without totals.
    pub fn delta_since(&self, mark: &mut Mark) -> Delta {
        let sizes = self.table_sizes();
        // Number 0 of texts and of stacks is the empty one, which every profile has.
        let delta = Delta {
            metadata: self.metadata.clone(),
            processes: self.processes.clone(),
            threads: self.threads.clone(),
            totals: Vec::new(),
            texts: self.texts_from(mark.texts.max(1)).map(Box::from).collect(),
            frames: self.frames_from(mark.frames).collect(),
            stacks: self.stacks_from(mark.stacks.max(1)).collect(),
        };
        *mark = Mark { texts: sizes.texts, frames: sizes.frames, stacks: sizes.stacks };
        delta
    }

    /// Takes in what another profile has grown by. All deltas since that profile began must have been taken in before, in order, and nothing else interned.
    pub fn apply(&mut self, delta: &Delta) {
        for text in &delta.texts {
            self.intern(text);
        }
        for frame in &delta.frames {
            self.frame(*frame);
        }
        for (parent, frame) in &delta.stacks {
            self.push(*parent, *frame);
        }
        self.processes.truncate(0);
        self.by_pid.clear();
        for process in &delta.processes {
            self.add_process(process.clone());
        }
        self.threads.clone_from(&delta.threads);
        self.metadata.clone_from(&delta.metadata);
        for total in &delta.totals {
            self.add_total(*total);
        }
    }

    /// Adds the samples of a total.
    pub fn add_total(&mut self, total: Total) {
        self.totals.add_total(total);
    }

    /// Takes all totals out, so that they begin anew; the tables stay.
    pub fn take_totals(&mut self) -> Vec<Total> {
        self.totals.take()
    }

    /// A copy with the totals for which `keep` says yes, and no timeline.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Total) -> bool) -> Profile {
        let mut copy = Profile::default();
        let mut delta = self.delta_since(&mut Mark::default());
        delta.totals = self.totals().iter().filter(|total| keep(total)).copied().collect();
        copy.apply(&delta);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Flags;

    #[test]
    fn a_copy_made_of_deltas_has_the_same_ids_and_names() {
        let mut original = Profile::default();
        let mut copy = Profile::default();
        let mut mark = Mark::default();
        let process = original.add_process(Process { pid: 7, ..Process::default() });
        let thread = original.add_thread(Thread { process, os_id: Some(7), python_id: 1, interpreter: 0, name: None });
        let mut stacks = vec![];
        for round in 0..3u32 {
            let name = original.intern(&format!("function {round}"));
            let frame = original.frame(Frame { name, line: round, ..Frame::default() });
            let parent = stacks.last().copied().unwrap_or(StackId::EMPTY);
            let stack = original.push(parent, frame);
            stacks.push(stack);
            original.add_sample(thread, stack, u64::from(round), 10, Flags::ACTIVE);
            original.set_thread_name(thread, &format!("name {round}"));
            let totals = original.take_totals();
            let mut delta = original.delta_since(&mut mark);
            delta.totals = totals;
            copy.apply(&delta);
        }
        assert_eq!(original.totals(), []);
        assert_eq!(copy.sum(), (3, 30));
        for stack in stacks {
            let names = |profile: &Profile| -> Vec<String> {
                profile.frames_of(stack).map(|id| profile.text(profile.frame_of(id).name).to_owned()).collect()
            };
            assert_eq!(names(&copy), names(&original));
        }
        assert_eq!(copy.text(copy.thread(thread).name.unwrap()), "name 2");
        assert_eq!(copy.filtered(|total| total.stack == StackId::EMPTY).sum(), (0, 0));
        assert_eq!(copy.filtered(|_| true).sum(), (3, 30));
    }
}
