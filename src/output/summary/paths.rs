//! The stacks of functions, whatever their lines, in which most time was spent.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{LONGEST, PathPart, Scale};
use crate::output::functions::{FunctionId, Functions};
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

/// The functions that are called from a step: most of a million nodes end here, so no list of them is made.
struct Called {
    /// What each function takes there with all that goes on from it, and itself, µs.
    times: Vec<Times>,
    /// The step that goes on with it, if one does.
    steps: Vec<Option<usize>>,
    /// Those that are called.
    functions: Vec<FunctionId>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    total_us: u64,
    own_us: u64,
}

impl Called {
    fn new(functions: usize) -> Self {
        Self { times: vec![Times::default(); functions], steps: vec![None; functions], functions: vec![] }
    }

    /// Takes note of a node of a function; one without time is none.
    fn add(&mut self, function: FunctionId, total_us: u64, own_us: u64) {
        let times = &mut self.times[function];
        if times.total_us == 0 {
            self.functions.push(function);
        }
        times.total_us = times.total_us.saturating_add(total_us);
        times.own_us = times.own_us.saturating_add(own_us);
    }

    /// Those that take longer, in the order of their numbers.
    fn heavier_than(&self, least_us: u64) -> Vec<FunctionId> {
        let is_heavier = |function: &FunctionId| self.times[*function].total_us > least_us;
        let mut heavier: Vec<FunctionId> = self.functions.iter().copied().filter(is_heavier).collect();
        heavier.sort_unstable();
        heavier
    }

    fn clear(&mut self) {
        for function in self.functions.drain(..) {
            self.times[function] = Times::default();
            self.steps[function] = None;
        }
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
    let all_us = sums.total_us(0);
    let mut to_do = BinaryHeap::from([ToDo { total_us: all_us, step: 0 }]);
    let mut called = Called::new(functions.all.len());
    let mut steps = vec![root];
    let mut best: Vec<(u64, usize)> = vec![];
    for _ in 0..MOST_STEPS {
        let Some(ToDo { total_us, step }) = to_do.pop() else { break };
        let least = |best: &[(u64, usize)]| if best.len() < most { 0 } else { best[most - 1].0 };
        if total_us <= least(&best) {
            break;
        }
        let children = |node: u32| {
            let function = |child: u32| functions.function_of(sums.place(child));
            sums.children(node).map(move |child| (function(child), child))
        };
        for (function, child) in steps[step].nodes.iter().flat_map(|node| children(*node)) {
            called.add(function, sums.total_us(child), sums.own_us_of_node(child));
        }
        let known = steps.len();
        for function in called.heavier_than(least(&best)) {
            let Times { total_us, own_us } = called.times[function];
            // Neither it nor what goes on from it is among the heaviest.
            if total_us <= least(&best) {
                continue;
            }
            if own_us > least(&best) {
                let at = best.partition_point(|(better, _)| *better >= own_us);
                best.insert(at, (own_us, steps.len()));
                best.truncate(most);
            }
            if total_us > own_us {
                to_do.push(ToDo { total_us, step: steps.len() });
            }
            called.steps[function] = Some(steps.len());
            steps.push(Step { above: step, nodes: vec![] });
        }
        let nodes = std::mem::take(&mut steps[step].nodes);
        if steps.len() > known {
            for (function, child) in nodes.iter().flat_map(|node| children(*node)) {
                if let Some(below) = called.steps[function] {
                    steps[below].nodes.push(child);
                }
            }
        }
        steps[step].nodes.extend(nodes.first());
        called.clear();
    }
    let path = |(own, step): (u64, usize)| {
        let (mut frames, mut names) = (vec![], vec![]);
        let mut at = step;
        while at != 0 {
            let place = places.get(sums.place(steps[at].nodes[0]));
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
