//! What is below a greenlet that runs: the greenlets that go on when it ends, up to the main one or a hub.
//!
//! A thread's main greenlet leads to the greenlet that it runs now, not to the one that it ran when its stack was
//! read. So the two are joined by the oldest frame: it is read anew between two looks at which greenlet runs. What was
//! read is kept with its bytes, so a greenlet that was seen before costs one read.
//!
//! Limits: before greenlet 2.0 nothing leads to the greenlet that runs. Of such a one, and of a greenlet that has moved
//! on before it could be read, only the name is known, and, in a thread whose greenlets a hub runs, that nothing is
//! below it.

use super::{
    AsyncStacks, Bytes, LogicalFrame, MOST_KNOWN, Placed, class_of, cut_at_loop, is_unchanged, read_and_prove,
};
use crate::memory::PageCache;
use crate::process::LiveMemory;
use crate::python::code::CodeTable;
use crate::python::greenlets::{Greenlet, GreenletKind, frames_of, is_trampoline, own_function};
use crate::python::layout::Layout;
use crate::python::object::ObjectReader;
use crate::python::stack::Stacks;
use crate::python::tasks::{LoopKind, TaskFrame, is_bridge};
use crate::sampler::greenlets::GreenletThread;
use crate::sampler::moment::{MomentFrame, MomentThread};
use crate::sampler::process_sampler::ProcessSampler;

/// What is below a greenlet, the nearest first, and the bytes that say so.
#[derive(Debug)]
pub(super) struct KnownBelow {
    parents: Vec<Parent>,
    evidence: Bytes,
}

/// A greenlet that is put aside.
#[derive(Debug, Clone)]
struct Parent {
    is_main: bool,
    /// Newest first.
    frames: Vec<TaskFrame>,
}

/// Which greenlet a thread runs.
enum Running {
    Main,
    /// Another, which has these below it.
    Other(Vec<Parent>),
}

impl AsyncStacks {
    /// What stands below the oldest frame of a thread, newest first; `None` where it runs no greenlet but its main one,
    /// or a hub, or that is not known. `frames` are its frames, newest first, and `placed` the same.
    pub(super) fn below(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[MomentFrame],
        placed: &[Placed],
    ) -> Option<Vec<LogicalFrame>> {
        let known = self.greenlets.thread(thread.stack.thread_id)?;
        let oldest = placed.last()?;
        if oldest.class.runs_loop == Some(LoopKind::Hub) {
            self.greenlets.note_hub(known.thread_id);
            return None;
        }
        if Some(oldest.address) == known.oldest_of_main {
            return None;
        }
        let parents = match self.running(sampler, thread, known, oldest.address) {
            Some(Running::Main) => {
                self.greenlets.note_main(known.thread_id, oldest.address);
                return None;
            }
            Some(Running::Other(parents)) => Some(parents),
            None => {
                known.oldest_of_main?;
                None
            }
        };
        let codes = frames.iter().rev().map(|frame| sampler.codes().get(frame.code));
        let own =
            codes.clone().find(|code| !is_trampoline(&code.name, &code.filename)).or_else(|| codes.clone().next());
        let label = self.label_of(format!("greenlet {}", own.map_or("?", |code| &code.name)));
        let Some(parents) = parents else {
            let mut below = vec![label];
            if !known.has_hub {
                below.push(self.label_of("greenlet ?".to_owned()));
            }
            return Some(below);
        };
        Some(self.frames_below(sampler, thread, label, &parents))
    }

    /// A greenlet with this label and what is below it.
    fn frames_below(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        mut label: LogicalFrame,
        parents: &[Parent],
    ) -> Vec<LogicalFrame> {
        let mut below = Vec::new();
        let mut has_label = true;
        for parent in parents {
            // What a bridge runs belongs to the task that has called it.
            if !parent.frames.first().is_some_and(|frame| is_bridge(&self.codes.table, frame)) {
                below.push(label);
            }
            self.add_frames(sampler, thread, &parent.frames, &mut below);
            let own = own_function(&self.codes.table, &parent.frames).map_or("?", |code| &code.name);
            label = self.label_of(format!("greenlet {own}"));
            has_label = !parent.is_main;
        }
        below.extend(has_label.then_some(label));
        below
    }

    /// The frames of a greenlet that is put aside, as the program has them.
    fn add_frames(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        frames: &[TaskFrame],
        below: &mut Vec<LogicalFrame>,
    ) {
        let placed: Vec<Placed> = frames.iter().map(|frame| self.placed_of_task(sampler, frame)).collect();
        let logical = |frame: &TaskFrame| LogicalFrame::Awaiter(frame.place.code, frame.place.line);
        let (newest, older) = cut_at_loop(&placed).unwrap_or((frames.len(), frames.len()));
        below.extend(frames[..newest].iter().map(logical));
        if newest < frames.len() {
            let names: Vec<String> =
                frames.iter().map(|frame| self.codes.table.get(frame.place.code).name.clone()).collect();
            below.extend(self.in_place_of_loop(sampler, thread, &placed, newest, &|place| names[place].clone()));
        }
        below.extend(frames[older..].iter().map(logical));
    }

    fn placed_of_task(&mut self, sampler: &ProcessSampler, frame: &TaskFrame) -> Placed {
        let (address, code_address) = (frame.address, frame.code_address);
        let code = || self.codes.table.get(frame.place.code);
        let class =
            *self.classes.of_tasks.entry(frame.place.code).or_insert_with(|| class_of(sampler, code(), code_address));
        Placed { address, code_address, class }
    }

    /// The greenlet whose oldest frame is `oldest`; `None` where it does not run any more.
    fn running(
        &mut self,
        sampler: &ProcessSampler,
        thread: &MomentThread,
        known: GreenletThread,
        oldest: u64,
    ) -> Option<Running> {
        let memory = sampler.process().memory();
        if let Some(known) = self.below.get(&oldest)
            && is_unchanged(&memory, &known.evidence)
        {
            return Some(Running::Other(known.parents.clone()));
        }
        let (types, shape) = self.greenlets.types()?;
        let leads_to_it = known.running?;
        let layout = &sampler.runtime().layout;
        let read = |objects: ObjectReader<'_>, codes: &mut CodeTable| {
            let greenlets = types.running(objects, shape, leads_to_it)?;
            let running = greenlets.first().map(|greenlet| greenlet.address);
            let mut parents = Vec::new();
            for mut greenlet in greenlets.into_iter().skip(1) {
                let frames = frames_of(objects, codes, &mut greenlet);
                parents.push((greenlet, frames));
            }
            Some((running, parents))
        };
        let codes_in = |(_, parents): &(Option<u64>, Vec<(Greenlet, Vec<TaskFrame>)>)| {
            parents.iter().flat_map(|(_, frames)| frames).map(|frame| frame.code_address).collect()
        };
        let pages = PageCache::new(&memory);
        let ((running, parents), evidence) = read_and_prove(&pages, &memory, layout, &mut self.codes, &read, codes_in)?;
        let is_its = oldest_frame(&memory, layout, thread) == Some(oldest) && is_unchanged(&memory, &evidence);
        if !is_its {
            return None;
        }
        if running == Some(known.main) {
            return Some(Running::Main);
        }
        let parents = parents.into_iter().filter(|(greenlet, _)| greenlet.kind != GreenletKind::Hub);
        let parents: Vec<Parent> =
            parents.map(|(greenlet, frames)| Parent { is_main: greenlet.kind == GreenletKind::Main, frames }).collect();
        if self.below.len() >= MOST_KNOWN {
            self.below.clear();
        }
        self.below.insert(oldest, KnownBelow { parents: parents.clone(), evidence });
        Some(Running::Other(parents))
    }
}

/// The oldest frame of a thread now.
fn oldest_frame(memory: &LiveMemory, layout: &Layout, thread: &MomentThread) -> Option<u64> {
    let pages = PageCache::new(memory);
    Stacks::oldest_frame(&mut &pages, layout, thread.stack.innermost)
}
