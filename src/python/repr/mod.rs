//! `repr` from memory: what Python would print for a value, found without running any of its code.
//!
//! A value whose `__repr__` is the interpreter's own, or one of the standard library that this module knows, is written
//! as Python writes it. Everything else is shown by what it holds: `<Name a=1 b='x'>`, and where that is not known
//! either, `<module.Name at 0x…>`. The result is one line, with control characters escaped as Python does, and bounded
//! by [`Limits`]: `…` stands where something was left out, and a container inside of itself ends as it does in Python.
//!
//! Limits: a `__repr__` written in Python is never run. A value that changes while it is read is shown as a mixture;
//! what cannot be read is `<unreadable at 0x…>`.

mod array;
mod array_values;
mod builtin;
mod callable;
mod instance;
mod kind;
mod library;
mod number;
mod output;
mod secret;
mod threading;
mod time;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use kind::Kind;
use library::ReprOwner;
use output::Output;
pub(crate) use secret::is_secret_name;

use crate::memory::ReadError;
use crate::python::object::{ObjectReader, Slot, TypeFlags, TypeInfo};

/// How many bases of a type are looked at.
const BASES_LIMIT: usize = 64;

/// How deep containers may be shown, whatever the limits say: our own stack is not endless.
const DEPTH_LIMIT: usize = 50;

/// Bytes of the texts of all values that one printer prints; each after them is `…`. Hundreds of frames may each have a
/// value that is as long as a text may be.
const MOST_PRINTED: usize = 8 << 20;

/// How much of a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Characters of the whole text.
    pub length: usize,
    /// Items of each container, attributes of each instance.
    pub items: usize,
    /// Containers inside of each other.
    pub depth: usize,
    /// Values too whose names say that they are secrets ([`is_secret_name`]); else `…` stands for each.
    pub secrets: bool,
}

impl Limits {
    /// What the option `-l`, given so many times, asks for; without secrets.
    pub(crate) fn of_level(level: u8) -> Self {
        match level {
            0 | 1 => Self { length: 160, items: 16, depth: 4, secrets: false },
            2 => Self { length: 1600, items: 100, depth: 8, secrets: false },
            _ => Self { length: 100_000, items: 10_000, depth: 32, secrets: false },
        }
    }
}

/// What Python's `repr` says of the object at `address`, as far as memory tells; see the module.
#[cfg(test)]
pub(crate) fn repr(objects: ObjectReader<'_>, address: u64, limits: &Limits) -> String {
    Printer::new(objects).repr(address, limits)
}

/// Prints many values of one moment; remembers their types, which must stay what they are as long as it is used.
pub(crate) struct Printer<'target> {
    objects: ObjectReader<'target>,
    /// How many more bytes of text there may be.
    left: Cell<usize>,
    types: RefCell<HashMap<u64, Rc<TypeInfo>>>,
    slots: RefCell<HashMap<u64, Rc<[Slot]>>>,
    repr_owners: RefCell<HashMap<u64, Option<Rc<ReprOwner>>>>,
}

impl<'target> Printer<'target> {
    /// A printer of objects that `objects` reads.
    pub(crate) fn new(objects: ObjectReader<'target>) -> Self {
        let left = Cell::new(MOST_PRINTED);
        Self { objects, left, types: RefCell::default(), slots: RefCell::default(), repr_owners: RefCell::default() }
    }

    /// What Python's `repr` says of the object at `address`, as far as memory tells; see the module.
    pub(crate) fn repr(&self, address: u64, limits: &Limits) -> String {
        let left = self.left.get();
        if left == 0 {
            return "…".to_owned();
        }
        let limits = Limits { length: limits.length.min(left), ..*limits };
        let mut writer = Writer {
            printer: self,
            objects: self.objects,
            limits,
            output: Output::new(limits.length),
            path: Vec::new(),
            inside_of_itself: false,
        };
        writer.value(address);
        let text = writer.output.finish();
        self.left.set(left.saturating_sub(text.len()));
        text
    }

    fn type_info(&self, address: u64) -> Result<Rc<TypeInfo>, ReadError> {
        if let Some(known) = self.types.borrow().get(&address) {
            return Ok(Rc::clone(known));
        }
        let info = Rc::new(self.objects.type_info(address)?);
        self.types.borrow_mut().insert(address, Rc::clone(&info));
        Ok(info)
    }

    /// The `__slots__` of a type and its bases.
    fn slots(&self, of: &TypeInfo) -> Result<Rc<[Slot]>, ReadError> {
        if let Some(known) = self.slots.borrow().get(&of.address) {
            return Ok(Rc::clone(known));
        }
        let slots: Rc<[Slot]> = self.objects.slots(of)?.into();
        self.slots.borrow_mut().insert(of.address, Rc::clone(&slots));
        Ok(slots)
    }

    /// Whose `__repr__` a type has.
    fn repr_owner(&self, of: &TypeInfo) -> Result<Option<Rc<ReprOwner>>, ReadError> {
        if let Some(known) = self.repr_owners.borrow().get(&of.address) {
            return Ok(known.clone());
        }
        let owner = self.find_repr_owner(of)?.map(Rc::new);
        self.repr_owners.borrow_mut().insert(of.address, owner.clone());
        Ok(owner)
    }
}

type Written = Result<(), ReadError>;

/// Writes one value.
struct Writer<'printer, 'target> {
    printer: &'printer Printer<'target>,
    objects: ObjectReader<'target>,
    limits: Limits,
    output: Output,
    /// The containers that are being written, the outermost first.
    path: Vec<u64>,
    /// The next container is a part of the one being written: the same object, seen as its base has it.
    inside_of_itself: bool,
}

impl Writer<'_, '_> {
    /// Any object.
    fn value(&mut self, object: u64) {
        if self.output.is_full() {
            return;
        }
        if object == 0 {
            self.plain("<NULL>");
        } else if self.known_value(object).is_err() {
            self.plain(&format!("<unreadable at {object:#x}>"));
        }
    }

    fn known_value(&mut self, object: u64) -> Written {
        let of = self.type_of(object)?;
        let Some((kind, base)) = self.kind_of(&of)? else { return self.instance(object, &of) };
        if base.repr == of.repr {
            return self.builtin(kind, object, &of);
        }
        if self.library_value(object, &of)? {
            return Ok(());
        }
        if kind == Kind::Exception && self.printer.repr_owner(&of)?.is_none() {
            // Written in C, and the arguments say it all the same: groups of exceptions (3.14+).
            return self.builtin(kind, object, &of);
        }
        // A class of the program's that changes `__repr__`: what the built-in part of the object holds, then the rest.
        self.nested(object, "<", ">", "<...>", |writer| {
            writer.plain(&of.name);
            writer.plain(" ");
            writer.inside_of_itself = true;
            writer.builtin(kind, object, &base)?;
            writer.inside_of_itself = false;
            writer.attributes(object, &of, true)
        })
    }

    /// What kind of object a type makes: by the first of the type and its bases that is written in C and known here.
    /// That base is returned too.
    fn kind_of(&self, of: &Rc<TypeInfo>) -> Result<Option<(Kind, Rc<TypeInfo>)>, ReadError> {
        let mut base = Rc::clone(of);
        for _ in 0..BASES_LIMIT {
            if let Some(kind) = Kind::of(&base) {
                return Ok(Some((kind, base)));
            }
            if base.base == 0 {
                break;
            }
            base = self.printer.type_info(base.base)?;
        }
        Ok(None)
    }

    fn type_of(&self, object: u64) -> Result<Rc<TypeInfo>, ReadError> {
        self.printer.type_info(self.objects.type_of(object)?)
    }

    fn plain(&mut self, text: &str) {
        self.output.plain(text);
    }

    /// The value under the name `name`, an object.
    fn named_value(&mut self, name: u64, value: u64) {
        if !self.limits.secrets && self.is_name_of_secret(name) {
            self.plain("…");
        } else {
            self.value(value);
        }
    }

    /// Whether a key or name is text, of characters or bytes, that says that what it names is a secret.
    fn is_name_of_secret(&self, name: u64) -> bool {
        let Ok(of) = self.type_of(name) else { return false };
        let text = if of.flags.contains(TypeFlags::BYTES) {
            let bytes = self.objects.bytes(name, secret::NAME_LIMIT).ok();
            bytes.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
        } else {
            let is_text = of.flags.contains(TypeFlags::TEXT);
            is_text.then(|| self.objects.text(name, secret::NAME_LIMIT).ok()).flatten().map(|text| text.text)
        };
        text.is_some_and(|text| is_secret_name(&text))
    }

    /// The text of a `str`, for where it is written without quotes: names.
    fn name(&mut self, object: u64) {
        let text = self.objects.text_or_none(object, self.output.left().saturating_add(1));
        self.plain(text.as_deref().unwrap_or("?"));
    }

    /// `open`, what `body` writes, `close`; or, for an object that is being written already, `again`, and below the
    /// deepest level `…`.
    fn nested(
        &mut self,
        object: u64,
        open: &str,
        close: &str,
        again: &str,
        body: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        let is_own_part = std::mem::take(&mut self.inside_of_itself) && self.path.last() == Some(&object);
        if self.path.contains(&object) && !is_own_part {
            self.plain(again);
            return Ok(());
        }
        self.plain(open);
        if self.path.len() >= self.limits.depth.min(DEPTH_LIMIT) {
            self.plain("…");
        } else if !self.output.is_full() {
            self.path.push(object);
            let written = body(self);
            self.path.pop();
            written?;
        }
        self.plain(close);
        Ok(())
    }

    /// Some of `total` things, with commas between them and `…` for the rest.
    fn separated<T>(&mut self, things: impl IntoIterator<Item = T>, total: u64, mut write: impl FnMut(&mut Self, T)) {
        let mut count = 0;
        for thing in things {
            if count > 0 {
                self.plain(", ");
            }
            if count == self.limits.items as u64 || self.output.is_full() {
                self.plain("…");
                return;
            }
            write(self, thing);
            count += 1;
        }
        if count < total && count == self.limits.items as u64 {
            self.plain(if count > 0 { ", …" } else { "…" });
        }
    }

    /// The pointer in the word `index` after an object's head.
    fn field(&self, object: u64, index: u32) -> Result<u64, ReadError> {
        self.objects.pointer(object, self.objects.layout().object.head_size + 8 * index)
    }

    fn is_python2(&self) -> bool {
        self.objects.layout().version.major == 2
    }

    /// Whether the target's version is this one or later.
    fn is_since(&self, major: u8, minor: u8) -> bool {
        self.objects.layout().version.feature() >= (major, minor)
    }
}

#[cfg(test)]
mod tests;
