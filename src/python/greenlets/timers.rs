//! When a greenlet that sleeps will go on, by the timer that its `sleep` has in a variable.
//!
//! | loop | the timer | what tells |
//! |---|---|---|
//! | gevent's on libev, in C | `gevent.libev.corecext.timer` | the `ev_timer` at its end, to which one field points |
//! | the same by cffi | `gevent.libev.watcher.timer` | the `ev_timer` behind `_watcher`, whose `data` is `_handle` |
//! | gevent's on libuv | `gevent.libuv.watcher.timer` | the `uv_timer_t` behind `_watcher`, whose `data` is `_handle` |
//! | eventlet's | `eventlet.hubs.timer.Timer` | the pair of time and timer that its hub keeps |
//!
//! All are times of `CLOCK_MONOTONIC`, in seconds. What does not belong together, or does not run, tells nothing.

use std::collections::HashMap;

use crate::memory::Memory;
use crate::python::object::ObjectReader;
use crate::python::tasks::KnownTypes;

/// Timers of one hub of eventlet's that are looked at.
const MOST_TIMERS: usize = 20_000;
/// No clock has run for longer, in seconds.
const LONGEST_UPTIME: f64 = 1e9;
/// Bytes of a timer object of gevent's.
const LARGEST_TIMER: i64 = 512;
/// Characters of the name of a clock that are read.
const NAME_LIMIT: usize = 32;

/// Times of the timers of eventlet's hubs, by the hub.
pub(super) type HubTimers = HashMap<u64, HashMap<u64, f64>>;

/// When a timer of gevent's is due.
pub(super) fn gevent_timer_due(objects: ObjectReader<'_>, known: &KnownTypes, timer: u64) -> Option<f64> {
    let info = objects.type_info(objects.type_of(timer).ok()?).ok()?;
    if info.name == "gevent.libev.corecext.timer" {
        let size = Some(info.basic_size).filter(|size| (0..=LARGEST_TIMER).contains(size))?;
        let end = timer.wrapping_add(u64::try_from(size).ok()?);
        let words = objects.pointers(timer, usize::try_from(size / 8).ok()?).ok()?;
        // `watcher.__watcher`, the only field that leads into the object itself.
        let watcher = words.into_iter().find(|word| (timer.wrapping_add(8)..end).contains(word))?;
        return ev_timer_due(objects.memory(), watcher, end - watcher);
    }
    let module = objects.type_module(&info).ok()??;
    if info.name != "timer" {
        return None;
    }
    let pointer = known.member(objects, timer, "_watcher")?;
    let is_of_cffi = objects.type_name(pointer).ok()?.starts_with("_cffi_backend.");
    // `CDataObject` is a head, a type and a pointer.
    let watcher = objects.pointer(pointer, objects.layout().object.head_size + 8).ok().filter(|_| is_of_cffi)?;
    let handle = known.member(objects, timer, "_handle")?;
    match module.as_str() {
        "gevent.libev.watcher" => {
            let data = objects.memory().read_u64(watcher.wrapping_add(EV_DATA)).ok()?;
            ev_timer_due(objects.memory(), watcher, EV_TIMER_WITH_DATA).filter(|_| data == handle)
        }
        "gevent.libuv.watcher" => known.uv_timer_due(objects, watcher, handle),
        _ => None,
    }
}

/// Bytes of an `ev_timer` (ev.h): `active`, `pending` and `priority`, `data` where that is not left out, as it is in
/// what is compiled into gevent, the callback, `at` and `repeat`.
const EV_TIMER: u64 = 40;
const EV_TIMER_WITH_DATA: u64 = 48;
/// `ev_watcher.data`.
const EV_DATA: u64 = 16;

/// When an `ev_timer` of some size is due, if it runs, once.
fn ev_timer_due(memory: &dyn Memory, timer: u64, size: u64) -> Option<f64> {
    /// `EV_MINPRI` to `EV_MAXPRI`.
    const PRIORITIES: std::ops::RangeInclusive<i32> = -2..=2;
    if !matches!(size, EV_TIMER | EV_TIMER_WITH_DATA) {
        return None;
    }
    let mut bytes = [0; EV_TIMER_WITH_DATA as usize];
    let bytes = &mut bytes[..size as usize];
    memory.read(timer, bytes).ok()?;
    let (halves, _) = bytes.as_chunks::<4>();
    let (words, _) = bytes.as_chunks::<8>();
    let [active, pending, priority] = [0, 1, 2].map(|index: usize| i32::from_ne_bytes(halves[index]));
    let [.., callback, at, repeat] = words else { return None };
    let (at, repeat) = (f64::from_ne_bytes(*at), f64::from_ne_bytes(*repeat));
    let runs = active > 0 && pending == 0 && PRIORITIES.contains(&priority) && u64::from_ne_bytes(*callback) != 0;
    (runs && repeat == 0.0 && at > 0.0 && at < LONGEST_UPTIME).then_some(at)
}

/// When a timer that a hub of eventlet's keeps is due. `found` has what was read of hubs before.
pub(super) fn eventlet_timer_due(
    objects: ObjectReader<'_>,
    known: &KnownTypes,
    found: &mut HubTimers,
    (hub, timer): (u64, u64),
) -> Option<f64> {
    let timers = found.entry(hub).or_insert_with(|| timers_of_hub(objects, known, hub).unwrap_or_default());
    timers.get(&timer).copied()
}

/// The times of a hub's timers; `None` where its clock is not `time.monotonic`.
fn timers_of_hub(objects: ObjectReader<'_>, known: &KnownTypes, hub: u64) -> Option<HashMap<u64, f64>> {
    let clock = known.member(objects, hub, "clock")?;
    if objects.type_name(clock).ok()? != "builtin_function_or_method" {
        return None;
    }
    // `PyCFunctionObject.m_ml` and `PyMethodDef.ml_name` are first.
    let method = objects.pointer(clock, objects.layout().object.head_size).ok()?;
    let name = objects.memory().read_u64(method).ok()?;
    if objects.c_string(name, NAME_LIMIT).ok()? != "monotonic" {
        return None;
    }
    let mut timers = HashMap::new();
    for list in ["timers", "next_timers"] {
        let list = known.member(objects, hub, list)?;
        if objects.type_name(list).ok()? != "list" {
            return None;
        }
        for item in objects.list_items(list, MOST_TIMERS).ok()?.0 {
            let is_pair = objects.type_name(item).is_ok_and(|name| name == "tuple");
            if let Ok(([time, timer], 2)) =
                objects.tuple_items(item, 2).as_ref().map(|(pair, size)| (pair.as_slice(), *size))
                && let Some(time) = known.number(objects, *time).filter(|_| is_pair)
            {
                timers.insert(*timer, time);
            }
        }
    }
    Some(timers)
}

#[cfg(test)]
mod tests {
    use super::{EV_TIMER, EV_TIMER_WITH_DATA, ev_timer_due};
    use crate::memory::Image;

    fn due(active: i32, pending: i32, priority: i32, words: &[u64], size: u64) -> Option<f64> {
        let mut bytes: Vec<u8> = [active, pending, priority, 0].iter().flat_map(|half| half.to_ne_bytes()).collect();
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        let mut image = Image::new();
        image.map(0x2000, bytes);
        ev_timer_due(&image, 0x2000, size)
    }

    #[test]
    fn a_timer_of_libev_tells_when_it_is_due_only_while_it_runs_once() {
        let (callback, at, repeat) = (0x7000, 100.5_f64.to_bits(), 0);
        assert_eq!(due(3, 0, 0, &[callback, at, repeat], EV_TIMER), Some(100.5));
        assert_eq!(due(3, 0, -2, &[0x8000, callback, at, repeat], EV_TIMER_WITH_DATA), Some(100.5));
        // Stopped, about to be called, of an impossible priority, repeating, without a callback.
        assert_eq!(due(0, 0, 0, &[callback, at, repeat], EV_TIMER), None);
        assert_eq!(due(3, 1, 0, &[callback, at, repeat], EV_TIMER), None);
        assert_eq!(due(3, 0, 77, &[callback, at, repeat], EV_TIMER), None);
        assert_eq!(due(3, 0, 0, &[callback, at, 1.0_f64.to_bits()], EV_TIMER), None);
        assert_eq!(due(3, 0, 0, &[0, at, repeat], EV_TIMER), None);
        // No time, of another size, and unreadable.
        assert_eq!(due(3, 0, 0, &[callback, f64::NAN.to_bits(), repeat], EV_TIMER), None);
        assert_eq!(due(3, 0, 0, &[callback, at, repeat], 56), None);
        assert_eq!(due(3, 0, 0, &[callback, at], EV_TIMER), None);
    }
}
