//! The greenlets of a process that runs on: found by a search through its memory, then looked at again and again.
//!
//! A search takes as long as copying all memory, so it is done in slices between samples, the first one in half of the
//! time, others in a twentieth. New greenlets mostly take the place of ones that have ended, so the blocks of memory
//! that have had some are gone through at every look.
//!
//! Limits: what comes and goes between two searches in other places is not seen. Before the end of the first search
//! nothing is known.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::moment::{Moment, MomentThread};
use super::process_sampler::ProcessSampler;
use crate::memory::PageCache;
use crate::process::{Mapping, Process};
use crate::python::code::CodeTable;
use crate::python::greenlets::{
    Greenlet, GreenletKind, GreenletShape, GreenletState, GreenletTypes, RunningGreenlet, frames_of,
};
use crate::python::object::ObjectReader;
use crate::python::tasks::{Task, TaskFrame, TaskLibrary, TaskState};

/// The most memory that is searched, in bytes.
pub(crate) const MOST_SCANNED: u64 = 4 << 30;
/// How much of it is at once: in the first search, and in later ones.
const SLICE_AT_FIRST: u64 = 4 << 20;
const SLICE: u64 = 2 << 20;
/// After a slice there is none for so many times as long as it took: in the first search, and in later ones.
const REST_AT_FIRST: u32 = 1;
const REST: u32 = 19;
/// Pages that are kept while it is found out which threads have greenlets, beside those of the looks at tasks.
const PAGES_FOR_THREADS: usize = 1024;
/// From one search to the next, at least.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// A process that has not imported greenlet is asked again after this, then twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Memory that has had greenlets is gone through in blocks of this size: what Python's allocator gives to objects of
/// one size (`POOL_SIZE` from 3.10 on, Include/internal/pycore_obmalloc.h).
const BLOCK: u64 = 16 << 10;
/// As many blocks are gone through at a look.
const MOST_BLOCKS: usize = 1024;

/// Where objects of a process may lie: of the [mappings that can have some](object_mappings) what was ever touched.
pub(crate) fn object_ranges(process: &Process) -> Vec<Range<u64>> {
    process.touched_memory(&object_mappings(&process.maps().unwrap_or_default()))
}

/// Where objects may lie: memory that can be written and has no file behind it. The main thread's stack is no such
/// place.
pub(crate) fn object_mappings(mappings: &[Mapping]) -> Vec<Range<u64>> {
    let holds_objects = |mapping: &&Mapping| {
        let is_stack = mapping.label.as_deref().is_some_and(|label| label.starts_with("[stack"));
        mapping.readable && mapping.writable && mapping.path.is_none() && !is_stack
    };
    mappings.iter().filter(holds_objects).map(|mapping| mapping.start..mapping.end).collect()
}

/// The thread on whose stack an address is. The `pthread_t` of a thread is in the mapping of its stack, above all of
/// it; that of the main thread lies elsewhere, and its thread state is the first of the main interpreter.
pub(crate) fn thread_of_stack<'threads>(
    threads: &'threads [MomentThread],
    mappings: &[Mapping],
    address: u64,
) -> Option<&'threads MomentThread> {
    let mapping = mappings.iter().find(|mapping| mapping.contains(address))?;
    // Mappings of several stacks may have become one.
    let is_above = |thread: &&MomentThread| {
        let ident = thread.stack.thread_id;
        ident >= address && mapping.contains(ident)
    };
    threads.iter().filter(is_above).min_by_key(|thread| thread.stack.thread_id).or(threads.first())
}

/// A greenlet that was read, and its frames, newest first.
pub(super) type ReadGreenlet = (Greenlet, Vec<TaskFrame>);

/// A thread that has greenlets.
#[derive(Debug, Clone, Copy)]
pub(super) struct GreenletThread {
    /// `PyThreadState.thread_id`.
    pub(super) thread_id: u64,
    /// Its main greenlet.
    pub(super) main: u64,
    /// What leads to the greenlet that it runs (greenlet 2.0+).
    pub(super) running: Option<RunningGreenlet>,
    /// The oldest frame of its main greenlet, once that is known.
    pub(super) oldest_of_main: Option<u64>,
    /// Whether one of its greenlets runs an event loop.
    pub(super) has_hub: bool,
}

/// A search that is not at its end.
#[derive(Debug)]
struct Search {
    /// What is left to go through, the next last.
    ranges: Vec<Range<u64>>,
    found: Vec<u64>,
    left: u64,
}

/// Knows the greenlets of one process.
#[derive(Debug, Default)]
pub(super) struct Greenlets {
    types: Option<GreenletTypes>,
    shape: Option<GreenletShape>,
    /// When it is time for the next step: to ask for greenlet, to begin a search, or for a slice of one.
    next: Option<Instant>,
    pause: Duration,
    search: Option<Search>,
    has_searched: bool,
    /// What may be greenlets, in order.
    candidates: Vec<u64>,
    /// Blocks that have had some at the last search.
    blocks: Vec<Range<u64>>,
    threads: Vec<GreenletThread>,
    /// Those that run event loops, as far as they were seen put aside: that of eventlet is known by its frames only.
    hubs: HashSet<u64>,
    /// Of those that were seen put aside, the functions that they are for: while one runs, its frames are its thread's.
    functions: HashMap<u64, String>,
}

impl Greenlets {
    /// Gives those that run the names that they had when they were seen put aside.
    pub(super) fn name_running(&mut self, tasks: &mut [Task]) {
        let before = std::mem::take(&mut self.functions);
        for task in tasks.iter_mut().filter(|task| task.library == TaskLibrary::Greenlet) {
            if task.state == TaskState::Running && task.links.is_empty() {
                let Some(known) = before.get(&task.address) else { continue };
                task.coroutine.clone_from(known);
            }
            self.functions.insert(task.address, task.coroutine.clone());
        }
    }

    /// The types of greenlets and where these have what, where both are known.
    pub(super) fn types(&self) -> Option<(&GreenletTypes, GreenletShape)> {
        self.types.as_ref().zip(self.shape)
    }

    /// A thread by its `PyThreadState.thread_id`, if it is known to have greenlets.
    pub(super) fn thread(&self, thread_id: u64) -> Option<GreenletThread> {
        self.threads.iter().find(|thread| thread.thread_id == thread_id).copied()
    }

    /// Notes the oldest frame of the main greenlet of a thread.
    pub(super) fn note_main(&mut self, thread_id: u64, oldest: u64) {
        let known = self.threads.iter_mut().filter(|thread| thread.thread_id == thread_id);
        known.for_each(|thread| thread.oldest_of_main = Some(oldest));
    }

    /// Notes that a thread has a greenlet that runs an event loop.
    pub(super) fn note_hub(&mut self, thread_id: u64) {
        let known = self.threads.iter_mut().filter(|thread| thread.thread_id == thread_id);
        known.for_each(|thread| thread.has_hub = true);
    }

    /// Goes on with what is to be done, if it is time to. `moment` is the sample of the process that was taken now.
    pub(super) fn advance(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        let start = Instant::now();
        if self.next.is_some_and(|next| start < next) {
            return;
        }
        let Some(thread) = moment.threads.first() else { return };
        let Some(search) = &mut self.search else {
            self.begin_search(sampler, thread, start);
            return;
        };
        let Some(types) = &self.types else { return };
        let memory = sampler.process().memory();
        let objects = ObjectReader::new(&memory, &sampler.runtime().layout);
        let (size, rest) = if self.has_searched { (SLICE, REST) } else { (SLICE_AT_FIRST, REST_AT_FIRST) };
        let slice = search.next_slice(size);
        if !slice.is_empty() {
            search.found.extend(types.scan(objects, &slice, size).candidates);
            self.next = Some(start + start.elapsed() * (rest + 1));
            return;
        }
        self.candidates = std::mem::take(&mut search.found);
        self.candidates.sort_unstable();
        self.candidates.dedup();
        self.blocks = blocks(&self.candidates);
        self.search = None;
        self.has_searched = true;
        self.next = Some(start + SEARCH_EVERY);
        self.find_threads(sampler, moment);
    }

    fn begin_search(&mut self, sampler: &ProcessSampler, thread: &MomentThread, now: Instant) {
        let memory = sampler.process().memory();
        let cached = PageCache::new(&memory);
        let layout = &sampler.runtime().layout;
        let objects = ObjectReader::new(&cached, layout);
        let modules = objects.pointer(thread.interpreter.address, layout.interpreter.modules);
        let types = modules.ok().and_then(|modules| GreenletTypes::find(objects, modules).transpose());
        match types {
            Some(Ok(types)) => {
                self.types = Some(types);
                let mut ranges = object_ranges(sampler.process());
                ranges.reverse();
                self.search = Some(Search { ranges, found: Vec::new(), left: MOST_SCANNED });
                self.next = None;
            }
            found => {
                if let Some(Err(error)) = found {
                    log::debug!("greenlets are not shown: {error}");
                }
                self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.next = Some(now + self.pause);
            }
        }
    }

    /// Finds out which threads have greenlets.
    fn find_threads(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        let Some(types) = &self.types else { return };
        let memory = sampler.process().memory();
        let pages = PageCache::with_room(&memory, PAGES_FOR_THREADS);
        let objects = ObjectReader::new(&pages, &sampler.runtime().layout);
        self.shape = self.shape.or_else(|| types.learn_shape(objects, &self.candidates));
        let greenlets = match types.read(objects, &self.candidates, 0) {
            Ok(greenlets) => greenlets,
            Err(error) => {
                log::debug!("greenlets: {error}");
                return;
            }
        };
        let mappings = sampler.process().maps().unwrap_or_default();
        let mains = greenlets.iter().filter(|greenlet| greenlet.kind == GreenletKind::Main);
        let threads = mains.filter_map(|main| {
            let own = greenlets.iter().filter(|greenlet| greenlet.main == Some(main.address));
            let place = own.clone().find_map(|greenlet| greenlet.stack_start)?;
            let thread_id = thread_of_stack(&moment.threads, &mappings, place)?.stack.thread_id;
            let known = self.threads.iter().find(|known| known.thread_id == thread_id);
            let known = known.filter(|known| known.main == main.address);
            Some(GreenletThread {
                thread_id,
                main: main.address,
                running: main.thread_state.map(|state| RunningGreenlet { thread_state: state, main: main.address }),
                oldest_of_main: main.frames.last().map_or(known.and_then(|known| known.oldest_of_main), |oldest| {
                    Some(oldest.address).filter(|_| !main.is_truncated)
                }),
                has_hub: known.is_some_and(|known| known.has_hub)
                    || own.clone().any(|greenlet| greenlet.kind == GreenletKind::Hub),
            })
        });
        self.threads = threads.collect();
    }

    /// Looks for new ones where some have been.
    pub(super) fn find_new(&mut self, sampler: &ProcessSampler) {
        let Some(types) = &self.types else { return };
        let memory = sampler.process().memory();
        let scan = types.scan(ObjectReader::new(&memory, &sampler.runtime().layout), &self.blocks, MOST_SCANNED);
        self.add(&scan.candidates);
    }

    /// Whether there are greenlets which are not known yet.
    pub(super) fn is_searching(&self) -> bool {
        self.types.is_some() && !self.has_searched
    }

    /// Adds what other objects say to be greenlets.
    pub(super) fn add(&mut self, addresses: &[u64]) {
        if !addresses.is_empty() {
            self.candidates.extend(addresses);
            self.candidates.sort_unstable();
            self.candidates.dedup();
        }
    }

    /// All that have not ended, as `objects` shows them. What is no greenlet any more is forgotten.
    pub(super) fn read(&mut self, objects: ObjectReader<'_>, codes: &mut CodeTable) -> Vec<ReadGreenlet> {
        let Some(types) = self.types.as_ref().filter(|_| !self.candidates.is_empty()) else { return Vec::new() };
        let Ok(found) = types.read(objects, &self.candidates, 0) else { return Vec::new() };
        self.candidates = found.iter().map(|greenlet| greenlet.address).collect();
        let is_hub = |greenlet: &&Greenlet| greenlet.kind == GreenletKind::Hub || self.hubs.contains(&greenlet.address);
        self.hubs = found.iter().filter(is_hub).map(|greenlet| greenlet.address).collect();
        let living = found.into_iter().filter(|greenlet| greenlet.state != GreenletState::Finished);
        let with_frames = living.map(|mut greenlet| {
            let frames = frames_of(objects, codes, &mut greenlet);
            // One that runs shows no frames. Where there is a hub, what the main greenlet has made is taken for it.
            let may_be_hub = greenlet.state == GreenletState::Running
                && greenlet.kind == GreenletKind::Ordinary
                && greenlet.parent == greenlet.main
                && self.threads.iter().any(|thread| thread.has_hub && Some(thread.main) == greenlet.main);
            if may_be_hub || self.hubs.contains(&greenlet.address) {
                greenlet.kind = GreenletKind::Hub;
            }
            (greenlet, frames)
        });
        with_frames.collect()
    }
}

impl Search {
    /// What is to be gone through next, of this size together at most; nothing at the end.
    fn next_slice(&mut self, size: u64) -> Vec<Range<u64>> {
        let mut size = size.min(self.left);
        let mut slice = Vec::new();
        while size > 0
            && let Some(range) = self.ranges.last_mut()
        {
            let end = range.end.min(range.start.saturating_add(size));
            let part = range.start..end;
            range.start = end;
            if part.is_empty() {
                self.ranges.pop();
                continue;
            }
            size -= part.end - part.start;
            self.left -= part.end - part.start;
            slice.push(part);
        }
        slice
    }
}

/// The blocks of memory that these lie in, put together where they are neighbours.
fn blocks(addresses: &[u64]) -> Vec<Range<u64>> {
    let mut blocks: Vec<Range<u64>> = Vec::new();
    let mut count = 0;
    for address in addresses {
        let start = address & !(BLOCK - 1);
        let end = start.saturating_add(BLOCK);
        let last = blocks.last_mut();
        if last.as_ref().is_some_and(|last| last.end > *address) {
            continue;
        }
        count += 1;
        match last {
            _ if count > MOST_BLOCKS => break,
            Some(last) if last.end == start => last.end = end,
            _ => blocks.push(start..end),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_blocks_are_gone_through_as_one() {
        assert_eq!(blocks(&[0x4010, 0x7ff0, 0x8000, 0x20000]), [0x4000..0xc000, 0x20000..0x24000]);
        assert_eq!(blocks(&[]), []);
        assert_eq!(blocks(&[u64::MAX - 8]).first(), Some(&(u64::MAX - (BLOCK - 1)..u64::MAX)));
    }

    #[test]
    fn a_search_goes_through_all_ranges_in_slices() {
        let ranges = vec![10 * SLICE..10 * SLICE + 5, 0..0, 0..2 * SLICE + 1];
        let slices = |ranges: Vec<Range<u64>>, left: u64| {
            let mut search = Search { ranges, found: Vec::new(), left };
            let mut slices = Vec::new();
            while let slice = search.next_slice(SLICE)
                && !slice.is_empty()
            {
                slices.push(slice.iter().map(|part| (part.start, part.end)).collect::<Vec<_>>());
            }
            slices
        };
        let last = vec![(2 * SLICE, 2 * SLICE + 1), (10 * SLICE, 10 * SLICE + 5)];
        assert_eq!(slices(ranges, MOST_SCANNED), [vec![(0, SLICE)], vec![(SLICE, 2 * SLICE)], last]);
        let all = vec![0..u64::MAX, 0..0];
        assert_eq!(slices(all, SLICE + 7), [vec![(0, SLICE)], vec![(SLICE, SLICE + 7)]]);
    }
}
