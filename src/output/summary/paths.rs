//! The stacks of functions, whatever their lines, in which most time was spent.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{LONGEST, PathPart, Scale};
use crate::output::functions::Functions;
use crate::output::place::Places;
use crate::output::stack_sums::StackSums;
use crate::output::text::shortened;

/// Paths that are gone down at most, for a profile in which no path stands out.
const MOST_STEPS: usize = 50_000;
/// Frames of a path that are named; of a longer one those between are counted.
const MOST_FRAMES: usize = 100;

/// The nodes of all stacks with the same functions.
struct Step {
    /// The step above it, and its function.
    above: usize,
    nodes: Vec<u32>,
}

/// A step that is to be gone down, the heaviest first, of equals the one that was found first.
#[derive(PartialEq, Eq)]
struct ToDo {
    total_us: u64,
    step: usize,
}

impl Ord for ToDo {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.total_us, std::cmp::Reverse(self.step)).cmp(&(other.total_us, std::cmp::Reverse(other.step)))
    }
}

impl PartialOrd for ToDo {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `most` stacks of functions with the most time of their own. The tree is gone down where most time is, and not
/// where less is left than the last of them has, so that a large tree is seen in part only.
pub(super) fn heaviest(
    sums: &StackSums,
    functions: &Functions<'_>,
    places: &Places<'_>,
    scale: Scale,
    most: usize,
) -> Vec<PathPart> {
    let root = Step { above: 0, nodes: vec![0] };
    let all_us = sums.total_us.first().copied().unwrap_or(0);
    let mut to_do = BinaryHeap::from([ToDo { total_us: all_us, step: 0 }]);
    // The functions that are called from a step, and the nodes in which they are.
    let mut below: Vec<(usize, u32)> = vec![];
    let mut steps = vec![root];
    let mut best: Vec<(u64, usize)> = vec![];
    for _ in 0..MOST_STEPS {
        let Some(ToDo { total_us, step }) = to_do.pop() else { break };
        let least = if best.len() < most { 0 } else { best[most - 1].0 };
        if total_us <= least {
            break;
        }
        below.clear();
        for node in &steps[step].nodes {
            let function = |child: u32| functions.function_of(sums.place[child as usize] as usize);
            below.extend(sums.children(*node).map(|child| (function(child), child)));
        }
        below.sort_unstable();
        for group in below.chunk_by(|one, other| one.0 == other.0) {
            let sum = |of: &[u64]| group.iter().fold(0u64, |sum, (_, node)| sum.saturating_add(of[*node as usize]));
            let (total_us, own) = (sum(&sums.total_us), sum(&sums.node_own_us));
            let least = if best.len() < most { 0 } else { best[most - 1].0 };
            // Neither it nor what goes on from it is among the heaviest: most of a million end here.
            if total_us <= least {
                continue;
            }
            if own > least {
                let at = best.partition_point(|(better, _)| *better >= own);
                best.insert(at, (own, steps.len()));
                best.truncate(most);
            }
            if total_us > own {
                to_do.push(ToDo { total_us, step: steps.len() });
            }
            steps.push(Step { above: step, nodes: group.iter().map(|(_, node)| *node).collect() });
        }
        steps[step].nodes.truncate(1);
    }
    let path = |(own, step): (u64, usize)| {
        let (mut frames, mut names) = (vec![], vec![]);
        let mut at = step;
        while at != 0 {
            let place = places.get(sums.place[steps[at].nodes[0] as usize] as usize);
            let name = shortened(place.name.trim(), LONGEST);
            frames.push(match place.shown_file.as_str() {
                "" => name.to_string(),
                file => format!("{name} ({})", shortened(file, LONGEST)),
            });
            names.push(name.into_owned());
            at = steps[at].above;
        }
        names.reverse();
        frames.reverse();
        let between = frames.len().saturating_sub(MOST_FRAMES);
        if between > 0 {
            let half = MOST_FRAMES / 2;
            frames.splice(half..half + between, [format!("… {between} more")]);
        }
        PathPart { frames, names, amount: scale.amount(own) }
    };
    best.into_iter().map(path).collect()
}
