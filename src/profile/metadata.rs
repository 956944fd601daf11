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
    /// Who held GILs and who waited for them.
    pub gil: GilFacts,
    /// What the garbage collector did.
    pub gc: GcFacts,
    /// The version of pyspy that recorded.
    pub recorder: String,
    /// The operating system and processor, as `linux x86_64`.
    pub platform: String,
}

impl Metadata {
    /// What a sample stands for when ticks are on time, µs. Where no rate is known, one count is taken for a
    /// millisecond; where nothing was sampled, times are counted in microseconds.
    pub fn interval_us(&self) -> f64 {
        if self.filters.off_cpu {
            return 1.0;
        }
        if self.rate_asked.is_finite() && self.rate_asked > 0.0 { 1e6 / self.rate_asked } else { 1e3 }
    }

    /// A gap between two samples of a thread that is no longer than this, µs, is none in what it did: less than a
    /// sample stands for, so that the thread went on as far as can be told. Samples that came late leave such gaps.
    pub fn joinable_gap_us(&self) -> u64 {
        if self.filters.off_cpu || !self.is_time_known() {
            return 0;
        }
        (self.interval_us() * 0.75) as u64
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
    /// Looks at threads whose stack was too deep to be copied whole, so that native frames are missing.
    pub cut: u64,
    /// Not in the profile: not below the function that was asked for.
    pub outside: u64,
    /// Samples of threads that ran a task of an event loop, where tasks were asked for.
    pub in_tasks: u64,
    /// Not in the profile: tasks that were seen waiting and moved on while they were read; each look counts.
    pub unproven_tasks: u64,
}

/// What was seen of GILs: of all threads, whatever the filters have left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GilFacts {
    /// For how long GILs were observed, µs, which the other times are parts of; the sum of all where there are several.
    /// 0 where there was none.
    pub observed_us: u64,
    /// For how long a thread held one, µs.
    pub held_us: u64,
    /// For how long threads waited for one, µs, the sum of all threads.
    pub waited_us: u64,
    /// For how long threads ran that held none, which is C code that has released it, µs, the sum of all threads.
    pub released_us: u64,
    /// The functions that held one longest, the longest first, at most [`FACTS_KEPT`](Self::FACTS_KEPT).
    pub holders: Vec<FunctionTime>,
}

impl GilFacts {
    /// How many functions are kept.
    pub const FACTS_KEPT: usize = 5;

    /// How many threads waited for each GIL on average; 0 where there was none.
    pub fn waiters(&self) -> f64 {
        if self.observed_us == 0 { 0.0 } else { self.waited_us as f64 / self.observed_us as f64 }
    }

    /// How much of the time it was held, from 0 to 1.
    pub fn held(&self) -> f64 {
        if self.observed_us == 0 { 0.0 } else { (self.held_us as f64 / self.observed_us as f64).min(1.0) }
    }
}

/// What the garbage collector did: in all threads, whatever the filters have left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GcFacts {
    /// For how long it ran, µs.
    pub time_us: u64,
    /// For how long the processes were observed of which that is a part, µs, the sum of all processes.
    pub observed_us: u64,
    /// How many collections there were.
    pub collections: u64,
    /// That number and the longest time are those of the interpreter (3.15); otherwise they are of collections that
    /// samples saw, which are fewer than there were where these are short.
    pub is_exact: bool,
    /// How long the longest took, µs.
    pub longest_us: u64,
    /// The functions below which it ran longest, the longest first, at most [`GilFacts::FACTS_KEPT`].
    pub below: Vec<FunctionTime>,
}

/// How long something went on in a function.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionTime {
    /// The function's name.
    pub name: String,
    /// Its file from the package on.
    pub file: String,
    /// Its first line; 0 when not known.
    pub line: u32,
    /// µs.
    pub time_us: u64,
}

/// What a recording was asked to contain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Only threads that held the lock.
    pub gil_only: bool,
    /// Only threads that waited for it, each below the function that held it.
    pub gil_wait: bool,
    /// Only threads that were blocked, for as long as they were: nothing was sampled.
    pub off_cpu: bool,
    /// Idle threads too.
    pub idle: bool,
    /// C frames too.
    pub native: bool,
    /// Child processes too.
    pub subprocesses: bool,
    /// Only what was below functions that match this glob; everything if it is empty.
    pub below: String,
}
