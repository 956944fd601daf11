//! What each function and each line took, in one walk through the tree of stacks.

use super::functions::Functions;
use super::place::Places;
use crate::profile::Profile;

/// No stack.
const NONE: u32 = u32::MAX;

/// Sums over a profile's tree of stacks, whose nodes are named by the stacks' numbers; node 0 is the empty stack.
pub(super) struct StackSums {
    /// The place that is innermost in each node's stack. That of node 0 says nothing.
    pub(super) place: Vec<u32>,
    /// The time of each node with that of all stacks that go on from it, µs.
    pub(super) total_us: Vec<u64>,
    /// The time in which just each node's stack was seen, µs.
    pub(super) node_own_us: Vec<u64>,
    /// The first stack that goes on from each, and of each the next that goes on from the same.
    first_child: Vec<u32>,
    next_sibling: Vec<u32>,
    /// The time in which each place was innermost, µs.
    pub(super) own_us: Vec<u64>,
    /// The time that each function spent at each of its places, with all that it called from there, µs.
    pub(super) at_line_us: Vec<u64>,
    /// What each function took.
    pub(super) functions: Vec<FunctionSum>,
    /// The time of the empty stack, µs.
    pub(super) bare_us: u64,
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
        let count = profile.table_sizes().stacks;
        let mut parents = Vec::with_capacity(count);
        let mut place = Vec::with_capacity(count);
        parents.push(0u32);
        place.push(0u32);
        for (caller, frame) in profile.stacks_from(1) {
            parents.push(caller.number());
            place.push(u32::try_from(places.frame(frame)).unwrap_or(NONE));
        }
        let mut total_us = node_own_us.clone();
        let (mut first_child, mut next_sibling) = (vec![NONE; count], vec![NONE; count]);
        // A stack comes after that of its caller.
        for node in (1..count).rev() {
            let (parent, us) = (parents[node] as usize, total_us[node]);
            if us == 0 {
                continue;
            }
            total_us[parent] = total_us[parent].saturating_add(us);
            next_sibling[node] = first_child[parent];
            first_child[parent] = node as u32;
        }
        let mut sums = Self {
            bare_us: node_own_us.first().copied().unwrap_or(0),
            own_us: vec![0; places.all().len()],
            at_line_us: vec![0; places.all().len()],
            functions: vec![FunctionSum::default(); functions.all.len()],
            place,
            total_us,
            node_own_us,
            first_child,
            next_sibling,
        };
        sums.sum_functions(functions);
        sums
    }

    /// The stacks that go on from one by one frame, in the order of their numbers; none without time.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let link = |node: u32| Some(node).filter(|node| *node != NONE);
        std::iter::successors(link(self.first_child[node as usize]), move |at| link(self.next_sibling[*at as usize]))
    }

    fn sum_functions(&mut self, functions: &Functions<'_>) {
        // How often each function stands above the current node.
        let mut above = vec![0u32; functions.all.len()];
        let mut node = self.first_child.first().copied().unwrap_or(NONE);
        let mut path: Vec<u32> = vec![];
        while node != NONE {
            let at = node as usize;
            let place = self.place[at] as usize;
            let function = functions.function_of(place);
            let (own, total) = (self.node_own_us[at], self.total_us[at]);
            self.own_us[place] = self.own_us[place].saturating_add(own);
            let sum = &mut self.functions[function];
            sum.own_us = sum.own_us.saturating_add(own);
            if above[function] == 0 {
                sum.total_us = sum.total_us.saturating_add(total);
                self.at_line_us[place] = self.at_line_us[place].saturating_add(total);
            }
            // Down first, then to the next, then up until there is a next.
            if self.first_child[at] != NONE {
                above[function] += 1;
                path.push(node);
                node = self.first_child[at];
                continue;
            }
            let mut last = node;
            node = loop {
                if self.next_sibling[last as usize] != NONE {
                    break self.next_sibling[last as usize];
                }
                let Some(up) = path.pop() else { break NONE };
                above[functions.function_of(self.place[up as usize] as usize)] -= 1;
                last = up;
            };
        }
    }
}
