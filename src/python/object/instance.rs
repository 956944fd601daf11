//! The attributes of an instance: its `__dict__` wherever the version keeps it, and its `__slots__`.
//!
//! Limits: attributes that a descriptor computes are not looked at; no code runs in the target.

use super::{DictItems, ObjectReader, TypeFlags, TypeInfo};
use crate::memory::ReadError;
use crate::python::layout::ManagedDict;

/// Where the attributes of one instance are.
enum Attributes {
    None,
    Dict(u64),
    /// A `PyDictValues`, with the keys in the class.
    Shared(u64),
}

impl<'target> ObjectReader<'target> {
    /// The value of the attribute `name`, an ASCII text, in an instance's dict.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub(crate) fn instance_attribute(&self, object: u64, name: &str) -> Result<Option<u64>, ReadError> {
        let type_info = self.type_info(self.type_of(object)?)?;
        self.attribute_of(object, &type_info, name)
    }

    /// The attributes in an instance's dict in their order, as addresses of name and value; `None` when it has no dict
    /// (yet).
    ///
    /// # Errors
    /// When memory cannot be read.
    #[cfg(test)]
    pub(crate) fn instance_attributes(&self, object: u64) -> Result<Option<DictItems<'target>>, ReadError> {
        let type_info = self.type_info(self.type_of(object)?)?;
        self.attributes_of(object, &type_info)
    }

    /// As [`ObjectReader::instance_attribute`], for an object whose type is known.
    pub(crate) fn attribute_of(&self, object: u64, of: &TypeInfo, name: &str) -> Result<Option<u64>, ReadError> {
        let Some(mut items) = self.attributes_of(object, of)? else { return Ok(None) };
        Ok(self.find_among(&mut items, name))
    }

    /// The attributes in an instance's dict, for an object whose type is known; `None` when it has no dict (yet).
    pub(crate) fn attributes_of(&self, object: u64, of: &TypeInfo) -> Result<Option<DictItems<'target>>, ReadError> {
        match self.place_of_attributes(object, of)? {
            Attributes::None => Ok(None),
            Attributes::Dict(dict) => self.dict_items(dict).map(Some),
            Attributes::Shared(values) => {
                let Some(offset) = self.layout.object.type_cached_keys else { return Ok(None) };
                match self.pointer(of.address, offset)? {
                    0 => Ok(None),
                    keys => self.shared_items(keys, values).map(Some),
                }
            }
        }
    }

    fn place_of_attributes(&self, object: u64, of: &TypeInfo) -> Result<Attributes, ReadError> {
        let before = |offset: i32| self.memory.read_u64(object.wrapping_add_signed(i64::from(offset)));
        let dict_or_none = |dict| if dict == 0 { Attributes::None } else { Attributes::Dict(dict) };
        if of.flags.contains(TypeFlags::MANAGED_DICT) {
            match self.layout.object.managed_dict {
                // The bit means nothing in older versions.
                ManagedDict::None => {}
                ManagedDict::ValuesAndDict { values, dict } => {
                    return Ok(match before(values)? {
                        0 => dict_or_none(before(dict)?),
                        values => Attributes::Shared(values),
                    });
                }
                ManagedDict::Tagged { offset } => {
                    let word = before(offset)?;
                    return Ok(if word & 1 == 1 {
                        Attributes::Shared(word.wrapping_add(1))
                    } else {
                        dict_or_none(word)
                    });
                }
                ManagedDict::Inline { dict } => {
                    let dict = before(dict)?;
                    if dict != 0 || !of.flags.contains(TypeFlags::INLINE_VALUES) {
                        return Ok(dict_or_none(dict));
                    }
                    let values = object.wrapping_add_signed(of.basic_size);
                    let valid = self.layout.object.dict_values_valid.unwrap_or(0);
                    return Ok(if self.byte(values, valid)? == 0 {
                        Attributes::None
                    } else {
                        Attributes::Shared(values)
                    });
                }
            }
        }
        let offset = match of.dict_offset {
            0 => return Ok(Attributes::None),
            offset @ 1.. => offset,
            from_end => {
                // Counted from the end of an object of variable size (_PyObject_GetDictPtr, Objects/object.c).
                let items = self.signed(object, self.layout.object.ob_size)?.wrapping_abs();
                let size = items.wrapping_mul(of.item_size).wrapping_add(of.basic_size);
                (size.wrapping_add(7) & !7).wrapping_add(from_end)
            }
        };
        Ok(dict_or_none(self.memory.read_u64(object.wrapping_add_signed(offset))?))
    }
}

/// A member of `__slots__`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The name, a `str`.
    pub(crate) name: u64,
    /// Where in an instance its value is, a pointer that may be 0.
    pub(crate) offset: u64,
}

/// `T_OBJECT_EX` (structmember.h).
const OBJECT_OR_ERROR: i32 = 16;

/// How many slots of one class are taken.
const SLOTS_LIMIT: usize = 256;

/// How many attributes of one class are looked at.
const CLASS_ATTRIBUTES_LIMIT: usize = 4096;

impl ObjectReader<'_> {
    /// Where in its objects a type written in C keeps the object that it shows as an attribute, by a `PyMemberDef`
    /// {name, type, offset}. `None` where the attribute is not there or is made by a function.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub(crate) fn object_member(&self, type_object: u64, name: &str) -> Result<Option<u64>, ReadError> {
        const OBJECT: i32 = 6;
        let Some(member) = self.type_attribute(type_object, name)? else { return Ok(None) };
        if self.type_name(member)? != "member_descriptor" {
            return Ok(None);
        }
        let definition = self.pointer(member, self.member_definition())?;
        let is_object = [OBJECT, OBJECT_OR_ERROR].contains(&self.int(definition, 8)?);
        Ok(if is_object { Some(self.pointer(definition, 16)?) } else { None })
    }

    /// `PyMemberDescrObject.d_member` (descrobject.h): after the head, the type, the name and, from 3.3 on, the
    /// qualified name.
    fn member_definition(&self) -> u32 {
        self.layout.object.head_size + if self.layout.version.major == 2 { 16 } else { 24 }
    }

    /// The `__slots__` of a type and its bases, in the order of the instance's memory.
    ///
    /// They are the members of the type's dict that are `PyMemberDescrObject`s (descrobject.h) and whose `PyMemberDef`
    /// {name, type, offset} says that they hold an object.
    pub(crate) fn slots(&self, of: &TypeInfo) -> Result<Vec<Slot>, ReadError> {
        let member = self.member_definition();
        let mut slots = Vec::new();
        for base in self.bases(of.address)? {
            if !self.type_flags(base)?.contains(TypeFlags::HEAP_TYPE) {
                continue;
            }
            let dict = self.pointer(base, self.layout.object.type_dict)?;
            if dict == 0 {
                continue;
            }
            let mut member_type = None;
            for (name, value) in self.dict_items(dict)?.take(CLASS_ATTRIBUTES_LIMIT) {
                let value_type = self.type_of(value)?;
                let is_member = match member_type {
                    Some(known) => known == value_type,
                    None => self.name_of_type(value_type)? == "member_descriptor",
                };
                if !is_member || slots.len() >= SLOTS_LIMIT {
                    continue;
                }
                member_type = Some(value_type);
                let definition = self.pointer(value, member)?;
                if self.int(definition, 8)? == OBJECT_OR_ERROR {
                    slots.push(Slot { name, offset: self.pointer(definition, 16)? });
                }
            }
        }
        slots.sort_by_key(|slot| slot.offset);
        slots.dedup_by_key(|slot| slot.offset);
        Ok(slots)
    }
}
