//! All stacks of a profile as one tree of labels, with the time of each: what collapsed stacks and flame graphs are
//! made of.

use std::collections::HashMap;

use super::Presentation;
use super::place::{Origin, PlaceId, Places};
use crate::profile::{Profile, StackId, ThreadRef};

/// Stacks joined where their labels are equal.
pub(super) struct LabelTree {
    labels: Vec<Label>,
    /// A node comes after its parent.
    nodes: Vec<Node>,
}

/// A frame's text.
pub(super) struct Label {
    /// `name (file:line)`.
    pub(super) text: String,
    /// Whose code it is; of several, the first that was seen.
    pub(super) origin: Origin,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: Option<usize>,
    label: usize,
    weight_us: u64,
    samples: u64,
}

/// A step of [`LabelTree::walk`].
pub(super) struct Step<'tree> {
    /// The frame.
    pub(super) label: &'tree Label,
    /// How many frames stand above it; the outermost has 0.
    pub(super) depth: usize,
    /// The time and the samples for which it was innermost.
    pub(super) weight_us: u64,
    /// The samples for which it was innermost.
    pub(super) samples: u64,
}

impl LabelTree {
    pub(super) fn new(profile: &Profile, presentation: &Presentation) -> Self {
        let mut builder = Builder {
            places: Places::new(profile, presentation),
            tree: Self { labels: vec![], nodes: vec![] },
            label_ids: HashMap::new(),
            label_of_place: vec![],
            node_ids: HashMap::new(),
            stack_nodes: HashMap::new(),
            prefixes: HashMap::new(),
        };
        for total in profile.totals() {
            let prefix = builder.prefix(total.thread);
            if let Some(node) = builder.stack(profile, prefix, total.stack) {
                let node = &mut builder.tree.nodes[node];
                node.weight_us = node.weight_us.saturating_add(total.weight_us);
                node.samples = node.samples.saturating_add(total.samples);
            }
        }
        builder.tree
    }

    /// Every node after its parent, the children of one in the order of their labels.
    pub(super) fn walk(&self) -> impl Iterator<Item = Step<'_>> {
        let mut by_label: Vec<usize> = (0..self.labels.len()).collect();
        by_label.sort_by_key(|label| &self.labels[*label].text);
        let mut rank = vec![0; by_label.len()];
        for (position, label) in by_label.into_iter().enumerate() {
            rank[label] = position;
        }
        let mut children = vec![vec![]; self.nodes.len()];
        let mut to_do = vec![];
        for (at, node) in self.nodes.iter().enumerate() {
            node.parent.map_or(&mut to_do, |parent| &mut children[parent]).push((at, 0));
        }
        // The last one is taken first.
        let order =
            |list: &mut Vec<(usize, usize)>| list.sort_by_key(|(at, _)| std::cmp::Reverse(rank[self.nodes[*at].label]));
        order(&mut to_do);
        children.iter_mut().for_each(order);
        std::iter::from_fn(move || {
            let (at, depth) = to_do.pop()?;
            to_do.extend(children[at].drain(..).map(|(child, _)| (child, depth + 1)));
            let Node { label, weight_us, samples, .. } = self.nodes[at];
            Some(Step { label: &self.labels[label], depth, weight_us, samples })
        })
    }
}

struct Builder<'profile> {
    places: Places<'profile>,
    tree: LabelTree,
    label_ids: HashMap<String, usize>,
    label_of_place: Vec<Option<usize>>,
    node_ids: HashMap<(Option<usize>, usize), usize>,
    /// The node of a stack under a prefix's node.
    stack_nodes: HashMap<(Option<usize>, StackId), usize>,
    prefixes: HashMap<ThreadRef, Option<usize>>,
}

impl Builder<'_> {
    /// The node under which a thread's stacks hang; `None` is the root.
    fn prefix(&mut self, thread: ThreadRef) -> Option<usize> {
        if let Some(node) = self.prefixes.get(&thread) {
            return *node;
        }
        let mut node = None;
        for at in 0..self.places.prefix(thread).len() {
            let place = self.places.prefix(thread)[at];
            node = Some(self.child(node, place));
        }
        self.prefixes.insert(thread, node);
        node
    }

    fn stack(&mut self, profile: &Profile, prefix: Option<usize>, stack: StackId) -> Option<usize> {
        // Up to the first caller that is known already, then down again.
        let mut missing = vec![];
        let mut node = prefix;
        let mut at = stack;
        while let Some((parent, frame)) = profile.pop(at) {
            if let Some(known) = self.stack_nodes.get(&(prefix, at)) {
                node = Some(*known);
                break;
            }
            missing.push((at, frame));
            at = parent;
        }
        for (stack, frame) in missing.into_iter().rev() {
            let place = self.places.frame(frame);
            let child = self.child(node, place);
            self.stack_nodes.insert((prefix, stack), child);
            node = Some(child);
        }
        node
    }

    fn child(&mut self, parent: Option<usize>, place: PlaceId) -> usize {
        let label = self.label(place);
        *self.node_ids.entry((parent, label)).or_insert_with(|| {
            self.tree.nodes.push(Node { parent, label, weight_us: 0, samples: 0 });
            self.tree.nodes.len() - 1
        })
    }

    fn label(&mut self, place: PlaceId) -> usize {
        if place >= self.label_of_place.len() {
            self.label_of_place.resize(place + 1, None);
        }
        if let Some(label) = self.label_of_place[place] {
            return label;
        }
        // A semicolon ends a frame in collapsed stacks.
        let text = self.places.get(place).label().replace(';', ":");
        let origin = self.places.get(place).origin;
        let label = *self.label_ids.entry(text.clone()).or_insert_with(|| {
            self.tree.labels.push(Label { text, origin });
            self.tree.labels.len() - 1
        });
        self.label_of_place[place] = Some(label);
        label
    }
}
