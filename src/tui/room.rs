//! Keeping what is held within bounds, for a view that is left open for days: when there is too much of it, what took the least is
//! joined, and the sampler begins its tables anew.

use std::collections::HashSet;

use super::index::{Function, FunctionId, Index, NodeId, ROOT};
use super::rows::Key;
use super::state::{Overlay, State};
use super::window::ThreadNow;
use crate::profile::{self, Needed, Renumbering, StackId, ThreadRef, Total};

/// Stacks (some 100 bytes each, here and in the sampler) and totals (some 60 bytes) that there may be. Of totals there are as many as threads
/// times stacks in time; joined they lose only which thread they were of.
const MOST: profile::Room = profile::Room { stacks: 200_000, totals: 57_000 };
/// Frames that there may be, and threads, also those that have ended, and processes.
const MOST_FRAMES: usize = 100_000;
const MOST_THREADS: usize = 2000;
/// When it was condensed, and what could not be dropped still is this part of the room, the room grows.
const AT_MOST_FILLED: usize = 2;
/// Sources kept; the text of a file can be some megabytes long.
pub(super) const MOST_SOURCES: usize = 16;

/// How much there may be before it is condensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    stacks: usize,
    totals: usize,
    frames: usize,
    threads: usize,
    /// The sampler was asked to begin anew.
    pub(super) is_asked: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { stacks: MOST.stacks, totals: MOST.totals, frames: MOST_FRAMES, threads: MOST_THREADS, is_asked: false }
    }
}

/// What numbers of keys have become.
struct Moved {
    by: Renumbering,
    functions: Vec<Option<FunctionId>>,
    nodes: Vec<Option<NodeId>>,
}

impl Moved {
    fn thread(&self, thread: Option<ThreadRef>) -> Option<ThreadRef> {
        thread.map(|thread| self.by.thread(thread))
    }

    fn function(&self, id: FunctionId) -> Option<FunctionId> {
        self.functions.get(id as usize).copied().flatten()
    }

    fn node(&self, id: NodeId) -> Option<NodeId> {
        self.nodes.get(id as usize).copied().flatten()
    }

    fn key(&self, key: Key) -> Option<Key> {
        Some(match key {
            Key::Function(thread, id) => Key::Function(self.thread(thread), self.function(id)?),
            Key::Line(thread, frame) => Key::Line(self.thread(thread), self.by.frame(frame)?),
            Key::Thread(thread) => Key::Thread(self.by.thread(thread)),
            Key::Process(process) => Key::Process(self.by.process(process)),
            Key::Node(thread, node) => Key::Node(self.thread(thread), self.node(node)?),
        })
    }
}

impl State {
    /// Whether there is more than there may be, and nothing is done about that yet.
    pub(super) fn is_over_room(&self) -> bool {
        let (sizes, room) = (self.profile.table_sizes(), &self.room);
        !room.is_asked
            && (sizes.stacks > room.stacks
                || sizes.frames > room.frames
                || self.profile.totals().len() > room.totals
                || self.profile.threads().len() > room.threads
                || self.profile.processes().len() > room.threads)
    }

    /// Joins what took the least. Only when the sampler has begun anew: what windows say until then is in the old numbers.
    pub(super) fn condense(&mut self) {
        let now = |threads: &[ThreadNow]| threads.iter().map(|now| (now.thread, now.stack)).collect::<Vec<_>>();
        let mut shown: Vec<(ThreadRef, StackId)> = now(&self.latest.threads);
        let mut stacks: Vec<StackId> = self.latest.window.iter().map(|total| total.stack).collect();
        let mut frozen_totals: &[Total] = &[];
        if let Some(frozen) = &self.frozen {
            shown.extend(now(&frozen.threads));
            stacks.extend(frozen.window.iter().map(|total| total.stack));
            frozen_totals = &frozen.all;
        }
        stacks.extend(shown.iter().map(|(_, stack)| *stack));
        let mut threads: HashSet<ThreadRef> = shown.into_iter().map(|(thread, _)| thread).collect();
        threads.extend(self.only_thread);
        let needed = Needed { threads, stacks, totals: frozen_totals };
        // To half of what there may be, so that it is not soon done again.
        let target = profile::Room { stacks: MOST.stacks / 4, totals: MOST.totals / 2 };
        let (profile, by) = self.profile.condensed(target, &needed);
        let before = std::mem::replace(&mut self.profile, profile);
        let mut index = Index::default();
        index.extend(&self.profile);
        let moved = self.moved(by, &index);
        self.index = index;
        self.renumber(&moved);
        log::debug!("condensed from {:?} to {:?}", before.table_sizes(), self.profile.table_sizes());
        let sizes = self.profile.table_sizes();
        self.room = Room {
            stacks: MOST.stacks.max(sizes.stacks * AT_MOST_FILLED),
            totals: MOST.totals.max(self.profile.totals().len() * AT_MOST_FILLED),
            frames: MOST_FRAMES.max(sizes.frames * AT_MOST_FILLED),
            threads: MOST_THREADS.max(self.profile.threads().len() * AT_MOST_FILLED),
            is_asked: false,
        };
    }

    fn moved(&self, by: Renumbering, index: &Index) -> Moved {
        let before = &self.index;
        let functions: Vec<Option<FunctionId>> = (0..before.function_count())
            .map(|id| {
                let known = before.function(u32::try_from(id).ok()?)?;
                let text = |id| by.text(id);
                index.id_of(&Function {
                    name: text(known.name)?,
                    file: text(known.file)?,
                    short_file: text(known.short_file)?,
                    ..*known
                })
            })
            .collect();
        let mut nodes: Vec<Option<NodeId>> = vec![Some(ROOT)];
        for id in 1..before.node_count() {
            // A node has a higher number than its caller.
            let node = before.node(u32::try_from(id).unwrap_or(ROOT));
            let caller = nodes.get(node.parent as usize).copied().flatten();
            let function = functions.get(node.function as usize).copied().flatten();
            nodes.push(caller.zip(function).and_then(|(caller, function)| index.child(caller, function)));
        }
        Moved { by, functions, nodes }
    }

    fn renumber(&mut self, moved: &Moved) {
        let by = &moved.by;
        for collected in std::iter::once(&mut self.latest).chain(&mut self.frozen) {
            for total in collected.window.iter_mut().chain(&mut collected.all) {
                *total = by.total(total);
            }
            for now in &mut collected.threads {
                *now = ThreadNow { thread: by.thread(now.thread), stack: by.stack(now.stack), ..*now };
            }
        }
        for cursor in &mut self.cursors {
            cursor.selected = cursor.selected.and_then(|key| moved.key(key));
        }
        self.toggled = self.toggled.iter().filter_map(|key| moved.key(*key)).collect();
        self.only_thread = moved.thread(self.only_thread);
        self.zoom = moved.node(self.zoom).unwrap_or(ROOT);
        self.block = moved.node(self.block).unwrap_or(self.zoom);
        self.sources = std::mem::take(&mut self.sources)
            .into_iter()
            .filter_map(|(file, source)| Some((by.text(file)?, source)))
            .collect();
        if let Overlay::Detail(detail) = &mut self.overlay {
            match moved.function(detail.function) {
                Some(function) => detail.function = function,
                None => self.overlay = Overlay::Nothing,
            }
        }
        // Worked out anew by the next refresh.
        self.rows.clear();
        self.blocks.clear();
    }
}
