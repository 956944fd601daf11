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
/// samples for longer than [between two](crate::profile::Metadata::joinable_gap_us).
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
    let gap_us = profile.metadata.joinable_gap_us();
    for run in runs(profile, thread) {
        let goes_on = run.start_us.saturating_sub(end_us) <= gap_us;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_profiles::{process, python, stack, thread};
    use crate::profile::{Flags, Keep};

    /// The calls of a thread with two samples of one function, of 10 ms each, and such a gap between them, µs.
    fn calls_around(gap_us: u64, describe: impl Fn(&mut Profile)) -> Vec<(u64, u64)> {
        let mut profile = Profile::new(Keep { timeline: true, ..Keep::default() });
        profile.metadata.rate_asked = 100.0;
        describe(&mut profile);
        let of = process(&mut profile, 1, None, "python3");
        let of = thread(&mut profile, of, 1, None);
        let burn = python(&mut profile, "burn", "a.py", 3);
        let burn = stack(&mut profile, &[burn]);
        for end_us in [10_000, 20_000 + gap_us] {
            profile.add_sample(of, burn, end_us, 10_000, Flags::ACTIVE);
        }
        let places = Places::new(&profile, &Default::default());
        let mut ended = vec![];
        let mut each = |edge| {
            if let Edge::End(call, end_us) = edge {
                ended.push((call.start_us, end_us));
            }
            Ok(())
        };
        calls(&profile, &places, of, &mut each).unwrap();
        ended
    }

    #[test]
    fn a_call_goes_on_over_a_gap_that_samples_leave_and_not_over_a_pause() {
        assert_eq!(calls_around(0, |_| ()), [(0, 20_000)]);
        assert_eq!(calls_around(2_600, |_| ()), [(0, 22_600)]);
        assert_eq!(calls_around(10_000, |_| ()), [(0, 10_000), (20_000, 30_000)]);
        // Blocks are told to the microsecond.
        assert_eq!(calls_around(2, |profile| profile.metadata.filters.off_cpu = true).len(), 2);
        assert_eq!(calls_around(2, |profile| profile.metadata.rate_asked = 0.0).len(), 2);
    }
}
