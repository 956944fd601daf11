//! Recording what the kernel samples: its rings are emptied some times a second, and we look at the processes only for
//! what it does not see: which threads there are, what they are called, who waits.

use std::ops::Range;
use std::time::{Duration, Instant};

use foldhash::HashSet;

use super::kernel_sources::KernelSources;
use super::{Recorder, micros};
use crate::process::{Registers, ThreadId, monotonic_time};
use crate::sampler::blocked_threads::OffCpuSums;
use crate::sampler::kernel::{
    BlockState, Contents, KernelFunction, KernelSymbols, KernelTask, Record, Records, Unavailable, Woken, check_rights,
};
use crate::sampler::kernel_member::{KernelMember, KernelPart, LeftCpu};
use crate::sampler::last_seen::LastSeen;
use crate::sampler::members::Member;
use crate::sampler::moment::{Moment, Pausing};
use crate::sampler::process_sampler::FromKernel;
use crate::sampler::record_options::{KernelUse, RecordOptions};

/// The highest rate: beyond it timers do not keep up.
pub(crate) const HIGHEST_RATE: u32 = 20_000;

/// What the kernel does for a recording.
#[derive(Debug)]
pub(in crate::sampler) struct KernelSampling {
    is_a_must: bool,
    /// What samples a version is not waited for: those of a program that we have started, and of whatever comes in the
    /// course of the recording, are read meanwhile.
    loads_meanwhile: bool,
    /// The names of the kernel's functions, where they are wanted.
    symbols: Option<&'static KernelSymbols>,
    /// What there was of blocks, where they are asked for.
    pub(super) off_cpu: Option<OffCpuSums>,
    /// When the recording began and ended, ns of `CLOCK_MONOTONIC`: nothing counts that was before or after.
    pub(super) span_ns: Range<u64>,
    sources: KernelSources,
    records: Records,
    pub(super) moment: Moment,
    /// The threads of a member that wait.
    waiting: Moment,
    /// Somebody looks on: it is kept where threads were seen last.
    pub(super) is_looked_on: bool,
    pub(super) counts: KernelCounts,
    /// Why it does not sample what it should.
    failure: Option<Unavailable>,
}

/// How many samples there were.
#[derive(Debug, Default)]
pub(super) struct KernelCounts {
    /// Those that came from the kernel.
    pub(super) taken: u64,
    /// Those of them in which a thread did not run but wanted a CPU.
    pub(super) waits: u64,
    /// Those that should have come.
    pub(super) lost: u64,
    /// Both as of the last word to who looks on.
    told: (u64, u64),
}

impl KernelSampling {
    /// For a recording that begins now with so many samples a second, if it is wanted and allowed.
    pub(super) fn new(options: &RecordOptions, rate: u32) -> Option<Self> {
        let is_a_must = options.kernel == KernelUse::Always;
        let mut failure = match options.kernel {
            KernelUse::Never => return None,
            KernelUse::WherePossible if rate > HIGHEST_RATE => return None,
            KernelUse::WherePossible | KernelUse::Always => check_rights().err(),
        };
        let symbols = options.frames.kernel.then(KernelSymbols::of_this_machine).transpose();
        let symbols = symbols.map_err(|error| failure.get_or_insert(error)).ok().flatten();
        if failure.is_some() && !is_a_must {
            return None;
        }
        let task = match options.off_cpu {
            Some(_) => KernelTask::Blocks,
            None => KernelTask::Samples {
                period_ns: 1_000_000_000 / u64::from(rate.max(1)),
                contents: Contents {
                    native: options.native.frames,
                    of_stateless: options.native.threads,
                    of_sleeping: options.native.frames && options.filter.idle,
                    kernel: symbols.is_some(),
                },
            },
        };
        Some(Self {
            is_a_must,
            loads_meanwhile: options.processes.adopt && options.off_cpu.is_none(),
            symbols,
            off_cpu: options.off_cpu.map(OffCpuSums::new),
            span_ns: monotonic_ns()..u64::MAX,
            sources: KernelSources::new(task),
            records: Records::default(),
            moment: Moment::default(),
            waiting: Moment::default(),
            is_looked_on: false,
            counts: KernelCounts::default(),
            failure,
        })
    }

    /// With which registers a thread of a process that a source samples went to sleep the last time.
    pub(super) fn registers_asleep(&self, source: usize, pid: u32, thread: ThreadId) -> Option<Registers> {
        self.sources.loaded.get(source)?.source.registers_asleep(pid, thread)
    }

    /// The recording has begun: what comes from now on is read until what samples it is loaded. Blocks cannot be read.
    pub(super) fn load_meanwhile(&mut self) {
        self.loads_meanwhile = self.off_cpu.is_none();
    }

    /// The share of its samples that arrived.
    pub(super) fn share_taken(&self) -> f64 {
        let KernelCounts { taken, lost, .. } = self.counts;
        if taken == 0 { 1.0 } else { taken as f64 / (taken + lost) as f64 }
    }

    /// The same of those since the last call.
    pub(super) fn new_share_taken(&mut self) -> f64 {
        let KernelCounts { taken, lost, told, .. } = &mut self.counts;
        let before = std::mem::replace(told, (*taken, *lost));
        let (taken, lost) = (taken.saturating_sub(before.0), lost.saturating_sub(before.1));
        if taken == 0 { 1.0 } else { taken as f64 / (taken + lost) as f64 }
    }

    /// Whether it samples anything.
    pub(super) fn has_sources(&self) -> bool {
        !self.sources.loaded.is_empty()
    }

    /// Takes all records out of the rings and forgets them, and those that found no room there.
    pub(super) fn discard(&mut self) {
        for from in &mut self.sources.loaded {
            from.empty_ring(&mut self.records);
            from.dropped = from.source.dropped();
        }
        self.records.clear();
    }

    /// What of a moment we see ourselves though the kernel samples the process: the threads that do not run.
    pub(super) fn waiting_of(&mut self, moment: &Moment) -> &Moment {
        self.waiting.clear();
        self.waiting.frames.extend_from_slice(&moment.frames);
        self.waiting.threads.extend(moment.threads.iter().filter(|thread| !thread.active));
        self.waiting.native_threads.extend(moment.native_threads.iter().filter(|thread| !thread.active));
        self.waiting.native.clone_from(&moment.native);
        self.waiting.lasts = moment.lasts;
        &self.waiting
    }

    /// What a source knows of whether a thread of a member is blocked.
    pub(super) fn block_state(&self, member: &Member, thread: u32) -> Option<BlockState> {
        let source = self.sources.loaded.get(member.kernel.member()?.source)?;
        Some(source.source.block_state(member.process.pid().unsigned_abs(), thread))
    }

    /// `None` while its program is being loaded.
    fn add_process(&mut self, member: &Member) -> Result<Option<KernelMember>, Unavailable> {
        let sampler = member.sampler.as_ref().ok_or(Unavailable::Version)?;
        let [interpreter] = sampler.interpreters() else { return Err(Unavailable::Interpreters) };
        let runtime = sampler.runtime();
        let Some(index) = self.sources.source_for(&runtime.layout, !self.loads_meanwhile)? else { return Ok(None) };
        let run = self.sources.loaded[index].source.add_process(&member.process, runtime, interpreter.address)?;
        let mut added = KernelMember::new(index, run, monotonic_ns());
        added.last_seen = self.is_looked_on.then(LastSeen::default);
        if self.off_cpu.is_some() {
            // Those that sleep now are known only by their stacks.
            added.look_soon();
        }
        Ok(Some(added))
    }
}

impl Recorder<'_> {
    /// Has the kernel sample what there is, before the recording begins.
    pub(in crate::sampler) fn start_kernel(&mut self) {
        if self.kernel.is_none() {
            return;
        }
        self.meet_kernel();
        let now = Instant::now();
        self.setup.start = now;
        self.members.iter_mut().for_each(|member| member.visits.last_tick = now);
        // What is in the rings already tells of threads that wait for a CPU now.
        if let Some(kernel) = &mut self.kernel {
            kernel.load_meanwhile();
            kernel.span_ns.start = monotonic_ns();
        }
    }

    /// Why what must be sampled by the kernel is not.
    pub(in crate::sampler) fn kernel_failure(&self) -> Option<String> {
        let kernel = self.kernel.as_ref().filter(|kernel| kernel.is_a_must)?;
        let failure = kernel.failure.as_ref()?;
        Some(match kernel.off_cpu {
            Some(_) => format!("the kernel cannot tell when its threads are blocked: {failure}"),
            None => format!("the kernel cannot take its samples: {failure}; --sampler=reader does without"),
        })
    }

    /// Has the kernel sample the processes that have been looked at, and leave alone those that are gone.
    pub(in crate::sampler) fn meet_kernel(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        for (index, known) in kernel.sources.loaded.iter_mut().enumerate() {
            let members = &self.members;
            known.source.keep_only(|pid| {
                let is_it = |member: &&Member| member.process.pid().unsigned_abs() == pid;
                let member = members.iter().find(is_it).and_then(|member| member.kernel.member());
                member.is_some_and(|member| member.source == index)
            });
        }
        for member in self.members.iter_mut().filter(|member| !member.kernel.is_refused()) {
            let Some(sampler) = &mut member.sampler else { continue };
            // A new one is looked at first; what cannot be read is so at the next tick, too.
            let is_new = sampler.interpreters().is_empty();
            if is_new && sampler.sample_waiting(Pausing::Never, &|_| None, &mut member.moment).is_err() {
                continue;
            }
            if member.kernel.samples() && sampler.interpreters().len() == 1 {
                continue;
            }
            match kernel.add_process(member) {
                Ok(Some(added)) => member.kernel = KernelPart::Samples(Box::new(added)),
                Ok(None) => {}
                Err(unavailable) => {
                    let pid = member.process.pid();
                    log::debug!("process {pid}: not sampled by the kernel: {unavailable}");
                    member.kernel = KernelPart::Refused;
                    if kernel.failure.is_none() && !kernel.is_a_must {
                        self.report.note(format!("process {pid} is not sampled in the kernel: {unavailable}"));
                    }
                    kernel.failure.get_or_insert(unavailable);
                }
            }
        }
    }

    /// Waits so long, or until the kernel has something that is better looked at soon, and takes that. Whether the only
    /// process has exited.
    pub(super) fn wait_for_kernel(&mut self, limit: Duration) -> bool {
        let only = match &self.members[..] {
            [only] => Some(&only.process),
            _ => None,
        };
        let woken = self.kernel.as_ref().map_or_else(Woken::default, |kernel| kernel.sources.wait(only, limit));
        if woken.by_ring {
            self.take_from_kernel();
        }
        woken.by_exit && matches!(&self.members[..], [only] if only.process.has_exited())
    }

    /// Whether the kernel samples anything.
    pub(super) fn kernel_samples(&self) -> bool {
        self.kernel.as_ref().is_some_and(KernelSampling::has_sources)
    }

    /// Puts what the kernel has recorded into the profile.
    pub(super) fn take_from_kernel(&mut self) {
        if self.discard_after_gap() {
            return;
        }
        let Some(mut kernel) = self.kernel.take() else { return };
        for index in 0..kernel.sources.loaded.len() {
            kernel.sources.loaded[index].empty_ring(&mut kernel.records);
            if kernel.records.is_empty() {
                continue;
            }
            let of_records: HashSet<u32> = kernel.records.iter().map(|record| record.pid).collect();
            for place in 0..self.members.len() {
                let member = &self.members[place];
                let is_of_source = member.kernel.member().is_some_and(|member| member.source == index);
                if is_of_source && of_records.contains(&member.process.pid().unsigned_abs()) {
                    self.take_records(&mut kernel, index, place);
                }
            }
        }
        self.kernel = Some(kernel);
        self.visit_executed();
    }

    /// Looks at the members that have executed another program, so that its interpreter is looked for from now on.
    fn visit_executed(&mut self) {
        for index in 0..self.members.len() {
            let state = self.members[index].kernel.member_mut();
            if let Some(state) = state.filter(|state| state.has_executed) {
                state.has_executed = false;
                state.look_soon();
                self.visit(index, Duration::ZERO, false);
            }
        }
    }

    /// Counts the records as lost that have found no room in a ring since the last time.
    pub(super) fn count_dropped(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        for known in &mut kernel.sources.loaded {
            let dropped = known.source.dropped();
            let new = dropped - std::mem::replace(&mut known.dropped, dropped).min(dropped);
            kernel.counts.lost += new;
            self.profile.metadata.counts.lost += new;
        }
    }

    /// Puts the records of one process into the profile.
    fn take_records(&mut self, kernel: &mut KernelSampling, index: usize, place: usize) {
        let member = &mut self.members[place];
        let (Some(sampler), Some(state)) = (&mut member.sampler, member.kernel.member()) else { return };
        let pid = member.process.pid().unsigned_abs();
        let run = state.run;
        let is_its = |record: &&Record| record.pid == pid && record.run == run;
        let is_new = |record: &Record| record.state != 0 && !sampler.knows_thread_of(record);
        if kernel.records.iter().filter(is_its).any(is_new) {
            // Threads that have come since the last look.
            let _ = sampler.sample_waiting(Pausing::Never, &|_| None, &mut member.moment);
        }
        let news = sampler.check_kernel_codes(&kernel.records);
        kernel.sources.loaded[index].source.tell_of_codes(pid, &news);
        let records = std::mem::take(&mut kernel.records);
        if kernel.off_cpu.is_some() {
            self.take_blocks(kernel, &records, place, is_its);
        } else {
            for record in records.iter().filter(is_its) {
                self.take_record(kernel, &records, record, place);
            }
        }
        if let Some(state) = self.members[place].kernel.member_mut() {
            state.has_executed |= records.iter().filter(is_its).any(Record::executed);
        }
        kernel.records = records;
    }

    fn take_record(&mut self, kernel: &mut KernelSampling, records: &Records, record: &Record, place: usize) {
        let left = self.members[place].kernel.member_mut().and_then(|member| member.left.remove(&record.os_id));
        let delay_ns = record.times.delay_since_left_ns;
        if let Some(left) = left.filter(|_| delay_ns > 0) {
            left.fill(&mut kernel.moment);
            kernel.counts.waits += self.add_from_kernel(kernel, place, (left.time_ns + delay_ns, delay_ns));
        }
        if !record.ran() && !record.left_cpu() {
            return;
        }
        let Some(sampler) = &mut self.members[place].sampler else { return };
        match sampler.emit_from_kernel(records, record, &mut kernel.moment) {
            FromKernel::Emitted => {
                if let Some(symbols) = kernel.symbols {
                    kernel.moment.of_kernel.frames.extend(functions(records.kernel_frames(record), symbols));
                }
                let times = record.times;
                if let Some(member) = self.members[place].kernel.member_mut() {
                    if record.left_cpu() {
                        let left = LeftCpu::of(&kernel.moment, times.made_ns, record.went_to_sleep());
                        member.left.insert(record.os_id, left);
                    }
                    let is_active = kernel.moment.threads.first().is_none_or(|thread| thread.active);
                    if let Some(seen) = member.last_seen.as_mut().filter(|_| is_active) {
                        let wants_cpu = record.left_cpu() && !record.went_to_sleep();
                        seen.note_record(&kernel.moment, times.made_ns, wants_cpu);
                    }
                }
                // Until it came onto the CPU that it leaves now it may have waited for that.
                if times.active_ns() > 0 {
                    let taken = self.add_from_kernel(kernel, place, (times.made_ns, times.active_ns()));
                    kernel.counts.waits += if record.ran() { 0 } else { taken };
                }
            }
            FromKernel::NotActive => {}
            FromKernel::Frameless => self.members[place].cpu_time.add_frameless(record.times.active_ns() / 1000),
            FromKernel::Lost => {
                kernel.counts.lost += 1;
                self.profile.metadata.counts.lost += 1;
            }
        }
    }

    /// Puts the moment of the kernel into the profile, which stands for so many ns before a time, ns: what of them is
    /// in the recording. How many samples came of it.
    fn add_from_kernel(&mut self, kernel: &mut KernelSampling, place: usize, (time_ns, weight_ns): (u64, u64)) -> u64 {
        let from_ns = time_ns.saturating_sub(weight_ns).max(kernel.span_ns.start);
        let time_ns = time_ns.min(kernel.span_ns.end);
        let Some(weight_ns) = time_ns.checked_sub(from_ns).filter(|weight_ns| *weight_ns > 0) else { return 0 };
        let time_us = (time_ns - kernel.span_ns.start) / 1000;
        let member = &mut self.members[place];
        let (Some(sampler), Some(builder), Some(state)) =
            (&member.sampler, &mut member.builder, member.kernel.member_mut())
        else {
            return 0;
        };
        let weight_us = state.whole_us(weight_ns);
        let before = self.profile.metadata.counts.taken;
        kernel.counts.taken += 1;
        member.cpu_time.add_ran(weight_us);
        builder.add(&mut self.profile, &self.options.filter, sampler, &kernel.moment, (time_us, weight_us));
        let (profile, moment) = (&mut self.profile, &kernel.moment);
        let function = |index: usize| builder.function_of(profile, sampler, moment, index);
        self.sums.add_ran(member.process.pid(), moment, weight_us, function);
        self.profile.metadata.counts.taken.saturating_sub(before)
    }

    /// Empties the rings for the last time, and counts what is missing.
    pub(in crate::sampler) fn end_kernel(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.span_ns.end = kernel.span_ns.start + self.profile.metadata.duration_us * 1000;
        }
        self.take_and_count();
        self.add_waits_that_last();
        self.end_blocks();
        self.profile.metadata.rate_held = self.rate_held();
    }

    /// Puts what the kernel has recorded into the profile, and counts what it has not.
    pub(super) fn take_and_count(&mut self) {
        // Counted first: what runs on meanwhile is in the ring, and not missing.
        let counted: Vec<u64> = self.kernel.iter().flat_map(|kernel| kernel.sources.counted_ns()).collect();
        self.take_from_kernel();
        self.count_dropped();
        let Some(kernel) = &mut self.kernel else { return };
        for (known, counted_ns) in kernel.sources.loaded.iter_mut().zip(counted) {
            let missed = known.source.missed(counted_ns, known.recorded_ns);
            // A time that has no record yet may get one.
            let new = missed.cast_signed() - std::mem::replace(&mut known.missed, missed).cast_signed();
            log::debug!("{missed} samples of the kernel were missed");
            for lost in [&mut kernel.counts.lost, &mut self.profile.metadata.counts.lost] {
                *lost = lost.saturating_add_signed(new);
            }
        }
    }

    /// Puts the waits for a CPU into the profile that are not over: threads that want one and have not been seen to get
    /// it.
    fn add_waits_that_last(&mut self) {
        let Some(mut kernel) = self.kernel.take() else { return };
        for place in 0..self.members.len() {
            let left = self.members[place].kernel.member_mut().map(|member| std::mem::take(&mut member.left));
            let process = self.members[place].process.clone();
            let wants_cpu = |thread: u32| {
                process.thread_state(ThreadId::from(thread)).is_ok_and(|reading| reading.activity.is_running())
            };
            for (thread, left) in left.into_iter().flatten().filter(|(_, left)| !left.went_to_sleep) {
                if let Some(wait_ns) = kernel.span_ns.end.checked_sub(left.time_ns).filter(|_| wants_cpu(thread)) {
                    left.fill(&mut kernel.moment);
                    let taken = self.add_from_kernel(&mut kernel, place, (left.time_ns + wait_ns, wait_ns));
                    kernel.counts.waits += taken;
                }
            }
        }
        self.kernel = Some(kernel);
    }

    /// How many samples a second there were: of the kernel's, as many as were asked for, less those that are lost.
    pub(super) fn rate_held(&self) -> f64 {
        match self.kernel.as_ref().filter(|kernel| !kernel.sources.loaded.is_empty()) {
            Some(kernel) => self.profile.metadata.rate_asked * kernel.share_taken(),
            None => self.ticks as f64 / self.setup.start.elapsed().as_secs_f64().max(1e-9),
        }
    }
}

/// The functions of a stack in the kernel, whose first address is the next instruction, and whose others are where
/// calls return to: that may be the next function.
fn functions(addresses: impl Iterator<Item = u64>, symbols: &KernelSymbols) -> impl Iterator<Item = KernelFunction> {
    addresses.enumerate().map(|(index, address)| symbols.find(address - u64::from(index > 0)))
}

/// ns of `CLOCK_MONOTONIC`.
pub(super) fn monotonic_ns() -> u64 {
    monotonic_time().map_or(0, |time| micros(time).saturating_mul(1000))
}
