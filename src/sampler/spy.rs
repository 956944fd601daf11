//! Reads one process: what every thread of it was doing at one moment, with a proof or with a stop.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::attach::Attached;
use super::native::{Native, NativeMoment};
use super::threads::Threads;
use crate::memory::{COMMON, ReadFailure, Snapshot, Unit, Verdict};
use crate::process::{ImageIdentity, LiveMemory, PauseError, Process, Registers, ThreadId, ThreadStates};
use crate::python::code::{CodeId, CodeTable, Known, Place};
use crate::python::runtime::Runtime;
use crate::python::stack::{InterpreterState, Stacks, ThreadStack};

/// How often a thread that was stopped in the middle of a call is let go and stopped again.
const STOPS: u32 = 4;
/// How often thread names are read.
const NAMES_EVERY: Duration = Duration::from_secs(1);

/// When the target is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pausing {
    /// Only a thread whose stack cannot be proven, for one read.
    Adaptive,
    /// The thread that holds the GIL, for every sample; without a GIL all threads.
    Blocking,
    /// Never.
    Never,
}

/// How a stack was made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// It held at one moment while the thread was running.
    Proven,
    /// The thread was stopped.
    Stopped,
    /// It may never have been.
    Unproven,
}

/// A frame of a thread: a function and the line that it is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MomentFrame {
    /// The frame in the target.
    pub address: u64,
    /// The code object in the target.
    pub code_address: u64,
    /// The function.
    pub code: CodeId,
    /// The line; 0 is none.
    pub line: u32,
    /// The instruction: bytes from the beginning of the bytecode; negative when it is not known.
    pub offset: i32,
}

/// A thread at the moment of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MomentThread {
    /// Its raw state.
    pub stack: ThreadStack,
    /// Its interpreter.
    pub interpreter: InterpreterState,
    /// The kernel's id of it, as we see it.
    pub os_id: Option<ThreadId>,
    /// It was on a CPU or waiting for one.
    pub active: bool,
    /// It runs the garbage collector.
    pub collecting: bool,
    /// How sure its frames are.
    pub assurance: Assurance,
    /// Index of its newest frame in [`Moment::frames`].
    pub first_frame: usize,
    /// One past the index of its oldest frame.
    pub end_frame: usize,
}

/// What every thread was doing; kept and refilled.
#[derive(Debug, Default)]
pub struct Moment {
    /// The threads.
    pub threads: Vec<MomentThread>,
    /// Frames of all threads, newest first.
    pub frames: Vec<MomentFrame>,
    /// Threads of which no stack could be had.
    pub lost: u32,
    /// Stops of threads or of the process.
    pub stops: u32,
    /// How long anything was held, in all.
    pub stopped_for: Duration,
    /// Native frames between the Python ones, where they were asked for.
    pub native: NativeMoment,
}

impl Moment {
    /// The frames of a thread, newest first.
    pub fn frames_of(&self, thread: &MomentThread) -> &[MomentFrame] {
        self.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[])
    }
}

/// Why there is no sample.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The process has exited.
    #[error("the process has exited")]
    Exited,
    /// The process runs another program now.
    #[error("the process has started another program")]
    Exec,
    /// The interpreter is not there (any more): it is being finalised, or the memory is in flux.
    #[error("the interpreter cannot be read: {0}")]
    Unreadable(crate::memory::ReadError),
    /// The process could not be stopped, which was asked for.
    #[error(transparent)]
    Pause(#[from] PauseError),
}

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
    states: ThreadStates,
    names_read: Option<Instant>,
    known_states: usize,
    trouble: Trouble,
    scratch: Scratch,
    native: Option<Box<Native>>,
}

/// Things about pausing worth telling once.
#[derive(Debug, Default, Clone)]
pub struct Trouble {
    /// Why a pause failed, the first time.
    pub pause: Option<String>,
}

/// Buffers of one sample that are kept.
#[derive(Debug, Default)]
struct Scratch {
    running: Vec<(ThreadId, bool)>,
    unknown: Vec<u64>,
    due: Vec<u64>,
    seen: HashSet<u64>,
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
            names_read: None,
            known_states: 0,
            trouble: Trouble::default(),
            scratch: Scratch::default(),
            native: None,
        }
    }

    /// From now on native frames are read too, of idle threads if `idle`; a thread is stopped for that.
    pub fn read_native(&mut self, idle: bool) {
        self.native = Some(Box::new(Native::new(self.process.clone(), idle)));
    }

    /// The native functions that were seen, if native frames are read.
    pub fn native(&self) -> Option<&Native> {
        self.native.as_deref()
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its runtime.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The code that was seen.
    pub fn codes(&self) -> &CodeTable {
        &self.codes
    }

    /// What went wrong with pausing so far.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// The snapshot, for its counts.
    pub fn snapshot(&self) -> &Snapshot<LiveMemory> {
        &self.snapshot
    }

    /// The name of a thread, as last known.
    pub fn thread_name(&self, thread: &MomentThread) -> Option<&str> {
        self.threads.name(&self.process, &thread.interpreter, &thread.stack)
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// When there is nothing to sample any more, or not at this moment.
    pub fn sample(&mut self, pausing: Pausing, moment: &mut Moment) -> Result<(), SampleError> {
        moment.threads.clear();
        moment.frames.clear();
        moment.lost = 0;
        moment.stops = 0;
        moment.stopped_for = Duration::ZERO;
        self.begin_native(moment);
        // A stop changes the state that the system shows, so states are read before anything is stopped.
        if pausing == Pausing::Blocking && self.stacks.threads.is_empty() && self.begin(false).is_ok() {
            self.know_os_ids();
        }
        self.read_states();
        let holders = if pausing == Pausing::Blocking { self.hold_runners(moment)? } else { Held::default() };
        self.snapshot.hold(&holders.units);
        let begun = self.begin(holders.everything);
        if let Err(error) = begun {
            self.snapshot.hold(&[]);
            return Err(error);
        }
        self.settle_codes();
        let held_for = holders.release();
        self.snapshot.hold(&[]);
        moment.stopped_for += held_for.0;
        self.read_names_when_due();
        // The states of threads that are new, before one of them is stopped.
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            if let Some(os_id) = self.threads.os_id(&self.process, self.snapshot.memory(), &thread) {
                self.is_running(os_id);
            }
        }
        for index in 0..self.stacks.threads.len() {
            let thread = self.stacks.threads[index];
            let was_held = held_for.1.contains(&thread.address) || held_for.2;
            match thread.verdict {
                Verdict::Proven if !thread.broken && !(pausing != Pausing::Never && self.wants_native(index)) => {
                    let assurance = if was_held { Assurance::Stopped } else { Assurance::Proven };
                    self.take(index, assurance, moment);
                }
                _ => self.take_uncertain(index, pausing, moment),
            }
        }
        self.finish_native(moment);
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
        moment.threads.clear();
        moment.frames.clear();
        moment.lost = 0;
        self.begin_native(moment);
        // So that the ids of the threads are known whose state is read before the stop.
        if self.begin(false).is_ok() {
            self.know_os_ids();
        }
        self.read_states();
        let started = Instant::now();
        let held = self.process.pause_all()?;
        let begun = self.begin(true);
        let mut broken = Vec::new();
        if begun.is_ok() {
            self.settle_codes();
            for index in 0..self.stacks.threads.len() {
                if self.stacks.threads[index].broken {
                    broken.push(index);
                } else {
                    self.take(index, Assurance::Stopped, moment);
                    self.capture(index, |os_id| held.registers(os_id));
                }
            }
            look(self, moment);
        }
        drop(held);
        moment.stopped_for = started.elapsed();
        moment.stops = 1;
        begun?;
        self.read_names_when_due();
        for index in broken {
            self.take_uncertain(index, Pausing::Adaptive, moment);
        }
        self.finish_native(moment);
        Ok(())
    }

    /// Reads the raw stacks, having made sure that it is still the same program.
    fn begin(&mut self, frozen: bool) -> Result<(), SampleError> {
        self.snapshot.begin(frozen);
        self.snapshot.start_unit(COMMON);
        let place = self.image.proof_address();
        let words = [self.snapshot.volatile_word(place), self.snapshot.volatile_word(place.wrapping_add(8))];
        let mut bytes = [0; 16];
        for (target, word) in bytes.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.map_err(|error| self.failure(error))?.to_ne_bytes());
        }
        if !self.image.is_proven_by(bytes) {
            return Err(SampleError::Exec);
        }
        let walked = self.stacks.walk(&mut self.snapshot, &self.runtime);
        walked.map_err(|error| self.failure(error))?;
        self.codes.begin_sample(self.stacks.code_generation());
        Ok(())
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

    /// Makes sure of all code objects in the stacks, and of the stacks that are still open, with one more look at all of them together.
    fn settle_codes(&mut self) {
        let Scratch { unknown, due, seen, .. } = &mut self.scratch;
        unknown.clear();
        due.clear();
        seen.clear();
        for thread in self.stacks.threads.iter().filter(|thread| thread.verdict != Verdict::Moved) {
            for frame in self.stacks.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]) {
                if seen.insert(frame.code) {
                    match self.codes.knows(frame.code) {
                        Known::Fresh => {}
                        Known::Due => due.push(frame.code),
                        Known::Unknown => unknown.push(frame.code),
                    }
                }
            }
        }
        let mut bad = HashSet::new();
        for address in unknown.iter() {
            if let Err(error) = self.codes.load(self.snapshot.memory(), &self.runtime.layout, *address) {
                log::trace!("{error}");
                bad.insert(*address);
            }
        }
        let frozen = self.snapshot.is_frozen();
        let new: HashSet<u64> = if frozen { HashSet::new() } else { unknown.iter().copied().collect() };
        // A stack with code that was read only now is open again: the frame must still have referred to it afterwards.
        let mut open: Vec<Unit> = Vec::new();
        for thread in &mut self.stacks.threads {
            let frames = self.stacks.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]);
            if thread.verdict == Verdict::Moved {
                continue;
            }
            if frames.iter().any(|frame| bad.contains(&frame.code)) {
                thread.verdict = Verdict::Moved;
            } else if thread.verdict == Verdict::Open || frames.iter().any(|frame| new.contains(&frame.code)) {
                thread.verdict = Verdict::Open;
                open.push(thread.address);
            }
        }
        let checked: Vec<u64> = due.iter().chain(&new).filter(|address| !bad.contains(*address)).copied().collect();
        if open.is_empty() && checked.is_empty() {
            return;
        }
        let mut evidence = Vec::new();
        let mut owners = Vec::new();
        for address in &checked {
            for piece in self.codes.evidence(*address) {
                evidence.push(piece);
                owners.push(*address);
            }
        }
        let (verdicts, held) = self.snapshot.verify(&open, &evidence);
        let changed: HashSet<u64> =
            owners.iter().zip(&held).filter(|(_, held)| !**held).map(|(owner, _)| *owner).collect();
        for address in checked {
            if !changed.contains(&address) {
                self.codes.confirm(address);
            } else if new.contains(&address) {
                self.codes.discard(address);
            } else {
                self.codes.forget(address);
                if frozen {
                    // The stacks stand still, so what is there now is what they mean.
                    let _ = self.codes.load(self.snapshot.memory(), &self.runtime.layout, address);
                }
            }
        }
        for thread in &mut self.stacks.threads {
            if let Some(index) = open.iter().position(|unit| *unit == thread.address) {
                thread.verdict = verdicts[index];
            }
            let frames = self.stacks.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]);
            if !frozen && !changed.is_empty() && frames.iter().any(|frame| changed.contains(&frame.code)) {
                thread.verdict = Verdict::Moved;
            }
        }
    }

    /// A thread that could not be proven: stopped and read again, or taken for what it is.
    fn take_uncertain(&mut self, index: usize, pausing: Pausing, moment: &mut Moment) {
        let thread = self.stacks.threads[index];
        if pausing != Pausing::Never && self.take_stopped(index, moment) {
            return;
        }
        self.stacks.threads[index] = thread;
        // What has an end, at least, is a stack that may have been.
        if thread.broken || !self.load_all(index) {
            moment.lost += 1;
            return;
        }
        self.take(index, Assurance::Unproven, moment);
    }

    /// Stops one thread, reads its stack again and lets it go.
    fn take_stopped(&mut self, index: usize, moment: &mut Moment) -> bool {
        let unit = self.stacks.threads[index].address;
        let thread = self.stacks.threads[index];
        let Some(os_id) = self.threads.os_id(&self.process, self.snapshot.memory(), &thread) else { return false };
        for _ in 0..STOPS {
            let started = Instant::now();
            let pause = match self.process.pause_thread(os_id) {
                Ok(pause) => pause,
                Err(error) => {
                    log::debug!("thread {os_id}: {error}");
                    if self.trouble.pause.is_none() && !self.process.has_exited() {
                        self.trouble.pause = Some(error.to_string());
                    }
                    return false;
                }
            };
            moment.stops += 1;
            self.snapshot.begin_frozen_unit(unit);
            self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
            // Code that was confirmed before the stop may have made room for other code since.
            let generation = self.stacks.read_code_generation(self.snapshot.memory(), &self.runtime);
            self.codes.begin_look(generation);
            let complete = !self.stacks.threads[index].broken && self.load_all(index);
            if complete {
                self.capture(index, |_| pause.registers());
            }
            drop(pause);
            moment.stopped_for += started.elapsed();
            self.snapshot.thaw();
            if complete {
                self.take(index, Assurance::Stopped, moment);
                return true;
            }
        }
        false
    }

    /// Sees to it that all code of a thread's frames is known; checks what is due. Whether all of it is code.
    fn load_all(&mut self, index: usize) -> bool {
        let thread = self.stacks.threads[index];
        let frames = self.stacks.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]);
        let due: Vec<u64> = {
            let seen = &mut self.scratch.seen;
            seen.clear();
            let new = frames.iter().filter(|frame| seen.insert(frame.code));
            new.filter(|frame| self.codes.knows(frame.code) == Known::Due).map(|frame| frame.code).collect()
        };
        if !due.is_empty() {
            let mut evidence = Vec::new();
            let mut owners = Vec::new();
            for address in &due {
                for piece in self.codes.evidence(*address) {
                    evidence.push(piece);
                    owners.push(*address);
                }
            }
            let (_, held) = self.snapshot.verify(&[], &evidence);
            for address in due {
                if owners.iter().zip(&held).any(|(owner, held)| *owner == address && !held) {
                    self.codes.forget(address);
                } else {
                    self.codes.confirm(address);
                }
            }
        }
        for frame in self.stacks.frames.get(thread.first_frame..thread.end_frame).unwrap_or(&[]) {
            if self.codes.knows(frame.code) == Known::Unknown
                && self.codes.load(self.snapshot.memory(), &self.runtime.layout, frame.code).is_err()
            {
                return false;
            }
        }
        true
    }

    /// Puts a thread with its frames into the moment.
    fn take(&mut self, index: usize, assurance: Assurance, moment: &mut Moment) {
        let stack = self.stacks.threads[index];
        let interpreter = self.stacks.interpreters[stack.interpreter];
        let os_id = self.threads.os_id(&self.process, self.snapshot.memory(), &stack);
        let active = os_id.is_some_and(|os_id| self.is_running(os_id));
        let first_frame = moment.frames.len();
        for frame in self.stacks.frames.get(stack.first_frame..stack.end_frame).unwrap_or(&[]) {
            match self.codes.resolve(self.snapshot.memory(), &self.runtime.layout, frame) {
                Some(Place { code, line, offset }) => {
                    let (address, code_address) = (frame.address, frame.code);
                    moment.frames.push(MomentFrame { address, code_address, code, line, offset });
                }
                None => {
                    moment.frames.truncate(first_frame);
                    moment.lost += 1;
                    return;
                }
            }
        }
        moment.threads.push(MomentThread {
            stack,
            interpreter,
            os_id,
            active,
            collecting: interpreter.collecting && (stack.holds_gil || interpreter.gil_holder == 0 && active),
            assurance,
            first_frame,
            end_frame: moment.frames.len(),
        });
    }

    /// Whether the native frames of a thread are to be read, for which it must be stopped.
    fn wants_native(&mut self, index: usize) -> bool {
        let thread = self.stacks.threads[index];
        if self.native.is_none() || thread.first_frame == thread.end_frame {
            return false;
        }
        let os_id = self.threads.os_id(&self.process, self.snapshot.memory(), &thread);
        os_id.is_some_and(|os_id| {
            let running = self.is_running(os_id);
            self.native.as_mut().is_some_and(|native| native.wants(running))
        })
    }

    fn begin_native(&mut self, moment: &mut Moment) {
        moment.native.clear();
        if let Some(native) = &mut self.native {
            native.begin();
        }
    }

    /// Copies the registers and the stack of a thread that is held.
    fn capture(&mut self, index: usize, registers: impl FnOnce(ThreadId) -> io::Result<Registers>) {
        let Some(native) = &mut self.native else { return };
        let thread = self.stacks.threads[index];
        if thread.first_frame != thread.end_frame
            && let Some(os_id) = self.threads.os_id(&self.process, self.snapshot.memory(), &thread)
        {
            match registers(os_id) {
                Ok(registers) => native.capture(self.snapshot.memory(), thread.address, registers),
                Err(error) => log::debug!("thread {os_id}: {error}"),
            }
        }
    }

    /// Makes merged stacks of what was captured, now that nothing is held.
    fn finish_native(&mut self, moment: &mut Moment) {
        if let Some(native) = &mut self.native {
            native.finish(&self.stacks, &moment.threads, &mut moment.native);
        }
    }

    fn is_running(&mut self, os_id: ThreadId) -> bool {
        if let Some((_, running)) = self.scratch.running.iter().find(|(known, _)| *known == os_id) {
            return *running;
        }
        let running = self.states.read(os_id).is_ok_and(|reading| reading.activity.is_running());
        self.scratch.running.push((os_id, running));
        running
    }

    fn read_states(&mut self) {
        self.threads.begin_sample();
        self.scratch.running.clear();
        for os_id in self.threads.os_ids() {
            let running = self.states.read(os_id).is_ok_and(|reading| reading.activity.is_running());
            self.scratch.running.push((os_id, running));
        }
    }

    fn know_os_ids(&mut self) {
        for thread in &self.stacks.threads {
            self.threads.os_id(&self.process, self.snapshot.memory(), thread);
        }
    }

    /// Holds the threads that hold a GIL, or all where there is none.
    fn hold_runners(&mut self, moment: &mut Moment) -> Result<Held, SampleError> {
        let started = Instant::now();
        if self.stacks.interpreters.iter().any(|interpreter| !interpreter.has_gil) {
            let all = self.process.pause_all()?;
            moment.stops += 1;
            return Ok(Held { everything: true, all: Some(all), started: Some(started), ..Held::default() });
        }
        let mut held = Held { started: Some(started), ..Held::default() };
        for index in 0..self.stacks.interpreters.len() {
            let interpreter = self.stacks.interpreters[index];
            let holder = interpreter.current_holder(self.snapshot.memory(), &self.runtime);
            let Some(os_id) = self.threads.last_os_id(holder) else { continue };
            match self.process.pause_thread(os_id) {
                Ok(pause) => {
                    moment.stops += 1;
                    // Between the look and the stop it may have let the GIL go; then another thread may run, and must prove itself.
                    held.threads.push(pause);
                    held.units.push(holder);
                }
                Err(error) => {
                    log::debug!("thread {os_id}: {error}");
                    if self.trouble.pause.is_none() && !self.process.has_exited() {
                        self.trouble.pause = Some(error.to_string());
                    }
                }
            }
        }
        Ok(held)
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
        let living: HashSet<u64> = self.stacks.threads.iter().map(|thread| thread.address).collect();
        self.threads.retain(|thread_state| living.contains(&thread_state));
        let os_ids: HashSet<ThreadId> = self.threads.os_ids().collect();
        self.states.retain(|os_id| os_ids.contains(&os_id));
    }
}

/// What is held during a sample.
#[derive(Debug, Default)]
struct Held {
    threads: Vec<crate::process::PausedThread>,
    all: Option<crate::process::PausedProcess>,
    units: Vec<Unit>,
    everything: bool,
    started: Option<Instant>,
}

impl Held {
    /// Lets everything go; says how long it was held, which units, and whether it was everything.
    fn release(self) -> (Duration, Vec<Unit>, bool) {
        let nothing = self.threads.is_empty() && self.all.is_none();
        drop(self.threads);
        drop(self.all);
        let held_for = match self.started {
            Some(started) if !nothing => started.elapsed(),
            _ => Duration::ZERO,
        };
        (held_for, self.units, self.everything)
    }
}
