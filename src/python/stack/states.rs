//! The thread states of all interpreters, and which of them are those of one kernel thread.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Attachment, MOST_THREADS, Stacks};
use crate::memory::{COMMON, ReadError, Reader};
use crate::python::cycle::CycleWatch;
use crate::python::layout::{Layout, attachment};

/// Frames of two thread states with different idents, one of which must be out of date, are taken for those of one
/// thread only where they lie no further apart on the native stack than this, in bytes.
const ONE_STACK: u64 = 4 << 20;

/// A thread state in the list of its interpreter.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadState {
    /// The `PyThreadState`.
    pub(super) address: u64,
    /// `next`, the one made before it.
    next: u64,
    /// The `PyInterpreterState`.
    interpreter_address: u64,
    /// Its index in [`Stacks::interpreters`].
    pub(super) interpreter: usize,
    /// `thread_id`.
    pub(super) thread_id: u64,
    /// `native_thread_id` (3.11+).
    pub(super) native_thread_id: Option<u64>,
    /// `gil_requested` (3.15+).
    pub(super) requests_gil: bool,
    /// `state`, where there is no GIL.
    pub(super) attachment: Option<Attachment>,
    /// Index of the first one of the same thread.
    pub(super) home: usize,
    /// It had frames when it was last walked.
    pub(super) has_frames: bool,
    /// Where on the native stack its oldest frame was entered then, where that is known.
    pub(super) entered_at: Option<u64>,
}

/// The thread states of one kernel thread: a range of [`Stacks::members`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) end: usize,
    /// Index of the one that was listed first, whose address stands for the thread.
    pub(super) home: usize,
}

impl Stacks {
    /// Reads the lists of thread states anew, and forgets how they were grouped unless they are as before.
    pub(super) fn list_states(&mut self, reader: &mut impl Reader, layout: &Layout) {
        let before = std::mem::take(&mut self.states);
        self.read_lists(reader, layout);
        let is_same = |(new, old): (&ThreadState, &ThreadState)| {
            (new.address, new.interpreter_address) == (old.address, old.interpreter_address)
                && new.ident() == old.ident()
        };
        if self.states.len() == before.len() && self.states.iter().zip(&before).all(is_same) {
            for (new, old) in self.states.iter_mut().zip(before) {
                (new.home, new.has_frames, new.entered_at) = (old.home, old.has_frames, old.entered_at);
            }
        } else {
            self.group_alone();
        }
    }

    fn read_lists(&mut self, reader: &mut impl Reader, layout: &Layout) {
        for index in 0..self.interpreters.len() {
            let first = self.states.len();
            self.list_states_of(reader, layout, index);
            // New threads, as new interpreters, are put at the head of the list.
            self.states[first..].reverse();
        }
    }

    fn list_states_of(&mut self, reader: &mut impl Reader, layout: &Layout, index: usize) {
        let Some(mut address) = self.threads_head(reader, layout, index) else {
            self.incomplete = true;
            return;
        };
        let mut watch = CycleWatch::default();
        while address != 0 {
            if self.states.len() >= MOST_THREADS || watch.comes_again(address) {
                self.incomplete = true;
                return;
            }
            let interpreter = self.interpreters[index].address;
            let Ok(mut state) = read_state(reader, layout, address, interpreter) else {
                self.incomplete = true;
                return;
            };
            state.interpreter = index;
            address = state.next;
            self.states.push(state);
        }
    }

    fn threads_head(&self, reader: &mut impl Reader, layout: &Layout, index: usize) -> Option<u64> {
        reader.start_walk(COMMON);
        let offset = u64::from(layout.interpreter.threads_head);
        reader.volatile_word(self.interpreters[index].address.wrapping_add(offset)).ok()
    }

    /// Whether the lists are as they were when they were read, as far as can be seen without a look at the threads
    /// that are left out.
    pub(super) fn is_as_listed(
        &mut self,
        reader: &mut impl Reader,
        layout: &Layout,
        leaves_out: &dyn Fn(u64) -> bool,
    ) -> bool {
        let mut seen = 0;
        for index in 0..self.interpreters.len() {
            let interpreter = self.interpreters[index].address;
            let length =
                self.states[seen..].iter().take_while(|state| state.interpreter_address == interpreter).count();
            let Some(mut address) = self.threads_head(reader, layout, index) else { return false };
            for place in (seen..seen + length).rev() {
                let known = self.states[place];
                if known.address != address {
                    return false;
                }
                if !leaves_out(self.states[known.home].address) {
                    match read_state(reader, layout, address, interpreter) {
                        Ok(state) if state.next == known.next && state.ident() == known.ident() => {
                            let listed = &mut self.states[place];
                            (listed.attachment, listed.requests_gil) = (state.attachment, state.requests_gil);
                        }
                        _ => return false,
                    }
                }
                self.states[place].interpreter = index;
                address = known.next;
            }
            if address != 0 {
                return false;
            }
            seen += length;
        }
        seen == self.states.len()
    }

    /// Whether the thread states of a thread are still those of that thread.
    pub(super) fn is_still(&mut self, reader: &mut impl Reader, layout: &Layout, index: usize) -> bool {
        let Some(group) = self.groups.get(index) else { return false };
        self.members[group.first..group.end].iter().all(|member| {
            let known = &mut self.states[*member];
            match read_state(reader, layout, known.address, known.interpreter_address) {
                Ok(state) if state.thread_id == known.thread_id => {
                    (known.attachment, known.requests_gil) = (state.attachment, state.requests_gil);
                    true
                }
                _ => false,
            }
        })
    }

    /// Each thread state for itself, for the time being.
    fn group_alone(&mut self) {
        self.members.clear();
        self.groups.clear();
        for (index, state) in self.states.iter_mut().enumerate() {
            state.home = index;
            self.members.push(index);
            self.groups.push(Group { first: index, end: index + 1, home: index });
        }
        self.has_new_places = true;
    }

    /// Groups the thread states by what their last walk has found. Whether that is another grouping or order.
    pub(super) fn regroup(&mut self) -> bool {
        if self.interpreters.len() < 2 || !std::mem::take(&mut self.has_new_places) {
            return false;
        }
        self.find_homes();
        let mut members: Vec<usize> = (0..self.states.len()).collect();
        members.sort_by_key(|member| (self.states[*member].home, self.depth(*member)));
        let mut groups: Vec<Group> = Vec::new();
        for (place, member) in members.iter().enumerate() {
            let home = self.states[*member].home;
            match groups.last_mut() {
                Some(group) if group.home == home => group.end = place + 1,
                _ => groups.push(Group { first: place, end: place + 1, home }),
            }
        }
        let is_another = members != self.members || groups != self.groups;
        (self.members, self.groups) = (members, groups);
        is_another
    }

    /// Finds the first thread state of the same thread for each: by where its frames are on the native stack, as far as
    /// that is known, for what a thread state says of its thread may be out of date; else by that.
    fn find_homes(&mut self) {
        let mut idents: Vec<u64> = self.states.iter().map(|state| state.thread_id).collect();
        idents.sort_unstable();
        idents.dedup();
        // A `pthread_t` is at the upper end of its thread's stack; above the main thread's stack there is none.
        let stack_of = |address: u64| idents.partition_point(|ident| *ident <= address);
        let mut by_stack: HashMap<usize, usize> = HashMap::new();
        let mut by_ident: HashMap<(u64, Option<u64>), usize> = HashMap::new();
        for index in 0..self.states.len() {
            let state = self.states[index];
            let stack = state.entered_at.map(stack_of);
            let on_stack = stack.and_then(|stack| by_stack.get(&stack)).copied().filter(|known| {
                let known = &self.states[*known];
                let is_near =
                    state.entered_at.zip(known.entered_at).is_some_and(|(own, other)| own.abs_diff(other) < ONE_STACK);
                is_near || state.is_of_one_thread_with(known)
            });
            let of_ident = by_ident.get(&state.ident()).copied().filter(|known| {
                let place = self.states[*known].entered_at.map(stack_of);
                state.thread_id != 0 && (stack.is_none() || place.is_none() || place == stack)
            });
            let known = on_stack.or(of_ident);
            let home = known.map_or(index, |known| self.states[known].home);
            self.states[index].home = home;
            by_ident.entry(state.ident()).or_insert(index);
            if let Some(stack) = stack {
                by_stack.entry(stack).or_insert(index);
            }
        }
    }

    /// By what the states of one thread are sorted, the innermost first: stacks grow downwards; where nothing tells
    /// their places, who holds the GIL runs, and a newer interpreter was called by an older one.
    fn depth(&self, index: usize) -> (bool, u64, bool, Reverse<usize>) {
        let state = &self.states[index];
        let holds_gil = self.interpreters[state.interpreter].gil.holder == state.address;
        (!state.has_frames, state.entered_at.unwrap_or(0), !holds_gil, Reverse(index))
    }

    /// The address by which the thread of a thread state goes: that of its first one.
    pub fn thread_of_state(&self, address: u64) -> u64 {
        let state = self.states.iter().find(|state| state.address == address);
        state.map_or(address, |state| self.states[state.home].address)
    }

    /// The thread states that are part of another one's thread, each with that, sorted.
    pub fn joined(&self) -> Vec<(u64, u64)> {
        let inner = self.groups.iter().filter(|group| group.end - group.first > 1).flat_map(|group| {
            let home = self.states[group.home].address;
            let members = self.members[group.first..group.end].iter().map(|member| self.states[*member].address);
            members.filter(move |address| *address != home).map(move |address| (address, home))
        });
        let mut joined: Vec<(u64, u64)> = inner.collect();
        joined.sort_unstable();
        joined
    }
}

impl ThreadState {
    /// What it says of its thread.
    fn ident(&self) -> (u64, Option<u64>) {
        (self.thread_id, self.native_thread_id)
    }

    /// Whether both say that they are of the same thread.
    fn is_of_one_thread_with(&self, other: &Self) -> bool {
        self.thread_id != 0 && self.ident() == other.ident()
    }
}

fn read_state(
    reader: &mut impl Reader,
    layout: &Layout,
    address: u64,
    interpreter: u64,
) -> Result<ThreadState, ReadError> {
    reader.start_walk(address);
    let offsets = &layout.thread;
    let at = |offset: u32| address.wrapping_add(u64::from(offset));
    // A thread state that has been freed, or was never one, belongs to no interpreter that we know.
    if reader.volatile_word(at(offsets.interp))? != interpreter {
        return Err(ReadError::implausible(address));
    }
    let next = reader.volatile_word(at(offsets.next))?;
    let thread_id = volatile_long(reader, at(offsets.thread_id))?;
    let native_thread_id = match offsets.native_thread_id {
        Some(offset) => Some(volatile_long(reader, at(offset))?),
        None => None,
    };
    let attachment = match offsets.attachment {
        Some(offset) => Some(match reader.volatile_half(at(offset))? {
            attachment::ATTACHED => Attachment::Attached,
            attachment::SUSPENDED => Attachment::Suspended,
            _ => Attachment::Detached,
        }),
        None => None,
    };
    let requests_gil = match offsets.gil_requested {
        Some(offset) => reader.volatile_half(at(offset))? == 1,
        None => false,
    };
    Ok(ThreadState {
        address,
        next,
        interpreter_address: interpreter,
        interpreter: 0,
        requests_gil,
        attachment,
        home: 0,
        thread_id,
        native_thread_id,
        has_frames: false,
        entered_at: None,
    })
}

/// An `unsigned long`: on Windows the next field begins after four bytes.
fn volatile_long(reader: &mut impl Reader, address: u64) -> Result<u64, ReadError> {
    if cfg!(windows) { Ok(u64::from(reader.volatile_half(address)?)) } else { reader.volatile_word(address) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::gil::GilState;
    use crate::python::interpreter::InterpreterState;

    /// The main thread's stack is above everything else; the others' are below their `pthread_t`s.
    const MAIN: u64 = 0x7f00_0010_0000;
    const WORKER: u64 = 0x7f00_0300_0000;
    const MAIN_STACK: u64 = 0x7fff_0000_0000;

    fn state(address: u64, interpreter: usize, thread_id: u64, entered_at: Option<u64>) -> ThreadState {
        ThreadState {
            address,
            next: 0,
            interpreter_address: interpreter as u64,
            interpreter,
            thread_id,
            native_thread_id: None,
            requests_gil: false,
            attachment: None,
            home: 0,
            has_frames: entered_at.is_some(),
            entered_at: entered_at.filter(|place| *place != 0),
        }
    }

    /// The addresses of the states of each thread, innermost first; the GIL is held by the state at `holder`.
    fn groups(states: &[ThreadState], holder: u64) -> Vec<Vec<u64>> {
        let interpreter = |index: usize| InterpreterState {
            address: index as u64,
            id: index as i64,
            collecting: false,
            collecting_frame: 0,
            code_generation: None,
            gil: GilState { exists: true, holder, tells_holder: true, ..GilState::default() },
        };
        let interpreters = (0..3).map(interpreter).collect();
        let mut stacks = Stacks { states: states.to_vec(), interpreters, ..Stacks::default() };
        stacks.group_alone();
        stacks.regroup();
        let group = |group: &Group| stacks.members[group.first..group.end].iter().map(|member| states[*member].address);
        stacks.groups.iter().map(|found| group(found).collect()).collect()
    }

    #[test]
    fn the_states_of_one_thread_are_ordered_by_where_they_lie_on_its_stack() {
        let main = state(1, 0, MAIN, Some(MAIN_STACK));
        let outer = state(2, 0, WORKER, Some(WORKER - 0x1000));
        let inner = state(3, 1, WORKER, Some(WORKER - 0x9000));
        assert_eq!(groups(&[main, outer, inner], 0), [vec![1], vec![3, 2]]);
        // The younger interpreter has called the older one.
        let (outer, inner) = (state(2, 2, WORKER, Some(WORKER - 0x1000)), state(3, 1, WORKER, Some(WORKER - 0x9000)));
        assert_eq!(groups(&[main, inner, outer], 0), [vec![1], vec![3, 2]]);
    }

    #[test]
    fn what_a_state_says_of_its_thread_counts_less_than_where_its_frames_are() {
        // As 3.12 runs an interpreter that another thread has made.
        let main = state(1, 0, MAIN, Some(MAIN_STACK));
        let worker = state(2, 0, WORKER, Some(WORKER - 0x1000));
        let run_by_worker = state(3, 1, MAIN, Some(WORKER - 0x9000));
        assert_eq!(groups(&[main, worker, run_by_worker], 3), [vec![1], vec![3, 2]]);
        // Far away on what may be the stack of a thread that is not known.
        let elsewhere = state(3, 1, MAIN, Some(WORKER - 0x100_0000));
        assert_eq!(groups(&[main, worker, elsewhere], 3), [vec![1], vec![2], vec![3]]);
    }

    #[test]
    fn where_nothing_tells_the_places_who_holds_the_gil_is_innermost() {
        let (outer, inner) = (state(1, 0, MAIN, Some(0)), state(2, 1, MAIN, Some(0)));
        assert_eq!(groups(&[outer, inner], 2), [[2, 1]]);
        assert_eq!(groups(&[outer, inner], 1), [[1, 2]]);
        assert_eq!(groups(&[outer, inner], 0), [[2, 1]]);
    }

    #[test]
    fn a_state_without_frames_comes_last() {
        let (outer, empty) = (state(1, 0, MAIN, Some(MAIN_STACK)), state(2, 1, MAIN, None));
        assert_eq!(groups(&[outer, empty], 2), [[1, 2]]);
        assert_eq!(groups(&[outer, state(2, 1, WORKER, None)], 2), [[1], [2]]);
    }
}
