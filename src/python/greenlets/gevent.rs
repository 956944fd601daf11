//! What greenlets wait in whose frames do not tell it: objects of gevent, which are compiled, by who waits for them.
//!
//! A greenlet that waits for one has it among the values of its newest frames, and the object has the greenlet among
//! those that it will wake: a bound `switch` in a list (`AbstractLinkable._links`, `Greenlet._links`), or a `Waiter` in
//! a deque (`getters` and `putters` of queues). Only both together count.
//!
//! Limits: nothing tells which of the methods of an object was called, but of a queue.

use std::collections::{HashMap, HashSet};

use crate::memory::ReadError;
use crate::python::object::{ObjectReader, TypeInfo};
use crate::python::tasks::{TaskFrame, TaskWait, WaitKind};

/// The newest frames whose values are looked at, and how many values of each: its variables, then what it works with.
const FRAMES_ASKED: usize = 3;
const VALUES_ASKED: usize = 64;
/// Objects that are looked at.
const MOST_OBJECTS: usize = 20_000;
/// Words of one object of gevent, and those that wait for it, at most.
const MOST_WORDS: usize = 64;
const MOST_WAITERS: usize = 10_000;
/// The items in a block of a deque (`BLOCKLEN`, Modules/_collectionsmodule.c).
const BLOCK_LENGTH: u64 = 64;

/// Finds out what greenlets wait in, all of one moment.
pub(crate) struct GeventWaits<'read> {
    objects: ObjectReader<'read>,
    types: HashMap<u64, Option<GeventType>>,
    looked_at: HashSet<u64>,
    /// By the greenlets.
    found: HashMap<u64, TaskWait>,
}

/// A type of gevent.
#[derive(Debug, Clone)]
struct GeventType {
    name: String,
    words: usize,
    kind: WaitKind,
}

impl<'read> GeventWaits<'read> {
    /// Nothing is known yet.
    pub(crate) fn new(objects: ObjectReader<'read>) -> Self {
        Self { objects, types: HashMap::new(), looked_at: HashSet::new(), found: HashMap::new() }
    }

    /// What a greenlet waits in; `frames` are its own, newest first.
    pub(crate) fn wait(&mut self, greenlet: u64, frames: &[TaskFrame]) -> Option<TaskWait> {
        for frame in frames.iter().take(FRAMES_ASKED) {
            if self.found.contains_key(&greenlet) {
                break;
            }
            for value in self.values(frame) {
                if self.looked_at.len() < MOST_OBJECTS && self.looked_at.insert(value) {
                    // What is none of gevent's objects, or is gone, tells nothing.
                    let _ = self.look_at(value);
                    // In a `with` statement the object is known by its bound `__exit__` only (up to 3.10).
                    if let Some(owner) = self.bound_to(value).filter(|owner| self.looked_at.insert(*owner)) {
                        let _ = self.look_at(owner);
                    }
                }
            }
        }
        self.found.get(&greenlet).cloned()
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
                "list" => {
                    self.greenlets_of_links(word).into_iter().map(|greenlet| (greenlet, of.name.clone())).collect()
                }
                "collections.deque" => self.greenlets_of_waiters(word, &of.name),
                _ => Vec::new(),
            };
            let count = waiters.len() as u64;
            for (greenlet, operation) in waiters {
                let wait = TaskWait { object: Some(object), waiters: Some(count), ..TaskWait::new(of.kind) };
                self.found.entry(greenlet).or_insert(TaskWait { operation, ..wait });
            }
        }
        Ok(())
    }

    /// The greenlets whose `switch` is in a list.
    fn greenlets_of_links(&self, list: u64) -> Vec<u64> {
        let Ok((links, _)) = self.objects.list_items(list, MOST_WAITERS) else { return Vec::new() };
        links.into_iter().filter_map(|link| self.bound_to(link)).collect()
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
            let words = self.objects.pointers(waiter, words_of(&info)).ok()?;
            let greenlet = words.into_iter().find(|word| self.is_greenlet(*word))?;
            Some((greenlet, format!("{queue}.{method}")))
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
        let name = own.name.rsplit('.').next().unwrap_or_default().to_owned();
        return Ok(Some(GeventType { name, words: words_of(&own), kind }));
    }
    Ok(None)
}
