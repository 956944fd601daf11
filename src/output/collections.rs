//! When garbage collectors ran, for the formats that show time.

use std::collections::HashSet;

use super::runs::runs;
use super::sort::sort_by_key;
use crate::profile::{Collection, FrameKind, Profile, Run, ThreadRef};

/// Samples of one collection are no further apart than this: so many sampling intervals, and µs. That is what a sample
/// may stand for at most.
const LONGEST_GAP: (f64, f64) = (5.0, 1e5);

/// The collections of all processes in the order in which they began: those that the interpreters have told of, and of
/// processes whose interpreters tell none those that samples show.
pub(super) fn collections(profile: &Profile) -> Vec<Collection> {
    let mut all = profile.collections().to_vec();
    let told: HashSet<_> = all.iter().map(|collection| collection.process).collect();
    for (id, thread) in profile.threads() {
        if !told.contains(&thread.process) {
            all.extend(seen_in(profile, id));
        }
    }
    sort_by_key(&mut all, |collection| (collection.start_us, collection.process.number()));
    all
}

/// The collections that a thread was seen in: one for each stretch in which it was seen in nothing else. Where samples
/// came late in one, there is a gap in it.
fn seen_in(profile: &Profile, thread: ThreadRef) -> Vec<Collection> {
    let process = profile.thread(thread).process;
    let gap_us = (LONGEST_GAP.0 * profile.metadata.interval_us()).min(LONGEST_GAP.1) as u64;
    let mut seen: Vec<Collection> = Vec::new();
    let mut goes_on = false;
    for run in runs(profile, thread) {
        if !is_collecting(profile, &run) {
            goes_on = false;
            continue;
        }
        let (start_us, end_us) = (run.start_us, run.end_us());
        match seen.last_mut().filter(|last| goes_on && start_us.saturating_sub(last.end_us) <= gap_us) {
            Some(last) => last.end_us = end_us,
            None => seen.push(Collection { process, start_us, end_us, generation: None, collected: None }),
        }
        goes_on = true;
    }
    seen
}

fn is_collecting(profile: &Profile, run: &Run) -> bool {
    profile.frames_of(run.stack).next().is_some_and(|frame| profile.frame_of(frame).kind == FrameKind::Gc)
}

/// What one is called: `GC of generation 2`.
pub(super) fn name(collection: &Collection) -> String {
    match collection.generation {
        Some(generation) => format!("GC of generation {generation}"),
        None => "GC".to_owned(),
    }
}
