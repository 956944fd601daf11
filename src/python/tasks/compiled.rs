//! Coroutines and generators that Cython or mypyc has compiled. They have no frame of Python; what they are called and
//! what they await lies in the objects.
//!
//! Cython (`Utility/Coroutine.c`) has one struct for all of them, `__pyx_CoroutineObject`, to which versions have added
//! fields. Where what is awaited, the module and the code object are, the types say themselves by their members;
//! the names have stood before these in every version from 0.29 on. CPython's own coroutines have functions in the place of those
//! members, so that the two are never mistaken for each other, although up to 0.29 their types have the same names.
//!
//! mypyc makes a class of its own for each function. Nothing says in which field it keeps what is awaited; a value
//! counts if all that it has called leads to the very future that the task waits for.
//!
//! Limits: neither tells the line that it is at. Below a function of mypyc the chain ends where there is no such future
//! (a bare `yield`, trio).

use super::Link;
use super::objects::{Kind, TaskObjects};
use crate::memory::ReadError;
use crate::python::code::{Code, CodeId, CodeTable};
use crate::python::object::{TypeFlags, TypeInfo};

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;
const FILE_LIMIT: usize = 4096;
/// More bytes than the fields of a function have.
const LARGEST_OBJECT: u64 = 1 << 12;

/// Where a type of Cython's keeps what, in bytes from the beginning of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CythonLayout {
    /// `yieldfrom`.
    awaited: u32,
    /// `gi_code`; before it are `gi_name`, `gi_qualname` and `gi_modulename`.
    code: u32,
    /// `resume_label`, an `int`, and behind it `is_running`, a `char`.
    label: u32,
}

/// What a function of Cython's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CythonState {
    /// 0 where it awaits nothing.
    pub(super) awaited: u64,
    pub(super) is_new: bool,
    pub(super) is_running: bool,
}

impl CythonLayout {
    /// The layout of a type; `None` where it is none of Cython's.
    pub(super) fn of(types: TaskObjects<'_>, info: &TypeInfo) -> Result<Option<Self>, ReadError> {
        let (awaited, code) = match info.name.rsplit('.').next() {
            Some("coroutine" | "iterable_coroutine") => ("cr_await", "cr_code"),
            Some("generator") => ("gi_yieldfrom", "gi_code"),
            Some("async_generator") => ("ag_await", "ag_code"),
            _ => return Ok(None),
        };
        let Some(awaited) = types.objects.object_member(info.address, awaited)? else { return Ok(None) };
        // Not all types show both.
        let told = types.objects.object_member(info.address, code)?;
        let module = types.objects.object_member(info.address, "__module__")?;
        let after_module = module.map(|module| module.wrapping_add(8));
        // The asynchronous generators of 0.29 show neither; then nothing but the names is between.
        let code = told.or(after_module).unwrap_or_else(|| awaited.wrapping_add(32));
        if after_module.is_some_and(|after| after != code) {
            return Ok(None);
        }
        // An asynchronous generator has more behind it; where Cython is told to trace, so have the others before it.
        let of_base = u64::try_from(info.basic_size).unwrap_or(0).saturating_sub(8);
        let label = if info.name.ends_with("async_generator") { code.saturating_add(16) } else { of_base };
        let head = u64::from(types.objects.layout().object.head_size);
        let is_plausible = awaited >= head && awaited + 24 < code && code < label && label <= of_base;
        let narrow = |offset: u64| u32::try_from(offset).ok().filter(|_| offset < LARGEST_OBJECT && is_plausible);
        let layout = || Some(Self { awaited: narrow(awaited)?, code: narrow(code)?, label: narrow(label)? });
        Ok(layout())
    }
}

impl TaskObjects<'_> {
    /// What a function of Cython's does.
    pub(super) fn cython_state(&self, object: u64, layout: CythonLayout) -> Result<CythonState, ReadError> {
        let awaited = self.objects.pointer(object, layout.awaited)?;
        let label = self.objects.int(object, layout.label)?;
        let is_running = self.objects.byte(object, layout.label + 4)? != 0;
        Ok(CythonState { awaited, is_new: label == 0 && !is_running, is_running })
    }

    /// `__qualname__` of a function of Cython's.
    pub(super) fn cython_name(&self, object: u64, layout: CythonLayout) -> Option<String> {
        self.objects.text_or_none(self.objects.pointer(object, layout.code - 16).ok()?, NAME_LIMIT)
    }

    /// A function of Cython's: with its file where it has a code object.
    pub(super) fn cython_link(&self, object: u64, layout: CythonLayout, codes: &mut CodeTable) -> Link {
        match self.cython_code(object, layout, codes) {
            Some(code) => Link::Compiled(code),
            None => Link::Opaque(self.cython_name(object, layout).unwrap_or_else(|| "?".to_owned())),
        }
    }

    /// A function of Cython's as code without lines.
    fn cython_code(&self, object: u64, layout: CythonLayout, codes: &mut CodeTable) -> Option<CodeId> {
        let code = self.objects.pointer(object, layout.code).ok().filter(|code| *code != 0)?;
        if !self.objects.is_code(code) {
            return None;
        }
        let offsets = &self.objects.layout().code;
        let filename = self.objects.text_or_none(self.objects.pointer(code, offsets.filename).ok()?, FILE_LIMIT)?;
        let first_line = self.objects.int(code, offsets.first_line).ok()?;
        Some(codes.add_compiled(Code {
            name: self.cython_name(object, layout)?,
            filename,
            first_line: u32::try_from(first_line).unwrap_or(0),
            lines: Default::default(),
            is_empty: true,
        }))
    }

    /// Whether a type is that of the coroutine or generator of a function that mypyc has compiled.
    pub(super) fn is_of_mypyc(&self, info: &TypeInfo) -> Result<bool, ReadError> {
        if mypyc_function(&info.name).is_none() || !info.flags.contains(TypeFlags::HEAP_TYPE) {
            return Ok(false);
        }
        // Newer and older versions.
        for method in ["__internal_mypyc_setup", "__mypyc_generator_helper__"] {
            if let Some(method) = self.objects.type_attribute(info.address, method)? {
                return Ok(self.objects.type_name(method)? == "method_descriptor");
            }
        }
        Ok(false)
    }

    /// What a function of mypyc's is called: with its module, and behind its own name with an underscore those of the
    /// class and of the functions that it is in.
    pub(super) fn mypyc_name(&self, info: &TypeInfo) -> Option<String> {
        let function = mypyc_function(&info.name)?;
        let module = self.objects.type_module(info).ok().flatten();
        Some(module.map_or_else(|| function.to_owned(), |module| format!("{module}.{function}")))
    }

    /// What the fields of a function of mypyc's hold that could be awaited. Older versions keep them in an object of
    /// their own, as do functions in which others are.
    pub(super) fn mypyc_candidates(&self, object: u64) -> Result<Vec<u64>, ReadError> {
        let known = self.known(object)?;
        let mut found = self.fields(object, known.info.basic_size)?;
        let environments: Vec<u64> = found.iter().copied().filter(|field| self.is_environment(*field)).collect();
        for environment in environments {
            found.extend(self.fields(environment, self.known(environment)?.info.basic_size)?);
        }
        found.sort_unstable();
        found.dedup();
        // It awaits by an iterator, never by a future itself.
        let can_be_awaited = |field: &u64| {
            let kind = self.known(*field).map(|known| known.kind);
            matches!(kind, Ok(Kind::Coroutine | Kind::Generator | Kind::Wrapper | Kind::Cython(_) | Kind::Mypyc))
        };
        found.retain(can_be_awaited);
        Ok(found)
    }

    fn is_environment(&self, object: u64) -> bool {
        self.known(object)
            .is_ok_and(|known| known.info.flags.contains(TypeFlags::HEAP_TYPE) && known.info.name.ends_with("_env"))
    }

    /// The words behind an object's head that may be pointers.
    fn fields(&self, object: u64, size: i64) -> Result<Vec<u64>, ReadError> {
        let head = u64::from(self.objects.layout().object.head_size);
        let size = u64::try_from(size).unwrap_or(0).min(LARGEST_OBJECT).saturating_sub(head) & !7;
        let bytes = self.objects.memory().read_bytes(object.wrapping_add(head), size, LARGEST_OBJECT as usize)?;
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_ne_bytes(*word));
        Ok(words.filter(|word| *word >= 0x1000 && word.is_multiple_of(8)).collect())
    }
}

/// `fetch` of a class called `fetch_gen` or `fetch_gen___7` (`mypyc/irbuild/function.py`).
fn mypyc_function(class: &str) -> Option<&str> {
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
