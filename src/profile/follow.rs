//! A profile that is kept by what another grows by, with numbers of its own: the other may begin anew, and before it
//! takes in what follows it may be [condensed](super::Profile::condensed).

use super::{Delta, Frame, FrameId, Mark, Process, ProcessRef, Profile, StackId, TextId, Thread, ThreadRef, Total};

/// What the numbers of the other profile are here.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    texts: Vec<TextId>,
    frames: Vec<FrameId>,
    stacks: Vec<StackId>,
    processes: Vec<ProcessRef>,
    threads: Vec<ThreadRef>,
}

impl Follower {
    /// Takes in what the other profile has grown by, its totals apart. Deltas must come in order, all since the last
    /// that was [fresh](Delta::fresh).
    pub(crate) fn take_in(&mut self, profile: &mut Profile, delta: &Delta) {
        if delta.fresh {
            *self = Self { texts: vec![TextId::EMPTY], stacks: vec![StackId::EMPTY], ..Self::default() };
        }
        self.texts.extend(delta.texts.iter().map(|text| profile.intern(text)));
        for frame in &delta.frames {
            let Frame { name, file, short_file, module, .. } = *frame;
            let [name, file, short_file, module] = [name, file, short_file, module].map(|text| self.text(text));
            self.frames.push(profile.frame(Frame { name, file, short_file, module, ..*frame }));
        }
        for (parent, frame) in &delta.stacks {
            let parent = self.stack(*parent);
            let frame = self.frames.get(frame.0 as usize);
            self.stacks.push(frame.map_or(parent, |frame| profile.push(parent, *frame)));
        }
        for (at, process) in delta.processes.iter().enumerate() {
            self.process(profile, at, &process.with_texts(|text| self.text(text)));
        }
        for (at, thread) in delta.threads.iter().enumerate() {
            let process = self.processes.get(thread.process.0 as usize).copied().unwrap_or(thread.process);
            let name = thread.name.map(|name| self.text(name));
            self.thread(profile, at, Thread { process, name, ..*thread }, delta.fresh);
        }
        profile.metadata.clone_from(&delta.metadata);
    }

    fn process(&mut self, profile: &mut Profile, at: usize, process: &Process) {
        let same = |known: &Process| (known.pid, known.start_us) == (process.pid, process.start_us);
        let here = self.processes.get(at).copied().or_else(|| {
            let known = profile.processes().filter(|(_, known)| same(known)).last();
            known.map(|(id, _)| id)
        });
        match here {
            Some(here) => profile.process_mut(here).clone_from(process),
            None => drop(profile.add_process(process.clone())),
        }
        if self.processes.len() == at {
            let last = ProcessRef(super::index(profile.processes.len() - 1));
            self.processes.push(here.unwrap_or(last));
        }
    }

    /// A thread is known by its number until the other profile begins anew; then, once, by what is known of it.
    fn thread(&mut self, profile: &mut Profile, at: usize, thread: Thread, by_ids: bool) {
        let ids = |thread: &Thread| (thread.process, thread.os_id, thread.python_id, thread.interpreter);
        let here = self.threads.get(at).copied().or_else(|| {
            let known = profile.threads().filter(|(_, known)| by_ids && ids(known) == ids(&thread)).last();
            known.map(|(id, _)| id)
        });
        match here {
            Some(here) => *profile.thread_mut(here) = thread,
            None => drop(profile.add_thread(thread)),
        }
        if self.threads.len() == at {
            let last = ThreadRef(super::index(profile.threads.len() - 1));
            self.threads.push(here.unwrap_or(last));
        }
    }

    fn text(&self, theirs: TextId) -> TextId {
        self.texts.get(theirs.0 as usize).copied().unwrap_or_default()
    }

    /// What a stack is here that was taken in.
    pub(crate) fn stack(&self, theirs: StackId) -> StackId {
        self.stacks.get(theirs.0 as usize).copied().unwrap_or_default()
    }

    /// What a thread is here that was taken in.
    pub(crate) fn thread_here(&self, theirs: ThreadRef) -> Option<ThreadRef> {
        self.threads.get(theirs.0 as usize).copied()
    }

    /// What totals are here.
    pub(crate) fn totals(&self, theirs: &[Total]) -> Vec<Total> {
        let here = |total: &Total| {
            Some(Total { thread: self.thread_here(total.thread)?, stack: self.stack(total.stack), ..*total })
        };
        theirs.iter().filter_map(here).collect()
    }
}

impl Profile {
    /// A copy without samples.
    #[must_use]
    pub fn without_samples(&self) -> Profile {
        let mut copy = Profile::default();
        Follower::default().take_in(&mut copy, &self.delta_since(&mut Mark::default()));
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Flags, Mark};

    /// A profile with a process, and a thread with a stack of these functions for 10 µs.
    fn add_stack(profile: &mut Profile, pid: u32, thread: u64, functions: &[&str]) {
        let command_line = profile.intern(&format!("program {pid}"));
        let known = profile.processes().find(|(_, process)| process.pid == pid).map(|(id, _)| id);
        let process = known
            .unwrap_or_else(|| profile.add_process(Process { pid, command_line, start_us: 7, ..Process::default() }));
        let found = profile.threads().find(|(_, known)| known.os_id == Some(thread)).map(|(id, _)| id);
        let reference = found.unwrap_or_else(|| {
            let name = Some(profile.intern(&format!("thread {thread}")));
            profile.add_thread(Thread { process, os_id: Some(thread), python_id: 1, interpreter: 0, name })
        });
        let mut stack = StackId::EMPTY;
        for function in functions {
            let name = profile.intern(function);
            let frame = profile.frame(Frame { name, line: 3, ..Frame::default() });
            stack = profile.push(stack, frame);
        }
        profile.add_sample(reference, stack, 10, 10, Flags::ACTIVE);
    }

    fn send_delta(follower: &mut Follower, copy: &mut Profile, of: &mut Profile, mark: &mut Mark) {
        let totals = of.take_totals();
        let delta = of.delta_since(mark);
        follower.take_in(copy, &delta);
        for total in follower.totals(&totals) {
            copy.add_total(total);
        }
    }

    fn texts(profile: &Profile) -> Vec<(String, String, u64)> {
        let name = |id| profile.text(profile.frame_of(id).name).to_owned();
        let all = profile.totals().iter().map(|total| {
            let thread = profile.thread(total.thread).name.map(|name| profile.text(name).to_owned());
            let mut names: Vec<String> = profile.frames_of(total.stack).map(name).collect();
            names.reverse();
            (thread.unwrap_or_default(), names.join(";"), total.weight_us)
        });
        all.collect()
    }

    #[test]
    fn what_begins_anew_goes_on_in_the_copy() {
        let (mut copy, mut follower) = (Profile::default(), Follower::default());
        let (mut first, mut mark) = (Profile::default(), Mark::default());
        add_stack(&mut first, 1, 11, &["main", "a"]);
        send_delta(&mut follower, &mut copy, &mut first, &mut mark);
        add_stack(&mut first, 1, 12, &["main", "b"]);
        add_stack(&mut first, 1, 11, &["main", "a"]);
        send_delta(&mut follower, &mut copy, &mut first, &mut mark);
        // The same numbers mean something else from here on.
        let (mut second, mut mark) = (Profile::default(), Mark::default());
        add_stack(&mut second, 2, 21, &["other"]);
        add_stack(&mut second, 1, 12, &["main", "b"]);
        add_stack(&mut second, 1, 11, &["main", "c"]);
        send_delta(&mut follower, &mut copy, &mut second, &mut mark);
        add_stack(&mut second, 1, 11, &["main", "c"]);
        send_delta(&mut follower, &mut copy, &mut second, &mut mark);
        let row = |thread: &str, stack: &str, weight| (thread.to_owned(), stack.to_owned(), weight);
        assert_eq!(
            texts(&copy),
            [
                row("thread 11", "main;a", 20),
                row("thread 12", "main;b", 20),
                row("thread 21", "other", 10),
                row("thread 11", "main;c", 20),
            ]
        );
        assert_eq!(copy.processes().map(|(_, process)| process.pid).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(copy.threads().count(), 3);
    }

    #[test]
    fn a_thread_whose_ids_are_used_again_is_another() {
        let (mut copy, mut follower) = (Profile::default(), Follower::default());
        let (mut profile, mut mark) = (Profile::default(), Mark::default());
        add_stack(&mut profile, 1, 11, &["a"]);
        send_delta(&mut follower, &mut copy, &mut profile, &mut mark);
        let thread = *profile.threads().next().unwrap().1;
        profile.add_thread(thread);
        send_delta(&mut follower, &mut copy, &mut profile, &mut mark);
        assert_eq!(copy.threads().count(), 2);
    }
}
