//! What would be too narrow to be seen in a flame graph, joined: a picture of a million stacks must still open in a
//! browser.
//!
//! Under each frame, the calls that are left out become one `…` as wide as they were together, so a frame's width stays
//! what it was and the empty room above it stays its own time.

use std::cmp::Reverse;

use super::place::Origin;
use super::tree::{LabelTree, Step};

/// The name of what is joined, and of what lies too deep.
pub(super) const JOINED: &str = "…";
/// A frame is drawn when it is as wide as the whole picture divided by this: an eighth of a pixel of the usual 1200,
/// for zooming.
const NARROWEST: u64 = 10_000;
/// Frames drawn; of more, the widest are. Each takes some 200 bytes.
const MOST: usize = 15_000;

/// A frame of a tree that is written as a list: after its caller, before what it calls, all calls of a frame together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node<'label> {
    /// The frame's text.
    pub(super) label: &'label str,
    /// Whose code it is.
    pub(super) origin: Origin,
    /// How many frames stand above it.
    pub(super) depth: usize,
    /// What it took while it was innermost.
    pub(super) own: Amounts,
}

/// What a frame took, alone or with all that it called, or several frames together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amounts {
    /// What makes the width: the time, and, where two profiles are compared, also the time before of what is gone.
    pub(super) drawn: u64,
    /// The time.
    pub(super) now: u64,
    /// The time in the profile that is compared with, if there is one.
    pub(super) before: u64,
}

impl Amounts {
    /// Of a profile that is compared with none.
    pub(super) fn of_time(now: u64) -> Self {
        Self { drawn: now, now, before: 0 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.drawn = self.drawn.saturating_add(other.drawn);
        self.now = self.now.saturating_add(other.now);
        self.before = self.before.saturating_add(other.before);
    }
}

/// A tree whose frames can be seen.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Narrowed<'label> {
    /// Its frames, in the same order.
    pub(super) nodes: Vec<Node<'label>>,
    /// The share of the whole below which frames were joined, where some were.
    pub(super) limit: Option<f64>,
}

impl Narrowed<'_> {
    /// What `…` stands for, in words, where something was joined.
    pub(super) fn note(&self) -> Option<String> {
        self.limit.map(|limit| format!("{JOINED} joins frames below {}", percent(limit)))
    }
}

/// A small share with two digits that tell.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = (1.0 - percent.abs().max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{percent:.digits$} %")
}

/// The frames of a tree.
pub(super) fn nodes(tree: &LabelTree) -> Vec<Node<'_>> {
    let node = |Step { label, depth, weight_us, .. }| Node {
        label: &label.text,
        origin: label.origin,
        depth,
        own: Amounts::of_time(weight_us),
    };
    tree.walk().map(node).collect()
}

/// Joins what is too narrow.
pub(super) fn narrowed(nodes: Vec<Node<'_>>) -> Narrowed<'_> {
    let widths = widths(&nodes);
    let roots = nodes.iter().zip(&widths).filter(|(node, _)| node.depth == 0);
    let whole = roots.fold(0u64, |whole, (_, width)| whole.saturating_add(width.drawn));
    let least = whole.div_ceil(NARROWEST).max(1);
    let mut widest: Vec<usize> = (0..nodes.len()).filter(|at| widths[*at].drawn >= least).collect();
    let visible = widths.iter().filter(|width| width.drawn > 0).count();
    // A caller comes before what it calls, which is at most as wide and deeper.
    widest.sort_unstable_by_key(|at| (Reverse(widths[*at].drawn), nodes[*at].depth, *at));
    let limit = match widest.get(MOST.saturating_sub(1)) {
        Some(last) if widest.len() > MOST => widths[*last].drawn,
        _ => least,
    };
    widest.truncate(MOST);
    if widest.len() == visible {
        return Narrowed { nodes, limit: None };
    }
    let mut is_kept = vec![false; nodes.len()];
    for at in &widest {
        is_kept[*at] = true;
    }
    let mut joined = Joined { kept: Vec::with_capacity(widest.len()), open: vec![Amounts::default()] };
    let mut left_out_at = None;
    for (at, node) in nodes.into_iter().enumerate() {
        if left_out_at.is_some_and(|depth| node.depth > depth) {
            continue;
        }
        left_out_at = None;
        joined.close_deeper(node.depth);
        if is_kept[at] {
            joined.kept.push(node);
            joined.open.push(Amounts::default());
        } else {
            joined.leave_out(widths[at]);
            left_out_at = Some(node.depth);
        }
    }
    joined.close_deeper(0);
    joined.close_last();
    Narrowed { nodes: joined.kept, limit: Some(limit as f64 / whole.max(1) as f64) }
}

/// What has been kept so far, and, of each frame that may get more calls (the first stands for none), what was left out
/// of its calls.
struct Joined<'label> {
    kept: Vec<Node<'label>>,
    open: Vec<Amounts>,
}

impl Joined<'_> {
    /// Leaves out a frame of this width with all below it.
    fn leave_out(&mut self, width: Amounts) {
        if let Some(open) = self.open.last_mut() {
            open.add(width);
        }
    }

    /// There is nothing more below frames of this depth and deeper ones.
    fn close_deeper(&mut self, depth: usize) {
        while self.open.len() > depth + 1 {
            self.close_last();
        }
    }

    fn close_last(&mut self) {
        let depth = self.open.len().saturating_sub(1);
        if let Some(width) = self.open.pop()
            && width != Amounts::default()
        {
            self.kept.push(Node { label: JOINED, origin: Origin::Marker, depth, own: width });
        }
    }
}

/// What each frame took with all that it called.
pub(super) fn widths(nodes: &[Node<'_>]) -> Vec<Amounts> {
    let mut widths: Vec<Amounts> = nodes.iter().map(|node| node.own).collect();
    // The frames above the current one.
    let mut above: Vec<usize> = vec![];
    let mut callers: Vec<Option<usize>> = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        above.truncate(node.depth);
        callers.push(above.last().copied());
        above.push(at);
    }
    for at in (0..nodes.len()).rev() {
        if let Some(caller) = callers[at] {
            let width = widths[at];
            widths[caller].add(width);
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(depth: usize, label: &str, own: u64) -> Node<'_> {
        Node { label, origin: Origin::Application, depth, own: Amounts { before: own / 2, ..Amounts::of_time(own) } }
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        let nodes = vec![node(0, "a", 10), node(1, "b", 1), node(0, "c", 9_989)];
        assert_eq!(narrowed(nodes.clone()), Narrowed { nodes, limit: None });
        assert_eq!(narrowed(vec![]).nodes, []);
    }

    #[test]
    fn narrow_calls_become_one_below_their_caller() {
        let nodes = vec![
            node(0, "a", 10_000),
            node(1, "b", 2),
            node(2, "c", 2),
            node(1, "d", 40_000),
            node(2, "e", 3),
            node(1, "f", 4),
            node(0, "g", 50_000),
            node(0, "h", 4),
            node(1, "i", 1),
        ];
        let (before, whole) = (widths(&nodes), 100_016.0);
        let result = narrowed(nodes);
        let shown: Vec<(usize, &str, u64)> =
            result.nodes.iter().map(|node| (node.depth, node.label, node.own.now)).collect();
        let expected = [(0, "a", 10_000), (1, "d", 40_000), (2, "…", 3), (1, "…", 8), (0, "g", 50_000), (0, "…", 5)];
        assert_eq!(shown, expected);
        let after = widths(&result.nodes);
        assert_eq!([after[0], after[4]], [before[0], before[6]], "callers stay as wide as they were");
        assert_eq!(result.limit, Some(11.0 / whole));
    }

    #[test]
    fn of_too_many_frames_the_widest_stay_with_their_callers() {
        let labels: Vec<String> = (0..4_000).map(|at| format!("f{at}")).collect();
        let mut nodes = vec![node(0, "main", 0)];
        for (at, label) in labels.iter().enumerate() {
            nodes.extend((1..5).map(|depth| node(depth, label, 0)));
            nodes.push(node(5, label, 10_000 + at as u64));
        }
        let whole = widths(&nodes)[0];
        let result = narrowed(nodes);
        assert_eq!(widths(&result.nodes)[0], whole);
        let kept: Vec<&Node<'_>> = result.nodes.iter().filter(|node| node.label != JOINED).collect();
        assert_eq!(kept.len(), MOST);
        assert!(kept.iter().any(|node| node.label == labels[3_999] && node.depth == 5));
        assert!(kept.iter().all(|node| node.label != labels[0]));
        assert!(result.limit.is_some_and(|limit| limit > 0.0));
    }

    #[test]
    fn shares_have_digits_that_tell() {
        assert_eq!([0.0001, 0.000_137, 0.05].map(percent), ["0.010 %", "0.014 %", "5.0 %"]);
    }
}
