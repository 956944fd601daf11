//! Joins what took the least when there is too much of it, for a view that is left open for days. The sampler begins
//! its tables anew at that time.

use std::collections::HashSet;

use super::index::{Function, FunctionId, Index, NodeId, ROOT};
use super::memory_limit::{self, Room};
use super::state::{Key, Overlay, State};
use super::window::ThreadNow;
use crate::profile::{Needed, Renumbering, StackId, ThreadRef, Total};

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
            Key::Line(thread, frame) => Key::Line(self.thread(thread), self.by.frame(frame)?.number()),
            Key::Thread(thread) => Key::Thread(self.by.thread(thread)),
            Key::Process(process) => Key::Process(self.by.process(process)),
            Key::Node(thread, node) => Key::Node(self.thread(thread), self.node(node)?),
            Key::Tasks(group) => Key::Tasks(group),
        })
    }
}

impl State {
    /// Joins what took the least. Only when the sampler has begun anew: what windows say until then is in the old
    /// numbers.
    pub(super) fn condense(&mut self) {
        let now = |threads: &[ThreadNow]| threads.iter().map(|now| (now.thread, now.stack)).collect::<Vec<_>>();
        let mut shown: Vec<(ThreadRef, StackId)> = now(&self.data.latest.threads);
        let mut stacks: Vec<StackId> = self.data.latest.window.iter().map(|total| total.stack).collect();
        let mut frozen_totals: &[Total] = &[];
        if let Some(frozen) = &self.data.frozen {
            shown.extend(now(&frozen.threads));
            stacks.extend(frozen.window.iter().map(|total| total.stack));
            frozen_totals = &frozen.all;
        }
        stacks.extend(shown.iter().map(|(_, stack)| *stack));
        let mut threads: HashSet<ThreadRef> = shown.into_iter().map(|(thread, _)| thread).collect();
        threads.extend(self.selection.only_thread);
        let needed = Needed { threads, stacks, totals: frozen_totals, ..Needed::default() };
        let (profile, by) = self.data.profile.condensed(memory_limit::CONDENSED, &needed);
        let before = std::mem::replace(&mut self.data.profile, profile);
        let mut index = Index::default();
        index.extend(&self.data.profile);
        let moved = self.moved(by, &index);
        self.data.index = index;
        self.renumber(&moved);
        log::debug!("condensed from {:?} to {:?}", before.table_sizes(), self.data.profile.table_sizes());
        self.data.room = Room::after_condensing(&self.data.profile);
    }

    fn moved(&self, by: Renumbering, index: &Index) -> Moved {
        let before = &self.data.index;
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
        for collected in std::iter::once(&mut self.data.latest).chain(&mut self.data.frozen) {
            for total in collected.window.iter_mut().chain(&mut collected.all) {
                *total = by.total(total);
            }
            for now in &mut collected.threads {
                *now = ThreadNow { thread: by.thread(now.thread), stack: by.stack(now.stack), ..*now };
            }
        }
        for cursor in &mut self.selection.cursors {
            cursor.selected = cursor.selected.and_then(|key| moved.key(key));
        }
        self.selection.toggled = self.selection.toggled.iter().filter_map(|key| moved.key(*key)).collect();
        self.selection.only_thread = moved.thread(self.selection.only_thread);
        self.selection.zoom = moved.node(self.selection.zoom).unwrap_or(ROOT);
        self.selection.block = moved.node(self.selection.block).unwrap_or(self.selection.zoom);
        self.data.sources = std::mem::take(&mut self.data.sources)
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
