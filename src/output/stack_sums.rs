//! What each function and each line took, in one walk through the tree of stacks.

use super::functions::Functions;
use super::place::{PlaceId, Places};
use crate::profile::{Profile, StackId};

/// No stack.
const NONE: u32 = u32::MAX;

/// Sums over a profile's tree of stacks, whose nodes are named by the stacks' numbers; node 0 is the empty stack.
pub(super) struct StackSums {
    nodes: Vec<Node>,
    /// The time in which each place was innermost, µs.
    pub(super) own_us: Vec<u64>,
    /// The time that each function spent at each of its places, with all that it called from there, µs.
    pub(super) at_line_us: Vec<u64>,
    /// What each function took.
    pub(super) functions: Vec<FunctionSum>,
    /// The time of the empty stack, µs.
    pub(super) bare_us: u64,
}

/// A stack. All that is known of it lies together, for a large tree does not fit into the caches of a CPU.
#[derive(Clone, Copy)]
struct Node {
    total_us: u64,
    own_us: u64,
    place: u32,
    parent: u32,
    /// The first stack that goes on from it, and the next that goes on from the same.
    first_child: u32,
    next_sibling: u32,
}

/// What a function took, µs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FunctionSum {
    /// While it was innermost.
    pub(super) own_us: u64,
    /// While it was in a stack; recursion counts once.
    pub(super) total_us: u64,
}

impl StackSums {
    pub(super) fn new(profile: &Profile, places: &Places<'_>, functions: &Functions<'_>) -> Self {
        let mut node_own_us = vec![0u64; profile.table_sizes().stacks];
        for total in profile.totals() {
            let own = &mut node_own_us[total.stack.number() as usize];
            *own = own.saturating_add(total.weight_us);
        }
        Self::of(profile, places, functions, node_own_us)
    }

    /// The same sums over what else there is to be summed up: a number for each stack of the profile.
    pub(super) fn of(profile: &Profile, places: &Places<'_>, functions: &Functions<'_>, node_own_us: Vec<u64>) -> Self {
        let bare_us = node_own_us.first().copied().unwrap_or(0);
        let empty = (StackId::EMPTY, 0);
        let known = profile.stacks_from(1).map(|(caller, frame)| (caller, places.frame(frame)));
        let node = |((caller, place), own_us): ((StackId, PlaceId), u64)| Node {
            total_us: own_us,
            own_us,
            place: u32::try_from(place).unwrap_or(NONE),
            parent: caller.number(),
            first_child: NONE,
            next_sibling: NONE,
        };
        let mut nodes: Vec<Node> = Vec::with_capacity(node_own_us.len());
        nodes.extend(std::iter::once(empty).chain(known).zip(node_own_us).map(node));
        // A stack comes after that of its caller.
        for at in (1..nodes.len()).rev() {
            let Node { total_us, parent, .. } = nodes[at];
            if total_us == 0 {
                continue;
            }
            let parent = &mut nodes[parent as usize];
            parent.total_us = parent.total_us.saturating_add(total_us);
            let next = std::mem::replace(&mut parent.first_child, at as u32);
            nodes[at].next_sibling = next;
        }
        let mut sums = Self {
            nodes,
            bare_us,
            own_us: vec![0; places.all().len()],
            at_line_us: vec![0; places.all().len()],
            functions: vec![FunctionSum::default(); functions.all.len()],
        };
        sums.sum_functions(functions);
        sums
    }

    /// The place that is innermost in a node's stack. That of node 0 says nothing.
    pub(super) fn place(&self, node: u32) -> PlaceId {
        self.nodes[node as usize].place as PlaceId
    }

    /// The time of a node with that of all stacks that go on from it, µs; 0 where there is no such node.
    pub(super) fn total_us(&self, node: u32) -> u64 {
        self.nodes.get(node as usize).map_or(0, |node| node.total_us)
    }

    /// The time in which just a node's stack was seen, µs.
    pub(super) fn own_us_of_node(&self, node: u32) -> u64 {
        self.nodes[node as usize].own_us
    }

    /// The stacks that go on from one by one frame, in the order of their numbers; none without time.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let link = |node: u32| Some(node).filter(|node| *node != NONE);
        let first = link(self.nodes[node as usize].first_child);
        std::iter::successors(first, move |at| link(self.nodes[*at as usize].next_sibling))
    }

    fn sum_functions(&mut self, functions: &Functions<'_>) {
        // How often each function stands above the current node.
        let mut above = vec![0u32; functions.all.len()];
        let mut at = self.nodes.first().map_or(NONE, |node| node.first_child);
        let mut path: Vec<u32> = vec![];
        while at != NONE {
            let node = self.nodes[at as usize];
            let place = node.place as usize;
            let function = functions.function_of(place);
            self.own_us[place] = self.own_us[place].saturating_add(node.own_us);
            let sum = &mut self.functions[function];
            sum.own_us = sum.own_us.saturating_add(node.own_us);
            if above[function] == 0 {
                sum.total_us = sum.total_us.saturating_add(node.total_us);
                self.at_line_us[place] = self.at_line_us[place].saturating_add(node.total_us);
            }
            // Down first, then to the next, then up until there is a next.
            if node.first_child != NONE {
                above[function] += 1;
                path.push(at);
                at = node.first_child;
                continue;
            }
            let mut next = node.next_sibling;
            while next == NONE {
                let Some(up) = path.pop() else { break };
                let up = self.nodes[up as usize];
                above[functions.function_of(up.place as usize)] -= 1;
                next = up.next_sibling;
            }
            at = next;
        }
    }
}
