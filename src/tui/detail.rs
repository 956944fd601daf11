//! A function looked at closely: callers, callees, and the time of each of its lines.

use std::collections::HashMap;

use super::index::{FunctionId, NodeId, ROOT};
use super::state::{Detail, Overlay, Pair, Scope, State};
use super::sums::Adder;
use crate::output::sort_by_key;

impl State {
    /// Works out the function that is looked at, if one is.
    pub(super) fn refresh_detail(&mut self, adder: &mut Adder) {
        let Overlay::Detail(detail) = &self.overlay else { return };
        let detail = self.detail(adder, detail);
        self.overlay = Overlay::Detail(Box::new(detail));
    }

    fn detail(&self, adder: &mut Adder, before: &Detail) -> Detail {
        let function = before.function;
        let shown = self.data.shown();
        let (totals, wall_us) = match self.selection.scope {
            Scope::Window => (shown.window, shown.window_us),
            Scope::Both | Scope::Reset => (shown.all, shown.all_us),
        };
        let mut detail = Detail { function, wall_us, top: before.top, left: before.left, ..Detail::default() };
        let mut callers: HashMap<Option<FunctionId>, u64> = HashMap::new();
        let mut callees: HashMap<FunctionId, u64> = HashMap::new();
        for sum in self.sums(adder, totals.iter(), false).into_iter().filter(|sum| sum.id != ROOT) {
            let node = self.data.index.node(sum.id);
            let parent = self.data.index.node(node.parent);
            if node.function == function {
                detail.own_us += sum.own_us;
                if node.outermost {
                    detail.total_us += sum.total_us;
                    let caller = (node.parent != ROOT).then_some(parent.function);
                    *callers.entry(caller).or_default() += sum.total_us;
                }
            }
            if node.parent != ROOT && parent.function == function && self.is_first_call(node.parent, node.function) {
                *callees.entry(node.function).or_default() += sum.total_us;
            }
        }
        for sum in self.sums(adder, totals.iter(), true) {
            let stack = self.data.index.stack(sum.id);
            if sum.id != 0 && self.data.index.frame_function(stack.frame) == function {
                let line = self.data.profile.frames_from(stack.frame as usize).next().map_or(0, |frame| frame.line);
                let pair = detail.lines.entry(line).or_default();
                pair.own_us += sum.own_us;
                if stack.outermost {
                    pair.total_us += sum.total_us;
                }
            }
        }
        detail.callers = callers.into_iter().collect();
        sort_by_key(&mut detail.callers, |(function, us)| (std::cmp::Reverse(*us), *function));
        detail.callees = callees.into_iter().collect();
        sort_by_key(&mut detail.callees, |(function, us)| (std::cmp::Reverse(*us), *function));
        detail
    }

    /// Whether no call further out goes from the same function to the same function: what is below such calls counts
    /// once.
    fn is_first_call(&self, caller: NodeId, callee: FunctionId) -> bool {
        let from = self.data.index.node(caller).function;
        let mut at = self.data.index.node(caller);
        while at.parent != ROOT {
            let above = self.data.index.node(at.parent);
            if above.function == from && at.function == callee {
                return false;
            }
            at = above;
        }
        true
    }
}

/// The source of the function that is looked at, if it is known.
pub(super) fn detail_source(state: &State) -> Option<&[String]> {
    let Overlay::Detail(detail) = &state.overlay else { return None };
    let function = state.data.index.function(detail.function)?;
    state.data.sources.get(&function.file)?.as_deref()
}

/// The first line of source to show: where somebody has scrolled to, or so that the heaviest line is to be seen.
pub(super) fn detail_top(state: &State) -> usize {
    let Overlay::Detail(detail) = &state.overlay else { return 0 };
    if let Some(top) = detail.top {
        return top;
    }
    let first = state.data.index.function(detail.function).map_or(0, |function| function.first_line);
    let weight = |(line, pair): &(&u32, &Pair)| (pair.total_us, pair.own_us, std::cmp::Reverse(**line));
    let heaviest = detail.lines.iter().max_by_key(weight);
    let heaviest = heaviest.map_or(first, |(line, _)| *line);
    // From the definition on, if the heaviest line is near it.
    let top = if heaviest.saturating_sub(first) < 6 { first.saturating_sub(1) } else { heaviest.saturating_sub(4) };
    usize::try_from(top).unwrap_or(0)
}
