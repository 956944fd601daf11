//! What a thread that waits in a futex waits for in Python: which lock, condition, queue or thread, and who holds it.
//!
//! The address of the futex makes it certain: it is the semaphore of a lock (up to 3.12, and `RLock` of 3.13), or a
//! word in the entry of a parking lot, with the address of the lock's `PyMutex` before it (3.13+, Python/parking_lot.c
//! `struct wait_entry`), or in the GIL. The object is looked for only in the newest frames, among their variables and
//! on their value stacks.
//!
//! Limits: a plain `Lock` has no owner. It is held by whoever is in a `with` block of it, as a value stack shows; one
//! taken by `acquire()` has no known holder. Semaphores are those of Linux.

use std::collections::{HashMap, HashSet};

use super::interpreter::InterpreterState;
use super::layout::Layout;
use super::object::ObjectReader;
use super::runtime::Runtime;
use crate::memory::Memory;

/// The newest frames in which the lock is looked for.
const FRAMES_SEARCHED: usize = 4;
/// Frames of one thread in which a `with` block is looked for.
const FRAMES_OF_HOLDERS: usize = 512;
/// Words of one frame that are looked at.
const MOST_WORDS: usize = 2048;
/// Characters of a thread's name.
const NAME_LIMIT: usize = 256;

/// Methods of the standard library that wait, by file. The oldest frame of such a run is what the program called.
const WAITING_METHODS: [(&str, &[&str]); 4] = [
    (
        "threading.py",
        &[
            "wait",
            "wait_for",
            "acquire",
            "__enter__",
            "join",
            "_wait",
            "_enter",
            "_wait_for_tstate_lock",
            "_acquire_restore",
            "start",
        ],
    ),
    ("queue.py", &["get", "put", "join"]),
    ("Queue.py", &["get", "put", "join"]),
    ("_base.py", &["result", "exception", "wait"]),
];

/// Whether a function, by its name with or without class and its file, is a method of the standard library that waits.
pub(crate) fn is_waiting_method(name: &str, file: &str) -> bool {
    let (name, file) =
        (name.rsplit('.').next().unwrap_or_default(), file.rsplit(['/', '\\']).next().unwrap_or_default());
    WAITING_METHODS.iter().any(|(of, names)| *of == file && names.contains(&name))
}

/// A frame as it is needed here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameView<'text> {
    /// The frame.
    pub address: u64,
    /// Its code object.
    pub code: u64,
    /// The function's name.
    pub name: &'text str,
    /// Its file.
    pub filename: &'text str,
}

/// A thread as it is needed here.
#[derive(Debug, Clone)]
pub(crate) struct ThreadView<'text> {
    /// `thread_id`.
    pub ident: u64,
    /// The thread state of its newest frame.
    pub state: u64,
    /// The interpreter of that.
    pub interpreter: InterpreterState,
    /// Newest first.
    pub frames: Vec<FrameView<'text>>,
    /// The address of the futex that it waits in, where it does.
    pub futex: Option<u64>,
    /// `PyThreadState.gil_requested` (3.15+) is set.
    pub requests_gil: bool,
}

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The GIL.
    Gil,
    /// Another thread has stopped the world (free-threaded).
    StoppedWorld,
    /// An object.
    Object(Wait),
}

/// A wait for an object of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// What was called: `Queue.get`, `RLock.acquire`.
    pub operation: String,
    /// The object; 0 when it is not known.
    pub object: u64,
    /// `thread_id` of the thread that must do something first: who holds the lock, or whose end is waited for.
    pub holder: Option<u64>,
    /// The name of the `threading.Thread` whose end is waited for.
    pub joined: Option<String>,
}

/// A lock object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lock {
    address: u64,
    recursive: bool,
}

/// What each of `threads` waits for.
pub(crate) fn blocked(memory: &dyn Memory, runtime: &Runtime, threads: &[ThreadView<'_>]) -> Vec<Option<Blocked>> {
    let reader = Reader { objects: ObjectReader::new(memory, &runtime.layout), runtime };
    let found: Vec<(Option<Blocked>, Option<Lock>)> = threads.iter().map(|thread| reader.blocked(thread)).collect();
    let plain = |lock: &Lock| !lock.recursive;
    let waited: Vec<Option<u64>> = found.iter().map(|(_, lock)| lock.filter(plain).map(|lock| lock.address)).collect();
    let mut blocked: Vec<Option<Blocked>> = found.into_iter().map(|(blocked, _)| blocked).collect();
    let locks = blocked.iter().zip(&waited).filter(|(blocked, _)| lacks_holder(blocked.as_ref()));
    let holders = reader.holders_by_stack(threads, &locks.filter_map(|(_, lock)| *lock).collect(), &waited);
    for (blocked, lock) in blocked.iter_mut().zip(&waited).filter(|(blocked, _)| lacks_holder(blocked.as_ref())) {
        if let (Some(Blocked::Object(wait)), Some(lock)) = (blocked, lock) {
            wait.holder = holders.get(lock).copied().flatten();
        }
    }
    blocked
}

/// Whether it is a wait for a lock whose holder only value stacks can tell.
fn lacks_holder(blocked: Option<&Blocked>) -> bool {
    let Some(Blocked::Object(wait)) = blocked else { return false };
    wait.holder.is_none() && wait.operation.ends_with("Lock.acquire")
}

struct Reader<'target> {
    objects: ObjectReader<'target>,
    runtime: &'target Runtime,
}

impl Reader<'_> {
    fn layout(&self) -> &Layout {
        self.objects.layout()
    }

    fn blocked(&self, thread: &ThreadView<'_>) -> (Option<Blocked>, Option<Lock>) {
        let Some(futex) = thread.futex else {
            return (thread.requests_gil.then_some(Blocked::Gil), None);
        };
        if thread.requests_gil || thread.interpreter.gil.is_waited_for_at(self.runtime, futex) {
            return (Some(Blocked::Gil), None);
        }
        if self.is_parked(thread, futex) {
            return (Some(Blocked::StoppedWorld), None);
        }
        let lock = self.parked_lock(futex).or_else(|| self.lock_in_frames(thread, futex));
        let owner = lock.filter(|lock| lock.recursive).and_then(|lock| self.owner(lock));
        if let Some(wait) = self.library_wait(thread, owner) {
            return (Some(Blocked::Object(wait)), lock);
        }
        let wait = lock.map(|lock| {
            let name = if lock.recursive { "RLock.acquire" } else { "Lock.acquire" };
            Blocked::Object(Wait { operation: name.to_owned(), object: lock.address, holder: owner, joined: None })
        });
        (wait, lock)
    }

    /// Whether the entry of the parking lot around `futex` is for the thread's own `PyThreadState.state`: it waits for
    /// the thread that has stopped the world (Python/pystate.c, `tstate_wait_attach`).
    fn is_parked(&self, thread: &ThreadView<'_>, futex: u64) -> bool {
        let Some(offset) = self.layout().thread.attachment else { return false };
        let waits_at = futex.checked_sub(8).and_then(|place| self.objects.memory().read_u64(place).ok());
        waits_at == Some(thread.state.wrapping_add(u64::from(offset)))
    }

    /// The lock whose `PyMutex` the entry of the parking lot around `futex` is for.
    fn parked_lock(&self, futex: u64) -> Option<Lock> {
        let mutex = self.objects.memory().read_u64(futex.checked_sub(8)?).ok()?;
        let lock = self.as_lock(mutex.checked_sub(u64::from(self.layout().object.head_size))?)?;
        (mutex % 8 == 0).then_some(lock)
    }

    /// The lock whose semaphore is at `futex`.
    fn lock_in_frames(&self, thread: &ThreadView<'_>, futex: u64) -> Option<Lock> {
        let head = self.layout().object.head_size;
        let is_it = |lock: &Lock| self.objects.pointer(lock.address, head).is_ok_and(|semaphore| semaphore == futex);
        let frames = thread.frames.iter().take(FRAMES_SEARCHED);
        frames.flat_map(|frame| self.values(frame)).filter_map(|value| self.lock_of(value)).find(is_it)
    }

    /// The lock that a value is, or the one whose method it is.
    fn lock_of(&self, value: u64) -> Option<Lock> {
        match self.objects.type_name(value).ok()?.as_str() {
            // `PyCFunctionObject`: {head, m_ml, m_self}.
            "builtin_function_or_method" => {
                self.as_lock(self.objects.pointer(value, self.layout().object.head_size + 8).ok()?)
            }
            _ => self.as_lock(value),
        }
    }

    fn as_lock(&self, address: u64) -> Option<Lock> {
        if address == 0 || !address.is_multiple_of(8) {
            return None;
        }
        match self.objects.type_name(address).ok()?.as_str() {
            "_thread.lock" | "thread.lock" => Some(Lock { address, recursive: false }),
            "_thread.RLock" => Some(Lock { address, recursive: true }),
            _ => None,
        }
    }

    /// `rlock_owner` (≤ 3.13), `_PyRecursiveMutex.thread` (3.14+): both one word after the lock itself
    /// (Modules/_threadmodule.c).
    fn owner(&self, lock: Lock) -> Option<u64> {
        let owner = self.objects.pointer(lock.address, self.layout().object.head_size + 8).ok()?;
        (owner != 0).then_some(owner)
    }

    /// What of the standard library is being waited in.
    fn library_wait(&self, thread: &ThreadView<'_>, owner: Option<u64>) -> Option<Wait> {
        let called = thread.frames.iter().take_while(|frame| is_waiting_method(frame.name, frame.filename)).last()?;
        let object = self.first_argument(called)?;
        let type_name = self.class_name(object)?;
        let type_name = type_name.rsplit('.').next().unwrap_or_default();
        let method = called.name.rsplit('.').next().unwrap_or_default();
        let method = if method == "__enter__" { "acquire" } else { method };
        let attribute = |names: [&str; 2]| {
            names.iter().find_map(|name| self.objects.instance_attribute(object, name).ok().flatten())
        };
        let ident = |names| u64::try_from(self.objects.small_int(attribute(names)?).ok()??).ok();
        let mut wait = Wait { operation: format!("{type_name}.{method}"), object, holder: owner, joined: None };
        if method == "join" && called.filename.ends_with("threading.py") {
            wait.operation = "Thread.join".to_owned();
            wait.holder = ident(["_ident", "_Thread__ident"]);
            let name = attribute(["_name", "_Thread__name"]);
            wait.joined = name.and_then(|name| self.objects.text_or_none(name, NAME_LIMIT));
        } else if wait.holder.is_none() && type_name == "_RLock" {
            // `RLock` in Python: the one of 2.7.
            wait.operation = "RLock.acquire".to_owned();
            wait.holder = ident(["_RLock__owner", "_owner"]);
        }
        Some(wait)
    }

    fn class_name(&self, object: u64) -> Option<String> {
        let name = self.objects.type_name(object).ok()?;
        if self.layout().version.major > 2 || name != "instance" {
            return Some(name);
        }
        // An instance of a class without base in 2.7: `PyInstanceObject` {head, in_class}, `PyClassObject` {head,
        // cl_bases, cl_dict, cl_name}.
        let head = self.layout().object.head_size;
        let class = self.objects.pointer(object, head).ok()?;
        self.objects.text_or_none(self.objects.pointer(class, head + 16).ok()?, NAME_LIMIT)
    }

    fn first_argument(&self, frame: &FrameView<'_>) -> Option<u64> {
        let layout = self.layout();
        let value = self.objects.pointer(frame.address, layout.frame.locals).ok()? & !layout.frame.tag_mask;
        if value == 0 {
            return None;
        }
        // One that an inner function uses is in a cell: `PyCellObject` {head, ob_ref}.
        match self.objects.type_name(value).ok()?.as_str() {
            "cell" => self.objects.pointer(value, layout.object.head_size).ok().filter(|value| *value != 0),
            _ => Some(value),
        }
    }

    /// Variables and value stack of a frame, as far as they may be values: what is above the top is as old as it may
    /// be.
    fn values(&self, frame: &FrameView<'_>) -> Vec<u64> {
        let layout = self.layout();
        let at = frame.address;
        let count = match layout.thread.datastack_chunk {
            // `co_stacksize` stands before `co_firstlineno`, `co_nlocalsplus` after it (cpython/code.h, 3.11 to 3.15).
            Some(_) => {
                let int = |offset: Option<u32>| usize::try_from(self.objects.int(frame.code, offset?).ok()?).ok();
                let first_line = layout.code.first_line;
                int(first_line.checked_sub(4))
                    .zip(int(first_line.checked_add(4)))
                    .map(|(stack, locals)| stack.saturating_add(locals))
            }
            // A frame object's size is that of all its values, or larger when it was used before.
            None => self.objects.size(at).ok().and_then(|size| usize::try_from(size).ok()),
        };
        let first = at.wrapping_add(u64::from(layout.frame.locals));
        let words = self.objects.pointers(first, count.unwrap_or(0).min(MOST_WORDS)).unwrap_or_default();
        let mask = layout.frame.tag_mask;
        let looks_like_pointer = |word: &u64| *word > 0x1000 && *word >> 48 == 0 && word.is_multiple_of(8);
        // The top of the stack is what is newest.
        words.into_iter().rev().map(|word| word & !mask).filter(looks_like_pointer).collect()
    }

    /// The only thread that is in a `with` block of each of `locks`, by the lock; `None` where there are several.
    /// `waited` has the plain lock that each thread waits for: the newest frames of who waits for a lock do not count
    /// as holding it. All threads are gone through once, however many locks there are.
    fn holders_by_stack(
        &self,
        threads: &[ThreadView<'_>],
        locks: &HashSet<u64>,
        waited: &[Option<u64>],
    ) -> HashMap<u64, Option<u64>> {
        let mut holders = HashMap::new();
        if locks.is_empty() {
            return holders;
        }
        for (thread, waits_for) in threads.iter().zip(waited) {
            // What waits is below the frames of the library, if any.
            let of_library =
                thread.frames.iter().take_while(|frame| is_waiting_method(frame.name, frame.filename)).count();
            let first_own = if waits_for.is_some() { of_library + 1 } else { 0 };
            let mut held = HashSet::new();
            for (place, frame) in thread.frames.iter().take(FRAMES_OF_HOLDERS).enumerate() {
                let exits = self.stack_values(frame).into_iter().filter_map(|value| self.lock_to_exit(value, locks));
                held.extend(exits.filter(|lock| place >= first_own || Some(*lock) != *waits_for));
            }
            for lock in held {
                holders.entry(lock).and_modify(|holder| *holder = None).or_insert(Some(thread.ident));
            }
        }
        holders
    }

    /// The value stack of a frame up to its top, where that is known.
    fn stack_values(&self, frame: &FrameView<'_>) -> Vec<u64> {
        let layout = self.layout();
        let locals = u64::from(layout.frame.locals);
        let first = frame.address.wrapping_add(locals);
        let top = if let Some(offset) = layout.frame.stack_pointer {
            self.objects.pointer(frame.address, offset).ok().filter(|top| *top != 0)
        } else {
            let depth = layout.frame.stack_top.and_then(|offset| self.objects.int(frame.address, offset).ok());
            let depth = depth.and_then(|depth| u64::try_from(depth).ok());
            depth.map(|depth| first.wrapping_add(8 * depth))
        };
        let Some(count) = top.and_then(|top| top.checked_sub(first)).filter(|size| size / 8 <= MOST_WORDS as u64)
        else {
            return self.values(frame);
        };
        let words = self.objects.pointers(first, (count / 8) as usize).unwrap_or_default();
        let mask = layout.frame.tag_mask;
        let values = words.into_iter().skip(self.variables_before_stack(frame)).rev();
        values.map(|word| word & !mask).filter(|word| *word > 0x1000 && word % 8 == 0).collect()
    }

    /// How many variables stand before the value stack of a frame, where they must not be taken for a part of it: from
    /// 3.14 on a lock that stands there itself is one that is held.
    fn variables_before_stack(&self, frame: &FrameView<'_>) -> usize {
        let layout = self.layout();
        if layout.version.feature() < (3, 14) {
            return 0;
        }
        // `co_nlocalsplus` stands after `co_firstlineno` (cpython/code.h).
        let count = layout.code.first_line.checked_add(4).and_then(|offset| self.objects.int(frame.code, offset).ok());
        count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    }

    /// The one of `locks` for whose `with` block a value is kept until the end: the lock's bound `__exit__`, or from
    /// 3.14 on the lock itself.
    fn lock_to_exit(&self, value: u64, locks: &HashSet<u64>) -> Option<u64> {
        let layout = self.layout();
        if layout.version.feature() >= (3, 14) {
            return locks.get(&value).copied();
        }
        // `PyCFunctionObject`: {head, m_ml, m_self}.
        let lock = self.objects.pointer(value, layout.object.head_size + 8).ok().filter(|lock| locks.contains(lock))?;
        let is_method = self.objects.type_name(value).is_ok_and(|name| name == "builtin_function_or_method");
        (is_method && self.is_release_method(value)).then_some(lock)
    }

    /// Whether a bound method of C is a lock's `__exit__` or `release`.
    fn is_release_method(&self, method: u64) -> bool {
        // `m_ml`, a `PyMethodDef` that begins with the name.
        let definition = self.objects.pointer(method, self.layout().object.head_size);
        let name = definition.and_then(|definition| self.objects.pointer(definition, 0));
        name.and_then(|name| self.objects.memory().read_bytes(name, 9, 9))
            .is_ok_and(|name| name == b"__exit__\0" || name.starts_with(b"release\0"))
    }
}
