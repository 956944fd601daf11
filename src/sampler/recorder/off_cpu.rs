//! Recording how long threads are blocked, from what the kernel tells: when each goes to sleep, with its stack, and
//! when it is woken. What is left to us is to name the stacks, and to look at those that sleep: what they wait in can
//! be told better while they do, and of those that slept before we came the kernel knows no stack.

use std::collections::HashMap;
use std::time::Duration;

use super::Recorder;
use super::kernel_ticks::{KernelSampling, monotonic_ns};
use crate::process::ThreadId;
use crate::sampler::blocked_threads::{Block, BlockedStack, OffCpuSums, PIECE_NS};
use crate::sampler::kernel::{BlockState, Record, Records};
use crate::sampler::members::Member;
use crate::sampler::process_sampler::FromKernel;
use crate::sampler::wait_words::words_for;

impl Recorder<'_> {
    /// Takes the records of one process that `is_its` picks: blocks begin and end.
    pub(super) fn take_blocks(
        &mut self,
        kernel: &mut KernelSampling,
        records: &Records,
        place: usize,
        is_its: impl Fn(&&Record) -> bool,
    ) {
        let mut began: HashMap<u32, &Record> = HashMap::new();
        for record in records.iter().filter(is_its).filter(|record| record.is_blocked() || record.woke()) {
            let Some(member) = self.members[place].kernel.member_mut() else { return };
            let open = member.blocks.open.remove(&record.os_id);
            if record.is_blocked() {
                // Of one that is not over its end did not find room in the ring.
                if open.is_some() || began.insert(record.os_id, record).is_some() {
                    self.lose_block(kernel, "nothing tells of its end");
                }
            } else if let Some(first) = began.remove(&record.os_id) {
                self.add_whole_block(kernel, place, records, first, record.times.made_ns);
            } else if let Some(block) = open {
                self.end_block(kernel, place, &block, record.times.made_ns);
            }
        }
        for record in began.into_values() {
            if let Some(block) = self.name_block(kernel, place, records, record)
                && let Some(member) = self.members[place].kernel.member_mut()
            {
                member.blocks.open.insert(record.os_id, block);
            }
        }
        if let Some(member) = self.members[place].kernel.member_mut() {
            member.blocks.forget_words();
        }
    }

    /// Adds a block whose end came with its beginning.
    fn add_whole_block(
        &mut self,
        kernel: &mut KernelSampling,
        place: usize,
        records: &Records,
        record: &Record,
        end_ns: u64,
    ) {
        let length_ns = kernel.length_ns(record.times.made_ns, end_ns);
        if kernel.off_cpu.as_mut().is_some_and(|sums| length_ns == 0 || sums.leaves_out(length_ns)) {
            return;
        }
        if let Some(block) = self.name_block(kernel, place, records, record) {
            self.add_block(kernel, place, &block, end_ns);
        }
    }

    /// The block that a record begins, if its stack can be told.
    fn name_block(
        &mut self,
        kernel: &mut KernelSampling,
        place: usize,
        records: &Records,
        record: &Record,
    ) -> Option<Block> {
        let sampler = self.members[place].sampler.as_mut()?;
        match sampler.emit_blocked(records, record, &mut kernel.moment) {
            FromKernel::Emitted => {
                let thread = kernel.moment.threads.first()?;
                Some(Block {
                    began_ns: Some(record.times.made_ns),
                    since_ns: record.times.made_ns,
                    is_counted: false,
                    stack: Some(BlockedStack::of(&kernel.moment, thread)),
                    call: records.call(record),
                    words: None,
                })
            }
            FromKernel::NotActive | FromKernel::Frameless => None,
            FromKernel::Lost => {
                self.lose_block(kernel, "its stack could not be named");
                None
            }
        }
    }

    /// A block is over, or the recording.
    fn end_block(&mut self, kernel: &mut KernelSampling, place: usize, block: &Block, end_ns: u64) {
        let length_ns = kernel.length_ns(block.since_ns, end_ns);
        if length_ns == 0 {
            return;
        }
        if !block.is_counted && kernel.off_cpu.as_mut().is_some_and(|sums| sums.leaves_out(length_ns)) {
            return;
        }
        self.add_block(kernel, place, block, end_ns);
    }

    /// Puts what of a block does not count yet into the profile.
    fn add_block(&mut self, kernel: &mut KernelSampling, place: usize, block: &Block, end_ns: u64) {
        let Some(stack) = &block.stack else { return self.lose_block(kernel, "its stack is forgotten") };
        let length_ns = kernel.length_ns(block.since_ns, end_ns);
        let member = &mut self.members[place];
        let (Some(sampler), Some(builder), Some(state)) =
            (&member.sampler, &mut member.builder, member.kernel.member_mut())
        else {
            return;
        };
        stack.fill(&mut kernel.moment);
        state.blocks.add_words(sampler, block, &mut kernel.moment);
        // Both ends are rounded in the same way, so that one piece begins where the last one ended.
        let since_start = |time_ns: u64| time_ns.clamp(kernel.span_ns.start, kernel.span_ns.end) - kernel.span_ns.start;
        let (from_us, time_us) = (since_start(block.since_ns) / 1000, since_start(end_ns) / 1000);
        let before = self.profile.metadata.counts.taken;
        builder.add(&mut self.profile, &self.options.filter, sampler, &kernel.moment, (time_us, time_us - from_us));
        kernel.counts.taken += 1;
        if let Some(sums) = kernel.off_cpu.as_mut().filter(|_| self.profile.metadata.counts.taken > before) {
            sums.recorded += u64::from(!block.is_counted);
            sums.recorded_ns = sums.recorded_ns.saturating_add(length_ns);
        }
    }

    fn lose_block(&mut self, kernel: &mut KernelSampling, why: &str) {
        log::debug!("a block is lost: {why}");
        kernel.counts.lost += 1;
        self.profile.metadata.counts.lost += 1;
    }

    /// Takes from the last look at a member what the kernel does not tell: the stacks of threads that have slept since
    /// before we came, and what those that still sleep wait in.
    pub(super) fn look_at_blocks(&mut self, index: usize) {
        let Self { members, kernel, .. } = self;
        let Some(kernel) = kernel.as_ref().filter(|kernel| kernel.off_cpu.is_some()) else { return };
        let member = &members[index];
        let (Some(sampler), Some(state)) = (&member.sampler, member.kernel.member()) else { return };
        let mut looked = Vec::new();
        let asleep = member.moment.threads.iter().filter(|thread| !thread.active && member.moment.has_stack(thread));
        for thread in asleep {
            let Some(id) = thread.os_id.and_then(|id| u32::try_from(id).ok()) else { continue };
            let known = state.blocks.open.get(&id);
            if known.is_some_and(|block| block.stack.is_some() && (block.words.is_some() || thread.waits_for_gil)) {
                continue;
            }
            let expected = match known.map(|block| block.began_ns) {
                Some(Some(began_ns)) => BlockState::Since(began_ns),
                Some(None) | None => BlockState::SinceBefore,
            };
            // Before and after: then it was so in between.
            if kernel.block_state(member, id) != Some(expected) {
                continue;
            }
            let words = (!thread.waits_for_gil).then(|| words_for(sampler, &member.moment, thread));
            let since_ns = if known.is_none() { kernel.slept_since_ns(member, state.added_ns, id) } else { 0 };
            if kernel.block_state(member, id) == Some(expected) {
                looked.push((id, since_ns, BlockedStack::of(&member.moment, thread), words));
            }
        }
        let Some(state) = members[index].kernel.member_mut() else { return };
        for (id, since_ns, stack, words) in looked {
            let new = Block { began_ns: None, since_ns, is_counted: false, stack: None, call: None, words: None };
            let block = state.blocks.open.entry(id).or_insert(new);
            let is_in_futex = block.call.is_some_and(|call| call.futex().is_some());
            block.words.clone_from(&words);
            let stack = block.stack.get_or_insert(stack).clone();
            if let Some(words) = words.filter(|_| is_in_futex) {
                state.blocks.learn(&stack, &words);
            }
        }
    }

    /// Puts what there is so far of blocks into the profile that last: of those that have lasted for a piece, or of
    /// all.
    pub(super) fn cut_blocks(&mut self, are_all: bool) {
        let Some(mut kernel) = self.kernel.take_if(|kernel| kernel.off_cpu.is_some()) else { return };
        let now_ns = monotonic_ns();
        let min_block_ns = kernel.off_cpu.map_or(0, |sums| sums.min_block_ns);
        for place in 0..self.members.len() {
            let Some(state) = self.members[place].kernel.member_mut() else { continue };
            let mut open = std::mem::take(&mut state.blocks.open);
            for (id, block) in open.iter_mut().filter(|(_, block)| block.stack.is_some()) {
                let length_ns = kernel.length_ns(block.since_ns, now_ns);
                let is_due = length_ns > 0 && (are_all || length_ns >= PIECE_NS);
                let is_long = block.is_counted || length_ns >= min_block_ns;
                let expected = block.began_ns.map_or(BlockState::SinceBefore, BlockState::Since);
                if is_due && is_long && kernel.block_state(&self.members[place], *id) == Some(expected) {
                    self.add_block(&mut kernel, place, block, now_ns);
                    (block.since_ns, block.is_counted) = (now_ns, true);
                }
            }
            if let Some(state) = self.members[place].kernel.member_mut() {
                state.blocks.open = open;
            }
        }
        self.kernel = Some(kernel);
    }

    /// The recording ends: so do all blocks.
    pub(super) fn end_blocks(&mut self) {
        let Some(mut kernel) = self.kernel.take_if(|kernel| kernel.off_cpu.is_some()) else { return };
        let end_ns = kernel.span_ns.end;
        for place in 0..self.members.len() {
            let open = self.members[place].kernel.member_mut().map(|state| std::mem::take(&mut state.blocks.open));
            for block in open.into_iter().flat_map(|open| open.into_values()) {
                self.end_block(&mut kernel, place, &block, end_ns);
            }
        }
        self.kernel = Some(kernel);
    }

    /// What there was of blocks, where they were asked for.
    pub(super) fn off_cpu_sums(&self) -> Option<OffCpuSums> {
        self.kernel.as_ref()?.off_cpu
    }
}

impl KernelSampling {
    /// Since when a thread sleeps that has slept since before its process was added, as far as that is in the
    /// recording, ns of `CLOCK_MONOTONIC`.
    fn slept_since_ns(&self, member: &Member, added_ns: u64, thread: u32) -> u64 {
        let begin_ns = self.span_ns.start;
        if added_ns <= begin_ns {
            return begin_ns;
        }
        // One that came in the course of the recording was found some time after it had begun.
        let (thread, now_ns) = (ThreadId::from(thread), monotonic_ns());
        let asleep = member.process.asleep_for(&[thread]).get(&thread).map(Duration::as_nanos);
        let asleep_ns = asleep.and_then(|ns| u64::try_from(ns).ok());
        asleep_ns.map_or(added_ns, |ns| now_ns.saturating_sub(ns).min(added_ns)).max(begin_ns)
    }

    /// How much of a time is in the recording, ns.
    fn length_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.min(self.span_ns.end).saturating_sub(from_ns.max(self.span_ns.start))
    }
}
