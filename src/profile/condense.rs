//! A profile made smaller, for who keeps one for days: what took the most stays as it is, what took the least is
//! joined.

use std::collections::{HashMap, HashSet};

use super::{Flags, Frame, FrameId, Process, ProcessRef, Profile, StackId, TextId, Thread, ThreadRef, Total};

/// The frame that stands for what a function has called too rarely to be kept apart.
const RARE: &str = "<rarely seen>";
/// The thread, one a process, that stands for threads that have ended.
const ENDED_THREADS: &str = "threads that have ended";
/// The process that stands for processes that have ended.
const ENDED_PROCESSES: &str = "processes that have ended";
/// The thread, one a process, that stands for what single threads have done too rarely to be kept apart.
const RARE_IN_THREADS: &str = "rarely seen in one thread";

/// How much is kept, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Distinct stacks.
    pub stacks: usize,
    /// Totals of a thread with a stack.
    pub totals: usize,
}

/// What must stay.
#[derive(Debug, Clone, Default)]
pub struct Needed<'needed> {
    /// Threads that live. Others are joined.
    pub threads: HashSet<ThreadRef>,
    /// Stacks that stay as they are.
    pub stacks: Vec<StackId>,
    /// Frames that stay, whether they are in a stack or not.
    pub frames: Vec<FrameId>,
    /// Totals beside those of the profile that will be asked for by [`Renumbering::total`].
    pub totals: &'needed [Total],
}

/// What numbers of the profile before are in the condensed one.
#[derive(Debug, Default)]
pub struct Renumbering {
    texts: Vec<Option<TextId>>,
    frames: Vec<Option<FrameId>>,
    stacks: Vec<StackId>,
    processes: Vec<ProcessRef>,
    threads: Vec<ThreadRef>,
}

impl Renumbering {
    /// A text; `None` for one that is not there any more.
    pub fn text(&self, before: TextId) -> Option<TextId> {
        self.texts.get(before.0 as usize).copied().flatten()
    }

    /// A frame, by its [number](FrameId::number); `None` for one that is not there any more.
    pub fn frame(&self, number: u32) -> Option<FrameId> {
        self.frames.get(number as usize).copied().flatten()
    }

    /// A stack, or what it was joined with.
    pub fn stack(&self, before: StackId) -> StackId {
        self.stacks.get(before.0 as usize).copied().unwrap_or_default()
    }

    /// A process, or what it was joined with.
    pub fn process(&self, before: ProcessRef) -> ProcessRef {
        self.processes.get(before.0 as usize).copied().unwrap_or(before)
    }

    /// A thread, or what it was joined with.
    pub fn thread(&self, before: ThreadRef) -> ThreadRef {
        self.threads.get(before.0 as usize).copied().unwrap_or(before)
    }

    /// A total.
    pub fn total(&self, before: &Total) -> Total {
        Total { thread: self.thread(before.thread), stack: self.stack(before.stack), ..*before }
    }
}

impl Profile {
    /// A copy within `room`, as far as what is `needed` allows, without a timeline. The time of each function by itself
    /// stays what it was unless it went to a frame named `<rarely seen>`; what all took together stays in any case.
    #[must_use]
    pub fn condensed(&self, room: Room, needed: &Needed<'_>) -> (Profile, Renumbering) {
        let mut copy = Profile { metadata: self.metadata.clone(), ..Profile::default() };
        let mut by = Renumbering {
            texts: vec![None; self.texts.len()],
            frames: vec![None; self.frames.len()],
            stacks: vec![StackId::EMPTY; self.stacks.len()],
            ..Renumbering::default()
        };
        self.copy_processes(&mut copy, &mut by, needed);
        self.copy_threads(&mut copy, &mut by, needed);
        self.copy_stacks(&mut copy, &mut by, needed, room.stacks);
        for frame in &needed.frames {
            self.copy_frame(&mut copy, &mut by, *frame);
        }
        let mut totals: HashMap<(ThreadRef, StackId, Flags), Total> = HashMap::new();
        for total in self.totals() {
            add_total_to(&mut totals, by.total(total));
        }
        let heavy = heaviest(totals.values().map(|total| total.weight_us), room.totals);
        // In an order that does not depend on the hashes.
        let mut totals: Vec<Total> = totals.into_values().collect();
        totals.sort_unstable_by_key(|total| (total.thread.0, total.stack, total.flags.bits()));
        let mut rare: HashMap<ProcessRef, ThreadRef> = HashMap::new();
        for total in totals {
            let mut total = total;
            if total.weight_us < heavy {
                let process = copy.thread(total.thread).process;
                total.thread =
                    *rare.entry(process).or_insert_with(|| copy.add_stand_in(process, RARE_IN_THREADS, u64::MAX));
            }
            copy.add_total(total);
        }
        (copy, by)
    }

    fn copy_text(&self, copy: &mut Profile, by: &mut Renumbering, text: TextId) -> TextId {
        if let Some(known) = by.text(text) {
            return known;
        }
        let id = copy.intern(self.text(text));
        if let Some(place) = by.texts.get_mut(text.0 as usize) {
            *place = Some(id);
        }
        id
    }

    fn copy_frame(&self, copy: &mut Profile, by: &mut Renumbering, frame: FrameId) -> FrameId {
        if let Some(known) = by.frame(frame.0) {
            return known;
        }
        let known = self.frame_of(frame);
        let Frame { name, file, short_file, module, .. } = known;
        let [name, file, short_file, module] =
            [name, file, short_file, module].map(|text| self.copy_text(copy, by, text));
        let here = copy.frame(Frame { name, file, short_file, module, ..known });
        by.frames[frame.0 as usize] = Some(here);
        here
    }

    /// The first and those that live; one stands for all others.
    fn copy_processes(&self, copy: &mut Profile, by: &mut Renumbering, needed: &Needed<'_>) {
        let used: HashSet<ProcessRef> = needed.threads.iter().map(|thread| self.thread(*thread).process).collect();
        let mut stand_in = None;
        for (id, process) in self.processes() {
            let is_kept = id.0 == 0 || process.end_us.is_none() || used.contains(&id);
            let here = if is_kept {
                let process = process.with_texts(|text| self.copy_text(copy, by, text));
                copy.add_process(process)
            } else {
                *stand_in.get_or_insert_with(|| {
                    let command_line = copy.intern(ENDED_PROCESSES);
                    // It is there to be taken for itself the next time.
                    copy.add_process(Process { command_line, end_us: Some(0), ..Process::default() })
                })
            };
            by.processes.push(here);
        }
    }

    fn copy_threads(&self, copy: &mut Profile, by: &mut Renumbering, needed: &Needed<'_>) {
        let mut stand_ins: HashMap<(ProcessRef, u64), ThreadRef> = HashMap::new();
        for (id, thread) in self.threads() {
            let process = by.process(thread.process);
            let here = if needed.threads.contains(&id) {
                let name = thread.name.map(|name| self.copy_text(copy, by, name));
                copy.add_thread(Thread { process, name, ..*thread })
            } else {
                let is_rare = thread.name.is_some_and(|name| self.text(name) == RARE_IN_THREADS);
                let (name, number) = if is_rare { (RARE_IN_THREADS, u64::MAX) } else { (ENDED_THREADS, u64::MAX - 1) };
                *stand_ins.entry((process, number)).or_insert_with(|| copy.add_stand_in(process, name, number))
            };
            by.threads.push(here);
        }
    }

    fn add_stand_in(&mut self, process: ProcessRef, name: &str, number: u64) -> ThreadRef {
        let name = Some(self.intern(name));
        let thread = Thread { process, os_id: None, python_id: number, interpreter: 0, name };
        let known = self.threads().find(|(_, known)| **known == thread).map(|(id, _)| id);
        known.unwrap_or_else(|| self.add_thread(thread))
    }

    fn copy_stacks(&self, copy: &mut Profile, by: &mut Renumbering, needed: &Needed<'_>, room: usize) {
        let count = self.stacks.len();
        let mut weights = vec![0u64; count];
        for total in self.totals().iter().chain(needed.totals) {
            if let Some(weight) = weights.get_mut(total.stack.0 as usize) {
                *weight = weight.saturating_add(total.weight_us.max(1));
            }
        }
        let mut is_needed = vec![false; count];
        for stack in &needed.stacks {
            if let Some(place) = is_needed.get_mut(stack.0 as usize) {
                *place = true;
            }
        }
        // A stack has a higher number than its callers'.
        for at in (1..count).rev() {
            let Some((caller, _)) = self.stacks.pop(StackId(super::index(at))) else { continue };
            let caller = caller.0 as usize;
            weights[caller] = weights[caller].saturating_add(weights[at]);
            is_needed[caller] |= is_needed[at];
        }
        let heavy = heaviest(weights.iter().skip(1).copied().filter(|weight| *weight > 0), room).max(1);
        let mut is_kept = vec![true; 1];
        for at in 1..count {
            let caller_and_frame = self.stacks.pop(StackId(super::index(at)));
            let (caller, frame) = caller_and_frame.unwrap_or((StackId::EMPTY, FrameId(0)));
            let below = by.stack(caller);
            let keep = is_kept[caller.0 as usize] && (weights[at] >= heavy || is_needed[at]);
            is_kept.push(keep);
            by.stacks[at] = if keep {
                let here = self.copy_frame(copy, by, frame);
                copy.push(below, here)
            } else if is_kept[caller.0 as usize] && weights[at] > 0 {
                let name = copy.intern(RARE);
                let frame = copy.frame(Frame { name, ..Frame::default() });
                copy.push(below, frame)
            } else {
                below
            };
        }
    }
}

fn add_total_to(totals: &mut HashMap<(ThreadRef, StackId, Flags), Total>, total: Total) {
    let key = (total.thread, total.stack, total.flags);
    let known = totals.entry(key).or_insert(Total { samples: 0, weight_us: 0, ..total });
    known.samples = known.samples.saturating_add(total.samples);
    known.weight_us = known.weight_us.saturating_add(total.weight_us);
}

/// The weight from which on there are at most `room` of them; 0 when all have room.
fn heaviest(weights: impl Iterator<Item = u64>, room: usize) -> u64 {
    let mut weights: Vec<u64> = weights.collect();
    if weights.len() <= room {
        return 0;
    }
    let at = weights.len() - room.max(1);
    let (_, boundary, _) = weights.select_nth_unstable(at);
    // Of many that weigh the same none is better than the other.
    let boundary = *boundary;
    let equal_or_more = weights.iter().filter(|weight| **weight >= boundary).count();
    if equal_or_more > room { boundary.saturating_add(1) } else { boundary }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { stacks: 1000, totals: 1000 };

    fn push_functions(profile: &mut Profile, functions: &[&str]) -> StackId {
        let mut stack = StackId::EMPTY;
        for function in functions {
            let name = profile.intern(function);
            let frame = profile.frame(Frame { name, line: 7, ..Frame::default() });
            stack = profile.push(stack, frame);
        }
        stack
    }

    fn thread(profile: &mut Profile, process: ProcessRef, name: &str) -> ThreadRef {
        let number = profile.threads().count() as u64;
        let name = Some(profile.intern(name));
        profile.add_thread(Thread { process, os_id: Some(number), python_id: number, interpreter: 0, name })
    }

    fn add_weight(profile: &mut Profile, thread: ThreadRef, functions: &[&str], weight_us: u64) -> StackId {
        let stack = push_functions(profile, functions);
        profile.add_total(Total { thread, stack, flags: Flags::ACTIVE, samples: 1, weight_us });
        stack
    }

    /// `thread: a;b weight`, sorted.
    fn lines(profile: &Profile) -> Vec<String> {
        let mut lines: Vec<String> = profile
            .totals()
            .iter()
            .map(|total| {
                let name = |id| profile.text(profile.frame_of(id).name);
                let mut names: Vec<&str> = profile.frames_of(total.stack).map(name).collect();
                names.reverse();
                let thread = profile.thread(total.thread);
                let pid = profile.process(thread.process).pid;
                let thread = thread.name.map_or("", |name| profile.text(name));
                format!("{pid} {thread}: {} {}", names.join(";"), total.weight_us)
            })
            .collect();
        lines.sort();
        lines
    }

    fn process(profile: &mut Profile, pid: u32, end_us: Option<u64>) -> ProcessRef {
        profile.add_process(Process { pid, end_us, ..Process::default() })
    }

    #[test]
    fn frames_that_are_needed_stay_though_no_stack_has_them() {
        let mut profile = Profile::default();
        push_functions(&mut profile, &["gone", "gone too"]);
        let [name, gone] = ["alone", "unused"].map(|text| profile.intern(text));
        let [frame, other] = [name, gone].map(|name| profile.frame(Frame { name, line: 7, ..Frame::default() }));
        let needed = Needed { frames: vec![frame], ..Needed::default() };
        let (copy, by) = profile.condensed(Room { stacks: 0, totals: 0 }, &needed);
        let here = by.frame(frame.number()).unwrap();
        assert_eq!((copy.text(copy.frame_of(here).name), by.frame(other.number())), ("alone", None));
    }

    #[test]
    fn what_has_room_stays_as_it_is_without_what_nobody_refers_to() {
        let mut profile = Profile::default();
        let process = process(&mut profile, 1, None);
        let main = thread(&mut profile, process, "main");
        push_functions(&mut profile, &["unused", "unused too"]);
        let stack = add_weight(&mut profile, main, &["a", "b"], 5);
        add_weight(&mut profile, main, &["a"], 3);
        let needed = Needed { threads: HashSet::from([main]), ..Needed::default() };
        let (copy, by) = profile.condensed(ROOM, &needed);
        assert_eq!(lines(&copy), lines(&profile));
        assert_eq!(copy.table_sizes().stacks, 3);
        assert_eq!(copy.frames_of(by.stack(stack)).count(), 2);
        let name = |profile: &Profile, id: TextId| profile.text(id).to_owned();
        let before = profile.thread(main).name.unwrap();
        assert_eq!(name(&copy, by.text(before).unwrap()), "main");
    }

    #[test]
    fn threads_and_processes_that_have_ended_become_one_again_and_again() {
        let mut profile = Profile::default();
        let (first, second, third) =
            (process(&mut profile, 1, None), process(&mut profile, 2, Some(9)), process(&mut profile, 3, Some(9)));
        let main = thread(&mut profile, first, "main");
        add_weight(&mut profile, main, &["a"], 1);
        for (process, name) in [(first, "t1"), (first, "t2"), (second, "t3"), (third, "t4")] {
            let ended = thread(&mut profile, process, name);
            add_weight(&mut profile, ended, &["a"], 10);
            add_weight(&mut profile, ended, &["a", name], 10);
        }
        let threads = HashSet::from([main]);
        let (mut copy, by) = profile.condensed(ROOM, &Needed { threads, ..Needed::default() });
        let expected = [
            "0 threads that have ended: a 20",
            "0 threads that have ended: a;t3 10",
            "0 threads that have ended: a;t4 10",
            "1 main: a 1",
            "1 threads that have ended: a 20",
            "1 threads that have ended: a;t1 10",
            "1 threads that have ended: a;t2 10",
        ];
        assert_eq!(lines(&copy), expected);
        let main = by.thread(main);
        for round in 1..4 {
            let ended = thread(&mut copy, ProcessRef(0), "later");
            add_weight(&mut copy, ended, &["b"], 1);
            copy = copy.condensed(ROOM, &Needed { threads: HashSet::from([main]), ..Needed::default() }).0;
            assert_eq!((copy.processes().count(), copy.threads().count()), (2, 3));
            assert!(lines(&copy).contains(&format!("1 threads that have ended: b {round}")), "{:?}", lines(&copy));
        }
    }

    #[test]
    fn without_room_the_lightest_are_joined_and_nothing_is_lost() {
        let mut profile = Profile::default();
        let process = process(&mut profile, 1, None);
        let main = thread(&mut profile, process, "main");
        add_weight(&mut profile, main, &["a", "heavy", "below"], 1000);
        for number in 0..100 {
            add_weight(&mut profile, main, &["a", "heavy", &format!("light {number}"), "lighter"], 1);
        }
        let needed_stack = add_weight(&mut profile, main, &["a", "needed"], 1);
        let needed = Needed { threads: HashSet::from([main]), stacks: vec![needed_stack], ..Needed::default() };
        let (copy, by) = profile.condensed(Room { stacks: 10, totals: 1000 }, &needed);
        let expected = ["1 main: a;heavy;<rarely seen> 100", "1 main: a;heavy;below 1000", "1 main: a;needed 1"];
        assert_eq!(lines(&copy), expected);
        assert_eq!(copy.sum(), profile.sum());
        assert_eq!(copy.frames_of(by.stack(needed_stack)).count(), 2);
        assert!(copy.table_sizes().frames <= 6);
    }

    #[test]
    fn many_threads_with_the_same_stacks_share_what_is_rare_in_each() {
        let mut profile = Profile::default();
        let process = process(&mut profile, 1, None);
        let threads: Vec<ThreadRef> =
            (0..20).map(|number| thread(&mut profile, process, &number.to_string())).collect();
        for thread in &threads {
            for function in 0..50 {
                add_weight(&mut profile, *thread, &["a", &format!("f{function}")], 2);
            }
        }
        add_weight(&mut profile, threads[3], &["a", "f7"], 90);
        let needed = Needed { threads: threads.iter().copied().collect(), ..Needed::default() };
        let (copy, _) = profile.condensed(Room { stacks: 1000, totals: 100 }, &needed);
        assert_eq!(copy.totals().len(), 51);
        let lines = lines(&copy);
        assert!(lines.contains(&"1 3: a;f7 92".to_owned()), "{lines:?}");
        assert!(lines.contains(&"1 rarely seen in one thread: a;f7 38".to_owned()), "{lines:?}");
        assert_eq!(copy.sum(), profile.sum());
    }

    #[test]
    fn the_heaviest_are_as_many_as_have_room_or_fewer() {
        let kept = |weights: &[u64], room| {
            let heavy = heaviest(weights.iter().copied(), room);
            weights.iter().filter(|weight| **weight >= heavy).count()
        };
        assert_eq!(kept(&[1, 2, 3], 3), 3);
        assert_eq!(kept(&[5, 1, 4, 2, 3], 2), 2);
        assert_eq!(kept(&[5, 1, 1, 1], 2), 1);
        assert_eq!(kept(&[1, 1, 1], 2), 0);
    }
}
