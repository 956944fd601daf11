//! Workers that were forked behind CPython's back: their thread states tell of threads that are not there.

use crate::dump::{dump, frames, thread_in, wait_until_all_but_one_wait};
use crate::interpreters::Interpreter;
use crate::recording::Recording;
use crate::target::Target;

/// How many threads the parent had and how many the child starts.
const CASES: [(&str, &str); 4] = [("0", "0"), ("0", "1"), ("1", "0"), ("2", "2")];

#[test]
fn only_threads_that_the_child_has_are_counted() {
    for interpreter in Interpreter::all() {
        for (left, started) in CASES {
            let case = format!("{interpreter}, {left} left, {started} started");
            let mut target = Target::start(interpreter, "forked.py", &[left, started]);
            let child: u32 = target.line().parse().unwrap();

            wait_until_all_but_one_wait(child);
            let threads = dump(child, &[]);
            let main = thread_in(&threads, "busy_main");
            assert_eq!((&main["os_thread_id"], &main["active"]), (&child.into(), &true.into()), "{case}");
            let active = threads.iter().filter(|thread| thread["active"] == true).count();
            assert_eq!(active, 1, "{case}: {threads:#?}");
            let left: usize = left.parse().unwrap();
            let gone = threads.iter().filter(|thread| thread["gone"] == true).count();
            assert_eq!(gone, left, "{case}: {threads:#?}");
            let mut numbers: Vec<u64> = threads.iter().filter_map(|thread| thread["os_thread_id"].as_u64()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), 1 + started.parse::<usize>().unwrap(), "{case}: {threads:#?}");
            for thread in &threads {
                let in_function = |name: &str| frames(thread).iter().any(|(function, ..)| function.ends_with(name));
                // Of one whose memory another thread has got there are no frames.
                assert!(thread["gone"] == true || !in_function("left_behind"), "{case}: {thread:#}");
                assert_eq!(thread["gone"] == true, thread["os_thread_id"].is_null(), "{case}: {thread:#}");
            }

            let recording = Recording::fed(100.0, || Recording::of(child, &["-d", "0.3", "--threads", "--idle"]));
            assert_eq!(recording.summary.lost, 0, "{case}: {recording:#?}");
            let of = |name: &str| recording.count(|names| names.iter().any(|frame| frame.ends_with(name)));
            assert!(of("busy_main") >= 10, "{case}: {recording:#?}");
            assert_eq!(of("left_behind"), 0, "{case}: {recording:#?}");
            // `--idle` counts the others, but each once.
            let most = (of("busy_main") + 2) * started.parse::<u64>().unwrap();
            assert!(of("started_after") <= most, "{case}: {recording:#?}");
        }
    }
}
