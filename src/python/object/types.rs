//! What a type says about the objects that have it.

use super::{ObjectReader, Text, TypeFlags};
use crate::memory::ReadError;

/// How long the name of a type may be, in bytes; the rest is cut.
const NAME_LIMIT: usize = 512;

/// More than the size of a `PyTypeObject` in any version.
const TYPE_SIZE_LIMIT: u32 = 1024;

/// How many bases of a type are looked at.
const BASES_LIMIT: usize = 64;

/// A type, as far as readers of its objects need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeInfo {
    /// The `PyTypeObject`.
    pub address: u64,
    /// `tp_name`: for a type written in C often with its module (`collections.deque`), for a class without.
    pub name: String,
    /// `tp_flags`.
    pub flags: TypeFlags,
    /// `tp_basicsize`, bytes.
    pub basic_size: i64,
    /// `tp_itemsize`, bytes.
    pub item_size: i64,
    /// `tp_base`, 0 for `object`.
    pub base: u64,
    /// `tp_dictoffset`.
    pub dict_offset: i64,
    /// `tp_repr`, the function, which a class without a `__repr__` of its own shares with its base.
    pub repr: u64,
}

impl ObjectReader<'_> {
    /// The type of an object.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn type_of(&self, object: u64) -> Result<u64, ReadError> {
        self.pointer(object, self.layout.object.ob_type)
    }

    /// `tp_flags` of an object's type.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn flags_of(&self, object: u64) -> Result<TypeFlags, ReadError> {
        self.type_flags(self.type_of(object)?)
    }

    /// `tp_flags` of a type.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn type_flags(&self, type_object: u64) -> Result<TypeFlags, ReadError> {
        // Above the low 4 bytes there is nothing, and on Windows a `long` has no more.
        let flags = self.int(type_object, self.layout.object.type_flags)?;
        Ok(TypeFlags(u64::from(flags.cast_unsigned())))
    }

    /// `tp_name` of an object's type, as in [`TypeInfo::name`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn type_name(&self, object: u64) -> Result<String, ReadError> {
        self.name_of_type(self.type_of(object)?)
    }

    /// `tp_name` of a type.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn name_of_type(&self, type_object: u64) -> Result<String, ReadError> {
        self.c_string(self.pointer(type_object, self.layout.object.type_name)?, NAME_LIMIT)
    }

    /// Whether the object is a code object, which is what `f_executable` of a Python frame points to.
    pub(crate) fn is_code(&self, object: u64) -> bool {
        self.type_name(object).is_ok_and(|name| name == "code")
    }

    /// Whether the object is a type.
    pub(crate) fn is_type(&self, object: u64) -> bool {
        self.flags_of(object).is_ok_and(|flags| flags.contains(TypeFlags::TYPE))
    }

    /// Everything about a type in one go.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn type_info(&self, type_object: u64) -> Result<TypeInfo, ReadError> {
        let layout = &self.layout.object;
        // `tp_repr` has stood eight words behind `tp_name` in every version (object.h): basicsize, itemsize, dealloc, a
        // word that changed its use, getattr, setattr, and another such word come between.
        const REPR_AFTER_NAME: u32 = 64;
        // The furthest of the fields; what lies before it is read with it, in one go.
        let length = layout.type_dict_offset.max(layout.type_base).min(TYPE_SIZE_LIMIT) + 8;
        let bytes = self.memory.read_bytes(type_object, u64::from(length), length as usize)?;
        let word = |offset: u32| {
            let word = bytes.get(offset as usize..)?.first_chunk::<8>()?;
            Some(u64::from_ne_bytes(*word))
        };
        let word = |offset| word(offset).ok_or_else(|| ReadError::implausible(type_object));
        Ok(TypeInfo {
            address: type_object,
            name: self.c_string(word(layout.type_name)?, NAME_LIMIT)?,
            flags: self.type_flags(type_object)?,
            basic_size: word(layout.type_basic_size)?.cast_signed(),
            item_size: word(layout.type_item_size)?.cast_signed(),
            base: word(layout.type_base)?,
            dict_offset: word(layout.type_dict_offset)?.cast_signed(),
            repr: word(layout.type_name + REPR_AFTER_NAME)?,
        })
    }

    /// The method resolution order of a type, itself first: `tp_mro`, and where that is not there the chain of
    /// `tp_base`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn bases(&self, type_object: u64) -> Result<Vec<u64>, ReadError> {
        let order = self.pointer(type_object, self.layout.object.type_mro)?;
        if order != 0 {
            return Ok(self.tuple_items(order, BASES_LIMIT)?.0);
        }
        let mut bases = vec![type_object];
        let mut next = self.pointer(type_object, self.layout.object.type_base)?;
        while next != 0 && bases.len() < BASES_LIMIT {
            bases.push(next);
            next = self.pointer(next, self.layout.object.type_base)?;
        }
        Ok(bases)
    }

    /// `__qualname__` of a type: for a class as it is kept (2.7: the name), for a type written in C the name without
    /// its module.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn type_qualname(&self, type_object: &TypeInfo) -> Result<Text, ReadError> {
        match self.layout.object.type_qualname {
            Some(offset) if type_object.flags.contains(TypeFlags::HEAP_TYPE) => {
                self.text(self.pointer(type_object.address, offset)?, NAME_LIMIT)
            }
            _ => {
                let name = &type_object.name;
                let text = name.rsplit_once('.').map_or(name.as_str(), |(_, last)| last).to_owned();
                Ok(Text { text, truncated: false })
            }
        }
    }

    /// `__module__` of a type; `None` where it has none that is text.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub(crate) fn type_module(&self, type_object: &TypeInfo) -> Result<Option<String>, ReadError> {
        if !type_object.flags.contains(TypeFlags::HEAP_TYPE) {
            let module = type_object.name.rsplit_once('.').map(|(module, _)| module.to_owned());
            return Ok(Some(module.unwrap_or_else(|| self.builtins_name().to_owned())));
        }
        let Some(module) = self.type_attribute(type_object.address, "__module__")? else { return Ok(None) };
        Ok(self.text_or_none(module, NAME_LIMIT))
    }

    /// What the module of the built-in types is called.
    pub(crate) fn builtins_name(&self) -> &'static str {
        if self.layout.version.major == 2 { "__builtin__" } else { "builtins" }
    }

    /// What `tp_dict` of this type (not of its bases) holds under `name`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn type_attribute(&self, type_object: u64, name: &str) -> Result<Option<u64>, ReadError> {
        match self.pointer(type_object, self.layout.object.type_dict)? {
            0 => Ok(None),
            dict => self.find_in_dict(dict, name),
        }
    }

    /// The text of an object if it is text: a `str`, in 2.7 either kind.
    pub(crate) fn text_or_none(&self, object: u64, limit: usize) -> Option<String> {
        let flags = self.flags_of(object).ok()?;
        let python2 = self.layout.version.major == 2;
        let is_text = flags.contains(TypeFlags::TEXT) || python2 && flags.contains(TypeFlags::BYTES);
        is_text.then(|| self.text(object, limit).ok().map(|text| text.text)).flatten()
    }

    /// The bytes up to a zero, cut at `limit` or a little later, as UTF-8.
    pub(crate) fn c_string(&self, address: u64, limit: usize) -> Result<String, ReadError> {
        let mut bytes = Vec::new();
        let mut next = address;
        // In steps that end where a page may end, so that what lies behind the zero need not be mapped.
        while bytes.len() < limit {
            let step = 64 - next % 64;
            let part = self.memory.read_bytes(next, step, 64)?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&part[..end]);
                break;
            }
            bytes.extend_from_slice(&part);
            next = next.wrapping_add(step);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
