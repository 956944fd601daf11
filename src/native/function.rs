//! Native functions: what they are called, and what part they have in running Python.

use super::cython::{compiled_name, is_cython_plumbing};
use super::demangle::{readable, without_marks};
use super::module::Module;
use super::plumbing::is_plumbing;
use crate::process::Mapping;

/// What a native function is called and where in it a stack went through, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FunctionId(pub(super) u32);

impl FunctionId {
    /// What everything is called that is too much.
    pub(super) const OTHER: Self = Self(0);
    /// What stands for the native frames that were not copied.
    pub(super) const DEEPER: Self = Self(1);
}

#[cfg(test)]
impl FunctionId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap())
    }

    pub(super) fn index(self) -> u32 {
        self.0
    }
}

/// A native function, or, where lines can be told, a place in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function {
    /// Its name, demangled; its address in the file where it has none.
    pub(super) name: String,
    /// The file that holds it, as the target names it; empty for code that is in no file.
    pub(super) path: String,
    /// The file without its folders.
    pub(super) module: String,
    /// The name is one, not an address.
    pub(super) is_named: bool,
    /// It is of the interpreter.
    pub(super) is_interpreter: bool,
    /// It passes a call on to the function of the same name, which the compiler may have put into it.
    pub(super) is_wrapper: bool,
    /// What its debug information is asked for, if it has some.
    pub(super) place: Option<CodePlace>,
}

/// An instruction of a file that has debug information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CodePlace {
    /// Which of the files that [`Lines`](super::lines::Lines) knows.
    pub(super) file: u32,
    /// The address in the file.
    pub(super) address: u64,
}

/// What part a function has in running Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// It is the loop that runs Python code: what it runs are the Python frames.
    Evaluator,
    /// It belongs to the interpreter and only passes calls on, or has no name to tell what it does.
    Plumbing,
    /// It passes a call on to the function of the same name, if that was not made a part of it.
    Wrapper,
    /// It is in no file and has no name. What calls the loop passes a call on: one of CPython's trampolines (`-X
    /// perf`).
    Generated,
    /// It does something of its own.
    Worker,
}

/// A function with what is not shown of it.
#[derive(Debug)]
pub(super) struct Classified {
    pub(super) function: Function,
    pub(super) role: Role,
    /// It may be what started the thread or the program, if it is among the oldest of a stack.
    pub(super) is_starter: bool,
}

impl Classified {
    /// The function at an address of a file; `start` is where it begins, as far as that is known. `is_signal` is one
    /// that the kernel returns to from a signal's handler, for which nobody has a name.
    pub(super) fn of_module(module: &Module, address: u64, start: u64, is_signal: bool) -> Self {
        let symbol = module.symbol(address);
        let text = symbol.map(String::from_utf8_lossy);
        let plain = text.as_deref().map(without_marks);
        let find = |beginning: &str| module.rest_of_symbol(beginning);
        let compiled = plain.and_then(|plain| compiled_name(plain, &find));
        let role = match symbol {
            Some(symbol) if module.is_evaluator(symbol) => Role::Evaluator,
            Some(symbol) if module.is_interpreter() => match std::str::from_utf8(symbol) {
                Ok(symbol) if !is_plumbing(without_marks(symbol)) => Role::Worker,
                _ => Role::Plumbing,
            },
            None if module.is_interpreter() => Role::Plumbing,
            _ if plain.is_some_and(is_cython_plumbing) => Role::Plumbing,
            _ if compiled.as_ref().is_some_and(|compiled| compiled.is_wrapper) => Role::Wrapper,
            _ => Role::Worker,
        };
        let name = match (compiled, symbol) {
            _ if is_signal => "<signal handler called>".to_owned(),
            (Some(compiled), _) => readable(compiled.name.as_bytes()),
            (None, Some(symbol)) => readable(symbol),
            (None, None) => format!("{start:#x}"),
        };
        let has_place = matches!(role, Role::Worker | Role::Wrapper);
        let function = Function {
            name,
            path: module.path.clone(),
            module: module.short_name.clone(),
            is_named: symbol.is_some(),
            is_interpreter: module.is_interpreter(),
            is_wrapper: role == Role::Wrapper,
            place: module.lines.filter(|_| has_place).map(|file| CodePlace { file, address }),
        };
        Self { function, role, is_starter: symbol == Some(b"_start") || module.is_c_library() }
    }

    /// What is not even code.
    pub(super) fn without_code() -> Self {
        let function = Function::unplaced("<native code>".to_owned(), String::new(), String::new());
        Self { function, role: Role::Worker, is_starter: false }
    }

    /// Code that is in no file that can be read, with the name that the program gave to it.
    pub(super) fn without_module(mapping: &Mapping, name: Option<&str>) -> Self {
        let path = mapping.path.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let module = match mapping.path.as_deref().and_then(|path| path.file_name()) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => mapping.label.clone().unwrap_or_default(),
        };
        let (name, role) = match name {
            // CPython's trampolines, one a Python function (`Python/perf_trampoline.c`).
            Some(name) if name.starts_with("py::") => (name.to_owned(), Role::Plumbing),
            Some(name) => (readable(name.as_bytes()), Role::Worker),
            None if path.is_empty() => ("<generated code>".to_owned(), Role::Generated),
            None => ("<native code>".to_owned(), Role::Worker),
        };
        Self { function: Function::unplaced(name, path, module), role, is_starter: false }
    }
}

impl Function {
    /// One of which nothing but this is known.
    pub(super) fn unplaced(name: String, path: String, module: String) -> Self {
        Self { name, path, module, is_named: true, is_interpreter: false, is_wrapper: false, place: None }
    }
}
