//! Runs of recursion, folded: frames that repeat one after another are one group with a count.

use super::FrameDump;

/// Functions that call each other in turn, at most.
const LONGEST_PERIOD: usize = 4;
/// Frames that must be saved for a run to be folded.
const LEAST_SAVED: usize = 3;

/// Frames that come so many times one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Where the first frame of the group is.
    pub(super) first: usize,
    /// How many frames come again and again.
    pub(super) length: usize,
    /// How many times they come.
    pub(super) times: usize,
}

/// The frames as groups. With variables no two frames are the same, so nothing is folded.
pub(super) fn fold(frames: &[FrameDump]) -> Vec<Group> {
    let same = |one: &FrameDump, other: &FrameDump| {
        let place = |frame: &FrameDump| (frame.line, frame.column, frame.locals.is_some());
        place(one) == place(other) && one.locals.is_none() && one.name == other.name && one.filename == other.filename
    };
    let mut groups = Vec::new();
    let mut first = 0;
    while first < frames.len() {
        let runs = (1..=LONGEST_PERIOD).map(|period| {
            let rest = &frames[first..];
            let equal = rest.iter().zip(rest.iter().skip(period)).take_while(|(one, other)| same(one, other)).count();
            (period, 1 + equal / period)
        });
        let worth = runs.filter(|(period, times)| period * (times - 1) >= LEAST_SAVED);
        // What saves most; of equals the shorter.
        let best = worth.max_by_key(|(period, times)| (period * (times - 1), LONGEST_PERIOD - period));
        let (length, times) = best.unwrap_or((1, 1));
        groups.push(Group { first, length, times });
        first += length * times;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(names: &str) -> Vec<(usize, usize, usize)> {
        let frame = |name: char| FrameDump { name: name.to_string(), ..FrameDump::default() };
        let frames: Vec<_> = names.chars().map(frame).collect();
        fold(&frames).iter().map(|group| (group.first, group.length, group.times)).collect()
    }

    #[test]
    fn only_runs_that_save_something_are_folded() {
        assert_eq!(folded("abc"), [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
        assert_eq!(folded("aaa"), [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
        assert_eq!(folded("xaaaay"), [(0, 1, 1), (1, 1, 4), (5, 1, 1)]);
        assert_eq!(folded("abababc"), [(0, 2, 3), (6, 1, 1)]);
        assert_eq!(folded("aabaabaab"), [(0, 3, 3)]);
        assert_eq!(folded(""), []);
    }
}
