//! Who held GILs and who waited for them: sums over a whole recording.

use std::cmp::Reverse;

use foldhash::HashMap;

use super::moment::{Moment, MomentThread};
use crate::profile::{FrameId, FunctionTime, GilFacts, Profile, Renumbering};

/// Sums of one recording. Frames are those of its profile.
#[derive(Debug, Default)]
pub(super) struct GilSums {
    facts: GilFacts,
    holders: FunctionSums,
}

impl GilSums {
    /// Adds a moment that stands for so many µs. `function` gives the frame of the function at the index of
    /// [`Moment::threads`], which is that of its newest Python frame, if it has one.
    pub(super) fn add(&mut self, moment: &Moment, weight_us: u64, mut function: impl FnMut(usize) -> Option<FrameId>) {
        let mut seen: Vec<(u64, bool)> = Vec::new();
        for (index, thread) in moment.threads.iter().enumerate().filter(|(_, thread)| thread.exists) {
            let gil = &thread.running_in.gil;
            if !(gil.exists && gil.tells_holder) {
                continue;
            }
            // Interpreters that share a GIL name the same struct.
            if !seen.iter().any(|(address, _)| *address == gil.address) {
                seen.push((gil.address, gil.holder != 0));
            }
            if thread.waits_for_gil {
                self.facts.waited_us += weight_us;
            } else if thread.stack.holds_gil {
                self.holders.add(function(index), weight_us);
            } else if thread.active {
                self.facts.released_us += weight_us;
            }
        }
        for (_, is_held) in seen {
            self.facts.observed_us += weight_us;
            self.facts.held_us += if is_held { weight_us } else { 0 };
        }
    }

    /// Adds what a thread did that ran for so many µs, or wanted a CPU, as the kernel has seen it; who sleeps meanwhile
    /// is not in such a moment.
    pub(super) fn add_ran(&mut self, moment: &Moment, ran_us: u64, mut function: impl FnMut(usize) -> Option<FrameId>) {
        for (index, thread) in moment.threads.iter().enumerate() {
            let gil = &thread.running_in.gil;
            if !(gil.exists && gil.tells_holder) {
                continue;
            }
            if thread.waits_for_gil {
                self.facts.waited_us += ran_us;
            } else if thread.stack.holds_gil {
                self.facts.held_us += ran_us;
                self.holders.add(function(index), ran_us);
            } else {
                self.facts.released_us += ran_us;
            }
        }
    }

    /// Adds who waits in a moment that stands for so many µs, where what runs comes [from the kernel](Self::add_ran).
    pub(super) fn add_waiting(&mut self, moment: &Moment, weight_us: u64) {
        let knows = |thread: &&MomentThread| {
            thread.exists && thread.running_in.gil.exists && thread.running_in.gil.tells_holder
        };
        let threads = moment.threads.iter().filter(knows);
        self.facts.observed_us += if threads.clone().next().is_some() { weight_us } else { 0 };
        let waiting = threads.filter(|thread| thread.waits_for_gil).count() as u64;
        self.facts.waited_us += waiting.saturating_mul(weight_us);
    }

    /// The sums so far.
    pub(super) fn facts(&self, profile: &Profile) -> GilFacts {
        GilFacts { holders: self.holders.longest(profile), ..self.facts.clone() }
    }

    /// The frames that are to stay in a condensed profile.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameId> {
        self.holders.heaviest()
    }

    /// Goes on with the numbers of a condensed profile.
    pub(super) fn renumber(&mut self, by: &Renumbering) {
        self.holders.renumber(by);
    }

    /// The profile begins anew, with other frames.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// So many functions stay known when the profile is condensed.
const MOST_KEPT: usize = 1000;

/// Times by function.
#[derive(Debug, Default)]
pub(super) struct FunctionSums(HashMap<FrameId, u64>);

impl FunctionSums {
    /// Adds so many µs to the function of a frame; what has none counts for no function.
    pub(super) fn add(&mut self, function: Option<FrameId>, time_us: u64) {
        if let Some(function) = function {
            *self.0.entry(function).or_default() += time_us;
        }
    }

    /// The frames of those that are to stay in a condensed profile: with the most, more than are ever told.
    pub(super) fn heaviest(&self) -> impl Iterator<Item = FrameId> {
        let mut sums: Vec<(FrameId, u64)> = self.0.iter().map(|(frame, time)| (*frame, *time)).collect();
        sums.sort_unstable_by_key(|(_, time)| Reverse(*time));
        sums.into_iter().take(MOST_KEPT).map(|(frame, _)| frame)
    }

    /// Goes on with the numbers of a condensed profile, and forgets what has no frame there any more.
    pub(super) fn renumber(&mut self, by: &Renumbering) {
        let before = std::mem::take(&mut self.0);
        for (frame, time_us) in before {
            self.add(by.frame(frame.number()), time_us);
        }
    }

    /// Those of the functions with the most, the most first; equal ones by name.
    pub(super) fn longest(&self, profile: &Profile) -> Vec<FunctionTime> {
        let mut sums: Vec<(FrameId, u64)> = self.0.iter().map(|(frame, time)| (*frame, *time)).collect();
        // Names are made only of those that may be among them.
        sums.sort_unstable_by_key(|(_, time)| Reverse(*time));
        let least = sums.get(GilFacts::FACTS_KEPT - 1).map_or(0, |(_, time)| *time);
        let may_be = sums.into_iter().take_while(|(_, time)| *time >= least);
        let mut longest: Vec<FunctionTime> = may_be.map(|(frame, time)| time_of(profile, frame, time)).collect();
        longest.sort_by(|one, other| {
            let name = |time: &FunctionTime| (time.name.clone(), time.file.clone(), time.line);
            other.time_us.cmp(&one.time_us).then_with(|| name(one).cmp(&name(other)))
        });
        longest.truncate(GilFacts::FACTS_KEPT);
        longest
    }
}

fn time_of(profile: &Profile, frame: FrameId, time_us: u64) -> FunctionTime {
    let frame = profile.frame_of(frame);
    let (name, file) = (profile.text(frame.name).to_owned(), profile.text(frame.short_file).to_owned());
    FunctionTime { name, file, line: frame.first_line, time_us }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Frame, Needed, Room};

    #[test]
    fn functions_keep_their_times_when_the_profile_is_condensed() {
        let mut profile = Profile::default();
        let mut sums = FunctionSums::default();
        let mut add = |profile: &mut Profile, name: &str, time_us| {
            let name = profile.intern(name);
            let frame = profile.frame(Frame { name, ..Frame::default() });
            sums.add(Some(frame), time_us);
        };
        // Those with the highest numbers are the heaviest, and the condensed profile has fewer.
        for number in 0..2 * MOST_KEPT as u64 {
            add(&mut profile, &format!("f{number}"), 1 + number);
        }
        let needed = Needed { frames: sums.heaviest().collect(), ..Needed::default() };
        let (condensed, by) = profile.condensed(Room { stacks: 0, totals: 0 }, &needed);
        sums.renumber(&by);
        let longest = sums.longest(&condensed);
        let expected = (0..GilFacts::FACTS_KEPT as u64).map(|place| 2 * MOST_KEPT as u64 - place);
        let named = |time_us| (format!("f{}", time_us - 1), time_us);
        let told: Vec<(String, u64)> = longest.into_iter().map(|time| (time.name, time.time_us)).collect();
        assert_eq!(told, expected.map(named).collect::<Vec<_>>());
        assert_eq!(sums.0.len(), MOST_KEPT);
    }
}
