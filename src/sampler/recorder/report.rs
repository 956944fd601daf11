//! What is to be told of a recording when it is over.

use crate::sampler::cpu_time::Unsampled;

/// What was found worth telling so far.
#[derive(Debug, Default)]
pub(in crate::sampler) struct Report {
    notes: Vec<String>,
    /// Of the processes that are gone, the one with the most CPU time that was not sampled.
    unsampled: Option<Unsampled>,
}

impl Report {
    /// Something for whoever asked for the recording.
    pub(in crate::sampler) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// The same for what may happen again and is told once.
    pub(in crate::sampler) fn note_once(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The CPU time that was not sampled of a process, if it is worth telling: the most is kept.
    pub(super) fn add_unsampled(&mut self, unsampled: Option<Unsampled>) {
        self.unsampled = self.unsampled.into_iter().chain(unsampled).max_by_key(|unsampled| unsampled.time);
    }

    /// All of it: the notes, and the most CPU time that was not sampled.
    pub(super) fn into_parts(self) -> (Vec<String>, Option<Unsampled>) {
        (self.notes, self.unsampled)
    }
}
