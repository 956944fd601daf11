//! Which kernel thread runs a thread state.
//!
//! A thread state says it itself, but not always truly: after a fork(2) without CPython's own after-fork hook (uWSGI's
//! workers, other embedding hosts) the child has the thread states of all threads of its parent, with their numbers,
//! and only the thread that forked. So what it says counts only if there is such a thread in this very process, and one
//! kernel thread belongs to one Python thread at most.

use std::collections::HashMap;

use crate::process::ThreadId;
use crate::python::stack::ThreadStack;

/// What is known of the kernel thread of a Python thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its number, outside of any namespace.
    pub(super) os_id: Option<ThreadId>,
    /// There is, or may be, such a thread.
    pub(super) exists: bool,
    evidence: Evidence,
}

/// What speaks for it, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// There is no other thread.
    Alone,
    /// Its `pthread_t` leads to it.
    Pthread,
    /// The thread state names it.
    Named,
}

/// What the system tells of the threads of a process.
pub(super) trait KernelThreads {
    /// The thread that the process itself knows by a number.
    fn named(&mut self, native: u64) -> Option<ThreadId>;
    /// The thread whose C library keeps it at a `pthread_t`.
    fn by_pthread(&mut self, pthread: u64) -> Option<ThreadId>;
    /// All of them.
    fn all(&mut self) -> Vec<ThreadId>;
    /// The thread that the process began with, which is the one that a fork leaves.
    fn leader(&self) -> ThreadId;
}

/// The kernel threads of Python threads. What is `known` of one already is kept unless another has a better claim.
pub(super) fn identify(
    threads: &[ThreadStack],
    known: impl Fn(&ThreadStack) -> Option<Identity>,
    kernel: &mut impl KernelThreads,
) -> Vec<Identity> {
    let nobody = Identity { os_id: None, exists: true, evidence: Evidence::Alone };
    let mut found: Vec<Identity> = threads
        .iter()
        .map(|thread| match known(thread).filter(|known| known.os_id.is_some()) {
            Some(known) => known,
            None => claim(thread, kernel).map_or(nobody, |(os_id, evidence)| Identity {
                os_id: Some(os_id),
                exists: true,
                evidence,
            }),
        })
        .collect();
    let mut claims: HashMap<ThreadId, usize> = HashMap::new();
    for index in 0..found.len() {
        let Some(os_id) = found[index].os_id else { continue };
        if let Some(rival) = claims.get(&os_id).copied() {
            // Of two of the same kind the one that was made later is right: threads inherit the memory of dead ones.
            let is_better = |place: usize| (found[place].evidence, threads[place].holds_gil, place);
            let loser = if is_better(rival) < is_better(index) { rival } else { index };
            found[loser] = nobody;
            if loser == index {
                continue;
            }
        }
        claims.insert(os_id, index);
    }
    if found.iter().all(|identity| identity.os_id.is_some()) {
        return found;
    }
    let all = kernel.all();
    let is_without = |place: &usize| found[*place].os_id.is_none();
    if let [only] = all[..]
        && !claims.contains_key(&only)
    {
        let without = (0..threads.len()).filter(is_without);
        if let Some(place) = without.min_by_key(|place| (!threads[*place].holds_gil, *place)) {
            found[place] = Identity { os_id: Some(only), ..nobody };
            claims.insert(only, place);
        }
    }
    let are_left = all.iter().any(|thread| !claims.contains_key(thread));
    for (identity, thread) in found.iter_mut().zip(threads).filter(|(identity, _)| identity.os_id.is_none()) {
        // One that no thread has taken yet has no number.
        let is_unbound = thread.thread_id == 0 || thread.native_thread_id == Some(0);
        identity.exists = is_unbound || all.is_empty() || are_left && thread.holds_gil;
    }
    found
}

/// The kernel thread that a Python thread may be, and what speaks for that.
fn claim(thread: &ThreadStack, kernel: &mut impl KernelThreads) -> Option<(ThreadId, Evidence)> {
    // Windows has one number for a thread, so before 3.11 the ident is what later versions keep beside it.
    let native = thread.native_thread_id.or(cfg!(windows).then_some(thread.thread_id));
    if let Some(os_id) = native.and_then(|native| kernel.named(native)) {
        return Some((os_id, Evidence::Named));
    }
    let os_id = kernel.by_pthread(thread.thread_id)?;
    // Threads that were begun after a fork have named themselves.
    (native.is_none() || os_id == kernel.leader()).then_some((os_id, Evidence::Pthread))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with these threads, each with its `pthread_t`.
    struct Invented(Vec<(ThreadId, u64)>);

    impl KernelThreads for Invented {
        fn named(&mut self, native: u64) -> Option<ThreadId> {
            self.0.iter().find(|(os_id, _)| *os_id == native).map(|(os_id, _)| *os_id)
        }

        fn by_pthread(&mut self, pthread: u64) -> Option<ThreadId> {
            self.0.iter().find(|(_, known)| *known == pthread).map(|(os_id, _)| *os_id)
        }

        fn all(&mut self) -> Vec<ThreadId> {
            self.0.iter().map(|(os_id, _)| *os_id).collect()
        }

        fn leader(&self) -> ThreadId {
            self.0[0].0
        }
    }

    fn thread(thread_id: u64, native_thread_id: Option<u64>, holds_gil: bool) -> ThreadStack {
        ThreadStack {
            address: thread_id << 8,
            interpreter: 0,
            innermost: thread_id << 8,
            running_in: 0,
            thread_id,
            native_thread_id,
            holds_gil,
            requests_gil: false,
            attachment: None,
            first_frame: 0,
            end_frame: 0,
            is_truncated: false,
            is_left_out: false,
        }
    }

    fn found(threads: &[ThreadStack], kernel: &[(ThreadId, u64)]) -> Vec<(Option<ThreadId>, bool)> {
        let found = identify(threads, |_| None, &mut Invented(kernel.to_vec()));
        found.iter().map(|identity| (identity.os_id, identity.exists)).collect()
    }

    #[test]
    fn a_thread_is_the_one_that_it_names() {
        let threads = [thread(0xa, Some(10), false), thread(0xb, Some(11), true)];
        assert_eq!(found(&threads, &[(10, 0xa), (11, 0xb), (12, 0xc)]), [(Some(10), true), (Some(11), true)]);
    }

    #[test]
    fn what_a_fork_has_left_is_found_by_its_pthread_and_the_rest_is_gone() {
        // The child is 20; 10 and 11 were threads of its parent.
        let threads = [thread(0xa, Some(10), true), thread(0xb, Some(11), false), thread(0xc, Some(21), false)];
        let expected = [(Some(20), true), (None, false), (Some(21), true)];
        assert_eq!(found(&threads, &[(20, 0xa), (21, 0xc)]), expected);
        // Up to 3.10.
        let threads = [thread(0xa, None, true), thread(0xb, None, false)];
        assert_eq!(found(&threads, &[(20, 0xa)]), [(Some(20), true), (None, false)]);
    }

    #[test]
    fn a_thread_in_the_place_of_a_dead_one_is_the_one_that_runs() {
        let threads = [thread(0xa, Some(10), false), thread(0xb, Some(11), false), thread(0xb, Some(21), false)];
        let expected = [(Some(20), true), (None, false), (Some(21), true)];
        assert_eq!(found(&threads, &[(20, 0xa), (21, 0xb)]), expected);
        let threads = [thread(0xa, None, false), thread(0xb, None, false), thread(0xb, None, false)];
        assert_eq!(found(&threads, &[(20, 0xa), (21, 0xb)]), expected);
    }

    #[test]
    fn the_only_thread_belongs_to_one_at_most() {
        // With nothing that tells, who holds the GIL runs.
        let threads = [thread(0xa, Some(10), false), thread(0xb, Some(11), true)];
        assert_eq!(found(&threads, &[(20, 0x99)]), [(None, false), (Some(20), true)]);
        let threads = [thread(0xa, Some(20), false), thread(0xb, Some(11), false)];
        assert_eq!(found(&threads, &[(20, 0xa)]), [(Some(20), true), (None, false)]);
    }

    #[test]
    fn who_holds_the_gil_may_be_any_thread_that_is_left() {
        let threads = [thread(0xa, Some(20), false), thread(0xb, Some(11), true)];
        assert_eq!(found(&threads, &[(20, 0xa), (21, 0xc)]), [(Some(20), true), (None, true)]);
    }

    #[test]
    fn a_thread_state_that_no_thread_has_taken_yet_may_have_one_soon() {
        let threads = [thread(0xa, Some(20), false), thread(0, Some(0), false)];
        assert_eq!(found(&threads, &[(20, 0xa)]), [(Some(20), true), (None, true)]);
    }

    #[test]
    fn what_is_known_gives_way_to_a_better_claim() {
        let threads = [thread(0xb, Some(11), false), thread(0xb, Some(21), false)];
        let old = Identity { os_id: Some(21), exists: true, evidence: Evidence::Alone };
        let known = |thread: &ThreadStack| (thread.native_thread_id == Some(11)).then_some(old);
        let identities = identify(&threads, known, &mut Invented(vec![(20, 0xa), (21, 0xb)]));
        let found: Vec<_> = identities.iter().map(|identity| identity.os_id).collect();
        assert_eq!(found, [None, Some(21)]);
    }
}
