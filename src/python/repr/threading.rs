//! What threads wait for and leave to each other: locks, conditions, queues, futures, threads.
//!
//! Those that the library writes with their state are written so; of the others what a hang needs: whether a lock is
//! taken, how full a queue is.

use super::builtin::short_name;
use super::kind::Kind;
use super::library::ReprOwner;
use super::{Writer, Written};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo};

/// How long the names of a future's states and of threads are, at most.
const NAME_LIMIT: usize = 256;

/// `ThreadHandle.thread_is_exiting` (3.13+, Modules/_threadmodule.c), a byte that is 1 when the thread has ended.
const HANDLE_IS_EXITING: u32 = 57;

/// `Barrier._state` of a barrier that is broken.
const BARRIER_BROKEN: i128 = -2;

impl Writer<'_, '_> {
    /// An object of `_thread` or `_queue`, whose memory is described in Modules/_threadmodule.c and _queuemodule.c.
    pub(super) fn thread_object(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        let name = &of.name;
        match kind {
            Kind::Lock => {
                let word = if self.is_lock_taken(object)? { "locked" } else { "unlocked" };
                self.plain(&format!("<{word} {name} object at {object:#x}>"));
            }
            Kind::RLock => {
                // Up to 3.13 {lock, owner, count}, later `_PyRecursiveMutex` {mutex, thread, level}, where the level
                // counts from the second time on.
                let (owner, level) = (self.field(object, 1)?, self.field(object, 2)?);
                let count = match self.is_since(3, 14) {
                    true if self.field(object, 0)? & 1 == 0 => 0,
                    true => level.saturating_add(1),
                    false => level,
                };
                let word = if count > 0 { "locked" } else { "unlocked" };
                self.plain(&format!("<{word} {name} object owner={owner} count={count} at {object:#x}>"));
            }
            _ => {
                // Up to 3.12 {lock, locked, list, position in it}, later {flag, put, get, items, room, count}.
                let size = if self.is_since(3, 13) {
                    self.field(object, 5)?
                } else {
                    let (_, length) = self.objects.list_items(self.field(object, 2)?, 0)?;
                    length.saturating_sub(self.field(object, 3)?)
                };
                self.plain(&format!("<{} size={size}>", short_name(of)));
            }
        }
        Ok(())
    }

    /// Whether a plain lock is taken: a byte behind the system's lock and the weak references; or, where it has
    /// nothing but a mutex (3.14+, patch releases of 3.13 without the GIL), the lowest bit of that. 2.7 has only a
    /// pointer to the system's lock, a semaphore, which is 0 then.
    fn is_lock_taken(&self, lock: u64) -> Result<bool, ReadError> {
        let first = self.objects.layout().object.head_size;
        if self.is_python2() {
            return Ok(self.objects.memory().read_u32(self.field(lock, 0)?)? == 0);
        }
        match self.type_of(lock)?.basic_size <= i64::from(first) + 8 {
            true => Ok(self.objects.byte(lock, first)? & 1 == 1),
            false => Ok(self.objects.byte(lock, first + 16)? != 0),
        }
    }

    /// `re.compile('…', re.IGNORECASE)`. `PatternObject` (Modules/_sre): groups, two tables of groups, the pattern,
    /// then as `int` the flags; two words further on whether it is for bytes (3.x).
    pub(super) fn pattern(&mut self, object: u64) -> Written {
        const NAMES: [(u32, &str); 9] = [
            (1, "TEMPLATE"),
            (2, "IGNORECASE"),
            (4, "LOCALE"),
            (8, "MULTILINE"),
            (16, "DOTALL"),
            (32, "UNICODE"),
            (64, "VERBOSE"),
            (128, "DEBUG"),
            (256, "ASCII"),
        ];
        // `%.200R`: the first characters of the pattern's own `repr`.
        const PATTERN_LIMIT: usize = 200;
        let first = self.objects.layout().object.head_size;
        let mut flags = self.objects.int(object, first + 40)?.cast_unsigned();
        let is_text = !self.is_python2() && self.objects.int(object, first + 56)? == 0;
        if is_text && flags & (4 | 32 | 256) == 32 {
            // What every text has.
            flags &= !32;
        }
        let limits = super::Limits { length: PATTERN_LIMIT, ..self.limits };
        let text = self.printer.repr(self.field(object, 4)?, &limits);
        let text: String = text.chars().take(PATTERN_LIMIT).collect();
        self.plain(&format!("re.compile({text}"));
        let mut names: Vec<String> = Vec::new();
        for (bit, name) in NAMES {
            if flags & bit != 0 && (bit != 1 || !self.is_since(3, 13)) {
                names.push(format!("re.{name}"));
                flags &= !bit;
            }
        }
        if flags != 0 {
            names.push(format!("{flags:#x}"));
        }
        if !names.is_empty() {
            self.plain(&format!(", {}", names.join("|")));
        }
        self.plain(")");
        Ok(())
    }

    /// An object whose class has its `__repr__` from `threading` or `concurrent.futures`; `false` where that is not
    /// known here.
    pub(super) fn threading_value(&mut self, object: u64, of: &TypeInfo, owner: &ReprOwner) -> Result<bool, ReadError> {
        match owner.name.as_str() {
            "Condition" | "_Condition" => self.condition(object, of),
            "Thread" => self.thread(object, of),
            "Future" => self.future(object, of),
            "_RLock" if self.is_python2() => self.python2_rlock(object, of),
            "Semaphore" | "BoundedSemaphore" | "Event" | "Barrier" => match self.state_of(object, of, owner)? {
                Some(state) => {
                    self.plain("<");
                    self.qualified_type_name(of)?;
                    self.plain(&format!(" at {object:#x}: {state}>"));
                    Ok(true)
                }
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn state_of(&self, object: u64, of: &TypeInfo, owner: &ReprOwner) -> Result<Option<String>, ReadError> {
        let number = |name: &str| self.number_attribute(object, of, name);
        Ok(match owner.name.as_str() {
            "Semaphore" => number("_value")?.map(|value| format!("value={value}")),
            "BoundedSemaphore" => match (number("_value")?, number("_initial_value")?) {
                (Some(value), Some(initial)) => Some(format!("value={value}/{initial}")),
                _ => None,
            },
            "Event" => number("_flag")?.map(|flag| if flag == 0 { "unset" } else { "set" }.to_owned()),
            _ => match (number("_state")?, number("_count")?, number("_parties")?) {
                (Some(BARRIER_BROKEN), _, _) => Some("broken".to_owned()),
                (Some(state), Some(count), Some(parties)) => {
                    Some(format!("waiters={}/{parties}", if state == 0 { count } else { 0 }))
                }
                _ => None,
            },
        })
    }

    /// An attribute that is a number or a truth value.
    fn number_attribute(&self, object: u64, of: &TypeInfo, name: &str) -> Result<Option<i128>, ReadError> {
        let Some(value) = self.attribute(object, of, name)? else { return Ok(None) };
        let is_number = self.objects.flags_of(value)?;
        let is_number = is_number.contains(TypeFlags::INT) || is_number.contains(TypeFlags::PLAIN_INT);
        if is_number { self.objects.small_int(value) } else { Ok(None) }
    }

    /// An attribute that is private to its class, whose name 2.7 has put the class's before.
    fn private(&self, object: u64, of: &TypeInfo, class: &str, name: &str) -> Result<Option<u64>, ReadError> {
        match self.is_python2() {
            true => self.attribute(object, of, &format!("_{class}__{name}")),
            false => self.attribute(object, of, &format!("_{name}")),
        }
    }

    /// `<Condition(LOCK, WAITERS)>`.
    fn condition(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let lock = self.private(object, of, "Condition", "lock")?;
        let waiters = self.private(object, of, "Condition", "waiters")?;
        let (Some(lock), Some(waiters)) = (lock, waiters) else { return Ok(false) };
        let count = match self.objects.flags_of(waiters)?.contains(TypeFlags::LIST) {
            true => self.objects.list_items(waiters, 0)?.1,
            false => self.deque_length(waiters)?,
        };
        self.nested(object, "<Condition(", &format!(", {count})>"), "...", |writer| {
            writer.value(lock);
            Ok(())
        })?;
        Ok(true)
    }

    /// `<Thread(NAME, started daemon IDENT)>`.
    fn thread(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let name = self.private(object, of, "Thread", "name")?;
        let Some(name) = name.and_then(|name| self.objects.text_or_none(name, NAME_LIMIT)) else { return Ok(false) };
        let started = self.private(object, of, "Thread", "started")?;
        let has_started = match started {
            Some(event) => {
                let event_type = self.type_of(event)?;
                let flag = self.private(event, &event_type, "Event", "flag")?;
                flag.map(|flag| self.objects.small_int(flag)).transpose()?.flatten() == Some(1)
            }
            None => false,
        };
        let is_daemon = self.private(object, of, "Thread", "daemonic")?;
        let is_daemon = is_daemon.map(|flag| self.objects.small_int(flag)).transpose()?.flatten() == Some(1);
        let mut status = match (self.has_stopped(object, of, has_started)?, has_started) {
            (true, _) => "stopped".to_owned(),
            (false, true) => "started".to_owned(),
            (false, false) => "initial".to_owned(),
        };
        if is_daemon {
            status.push_str(" daemon");
        }
        if let Some(ident) = self.private(object, of, "Thread", "ident")?
            && self.type_of(ident)?.name != "NoneType"
            && let Some(ident) = self.objects.small_int(ident)?
        {
            status.push_str(&format!(" {ident}"));
        }
        self.plain(&format!("<{}(", of.name));
        self.plain(&name);
        self.plain(&format!(", {status})>"));
        Ok(true)
    }

    /// Whether a thread has ended: by its handle (3.13+), or else as it says itself, or because the lock is free that
    /// is let go at its end (3.4 to 3.12).
    fn has_stopped(&self, thread: u64, of: &TypeInfo, has_started: bool) -> Result<bool, ReadError> {
        let handle = match self.attribute(thread, of, "_handle")? {
            None => self.attribute(thread, of, "_os_thread_handle")?,
            handle => handle,
        };
        if let Some(handle) = handle.filter(|_| self.is_since(3, 13)) {
            return Ok(self.objects.byte(self.field(handle, 0)?, HANDLE_IS_EXITING)? == 1);
        }
        let says_so = match self.is_python2() {
            true => self.number_attribute(thread, of, "_Thread__stopped")?,
            false => self.number_attribute(thread, of, "_is_stopped")?,
        };
        if says_so == Some(1) {
            return Ok(true);
        }
        match self.attribute(thread, of, "_tstate_lock")? {
            Some(lock) if has_started && self.type_of(lock)?.name == "_thread.lock" => Ok(!self.is_lock_taken(lock)?),
            _ => Ok(false),
        }
    }

    /// `<Future at 0x… state=finished returned int>`.
    fn future(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let state = self.attribute(object, of, "_state")?;
        let state = state.and_then(|state| self.objects.text_or_none(state, NAME_LIMIT));
        let word = match state.as_deref() {
            Some("PENDING") => "pending",
            Some("RUNNING") => "running",
            Some("CANCELLED" | "CANCELLED_AND_NOTIFIED") => "cancelled",
            Some("FINISHED") => "finished",
            _ => return Ok(false),
        };
        let mut text = format!("<{} at {object:#x} state={word}", of.name);
        if word == "finished" {
            let of_attribute = |name: &str| {
                let value = self.attribute(object, of, name)?;
                value.map(|value| self.type_of(value)).transpose()
            };
            match (of_attribute("_exception")?, of_attribute("_result")?) {
                (Some(raised), _) if raised.name != "NoneType" => {
                    text.push_str(&format!(" raised {}", short_name(&raised)));
                }
                (_, Some(result)) => text.push_str(&format!(" returned {}", short_name(&result))),
                _ => {}
            }
        }
        self.plain(&format!("{text}>"));
        Ok(true)
    }

    /// `<_RLock owner='MainThread' count=1>`: the name is looked up in `threading._active`, by the owner's number.
    fn python2_rlock(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let owner = self.attribute(object, of, "_RLock__owner")?;
        let count = self.number_attribute(object, of, "_RLock__count")?;
        let (Some(owner), Some(count)) = (owner, count) else { return Ok(false) };
        self.plain(&format!("<{} owner=", of.name));
        match self.python2_thread_name(of, owner)? {
            Some(name) => self.value(name),
            None => self.value(owner),
        }
        self.plain(&format!(" count={count}>"));
        Ok(true)
    }

    fn python2_thread_name(&self, of: &TypeInfo, owner: u64) -> Result<Option<u64>, ReadError> {
        let Some(known) = self.printer.repr_owner(of)? else { return Ok(None) };
        // `func_globals`, the second field of a `PyFunctionObject`: the names of the module `threading`.
        let globals = self.field(known.function, 1)?;
        let Some(active) = self.objects.find_in_dict(globals, "_active")? else { return Ok(None) };
        let number = self.objects.small_int(owner).ok().flatten();
        for (ident, thread) in self.objects.dict_items(active)?.take(self.limits.items.max(1000)) {
            if number.is_some() && self.objects.small_int(ident)? == number {
                let thread_type = self.type_of(thread)?;
                return self.attribute(thread, &thread_type, "_Thread__name");
            }
        }
        Ok(None)
    }

    /// `<Queue size=3 maxsize=10 unfinished_tasks=3 queue=deque([1, 2, 3])>` of the classes of `queue` (3.x), which
    /// have no `__repr__`; `false` for all others.
    pub(super) fn queue(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let mut is_queue = false;
        for base in self.objects.bases(of.address)? {
            let base = self.printer.type_info(base)?;
            is_queue |= base.name == "Queue" && self.objects.type_module(&base)?.as_deref() == Some("queue");
        }
        if !is_queue {
            return Ok(false);
        }
        let number = |name: &str| self.number_attribute(object, of, name);
        let (most, unfinished) = (number("maxsize")?, number("unfinished_tasks")?);
        let (Some(most), Some(unfinished), Some(held)) = (most, unfinished, self.attribute(object, of, "queue")?)
        else {
            return Ok(false);
        };
        let size = match self.objects.flags_of(held)?.contains(TypeFlags::LIST) {
            true => self.objects.list_items(held, 0)?.1,
            false => self.deque_length(held)?,
        };
        let open = format!("<{} size={size} maxsize={most} unfinished_tasks={unfinished} queue=", of.name);
        self.nested(object, &open, ">", "<...>", |writer| {
            writer.value(held);
            Ok(())
        })?;
        Ok(true)
    }

    /// How many items a `deque` has.
    fn deque_length(&self, deque: u64) -> Result<u64, ReadError> {
        if self.type_of(deque)?.name != "collections.deque" {
            return Err(ReadError::implausible(deque));
        }
        self.field(deque, if self.is_python2() { 4 } else { 0 })
    }
}
