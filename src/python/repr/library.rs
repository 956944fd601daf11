//! Classes of the standard library that are written in Python, and what it generates: enums, dataclasses, named tuples.
//!
//! A class is known by the class whose `__repr__` it has, so that a program's own `__repr__` is never taken for the
//! library's.

use std::collections::HashMap;

use super::builtin::short_name;
use super::{Printer, Writer, Written, number};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo};

/// How many items of a `Counter` or enum are compared with each other.
const ITEMS_LIMIT: usize = 10_000;

/// How many digits of a `Decimal` in Python are read.
const DECIMAL_DIGITS_LIMIT: usize = 10_000;

/// Who says how an instance is written.
pub(super) struct ReprOwner {
    /// The class whose `__dict__` holds the `__repr__`.
    class: u64,
    pub(super) name: String,
    module: String,
    /// The `__repr__`.
    pub(super) function: u64,
}

impl Printer<'_> {
    pub(super) fn find_repr_owner(&self, of: &TypeInfo) -> Result<Option<ReprOwner>, ReadError> {
        for class in self.objects.bases(of.address)? {
            let info = self.type_info(class)?;
            if !info.flags.contains(TypeFlags::HEAP_TYPE) {
                continue;
            }
            if let Some(function) = self.objects.type_attribute(class, "__repr__")? {
                let module = self.objects.type_module(&info)?.unwrap_or_default();
                return Ok(Some(ReprOwner { class, name: info.name.clone(), module, function }));
            }
        }
        Ok(None)
    }
}

impl Writer<'_, '_> {
    /// Writes an object of a class that is known here; `false` where it is not, and nothing is written.
    pub(super) fn library_value(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let may_be_sequence = of.flags.contains(TypeFlags::TUPLE) || self.is_python2();
        if may_be_sequence && self.struct_sequence(object, of)? {
            return Ok(true);
        }
        if of.flags.contains(TypeFlags::TYPE) {
            return self.enum_class(object, of);
        }
        let Some(owner) = self.printer.repr_owner(of)? else { return Ok(false) };
        match (owner.module.as_str(), owner.name.as_str()) {
            ("enum", _) => return self.enum_member(object, of),
            ("collections", "Counter") => self.counter(object, of)?,
            ("collections", "OrderedDict") if self.is_python2() => return self.python2_ordered_dict(object, of),
            ("re", "RegexFlag") if !self.is_since(3, 11) => return self.regex_flag(object, of),
            ("threading" | "concurrent.futures._base", _) => return self.threading_value(object, of, &owner),
            ("uuid", "UUID") => return self.uuid(object, of),
            ("fractions", "Fraction") => return self.fraction(object, of),
            ("decimal" | "_pydecimal", "Decimal") => return self.python_decimal(object, of),
            (module, "PurePath") if module.starts_with("pathlib") => return self.path(object, of),
            (module, name) if module == "pandas" || module.starts_with("pandas.") => {
                return self.pandas_value(object, of, name);
            }
            _ => {
                if self.function_name_is(owner.function, &["global_enum_repr", "global_flag_repr"])? {
                    return self.global_enum_member(object, of);
                }
                if of.flags.contains(TypeFlags::TUPLE) {
                    return self.named_tuple(object, of, &owner);
                }
                return self.data_class(object, of, &owner);
            }
        }
        Ok(true)
    }

    /// Whether an object is a function in Python whose code has one of these names.
    fn function_name_is(&self, function: u64, names: &[&str]) -> Result<bool, ReadError> {
        if self.type_of(function)?.name != "function" {
            return Ok(false);
        }
        let code = self.function_code(function)?;
        let name = self.objects.pointer(code, self.objects.layout().code.name)?;
        let name = self.objects.text_or_none(name, 64);
        Ok(name.is_some_and(|name| names.contains(&name.as_str())))
    }

    /// `time.struct_time` and the like (Objects/structseq.c): a tuple whose type names its items as members.
    fn struct_sequence(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        // `tp_members` stands three words before `tp_dict` in every version (object.h).
        let layout = &self.objects.layout().object;
        let members = self.objects.pointer(of.address, layout.type_dict - 24)?;
        let is_class = of.flags.contains(TypeFlags::HEAP_TYPE) && !of.name.contains('.');
        if members == 0 || is_class || of.name == "tuple" {
            return Ok(false);
        }
        // 2.7 does not make it a tuple, though the memory is the same.
        let is_tuple = of.flags.contains(TypeFlags::TUPLE);
        if !is_tuple && self.objects.type_attribute(of.address, "n_sequence_fields")?.is_none() {
            return Ok(false);
        }
        let (items, total) = self.objects.tuple_items(object, self.limits.items)?;
        let mut names = Vec::new();
        for index in 0..items.len() as u64 {
            // PyMemberDef: name, type, offset, flags, documentation.
            names.push(self.objects.c_string(self.objects.memory().read_u64(members.wrapping_add(index * 40))?, 64)?);
        }
        self.nested(object, &format!("{}(", of.name), ")", "(...)", |writer| {
            writer.separated(names.iter().zip(items), total, |writer, (name, item)| {
                writer.plain(name);
                writer.plain("=");
                writer.value(item);
            });
            Ok(())
        })?;
        Ok(true)
    }

    fn enum_class(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        if !matches!(of.name.as_str(), "EnumMeta" | "EnumType") {
            return Ok(false);
        }
        let info = self.printer.type_info(object)?;
        let is_flag = self.is_since(3, 11) && self.is_flag(&info)?;
        self.plain(if is_flag { "<flag '" } else { "<enum '" });
        self.plain(&info.name);
        self.plain("'>");
        Ok(true)
    }

    fn is_flag(&self, of: &TypeInfo) -> Result<bool, ReadError> {
        for base in self.objects.bases(of.address)? {
            let base = self.printer.type_info(base)?;
            if base.name == "Flag" && self.objects.type_module(&base)?.as_deref() == Some("enum") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `<Color.RED: 1>`.
    fn enum_member(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let name = self.attribute(object, of, "_name_")?;
        let Some(value) = self.attribute(object, of, "_value_")? else { return Ok(false) };
        let name = name.and_then(|name| self.objects.text_or_none(name, 256));
        let name = match name {
            None if !self.is_since(3, 11) && self.is_flag(of)? => self.flag_names(of, value)?,
            name => name,
        };
        self.plain("<");
        self.plain(&of.name);
        if let Some(name) = name {
            self.plain(".");
            self.plain(&name);
        }
        self.plain(": ");
        self.value(value);
        self.plain(">");
        Ok(true)
    }

    /// Up to 3.10 a flag made of several has no name; its `__repr__` puts it together from the members (`_decompose`,
    /// Lib/enum.py).
    fn flag_names(&self, of: &TypeInfo, value: u64) -> Result<Option<String>, ReadError> {
        let Some(members) = self.objects.type_attribute(of.address, "_value2member_map_")? else { return Ok(None) };
        let Some(value) = self.objects.small_int(value)? else { return Ok(None) };
        let mut parts: Vec<(i128, String)> = Vec::new();
        for (number, member) in self.objects.dict_items(members)?.take(ITEMS_LIMIT) {
            let Some(number) = self.objects.small_int(number)? else { continue };
            let name = self.attribute(member, of, "_name_")?.and_then(|name| self.objects.text_or_none(name, 256));
            // A combination that was asked for before is a member without a name.
            let is_part = match &name {
                Some(_) => true,
                None => value >= 0 && number > 0 && number & (number - 1) == 0,
            };
            if is_part && number != 0 && number & value == number {
                parts.push((number, name.unwrap_or_else(|| number.to_string())));
            }
        }
        if parts.is_empty() {
            return Ok(Some(value.to_string()));
        }
        parts.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        if parts.len() > 1 && parts[0].0 == value {
            parts.remove(0);
        }
        let names: Vec<&str> = parts.iter().map(|(_, name)| name.as_str()).collect();
        Ok(Some(names.join("|")))
    }

    /// Enums that stand for constants of their module: `re.IGNORECASE`.
    fn global_enum_member(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let name = self.attribute(object, of, "_name_")?.and_then(|name| self.objects.text_or_none(name, 256));
        let (Some(name), Some(module)) = (name, self.objects.type_module(of)?) else { return Ok(false) };
        let module = module.rsplit('.').next().unwrap_or_default();
        let names: Vec<String> = name.split('|').map(|name| format!("{module}.{name}")).collect();
        self.plain(&names.join("|"));
        Ok(true)
    }

    /// `re.IGNORECASE` (3.8–3.10; later it is a global enum).
    fn regex_flag(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let name = self.attribute(object, of, "_name_")?.and_then(|name| self.objects.text_or_none(name, 256));
        let Some(value) = self.attribute(object, of, "_value_")? else { return Ok(false) };
        let name = match name {
            Some(name) => Some(name),
            None => self.flag_names(of, value)?,
        };
        let Some(name) = name else { return Ok(false) };
        let mut names: Vec<String> = name.split('|').map(|name| format!("re.{name}")).collect();
        // Put together there in the order of the values, the smallest first.
        names.reverse();
        self.plain(&names.join("|"));
        Ok(true)
    }

    /// `Name(field=value)` of a class that `collections.namedtuple` made, or of one of its subclasses.
    fn named_tuple(&mut self, object: u64, of: &TypeInfo, owner: &ReprOwner) -> Result<bool, ReadError> {
        let Some(fields) = self.objects.type_attribute(owner.class, "_fields")? else { return Ok(false) };
        if !self.objects.flags_of(fields)?.contains(TypeFlags::TUPLE) {
            return Ok(false);
        }
        let (fields, _) = self.objects.tuple_items(fields, self.limits.items)?;
        let (items, total) = self.objects.tuple_items(object, self.limits.items)?;
        // 2.7 has the name of the class that was made in the text of its `__repr__`.
        let name = if self.is_python2() { &owner.name } else { &of.name };
        self.nested(object, &format!("{name}("), ")", "(...)", |writer| {
            writer.separated(fields.into_iter().zip(items), total, |writer, (name, item)| {
                writer.name(name);
                writer.plain("=");
                writer.named_value(name, item);
            });
            Ok(())
        })?;
        Ok(true)
    }

    /// `Name(field=value)` where the decorator `dataclass` made the `__repr__` (Lib/dataclasses.py): it lies in a
    /// wrapper against recursion.
    fn data_class(&mut self, object: u64, of: &TypeInfo, owner: &ReprOwner) -> Result<bool, ReadError> {
        let Some(fields) = self.objects.type_attribute(owner.class, "__dataclass_fields__")? else { return Ok(false) };
        if !self.function_name_is(owner.function, &["wrapper"])? {
            return Ok(false);
        }
        let mut shown = Vec::new();
        for (name, field) in self.objects.dict_items(fields)?.take(ITEMS_LIMIT) {
            let field_type = self.type_of(field)?;
            let is_shown = match self.attribute(field, &field_type, "repr")? {
                Some(wanted) => self.objects.small_int(wanted)? == Some(1),
                None => false,
            };
            if is_shown && self.is_plain_field(field, &field_type)? {
                shown.push(name);
            }
        }
        let name = self.objects.type_qualname(of)?.text;
        let total = shown.len() as u64;
        self.nested(object, &format!("{name}("), ")", "...", |writer| {
            let mut values = Vec::new();
            for name in shown {
                let text = writer.objects.text_or_none(name, 256).unwrap_or_default();
                let value = match writer.attribute(object, of, &text)? {
                    Some(value) => Some(value),
                    None => writer.class_attribute(of, &text)?,
                };
                values.push((name, value));
            }
            writer.separated(values, total, |writer, (name, value)| {
                writer.name(name);
                writer.plain("=");
                match value {
                    Some(value) => writer.named_value(name, value),
                    None => writer.plain("<unset>"),
                }
            });
            Ok(())
        })?;
        Ok(true)
    }

    /// Whether a field of a dataclass is neither a `ClassVar` nor an `InitVar`.
    fn is_plain_field(&self, field: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let Some(kind) = self.attribute(field, of, "_field_type")? else { return Ok(false) };
        let name = self.attribute(kind, &*self.type_of(kind)?, "name")?;
        Ok(name.and_then(|name| self.objects.text_or_none(name, 16)).as_deref() == Some("_FIELD"))
    }

    fn class_attribute(&self, of: &TypeInfo, name: &str) -> Result<Option<u64>, ReadError> {
        for base in self.objects.bases(of.address)? {
            if let Some(found) = self.objects.type_attribute(base, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// `Counter({'a': 2})`, the most common first where the counts are numbers.
    fn counter(&mut self, object: u64, of: &TypeInfo) -> Written {
        let total = self.objects.dict_length(object)?;
        let name = of.name.clone();
        if total == 0 {
            self.plain(&format!("{name}()"));
            return Ok(());
        }
        let mut items: Vec<(u64, u64)> = self.objects.dict_items(object)?.take(ITEMS_LIMIT).collect();
        let counts: HashMap<u64, f64> =
            items.iter().filter_map(|(_, value)| Some((*value, self.number_of(*value)?))).collect();
        if items.iter().all(|(_, value)| counts.contains_key(value)) {
            let count = |item: &(u64, u64)| counts.get(&item.1).copied().unwrap_or(0.0);
            items.sort_by(|one, other| count(other).total_cmp(&count(one)));
        }
        self.nested(object, &format!("{name}({{"), "})", "...", |writer| {
            writer.pairs(items, total);
            Ok(())
        })
    }

    /// A number as far as it is needed to compare counts.
    fn number_of(&self, object: u64) -> Option<f64> {
        let of = self.type_of(object).ok()?;
        if of.flags.contains(TypeFlags::INT) || of.flags.contains(TypeFlags::PLAIN_INT) {
            return self.objects.small_int(object).ok()?.map(|value| value as f64);
        }
        let bits = self.objects.pointer(object, self.objects.layout().object.float_value).ok()?;
        // Not comparable with the others by size; 0.0 and -0.0 are equal.
        (of.name == "float").then(|| f64::from_bits(bits) + 0.0).filter(|value| !value.is_nan())
    }

    /// 2.7's is a class: its order is a ring of lists [previous, next, key] that begins at `__root`.
    fn python2_ordered_dict(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let Some(root) = self.attribute(object, of, "_OrderedDict__root")? else { return Ok(false) };
        let mut order = Vec::new();
        let mut link = root;
        while order.len() <= self.limits.items {
            let (items, _) = self.objects.list_items(link, 3)?;
            let [_, next, key] = items[..] else { return Ok(false) };
            if link != root {
                order.push(key);
            }
            if next == root {
                break;
            }
            link = next;
        }
        let total = self.objects.dict_length(object)?;
        self.ordered_items(object, &of.name, &order, total)?;
        Ok(true)
    }

    fn uuid(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let Some(number) = self.attribute(object, of, "int")? else { return Ok(false) };
        let Some(number) = self.objects.integer(number, 5)? else { return Ok(false) };
        let number = number.digits.iter().rev().fold(0_u128, |sum, digit| sum << 30 | u128::from(*digit));
        let digits = format!("{number:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        self.plain(&format!("{}('{}')", of.name, parts.join("-")));
        Ok(true)
    }

    fn fraction(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let parts = (self.attribute(object, of, "_numerator")?, self.attribute(object, of, "_denominator")?);
        let (Some(numerator), Some(denominator)) = parts else { return Ok(false) };
        self.plain(&format!("{}(", of.name));
        for (part, after) in [(numerator, ", "), (denominator, ")")] {
            match self.objects.integer(part, 500)? {
                Some(number) => self.plain(&number::integer(&number)),
                None => self.plain("…"),
            }
            self.plain(after);
        }
        Ok(true)
    }

    /// `decimal.Decimal` where it is written in Python (2.7, or `_pydecimal`): sign, digits, exponent, in slots.
    fn python_decimal(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let part = |name: &str| self.attribute(object, of, name);
        let (Some(sign), Some(digits), Some(exponent)) = (part("_sign")?, part("_int")?, part("_exp")?) else {
            return Ok(false);
        };
        let negative = self.objects.small_int(sign)? == Some(1);
        let digits = self.objects.text_or_none(digits, DECIMAL_DIGITS_LIMIT).unwrap_or_default();
        let text = match self.objects.text_or_none(exponent, 4).as_deref() {
            Some("F") => format!("{}Infinity", if negative { "-" } else { "" }),
            Some(kind) => {
                format!("{}{}NaN{digits}", if negative { "-" } else { "" }, if kind == "N" { "s" } else { "" })
            }
            None => match self.objects.small_int(exponent)?.and_then(|exponent| i64::try_from(exponent).ok()) {
                Some(exponent) if digits.is_ascii() => number::decimal(negative, &digits, exponent),
                _ => return Ok(false),
            },
        };
        self.plain("Decimal('");
        self.plain(&text);
        self.plain("')");
        Ok(true)
    }

    /// `PosixPath('…')`: the text where it was made already, else put together as `pathlib` does.
    fn path(&mut self, object: u64, of: &TypeInfo) -> Result<bool, ReadError> {
        let limit = self.output.left().saturating_add(1);
        let text_of = |name: &str| -> Result<Option<String>, ReadError> {
            Ok(self.attribute(object, of, name)?.and_then(|text| self.objects.text_or_none(text, limit)))
        };
        let text = match text_of("_str")? {
            Some(text) => text,
            None => {
                let (drive, root) = (text_of("_drv")?.unwrap_or_default(), text_of("_root")?.unwrap_or_default());
                if let Some(parts) = self.texts(self.attribute(object, of, "_parts")?, limit)? {
                    // Up to 3.11 the first part is drive and root, if there are any.
                    let anchor = format!("{drive}{root}");
                    let skipped = usize::from(!anchor.is_empty());
                    anchor + &parts.get(skipped..).unwrap_or_default().join("/")
                } else if let Some(tail) = self.texts(self.attribute(object, of, "_tail_cached")?, limit)? {
                    format!("{drive}{root}{}", tail.join("/"))
                } else if let Some(raw) = self.texts(self.attribute(object, of, "_raw_paths")?, limit)? {
                    joined_path(&raw)
                } else {
                    return Ok(false);
                }
            }
        };
        let is_windows = of.name.contains("Windows");
        let text = if is_windows { text.replace('\\', "/") } else { text };
        self.plain(&of.name);
        self.plain("(");
        self.output.quoted(if text.is_empty() { "." } else { &text });
        self.plain(")");
        Ok(true)
    }

    /// The texts in a list.
    fn texts(&self, list: Option<u64>, limit: usize) -> Result<Option<Vec<String>>, ReadError> {
        let Some(list) = list else { return Ok(None) };
        if !self.objects.flags_of(list)?.contains(TypeFlags::LIST) {
            return Ok(None);
        }
        let (items, _) = self.objects.list_items(list, ITEMS_LIMIT)?;
        Ok(Some(items.into_iter().filter_map(|item| self.objects.text_or_none(item, limit)).collect()))
    }

    /// The named attributes of one of C's types that is shown as `namespace(a=1)`: `_PyNamespaceObject`, a dict.
    pub(super) fn namespace(&mut self, object: u64, of: &TypeInfo) -> Written {
        let dict = self.field(object, 0)?;
        let name = if of.name == "types.SimpleNamespace" { "namespace" } else { short_name(of) };
        let total = self.objects.dict_length(dict)?;
        self.nested(object, &format!("{name}("), ")", &format!("{name}(...)"), |writer| {
            let items = writer.objects.dict_items(dict)?;
            writer.separated(items, total, |writer, (name, value)| {
                writer.name(name);
                writer.plain("=");
                writer.named_value(name, value);
            });
            Ok(())
        })
    }
}

/// Paths joined and put into the form in which `PurePosixPath` keeps them: no empty parts, no `.`; two slashes at the
/// beginning stay.
fn joined_path(raw: &[String]) -> String {
    let absolute = raw.iter().rposition(|path| path.starts_with('/')).unwrap_or(0);
    let joined = raw.get(absolute..).unwrap_or_default().join("/");
    let root = match joined.len() - joined.trim_start_matches('/').len() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let parts: Vec<&str> = joined.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_paths_are_joined_as_pathlib_does() {
        let joined = |raw: &[&str]| joined_path(&raw.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        assert_eq!(joined(&["a", "b/./c//d"]), "a/b/c/d");
        assert_eq!(joined(&["a", "/b", "..", "c/"]), "/b/../c");
        assert_eq!(joined(&["//a"]), "//a");
        assert_eq!(joined(&["///a"]), "/a");
        assert_eq!(joined(&[]), "");
    }
}
