use super::*;

fn frame(profile: &mut Profile, name: &str, line: u32) -> FrameId {
    let name = profile.intern(name);
    profile.frame(Frame { name, line, ..Frame::default() })
}

fn one_thread(keep: Keep) -> (Profile, ThreadRef) {
    let mut profile = Profile::new(keep);
    let process = profile.add_process(Process { pid: 7, ..Process::default() });
    let thread = profile.add_thread(Thread { process, os_id: Some(7), python_id: 1, interpreter: 0, name: None });
    (profile, thread)
}

#[test]
fn equal_stacks_have_equal_ids_and_can_be_read_back() {
    let mut profile = Profile::default();
    let outer = frame(&mut profile, "outer", 1);
    let inner = frame(&mut profile, "inner", 2);
    let one = profile.push(StackId::EMPTY, outer);
    let two = profile.push(one, inner);
    assert_eq!(profile.push(StackId::EMPTY, outer), one);
    assert_eq!(profile.push(one, inner), two);
    assert_ne!(profile.push(two, inner), two, "recursion is another stack");
    assert_eq!(profile.frames_of(two).collect::<Vec<_>>(), [inner, outer]);
    assert_eq!(profile.pop(StackId::EMPTY), None);
    assert_eq!(profile.table_sizes(), TableSizes { texts: 3, frames: 2, stacks: 4 });
}

#[test]
fn a_very_deep_stack_is_kept_whole() {
    let mut profile = Profile::default();
    let recursive = frame(&mut profile, "recursive", 3);
    let deep = (0..20_000).fold(StackId::EMPTY, |stack, _| profile.push(stack, recursive));
    assert_eq!(profile.frames_of(deep).count(), 20_000);
}

#[test]
fn long_names_are_cut_between_characters() {
    let mut profile = Profile::default();
    let long = "é".repeat(50_000);
    let id = profile.intern(&long);
    let kept = profile.text(id);
    assert!(kept.len() <= MAX_TEXT && kept.ends_with("é…"), "{} bytes", kept.len());
    assert_eq!(profile.intern(&long), id);
}

#[test]
fn names_without_end_do_not_fill_memory() {
    let mut profile = Profile::default();
    for number in 0..20_000 {
        profile.intern(&format!("{number}{}", "x".repeat(MAX_TEXT - 10)));
    }
    assert!(profile.is_clipped());
    assert!(profile.table_sizes().texts < 17_000);
}

#[test]
fn totals_grow_with_what_is_distinct() {
    let (mut profile, thread) = one_thread(Keep::default());
    let here = frame(&mut profile, "here", 1);
    let stack = profile.push(StackId::EMPTY, here);
    for tick in 1..=100_000 {
        profile.add_sample(thread, stack, tick * 10_000, 10_000, Flags::ACTIVE.with_if(Flags::GIL, tick % 4 == 0));
    }
    assert_eq!(profile.totals().len(), 2);
    assert_eq!(profile.sum(), Sum { samples: 100_000, weight_us: 1_000_000_000 });
    assert_eq!(profile.totals()[1].samples, 25_000);
    assert!(profile.totals()[1].flags.contains(Flags::GIL));
    assert_eq!(profile.timeline(thread).count(), 0);
}

#[test]
fn the_timeline_gives_back_what_was_put_in_with_gaps() {
    let (mut profile, thread) = one_thread(Keep { timeline: true, journal: false });
    let frames = [1, 2, 3].map(|line| frame(&mut profile, "here", line));
    let stacks = frames.map(|frame| profile.push(StackId::EMPTY, frame));
    for (stack, time, weight) in [(0, 10, 10), (0, 20, 10), (1, 35, 15), (0, 100, 10), (2, 110, 10), (2, 120, 10)] {
        profile.add_sample(thread, stacks[stack], time, weight, Flags::ACTIVE);
    }
    let runs: Vec<_> =
        profile.timeline(thread).map(|run| (run.stack, run.start_us, run.end_us(), run.samples)).collect();
    let expected = [(stacks[0], 0, 20, 2), (stacks[1], 20, 35, 1), (stacks[0], 90, 100, 1), (stacks[2], 100, 120, 2)];
    assert_eq!(runs, expected);
}

#[test]
fn samples_that_claim_the_same_time_follow_one_another() {
    let (mut profile, thread) = one_thread(Keep { timeline: true, journal: false });
    for time in [0, 10, 20, 15, 40] {
        profile.add_sample(thread, StackId::EMPTY, time, 10, Flags::from_bits(time as u8 & 1));
    }
    let mut end = 0;
    for run in profile.timeline(thread) {
        assert!(run.start_us >= end);
        end = run.end_us();
    }
    assert_eq!(profile.timeline(thread).map(|run| run.weight_us).sum::<u64>(), 50);
}

#[test]
fn a_changing_timeline_costs_few_bytes_a_sample() {
    let (mut profile, thread) = one_thread(Keep { timeline: true, journal: false });
    let stacks: Vec<_> = (0..5_000)
        .map(|line| {
            let frame = frame(&mut profile, "here", line);
            profile.push(StackId::EMPTY, frame)
        })
        .collect();
    let mut time = 0;
    for sample in 0..100_000u64 {
        let weight = 9_000 + sample * 7 % 2_000;
        time += weight;
        profile.add_sample(thread, stacks[(sample * 7_919 % 5_000) as usize], time, weight, Flags::ACTIVE);
    }
    assert_eq!(profile.timeline(thread).map(|run| run.weight_us).sum::<u64>(), time);
    let bytes: usize = profile.timeline.iter().map(Timeline::bytes).sum();
    assert!(bytes < 800_000, "{bytes} bytes for 100,000 samples");
}

#[test]
fn the_journal_holds_what_is_new_since_it_was_drained() {
    let (mut profile, thread) = one_thread(Keep { timeline: false, journal: true });
    for time in [10, 20, 30] {
        profile.add_sample(thread, StackId::EMPTY, time, 10, Flags::NONE);
    }
    let first = profile.drain_journal();
    assert_eq!(first.iter().map(|run| (run.start_us, run.samples)).collect::<Vec<_>>(), [(0, 3)]);
    profile.add_sample(thread, StackId::EMPTY, 40, 10, Flags::NONE);
    assert_eq!(profile.drain_journal().len(), 1);
    assert_eq!(profile.drain_journal(), []);
}

#[test]
fn the_last_known_thread_name_wins() {
    let (mut profile, thread) = one_thread(Keep::default());
    profile.set_thread_name(thread, "Thread-1");
    profile.set_thread_name(thread, "worker");
    let name = profile.thread(thread).name.unwrap();
    assert_eq!(profile.text(name), "worker");
}

#[test]
fn ancestors_are_found_and_pid_loops_end() {
    let mut profile = Profile::default();
    let process = |pid, parent| Process { pid, parent_pid: Some(parent), ..Process::default() };
    let top = profile.add_process(process(10, 1));
    let middle = profile.add_process(process(11, 10));
    let again = profile.add_process(process(11, 10));
    let leaf = profile.add_process(process(12, 11));
    assert_eq!(profile.lineage(leaf), [top, again, leaf]);
    assert_eq!(profile.lineage(middle), [top, middle]);
    let first = profile.add_process(process(20, 21));
    let second = profile.add_process(process(21, 20));
    assert_eq!(profile.lineage(second), [first, second]);
    assert_eq!(profile.lineage(first), [second, first]);
    let own_parent = profile.add_process(process(30, 30));
    assert_eq!(profile.lineage(own_parent), [own_parent]);
}
