//! Types of coroutines and generators that Cython or mypyc has compiled.
//!
//! Cython (`Utility/Coroutine.c`) has one struct for all of them, `__pyx_CoroutineObject`, to which versions have added
//! fields. Where what is awaited, the module and the code object are, the types say themselves by their members; the
//! names have stood before these in every version from 0.29 on. CPython's own coroutines have functions in the place of
//! those members, so that the two are never mistaken for each other, although up to 0.29 their types have the same
//! names. mypyc makes a class of its own for each function.

use crate::memory::ReadError;
use crate::python::object::{ObjectReader, TypeFlags, TypeInfo};

/// More bytes than the fields of a function have.
pub(super) const LARGEST_OBJECT: u64 = 1 << 12;

/// Where a type of Cython's keeps what, in bytes from the beginning of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CythonLayout {
    /// `yieldfrom`.
    pub(super) awaited: u32,
    /// `gi_code`; before it are `gi_name`, `gi_qualname` and `gi_modulename`.
    pub(super) code: u32,
    /// `resume_label`, an `int`, and behind it `is_running`, a `char`.
    pub(super) label: u32,
}

impl CythonLayout {
    /// The layout of a type; `None` where it is none of Cython's.
    pub(super) fn of(objects: ObjectReader<'_>, info: &TypeInfo) -> Result<Option<Self>, ReadError> {
        let (awaited, code) = match info.name.rsplit('.').next() {
            Some("coroutine" | "iterable_coroutine") => ("cr_await", "cr_code"),
            Some("generator") => ("gi_yieldfrom", "gi_code"),
            Some("async_generator") => ("ag_await", "ag_code"),
            _ => return Ok(None),
        };
        let Some(awaited) = objects.object_member(info.address, awaited)? else { return Ok(None) };
        // Not all types show both.
        let told = objects.object_member(info.address, code)?;
        let module = objects.object_member(info.address, "__module__")?;
        let after_module = module.map(|module| module.wrapping_add(8));
        // The asynchronous generators of 0.29 show neither; then nothing but the names is between.
        let code = told.or(after_module).unwrap_or_else(|| awaited.wrapping_add(32));
        if after_module.is_some_and(|after| after != code) {
            return Ok(None);
        }
        // An asynchronous generator has more behind it; where Cython is told to trace, so have the others before it.
        let of_base = u64::try_from(info.basic_size).unwrap_or(0).saturating_sub(8);
        let label = if info.name.ends_with("async_generator") { code.saturating_add(16) } else { of_base };
        let head = u64::from(objects.layout().object.head_size);
        let is_plausible = awaited >= head && awaited + 24 < code && code < label && label <= of_base;
        let narrow = |offset: u64| u32::try_from(offset).ok().filter(|_| offset < LARGEST_OBJECT && is_plausible);
        let layout = || Some(Self { awaited: narrow(awaited)?, code: narrow(code)?, label: narrow(label)? });
        Ok(layout())
    }
}

/// Whether a type is that of the coroutine or generator of a function that mypyc has compiled.
pub(super) fn is_of_mypyc(objects: ObjectReader<'_>, info: &TypeInfo) -> Result<bool, ReadError> {
    if mypyc_function(&info.name).is_none() || !info.flags.contains(TypeFlags::HEAP_TYPE) {
        return Ok(false);
    }
    // Newer and older versions.
    for method in ["__internal_mypyc_setup", "__mypyc_generator_helper__"] {
        if let Some(method) = objects.type_attribute(info.address, method)? {
            return Ok(objects.type_name(method)? == "method_descriptor");
        }
    }
    Ok(false)
}

/// `fetch` of a class called `fetch_gen` or `fetch_gen___7` (`mypyc/irbuild/function.py`).
pub(super) fn mypyc_function(class: &str) -> Option<&str> {
    let numbered = class
        .rsplit_once("___")
        .filter(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let class = numbered.map_or(class, |(class, _)| class);
    class.strip_suffix("_gen").filter(|function| !function.is_empty())
}

#[cfg(test)]
mod tests {
    use super::mypyc_function;

    #[test]
    fn functions_of_mypyc_are_named_by_their_classes() {
        assert_eq!(mypyc_function("fetch_gen"), Some("fetch"));
        assert_eq!(mypyc_function("fetch_Session_gen"), Some("fetch_Session"));
        assert_eq!(mypyc_function("inner_gen___17"), Some("inner"));
        assert_eq!(mypyc_function("a___b_gen"), Some("a___b"));
        assert_eq!(mypyc_function("_gen"), None);
        assert_eq!(mypyc_function("generator"), None);
    }
}
