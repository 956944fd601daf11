//! The turns of event loops: since when a loop has not been back at its selector, by what it keeps itself.
//!
//! | loop | what tells |
//! |---|---|
//! | asyncio | the variable `end_time` of `BaseEventLoop._run_once`, set when the selector has returned |
//! | uvloop | `uv_loop_t.time`, set when a poll returns, and the count of polls |
//! | trio | the variable `now` of `unrolled_run`, less the offset of the runner's clock |
//! | gevent | `mn_now` of libev's `struct ev_loop`, or what uvloop has, set when a poll returns |
//! | eventlet | variables of the hub's functions (`hub_turns`) |
//!
//! All are times of `CLOCK_MONOTONIC`, given here in seconds. Nothing is believed that is not a time in the past: the
//! loops run on while they are read.

use std::cell::RefCell;

use super::objects::TaskObjects;
use crate::memory::{Memory, Request};
use crate::python::locals::variable_offset;
use crate::python::object::ObjectReader;

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;

/// A function of an event loop that tells of its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnFunction {
    /// asyncio's `_run_once`: one call is one turn.
    Asyncio,
    /// trio's `unrolled_run`, which goes on from turn to turn.
    Trio,
    /// trio's `run`: without `unrolled_run` above it the loop is at its selector.
    TrioSelector,
    /// `Hub.run` of gevent.
    Gevent,
    /// `BaseHub.run` of eventlet.
    Eventlet,
}

impl TurnFunction {
    /// What a function is, by its name with or without class and its file.
    pub(crate) fn of(name: &str, file: &str) -> Option<Self> {
        let mut parts = file.rsplit(['/', '\\']);
        let (file, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (folder, file, name.rsplit('.').next().unwrap_or_default()) {
            ("asyncio", "base_events.py", "_run_once") => Some(Self::Asyncio),
            ("_core", "_run.py", "unrolled_run") => Some(Self::Trio),
            ("_core", "_run.py", "run") => Some(Self::TrioSelector),
            ("gevent", "hub.py", "run") => Some(Self::Gevent),
            ("hubs", "hub.py", "run") if parts.next() == Some("eventlet") => Some(Self::Eventlet),
            _ => None,
        }
    }

    /// The variables of its frame that are read, the one that tells of turns first.
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Asyncio => &["end_time"],
            Self::Trio => &["now", "runner", "task"],
            Self::TrioSelector => &[],
            Self::Gevent => &["loop"],
            Self::Eventlet => &["wakeup_when", "sleep_time", "self"],
        }
    }

    /// Where in its frame those variables are, in bytes; empty where the code at `code` lacks one of them.
    pub(crate) fn offsets(self, objects: ObjectReader<'_>, code: u64) -> Vec<u64> {
        let offsets = self.variables().iter().map(|name| offset_of(objects, code, name));
        offsets.collect::<Option<_>>().unwrap_or_default()
    }
}

/// Where in a frame of the code at `code` a variable is, in bytes.
pub(super) fn offset_of(objects: ObjectReader<'_>, code: u64, name: &str) -> Option<u64> {
    variable_offset(objects, code, name).ok().flatten()
}

/// A variable of a frame that may go on while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameVariable {
    /// The frame (`PyFrameObject` or `_PyInterpreterFrame`) in the target.
    pub frame: u64,
    /// The code object that it runs.
    pub code: u64,
    /// Where in the frame the variable is, in bytes.
    pub offset: u64,
}

impl FrameVariable {
    /// The object that it holds. `None` where it has no value, or the frame runs other code by now.
    pub(crate) fn object(self, memory: &dyn Memory, objects: ObjectReader<'_>) -> Option<u64> {
        let frame = &objects.layout().frame;
        let (mut code, mut slot) = ([0; 8], [0; 8]);
        let mut requests = [
            Request::new(self.frame.wrapping_add(self.offset), &mut slot),
            Request::new(self.frame.wrapping_add(u64::from(frame.code)), &mut code),
        ];
        memory.read_many(&mut requests);
        let are_complete = requests.iter().all(|request| request.complete);
        let object = u64::from_ne_bytes(slot) & !frame.tag_mask;
        let is_same = u64::from_ne_bytes(code) & !frame.tag_mask == self.code;
        (are_complete && is_same && object != 0).then_some(object)
    }

    /// The number that it holds, if it held the same object before that was read and afterwards. `float_type` is the
    /// type `float`, which is remembered once it was met.
    pub(crate) fn number(
        self,
        memory: &dyn Memory,
        objects: ObjectReader<'_>,
        float_type: &mut Option<u64>,
    ) -> Option<f64> {
        let layout = &objects.layout().object;
        let object = self.object(memory, objects)?;
        let (mut class, mut value) = ([0; 8], [0; 8]);
        let mut requests = [
            Request::new(object.wrapping_add(u64::from(layout.ob_type)), &mut class),
            Request::new(object.wrapping_add(u64::from(layout.float_value)), &mut value),
        ];
        memory.read_many(&mut requests);
        let are_complete = requests.iter().all(|request| request.complete);
        let class = u64::from_ne_bytes(class);
        if !are_complete || self.object(memory, objects) != Some(object) {
            return None;
        }
        if float_type.is_none() && objects.name_of_type(class).ok()? == "float" {
            *float_type = Some(class);
        }
        let number = f64::from_ne_bytes(value);
        (*float_type == Some(class) && number.is_finite()).then_some(number)
    }
}

/// A finite `float`.
fn float(objects: ObjectReader<'_>, object: u64) -> Option<f64> {
    if objects.type_name(object).ok()? != "float" {
        return None;
    }
    let bits = objects.pointer(object, objects.layout().object.float_value).ok()?;
    Some(f64::from_bits(bits)).filter(|number| number.is_finite())
}

/// What the times of a runner of trio are ahead of the system's, by the attribute `offset` of its clock, in seconds.
/// Other clocks have none (`MockClock`).
pub(crate) fn trio_clock_offset(objects: ObjectReader<'_>, runner: u64) -> Option<f64> {
    let known = RefCell::default();
    let types = TaskObjects::new(objects, &known);
    float(objects, types.member(types.member(runner, "clock")?, "offset")?)
}

/// The name of a task of trio.
pub(crate) fn trio_task_name(objects: ObjectReader<'_>, task: u64) -> Option<String> {
    let known = RefCell::default();
    objects.text_or_none(TaskObjects::new(objects, &known).member(task, "name")?, NAME_LIMIT)
}

/// The `uv_loop_t` of a loop of uvloop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UvLoop {
    /// The `uv_loop_t`.
    address: u64,
    /// Its `internal_fields`.
    internal: u64,
}

/// What a [`UvLoop`] tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct UvTurn {
    /// How often it has polled (`uv_metrics_t.loop_count`, libuv 1.45 and later; else always the same).
    pub polls: u64,
    /// When the last poll returned, in whole milliseconds; later where somebody has asked for the time since.
    pub time: f64,
    /// The descriptor that it polls.
    pub descriptor: i32,
}

/// Fields of `uv_loop_t` (uv.h and uv/unix.h of libuv 1.x), in bytes.
const UV_INTERNAL_FIELDS: u64 = 40;
const UV_BACKEND_DESCRIPTOR: u64 = 64;
/// Before it lies a `pthread_mutex_t`, which has 40 bytes on x86-64 and 48 on aarch64.
const UV_TIME: u64 = if cfg!(target_arch = "aarch64") { 552 } else { 544 };
/// `uv__loop_internal_fields_t.loop_metrics.metrics.loop_count` (uv-common.h).
const UV_LOOP_COUNT: u64 = 8;

impl UvLoop {
    /// Of a loop object; `None` where it is none of uvloop's.
    pub(super) fn of(types: TaskObjects<'_>, event_loop: u64) -> Option<Self> {
        let objects = types.objects;
        let info = objects.type_info(objects.type_of(event_loop).ok()?).ok()?;
        let bases = objects.bases(info.address).ok()?;
        let is_uvloop = |base: &u64| objects.name_of_type(*base).is_ok_and(|name| name == "uvloop.loop.Loop");
        if !bases.iter().any(is_uvloop) {
            return None;
        }
        // A table of methods is between the object's head and the first field (`cdef class Loop`, uvloop/loop.pxd).
        Self::at(objects.memory(), types.second_field(event_loop).ok()?)
    }

    /// Of a loop object of gevent's on libuv (`gevent.libuv.loop.loop`), which has it in an object of cffi's
    /// (`CDataObject` {head, type, pointer}) until it is destroyed.
    pub(crate) fn of_gevent(objects: ObjectReader<'_>, event_loop: u64) -> Option<Self> {
        let known = RefCell::default();
        let types = TaskObjects::new(objects, &known);
        let pointer = types.member(event_loop, "_ptr")?;
        let is_of_cffi = types.known(pointer).ok()?.info.name.starts_with("_cffi_backend.");
        let address = types.second_field(pointer).ok().filter(|address| is_of_cffi && *address != 0)?;
        Self::at(objects.memory(), address)
    }

    fn at(memory: &dyn Memory, address: u64) -> Option<Self> {
        let internal = memory.read_u64(address.wrapping_add(UV_INTERNAL_FIELDS)).ok()?;
        let found = Self { address, internal };
        found.turn(memory).is_some_and(|turn| turn.descriptor >= 0).then_some(found)
    }

    /// What it tells now, in one read.
    pub(crate) fn turn(self, memory: &dyn Memory) -> Option<UvTurn> {
        let (mut polls, mut time, mut descriptor) = ([0; 8], [0; 8], [0; 4]);
        let mut requests = [
            Request::new(self.internal.wrapping_add(UV_LOOP_COUNT), &mut polls),
            Request::new(self.address.wrapping_add(UV_TIME), &mut time),
            Request::new(self.address.wrapping_add(UV_BACKEND_DESCRIPTOR), &mut descriptor),
        ];
        memory.read_many(&mut requests);
        let are_complete = requests.iter().all(|request| request.complete);
        are_complete.then(|| UvTurn {
            polls: u64::from_ne_bytes(polls),
            time: u64::from_ne_bytes(time) as f64 / 1e3,
            descriptor: i32::from_ne_bytes(descriptor),
        })
    }
}

/// The `struct ev_loop` of a loop of gevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvLoop(u64);

/// Bytes of gevent's loop object that are searched.
const GEVENT_LOOP_SIZE: usize = 256;
/// How far two sums of libev's times may differ, in seconds; it recomputes the difference of its clocks now and then.
const CLOCK_TOLERANCE: f64 = 0.5;
/// No clock has run for longer, in seconds.
const LONGEST_UPTIME: f64 = 1e9;

impl EvLoop {
    /// Of a loop object of gevent (`gevent.libev.corecext.loop`); `now` is the time of the system, in seconds. It has a
    /// pointer to the struct among its fields, and that begins with four times that belong together, so it is known
    /// when it is met. gevent on libuv has none.
    pub(crate) fn of(memory: &dyn Memory, event_loop: u64, now: f64) -> Option<Self> {
        let bytes = memory.read_bytes(event_loop, GEVENT_LOOP_SIZE as u64, GEVENT_LOOP_SIZE).ok()?;
        let (words, _) = bytes.as_chunks::<8>();
        let pointers = words.iter().map(|word| u64::from_ne_bytes(*word));
        let aligned = pointers.filter(|pointer| *pointer > 0x1000 && pointer.is_multiple_of(8));
        aligned.map(Self).find(|candidate| candidate.time(memory).is_some_and(|time| time <= now + CLOCK_TOLERANCE))
    }

    /// When its last poll returned, in seconds.
    pub(crate) fn time(self, memory: &dyn Memory) -> Option<f64> {
        let mut bytes = [0; 32];
        memory.read(self.0, &mut bytes).ok()?;
        let (words, _) = bytes.as_chunks::<8>();
        let [real, floor, monotonic, difference] = words else { return None };
        let [real, floor, monotonic, difference] =
            [real, floor, monotonic, difference].map(|word| f64::from_ne_bytes(*word));
        let are_times = monotonic > 0.0 && monotonic < LONGEST_UPTIME && real > monotonic && difference > 0.0;
        let are_near =
            (monotonic + difference - real).abs() < CLOCK_TOLERANCE && (0.0..2.0).contains(&(monotonic - floor));
        (are_times && are_near).then_some(monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::{EvLoop, TurnFunction, UvLoop};
    use crate::memory::Image;

    #[test]
    fn functions_that_tell_of_turns_are_known_by_name_and_file() {
        let of = TurnFunction::of;
        assert_eq!(of("BaseEventLoop._run_once", "/lib/python3.9/asyncio/base_events.py"), Some(TurnFunction::Asyncio));
        assert_eq!(of("_run_once", "C:\\Lib\\asyncio\\base_events.py"), Some(TurnFunction::Asyncio));
        assert_eq!(of("Hub.run", "/x/gevent/hub.py"), Some(TurnFunction::Gevent));
        assert_eq!(of("Hub.run", "/srv/hub.py"), None);
        assert_eq!(of("BaseHub.run", "/x/eventlet/hubs/hub.py"), Some(TurnFunction::Eventlet));
        assert_eq!(of("run", "/srv/hubs/hub.py"), None);
        assert_eq!(of("unrolled_run", "/x/trio/_core/_run.py"), Some(TurnFunction::Trio));
    }

    #[test]
    fn only_times_that_belong_together_make_a_loop_of_libev() {
        let times = |real: f64, floor: f64, monotonic: f64, difference: f64| {
            let bytes: Vec<u8> =
                [real, floor, monotonic, difference].iter().flat_map(|time| time.to_ne_bytes()).collect();
            let mut image = Image::new();
            image.map(0x2000, bytes);
            let mut object = vec![0; 256];
            object[168..176].copy_from_slice(&0x2000_u64.to_ne_bytes());
            image.map(0x10000, object);
            EvLoop::of(&image, 0x10000, 110.0).and_then(|found| found.time(&image))
        };
        assert_eq!(times(1700000100.0, 99.9, 100.0, 1700000000.0), Some(100.0));
        // Not of one clock, in the future, and no numbers at all.
        assert_eq!(times(1700000200.0, 99.9, 100.0, 1700000000.0), None);
        assert_eq!(times(1700000200.0, 199.9, 200.0, 1700000000.0), None);
        assert_eq!(times(f64::NAN, f64::NAN, f64::NAN, f64::NAN), None);
        assert_eq!(times(0.0, 0.0, 0.0, 0.0), None);
    }

    #[test]
    fn a_loop_of_libuv_that_cannot_be_read_tells_nothing() {
        let loop_of_nothing = UvLoop { address: u64::MAX - 100, internal: 8 };
        assert_eq!(loop_of_nothing.turn(&Image::new()), None);
    }
}
