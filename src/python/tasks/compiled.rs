//! Coroutines and generators that Cython or mypyc has compiled. They have no frame of Python; what they are called and
//! what they await lies in the objects. How their types are recognized says `compiled_types`.
//!
//! Nothing says in which field a function of mypyc's keeps what is awaited; a value counts if all that it has called
//! leads to the very future that the task waits for, or, under trio, if it alone leads to the function in which all
//! tasks of trio are put aside.
//!
//! Limits: neither tells the line that it is at. Below a function of mypyc the chain ends where there is no such end (a
//! bare `yield`). Its class is not known of a static method.

use super::compiled_types::{CythonLayout, LARGEST_OBJECT, mypyc_function};
use super::objects::{Kind, TaskObjects};
use super::{CompiledFrame, Link};
use crate::memory::ReadError;
use crate::python::code::{Code, CodeId, CodeTable};
use crate::python::object::{TypeFlags, TypeInfo};

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;
const FILE_LIMIT: usize = 4096;
/// Classes that one is derived from that are looked at.
const MOST_BASES: usize = 32;
/// Variables of one function among which an object of its class is looked for, and underscores in its name.
const MOST_VARIABLES: usize = 64;
const MOST_UNDERSCORES: usize = 16;

/// What a function of Cython's does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CythonState {
    /// 0 where it awaits nothing.
    pub(super) awaited: u64,
    pub(super) is_new: bool,
    pub(super) is_running: bool,
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
            Some(code) => Link::Compiled(CompiledFrame { object, code }),
            None => Link::Opaque(self.cython_name(object, layout).unwrap_or_else(|| "?".to_owned()), object),
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

    /// What a function of mypyc's is called, with its module. Behind its own name its type has, with underscores, those
    /// of the class and of the functions that it is in; a class is known where an object of it is among the function's
    /// variables.
    pub(super) fn mypyc_name(&self, object: u64, info: &TypeInfo) -> Option<String> {
        let function = mypyc_function(&info.name)?;
        let module = self.objects.type_module(info).ok().flatten();
        let variables = self.mypyc_fields(object).unwrap_or_default();
        let method = variables
            .into_iter()
            .take(MOST_VARIABLES)
            .find_map(|variable| self.mypyc_method(variable, function, module.as_deref()));
        let name = method.unwrap_or_else(|| function.to_owned());
        Some(module.map_or_else(|| name.clone(), |module| format!("{module}.{name}")))
    }

    /// `Class.method` of `method_Class`, if an object is of that class, or is it itself, and the class has such a
    /// method; `Class.method.<locals>.inner` of `inner_method_Class`.
    fn mypyc_method(&self, object: u64, function: &str, module: Option<&str>) -> Option<String> {
        let class = if self.objects.is_type(object) { object } else { self.objects.type_of(object).ok()? };
        let bases = self.objects.bases(class).ok()?;
        bases.into_iter().take(MOST_BASES).find_map(|base| {
            let info = self.objects.type_info(base).ok()?;
            let class = info.name.rsplit('.').next()?;
            let before = function.strip_suffix(class)?.strip_suffix('_')?;
            if self.objects.type_module(&info).ok()?.as_deref() != module {
                return None;
            }
            let has = |name: &str| self.objects.type_attribute(base, name).is_ok_and(|found| found.is_some());
            if has(before) {
                return Some(format!("{class}.{before}"));
            }
            let mut splits =
                before.match_indices('_').take(MOST_UNDERSCORES).map(|(at, _)| (&before[..at], &before[at + 1..]));
            let (inner, method) = splits.find(|(inner, method)| !inner.is_empty() && has(method))?;
            Some(format!("{class}.{method}.<locals>.{inner}"))
        })
    }

    /// What the fields of a function of mypyc's hold that could be awaited. Older versions keep them in an object of
    /// their own, as do functions in which others are.
    pub(super) fn mypyc_candidates(&self, object: u64) -> Result<Vec<u64>, ReadError> {
        let mut found = self.mypyc_fields(object)?;
        // It awaits by an iterator, never by a future itself.
        let can_be_awaited = |field: &u64| {
            let kind = self.known(*field).map(|known| known.kind);
            matches!(kind, Ok(Kind::Coroutine | Kind::Generator | Kind::Wrapper | Kind::Cython(_) | Kind::Mypyc))
        };
        found.retain(can_be_awaited);
        Ok(found)
    }

    /// What the fields of a function of mypyc's hold, each once.
    fn mypyc_fields(&self, object: u64) -> Result<Vec<u64>, ReadError> {
        let known = self.known(object)?;
        let mut found = self.fields(object, known.info.basic_size)?;
        let environments: Vec<u64> = found.iter().copied().filter(|field| self.is_environment(*field)).collect();
        for environment in environments {
            found.extend(self.fields(environment, self.known(environment)?.info.basic_size)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn is_environment(&self, object: u64) -> bool {
        self.known(object)
            .is_ok_and(|known| known.info.flags.contains(TypeFlags::HEAP_TYPE) && known.info.name.ends_with("_env"))
    }

    /// The words behind an object's head that may be pointers.
    pub(super) fn fields(&self, object: u64, size: i64) -> Result<Vec<u64>, ReadError> {
        let head = u64::from(self.objects.layout().object.head_size);
        let size = u64::try_from(size).unwrap_or(0).min(LARGEST_OBJECT).saturating_sub(head) & !7;
        let bytes = self.objects.memory().read_bytes(object.wrapping_add(head), size, LARGEST_OBJECT as usize)?;
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_ne_bytes(*word));
        Ok(words.filter(|word| *word >= 0x1000 && word.is_multiple_of(8)).collect())
    }
}
