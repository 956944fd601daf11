//! What each thread did over time, for the formats that show it.

use std::io;

use super::place::{Place, PlaceId, Places};
use crate::profile::{Profile, Run, StackId, ThreadRef, Total};

/// The runs of a thread in time order. Of a profile without a timeline, its stacks follow one another in the order in
/// which they were first seen.
pub(super) fn runs(profile: &Profile, thread: ThreadRef) -> impl Iterator<Item = Run> {
    let mut end_us: u64 = 0;
    let totals = if profile.has_timeline() { &[] } else { profile.totals() };
    let made = totals.iter().filter(move |total| total.thread == thread).map(move |total| {
        let start_us = end_us;
        end_us = end_us.saturating_add(total.weight_us);
        let Total { thread, stack, flags, samples, weight_us } = *total;
        Run { thread, stack, flags, start_us, weight_us, samples }
    });
    profile.timeline(thread).chain(made)
}

/// A function that goes on from one sample to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// The function, at the line of the call's first sample.
    pub(super) place: PlaceId,
    /// When it was first seen, µs since the start.
    pub(super) start_us: u64,
    /// How many calls stand above it.
    pub(super) depth: usize,
}

/// The begin or the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Begin(Call),
    End(Call, u64),
}

/// Calls `each` for every begin and end of a call of `thread`, in time order and properly nested. A call goes on for as
/// long as consecutive samples have the same functions up to it, whatever their lines; it ends where there are no
/// samples.
pub(super) fn calls(
    profile: &Profile,
    places: &Places<'_>,
    thread: ThreadRef,
    mut each: impl FnMut(Edge) -> io::Result<()>,
) -> io::Result<()> {
    let mut open: Vec<Call> = vec![];
    let mut end_us = 0;
    let mut stack = vec![];
    let mut current = StackId::EMPTY;
    for run in runs(profile, thread) {
        let goes_on = run.start_us == end_us;
        if !(goes_on && run.stack == current) {
            stack.clear();
            stack.extend(profile.frames_of(run.stack).map(|frame| places.frame(frame)));
            stack.reverse();
            let same =
                |(call, place): &(&Call, &PlaceId)| is_same_function(places.get(call.place), places.get(**place));
            let kept = if goes_on { open.iter().zip(&stack).take_while(same).count() } else { 0 };
            for call in open.drain(kept..).rev() {
                each(Edge::End(call, end_us))?;
            }
            for (depth, place) in stack.iter().enumerate().skip(kept) {
                let call = Call { place: *place, start_us: run.start_us, depth };
                open.push(call);
                each(Edge::Begin(call))?;
            }
            current = run.stack;
        }
        end_us = run.end_us();
    }
    for call in open.into_iter().rev() {
        each(Edge::End(call, end_us))?;
    }
    Ok(())
}

fn is_same_function(one: &Place, other: &Place) -> bool {
    std::ptr::eq(one, other) || (one.first_line, &one.name, &one.file) == (other.first_line, &other.name, &other.file)
}
