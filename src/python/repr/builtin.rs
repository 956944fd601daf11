//! The built-in values: numbers, text, containers.

use super::kind::Kind;
use super::{Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo, at_most};

/// More digits of an `int` than this (some 18,000 decimal ones) are not converted: the time for that grows with their
/// square.
const INT_DIGITS_LIMIT: usize = 2000;

/// How many items a container may have to be put into another order before it is shown.
const ORDERED_ITEMS_LIMIT: usize = 10_000;

/// What a `deque` holds.
struct DequeItems {
    /// Addresses of the items that are shown.
    items: Vec<u64>,
    /// How many there are.
    total: u64,
    /// `maxlen`; −1 for none.
    maxlen: i64,
}

impl Writer<'_, '_> {
    /// An object whose memory is that of `kind`; `of` is its type, or the base whose `__repr__` is meant.
    pub(super) fn builtin(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        match kind {
            Kind::None => self.plain("None"),
            Kind::Ellipsis => self.plain("Ellipsis"),
            Kind::NotImplemented => self.plain("NotImplemented"),
            Kind::Bool => {
                let value = self.objects.small_int(object)?;
                self.plain(if value == Some(0) { "False" } else { "True" });
            }
            Kind::Int => return self.int(object, of),
            Kind::Float => {
                let value = f64::from_bits(self.objects.pointer(object, self.objects.layout().object.float_value)?);
                self.plain(&number::float(value));
            }
            Kind::Complex => {
                let parts = [self.field(object, 0)?, self.field(object, 1)?].map(f64::from_bits);
                self.plain(&number::complex(parts[0], parts[1]));
            }
            Kind::Text => return self.text(object, of),
            Kind::Bytes => {
                self.plain("b");
                return self.bytes(object);
            }
            Kind::ByteArray => return self.byte_array(object, of),
            Kind::Tuple => return self.tuple(object),
            Kind::List => {
                let (items, total) = self.objects.list_items(object, self.limits.items)?;
                return self.sequence(object, &items, total, "[", "]", "[...]");
            }
            Kind::Dict => return self.dict(object, "{", "}", "{...}"),
            Kind::FrozenDict => {
                let name = short_name(of);
                if self.objects.dict_length(object)? == 0 {
                    self.plain(&format!("{name}()"));
                    return Ok(());
                }
                return self.dict(object, &format!("{name}({{"), "})", &format!("{name}({{...}})"));
            }
            Kind::Set | Kind::FrozenSet => return self.set(kind, object, of),
            Kind::Range => return self.range(object),
            Kind::Slice => {
                self.plain("slice(");
                let parts = [self.field(object, 0)?, self.field(object, 1)?, self.field(object, 2)?];
                self.separated(parts, 3, Self::value);
                self.plain(")");
            }
            Kind::Deque => return self.deque(object, of),
            Kind::DefaultDict => return self.default_dict(object, of),
            Kind::OrderedDict => return self.ordered_dict(object, of),
            Kind::DictView => return self.dict_view(object, of),
            Kind::MappingProxy => {
                let mapping = self.field(object, 0)?;
                return self.nested(object, &format!("{}(", short_name(of)), ")", "...", |writer| {
                    writer.value(mapping);
                    Ok(())
                });
            }
            Kind::Namespace => return self.namespace(object, of),
            Kind::Array => return self.array(object),
            Kind::NumpyArray => return self.numpy_array(object, of),
            Kind::NumpyTime => return self.numpy_time(object, of),
            Kind::NumpyBool | Kind::NumpySigned | Kind::NumpyUnsigned | Kind::NumpyFloat => {
                return self.numpy_scalar(kind, object, of);
            }
            Kind::Lock | Kind::RLock | Kind::SimpleQueue => return self.thread_object(kind, object, of),
            Kind::Pattern => return self.pattern(object),
            Kind::Exception => return self.exception(object, of),
            Kind::Date | Kind::DateTime | Kind::Time | Kind::TimeDelta | Kind::TimeZone => {
                return self.time_value(kind, object, of);
            }
            Kind::Decimal => return self.decimal(object, of),
            Kind::OldInstance => return self.old_instance(object),
            Kind::Type
            | Kind::OldClass
            | Kind::Module
            | Kind::Function
            | Kind::Method
            | Kind::BuiltinFunction
            | Kind::MethodDescriptor
            | Kind::SlotWrapper
            | Kind::MemberDescriptor
            | Kind::GetSetDescriptor
            | Kind::MethodWrapper
            | Kind::Partial
            | Kind::Generator
            | Kind::Code
            | Kind::Cell
            | Kind::WeakReference => return self.callable(kind, object, of),
        }
        Ok(())
    }

    fn int(&mut self, object: u64, of: &TypeInfo) -> Written {
        match self.objects.integer(object, INT_DIGITS_LIMIT)? {
            Some(value) => self.plain(&number::integer(&value)),
            None => {
                let name = short_name(of).to_owned();
                self.plain(&format!("<huge {name} at {object:#x}>"));
            }
        }
        if self.is_python2() && of.flags.contains(TypeFlags::INT) {
            self.plain("L");
        }
        Ok(())
    }

    fn text(&mut self, object: u64, of: &TypeInfo) -> Written {
        if self.is_python2() {
            if of.flags.contains(TypeFlags::BYTES) {
                return self.bytes(object);
            }
            self.plain("u");
        }
        // One more than fits, so that the cut shows.
        let text = self.objects.code_points(object, self.output.left().saturating_add(1))?;
        let unicode = !self.is_python2();
        self.output.literal(text.points.iter().copied(), unicode);
        Ok(())
    }

    fn bytes(&mut self, object: u64) -> Written {
        let (bytes, _) = self.objects.bytes(object, self.output.left().saturating_add(1))?;
        self.output.bytes_literal(&bytes);
        Ok(())
    }

    /// `PyByteArrayObject` (bytearrayobject.h): 3.x has `ob_alloc`, `ob_bytes`, `ob_start` after the size; 2.7
    /// `ob_exports`, `ob_alloc`, `ob_bytes`. The same word holds what is wanted.
    fn byte_array(&mut self, object: u64, of: &TypeInfo) -> Written {
        let size = self.objects.size(object)?;
        let wanted = at_most(size, self.output.left().saturating_add(1));
        let bytes = match wanted {
            0 => Vec::new(),
            _ => self.objects.memory().read_bytes(self.field(object, 3)?, wanted as u64, wanted)?,
        };
        // Up to 3.6 this was the name of subclasses too, and up to 3.14 a single quote was escaped in any case.
        let name = if self.is_since(3, 7) { short_name(of) } else { "bytearray" };
        self.plain(&format!("{name}(b"));
        if self.is_since(3, 15) {
            self.output.bytes_literal(&bytes);
        } else {
            self.output.byte_array_literal(&bytes);
        }
        self.plain(")");
        Ok(())
    }

    fn tuple(&mut self, object: u64) -> Written {
        let (items, total) = self.objects.tuple_items(object, self.limits.items)?;
        // Headers, items of dicts, parameters of a query.
        if let ([name, value], 2) = (&items[..], total)
            && self.is_name_of_secret(*name)
        {
            self.pair((*name, *value));
            return Ok(());
        }
        let close = if total == 1 { ",)" } else { ")" };
        self.sequence(object, &items, total, "(", close, "(...)")
    }

    /// Values between `open` and `close`.
    pub(super) fn sequence(
        &mut self,
        object: u64,
        items: &[u64],
        total: u64,
        open: &str,
        close: &str,
        again: &str,
    ) -> Written {
        if total == 0 {
            self.plain(open);
            self.plain(close);
            return Ok(());
        }
        self.nested(object, open, close, again, |writer| {
            writer.separated(items.iter().copied(), total, Self::value);
            Ok(())
        })
    }

    /// `key: value` with commas between.
    pub(super) fn pairs(&mut self, items: impl IntoIterator<Item = (u64, u64)>, total: u64) {
        self.separated(items, total, |writer, (key, value)| {
            writer.value(key);
            writer.plain(": ");
            writer.named_value(key, value);
        });
    }

    pub(super) fn dict(&mut self, object: u64, open: &str, close: &str, again: &str) -> Written {
        let total = self.objects.dict_length(object)?;
        if total == 0 {
            self.plain(open);
            self.plain(close);
            return Ok(());
        }
        self.nested(object, open, close, again, |writer| {
            writer.pairs(writer.objects.dict_items(object)?, total);
            Ok(())
        })
    }

    /// `set` and `frozenset`: 3.x writes a plain set in braces, everything else with its name around a list (2.7) or a
    /// set.
    fn set(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        let total = self.objects.pointer(object, self.objects.layout().object.set_used)?;
        let name = short_name(of).to_owned();
        if total == 0 {
            let inside = if self.is_python2() { "[]" } else { "" };
            self.plain(&format!("{name}({inside})"));
            return Ok(());
        }
        let items = self.objects.set_items(object, self.limits.items)?;
        let (open, close) = match (self.is_python2(), kind) {
            (true, _) => (format!("{name}(["), "])"),
            (false, Kind::Set) if name == "set" => ("{".to_owned(), "}"),
            (false, _) => (format!("{name}({{"), "})"),
        };
        self.sequence(object, &items, total, &open, close, &format!("{name}(...)"))
    }

    /// `rangeobject` (Objects/rangeobject.c): start, stop, step as objects; 2.7's `xrange` has start, step, length as
    /// numbers.
    fn range(&mut self, object: u64) -> Written {
        let parts = [self.field(object, 0)?, self.field(object, 1)?, self.field(object, 2)?];
        if self.is_python2() {
            let [start, step, length] = parts.map(|part| i128::from(part.cast_signed()));
            let stop = start + step * length;
            self.plain(&match (start, step) {
                (0, 1) => format!("xrange({stop})"),
                (_, 1) => format!("xrange({start}, {stop})"),
                _ => format!("xrange({start}, {stop}, {step})"),
            });
            return Ok(());
        }
        self.plain("range(");
        let count = if self.objects.small_int(parts[2])? == Some(1) { 2 } else { 3 };
        self.separated(parts.into_iter().take(count), 3, Self::value);
        self.plain(")");
        Ok(())
    }

    fn deque(&mut self, object: u64, of: &TypeInfo) -> Written {
        let DequeItems { items, total, maxlen } = self.deque_items(object)?;
        let close = match u64::try_from(maxlen) {
            Ok(limit) => format!("], maxlen={limit})"),
            Err(_) => "])".to_owned(),
        };
        let name = if self.is_since(3, 7) { short_name(of) } else { "deque" };
        self.sequence(object, &items, total, &format!("{name}(["), &close, "[...]")
    }

    /// `dequeobject` and its blocks of 64 (2.7: 62) items are in Modules/_collectionsmodule.c.
    fn deque_items(&self, object: u64) -> Result<DequeItems, ReadError> {
        let python2 = self.is_python2();
        // Size, left block, right block, left index, right index, state, maxlen; 2.7 has the size after the indices.
        let (first_field, size_field, limit_field) = if python2 { (0, 4, 6) } else { (1, 0, 6) };
        // A block is {left link, items, right link}; 2.7 has {items, right link, left link}.
        let (block_size, first_item, right_link) = if python2 { (62, 0, 62 * 8) } else { (64, 8, 8 + 64 * 8) };
        let total = self.field(object, size_field)?;
        let maxlen = self.field(object, limit_field)?.cast_signed();
        let mut block = self.field(object, first_field)?;
        let index = self.field(object, first_field + 2)?;
        let mut index = usize::try_from(index)
            .ok()
            .filter(|index| *index <= block_size)
            .ok_or_else(|| ReadError::implausible(object))?;
        let wanted = at_most(total, self.limits.items);
        let mut items = Vec::new();
        while items.len() < wanted && block != 0 {
            let count = (block_size - index).min(wanted - items.len());
            items.extend(self.objects.pointers(block.wrapping_add(first_item + index as u64 * 8), count)?);
            block = self.objects.pointer(block, right_link)?;
            index = 0;
        }
        Ok(DequeItems { items, total, maxlen })
    }

    /// `defdictobject`: a dict, then the factory.
    fn default_dict(&mut self, object: u64, of: &TypeInfo) -> Written {
        let name = if self.is_since(3, 7) { short_name(of) } else { "defaultdict" };
        let factory = self.objects.pointer(object, self.dict_size())?;
        self.plain(&format!("{name}("));
        if factory == 0 {
            self.plain("None");
        } else {
            self.value(factory);
        }
        self.plain(", ");
        self.dict(object, "{", "}", "{...}")?;
        self.plain(")");
        Ok(())
    }

    /// `sizeof(PyDictObject)`, where the fields of its subclasses written in C begin: 2.7 keeps eight entries in the
    /// object.
    fn dict_size(&self) -> u32 {
        let head = self.objects.layout().object.head_size;
        head + if self.is_python2() { 5 * 8 + 8 * 24 } else { 4 * 8 }
    }

    /// `PyODictObject` (Objects/odictobject.c): a dict, then the first node {key, hash, next, previous} of the order.
    fn ordered_dict(&mut self, object: u64, of: &TypeInfo) -> Written {
        let total = self.objects.dict_length(object)?;
        let mut order = Vec::new();
        let mut node = self.objects.pointer(object, self.dict_size())?;
        while node != 0 && order.len() <= self.limits.items {
            order.push(self.objects.pointer(node, 0)?);
            node = self.objects.pointer(node, 16)?;
        }
        self.ordered_items(object, short_name(of), &order, total)
    }

    /// The items of a dict in another order, as `OrderedDict` writes them: pairs up to 3.11, then like a dict.
    pub(super) fn ordered_items(&mut self, object: u64, name: &str, order: &[u64], total: u64) -> Written {
        if total == 0 {
            self.plain(&format!("{name}()"));
            return Ok(());
        }
        let places: std::collections::HashMap<u64, usize> =
            order.iter().enumerate().map(|(place, key)| (*key, place)).collect();
        let found = self.objects.dict_items(object)?.take(ORDERED_ITEMS_LIMIT);
        let mut items: Vec<(usize, (u64, u64))> =
            found.filter_map(|item| Some((*places.get(&item.0)?, item))).collect();
        items.sort_unstable_by_key(|(place, _)| *place);
        let items = items.into_iter().map(|(_, item)| item);
        if self.is_since(3, 12) {
            return self.nested(object, &format!("{name}({{"), "})", "...", |writer| {
                writer.pairs(items, total);
                Ok(())
            });
        }
        self.nested(object, &format!("{name}(["), "])", "...", |writer| {
            writer.separated(items, total, Self::pair);
            Ok(())
        })
    }

    fn pair(&mut self, (key, value): (u64, u64)) {
        self.plain("(");
        self.value(key);
        self.plain(", ");
        self.named_value(key, value);
        self.plain(")");
    }

    fn dict_view(&mut self, object: u64, of: &TypeInfo) -> Written {
        let dict = self.field(object, 0)?;
        let total = self.objects.dict_length(dict)?;
        let name = of.name.clone();
        self.nested(object, &format!("{name}(["), "])", "...", |writer| {
            let items = writer.objects.dict_items(dict)?;
            writer.separated(items, total, |writer, (key, value)| match name.as_str() {
                "dict_keys" => writer.value(key),
                "dict_values" => writer.named_value(key, value),
                _ => writer.pair((key, value)),
            });
            Ok(())
        })
    }

    /// `arrayobject` (Modules/arraymodule.c): size, items, allocated, then a descriptor that begins with the type code.
    fn array(&mut self, object: u64) -> Written {
        let size = self.objects.size(object)?;
        let items = self.field(object, 1)?;
        let code = self.objects.memory().read_u8(self.field(object, 3)?)?;
        self.plain("array(");
        self.output.bytes_literal(&[code]);
        let width = match code {
            b'b' | b'B' | b'c' => 1,
            b'h' | b'H' => 2,
            b'i' | b'I' | b'f' => 4,
            b'l' | b'L' if cfg!(windows) => 4,
            b'l' | b'L' | b'q' | b'Q' | b'd' => 8,
            b'u' | b'w' => {
                self.plain(if size == 0 { ")" } else { ", …)" });
                return Ok(());
            }
            _ => return Err(ReadError::implausible(object)),
        };
        if size > 0 {
            let count = at_most(size, self.limits.items);
            let bytes = self.objects.memory().read_bytes(items, (count * width) as u64, count * width)?;
            self.plain(", [");
            self.separated(bytes.chunks_exact(width), size, |writer, item| writer.plain(&array_item(code, item)));
            self.plain("]");
        }
        self.plain(")");
        Ok(())
    }
}

/// One item of an `array`, by its type code.
fn array_item(code: u8, item: &[u8]) -> String {
    let mut bytes = [0; 8];
    let width = item.len().min(8);
    // Extended with the sign where there is one.
    let is_signed = code.is_ascii_lowercase();
    if is_signed && item.last().is_some_and(|byte| cfg!(target_endian = "little") && byte & 0x80 != 0) {
        bytes = [0xFF; 8];
    }
    bytes[..width].copy_from_slice(&item[..width]);
    let word = u64::from_ne_bytes(bytes);
    match code {
        b'f' => number::float(f64::from(f32::from_bits((word & 0xFFFF_FFFF) as u32))),
        b'd' => number::float(f64::from_bits(word)),
        _ if is_signed => word.cast_signed().to_string(),
        _ => word.to_string(),
    }
}

/// A type's `tp_name` without its module.
pub(super) fn short_name(of: &TypeInfo) -> &str {
    of.name.rsplit_once('.').map_or(of.name.as_str(), |(_, last)| last)
}
