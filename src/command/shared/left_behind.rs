//! What a program that we started leaves behind, in words.

use crate::output::printable;
use crate::process::{Orphans, Process};
use crate::sampler::process_name;

/// So many processes are named.
const NAMED: usize = 5;

/// `PID (COMMAND), … and N more` of what goes on; `None` when nothing does. Escaped.
pub(in crate::command) fn still_running(orphans: &Orphans) -> Option<String> {
    let there = orphans.with_descendants().into_iter().filter_map(|child| Process::observe(child.pid).ok());
    let names: Vec<String> =
        there.filter(|process| !process.has_exited()).map(|process| process_name(&process)).collect();
    if names.is_empty() {
        return None;
    }
    let named = names.get(..NAMED).unwrap_or(&names).join(", ");
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{}{more}", printable(&named)))
}
