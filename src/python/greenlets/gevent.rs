//! What greenlets wait in whose frames do not tell it: objects of gevent, which are compiled, by who waits for them.
//!
//! A greenlet that waits for one has it among the values of its newest frames, and the object has the greenlet among
//! those that it will wake: a bound `switch` in a list (`AbstractLinkable._links`, `Greenlet._links`), or a `Waiter` in
//! a deque (`getters` and `putters` of queues). Only both together count.
//!
//! Limits: nothing tells which of the methods of an object was called, but of a queue and where there is only one.

use std::collections::{HashMap, HashSet};

use super::timers::{HubTimers, eventlet_timer_due, gevent_timer_due};
use crate::memory::ReadError;
use crate::python::locals::variable_offset;
use crate::python::object::{ObjectReader, TypeInfo};
use crate::python::tasks::{FrameVariable, KnownTypes, TaskFrame, TaskWait, WaitKind};

/// The newest frames whose values are looked at, and how many values of each: its variables, then what it works with.
const FRAMES_ASKED: usize = 3;
const VALUES_ASKED: usize = 64;
/// Objects that are looked at.
const MOST_OBJECTS: usize = 20_000;
/// Words of one object of gevent, and those that wait for it, at most.
const MOST_WORDS: usize = 64;
const MOST_WAITERS: usize = 10_000;
/// Items of one list that are looked at, and of all.
const ITEMS_ASKED: usize = 256;
const MOST_ITEMS: usize = 10_000;
/// Descriptors that one greenlet waits for.
const MOST_WATCHED: usize = 256;
/// The items in a block of a deque (`BLOCKLEN`, Modules/_collectionsmodule.c).
const BLOCK_LENGTH: u64 = 64;

/// What was called where one waiter is for several objects.
const OF_SEVERAL: &str = "joinall or wait";

/// Finds out what greenlets wait in, all of one moment.
pub(crate) struct GeventWaits<'read> {
    objects: ObjectReader<'read>,
    types: HashMap<u64, Option<GeventType>>,
    looked_at: HashSet<u64>,
    /// By the greenlets.
    found: HashMap<u64, TaskWait>,
    known: KnownTypes,
    /// Items of lists that may still be looked at.
    items_left: usize,
    /// Where variables are in their frames, by the code and their names.
    places: HashMap<(u64, &'static str), Option<u64>>,
    /// Where it is asked when sleeps end: what was read of eventlet's hubs.
    hub_timers: Option<HubTimers>,
}

/// A type of gevent.
#[derive(Debug, Clone)]
struct GeventType {
    /// What can be said of what was called.
    operation: String,
    words: usize,
    kind: WaitKind,
}

impl<'read> GeventWaits<'read> {
    /// Nothing is known yet.
    pub(crate) fn new(objects: ObjectReader<'read>) -> Self {
        Self {
            objects,
            types: HashMap::new(),
            looked_at: HashSet::new(),
            found: HashMap::new(),
            known: KnownTypes::default(),
            items_left: MOST_ITEMS,
            places: HashMap::new(),
            hub_timers: None,
        }
    }

    /// Also finds out when sleeps end.
    pub(crate) fn with_timers(self) -> Self {
        Self { hub_timers: Some(HubTimers::new()), ..self }
    }

    /// When the timer is due that a `sleep` of gevent's or eventlet's has in a variable of this frame.
    pub(super) fn timer_due(&mut self, frame: &TaskFrame) -> Option<f64> {
        self.hub_timers.as_ref()?;
        if let Some(timer) = self.variable(frame, "t") {
            return gevent_timer_due(self.objects, &self.known, timer);
        }
        let hub_and_timer = (self.variable(frame, "hub")?, self.variable(frame, "timer")?);
        eventlet_timer_due(self.objects, &self.known, self.hub_timers.as_mut()?, hub_and_timer)
    }

    /// The object in a variable of a frame.
    pub(super) fn variable(&mut self, frame: &TaskFrame, name: &'static str) -> Option<u64> {
        let (objects, code) = (self.objects, frame.code_address);
        let offset = self.places.entry((code, name));
        let offset = offset.or_insert_with(|| variable_offset(objects, code, name).ok().flatten());
        FrameVariable { frame: frame.address, code, offset: (*offset)? }.object(objects.memory(), objects)
    }

    /// An attribute of an object.
    pub(super) fn member(&self, object: u64, name: &str) -> Option<u64> {
        self.known.member(self.objects, object, name)
    }

    /// The items of a list, tuple or set, or the keys of a dict; `None` of anything else, and where there are too many.
    pub(super) fn items(&self, object: u64) -> Option<Vec<u64>> {
        let (objects, limit) = (self.objects, MOST_WATCHED);
        let items = match objects.type_name(object).ok()?.as_str() {
            "list" => objects.list_items(object, limit + 1).ok()?.0,
            "tuple" => objects.tuple_items(object, limit + 1).ok()?.0,
            "set" => objects.set_items(object, limit).ok()?,
            "dict" => objects.dict_items(object).ok()?.map(|(key, _)| key).take(limit + 1).collect(),
            _ => return None,
        };
        (items.len() <= limit).then_some(items)
    }

    /// The name of an object's class without its module.
    pub(super) fn class_name(&self, object: u64) -> Option<String> {
        self.known.class_name(self.objects, object)
    }

    /// The descriptor of a socket or file.
    pub(super) fn descriptor(&self, object: u64) -> Option<i32> {
        self.known.descriptor(self.objects, object)
    }

    /// A `float` or a small `int`.
    pub(super) fn number(&self, object: u64) -> Option<f64> {
        self.known.number(self.objects, object)
    }

    /// What a greenlet waits in; `frames` are its own, newest first.
    pub(crate) fn wait(&mut self, greenlet: u64, frames: &[TaskFrame]) -> Option<TaskWait> {
        for frame in frames.iter().take(FRAMES_ASKED) {
            if self.found.contains_key(&greenlet) {
                break;
            }
            for value in self.values(frame) {
                if self.objects_left() && self.looked_at.insert(value) {
                    // What is none of gevent's objects, or is gone, tells nothing.
                    let _ = self.look_at(value);
                    // In a `with` statement the object is known by its bound `__exit__` only (up to 3.10).
                    if let Some(owner) = self.bound_to(value).filter(|owner| self.looked_at.insert(*owner)) {
                        let _ = self.look_at(owner);
                    }
                }
            }
        }
        if !self.found.contains_key(&greenlet) {
            self.look_into_lists(greenlet, frames);
        }
        self.found.get(&greenlet).cloned()
    }

    /// Whether more objects that are not in lists may be looked at.
    fn objects_left(&self) -> bool {
        self.looked_at.len() < MOST_OBJECTS + MOST_ITEMS - self.items_left
    }

    /// Who waits for several objects (`joinall`, `wait`, `iwait`) has them in a list.
    fn look_into_lists(&mut self, greenlet: u64, frames: &[TaskFrame]) {
        let Some(frame) = frames.first() else { return };
        for value in self.values(frame) {
            if self.items_left == 0 {
                return;
            }
            let items = match self.objects.type_name(value).as_deref() {
                Ok("list") => self.objects.list_items(value, ITEMS_ASKED),
                Ok("tuple") => self.objects.tuple_items(value, ITEMS_ASKED),
                _ => continue,
            };
            let (items, count) = items.unwrap_or_default();
            for item in items {
                if self.items_left > 0 && self.looked_at.insert(item) {
                    self.items_left -= 1;
                    let _ = self.look_at(item);
                }
            }
            if let Some(wait) = self.found.get_mut(&greenlet) {
                wait.detail = (wait.kind == WaitKind::Some).then(|| format!("{count} objects"));
                return;
            }
        }
    }

    /// The objects of a frame; some behind them may be left from others.
    fn values(&self, frame: &TaskFrame) -> Vec<u64> {
        let layout = &self.objects.layout().frame;
        let first = frame.address.wrapping_add(u64::from(layout.locals));
        let words =
            self.objects.pointers(first, VALUES_ASKED).or_else(|_| self.objects.pointers(first, VALUES_ASKED / 8));
        let untagged = words.unwrap_or_default().into_iter().map(|word| word & !layout.tag_mask);
        untagged.filter(|word| *word > 0x1000 && word.is_multiple_of(8)).collect()
    }

    fn look_at(&mut self, object: u64) -> Result<(), ReadError> {
        let type_object = self.objects.type_of(object)?;
        if !self.types.contains_key(&type_object) {
            let found = gevent_type(self.objects, type_object).ok().flatten();
            self.types.insert(type_object, found);
        }
        let Some(Some(of)) = self.types.get(&type_object).cloned() else { return Ok(()) };
        for word in self.objects.pointers(object, of.words)? {
            let Ok(name) = self.objects.type_name(word) else { continue };
            let waiters = match name.as_str() {
                "list" => self.greenlets_of_links(word, &of),
                "collections.deque" => self.greenlets_of_waiters(word, &of.operation),
                // `JoinableQueue` has one for when all is done.
                event if of.kind == WaitKind::Queue && event.rsplit('.').next() == Some("Event") => {
                    self.greenlets_of_event(word, &of)
                }
                _ => Vec::new(),
            };
            let count = waiters.len() as u64;
            for (greenlet, operation) in waiters {
                let wait = if operation == OF_SEVERAL {
                    TaskWait::new(WaitKind::Some)
                } else {
                    TaskWait { object: Some(object), waiters: Some(count), ..TaskWait::new(of.kind) }
                };
                self.found.entry(greenlet).or_insert(TaskWait { operation, ..wait });
            }
        }
        Ok(())
    }

    /// The greenlets whose `switch` is in a list of an object of a type, with what they have called. Those that wait
    /// for several objects have a waiter for all of them between.
    fn greenlets_of_links(&self, list: u64, of: &GeventType) -> Vec<(u64, String)> {
        let Ok((links, _)) = self.objects.list_items(list, MOST_WAITERS) else { return Vec::new() };
        let greenlet = |link| {
            let owner = self.bound_to(link)?;
            let of_waiter = self.greenlet_of_waiter(owner).map(|greenlet| (greenlet, OF_SEVERAL.to_owned()));
            Some(of_waiter.unwrap_or_else(|| (owner, of.operation.clone())))
        };
        links.into_iter().filter_map(greenlet).collect()
    }

    /// The greenlets that wait for the event that a queue has for when all is done.
    fn greenlets_of_event(&self, event: u64, queue: &GeventType) -> Vec<(u64, String)> {
        let info = self.objects.type_of(event).and_then(|of| self.objects.type_info(of));
        let words = info.and_then(|info| self.objects.pointers(event, words_of(&info))).unwrap_or_default();
        let is_list = |word: &u64| self.objects.type_name(*word).is_ok_and(|name| name == "list");
        let join = GeventType { operation: format!("{}.join", queue.operation), ..queue.clone() };
        words.into_iter().filter(is_list).flat_map(|list| self.greenlets_of_links(list, &join)).collect()
    }

    /// The greenlet that a `Waiter`, or one of what is derived from it, will wake.
    fn greenlet_of_waiter(&self, waiter: u64) -> Option<u64> {
        let info = self.objects.type_info(self.objects.type_of(waiter).ok()?).ok()?;
        if !info.name.ends_with("Waiter") {
            return None;
        }
        let words = self.objects.pointers(waiter, words_of(&info)).ok()?;
        words.into_iter().find(|word| self.is_greenlet(*word))
    }

    /// What a method is bound to: `m_self` of a function in C and `im_self` of a method are both the second field.
    fn bound_to(&self, method: u64) -> Option<u64> {
        let name = self.objects.type_name(method).ok()?;
        let is_method = matches!(name.as_str(), "builtin_function_or_method" | "method");
        self.objects.pointer(method, self.objects.layout().object.head_size + 8).ok().filter(|_| is_method)
    }

    /// The greenlets of the waiters in a deque of a queue, with what they wait in: who wants to put something has it
    /// with its waiter.
    fn greenlets_of_waiters(&self, deque: u64, queue: &str) -> Vec<(u64, String)> {
        let of_waiter = |item: u64| {
            let waiter = match self.objects.type_name(item).ok()?.as_str() {
                "tuple" => *self.objects.tuple_items(item, 2).ok()?.0.get(1)?,
                _ => item,
            };
            let info = self.objects.type_info(self.objects.type_of(waiter).ok()?).ok()?;
            let method = match info.name.rsplit('.').next()? {
                "Waiter" if waiter == item => "get",
                "Waiter" | "ItemWaiter" => "put",
                _ => return None,
            };
            Some((self.greenlet_of_waiter(waiter)?, format!("{queue}.{method}")))
        };
        self.deque_items(deque).unwrap_or_default().into_iter().filter_map(of_waiter).collect()
    }

    /// Whether an object is a greenlet, but no hub.
    fn is_greenlet(&self, object: u64) -> bool {
        let Ok(type_object) = self.objects.type_of(object) else { return false };
        let is_called = |of: u64, name: &str| self.objects.name_of_type(of).is_ok_and(|found| found == name);
        let bases = self.objects.bases(type_object).unwrap_or_default();
        !is_called(type_object, "Hub") && bases.iter().any(|base| is_called(*base, "greenlet.greenlet"))
    }

    /// The items of a `deque`, the leftmost first (`dequeobject` and `BLOCK`, Modules/_collectionsmodule.c).
    fn deque_items(&self, deque: u64) -> Result<Vec<u64>, ReadError> {
        let count = self.objects.size(deque)?.min(MOST_WAITERS as u64);
        let after_size = self.objects.layout().object.ob_size + 8;
        let mut block = self.objects.pointer(deque, after_size)?;
        let mut index = self.objects.pointer(deque, after_size + 16)?;
        let mut items = Vec::new();
        for _ in 0..count {
            if index >= BLOCK_LENGTH {
                block = self.objects.memory().read_u64(block.wrapping_add(8 + 8 * BLOCK_LENGTH))?;
                index = 0;
            }
            items.push(self.objects.memory().read_u64(block.wrapping_add(8 + 8 * index))?);
            index += 1;
        }
        Ok(items)
    }
}

fn words_of(info: &TypeInfo) -> usize {
    usize::try_from(info.basic_size / 8).unwrap_or(0).min(MOST_WORDS)
}

/// What a type of gevent, or one derived from such, is waited for; `None` for other types.
fn gevent_type(objects: ObjectReader<'_>, type_object: u64) -> Result<Option<GeventType>, ReadError> {
    let own = objects.type_info(type_object)?;
    for base in objects.bases(type_object)? {
        let info = objects.type_info(base)?;
        let module = objects.type_module(&info)?.unwrap_or_default();
        if module != "gevent" && !module.starts_with("gevent.") {
            continue;
        }
        let kind = match info.name.rsplit('.').next().unwrap_or_default() {
            "Semaphore" | "BoundedSemaphore" => WaitKind::Semaphore,
            "Event" => WaitKind::Event,
            "AsyncResult" => WaitKind::Future,
            "Greenlet" => WaitKind::Task,
            "SimpleQueue" | "Queue" | "Channel" => WaitKind::Queue,
            "AbstractLinkable" => WaitKind::Other,
            _ => continue,
        };
        let name = own.name.rsplit('.').next().unwrap_or_default();
        let operation = match kind {
            WaitKind::Event => format!("{name}.wait"),
            WaitKind::Future => format!("{name}.get or wait"),
            WaitKind::Task => format!("{name}.join or get"),
            _ => name.to_owned(),
        };
        return Ok(Some(GeventType { operation, words: words_of(&own), kind }));
    }
    Ok(None)
}
