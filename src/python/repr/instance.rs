//! Instances of classes: exceptions, what the program's own classes hold, and what Python generates a `__repr__` for.

use super::builtin::short_name;
use super::{Writer, Written};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo};

impl Writer<'_, '_> {
    /// An object of no kind that is known: by its class's `__repr__` where that is known, else by its attributes.
    pub(super) fn instance(&mut self, object: u64, of: &TypeInfo) -> Written {
        if self.library_value(object, of)? {
            return Ok(());
        }
        if of.name.ends_with("Queue") && self.queue(object, of)? {
            return Ok(());
        }
        let attributes = self.attributes_and_slots(object, of)?;
        if !attributes.is_empty() && of.flags.contains(TypeFlags::HEAP_TYPE) {
            let name = short_name(of).to_owned();
            return self.nested(object, "<", ">", "<...>", |writer| {
                writer.plain(&name);
                writer.attributes(object, of, false)
            });
        }
        // `object.__repr__` says "object"; a class with another one might say anything.
        let word = if self.has_default_repr(of)? { " object" } else { "" };
        self.plain("<");
        self.qualified_type_name(of)?;
        self.plain(&format!("{word} at {object:#x}>"));
        Ok(())
    }

    /// ` name=value` for each attribute, and for `after_value` in the middle of something else: then nothing is said of
    /// their number.
    pub(super) fn attributes(&mut self, object: u64, of: &TypeInfo, after_value: bool) -> Written {
        let attributes = self.attributes_and_slots(object, of)?;
        let count = attributes.len();
        for (name, value) in attributes.into_iter().take(self.limits.items) {
            self.plain(" ");
            self.name(name);
            self.plain("=");
            self.named_value(name, value);
        }
        if count > self.limits.items && !after_value {
            self.plain(" …");
        }
        Ok(())
    }

    /// Names and values of what an instance holds, one more than are shown: `__slots__` first, then `__dict__`.
    fn attributes_and_slots(&self, object: u64, of: &TypeInfo) -> Result<Vec<(u64, u64)>, ReadError> {
        let mut attributes = Vec::new();
        for slot in self.printer.slots(of)?.iter() {
            let value = self.objects.memory().read_u64(object.wrapping_add(slot.offset))?;
            if value != 0 {
                attributes.push((slot.name, value));
            }
        }
        if let Some(items) = self.objects.attributes_of(object, of)? {
            attributes.extend(items.take(self.limits.items + 1));
        }
        Ok(attributes)
    }

    /// The attribute `name` of an instance, in a slot or in its dict.
    pub(super) fn attribute(&self, object: u64, of: &TypeInfo, name: &str) -> Result<Option<u64>, ReadError> {
        for slot in self.printer.slots(of)?.iter() {
            if self.objects.text_or_none(slot.name, name.len() + 1).as_deref() == Some(name) {
                let value = self.objects.memory().read_u64(object.wrapping_add(slot.offset))?;
                return Ok((value != 0).then_some(value));
            }
        }
        self.objects.attribute_of(object, of, name)
    }

    /// Whether a type's `__repr__` is that of `object`.
    fn has_default_repr(&self, of: &TypeInfo) -> Result<bool, ReadError> {
        let bases = self.objects.bases(of.address)?;
        let Some(root) = bases.last() else { return Ok(false) };
        Ok(self.printer.type_info(*root)?.repr == of.repr)
    }

    /// `PyBaseExceptionObject` (pyerrors.h): dict, args. Up to 3.6 one argument has a comma behind it.
    pub(super) fn exception(&mut self, object: u64, of: &TypeInfo) -> Written {
        let arguments = self.field(object, 1)?;
        let name = short_name(of).to_owned();
        if arguments == 0 {
            self.plain(&format!("{name}()"));
            return Ok(());
        }
        let (items, total) = self.objects.tuple_items(arguments, self.limits.items)?;
        let close = if total == 1 && !self.is_since(3, 7) { ",)" } else { ")" };
        self.sequence(object, &items, total, &format!("{name}("), close, &format!("{name}(...)"))
    }

    /// 2.7 `PyInstanceObject` (classobject.h): class, dict.
    pub(super) fn old_instance(&mut self, object: u64) -> Written {
        let (class, dict) = (self.field(object, 0)?, self.field(object, 1)?);
        if self.objects.dict_length(dict)? == 0 {
            self.plain("<");
            self.old_class_name(class)?;
            self.plain(&format!(" instance at {object:#x}>"));
            return Ok(());
        }
        self.nested(object, "<", ">", "<...>", |writer| {
            writer.name(writer.field(class, 2)?);
            for (name, value) in writer.objects.dict_items(dict)?.take(writer.limits.items) {
                writer.plain(" ");
                writer.name(name);
                writer.plain("=");
                writer.named_value(name, value);
            }
            if writer.objects.dict_length(dict)? > writer.limits.items as u64 {
                writer.plain(" …");
            }
            Ok(())
        })
    }
}
