//! What is kept of the threads of a process that are blocked, while they are.

use std::time::Duration;

use foldhash::HashMap;

use super::kernel::BlockedCall;
use super::moment::{FrameSpan, Moment, MomentFrame, MomentThread};
use super::process_sampler::ProcessSampler;
use super::wait_words::words_then;

/// A block counts in pieces of this length while it lasts, ns, so that what is written meanwhile has it.
pub(super) const PIECE_NS: u64 = 1_000_000_000;

/// Places in the code that are kept with what threads wait for there.
const MOST_LEARNED: usize = 1 << 12;

/// What is said of a wait for an object that is not found.
const SOME_FUTEX: &str = "waits in futex";

/// What there was of blocks in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffCpuSums {
    /// Shorter ones are left out, ns.
    pub min_block_ns: u64,
    /// Those in the profile, and how long they were within the recording, ns.
    pub recorded: u64,
    /// Their time.
    pub recorded_ns: u64,
    /// Those that are left out.
    pub brief: u64,
    /// Their time.
    pub brief_ns: u64,
}

impl OffCpuSums {
    /// None yet.
    pub(super) fn new(min_block: Duration) -> Self {
        let min_block_ns = u64::try_from(min_block.as_nanos()).unwrap_or(u64::MAX);
        Self { min_block_ns, recorded: 0, recorded_ns: 0, brief: 0, brief_ns: 0 }
    }

    /// Whether a block is left out that lasted so long in the recording; then it is counted.
    pub(super) fn leaves_out(&mut self, length_ns: u64) -> bool {
        let is_brief = length_ns < self.min_block_ns;
        if is_brief {
            self.brief += 1;
            self.brief_ns = self.brief_ns.saturating_add(length_ns);
        }
        is_brief
    }
}

/// A thread that is off the CPU and does not want it.
#[derive(Debug)]
pub(super) struct Block {
    /// When it went to sleep, ns of `CLOCK_MONOTONIC`; `None` if that was before we came.
    pub(super) began_ns: Option<u64>,
    /// What was before counts already, or is none of the recording's.
    pub(super) since_ns: u64,
    /// A piece of it counts already.
    pub(super) is_counted: bool,
    /// Its stack; `None` where it is to be looked at again.
    pub(super) stack: Option<BlockedStack>,
    /// The system call, where it was recorded.
    pub(super) call: Option<BlockedCall>,
    /// What it waits in, where it was looked at while it lasted.
    pub(super) words: Option<String>,
}

/// A thread and its frames.
#[derive(Debug, Clone)]
pub(super) struct BlockedStack {
    thread: MomentThread,
    frames: Vec<MomentFrame>,
}

/// The blocks of one process that are not over.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) open: HashMap<u32, Block>,
    /// Words that were found since the ring was emptied last: equal waits follow each other.
    words: HashMap<Place, String>,
    /// The words for waits in a futex at a place in the code, by its address and instruction, as they were told of one
    /// that lasted; `None` where different ones were.
    learned: HashMap<(u64, i32), Option<String>>,
}

/// Where a thread waits: its newest frame, code and instruction, the number of its system call and two arguments.
type Place = (u64, u64, i32, u64, [u64; 2]);

impl BlockedStack {
    /// That of a thread of a moment.
    pub(super) fn of(moment: &Moment, thread: &MomentThread) -> Self {
        Self { thread: *thread, frames: moment.frames_of(thread).to_vec() }
    }

    /// Fills a moment with it.
    pub(super) fn fill(&self, moment: &mut Moment) {
        moment.clear();
        moment.frames.extend_from_slice(&self.frames);
        moment.threads.push(MomentThread { frames: FrameSpan::since(0, &self.frames), ..self.thread });
    }
}

impl Blocks {
    /// What is read of the target from now on is newer.
    pub(super) fn forget_words(&mut self) {
        self.words.clear();
    }

    /// The numbers of code mean others from now on: stacks are to be looked at again.
    pub(super) fn forget_stacks(&mut self) {
        self.words.clear();
        self.learned.clear();
        self.open.values_mut().for_each(|block| block.stack = None);
    }

    /// Takes note of what a wait in a futex was, which its stack alone does not tell once it is over: a lock that is no
    /// variable of the newest frames.
    pub(super) fn learn(&mut self, stack: &BlockedStack, words: &str) {
        let Some(newest) = stack.frames.first() else { return };
        let words = words.split(", held by ").next().unwrap_or(words);
        if self.learned.len() >= MOST_LEARNED {
            self.learned.clear();
        }
        let known = self.learned.entry((newest.code_address, newest.offset)).or_insert_with(|| Some(words.to_owned()));
        if known.as_deref().is_some_and(|known| known != words) {
            *known = None;
        }
    }

    /// Has the moment, which is filled with a block's stack, say what that waits in.
    pub(super) fn add_words(&mut self, sampler: &ProcessSampler, block: &Block, moment: &mut Moment) {
        moment.of_kernel.wait_words =
            block.words.clone().or_else(|| self.words_then(sampler, block.call.as_ref()?, moment));
    }

    fn words_then(&mut self, sampler: &ProcessSampler, call: &BlockedCall, moment: &Moment) -> Option<String> {
        let thread = moment.threads.first().filter(|thread| !thread.waits_for_gil)?;
        let newest = moment.frames.first()?;
        let (number, arguments) = call.place();
        let place = (newest.address, newest.code_address, newest.offset, number, arguments);
        if let Some(words) = self.words.get(&place) {
            return Some(words.clone());
        }
        let mut words = words_then(sampler, moment, thread, call);
        if words == SOME_FUTEX {
            let learned = self.learned.get(&(newest.code_address, newest.offset));
            words = learned.cloned().flatten().unwrap_or(words);
        }
        self.words.insert(place, words.clone());
        Some(words)
    }
}
