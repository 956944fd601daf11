//! Which tasks hold a lock or a semaphore: those that are in an `async with` block of it, as the value stacks of their
//! frames show.
//!
//! Those of anyio say themselves who holds them.
//!
//! Limits: what was taken of asyncio's by `await lock.acquire()` alone has no known holder.

use std::collections::{HashMap, HashSet};

use super::Task;
use super::objects::TaskObjects;
use super::wait::WaitKind;

/// Values of one frame that are looked at.
const MOST_VALUES: u64 = 2048;
/// Tasks that are searched, and values of all of them.
const MOST_SEARCHED: usize = 20_000;
const MOST_VALUES_OF_ALL: usize = 4_000_000;
/// Holders that an object may say that it has; of more none is named.
const MOST_BORROWERS: usize = 200;

/// Fills in who holds what tasks wait for.
pub(super) fn find_holders(types: TaskObjects<'_>, tasks: &mut [Task]) {
    let waited: HashSet<u64> = tasks.iter().filter_map(held_object).collect();
    if waited.is_empty() {
        return;
    }
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut left = MOST_VALUES_OF_ALL;
    for (index, task) in tasks.iter().enumerate().take(MOST_SEARCHED) {
        // Whoever waits for a lock in an `async with` has its end on the stack already.
        let own = held_object(task);
        if left == 0 {
            break;
        }
        let values = task.frames().flat_map(|frame| stack_values(types, frame.address, frame.code_address));
        let values: Vec<u64> = values.take(left).collect();
        left -= values.len();
        let mut found: Vec<u64> = values
            .into_iter()
            .filter_map(|value| held_by_value(types, value, &waited))
            .filter(|object| Some(*object) != own)
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().for_each(|object| holders.entry(object).or_default().push(index));
    }
    let places: HashMap<u64, usize> = tasks.iter().enumerate().map(|(place, task)| (task.address, place)).collect();
    for object in waited {
        let said = said_holders(types, object).into_iter().filter_map(|holder| places.get(&holder).copied());
        let holders = holders.entry(object).or_default();
        holders.extend(said);
        holders.sort_unstable();
        holders.dedup();
    }
    for task in tasks {
        task.held_by = held_object(task).and_then(|object| holders.get(&object).cloned()).unwrap_or_default();
    }
}

/// The tasks that anyio's `Lock` and `CapacityLimiter` have noted as their holders, on either loop.
fn said_holders(types: TaskObjects<'_>, object: u64) -> Vec<u64> {
    let owner = types.member(object, "_owner_task").filter(|owner| !types.is_none(*owner));
    let borrowers = || {
        let borrowers = types.objects.set_items(types.member(object, "_borrowers")?, MOST_BORROWERS).ok()?;
        (borrowers.len() <= MOST_BORROWERS).then_some(borrowers)
    };
    owner.map(|owner| vec![owner]).or_else(borrowers).unwrap_or_default()
}

fn held_object(task: &Task) -> Option<u64> {
    let wait = task.wait.as_ref()?;
    wait.object.filter(|_| matches!(wait.kind, WaitKind::Lock | WaitKind::Semaphore))
}

/// The object of `waited` whose block's end a value of the stack is: a bound `__aexit__`, or from 3.14 on the object
/// itself, next to the function.
fn held_by_value(types: TaskObjects<'_>, value: u64, waited: &HashSet<u64>) -> Option<u64> {
    if types.objects.layout().version.feature() >= (3, 14) {
        return waited.contains(&value).then_some(value);
    }
    if types.known(value).ok()?.info.name != "method" {
        return None;
    }
    types.second_field(value).ok().filter(|object| waited.contains(object))
}

/// What is on the value stack of a suspended frame, its variables left out.
fn stack_values(types: TaskObjects<'_>, frame: u64, code: u64) -> Vec<u64> {
    let objects = types.objects;
    let layout = objects.layout();
    let offsets = &layout.frame;
    let locals = frame.wrapping_add(u64::from(offsets.locals));
    let range = || {
        let first = match offsets.value_stack {
            Some(offset) => objects.pointer(frame, offset).ok()?,
            // `co_nlocalsplus` stands after `co_firstlineno` (cpython/code.h, 3.11 to 3.15).
            None => {
                let count = objects.int(code, layout.code.first_line.checked_add(4)?).ok()?;
                locals.wrapping_add(8 * u64::try_from(count).ok()?)
            }
        };
        let count = |offset: u32| u64::try_from(objects.int(frame, offset).ok()?).ok();
        let end = match (offsets.stack_pointer, offsets.stack_top, offsets.stack_depth) {
            (Some(offset), _, _) => objects.pointer(frame, offset).ok()?,
            (None, Some(offset), _) => locals.wrapping_add(count(offset)?.checked_mul(8)?),
            (None, None, Some(offset)) => first.wrapping_add(count(offset)?.checked_mul(8)?),
            (None, None, None) => return None,
        };
        let count = end.checked_sub(first)? / 8;
        (count <= MOST_VALUES).then_some((first, usize::try_from(count).ok()?))
    };
    let Some((first, count)) = range() else { return Vec::new() };
    let words = objects.pointers(first, count).unwrap_or_default();
    let mask = offsets.tag_mask;
    words.into_iter().map(|word| word & !mask).filter(|word| *word > 0x1000 && word.is_multiple_of(8)).collect()
}
