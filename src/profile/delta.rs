//! What a profile has grown by, to keep a copy of it elsewhere: in a thread that must not hold up the one that samples.

use super::{Frame, FrameId, Metadata, Process, Profile, StackId, Thread, Total};

/// How far a copy of a profile's tables has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    texts: usize,
    frames: usize,
    stacks: usize,
}

/// Additions to the tables of a profile since a [`Mark`], with all processes and threads as they are now and the totals
/// that the caller chose.
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
    /// All that the tables have: they have begun, perhaps anew.
    pub fresh: bool,
    pub(super) texts: Vec<Box<str>>,
    pub(super) frames: Vec<Frame>,
    pub(super) stacks: Vec<(StackId, FrameId)>,
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
            fresh: *mark == Mark::default(),
            texts: self.texts_from(mark.texts.max(1)).map(Box::from).collect(),
            frames: self.frames_from(mark.frames).collect(),
            stacks: self.stacks_from(mark.stacks.max(1)).collect(),
        };
        *mark = Mark { texts: sizes.texts, frames: sizes.frames, stacks: sizes.stacks };
        delta
    }

    /// Adds the samples of a total.
    pub fn add_total(&mut self, total: Total) {
        self.totals.add_total(total);
    }

    /// Takes all totals out, so that they begin anew; the tables stay.
    pub fn take_totals(&mut self) -> Vec<Total> {
        self.totals.take_all()
    }
}
