//! What idle threads wait in, in words: the lock, queue or thread of Python's, with who holds it, or the system call.
//!
//! A wait is looked at once: as long as its thread has not moved since, it waits in the same. Words leave out what
//! differs from run to run and from object to object, such as addresses, so that equal waits have equal words.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::kernel::{BlockedCall, OffCpu};
use super::moment::{Moment, MomentThread};
use super::process_sampler::ProcessSampler;
use crate::memory::{Memory, PageCache};
use crate::process::SystemCall;
use crate::python::code::CodeTable;
use crate::python::lock_waits::{Blocked, FrameView, ThreadView, Wait, blocked};

/// Different waits that have words; beyond that they are all `a wait`.
const MOST_WORDS: usize = 1 << 14;

const STOPPED_WORLD: &str = "waits for a thread that has stopped the world";

/// The words for what threads wait in, by number.
#[derive(Debug, Default)]
pub(super) struct WaitWords {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
    /// By thread state: a hash of the stack in which the thread waited when it was looked at, and the number.
    known: HashMap<u64, (u64, u32)>,
    hasher: RandomState,
}

impl WaitWords {
    /// The number of the words for what an idle thread of a moment waits in.
    pub(super) fn number(&mut self, sampler: &ProcessSampler, moment: &Moment, thread: &MomentThread) -> u32 {
        let place = moment.frames_of(thread).first().map(|frame| (frame.address, frame.code_address, frame.offset));
        let stack = self.hasher.hash_one((place, thread.frames.len()));
        let known = self.known.get(&thread.stack.address);
        // One that was left out of the read has not been on a CPU since it was last looked at.
        if let Some((of_stack, number)) = known
            && *of_stack == stack
            && thread.stack.is_left_out
        {
            return *number;
        }
        let number = self.number_of(words_for(sampler, moment, thread));
        self.known.insert(thread.stack.address, (stack, number));
        number
    }

    /// The number of words that are known already.
    pub(super) fn number_of_known(&mut self, words: &str) -> u32 {
        match self.numbers.get(words) {
            Some(number) => *number,
            None => self.number_of(words.to_owned()),
        }
    }

    /// The words with a number.
    pub(super) fn words(&self, number: u32) -> &str {
        self.words.get(number as usize).map_or("a wait", String::as_str)
    }

    /// The process runs another program: its threads are others.
    pub(super) fn forget_threads(&mut self) {
        self.known.clear();
    }

    fn number_of(&mut self, words: String) -> u32 {
        if let Some(number) = self.numbers.get(&words) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        if self.words.len() < MOST_WORDS {
            self.words.push(words.clone());
            self.numbers.insert(words, number);
        }
        number
    }
}

/// The words for what a thread of a moment waits in now.
pub(super) fn words_for(sampler: &ProcessSampler, moment: &Moment, thread: &MomentThread) -> String {
    let process = sampler.process();
    let memory = process.memory();
    let call = thread.os_id.and_then(|os_id| process.system_call(os_id));
    // Others may hold what it waits for, whatever they wait in themselves.
    let view = |other: &MomentThread| {
        let call = call.filter(|_| other.stack.address == thread.stack.address);
        thread_view(sampler.codes(), moment, other, call)
    };
    let views: Vec<ThreadView<'_>> = moment.threads.iter().map(view).collect();
    let cache = PageCache::new(&memory);
    let place = moment.threads.iter().position(|other| other.stack.address == thread.stack.address);
    let found = blocked(&cache, sampler.runtime(), &views);
    match place.and_then(|place| found.into_iter().nth(place)).flatten() {
        Some(Blocked::Object(wait)) => object_words(sampler, moment, &wait),
        Some(Blocked::StoppedWorld) => STOPPED_WORLD.to_owned(),
        Some(Blocked::Gil) => "waits for the GIL".to_owned(),
        None => {
            let words = call.map(|call| call.describe(&memory, &process.descriptors()));
            let words = words.or_else(|| process.wait_channel(thread.os_id?));
            words.map_or_else(|| "waits".to_owned(), |words| format!("waits in {words}"))
        }
    }
}

/// The words for what the only thread of a moment went to sleep in, as it was recorded; it may have been woken since.
/// Who held what it waited for is not known any more. What objects are called is read now, of frames that still run
/// the same code.
pub(super) fn words_then(
    sampler: &ProcessSampler,
    moment: &Moment,
    thread: &MomentThread,
    then: &BlockedCall,
) -> String {
    let call = match then.off_cpu() {
        OffCpu::Call(call) => call,
        OffCpu::Stopped => return "is stopped".to_owned(),
        OffCpu::Fault => return "waits in a page fault".to_owned(),
    };
    let process = sampler.process();
    let memory = process.memory();
    let cache = PageCache::new(&memory);
    let memory_then = then.memory(&cache);
    let frame_layout = &sampler.runtime().layout.frame;
    let mut view = thread_view(sampler.codes(), moment, thread, Some(call));
    view.frames.retain(|frame| {
        let code = cache.read_u64(frame.address.wrapping_add(u64::from(frame_layout.code)));
        code.is_ok_and(|code| code & !frame_layout.tag_mask == frame.code)
    });
    match blocked(&memory_then, sampler.runtime(), &[view]).pop().flatten() {
        Some(Blocked::Object(wait)) => object_words(sampler, moment, &Wait { holder: None, ..wait }),
        Some(Blocked::StoppedWorld) => STOPPED_WORLD.to_owned(),
        Some(Blocked::Gil) => "waits for the GIL".to_owned(),
        None => {
            let channel = || thread.os_id.and_then(|os_id| process.wait_channel(os_id)).unwrap_or_default();
            let call = if call.name() == Some("restart_syscall") { call.resumed(&channel()) } else { call };
            format!("waits in {}", call.describe(&memory_then, &process.descriptors()))
        }
    }
}

fn object_words(sampler: &ProcessSampler, moment: &Moment, wait: &Wait) -> String {
    let is_holder = |other: &&MomentThread| other.exists && Some(other.stack.thread_id) == wait.holder;
    let holder = moment.threads.iter().find(is_holder).and_then(|holder| sampler.thread_name(holder));
    let name = holder.or(wait.joined.as_deref());
    match name {
        Some(name) if wait.operation == "Thread.join" => format!("waits in Thread.join for {name} to end"),
        Some(name) => format!("waits in {}, held by {name}", wait.operation),
        None => format!("waits in {}", wait.operation),
    }
}

/// A thread as those who look for locks need it; `call` is the system call that it is in.
pub(crate) fn thread_view<'read>(
    codes: &'read CodeTable,
    moment: &'read Moment,
    thread: &MomentThread,
    call: Option<SystemCall>,
) -> ThreadView<'read> {
    let frames = moment.frames_of(thread).iter().map(|frame| {
        let code = codes.get(frame.code);
        FrameView { address: frame.address, code: frame.code_address, name: &code.name, filename: &code.filename }
    });
    // Who holds the GIL does not wait for it any more, whatever it was in a moment ago.
    let waits = !thread.active && !thread.stack.holds_gil;
    ThreadView {
        ident: thread.stack.thread_id,
        state: thread.stack.innermost,
        interpreter: thread.running_in,
        frames: frames.collect(),
        futex: call.filter(|_| waits).and_then(|call| call.futex()),
        requests_gil: thread.stack.requests_gil && !thread.stack.holds_gil,
    }
}
