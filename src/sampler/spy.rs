//! Reads one process: what every thread of it was doing at one moment, with a proof or with a stop.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::attach::Attached;
use super::kernel_names::KernelNames;
use super::moment::{Assurance, Moment, MomentFrame, MomentThread, Pausing, SampleError};
use super::native::Native;
use super::rest::Rest;
use super::settle::Settler;
use super::threads::Threads;
use crate::memory::{COMMON, ReadFailure, Snapshot, Verdict};
use crate::process::{ImageIdentity, LiveMemory, Process, ThreadId, ThreadLook, ThreadStates};
use crate::python::code::{CodeTable, Place};
use crate::python::interpreter::InterpreterState;
use crate::python::runtime::Runtime;
use crate::python::stack::{Stacks, ThreadStack};

mod activity;
mod beside;
mod capture;
mod cpu_word;
mod holding;
mod native_threads;

use beside::Beside;
use holding::Held;
use native_threads::NativeThreads;

/// How often thread names are read.
const NAMES_EVERY: Duration = Duration::from_secs(1);

/// A reader of one process.
#[derive(Debug)]
pub struct Spy {
    process: Process,
    runtime: Runtime,
    image: ImageIdentity,
    snapshot: Snapshot<LiveMemory>,
    codes: CodeTable,
    stacks: Stacks,
    threads: Threads,
    kernel_names: KernelNames,
    states: ThreadStates,
    names_read: Option<Instant>,
    known_states: usize,
    trouble: Trouble,
    settler: Settler,
    /// The threads as they were seen when this sample began.
    looks: HashMap<ThreadId, ThreadLook, foldhash::fast::RandomState>,
    rest: Rest,
    beside: Beside,
    native: Option<Box<Native>>,
    native_threads: Option<NativeThreads>,
}

/// How often a sample was read until its threads were those that it was begun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Once,
    /// Once more, when what was held had been let go.
    Again,
}

/// Things about pausing worth telling once.
#[derive(Debug, Default, Clone)]
pub struct Trouble {
    /// Why a pause failed, the first time.
    pub pause: Option<String>,
}

impl Spy {
    /// A reader of the interpreter that was found in `process`.
    pub fn new(process: Process, attached: Attached) -> Self {
        Self {
            snapshot: Snapshot::new(process.memory()),
            states: process.thread_states(),
            process,
            runtime: attached.runtime,
            image: attached.image,
            codes: CodeTable::new(),
            stacks: Stacks::default(),
            threads: Threads::new(),
            kernel_names: KernelNames::default(),
            names_read: None,
            known_states: 0,
            trouble: Trouble::default(),
            settler: Settler::default(),
            looks: HashMap::default(),
            rest: Rest::default(),
            beside: Beside::default(),
            native: None,
            native_threads: None,
        }
    }

    /// From now on native frames are read too, of idle threads if `idle`; a thread is stopped for that.
    pub fn read_native(&mut self, idle: bool) {
        self.native = Some(Box::new(Native::new(self.process.clone(), idle)));
    }

    /// The reader of native frames, if they are read.
    pub fn native(&self) -> Option<&Native> {
        self.native.as_deref()
    }

    /// Waits for the lines of native code that was met, at most so long. Without that they are there some time later.
    pub fn wait_for_lines(&mut self, limit: Duration) {
        if let Some(native) = &mut self.native {
            native.wait_for_lines(limit);
        }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The main interpreter, as of the last sample.
    pub fn main_interpreter(&self) -> Option<&InterpreterState> {
        self.stacks.interpreters.first()
    }

    /// The code that was seen.
    pub fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// What went wrong with pausing so far.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// Forgets all code; what was told of it by number means nothing any more.
    pub fn forget_codes(&mut self) {
        self.codes = CodeTable::new();
        // It keeps frames with such numbers.
        self.rest = Rest::default();
    }

    /// The snapshot, for its counts.
    pub fn snapshot(&self) -> &Snapshot<LiveMemory> {
        &self.snapshot
    }

    /// The name of a thread, as last known.
    pub fn thread_name(&self, thread: &MomentThread) -> Option<&str> {
        let name = self.threads.name(&self.process, &thread.interpreter, &thread.stack);
        name.or_else(|| self.kernel_names.of(thread.os_id?))
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// When there is nothing to sample any more, or not at this moment.
    pub fn sample(&mut self, pausing: Pausing, moment: &mut Moment) -> Result<(), SampleError> {
        moment.clear();
        let pausing = self.begin_native(pausing, moment);
        // A stop changes the state that the system shows, so states are read before anything is stopped.
        if pausing == Pausing::Blocking && self.stacks.threads.is_empty() {
            let _ = self.begin(false);
        }
        self.look_at_threads(pausing);
        let mut held = match pausing {
            Pausing::Blocking => self.hold_runners(moment)?,
            Pausing::Adaptive => self.hold_movers(moment),
            Pausing::Never => Held::default(),
        };
        self.watch_our_cpu();
        self.begin_held(&mut held, moment)?;
        self.read_names_when_due();
        self.look_at_threads_again(&held);
        self.doubt_runners(&held);
        self.note_running();
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            let was_held = held.included(thread.address);
            match thread.verdict {
                _ if thread.rests => {
                    if !(self.wants_native(index, pausing) && self.take_stopped(index, moment)) {
                        self.stacks.threads[index] = thread;
                        self.take_rested(index, moment);
                    }
                }
                Verdict::Proven if !thread.broken && !self.wants_native(index, pausing) => {
                    let assurance = if was_held { Assurance::Stopped } else { Assurance::Proven };
                    self.take(index, assurance, moment);
                }
                _ if !self.threads.exists(thread.address) => self.take_gone(index, moment),
                _ => self.take_uncertain(index, pausing, moment),
            }
        }
        self.take_native_threads(pausing, moment);
        self.finish_native(moment);
        self.choose_place();
        Ok(())
    }

    /// Takes one sample of everything at one moment: all threads are stopped, everything is read, then they are let go.
    ///
    /// # Errors
    /// When the process is gone or could not be stopped.
    pub fn sample_stopped(&mut self, moment: &mut Moment) -> Result<(), SampleError> {
        self.sample_stopped_and(moment, &mut |_, _| ())
    }

    /// As [`Spy::sample_stopped`]; while everything is still stopped, `look` is called with what was found.
    ///
    /// # Errors
    /// As [`Spy::sample_stopped`].
    pub fn sample_stopped_and(
        &mut self,
        moment: &mut Moment,
        look: &mut dyn FnMut(&Self, &Moment),
    ) -> Result<(), SampleError> {
        moment.clear();
        self.begin_native(Pausing::Blocking, moment);
        // So that the ids of the threads are known whose state is read before the stop.
        let _ = self.begin(false);
        self.look_at_threads(Pausing::Blocking);
        self.look_at_native_threads();
        let started = Instant::now();
        let held = self.process.pause_all()?;
        let begun = self.begin(true);
        let mut broken = Vec::new();
        if begun.is_ok() {
            self.settle_codes();
            self.doubt_unheld(held.not_held());
            self.look_at_interrupted(&held, moment);
            for index in 0..self.stacks.threads.len() {
                if self.stacks.threads[index].broken {
                    broken.push(index);
                } else {
                    self.take(index, Assurance::Stopped, moment);
                    self.capture(index, |os_id| held.registers(os_id));
                }
            }
            self.take_held_native_threads(&held, moment);
            look(self, moment);
        }
        drop(held);
        moment.add_hold(started.elapsed());
        moment.stops += 1;
        begun?;
        self.read_names_when_due();
        for index in broken {
            if self.threads.exists(self.stacks.threads[index].address) {
                self.take_uncertain(index, Pausing::Adaptive, moment);
            } else {
                self.take_gone(index, moment);
            }
        }
        self.finish_native(moment);
        Ok(())
    }

    /// Reads the raw stacks and makes sure of their code, then lets go what is held. Single threads are held only while the bytes are fetched; what is missing
    /// in those makes their walks unsure.
    fn begin_held(&mut self, held: &mut Held, moment: &mut Moment) -> Result<(), SampleError> {
        if held.everything {
            let begun = self.begin(true);
            if begun.is_ok() {
                self.settle_codes();
                self.doubt_unheld(held.not_held());
            }
            moment.add_hold(held.release());
            return begun;
        }
        self.snapshot.hold(&held.units);
        let begun = self.begin_and(false, || moment.add_hold(held.release()));
        self.snapshot.hold(&[]);
        if begun? == Read::Again {
            held.units.clear();
        }
        self.settle_codes();
        Ok(())
    }

    fn begin(&mut self, frozen: bool) -> Result<(), SampleError> {
        self.begin_and(frozen, || ()).map(drop)
    }

    /// Reads the raw stacks; `fetched` is called when the bytes are here that the last samples have touched.
    fn begin_and(&mut self, frozen: bool, mut fetched: impl FnMut()) -> Result<Read, SampleError> {
        let mut read = Read::Once;
        if !frozen && self.rest.may_leave_out() {
            self.rest.tell(&mut self.snapshot);
            self.snapshot.begin(false);
            fetched();
            self.prove_image()?;
            let rest = &self.rest;
            let walked = self.stacks.walk_known(&mut self.snapshot, &self.runtime, &|thread| rest.rests(thread));
            if walked.map_err(|error| self.failure(error))? {
                self.know_threads();
                return Ok(read);
            }
            // What was held runs again.
            self.snapshot.hold(&[]);
            read = Read::Again;
        }
        self.rest.leave_out_nothing();
        self.rest.tell(&mut self.snapshot);
        self.snapshot.begin(frozen);
        fetched();
        self.prove_image()?;
        let walked = self.stacks.walk(&mut self.snapshot, &self.runtime);
        walked.map_err(|error| self.failure(error))?;
        self.know_threads();
        Ok(read)
    }

    fn know_threads(&mut self) {
        self.codes.begin_sample(self.stacks.code_generation());
        self.threads.identify(&self.process, self.snapshot.memory(), &self.stacks.threads);
    }

    /// Takes back the proof of threads that were to be stopped with all others and were not, unless they have waited all the time.
    fn doubt_unheld(&mut self, not_held: &[ThreadId]) {
        if not_held.is_empty() {
            return;
        }
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            let os_id = self.threads.os_id(thread.address);
            let Some(os_id) = os_id.filter(|os_id| not_held.contains(os_id)) else { continue };
            if !self.states.look(os_id).is_ok_and(|look| look.is_unmoved) {
                self.stacks.threads[index].broken = true;
            }
        }
    }

    /// Makes sure that it is still the same program that was read.
    fn prove_image(&mut self) -> Result<(), SampleError> {
        self.snapshot.start_unit(COMMON);
        let place = self.image.proof_address();
        let words = [self.snapshot.volatile_word(place), self.snapshot.volatile_word(place.wrapping_add(8))];
        let mut bytes = [0; 16];
        for (target, word) in bytes.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.map_err(|error| self.failure(error))?.to_ne_bytes());
        }
        if self.image.is_proven_by(bytes) { Ok(()) } else { Err(SampleError::Exec) }
    }

    fn failure(&self, error: crate::memory::ReadError) -> SampleError {
        if error.failure == ReadFailure::Gone || self.process.has_exited() {
            SampleError::Exited
        } else if !self.image.is_still_in(self.snapshot.memory()) {
            SampleError::Exec
        } else {
            SampleError::Unreadable(error)
        }
    }

    fn settle_codes(&mut self) {
        self.settler.settle(&mut self.snapshot, &mut self.codes, &mut self.stacks, &self.runtime.layout);
    }

    /// Sees to it that all code of a thread's frames is known. Whether all of it is code.
    fn settle_stopped(&mut self, index: usize) -> bool {
        let frames = self.stacks.frames_of(&self.stacks.threads[index]);
        self.settler.settle_stopped(&mut self.snapshot, &mut self.codes, frames, &self.runtime.layout)
    }

    /// Puts a thread with its frames into the moment.
    fn take(&mut self, index: usize, assurance: Assurance, moment: &mut Moment) {
        let stack = self.stacks.threads[index];
        let interpreter = self.stacks.interpreters[stack.interpreter];
        let os_id = self.threads.os_id(stack.address);
        let exists = self.threads.exists(stack.address);
        let active = match os_id {
            Some(os_id) => self.is_running(os_id),
            // Who holds the GIL runs, whoever it is.
            None => exists && stack.holds_gil,
        };
        let first_frame = moment.frames.len();
        for frame in self.stacks.frames.get(stack.first_frame..stack.end_frame).unwrap_or(&[]) {
            match self.codes.resolve(self.snapshot.memory(), &self.runtime.layout, frame) {
                Some(Place { code, line, offset }) => {
                    let (address, code_address) = (frame.address, frame.code);
                    let interpreter = self.stacks.interpreters[frame.interpreter].id;
                    moment.frames.push(MomentFrame { address, code_address, code, line, offset, interpreter });
                }
                None => {
                    moment.frames.truncate(first_frame);
                    if exists {
                        moment.lost += 1;
                        return;
                    }
                    break;
                }
            }
        }
        moment.threads.push(MomentThread {
            stack,
            interpreter,
            running_in: self.stacks.interpreters[stack.running_in],
            os_id,
            exists,
            active,
            collecting: self.stacks.collects(&stack).unwrap_or(active),
            assurance,
            first_frame,
            end_frame: moment.frames.len(),
        });
        // Without an id nobody would notice that it moves again.
        if os_id.is_some() && assurance != Assurance::Unproven && !active {
            self.rest.keep(stack.address, &moment.frames[first_frame..]);
        }
    }

    /// Puts a thread state without a thread into the moment. Of what it was doing nothing is left: another thread may
    /// have its memory.
    fn take_gone(&mut self, index: usize, moment: &mut Moment) {
        let thread = &mut self.stacks.threads[index];
        thread.end_frame = thread.first_frame;
        self.take(index, Assurance::Unproven, moment);
    }

    /// Puts a thread that was left out of the walk into the moment, as it was last seen.
    fn take_rested(&mut self, index: usize, moment: &mut Moment) {
        let stack = self.stacks.threads[index];
        let first_frame = moment.frames.len();
        moment.frames.extend_from_slice(self.rest.frames(stack.address));
        let interpreter = self.stacks.interpreters[stack.interpreter];
        let running_in = self.stacks.interpreters[stack.running_in];
        moment.threads.push(MomentThread {
            stack,
            interpreter,
            running_in,
            os_id: self.threads.os_id(stack.address),
            exists: true,
            active: false,
            collecting: running_in.collecting && stack.holds_gil,
            assurance: Assurance::Proven,
            first_frame,
            end_frame: moment.frames.len(),
        });
    }

    /// Reads the names of threads, when there are new threads and from time to time.
    fn read_names_when_due(&mut self) {
        let states = self.stacks.threads.len();
        let due = self.names_read.is_none_or(|last| last.elapsed() >= NAMES_EVERY) || states != self.known_states;
        if !due {
            return;
        }
        self.names_read = Some(Instant::now());
        self.known_states = states;
        self.threads.read_names(self.snapshot.memory(), &self.runtime, &self.stacks.interpreters);
        let interpreter_of = |thread: &ThreadStack| self.stacks.interpreters[thread.interpreter].address;
        let named = self.stacks.threads.iter().map(|thread| (interpreter_of(thread), thread.thread_id)).collect();
        self.threads.retain_names(&named);
        let nameless = self.stacks.threads.iter().filter(|thread| {
            self.threads.name(&self.process, &self.stacks.interpreters[thread.interpreter], thread).is_none()
        });
        let nameless = nameless.filter_map(|thread| self.threads.os_id(thread.address));
        self.kernel_names.read(&self.process, nameless);
        let living: HashSet<u64> = self.stacks.threads.iter().map(|thread| thread.address).collect();
        self.threads.retain(|thread_state| living.contains(&thread_state));
        self.rest.retain(|thread_state| living.contains(&thread_state));
        let os_ids: HashSet<ThreadId> = self.threads.known().map(|(_, os_id)| os_id).collect();
        let native_threads = self.native_threads.as_ref();
        self.states.retain(|os_id| os_ids.contains(&os_id) || native_threads.is_some_and(|known| known.has(os_id)));
    }
}
