//! Collapsed stacks, what flamegraph.pl, inferno and speedscope read: `outer (a.py:3);inner (a.py:9) 42`.
//!
//! The count is the time of the stack in sampling intervals, so a sample that came late because the machine was busy
//! counts for more than one, and counts of two stacks compare as their times do. It is never less than 1.

use std::io::{self, Write};

use crate::output::Presentation;
use crate::output::tree::LabelTree;
use crate::profile::Profile;

/// Writes `profile` as collapsed stacks, sorted.
///
/// # Errors
/// When `writer` fails.
pub fn write(profile: &Profile, presentation: &Presentation, mut writer: impl Write) -> io::Result<()> {
    let interval_us = profile.metadata.interval_us();
    let tree = LabelTree::new(profile, presentation);
    let mut path = String::new();
    let mut ends = vec![];
    for step in tree.walk() {
        ends.truncate(step.depth);
        path.truncate(ends.last().copied().unwrap_or(0));
        if !path.is_empty() {
            path.push(';');
        }
        path.push_str(&step.label.text);
        ends.push(path.len());
        if step.samples > 0 {
            let count = (step.weight_us as f64 / interval_us).round().max(1.0) as u64;
            writeln!(writer, "{path} {count}")?;
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Lines, test_profiles};
    use crate::profile::{Flags, Keep};

    fn raw(profile: &Profile, presentation: Presentation) -> Vec<String> {
        let mut bytes = vec![];
        write(profile, &presentation, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_as_py_spy_writes_them() {
        let profile = test_profiles::usual(Keep::default());
        let expected = [
            "<module> (prog.py:16);A.meth (prog.py:8);spin (prog.py:4) 200",
            "<module> (prog.py:16);A.meth (prog.py:8);spin (prog.py:5) 400",
            "Thread.run (threading.py:982);dumps (__init__.py:12) 100",
            "Thread.run (threading.py:982);spin (prog.py:5) 800",
            "fib (child.py:3);fib (child.py:3);fib (child.py:3) 500",
            "fib (child.py:3);fib (child.py:3);fib (child.py:3);fib (child.py:3);fib (child.py:3) 500",
        ];
        assert_eq!(raw(&profile, Presentation::default()), expected);
    }

    #[test]
    fn processes_and_threads_stand_in_front_when_asked_for() {
        let profile = test_profiles::usual(Keep::default());
        let both = raw(&profile, Presentation { threads: true, processes: true, ..Presentation::default() });
        let main = "process 100:\"python3 prog.py --all\"";
        assert!(
            both[0].starts_with(&format!("{main};process 101:\"python3 child.py\";thread (101): MainThread;fib ("))
        );
        assert!(both[2].starts_with(&format!("{main};thread (100): MainThread;<module> (prog.py:16);")), "{both:#?}");
        assert!(both.iter().any(|line| line.starts_with(&format!("{main};thread (102): worker;Thread.run ("))));
    }

    #[test]
    fn display_options_name_frames_as_py_spy_does() {
        let profile = test_profiles::usual(Keep::default());
        let with = |lines, columns, full_file_names| {
            raw(&profile, Presentation { lines, columns, full_file_names, ..Presentation::default() })[0].clone()
        };
        assert_eq!(with(Lines::None, true, false), "<module> (prog.py);A.meth (prog.py);spin (prog.py) 600");
        assert_eq!(with(Lines::First, true, false), "<module> (prog.py:2);A.meth (prog.py:2);spin (prog.py:2) 600");
        let full = "<module> (/home/me/prog.py:16);A.meth (/home/me/prog.py:8);spin (/home/me/prog.py:4) 200";
        assert_eq!(with(Lines::Current, false, true), full);
        assert_eq!(
            with(Lines::Current, true, false),
            "<module> (prog.py:16:5);A.meth (prog.py:8:5);spin (prog.py:4:5) 200"
        );
    }

    #[test]
    fn a_thread_without_a_name_or_system_id_is_shown_as_py_spy_shows_it() {
        let mut profile = Profile::default();
        let process = test_profiles::process(&mut profile, 1, None, "");
        let nameless = test_profiles::thread(&mut profile, process, 77, None);
        let bare = test_profiles::thread(&mut profile, process, 0, None);
        profile.thread_mut(bare).os_id = None;
        profile.thread_mut(bare).python_id = 0x7f60_d4d8_16c0;
        profile.add_sample(nameless, crate::profile::StackId::EMPTY, 1000, 1000, Flags::NONE);
        profile.add_sample(bare, crate::profile::StackId::EMPTY, 2000, 1000, Flags::NONE);
        let lines = raw(&profile, Presentation { threads: true, ..Presentation::default() });
        assert_eq!(lines, ["thread (0x7F60D4D816C0) 1", "thread (77) 1"]);
    }

    #[test]
    fn a_late_sample_counts_for_the_time_that_it_stands_for() {
        let mut profile = Profile::default();
        profile.metadata.rate_asked = 100.0;
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let frame = test_profiles::python(&mut profile, "late", "a.py", 3);
        let stack = test_profiles::stack(&mut profile, &[frame]);
        profile.add_sample(thread, stack, 70_000, 70_000, Flags::NONE);
        profile.add_sample(thread, stack, 74_000, 4_000, Flags::NONE);
        let brief = test_profiles::python(&mut profile, "brief", "a.py", 9);
        let brief = test_profiles::stack(&mut profile, &[brief]);
        profile.add_sample(thread, brief, 74_100, 100, Flags::NONE);
        assert_eq!(raw(&profile, Presentation::default()), ["brief (a.py:9) 1", "late (a.py:3) 7"]);
    }

    #[test]
    fn hostile_names_stay_in_their_line_and_frame() {
        let profile = test_profiles::hostile(Keep::default());
        let lines = raw(&profile, Presentation { threads: true, processes: true, ..Presentation::default() });
        for line in &lines {
            let (path, count) = line.rsplit_once(' ').unwrap();
            assert!(count.parse::<u64>().unwrap() % 100 == 0, "{line}");
            assert!(path.split(';').count() <= 4 && path.starts_with("process 7:"), "{line}");
            assert!(!path.chars().any(char::is_control));
            assert!(path.len() < 4 * (2 * crate::profile::MAX_TEXT + 20));
        }
        assert!(lines.iter().any(|line| line.contains("semi:colon:: (semi:colon:::2)")));
    }

    #[test]
    fn one_very_deep_stack_is_one_line() {
        let mut profile = Profile::default();
        let process = test_profiles::process(&mut profile, 1, None, "");
        let thread = test_profiles::thread(&mut profile, process, 1, None);
        let deep = test_profiles::python(&mut profile, "deep", "a.py", 3);
        let stack = test_profiles::stack(&mut profile, &[deep; 20_000]);
        profile.add_sample(thread, stack, 1000, 1000, Flags::NONE);
        let lines = raw(&profile, Presentation::default());
        assert_eq!((lines.len(), lines[0].split(';').count()), (1, 20_000));
    }
}
