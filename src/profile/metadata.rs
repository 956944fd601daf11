//! What is known of a recording as a whole.

use serde::{Deserialize, Serialize};

/// What was recorded, how and how well.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The command that was profiled, its arguments joined by spaces.
    pub command: String,
    /// The process that was asked for, or the program that was started; 0 when there is none.
    pub pid: u32,
    /// When it began, µs since 1970 in UTC; 0 when not known.
    pub start_unix_us: u64,
    /// How long it took, µs.
    pub duration_us: u64,
    /// For how long of it a process was not observed that should have been, µs: nobody knows what it did then.
    pub unobserved_us: u64,
    /// Samples a second that were asked for; 0 when not known, as in a profile that has counts only.
    pub rate_asked: f64,
    /// Samples a second that were held; 0 when not known.
    pub rate_held: f64,
    /// How many samples went which way.
    pub counts: SampleCounts,
    /// What was left out.
    pub filters: Filters,
    /// The version of pyspy that recorded.
    pub recorder: String,
    /// The operating system and processor, as `linux x86_64`.
    pub platform: String,
}

impl Metadata {
    /// What a sample stands for when ticks are on time, µs. Where no rate is known, one count is taken for a
    /// millisecond.
    pub fn interval_us(&self) -> f64 {
        if self.rate_asked.is_finite() && self.rate_asked > 0.0 { 1e6 / self.rate_asked } else { 1e3 }
    }

    /// For how long something was not observed, in seconds, if that is worth a word.
    pub fn unobserved_s(&self) -> Option<f64> {
        const WORTH_A_WORD_US: u64 = 50_000;
        (self.unobserved_us >= WORTH_A_WORD_US).then_some(self.unobserved_us as f64 / 1e6)
    }

    /// Whether weights are real time, not counts of something.
    pub fn is_time_known(&self) -> bool {
        self.rate_asked > 0.0
    }
}

/// How many samples went which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleCounts {
    /// In the profile.
    pub taken: u64,
    /// Of these, how many needed a stop of the thread.
    pub stopped: u64,
    /// Of these, how many could not be proven.
    pub unproven: u64,
    /// Not in the profile: nothing could be read.
    pub lost: u64,
    /// Not in the profile: not below the function that was asked for.
    pub outside: u64,
    /// Samples of threads that ran a task of an event loop, where tasks were asked for.
    pub in_tasks: u64,
    /// Not in the profile: tasks that were seen waiting and moved on while they were read; each look counts.
    pub unproven_tasks: u64,
}

/// What a recording was asked to contain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Only threads that held the lock.
    pub gil_only: bool,
    /// Idle threads too.
    pub idle: bool,
    /// C frames too.
    pub native: bool,
    /// Child processes too.
    pub subprocesses: bool,
    /// Only what was below functions that match this glob; everything if it is empty.
    pub below: String,
}
