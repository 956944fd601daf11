//! The first picture of a page, laid out before: it is drawn as soon as the browser has read so far, while what the
//! page knows is still to come.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::data::Words;
use super::tree::{Function, PageTree};
use crate::output::color::{MEANINGS, ends};
use crate::output::sort::sort_by_cached_key;

/// What is narrower than this share of the picture is not drawn by itself: half a pixel of a wide window.
const NARROWEST: f64 = 1.0 / 4_000.0;
/// Boxes of the picture, and its rows, which are as many as a high window has. What is more comes later, with the rest
/// of the page.
const MOST_BOXES: usize = 1_500;
const MOST_ROWS: usize = 80;
/// Widths are told in parts of the picture so small.
const UNITS: f64 = 1e6;

/// What a page's script draws first.
#[derive(Debug, Serialize)]
pub(super) struct FirstPicture<'page> {
    title: &'page str,
    about: &'page str,
    /// `s`, or `samples` where no time is known.
    unit: &'static str,
    /// 1 where two profiles are compared.
    is_difference: u8,
    /// Kinds of code: what each is called and the two colours between which it is drawn.
    kinds: Vec<(&'static str, [u8; 3], [u8; 3])>,
    /// Those that the page has functions of.
    seen: Vec<usize>,
    /// Of functions: name, place, kind.
    functions: Vec<(&'page str, String, usize)>,
    /// Of rows below the root their boxes, from left to right: how far from the one before each begins, how wide it is,
    /// both in millionths of the picture, and its function counted from 1; 0 for what is too narrow, together.
    rows: Vec<Vec<[u64; 3]>>,
}

/// A box of the row that is laid out, with the nodes of the tree that it stands for.
struct Open {
    x: f64,
    nodes: Vec<u32>,
}

/// The boxes of a row, and where the last of them ends.
#[derive(Default)]
struct Boxes {
    boxes: Vec<[u64; 3]>,
    end: u64,
}

impl Boxes {
    /// `x` and `width` are shares of the picture.
    fn push(&mut self, x: f64, width: f64, function: usize) {
        let (start, end) = ((x * UNITS).round() as u64, ((x + width) * UNITS).round() as u64);
        self.boxes.push([start.saturating_sub(self.end), end.saturating_sub(start), function as u64]);
        self.end = end;
    }
}

impl<'page> FirstPicture<'page> {
    /// The words of a page and, with `has_boxes`, what it shows at first of `tree`: functions below those that called
    /// them, the heaviest first.
    pub(super) fn new(words: &Words<'page>, tree: &'page PageTree, is_difference: bool, has_boxes: bool) -> Self {
        let mut seen: Vec<usize> = tree.functions.iter().skip(1).map(Function::kind).collect();
        seen.sort_unstable();
        seen.dedup();
        let mut picture = Self {
            title: words.title,
            about: words.about,
            unit: words.unit(),
            is_difference: u8::from(is_difference),
            kinds: MEANINGS.into_iter().map(|(origin, meaning)| (meaning, ends(origin).0, ends(origin).1)).collect(),
            seen,
            functions: vec![],
            rows: vec![],
        };
        if has_boxes {
            picture.lay_out(tree);
        }
        picture
    }

    /// Row after row, as `FlameTree.layout` of `flame_tree.js` does.
    fn lay_out(&mut self, tree: &'page PageTree) {
        let (totals, ends) = totals(tree);
        let whole = totals[0].max(1) as f64;
        let mut known = HashMap::new();
        let mut row = vec![Open { x: 0.0, nodes: vec![0] }];
        let mut count = 0;
        while self.rows.len() < MOST_ROWS {
            let (mut boxes, mut next) = (Boxes::default(), vec![]);
            for Open { mut x, nodes } in row {
                let mut rest = 0.0;
                for (function, nodes, total) in callees(tree, &nodes, &ends, &totals) {
                    let width = total as f64 / whole;
                    if width < NARROWEST {
                        rest += width;
                        continue;
                    }
                    let number = *known.entry(function).or_insert_with(|| {
                        let it = &tree.functions[function as usize];
                        self.functions.push((&it.name, place(tree, it), it.kind()));
                        self.functions.len()
                    });
                    boxes.push(x, width, number);
                    next.push(Open { x, nodes });
                    x += width;
                }
                if rest >= NARROWEST {
                    boxes.push(x, rest, 0);
                }
            }
            count += boxes.boxes.len();
            if boxes.boxes.is_empty() || count > MOST_BOXES {
                return;
            }
            self.rows.push(boxes.boxes);
            row = next;
        }
    }
}

/// Functions that a place of the picture calls, with their nodes and their times, in the order in which they are drawn.
fn callees(tree: &PageTree, callers: &[u32], ends: &[u32], totals: &[u64]) -> Vec<(u32, Vec<u32>, u64)> {
    let mut found: HashMap<u32, (Vec<u32>, u64)> = HashMap::new();
    for &caller in callers {
        let mut node = caller + 1;
        while node < ends[caller as usize] {
            let (function, _) = tree.frames[tree.nodes[node as usize].frame as usize];
            let (nodes, total) = found.entry(function).or_default();
            nodes.push(node);
            *total = total.saturating_add(totals[node as usize]);
            node = ends[node as usize];
        }
    }
    let mut callees: Vec<_> = found.into_iter().map(|(function, (nodes, total))| (function, nodes, total)).collect();
    callees.retain(|(_, _, total)| *total > 0);
    sort_by_cached_key(&mut callees, |(function, _, total)| {
        let function = &tree.functions[*function as usize];
        (Reverse(*total), label(&function.name, &place(tree, function)))
    });
    callees
}

/// Of each node the time of all that it calls, and where that ends; nodes lie so that it comes right after it.
fn totals(tree: &PageTree) -> (Vec<u64>, Vec<u32>) {
    let mut totals = vec![0u64; tree.nodes.len()];
    for (node, us) in tree.threads.iter().flat_map(|thread| &thread.own_us) {
        totals[*node as usize] = totals[*node as usize].saturating_add(*us);
    }
    let mut ends: Vec<u32> = (1..).take(tree.nodes.len()).collect();
    for node in (1..tree.nodes.len()).rev() {
        let parent = tree.nodes[node].parent as usize;
        totals[parent] = totals[parent].saturating_add(totals[node]);
        ends[parent] = ends[parent].max(ends[node]);
    }
    (totals, ends)
}

fn label(name: &str, place: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{name} ({place})") }
}

fn place(tree: &PageTree, function: &Function) -> String {
    match (function.file, function.line) {
        (None, _) => String::new(),
        (Some(file), 0) => tree.files[file].shown.clone(),
        (Some(file), line) => format!("{}:{line}", tree.files[file].shown),
    }
}
