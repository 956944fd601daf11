//! Memory that is set aside for the end: when an allocation fails, as under `ulimit -v`, it is let go, and what was
//! recorded can still be written. What the system kills for want of memory (a cgroup's limit) cannot do that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Address space only: its pages are never touched. Enough to render a profile of usual size, and for our threads.
const RESERVE: usize = 48 << 20;

static RESERVED: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// The system's allocator with such a reserve.
#[derive(Debug, Default, Clone, Copy)]
pub struct ReservingAllocator;

const fn reserve_layout() -> Layout {
    match Layout::from_size_align(RESERVE, 4096) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<u64>(),
    }
}

/// Sets the reserve aside. Without [`ReservingAllocator`] as the global allocator nobody uses it.
#[expect(unsafe_code, reason = "allocating without a type is unsafe")]
pub(crate) fn reserve_memory() {
    // SAFETY: the layout is not of size zero.
    let reserve = unsafe { System.alloc(reserve_layout()) };
    let before = RESERVED.swap(reserve, Ordering::AcqRel);
    free_reserve(before);
}

/// Whether an allocation has failed that only the reserve made possible.
pub(crate) fn memory_is_short() -> bool {
    IS_SHORT.load(Ordering::Relaxed)
}

/// Hands memory back to the system that was freed and lies between what is used: glibc keeps it, and a recording that
/// fills its profile and joins it again and again would come to twice of what it holds. Takes some milliseconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of the C library")]
pub(crate) fn hand_back_free_memory() {
    // SAFETY: it takes a number, and touches nothing that is allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators keep less.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn hand_back_free_memory() {}

#[expect(unsafe_code, reason = "freeing without a type is unsafe")]
fn free_reserve(reserve: *mut u8) {
    if !reserve.is_null() {
        // SAFETY: it was allocated by this allocator with this layout, and whoever has taken it from `RESERVED` is the
        // only one who has it.
        unsafe { System.dealloc(reserve, reserve_layout()) };
    }
}

/// Lets the reserve go; whether there was one.
fn let_go() -> bool {
    let reserve = RESERVED.swap(null_mut(), Ordering::AcqRel);
    let was_there = !reserve.is_null();
    if was_there {
        IS_SHORT.store(true, Ordering::Relaxed);
        free_reserve(reserve);
    }
    was_there
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: everything is the system allocator's, whose promises these are; what is done beside it allocates nothing.
unsafe impl GlobalAlloc for ReservingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what our caller promises is what is asked for.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() && let_go() {
            // SAFETY: as above.
            return unsafe { System.alloc(layout) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; all memory that we give is the system allocator's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if memory.is_null() && let_go() {
            // SAFETY: as above.
            return unsafe { System.alloc_zeroed(layout) };
        }
        memory
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; where it fails the old memory stays as it is.
        let larger = unsafe { System.realloc(memory, layout, size) };
        if larger.is_null() && let_go() {
            // SAFETY: as above.
            return unsafe { System.realloc(memory, layout, size) };
        }
        larger
    }
}
