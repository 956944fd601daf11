//! What keeps a loop from its selector.

use super::{LoopBlocker, LoopLags, LoopLibrary};
use crate::memory::PageCache;
use crate::python::object::ObjectReader;
use crate::python::tasks::{FrameVariable, TurnFunction, trio_task_name};
use crate::sampler::moment::{MomentFrame, MomentThread};
use crate::sampler::process_sampler::ProcessSampler;

/// Names of coroutines that are counted in one window.
const MOST_NAMES: usize = 1000;

impl LoopLags {
    /// What keeps the loop of a thread that has these frames, newest first. `None` where the loop has called no Python.
    pub(super) fn blocker(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[MomentFrame],
        library: LoopLibrary,
    ) -> Option<LoopBlocker> {
        let called = self.called(sampler, thread, frames, library);
        let (outermost, innermost) = (called.last()?, called.first()?);
        let function = self.class(sampler, outermost).name.clone();
        let running = self.class(sampler, innermost).name.clone();
        let pages = PageCache::new(sampler.process().memory());
        let objects = ObjectReader::new(&pages, &sampler.runtime().layout);
        let task = match library {
            LoopLibrary::Asyncio | LoopLibrary::Uvloop => self.asyncio.as_ref().and_then(|asyncio| {
                let task = asyncio.current(objects, thread.stack.innermost, outermost.address)?;
                asyncio.name(objects, task)
            }),
            LoopLibrary::Trio => self.trio_task(sampler, frames).and_then(|task| trio_task_name(objects, task)),
            LoopLibrary::Gevent | LoopLibrary::Eventlet => None,
        };
        let running = (innermost.address != outermost.address).then_some(running);
        Some(LoopBlocker { task, function, running })
    }

    /// Counts the task that a loop runs.
    pub(super) fn note_running(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[MomentFrame],
        library: LoopLibrary,
    ) {
        let Some(outermost) = self.called(sampler, thread, frames, library).last() else { return };
        let class = self.class(sampler, outermost);
        if !class.is_coroutine {
            return;
        }
        let name = class.name.clone();
        if self.ran.len() < MOST_NAMES || self.ran.contains_key(&name) {
            *self.ran.entry(name).or_default() += 1;
        }
    }

    /// The frames of what a loop has called, newest first.
    fn called<'frames>(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &'frames [MomentFrame],
        library: LoopLibrary,
    ) -> &'frames [MomentFrame] {
        let newest_of_loop = frames.iter().position(|frame| {
            let class = self.class(sampler, frame);
            class.runs_loop || class.turn.is_some()
        });
        match (newest_of_loop, library) {
            (Some(place), _) => &frames[..place],
            // `run_until_complete` of uvloop has no frame. What it has called is told from what has called it by the
            // stack that is there while it is in its selector, else a coroutine is its; else only the innermost
            // function is known.
            (None, LoopLibrary::Uvloop) => {
                let idle = self.watched.get(&thread.stack.address).and_then(|watched| watched.idle_frames);
                let coroutines = frames.iter().rposition(|frame| self.class(sampler, frame).is_coroutine);
                let end = idle.map(|idle| frames.len().saturating_sub(idle)).or(coroutines.map(|place| place + 1));
                &frames[..end.unwrap_or(1).min(frames.len())]
            }
            (None, _) => {
                let trampolines = frames.iter().rev().take_while(|frame| self.class(sampler, frame).is_trampoline);
                &frames[..frames.len() - trampolines.count()]
            }
        }
    }

    /// The task that trio's loop has in its variable.
    fn trio_task(&mut self, sampler: &ProcessSampler, frames: &[MomentFrame]) -> Option<u64> {
        let frame = frames.iter().find(|frame| self.class(sampler, frame).turn == Some(TurnFunction::Trio))?;
        let offset = *self.class(sampler, frame).offsets.get(2)?;
        let memory = sampler.process().memory();
        let objects = ObjectReader::new(&memory, &sampler.runtime().layout);
        FrameVariable { frame: frame.address, code: frame.code_address, offset }.object(&memory, objects)
    }
}
