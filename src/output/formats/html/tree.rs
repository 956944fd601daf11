//! The stacks of one or two profiles as one tree of frames, small enough for a page.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::output::Lines;
use crate::output::color::MEANINGS;
use crate::output::place::{Origin, Place, Places, process_label, sampled_threads, thread_label};
use crate::profile::{FrameKind, Profile, StackId};

/// Nodes that are kept; of more, the heaviest are. Each takes some four bytes of the page.
const MOST_NODES: usize = 120_000;
/// The name of what is joined.
const JOINED: &str = "…";

/// A function of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Its position in [`PageTree::files`]; none for what has no file.
    pub(super) file: Option<usize>,
    /// Its first line, 0 when not known.
    pub(super) line: u32,
    pub(super) origin: Origin,
    /// It is no code but a task of an event loop, whose frames are those that it called.
    pub(super) is_task: bool,
}

impl Function {
    /// The position in [`MEANINGS`] of the kind of code that it is.
    pub(super) fn kind(&self) -> usize {
        MEANINGS.iter().position(|(one, _)| *one == self.origin).unwrap_or(0)
    }
}

/// A source file of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its full name.
    pub(super) name: String,
    /// As frames show it.
    pub(super) shown: String,
}

/// A thread of a page.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) label: String,
    pub(super) process: String,
    /// It is of the profile that the other is compared with.
    pub(super) is_before: bool,
    /// Nodes with the time in which their stack was seen, µs.
    pub(super) own_us: Vec<(u32, u64)>,
}

/// A node is a stack: its caller's and one more frame. Node 0 is the empty stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) frame: u32,
}

/// The stacks of a page.
#[derive(Debug, Default)]
pub(super) struct PageTree {
    pub(super) functions: Vec<Function>,
    pub(super) files: Vec<File>,
    /// Function and line, 0 when there is none.
    pub(super) frames: Vec<(u32, u32)>,
    /// Each after its parent.
    pub(super) nodes: Vec<Node>,
    pub(super) threads: Vec<Thread>,
    /// The node of each stack of the profile that was added last.
    pub(super) node_of_stack: Vec<u32>,
    /// The share of time that is in nodes that were joined.
    pub(super) joined_share: f64,
    function_ids: HashMap<(String, String, u32), u32>,
    file_ids: HashMap<String, usize>,
    frame_ids: HashMap<(u32, u32), u32>,
    node_ids: HashMap<(u32, u32), u32>,
}

impl PageTree {
    pub(super) fn new() -> Self {
        let mut tree = Self::default();
        tree.nodes.push(Node { parent: 0, frame: 0 });
        let root = Place::marker("all".to_owned());
        tree.frame(&root, Lines::Current, false);
        tree
    }

    /// Adds the stacks of a profile. `lines` says what tells functions and frames apart: their current lines, their
    /// first lines, or nothing but name and file.
    pub(super) fn add(&mut self, profile: &Profile, places: &Places<'_>, lines: Lines, is_before: bool) {
        let mut frame_of_place: Vec<Option<u32>> = vec![None; places.all().len()];
        self.node_of_stack = vec![0];
        for (caller, frame) in profile.stacks_from(1) {
            let place = places.frame(frame);
            let frame = match frame_of_place[place] {
                Some(known) => known,
                None => {
                    let is_task = profile.frame_of(frame).kind == FrameKind::Task;
                    *frame_of_place[place].insert(self.frame(places.get(place), lines, is_task))
                }
            };
            let parent = self.node_of_stack[caller.number() as usize];
            let node = self.child(parent, frame);
            self.node_of_stack.push(node);
        }
        let mut at: HashMap<_, usize> = HashMap::new();
        for id in sampled_threads(profile) {
            let thread = profile.thread(id);
            at.insert(id, self.threads.len());
            self.threads.push(Thread {
                label: thread_label(profile, thread),
                process: process_label(profile, profile.process(thread.process)),
                is_before,
                own_us: vec![],
            });
        }
        for total in profile.totals() {
            let node = self.node(total.stack);
            if let Some(thread) = at.get(&total.thread) {
                self.threads[*thread].own_us.push((node, total.weight_us));
            }
        }
    }

    /// The node of a stack of the profile that was added last.
    pub(super) fn node(&self, stack: StackId) -> u32 {
        self.node_of_stack.get(stack.number() as usize).copied().unwrap_or(0)
    }

    fn frame(&mut self, place: &Place, lines: Lines, is_task: bool) -> u32 {
        let is_apart = lines != Lines::None;
        let first_line = if is_apart { place.first_line } else { 0 };
        let line = if lines == Lines::Current { place.line.unwrap_or(0) } else { 0 };
        // Two recordings may come from different folders.
        let file_key = if is_apart { &place.file } else { &place.shown_file };
        let file = (!place.shown_file.is_empty()).then(|| {
            *self.file_ids.entry(file_key.clone()).or_insert_with(|| {
                self.files.push(File { name: place.file.clone(), shown: place.shown_file.clone() });
                self.files.len() - 1
            })
        });
        let key = (place.name.clone(), file_key.clone(), first_line);
        let function = *self.function_ids.entry(key).or_insert_with(|| {
            let name = if place.name.trim().is_empty() { "<unknown>" } else { place.name.trim() };
            let origin = place.origin;
            self.functions.push(Function { name: name.to_owned(), file, line: first_line, origin, is_task });
            number(self.functions.len() - 1)
        });
        *self.frame_ids.entry((function, line)).or_insert_with(|| {
            self.frames.push((function, line));
            number(self.frames.len() - 1)
        })
    }

    fn child(&mut self, parent: u32, frame: u32) -> u32 {
        *self.node_ids.entry((parent, frame)).or_insert_with(|| {
            self.nodes.push(Node { parent, frame });
            number(self.nodes.len() - 1)
        })
    }

    /// Joins the lightest nodes to `…` where there are more than a page should have, leaves out those without time, and
    /// orders nodes so that each comes before all that it calls, with nothing between.
    pub(super) fn finish(&mut self) {
        let mut totals = vec![0u64; self.nodes.len()];
        for (node, us) in self.threads.iter().flat_map(|thread| &thread.own_us) {
            totals[*node as usize] = totals[*node as usize].saturating_add(*us);
        }
        let own = totals.clone();
        for node in (1..self.nodes.len()).rev() {
            let parent = self.nodes[node].parent as usize;
            totals[parent] = totals[parent].saturating_add(totals[node]);
        }
        let mut kept: Vec<usize> = (1..self.nodes.len()).filter(|node| totals[*node] > 0).collect();
        if kept.len() > MOST_NODES {
            // A caller has no less time, and a lower number.
            kept.select_nth_unstable_by_key(MOST_NODES, |node| (Reverse(totals[*node]), *node));
            kept.truncate(MOST_NODES);
        }
        let mut is_kept = vec![false; self.nodes.len()];
        is_kept[0] = true;
        kept.iter().for_each(|node| is_kept[*node] = true);
        self.join(&mut is_kept, &own, totals.first().copied().unwrap_or(0));
        self.renumber(&is_kept);
    }

    /// Moves the time of what is not kept to a `…` below what called it.
    fn join(&mut self, is_kept: &mut Vec<bool>, own: &[u64], whole: u64) {
        let count = is_kept.len();
        let mut instead: Vec<u32> = (0..count).map(number).collect();
        let mut joined_us = 0u64;
        for node in 1..count {
            if is_kept[node] {
                continue;
            }
            joined_us = joined_us.saturating_add(own[node]);
            let parent = self.nodes[node].parent as usize;
            instead[node] = if is_kept[parent] {
                let joined = Place::marker(JOINED.to_owned());
                let frame = self.frame(&joined, Lines::Current, false);
                self.child(number(parent), frame)
            } else {
                instead[parent]
            };
        }
        for (node, _) in self.threads.iter_mut().flat_map(|thread| &mut thread.own_us) {
            *node = instead[*node as usize];
        }
        self.node_of_stack.iter_mut().for_each(|node| *node = instead[*node as usize]);
        let mut is_used = vec![false; self.nodes.len()];
        self.threads.iter().flat_map(|thread| &thread.own_us).for_each(|(node, _)| is_used[*node as usize] = true);
        is_kept.resize(self.nodes.len(), false);
        is_kept[count..].copy_from_slice(&is_used[count..]);
        self.joined_share = joined_us as f64 / whole.max(1) as f64;
    }

    fn renumber(&mut self, is_kept: &[bool]) {
        let mut children = vec![vec![]; self.nodes.len()];
        for node in (1..self.nodes.len()).filter(|node| is_kept[*node]) {
            children[self.nodes[node].parent as usize].push(node);
        }
        let mut new_number = vec![0u32; self.nodes.len()];
        let mut nodes = vec![];
        let mut to_do = vec![0usize];
        while let Some(node) = to_do.pop() {
            new_number[node] = number(nodes.len());
            let Node { parent, frame } = self.nodes[node];
            nodes.push(Node { parent: new_number[parent as usize], frame });
            to_do.extend(children[node].drain(..).rev());
        }
        self.nodes = nodes;
        self.node_ids.clear();
        for thread in &mut self.threads {
            thread.own_us.iter_mut().for_each(|(node, _)| *node = new_number[*node as usize]);
            thread.own_us.sort_unstable();
            thread.own_us.dedup_by(|later, first| {
                let is_same = later.0 == first.0;
                if is_same {
                    first.1 = first.1.saturating_add(later.1);
                }
                is_same
            });
        }
        self.node_of_stack.iter_mut().for_each(|node| *node = new_number[*node as usize]);
    }
}

/// A table's position; tables of a profile are capped far below the limit.
pub(super) fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
