//! Threads that look alike, and the order in which a reader wants to see them: what is stuck first, what rests last.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::{ProcessDump, ThreadDump};
use crate::output::sort::sort_by_cached_key;

/// As many threads of one kind make a pool, in which another one is odd.
const LEAST_OF_POOL: usize = 4;
/// The odd ones of a pool are so many times fewer than those that do the same.
const ODD_SHARE: usize = 3;

/// Where in the order a thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// It waits in a ring.
    Deadlocked,
    /// Others wait for what it holds.
    Holder,
    /// It waits for what another thread holds.
    Stuck,
    /// Most of its pool do something else.
    Odd,
    /// It runs or wants to.
    Active,
    /// It waits for something.
    Waiting,
    /// It does what all of its pool do, or is no thread of Python's.
    Resting,
    /// There is no such thread.
    Gone,
}

/// The threads that are to be shown, by their places: alike ones in one group, the most urgent group first.
pub(super) fn thread_groups(dump: &ProcessDump) -> Vec<Vec<usize>> {
    let shown = || dump.threads.iter().enumerate().filter(|(_, thread)| !thread.left_out);
    let mut waiters: HashMap<u64, usize> = HashMap::new();
    for wait in shown().filter_map(|(_, thread)| thread.waits_for.as_ref()) {
        *waiters.entry(wait.object).or_default() += 1;
    }
    let has_loop = |thread: &ThreadDump| {
        dump.tasks.iter().flat_map(|tasks| &tasks.loops).any(|(_, of_thread)| *of_thread == thread.thread_id)
    };
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<u64, usize> = HashMap::new();
    for (place, thread) in shown() {
        let signature = (!has_loop(thread)).then(|| signature(thread, &waiters));
        match signature.and_then(|signature| known.get(&signature)) {
            Some(group) => groups[*group].push(place),
            None => {
                known.extend(signature.map(|signature| (signature, groups.len())));
                groups.push(vec![place]);
            }
        }
    }
    sort_by_urgency(&mut groups, &dump.threads);
    groups
}

/// Equal for threads that look alike. Which object one waits for makes a difference where another thread has to do
/// with the same one; of a system call its name does.
fn signature(thread: &ThreadDump, waiters: &HashMap<u64, usize>) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    (thread.active, thread.owns_gil, thread.waits_for_gil, thread.waits_for_world, thread.gone).hash(&mut hasher);
    (thread.collecting_garbage, thread.interpreter, thread.native, thread.deadlocked).hash(&mut hasher);
    (thread.os_thread_id.is_some(), thread.thread_name.is_some()).hash(&mut hasher);
    if let Some(exception) = &thread.exception {
        (&exception.type_name, &exception.message, exception.handled).hash(&mut hasher);
    }
    for frame in &thread.frames {
        (&frame.name, &frame.filename, frame.line, frame.column).hash(&mut hasher);
    }
    match &thread.waits_for {
        Some(wait) => {
            let is_shared =
                wait.holder_thread_id.is_some() || waiters.get(&wait.object).is_some_and(|count| *count > 1);
            (&wait.operation, wait.holder_thread_id, is_shared.then_some(wait.object)).hash(&mut hasher);
        }
        None => thread.waits_in.as_deref().and_then(|call| call.split(' ').next()).hash(&mut hasher),
    }
    hasher.finish()
}

fn sort_by_urgency(groups: &mut [Vec<usize>], threads: &[ThreadDump]) {
    let holders: HashSet<u64> = threads.iter().filter_map(held_by).collect();
    // Of each pool, how many threads its largest group has.
    let mut largest: HashMap<String, usize> = HashMap::new();
    for (group, thread) in groups.iter().filter_map(|group| Some((group, threads.get(*group.first()?)?))) {
        let known = largest.entry(pool(thread)).or_default();
        *known = group.len().max(*known);
    }
    sort_by_cached_key(groups, |group| {
        let Some(thread) = group.first().and_then(|place| threads.get(*place)) else { return Urgency::Gone };
        let most = largest.get(&pool(thread)).copied().unwrap_or(0);
        match thread {
            _ if thread.gone => Urgency::Gone,
            _ if thread.deadlocked => Urgency::Deadlocked,
            _ if holders.contains(&thread.thread_id) => Urgency::Holder,
            _ if held_by(thread).is_some() => Urgency::Stuck,
            _ if most >= LEAST_OF_POOL - 1 && most >= ODD_SHARE * group.len() => Urgency::Odd,
            _ if thread.active || thread.waits_for_gil => Urgency::Active,
            _ if thread.native || group.len() >= LEAST_OF_POOL - 1 => Urgency::Resting,
            _ => Urgency::Waiting,
        }
    });
}

/// The thread that holds what this one waits for.
fn held_by(thread: &ThreadDump) -> Option<u64> {
    let wait = thread.waits_for.as_ref()?;
    wait.holder_thread_id.filter(|_| wait.operation != "Thread.join")
}

/// What threads of one pool share: the name without its numbers, or else where they began.
fn pool(thread: &ThreadDump) -> String {
    match (&thread.thread_name, thread.frames.last()) {
        (Some(name), _) => name.chars().filter(|character| !character.is_ascii_digit()).collect(),
        (None, Some(oldest)) => format!("{} {}", oldest.name, oldest.filename),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::dump::{FrameDump, WaitDump};

    fn thread(id: u64, name: &str, function: &str) -> ThreadDump {
        ThreadDump {
            thread_id: id,
            thread_name: Some(name.to_owned()),
            frames: vec![FrameDump { name: function.to_owned(), ..FrameDump::default() }],
            ..ThreadDump::default()
        }
    }

    fn waiting(thread: ThreadDump, operation: &str, object: u64, holder: Option<u64>) -> ThreadDump {
        let waits_for = Some(WaitDump {
            operation: operation.to_owned(),
            object,
            holder_thread_id: holder,
            holder_os_thread_id: None,
            holder_name: None,
        });
        ThreadDump { waits_for, ..thread }
    }

    fn groups(threads: Vec<ThreadDump>) -> Vec<Vec<usize>> {
        let dump = ProcessDump { info: Default::default(), threads, deadlocks: vec![], tasks: None };
        thread_groups(&dump)
    }

    #[test]
    fn the_odd_one_of_a_pool_comes_first_and_the_pool_last() {
        let mut threads = vec![thread(1, "MainThread", "main")];
        threads.extend((0..20).map(|index| thread(10 + index, &format!("worker-{index}"), "get")));
        threads[7].frames[0].name = "recv".to_owned();
        let found = groups(threads);
        assert_eq!(found[..2], [vec![7], vec![0]]);
        assert_eq!((found.len(), found[2].len()), (3, 19));
    }

    #[test]
    fn who_holds_what_others_wait_for_comes_before_them() {
        let mut threads = vec![thread(1, "MainThread", "main"), ThreadDump { active: true, ..thread(2, "b", "busy") }];
        threads.extend((0..3).map(|index| waiting(thread(10 + index, "w", "take"), "Lock.acquire", 5, Some(30))));
        threads.push(thread(30, "holder", "sleep"));
        assert_eq!(groups(threads), [vec![5], vec![2, 3, 4], vec![1], vec![0]]);
    }

    #[test]
    fn different_objects_matter_where_they_are_shared() {
        let wait = |id, object| waiting(thread(id, "w", "wait"), "Condition.wait", object, None);
        assert_eq!(groups(vec![wait(1, 1), wait(2, 2), wait(3, 3)]), [vec![0, 1, 2]]);
        let mut found = groups(vec![wait(1, 1), wait(2, 1), wait(3, 3)]);
        found.sort();
        assert_eq!(found, [vec![0, 1], vec![2]]);
        // Who waits for the end of a thread says nothing of that thread.
        let found = groups(vec![waiting(thread(1, "m", "join"), "Thread.join", 9, Some(2)), thread(2, "x", "sleep")]);
        assert_eq!(found, [vec![0], vec![1]]);
    }

    #[test]
    fn system_calls_are_compared_by_their_names() {
        let call = |id, call: &str| ThreadDump { waits_in: Some(call.to_owned()), ..thread(id, "t", "f") };
        assert_eq!(groups(vec![call(1, "read fd 5 (pipe)"), call(2, "read fd 7 (pipe)")]), [vec![0, 1]]);
        assert_eq!(groups(vec![call(1, "read fd 5 (pipe)"), call(2, "poll fd 7 (pipe)")]).len(), 2);
    }
}
