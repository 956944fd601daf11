//! The global interpreter lock: whether a thread holds it, how often it has changed hands, and who waits for it.
//!
//! There is one for all interpreters up to 3.11 (statics of Python/ceval.c in 2.7 and of Python/ceval_gil.h in 3.6, in
//! `_PyRuntime.ceval.gil` after that), and from 3.12 on one for each interpreter that does not share the main one's.
//! From 3.7 on it is a `struct _gil_runtime_state` (internal/gil.h, internal/pycore_gil.h): interval, `last_holder`,
//! `locked`, `switch_number`, then two pairs of a condition variable and a mutex.
//!
//! A thread waits for it in a futex that lies inside of this struct, or in a semaphore of its own up to 2.7. 3.15 also
//! sets a word in the thread state while it waits.
//!
//! Limits: 2.7 and 3.6 tell who waits only where the interpreter has its local symbols. On systems other than Linux,
//! where no futex is known, only 3.15 tells it.

use super::layout::{Gil, Layout};
use super::runtime::Runtime;
use crate::memory::{Memory, Reader};

/// How far a `struct _gil_runtime_state` goes, in bytes: 208 with glibc on x86-64, more where its locks are larger.
const STRUCT_SIZE: u64 = 256;
/// `sizeof(pthread_cond_t)`, the largest of what 3.6 waits in, and `sizeof(sem_t)` in 2.7.
const CONDITION_SIZE: u64 = 48;
const SEMAPHORE_SIZE: u64 = 32;
/// `sizeof(long)` in the target.
const LONG: u64 = if cfg!(windows) { 4 } else { 8 };
/// Offset of `locked` in the struct of 3.7 to 3.12, which is not needed there to learn who holds it up to 3.11.
const LOCKED: u64 = 16;

/// The GIL of one interpreter at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GilState {
    /// Whether there is one now: a free-threaded build can do without.
    pub exists: bool,
    /// Where it is in the target: its struct, which interpreters that share one have in common; the semaphore in 2.7;
    /// 0 where it is not known.
    pub address: u64,
    /// The thread state that holds it; 0 when none does, or where it cannot be told.
    pub holder: u64,
    /// Who holds it can be told.
    pub tells_holder: bool,
    /// How often another thread got it than had it before (`switch_number`). Equal numbers at two moments mean that one
    /// thread alone has had it in between, again and again or all the time; that it held it all the time, only a thread
    /// that waits meanwhile can tell. `None` in 2.7, and in 3.6 without symbols.
    pub switches: Option<u64>,
}

impl GilState {
    /// The GIL of the interpreter whose `PyInterpreterState` is at `interpreter`. A part that cannot be read is taken
    /// for one that is not known.
    ///
    /// `runtime_holder` is what [`Runtime::current_thread`] leads to, where there is one GIL for all interpreters.
    pub(super) fn read(
        reader: &mut impl Reader,
        runtime: &Runtime,
        interpreter: u64,
        runtime_holder: Option<u64>,
    ) -> Self {
        let layout = &runtime.layout;
        let exists = match layout.gil {
            Gil::InInterpreter { enabled: Some(enabled), .. } => {
                reader.volatile_half(interpreter.wrapping_add(u64::from(enabled))).is_ok_and(|enabled| enabled != 0)
            }
            _ => true,
        };
        if !exists {
            return Self::default();
        }
        if matches!(layout.gil, Gil::CurrentThreadSymbol | Gil::RuntimeCurrentThread) {
            let address = shared_address(reader, runtime);
            let switch_number = match layout.runtime.gil {
                Some(_) if address != 0 => Some(address.wrapping_add(LOCKED + LONG)),
                _ => runtime.gil_statics.switch_number,
            };
            return Self {
                exists,
                address,
                holder: runtime_holder.unwrap_or(0),
                tells_holder: runtime_holder.is_some(),
                switches: switch_number.and_then(|place| read_long(reader, place)),
            };
        }
        let address = match layout.interpreter.gil {
            Some(offset) => reader.volatile_word(interpreter.wrapping_add(u64::from(offset))).unwrap_or(0),
            None => 0,
        };
        let Some(places) = Places::of(layout, address, interpreter) else {
            return Self { exists, address, ..Self::default() };
        };
        let is_locked = reader.volatile_half(places.locked).is_ok_and(|locked| locked == 1);
        let last_holder = reader.volatile_word(places.last_holder).unwrap_or(0);
        Self {
            exists,
            address: places.address,
            holder: if is_locked { last_holder } else { 0 },
            tells_holder: true,
            switches: read_long(reader, places.switch_number),
        }
    }

    /// What the GIL of an interpreter is now, by a fresh look: three to five words.
    pub fn look(memory: &impl Memory, runtime: &Runtime, interpreter: u64) -> Self {
        let holder = runtime.current_thread.map(|address| memory.read_u64(address).unwrap_or(0));
        Self::read(&mut &*memory, runtime, interpreter, holder)
    }

    /// Whether a thread that waits in the futex at `futex` waits for this GIL. So does one that has let it go because
    /// others asked for it, and waits until one of them has it: it wants it back.
    pub fn is_waited_for_at(&self, runtime: &Runtime, futex: u64) -> bool {
        let is_within = |first: u64, size: u64| first != 0 && (first..first.saturating_add(size)).contains(&futex);
        let size = if runtime.layout.version.major == 2 { SEMAPHORE_SIZE } else { STRUCT_SIZE };
        self.exists
            && (is_within(self.address, size)
                || runtime.gil_statics.waits.into_iter().flatten().any(|place| is_within(place, CONDITION_SIZE)))
    }
}

/// Where it stands who holds a GIL: addresses in the target, for somebody who reads them without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HolderPlaces {
    /// A pointer to the thread state that holds it, or had it last.
    pub holder: u64,
    /// An `int` that is 1 while it is held (3.12+); without one the pointer is NULL while it is not.
    pub locked: Option<u64>,
}

#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    expect(dead_code, reason = "the program that samples in the kernel is this somebody")
)]
impl HolderPlaces {
    /// Those of the GIL of the interpreter whose `PyInterpreterState` is at `interpreter`. `None` where it cannot be
    /// told who holds it.
    pub(crate) fn find(memory: &impl Memory, runtime: &Runtime, interpreter: u64) -> Option<Self> {
        let layout = &runtime.layout;
        if matches!(layout.gil, Gil::CurrentThreadSymbol | Gil::RuntimeCurrentThread) {
            return runtime.current_thread.map(|holder| Self { holder, locked: None });
        }
        let gil = match layout.interpreter.gil {
            Some(offset) => memory.read_u64(interpreter.wrapping_add(u64::from(offset))).ok()?,
            None => 0,
        };
        let places = Places::of(layout, gil, interpreter)?;
        Some(Self { holder: places.last_holder, locked: Some(places.locked) })
    }
}

/// Where the GIL is that all interpreters share (up to 3.11); 0 where that is not known.
fn shared_address(reader: &mut impl Reader, runtime: &Runtime) -> u64 {
    let offsets = &runtime.layout.runtime;
    match (offsets.gil, offsets.interpreters_head, runtime.gil_statics.lock) {
        (Some(gil), Some(head), _) => {
            runtime.interpreters_head.wrapping_sub(u64::from(head)).wrapping_add(u64::from(gil))
        }
        (_, _, Some(lock)) => reader.volatile_word(lock).unwrap_or(0),
        _ => 0,
    }
}

/// The fields of a GIL in the target (3.12+).
struct Places {
    address: u64,
    locked: u64,
    last_holder: u64,
    switch_number: u64,
}

impl Places {
    /// Those of the struct at `gil`, or inside of an interpreter where that is 0.
    fn of(layout: &Layout, gil: u64, interpreter: u64) -> Option<Self> {
        let (address, locked, last_holder) = match layout.gil {
            Gil::PerInterpreter { locked, last_holder } if gil != 0 => (gil, locked, last_holder),
            // The offsets are those of the main interpreter's GIL inside of its interpreter state; another GIL is a
            // struct like it.
            Gil::InInterpreter { locked, last_holder, base, .. } => {
                let address = if gil == 0 { interpreter.wrapping_add(u64::from(base)) } else { gil };
                (address, locked.saturating_sub(base), last_holder.saturating_sub(base))
            }
            _ => return None,
        };
        let at = |offset: u64| address.wrapping_add(offset);
        let locked = u64::from(locked);
        Some(Self {
            address,
            locked: at(locked),
            last_holder: at(u64::from(last_holder)),
            // The next `long` after that `int`.
            switch_number: at((locked + 4).next_multiple_of(LONG)),
        })
    }
}

fn read_long(reader: &mut impl Reader, place: u64) -> Option<u64> {
    if LONG == 4 { reader.volatile_half(place).ok().map(u64::from) } else { reader.volatile_word(place).ok() }
}
