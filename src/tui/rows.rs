//! The rows of the views that are tables, worked out from the samples.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::index::{FunctionId, NodeId, ROOT};
use super::state::{Column, Key, Pair, Row, Scope, State, View};
use super::sums::{Adder, Sum};
use super::{flame, names};
use crate::output::{sort_by, sort_by_cached_key};
use crate::profile::{Flags, ProcessRef, ThreadRef, Total};

/// A tree of more nodes is shown without the smallest.
const MANY_NODES: usize = 20_000;

/// Sums of each thread, or of all together, in the last window and since the reset.
type Groups = BTreeMap<Option<ThreadRef>, [Vec<Sum>; 2]>;

impl State {
    /// Works out what the view shows. Needed after a change of anything that it depends on.
    pub(super) fn refresh(&mut self) {
        let mut adder = std::mem::take(&mut self.adder);
        self.rows = match self.selection.view {
            View::Functions => self.functions(&mut adder),
            View::Lines => self.lines(&mut adder),
            View::Threads => self.threads(),
            View::Processes => self.processes(),
            View::Tree => self.tree(&mut adder),
            View::Tasks => self.task_groups(),
            View::Flame | View::Output => Vec::new(),
        };
        if !matches!(self.selection.view, View::Tree) {
            self.sort();
        }
        if self.selection.view == View::Processes {
            self.put_below_parents();
        }
        self.blocks = if self.selection.view == View::Flame { flame::blocks(self, &mut adder) } else { Vec::new() };
        self.refresh_detail(&mut adder);
        self.adder = adder;
        self.keep_selection_visible();
    }

    /// The sums over the tree of calls, or over stacks where lines matter.
    fn groups(&self, adder: &mut Adder, by_line: bool) -> Groups {
        let shown = self.data.shown();
        let mut groups = Groups::new();
        for (at, totals) in [shown.window, shown.all].into_iter().enumerate() {
            if !self.selection.per_thread {
                groups.entry(None).or_default()[at] = self.sums(adder, totals.iter(), by_line);
                continue;
            }
            let mut by_thread: BTreeMap<ThreadRef, Vec<&Total>> = BTreeMap::new();
            for total in totals {
                by_thread.entry(total.thread).or_default().push(total);
            }
            for (thread, totals) in by_thread {
                groups.entry(Some(thread)).or_default()[at] = self.sums(adder, totals.into_iter(), by_line);
            }
        }
        groups
    }

    pub(super) fn sums<'total>(
        &self,
        adder: &mut Adder,
        totals: impl Iterator<Item = &'total Total>,
        by_line: bool,
    ) -> Vec<Sum> {
        let index = &self.data.index;
        let wanted = totals.filter(|total| self.selection.wants(total));
        if by_line {
            let weights = wanted.map(|total| (total.stack.number(), total.weight_us));
            adder.add_up(index.stack_count(), |stack| index.stack(stack).parent, weights)
        } else {
            let weights = wanted.map(|total| (index.stack(total.stack.number()).node, total.weight_us));
            adder.add_up(index.node_count(), |node| index.node(node).parent, weights)
        }
    }

    fn functions(&self, adder: &mut Adder) -> Vec<Row> {
        let index = &self.data.index;
        let item = |id: u32| (index.node(id).function, index.node(id).outermost);
        let groups = self.groups(adder, false);
        let mut rows = flat(&groups, index.function_count(), item, Key::Function);
        if !self.selection.filter.is_empty() {
            let mut functions: HashMap<FunctionId, bool> = HashMap::new();
            let mut threads: HashMap<ThreadRef, bool> = HashMap::new();
            rows.retain(|row| {
                let Key::Function(thread, id) = row.key else { return true };
                let is_match = |text: &str| self.selection.is_match(text);
                *functions.entry(id).or_insert_with(|| is_match(&names::function(self, id)))
                    || thread.is_some_and(|thread| {
                        *threads.entry(thread).or_insert_with(|| is_match(&names::thread(self, thread)))
                    })
            });
        }
        rows
    }

    fn lines(&self, adder: &mut Adder) -> Vec<Row> {
        let index = &self.data.index;
        let item = |id: u32| (index.stack(id).frame, index.stack(id).outermost);
        let groups = self.groups(adder, true);
        let mut rows = flat(&groups, self.data.profile.table_sizes().frames, item, Key::Line);
        if !self.selection.filter.is_empty() {
            rows.retain(|row| self.selection.is_match(&names::row_name(self, row.key)));
        }
        rows
    }

    fn threads(&self) -> Vec<Row> {
        let mut rows: BTreeMap<ThreadRef, Row> = BTreeMap::new();
        for now in self.data.shown().threads {
            rows.insert(now.thread, Row::new(Key::Thread(now.thread)));
        }
        self.add_activity(|total| Some(total.thread), &mut rows);
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.retain(|row| self.selection.filter.is_empty() || self.selection.is_match(&names::row_name(self, row.key)));
        rows
    }

    fn processes(&self) -> Vec<Row> {
        let mut rows: BTreeMap<ProcessRef, Row> = BTreeMap::new();
        for (process, _) in self.data.profile.processes().filter(|(_, process)| process.end_us.is_none()) {
            rows.insert(process, Row::new(Key::Process(process)));
        }
        self.add_activity(|total| Some(self.data.profile.thread(total.thread).process), &mut rows);
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.retain(|row| self.selection.filter.is_empty() || self.selection.is_match(&names::row_name(self, row.key)));
        rows
    }

    /// The numbers of a row are how many tasks there are, in how much of the window one ran (hundredths of a percent),
    /// how many wait, and the age of the oldest (µs).
    fn task_groups(&self) -> Vec<Row> {
        let groups = self.data.facts.tasks.iter().map(|group| Row {
            window: Pair { own_us: u64::from(group.count), total_us: (group.running * 100.0) as u64 },
            all: Pair {
                own_us: u64::from(group.waiting),
                total_us: u64::try_from(group.oldest.as_micros()).unwrap_or(u64::MAX),
            },
            ..Row::new(Key::Tasks(group.id))
        });
        let wanted =
            |row: &Row| self.selection.filter.is_empty() || self.selection.is_match(&names::row_name(self, row.key));
        groups.filter(wanted).collect()
    }

    /// Adds the time in which threads were active, and in which they held the GIL, to the rows that are there.
    fn add_activity<K: Ord>(&self, key: impl Fn(&Total) -> Option<K>, rows: &mut BTreeMap<K, Row>) {
        let shown = self.data.shown();
        for (totals, is_window) in [(shown.window, true), (shown.all, false)] {
            for total in totals {
                let Some(row) = key(total).and_then(|key| rows.get_mut(&key)) else { continue };
                let pair = if is_window { &mut row.window } else { &mut row.all };
                if total.flags.contains(Flags::ACTIVE) {
                    pair.own_us = pair.own_us.saturating_add(total.weight_us);
                }
                if is_window && total.flags.contains(Flags::GIL_WAIT) {
                    row.gil_wait_us = row.gil_wait_us.saturating_add(total.weight_us);
                }
                let pair = if is_window { &mut row.window } else { &mut row.all };
                if total.flags.contains(Flags::GIL) {
                    pair.total_us = pair.total_us.saturating_add(total.weight_us);
                }
            }
        }
    }

    fn sort(&mut self) {
        let (column, reversed) = (self.selection.column as usize, self.selection.reversed);
        // The numbers of tasks are of no time.
        let scope = if self.selection.view == View::Tasks { Scope::Both } else { self.selection.scope };
        // What is equal stays in the order of its first sight.
        sort_by(&mut self.rows, |one, other| {
            let (one, other) = (one.columns(scope), other.columns(scope));
            // Equal by what is sorted by: by the others, so that the view is steady.
            let order = other[column].cmp(&one[column]).then_with(|| other.cmp(&one));
            if reversed { order.reverse() } else { order }
        });
    }

    /// Puts processes below their parents, those with the same parent as they are sorted.
    fn put_below_parents(&mut self) {
        let process_of = |row: &Row| match row.key {
            Key::Process(process) => Some(process),
            _ => None,
        };
        let rows = std::mem::take(&mut self.rows);
        let known: HashSet<ProcessRef> = rows.iter().filter_map(process_of).collect();
        let mut below: HashMap<Option<ProcessRef>, Vec<Row>> = HashMap::new();
        for row in rows {
            // Below the nearest one that is shown.
            let line = process_of(&row).map(|process| self.data.profile.lineage(process)).unwrap_or_default();
            let parent = line.iter().rev().skip(1).find(|parent| known.contains(parent));
            below.entry(parent.copied()).or_default().push(row);
        }
        let mut to_do: Vec<(Row, u32)> = Vec::new();
        let mut next = below.remove(&None).unwrap_or_default();
        let mut depth = 0;
        loop {
            to_do.extend(next.into_iter().rev().map(|row| (row, depth)));
            let Some((row, level)) = to_do.pop() else { return };
            self.rows.push(Row { depth: level, ..row });
            depth = level + 1;
            next = below.remove(&process_of(&row)).unwrap_or_default();
        }
    }

    fn tree(&self, adder: &mut Adder) -> Vec<Row> {
        let mut rows = Vec::new();
        for (thread, sums) in self.groups(adder, false) {
            let mut nodes: HashMap<NodeId, Row> = HashMap::new();
            for (at, sums) in sums.iter().enumerate() {
                for sum in sums {
                    let row = nodes.entry(sum.id).or_insert_with(|| Row::new(Key::Node(thread, sum.id)));
                    let pair = if at == 0 { &mut row.window } else { &mut row.all };
                    *pair = Pair { own_us: sum.own_us, total_us: sum.total_us };
                }
            }
            self.keep_matching_nodes(&mut nodes);
            drop_specks(&mut nodes);
            self.lay_out_tree(thread, &nodes, &mut rows);
        }
        rows
    }

    /// Leaves only what matches the filter and what leads there.
    fn keep_matching_nodes(&self, nodes: &mut HashMap<NodeId, Row>) {
        if self.selection.filter.is_empty() {
            return;
        }
        let mut kept = HashSet::new();
        for id in nodes.keys().filter(|id| **id != ROOT) {
            if self.selection.is_match(&names::function(self, self.data.index.node(*id).function)) {
                let mut at = *id;
                while kept.insert(at) && at != ROOT {
                    at = self.data.index.node(at).parent;
                }
            }
        }
        nodes.retain(|id, _| kept.contains(id));
    }

    /// Puts the nodes in order below each other, the heaviest first.
    fn lay_out_tree(&self, thread: Option<ThreadRef>, nodes: &HashMap<NodeId, Row>, rows: &mut Vec<Row>) {
        // By %Own and %Total alike the heaviest is the one with the most below it; which time it is of, the column
        // says.
        let by = match self.selection.column {
            Column::OwnPercent | Column::TotalPercent => 1,
            Column::OwnTime | Column::TotalTime => 3,
        };
        let mut order: Vec<NodeId> = nodes.keys().copied().filter(|id| *id != ROOT).collect();
        sort_by_cached_key(&mut order, |id| {
            let columns = nodes.get(id).map(|row| row.columns(self.selection.scope)).unwrap_or_default();
            (std::cmp::Reverse((columns[by], columns[3])), *id)
        });
        if self.selection.reversed {
            order.reverse();
        }
        let mut children: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for id in order {
            children.entry(self.data.index.node(id).parent).or_default().push(id);
        }
        // With threads apart their roots are rows; else what is below the root begins.
        let first_depth = u32::from(thread.is_some());
        let mut to_do: Vec<NodeId> = vec![ROOT];
        while let Some(id) = to_do.pop() {
            let Some(row) = nodes.get(&id) else { continue };
            let below = children.get(&id).map(Vec::as_slice).unwrap_or_default();
            let mut open = true;
            if id != ROOT || thread.is_some() {
                open = self.selection.is_open(row.key);
                let depth = if id == ROOT { 0 } else { self.data.index.node(id).depth - 1 + first_depth };
                rows.push(Row { depth, open: (!below.is_empty()).then_some(open), ..*row });
            }
            if open {
                to_do.extend(below.iter().rev());
            }
        }
    }

    fn keep_selection_visible(&mut self) {
        let height = super::layout::body_rows(self.size);
        let count = self.rows.len();
        let selected = self.selected_row();
        let cursor = self.selection.cursor_mut();
        if let Some(at) = selected {
            cursor.top = cursor.top.min(at).max((at + 1).saturating_sub(height));
        }
        cursor.top = cursor.top.min(count.saturating_sub(height));
    }
}

/// Leaves out of a tree of very many nodes those that took less than a ten-thousandth of it, which nobody would scroll
/// to.
fn drop_specks(nodes: &mut HashMap<NodeId, Row>) {
    let Some(root) = nodes.get(&ROOT).copied().filter(|_| nodes.len() > MANY_NODES) else { return };
    let (window, all) = (root.window.total_us / 10_000, root.all.total_us / 10_000);
    // A node that took nothing in the window is no speck for that.
    nodes.retain(|_, row| row.all.total_us > all || (row.window.total_us > window && window > 0));
}

/// Sums joined into one row for each item; an item's total counts where it is outermost.
fn flat(
    groups: &Groups,
    count: usize,
    item: impl Fn(u32) -> (u32, bool),
    key: impl Fn(Option<ThreadRef>, u32) -> Key,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; count];
    for (thread, sums) in groups {
        let first = rows.len();
        for (at, sums) in sums.iter().enumerate() {
            for sum in sums.iter().filter(|sum| sum.id != 0) {
                let (item, outermost) = item(sum.id);
                let Some(place) = places.get_mut(item as usize) else { continue };
                let place = *place.get_or_insert_with(|| {
                    rows.push(Row::new(key(*thread, item)));
                    rows.len() - 1
                });
                let row: &mut Row = &mut rows[place];
                let pair = if at == 0 { &mut row.window } else { &mut row.all };
                pair.own_us = pair.own_us.saturating_add(sum.own_us);
                if outermost {
                    pair.total_us = pair.total_us.saturating_add(sum.total_us);
                }
            }
        }
        for row in &rows[first..] {
            if let Key::Function(_, item) | Key::Line(_, item) = row.key
                && let Some(place) = places.get_mut(item as usize)
            {
                *place = None;
            }
        }
    }
    rows.retain(|row: &Row| !row.is_empty());
    rows
}
