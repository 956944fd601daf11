//! The turns of eventlet's hubs, which note less than other loops do.
//!
//! `BaseHub.run` calls `fire_timers` with the time, then puts into variables when the next timer is due (`wakeup_when`)
//! and how long that is (`sleep_time`), then calls `wait`, which polls and calls those that this concerns. So while a
//! greenlet runs, its hub is put aside in one of the two: in `fire_timers` the turn began at its variable `when` at the
//! latest; in `wait` the variables say when the poll began, which tells one turn from another. When a poll that had
//! time ended is noted nowhere: the first look at a turn counts then. A poll without time ended when it began.
//!
//! Limits: a hub without timers has nothing that tells turns apart in `wait`. There a turn counts only while its thread
//! does not run.

use std::collections::HashMap;

use super::turns::FrameVariable;
use crate::python::layout::OwnLine;
use crate::python::object::{ObjectReader, words};

/// Frames from the newest one of a hub to its `run`, at most.
const DEEPEST: usize = 16;
/// Bytes of what is behind a greenlet that are searched for its newest frame, and how often.
const GREENLET_SIZE: u64 = 256;
const MOST_SEARCHES: u32 = 50;
/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;

/// What is known of a function that a hub's `run` calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HubFunction {
    /// `fire_timers`, with the place of its variable `when`.
    FireTimers(u64),
    /// `wait`.
    Wait,
    Other,
}

/// A hub of eventlet's that runs.
#[derive(Debug, Clone)]
pub(crate) struct EventletHub {
    /// The frame of its `run`, and the code of that.
    run: (u64, u64),
    /// Where in it `wakeup_when` and `sleep_time` are.
    variables: [u64; 2],
    greenlet: u64,
    /// Where the greenlet has its newest frame while it is put aside, once that is known.
    newest: Option<u64>,
    searches: u32,
    /// By the addresses of their code.
    functions: HashMap<u64, HubFunction>,
    /// When the poll before the turn began that was seen last, and when that turn was seen first.
    seen: Option<(f64, f64)>,
    /// When its thread was seen first, of those times since which that has not run, in a turn of which nothing is told.
    at_rest_since: Option<f64>,
}

/// What the variables of `run` say of the last poll.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Poll {
    /// When it began, where that can be told.
    began: Option<f64>,
    /// How long it may take.
    time: f64,
}

impl EventletHub {
    /// Of the frame of a `run` with this code, by the places of its variables `wakeup_when`, `sleep_time` and `self`.
    pub(crate) fn of(objects: ObjectReader<'_>, frame: u64, code: u64, offsets: &[u64]) -> Option<Self> {
        let [wakeup_when, sleep_time, own] = *offsets else { return None };
        let hub = FrameVariable { frame, code, offset: own }.object(objects.memory(), objects)?;
        let greenlet = objects.instance_attribute(hub, "greenlet").ok()??;
        let variables = [wakeup_when, sleep_time];
        let functions = HashMap::new();
        Some(Self {
            run: (frame, code),
            variables,
            greenlet,
            newest: None,
            searches: 0,
            functions,
            seen: None,
            at_rest_since: None,
        })
    }

    /// Whether it is the one with this frame of `run`.
    pub(crate) fn is_of(&self, frame: u64, code: u64) -> bool {
        self.run == (frame, code)
    }

    /// Whether its `run` may still be there.
    pub(crate) fn may_run(&self, objects: ObjectReader<'_>) -> bool {
        let layout = &objects.layout().frame;
        objects.pointer(self.run.0, layout.code).is_ok_and(|code| code & !layout.tag_mask == self.run.1)
    }

    /// Since when it has not polled, if it is put aside and that can be told. Its thread `has_run` since the last look,
    /// or has not.
    pub(crate) fn busy_since(
        &mut self,
        objects: ObjectReader<'_>,
        float_type: &mut Option<u64>,
        has_run: bool,
        now: f64,
    ) -> Option<f64> {
        let newest = self.newest_frame(objects);
        let called = newest.and_then(|newest| self.called_by_run(objects, newest));
        let at_rest_since = self.at_rest_since(has_run || called.is_none(), now);
        let since = self.since_in(called?, objects, float_type, now).or(at_rest_since)?;
        // It has not gone on meanwhile.
        let is_same = self.newest_frame(objects) == newest && self.called_by_run(objects, newest?) == called;
        is_same.then_some(since)
    }

    /// Since when a thread has certainly not polled that is in no poll now, and that `may_have` polled since the last
    /// look or has not.
    fn at_rest_since(&mut self, may_have: bool, now: f64) -> Option<f64> {
        if may_have {
            self.at_rest_since = None;
        }
        let is_seen_again = self.at_rest_since.is_some();
        let since = *self.at_rest_since.get_or_insert(now);
        is_seen_again.then_some(since)
    }

    /// The same, while `run` has called the function with this frame and code, which is not in its poll.
    pub(crate) fn since_in(
        &mut self,
        (frame, code): (u64, u64),
        objects: ObjectReader<'_>,
        float_type: &mut Option<u64>,
        now: f64,
    ) -> Option<f64> {
        let function = *self.functions.entry(code).or_insert_with(|| function_of(objects, code));
        let when = match function {
            HubFunction::FireTimers(offset) => {
                Some(FrameVariable { frame, code, offset }.number(objects.memory(), objects, float_type)?)
            }
            HubFunction::Wait => None,
            HubFunction::Other => return None,
        };
        let poll = self.poll(objects, float_type);
        if self.poll(objects, float_type) != poll {
            return None;
        }
        self.since(poll, when, now)
    }

    /// Since when a turn lasts that comes after this poll, and in which timers began to be called `when`.
    fn since(&mut self, poll: Option<Poll>, when: Option<f64>, now: f64) -> Option<f64> {
        let Some(began) = poll.and_then(|poll| poll.began) else { return when };
        let is_in_order = began <= now && when.is_none_or(|when| (began..=now).contains(&when));
        if !is_in_order {
            return None;
        }
        if poll.is_some_and(|poll| poll.time <= 0.0) {
            return Some(began);
        }
        let first_seen = match self.seen {
            Some((before, first_seen)) if before == began => first_seen,
            _ => now,
        };
        self.seen = Some((began, first_seen));
        Some(when.map_or(first_seen, |when| when.min(first_seen)))
    }

    fn poll(&self, objects: ObjectReader<'_>, float_type: &mut Option<u64>) -> Option<Poll> {
        let [wakeup_when, sleep_time] =
            self.variables.map(|offset| FrameVariable { frame: self.run.0, code: self.run.1, offset });
        let time = sleep_time.number(objects.memory(), objects, float_type)?;
        let wakeup_when = wakeup_when.number(objects.memory(), objects, float_type);
        Some(Poll { began: wakeup_when.map(|wakeup| wakeup - time), time })
    }

    /// The frame that `run` has called, and its code, where `newest` is the hub's newest.
    fn called_by_run(&self, objects: ObjectReader<'_>, newest: u64) -> Option<(u64, u64)> {
        let layout = &objects.layout().frame;
        let mut frame = newest;
        for _ in 0..DEEPEST {
            let previous = objects.pointer(frame, layout.previous).ok()?;
            if previous == self.run.0 {
                return Some((frame, objects.pointer(frame, layout.code).ok()? & !layout.tag_mask));
            }
            if previous == 0 {
                return None;
            }
            frame = previous;
        }
        None
    }

    /// The newest frame of the hub's greenlet while that is put aside.
    fn newest_frame(&mut self, objects: ObjectReader<'_>) -> Option<u64> {
        if self.newest.is_none() && self.searches < MOST_SEARCHES {
            self.searches += 1;
            self.newest = self.find_newest(objects);
        }
        frame_at(objects, self.newest?)
    }

    /// Where its greenlet has its newest frame: what leads to `run` by way of something that `run` calls, in the object
    /// (up to greenlet 1) or in what its last field points to.
    fn find_newest(&mut self, objects: ObjectReader<'_>) -> Option<u64> {
        let info = objects.type_info(objects.type_of(self.greenlet).ok()?).ok()?;
        let size = u64::try_from(info.basic_size).ok()?.min(GREENLET_SIZE);
        let own = objects.memory().read_bytes(self.greenlet, size, GREENLET_SIZE as usize).ok()?;
        let own: Vec<u64> = words(&own).collect();
        let after_head = usize::try_from(objects.layout().object.head_size / 8).ok()?;
        // After the weak references and the dict.
        let behind = own.get(after_head + 2).copied().filter(|address| *address > 0x1000 && size <= 64);
        let places = match behind {
            Some(behind) => (0..GREENLET_SIZE / 8).map(|index| behind.wrapping_add(8 * index)).collect::<Vec<u64>>(),
            None => (after_head as u64..size / 8).map(|index| self.greenlet.wrapping_add(8 * index)).collect(),
        };
        places.into_iter().find(|place| {
            let newest = frame_at(objects, *place);
            let called = newest.and_then(|newest| self.called_by_run(objects, newest));
            called.is_some_and(|(_, code)| objects.is_code(code) && function_of(objects, code) != HubFunction::Other)
        })
    }
}

/// The frame, as threads have it, of the frame object to which a word of memory points.
fn frame_at(objects: ObjectReader<'_>, place: u64) -> Option<u64> {
    let object = objects.memory().read_u64(place).ok().filter(|object| *object > 0x1000 && object.is_multiple_of(8))?;
    if objects.type_name(object).ok()? != "frame" {
        return None;
    }
    match objects.layout().frame.own_line {
        OwnLine::InObject { frame, .. } => objects.pointer(object, frame).ok(),
        OwnLine::InFrame { .. } => Some(object),
    }
}

/// What the function of a code object is to a hub.
fn function_of(objects: ObjectReader<'_>, code: u64) -> HubFunction {
    let layout = &objects.layout().code;
    let text = |offset: u32| objects.text_or_none(objects.pointer(code, offset).ok()?, NAME_LIMIT);
    let (Some(name), Some(file)) = (text(layout.name), text(layout.filename)) else { return HubFunction::Other };
    let when = || super::turns::offset_of(objects, code, "when");
    match name.as_str() {
        "fire_timers" if is_of_hubs(&file) => when().map_or(HubFunction::Other, HubFunction::FireTimers),
        "wait" if is_of_hubs(&file) => HubFunction::Wait,
        _ => HubFunction::Other,
    }
}

/// Whether a file is one of eventlet's hubs.
fn is_of_hubs(file: &str) -> bool {
    let mut folders = file.rsplit(['/', '\\']).skip(1);
    folders.next() == Some("hubs") && folders.next() == Some("eventlet")
}

/// Whether a function, by its name with or without class and its file, is one by which a hub of eventlet's calls what
/// is not its own.
pub(crate) fn calls_for_hub(name: &str, file: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or_default();
    is_of_hubs(file) && matches!(name, "run" | "fire_timers" | "wait" | "__call__")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{EventletHub, Poll, calls_for_hub};

    #[test]
    fn a_turn_begins_when_its_poll_is_known_to_have_ended() {
        let mut hub = EventletHub {
            run: (0, 0),
            variables: [0; 2],
            greenlet: 0,
            newest: None,
            searches: 0,
            functions: HashMap::new(),
            seen: None,
            at_rest_since: None,
        };
        let poll = |began: f64, time: f64| Some(Poll { began: Some(began), time });
        // A poll without time; then one that may have waited: the first look counts, also where timers come later.
        assert_eq!(hub.since(poll(10.0, 0.0), None, 12.0), Some(10.0));
        assert_eq!(hub.since(poll(13.0, 5.0), None, 14.0), Some(14.0));
        assert_eq!(hub.since(poll(13.0, 5.0), None, 15.0), Some(14.0));
        assert_eq!(hub.since(poll(13.0, 5.0), Some(15.5), 16.0), Some(14.0));
        // The next turn was not seen before its timers.
        assert_eq!(hub.since(poll(17.0, 5.0), Some(18.0), 19.0), Some(18.0));
        assert_eq!(hub.since(poll(17.0, 5.0), Some(18.0), 20.0), Some(18.0));
        // Nothing tells one turn from another, but for the time of the timers.
        let without_timers = Some(Poll { began: None, time: 60.0 });
        assert_eq!(hub.since(without_timers, None, 21.0), None);
        assert_eq!(hub.since(without_timers, Some(20.5), 21.0), Some(20.5));
        assert_eq!(hub.since(None, Some(20.5), 21.0), Some(20.5));
        // No times that go together.
        assert_eq!(hub.since(poll(22.0, 0.0), None, 21.0), None);
        assert_eq!(hub.since(poll(20.0, 1.0), Some(19.0), 21.0), None);
        assert_eq!(hub.since(poll(20.0, 1.0), Some(22.0), 21.0), None);
        // Whoever has not run has not polled.
        let at_rest = [(true, 22.0), (false, 23.0), (true, 24.0), (true, 25.0), (false, 26.0), (false, 27.0)];
        let at_rest = at_rest.map(|(has_run, now)| hub.at_rest_since(has_run, now));
        assert_eq!(at_rest, [None, Some(22.0), None, None, Some(25.0), Some(25.0)]);
    }

    #[test]
    fn functions_of_hubs_are_known_by_name_and_file() {
        assert!(calls_for_hub("BaseHub.fire_timers", "/x/eventlet/hubs/hub.py"));
        assert!(calls_for_hub("wait", "/x/eventlet/hubs/poll.py"));
        assert!(!calls_for_hub("trampoline", "/x/eventlet/hubs/__init__.py"));
        assert!(!calls_for_hub("wait", "/srv/hubs/poll.py"));
    }
}
