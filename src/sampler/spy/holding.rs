//! Stops: which threads are held for a sample, and how a thread is read while it stands still.

use std::time::{Duration, Instant};

use super::Spy;
use crate::memory::{Unit, Verdict};
use crate::process::{PauseError, PausedProcess, PausedThread, ThreadActivity, ThreadId};
use crate::python::code::Known;
use crate::python::stack::{Stacks, ThreadStack};
use crate::sampler::moment::{Assurance, Moment, Pausing, SampleError};

/// How often a thread that was stopped in the middle of a call is let go and stopped again.
const STOPS: u32 = 4;
/// How long it then runs in between.
const BETWEEN_STOPS: Duration = Duration::from_micros(20);
/// How often a moving thread that may not be stopped is read again.
const TRIES: u32 = 8;

/// What is held during a sample.
#[derive(Debug, Default)]
pub(super) struct Held {
    threads: Vec<PausedThread>,
    all: Option<PausedProcess>,
    pub(super) units: Vec<Unit>,
    pub(super) everything: bool,
    started: Option<Instant>,
}

impl Held {
    /// The threads that are not held though all were to be.
    pub(super) fn not_held(&self) -> &[ThreadId] {
        self.all.as_ref().map_or(&[], PausedProcess::not_held)
    }

    /// Lets everything go; how long it was held.
    pub(super) fn release(&mut self) -> Duration {
        let nothing = self.threads.is_empty() && self.all.is_none();
        self.threads.clear();
        self.all = None;
        match self.started {
            Some(started) if !nothing => started.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Whether the thread of a thread state was held, also after it was let go.
    pub(super) fn included(&self, thread_state: u64) -> bool {
        self.everything || self.units.contains(&thread_state)
    }
}

impl Spy {
    /// Holds the threads that hold a GIL, or all where there is none.
    pub(super) fn hold_runners(&mut self, moment: &mut Moment) -> Result<Held, SampleError> {
        let started = Instant::now();
        if self.stacks.interpreters.iter().any(|interpreter| !interpreter.has_gil) {
            let all = self.process.pause_all()?;
            moment.stops += 1;
            for (os_id, _) in self.looks.iter().filter(|(_, look)| !look.is_running) {
                self.states.rouse(*os_id);
            }
            return Ok(Held { everything: true, all: Some(all), started: Some(started), ..Held::default() });
        }
        let mut held = Held { started: Some(started), ..Held::default() };
        for index in 0..self.stacks.interpreters.len() {
            let interpreter = self.stacks.interpreters[index];
            let holder = interpreter.current_holder(self.snapshot.memory(), &self.runtime);
            let holder = self.stacks.thread_of_state(holder);
            // Between the look and the stop it may let the GIL go; then another thread may run, and must prove itself.
            self.hold(holder, &mut held, moment);
        }
        Ok(held)
    }

    /// Holds the running threads that move so fast that there is no use in reading them before they are stopped.
    pub(super) fn hold_movers(&mut self, moment: &mut Moment) -> Held {
        let mut held = Held { started: Some(Instant::now()), ..Held::default() };
        for index in 0..self.stacks.threads.len() {
            let thread_state = self.stacks.threads[index].address;
            let os_id = self.threads.os_id(thread_state);
            let runs = os_id.and_then(|os_id| self.looks.get(&os_id)).is_some_and(|look| look.is_running);
            if runs && self.snapshot.needs_hold(thread_state) {
                self.hold(thread_state, &mut held, moment);
            }
        }
        held
    }

    /// Holds the thread of a thread state, if it can be.
    fn hold(&mut self, thread_state: u64, held: &mut Held, moment: &mut Moment) {
        let Some(os_id) = self.threads.os_id(thread_state) else { return };
        match self.pause(os_id) {
            Ok(pause) => {
                moment.stops += 1;
                held.threads.push(pause);
                held.units.push(thread_state);
                if self.looks.get(&os_id).is_some_and(|look| !look.is_running) {
                    self.states.rouse(os_id);
                }
            }
            Err(error) => self.note_unpaused(os_id, &error),
        }
    }

    fn note_unpaused(&mut self, os_id: ThreadId, error: &PauseError) {
        log::debug!("thread {os_id}: {error}");
        if self.trouble.pause.is_none() && !self.process.has_exited() {
            self.trouble.pause = Some(error.to_string());
        }
    }

    /// A thread that could not be proven: stopped and read again, or taken for what it is.
    pub(super) fn take_uncertain(&mut self, index: usize, pausing: Pausing, moment: &mut Moment) {
        let thread = self.stacks.threads[index];
        if pausing != Pausing::Never {
            if self.take_read_again(index, moment) {
                return;
            }
            self.stacks.threads[index] = thread;
            if self.take_stopped(index, moment) {
                return;
            }
        }
        self.stacks.threads[index] = thread;
        let thread = if pausing == Pausing::Never { self.read_again_unstopped(index) } else { thread };
        // What has an end, at least, is a stack that may have been.
        if thread.broken || !self.settle_stopped(index) {
            moment.lost += 1;
            return;
        }
        self.take(index, Assurance::Unproven, moment);
    }

    /// Reads a moving thread's stack some times more, until two copies of it are equal; otherwise the last that has an end and only functions
    /// that were seen before.
    fn read_again_unstopped(&mut self, index: usize) -> ThreadStack {
        let mut best = self.stacks.threads[index];
        for _ in 0..TRIES {
            self.snapshot.begin_unit_again(best.address, &[]);
            self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
            let thread = self.stacks.threads[index];
            let frames = self.stacks.frames_of(&thread);
            if !thread.broken && frames.iter().all(|frame| self.codes.knows(frame.code) != Known::Unknown) {
                best = thread;
                if self.snapshot.was_same_again() {
                    break;
                }
            }
        }
        self.stacks.threads[index] = best;
        best
    }

    /// Reads the stack of a thread once more that was read once only, as it hardly ever moves, and has moved. Not where native frames are wanted, for
    /// which it has to be stopped.
    fn take_read_again(&mut self, index: usize, moment: &mut Moment) -> bool {
        let unit = self.stacks.threads[index].address;
        if self.native.is_some() || !self.snapshot.is_worth_another_read(unit) || self.beside.is_fast(unit) {
            return false;
        }
        let counts = self.snapshot.begin_unit_again(unit, &self.stacks.generation_places(&self.runtime));
        self.codes.begin_look(Stacks::sum_of_generations(&counts));
        self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
        let thread = self.stacks.threads[index];
        let frames = self.stacks.frames_of(&thread);
        let is_proven = thread.verdict == Verdict::Proven && !thread.broken;
        if !is_proven || frames.iter().any(|frame| self.codes.knows(frame.code) != Known::Fresh) {
            return false;
        }
        self.take(index, Assurance::Proven, moment);
        true
    }

    /// Stops one thread, reads its stack again and lets it go.
    pub(super) fn take_stopped(&mut self, index: usize, moment: &mut Moment) -> bool {
        let unit = self.stacks.threads[index].address;
        let thread = self.stacks.threads[index];
        let Some(os_id) = self.threads.os_id(thread.address) else { return false };
        let (mut complete, mut held_for) = (false, Duration::ZERO);
        for stop in 0..STOPS {
            if stop > 0 {
                // Stopped again at once it would stand where it stood.
                std::thread::sleep(BETWEEN_STOPS);
            }
            let started = Instant::now();
            let pause = match self.pause(os_id) {
                Ok(pause) => pause,
                Err(error) => {
                    self.note_unpaused(os_id, &error);
                    break;
                }
            };
            moment.stops += 1;
            // Code that was confirmed before the stop may have made room for other code since.
            let counts = self.snapshot.begin_frozen_unit(unit, &self.stacks.generation_places(&self.runtime));
            self.codes.begin_look(Stacks::sum_of_generations(&counts));
            self.stacks.walk_again(&mut self.snapshot, &self.runtime, index);
            complete = !self.stacks.threads[index].broken && self.settle_stopped(index);
            if complete {
                self.capture(index, |_| pause.registers());
            }
            drop(pause);
            held_for += started.elapsed();
            self.snapshot.thaw();
            if complete {
                break;
            }
        }
        moment.add_hold(held_for);
        if complete {
            self.take(index, Assurance::Stopped, moment);
        }
        complete
    }

    /// Holds a thread; one that was running when this sample began is not looked at once more.
    fn pause(&self, os_id: ThreadId) -> Result<PausedThread, PauseError> {
        match self.looks.get(&os_id) {
            Some(look) if look.is_running => self.process.pause_seen_thread(os_id, ThreadActivity::Running),
            _ => self.process.pause_thread(os_id),
        }
    }
}
