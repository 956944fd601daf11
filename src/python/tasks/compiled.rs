//! Coroutines and generators that Cython or mypyc has compiled. They have no frame of Python; what they are called and
//! what they await lies in the objects. How their types are recognized says `compiled_types`.
//!
//! Nothing says in which field a function of mypyc's keeps what is awaited; a value counts if all that it has called
//! leads to the very future that the task waits for.
//!
//! Limits: neither tells the line that it is at. Below a function of mypyc the chain ends where there is no such future
//! (a bare `yield`, trio).

use super::Link;
use super::compiled_types::{CythonLayout, LARGEST_OBJECT, mypyc_function};
use super::objects::{Kind, TaskObjects};
use crate::memory::ReadError;
use crate::python::code::{Code, CodeId, CodeTable};
use crate::python::object::{TypeFlags, TypeInfo};

/// Characters of a name that are read.
const NAME_LIMIT: usize = 256;
const FILE_LIMIT: usize = 4096;

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
