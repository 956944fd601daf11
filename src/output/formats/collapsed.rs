//! Reading collapsed stacks, as this program, py-spy, flamegraph.pl, perf scripts and inferno write them.
//!
//! A frame of the form `name (file:line)` is taken apart; any other is a name. There is no time in such a file: each
//! count stands for a millisecond, and [`Metadata::is_time_known`](crate::profile::Metadata::is_time_known) is false.

use std::io::{self, BufRead};

use thiserror::Error;

use crate::profile::{Flags, Frame, FrameKind, Keep, Process, Profile, Run, StackId, Thread};

/// The longest line that is read, in bytes: a stack of 20,000 frames with long names fits.
const MAX_LINE: u64 = 64 << 20;

/// Why a file is no list of collapsed stacks.
#[derive(Debug, Error)]
pub(crate) enum CollapsedError {
    /// A line does not end in a count.
    #[error("line {line} is not a stack and a count: {text:?}")]
    NoCount {
        /// Its number, from 1.
        line: usize,
        /// How it begins.
        text: String,
    },
    /// The file has no stacks.
    #[error("no stacks in it")]
    Empty,
    /// It cannot be read.
    #[error("cannot read collapsed stacks: {0}")]
    Io(#[from] io::Error),
}

/// Reads collapsed stacks into a profile of one thread without a timeline.
///
/// # Errors
/// When `reader` fails, or a line is neither empty, nor a comment (`#`), nor a stack with a count.
pub(crate) fn read(mut reader: impl BufRead) -> Result<Profile, CollapsedError> {
    let mut profile = Profile::new(Keep::default());
    let process = profile.add_process(Process::default());
    let thread = profile.add_thread(Thread { process, os_id: None, python_id: 0, interpreter: 0, name: None });
    let mut bytes = vec![];
    for number in 1.. {
        bytes.clear();
        if io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() || line.starts_with("# ") {
            continue;
        }
        let (path, count) = split_count(line)
            .ok_or_else(|| CollapsedError::NoCount { line: number, text: line.chars().take(60).collect() })?;
        let mut stack = StackId::EMPTY;
        for label in path.split(';') {
            let frame = frame(&mut profile, label);
            let frame = profile.frame(frame);
            stack = profile.push(stack, frame);
        }
        let weight_us = (count * 1e3).round() as u64;
        let samples = count.round().max(1.0) as u64;
        profile.add_run(Run { thread, stack, flags: Flags::NONE, start_us: 0, weight_us, samples });
    }
    if profile.totals().is_empty() {
        return Err(CollapsedError::Empty);
    }
    Ok(profile)
}

/// The stack and the count, which may have a fraction.
fn split_count(line: &str) -> Option<(&str, f64)> {
    let (path, count) = line.rsplit_once([' ', '\t'])?;
    let is_number = count.chars().all(|c| c.is_ascii_digit() || c == '.');
    let count = count.parse().ok().filter(|_| is_number)?;
    Some((path, count))
}

/// Takes `name (file:line)` apart, so that it is put together again as it was.
fn frame(profile: &mut Profile, label: &str) -> Frame {
    let mut frame = Frame { kind: FrameKind::Python, ..Frame::default() };
    let place = label.strip_suffix(')').and_then(|label| label.rsplit_once(" ("));
    let Some((name, place)) = place.filter(|(name, place)| !name.is_empty() && !place.is_empty()) else {
        frame.name = profile.intern(label);
        return frame;
    };
    let with_line = place.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse::<u32>().ok()?)));
    // A line is written without leading zeros and never as 0.
    let (file, line) = match with_line {
        Some((file, line)) if !file.is_empty() && line > 0 && place.ends_with(&format!(":{line}")) => (file, line),
        _ => (place, 0),
    };
    frame.name = profile.intern(name);
    frame.file = profile.intern(file);
    frame.short_file = frame.file;
    frame.line = line;
    frame.first_line = line;
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Presentation, raw, test_profiles};
    use crate::profile::MAX_TEXT;

    fn written(profile: &Profile) -> String {
        let mut bytes = vec![];
        let presentation = Presentation { threads: true, processes: true, ..Presentation::default() };
        raw::write(profile, &presentation, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn read_back(text: &str) -> String {
        let profile = read(text.as_bytes()).unwrap();
        let mut bytes = vec![];
        raw::write(&profile, &Presentation::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_was_written_reads_as_the_same() {
        for profile in [test_profiles::usual(Keep::default()), test_profiles::hostile(Keep::default())] {
            // A marker with a name of the greatest length is longer than that, and is cut once more.
            let text: Vec<_> =
                written(&profile).lines().map(str::to_owned).filter(|line| line.len() < MAX_TEXT).collect();
            assert_eq!(read_back(&text.join("\n")).lines().collect::<Vec<_>>(), text);
        }
    }

    #[test]
    fn frames_are_taken_apart() {
        let profile = read("a (b.py:3);c;<module> (<frozen site>:12) 7\n".as_bytes()).unwrap();
        let frames: Vec<_> = profile
            .frames_from(0)
            .map(|frame| (profile.text(frame.name).to_owned(), profile.text(frame.file).to_owned(), frame.line))
            .collect();
        let expected = [("a", "b.py", 3), ("c", "", 0), ("<module>", "<frozen site>", 12)];
        assert_eq!(frames, expected.map(|(name, file, line)| (name.to_owned(), file.to_owned(), line)));
    }

    #[test]
    fn odd_frames_stay_as_they_are() {
        let text = "(x);a (b:0);a (b:007);f ();f (g) (h.py:1);main() (x y) 3\n";
        assert_eq!(read_back(text), text);
    }

    #[test]
    fn comments_fractions_and_bad_bytes_are_read() {
        let profile = read(b"# a comment\n\na;b 1.5\r\na;b 2\nb\xffd 1\n".as_slice()).unwrap();
        assert_eq!(profile.sum().weight_us, 4_500);
        assert_eq!(profile.totals().len(), 2);
    }

    #[test]
    fn what_is_no_stack_is_named_with_its_line() {
        let error = read("a;b 1\nhello\n".as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not a stack and a count: \"hello\"");
        assert_eq!(read("".as_bytes()).unwrap_err().to_string(), "no stacks in it");
    }
}
