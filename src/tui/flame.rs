//! The flame graph as blocks on a grid of cells: callers above, width is time.

use std::collections::HashMap;

use super::index::{NodeId, ROOT};
use super::state::{Block, Scope, State};
use super::sums::{Adder, Sum};
use crate::output::sort_by_key;

/// Levels beyond this are not laid out.
const DEEPEST: u32 = 4096;

/// The blocks below the zoomed one, level by level, from left to right; the zoomed one first.
pub(super) fn blocks(state: &State, adder: &mut Adder) -> Vec<Block> {
    let shown = state.data.shown();
    let totals = if state.selection.scope == Scope::Window { shown.window } else { shown.all };
    let sums = state.sums(adder, totals.iter(), false);
    let root = sums.iter().find(|sum| sum.id == state.selection.zoom).or(sums.first());
    let Some(root) = root else { return Vec::new() };
    let scale = f64::from(state.size.width) / (root.total_us.max(1)) as f64;
    let mut children: HashMap<NodeId, Vec<Sum>> = HashMap::new();
    // What is narrower than half a column is not to be seen, nor is anything below it.
    let is_wide = |sum: &Sum| sum.id != ROOT && sum.total_us as f64 * scale >= 0.5;
    let mut wide: Vec<Sum> = sums.iter().copied().filter(is_wide).collect();
    // Always in the same order, so that blocks do not jump about.
    sort_by_key(&mut wide, |sum| (state.data.index.node(sum.id).function, sum.id));
    for sum in wide {
        children.entry(state.data.index.node(sum.id).parent).or_default().push(sum);
    }
    let mut blocks = Vec::new();
    let mut level: Vec<(Sum, f64)> = vec![(*root, 0.0)];
    for depth in 0..DEEPEST {
        let mut next = Vec::new();
        for (sum, start) in level {
            let end = start + sum.total_us as f64 * scale;
            let (x, past) = (start.round() as u16, (end.round() as u16).min(state.size.width));
            if past <= x {
                continue;
            }
            let Sum { id: node, own_us, total_us } = sum;
            blocks.push(Block { node, x, width: past - x, level: depth, own_us, total_us });
            let mut at = start;
            for child in children.get(&node).map(Vec::as_slice).unwrap_or_default() {
                next.push((*child, at));
                at += child.total_us as f64 * scale;
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    blocks
}

/// A direction to go from a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Caller,
    Callee,
    Left,
    Right,
}

/// The block that lies next to the selected one.
pub(super) fn neighbour(state: &State, step: Step) -> Option<NodeId> {
    let blocks = &state.blocks;
    let current = blocks.iter().find(|block| block.node == state.selection.block).or(blocks.first())?;
    let level = |wanted: u32| blocks.iter().filter(move |block| block.level == wanted);
    let found = match step {
        Step::Caller => {
            let above = current.level.checked_sub(1)?;
            level(above).find(|block| (block.x..block.x + block.width).contains(&current.x))
        }
        Step::Callee => {
            let below =
                level(current.level + 1).filter(|block| state.data.index.node(block.node).parent == current.node);
            below.max_by_key(|block| block.total_us)
        }
        Step::Left => level(current.level).rfind(|block| block.x < current.x),
        Step::Right => level(current.level).find(|block| block.x > current.x),
    };
    found.map(|block| block.node)
}
