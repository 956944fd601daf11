//! Reads the stacks of a process into evidence: what was fetched, walked, and made sure of by a second look.

use super::code_check::CodeCheck;
use super::judged_stack::JudgedStack;
use crate::memory::{COMMON, CopiesFound, LastWord, ReadError, ReadFailure, ReadPlan, Reader, Snapshot};
use crate::process::{ImageIdentity, LiveMemory, Process};
use crate::python::code::{CodeTable, Known, Place};
use crate::python::runtime::Runtime;
use crate::python::stack::{RawFrame, Stacks};
use crate::sampler::attach::Attached;
use crate::sampler::consistency::read_mode::ReadMode;
use crate::sampler::consistency::records::ThreadRecords;
use crate::sampler::moment::SampleError;

/// How often a moving thread that may not be stopped is read again.
const TRIES: u32 = 8;

/// Reads stacks, and keeps those of the last sample.
#[derive(Debug)]
pub(super) struct StackReader {
    pub(super) runtime: Runtime,
    image: ImageIdentity,
    pub(super) snapshot: Snapshot<LiveMemory>,
    pub(super) codes: CodeTable,
    code_check: CodeCheck,
    pub(super) stacks: Stacks,
    /// What is known of each of the threads of `stacks`.
    pub(super) judged_stacks: Vec<JudgedStack>,
    /// The words that were read last in the call of this sample.
    pub(super) last: Vec<LastWord>,
}

/// How often a sample was read until its threads were those that it was planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    One,
    /// The lists of threads had changed: everything was read once more, when what was stopped ran again.
    Two,
}

impl StackReader {
    pub(super) fn new(process: &Process, attached: Attached) -> Self {
        Self {
            runtime: attached.runtime,
            image: attached.image,
            snapshot: Snapshot::new(process.memory()),
            codes: CodeTable::new(),
            code_check: CodeCheck::default(),
            stacks: Stacks::default(),
            judged_stacks: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Reads the stacks by the plan in `records`, and `last` after everything else in the same call. `on_fetched` is
    /// called after each planned fetch, before the walk.
    pub(super) fn read(
        &mut self,
        process: &Process,
        records: &mut ThreadRecords,
        last: Option<LastWord>,
        mut on_fetched: impl FnMut(),
    ) -> Result<Passes, SampleError> {
        self.last.clear();
        self.last.extend(last);
        let mut passes = Passes::One;
        if records.leaves_out_some() {
            self.fetch(process, records, false, &mut on_fetched)?;
            let leaves_out = |thread| records.leaves_out(thread);
            let walked = self.stacks.walk_known(&mut self.snapshot, &self.runtime, &leaves_out);
            if walked.map_err(|error| self.failure(process, error))? {
                self.collect_evidence(records, false);
                return Ok(passes);
            }
            records.note_all_resumed();
            passes = Passes::Two;
        }
        records.read_everything();
        self.fetch(process, records, false, &mut on_fetched)?;
        self.walk_everything(process, records, false)?;
        Ok(passes)
    }

    /// Reads all stacks while everything is stopped.
    pub(super) fn read_stopped(&mut self, process: &Process, records: &mut ThreadRecords) -> Result<(), SampleError> {
        self.last.clear();
        records.read_everything();
        self.fetch(process, records, true, &mut || ())?;
        self.walk_everything(process, records, true)
    }

    fn fetch(
        &mut self,
        process: &Process,
        records: &mut ThreadRecords,
        is_stopped: bool,
        on_fetched: &mut impl FnMut(),
    ) -> Result<(), SampleError> {
        let leaves_out_the_same = records.leaves_out_the_same();
        let plan = ReadPlan { copies_of: &|unit| records.copies_of(unit), leaves_out_the_same, is_stopped };
        self.snapshot.fetch_planned(&plan, &mut self.last);
        on_fetched();
        self.check_image(process)
    }

    fn walk_everything(
        &mut self,
        process: &Process,
        records: &mut ThreadRecords,
        is_stopped: bool,
    ) -> Result<(), SampleError> {
        let walked = self.stacks.walk(&mut self.snapshot, &self.runtime);
        walked.map_err(|error| self.failure(process, error))?;
        self.snapshot.join_owners(&self.stacks.joined());
        self.collect_evidence(records, is_stopped);
        Ok(())
    }

    /// Makes sure that it is still the same program that was read.
    fn check_image(&mut self, process: &Process) -> Result<(), SampleError> {
        self.snapshot.start_walk(COMMON);
        let place = self.image.proof_address();
        let words = [self.snapshot.volatile_word(place), self.snapshot.volatile_word(place.wrapping_add(8))];
        let mut bytes = [0; 16];
        for (target, word) in bytes.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.map_err(|error| self.failure(process, error))?.to_ne_bytes());
        }
        if self.image.is_proven_by(bytes) { Ok(()) } else { Err(SampleError::Exec) }
    }

    fn failure(&self, process: &Process, error: ReadError) -> SampleError {
        if error.failure == ReadFailure::Gone || process.has_exited() {
            SampleError::Exited
        } else if !self.image.is_still_in(self.snapshot.memory()) {
            SampleError::Exec
        } else {
            SampleError::Unreadable(error)
        }
    }

    /// Takes note of what the walks have shown, and judges them as far as that goes.
    fn collect_evidence(&mut self, records: &mut ThreadRecords, is_stopped: bool) {
        self.codes.begin_sample(self.stacks.code_generation());
        self.judged_stacks.clear();
        for thread in &self.stacks.threads {
            let mode = match (thread.is_left_out, is_stopped) {
                (true, _) => ReadMode::Unchanged,
                (false, true) => ReadMode::Stopped,
                (false, false) => records.mode_of(thread.address),
            };
            self.judged_stacks.push(JudgedStack::of_last_walk(&self.snapshot, records, thread, mode));
        }
    }

    /// Reads the code objects of the stacks that are not known, checks those that are due, and looks again at the
    /// stacks that need it, all together.
    pub(super) fn settle(&mut self, records: &ThreadRecords) {
        let Self { code_check, snapshot, codes, stacks, judged_stacks, runtime, .. } = self;
        code_check.settle(snapshot, codes, stacks, judged_stacks, &runtime.layout);
        for (judged, thread) in judged_stacks.iter_mut().zip(&stacks.threads) {
            judged.judge(records, thread);
        }
    }

    /// Looks again at all that one stack was read from.
    pub(super) fn revalidate(&mut self, index: usize) -> bool {
        let unit = self.stacks.threads[index].address;
        self.snapshot.revalidate(&[unit], &[]).units.first() == Some(&true)
    }

    /// Reads a thread that stands still once more. Whether its stack has an end and all of its frames run code.
    pub(super) fn read_stopped_thread(&mut self, index: usize, records: &mut ThreadRecords) -> bool {
        self.fetch_thread(index, true);
        self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
        let is_complete = !self.stacks.threads[index].is_truncated && self.knows_codes(index);
        let sample = records.sample();
        records.entry(self.stacks.threads[index].address).history.record_outcome(sample, is_complete);
        is_complete
    }

    /// Reads a moving thread's stack some times more, until two copies of it are equal; otherwise what is left is the
    /// last one that has an end and only functions that were seen before.
    pub(super) fn read_unstopped_thread(&mut self, index: usize, records: &mut ThreadRecords) {
        let mut best = self.stacks.threads[index];
        for _ in 0..TRIES {
            self.fetch_thread(index, false);
            self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
            let thread = self.stacks.threads[index];
            let judged = JudgedStack::of_last_walk(&self.snapshot, records, &thread, ReadMode::Twice);
            let frames = self.stacks.frames_of(&thread);
            if !thread.is_truncated && frames.iter().all(|frame| self.codes.knows(frame.code) != Known::Unknown) {
                best = thread;
                if judged.evidence.bytes.copies == CopiesFound::Equal {
                    break;
                }
            }
        }
        self.stacks.threads[index] = best;
    }

    /// Fetches the bytes of one thread anew, and begins another look at the code that its frames run: what was
    /// confirmed before may have made room for other code since.
    fn fetch_thread(&mut self, index: usize, is_stopped: bool) {
        let places = self.stacks.generation_places(&self.runtime);
        let mut counts: Vec<LastWord> = places.into_iter().map(LastWord::new).collect();
        self.snapshot.fetch_unit(self.stacks.threads[index].address, is_stopped, &mut counts);
        let counts: Vec<Option<u64>> = counts.iter().map(|count| count.value).collect();
        self.codes.begin_look(Stacks::sum_of_generations(&counts));
    }

    /// Sees to it that all code of a thread's frames is known. Whether all of it is code.
    pub(super) fn knows_codes(&mut self, index: usize) -> bool {
        let frames = self.stacks.frames_of(&self.stacks.threads[index]);
        self.code_check.read_codes(&mut self.snapshot, &mut self.codes, frames, &self.runtime.layout)
    }

    /// Where in which code a frame is.
    pub(super) fn resolve(&mut self, frame: &RawFrame) -> Option<Place> {
        self.codes.resolve(self.snapshot.memory(), &self.runtime.layout, frame)
    }
}
