//! The code of a process by address: its mappings, the files behind them, and what is known of each instruction that a stack went through.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use gimli::UnwindContext;

use super::demangle::{readable, without_marks};
use super::frame_info::Row;
use super::module::Module;
use super::plumbing::is_plumbing;
use crate::binary::MappedFile;
use crate::memory::Memory;
use crate::process::{DeviceNumber, Mapping, Process};

/// How long the mappings are taken to be as they were: a library may be unloaded and another take its place.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// The least time between two looks at them, when code was met that is in none.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Instructions that are remembered; past it all are forgotten.
const MOST_SITES: usize = 1 << 20;
/// Functions that are named; past it all are the first one, whose name says so.
const MOST_FUNCTIONS: usize = 1 << 20;
/// The most bytes of the kernel's own library.
const VDSO_LIMIT: usize = 1 << 20;
/// The largest debug file that is read.
const DEBUG_FILE_LIMIT: u64 = 1 << 30;

/// What a native function is called, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(u32);

#[cfg(test)]
impl FunctionId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap())
    }

    pub(super) fn index(self) -> u32 {
        self.0
    }
}

/// A native function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its name, demangled; its address in the file where it has none.
    pub name: String,
    /// The file that holds it, as the target names it; empty for code that is in no file.
    pub path: String,
    /// The file without its folders.
    pub module: String,
    /// What part it has in running Python.
    pub role: Role,
    /// It may be what started the thread or the program, if it is among the oldest of a stack.
    pub is_starter: bool,
}

/// What part a function has in running Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It is the loop that runs Python code: what it runs are the Python frames.
    Evaluator,
    /// It belongs to the interpreter and only passes calls on, or has no name to tell what it does.
    Plumbing,
    /// It does something of its own.
    Worker,
}

/// What is known of an instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) function: FunctionId,
    /// How to leave the function there, if that is known.
    pub(super) row: Option<RowId>,
    /// Whether it lies in memory that may be run at all.
    pub(super) is_code: bool,
}

/// A row by its number, with the module that its expressions are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowId {
    row: u32,
    module: usize,
}

type FileKey = (DeviceNumber, u64);

/// A range of memory that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Region {
    mapping: Mapping,
    /// Its module once it was asked for; `None` inside when there is none.
    module: Option<Option<(usize, u64)>>,
}

/// The code of one process.
#[derive(Debug)]
pub(super) struct AddressSpace {
    process: Process,
    regions: Vec<Region>,
    /// Memory that may be written: where stacks can be.
    writable: Vec<(u64, u64)>,
    refreshed: Option<Instant>,
    /// Code was met that is in no region.
    stale: bool,
    modules: Vec<Module>,
    files: HashMap<FileKey, Option<usize>>,
    sites: HashMap<u64, Site>,
    rows: Vec<Row>,
    row_numbers: HashMap<Row, u32>,
    functions: Vec<Function>,
    function_ids: HashMap<Function, FunctionId>,
    context: UnwindContext<usize>,
}

impl AddressSpace {
    pub(super) fn new(process: Process) -> Self {
        let mut space = Self {
            process,
            regions: Vec::new(),
            writable: Vec::new(),
            refreshed: None,
            stale: false,
            modules: Vec::new(),
            files: HashMap::new(),
            sites: HashMap::new(),
            rows: Vec::new(),
            row_numbers: HashMap::new(),
            functions: Vec::new(),
            function_ids: HashMap::new(),
            context: UnwindContext::new(),
        };
        // What everything is called that is too much.
        space.function_id(Function {
            name: "<native code>".to_owned(),
            path: String::new(),
            module: String::new(),
            role: Role::Worker,
            is_starter: false,
        });
        space
    }

    /// Where the memory around an address of a stack ends.
    pub(super) fn stack_end(&self, address: u64) -> Option<u64> {
        let at = self.writable.partition_point(|(_, end)| *end <= address);
        self.writable.get(at).filter(|(start, _)| *start <= address).map(|(_, end)| *end)
    }

    /// Looks at the mappings if it is time to. Whether they were looked at.
    pub(super) fn refresh(&mut self) -> bool {
        let due = match self.refreshed.map(|last| last.elapsed()) {
            None => true,
            Some(since) => since >= if self.stale { REFRESH_AT_MOST_EVERY } else { REFRESH_EVERY },
        };
        if !due {
            return false;
        }
        self.refreshed = Some(Instant::now());
        self.stale = false;
        let mappings = match self.process.maps() {
            Ok(mappings) => mappings,
            Err(error) => {
                log::debug!("{error}");
                return false;
            }
        };
        self.writable = writable_ranges(&mappings);
        let code = mappings.into_iter().filter(|mapping| mapping.executable);
        let same = {
            let known: Vec<&Mapping> = self.regions.iter().map(|region| &region.mapping).collect();
            let code: Vec<Mapping> = code.collect();
            if known.len() == code.len() && known.iter().zip(&code).all(|(known, new)| *known == new) {
                None
            } else {
                Some(code)
            }
        };
        if let Some(code) = same {
            self.sites.clear();
            let mapped: HashSet<FileKey> = code.iter().map(|mapping| (mapping.device, mapping.inode)).collect();
            // The number of a file that is gone may become that of another.
            self.files.retain(|file, _| mapped.contains(file));
            // Modules that nothing is mapped from stay, for they are known by number, until they are the larger part.
            if self.modules.len() > 2 * code.len() {
                self.modules.clear();
                self.files.clear();
                self.rows.clear();
                self.row_numbers.clear();
            }
            self.regions = code.into_iter().map(|mapping| Region { mapping, module: None }).collect();
        }
        true
    }

    /// Code was met that is in no mapping, or a stack: they should be looked at anew.
    pub(super) fn note_stale(&mut self) {
        self.stale = true;
    }

    /// What is known of the instruction at an address.
    pub(super) fn site(&mut self, address: u64) -> Site {
        if let Some(site) = self.sites.get(&address) {
            return *site;
        }
        if self.sites.len() >= MOST_SITES {
            self.sites.clear();
        }
        let site = self.find(address);
        if site.is_code {
            self.sites.insert(address, site);
        } else {
            self.stale = true;
        }
        site
    }

    fn find(&mut self, address: u64) -> Site {
        let at = self.regions.partition_point(|region| region.mapping.end <= address);
        let Some(index) = self.regions.get(at).filter(|region| region.mapping.start <= address).map(|_| at) else {
            return Site { function: FunctionId(0), row: None, is_code: false };
        };
        let Some((module_index, bias)) = self.module(index) else {
            let function = self.function_id(without_module(&self.regions[index].mapping));
            return Site { function, row: None, is_code: true };
        };
        let module = &self.modules[module_index];
        let address = address.wrapping_sub(bias);
        let row = module.row(address, &mut self.context);
        let start = row.as_ref().map_or(address, |row| row.function);
        let function = function(module, address, start);
        let row = row.map(|row| RowId { row: self.row_number(row), module: module_index });
        Site { function: self.function_id(function), row, is_code: true }
    }

    /// The module behind a region, with how far it was moved; read when it is first asked for.
    fn module(&mut self, index: usize) -> Option<(usize, u64)> {
        if let Some(known) = self.regions[index].module {
            return known;
        }
        let mapping = self.regions[index].mapping.clone();
        let key = (mapping.device, mapping.inode);
        let is_file = mapping.inode != 0;
        let loaded = match self.files.get(&key) {
            Some(known) if is_file => *known,
            _ => {
                let module = self.load(&mapping);
                let number = module.map(|module| {
                    self.modules.push(module);
                    self.modules.len() - 1
                });
                if is_file {
                    self.files.insert(key, number);
                }
                number
            }
        };
        let found = loaded.and_then(|number| {
            let offset = if is_file { mapping.file_offset } else { 0 };
            Some((number, self.modules[number].bias(mapping.start, offset)?))
        });
        self.regions[index].module = Some(found);
        found
    }

    fn load(&self, mapping: &Mapping) -> Option<Module> {
        if mapping.label.as_deref() == Some("[vdso]") {
            let bytes = self.process.memory().read_bytes(mapping.start, mapping.size(), VDSO_LIMIT).ok()?;
            return Module::new("[vdso]".to_owned(), &bytes, &[0], &|_, _| ()).ok();
        }
        let path = mapping.path.as_deref()?;
        let key = (mapping.device, mapping.inode);
        let parts = self.regions.iter().map(|region| &region.mapping);
        let offsets: Vec<u64> =
            parts.filter(|part| (part.device, part.inode) == key).map(|part| part.file_offset).collect();
        let module = self.process.open_mapping(mapping).map_err(Into::into).and_then(|file| {
            let bytes = MappedFile::open(&file)?;
            let debug_file = |id: &[u8], with: &mut dyn FnMut(&[u8])| self.with_debug_file(id, with);
            Module::new(path.to_string_lossy().into_owned(), &bytes, &offsets, &debug_file)
        });
        module.map_err(|error| log::debug!("{}: {error}", path.display())).ok()
    }

    /// Hands out the debug file of a build, where the target's system has it.
    fn with_debug_file(&self, id: &[u8], with: &mut dyn FnMut(&[u8])) {
        let Some((first, rest)) = id.split_first().filter(|_| (2..=64).contains(&id.len())) else { return };
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("/usr/lib/debug/.build-id/{first:02x}/{rest}.debug");
        let Ok(file) = self.process.open_in_root(path.as_ref()) else { return };
        if file.metadata().is_ok_and(|metadata| metadata.len() <= DEBUG_FILE_LIMIT)
            && let Ok(bytes) = MappedFile::open(&file)
        {
            with(&bytes);
        }
    }

    fn row_number(&mut self, row: Row) -> u32 {
        if let Some(number) = self.row_numbers.get(&row) {
            return *number;
        }
        // There are no more rows than sites; those that are forgotten are made again.
        if self.rows.len() >= MOST_SITES {
            self.sites.clear();
            self.rows.clear();
            self.row_numbers.clear();
        }
        let number = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(row.clone());
        self.row_numbers.insert(row, number);
        number
    }

    fn function_id(&mut self, function: Function) -> FunctionId {
        if let Some(id) = self.function_ids.get(&function) {
            return *id;
        }
        if self.functions.len() >= MOST_FUNCTIONS {
            return FunctionId(0);
        }
        let id = FunctionId(u32::try_from(self.functions.len()).unwrap_or(0));
        self.functions.push(function.clone());
        self.function_ids.insert(function, id);
        id
    }

    /// A row, and the module that its expressions are of.
    pub(super) fn row(&self, id: RowId) -> Option<(&Row, &Module)> {
        Some((self.rows.get(id.row as usize)?, self.modules.get(id.module)?))
    }

    /// A function.
    pub(super) fn function(&self, id: FunctionId) -> &Function {
        &self.functions[id.0 as usize]
    }
}

/// The function at an address of a file; `start` is where it begins, as far as that is known.
fn function(module: &Module, address: u64, start: u64) -> Function {
    let symbol = module.symbol(address);
    let role = match symbol {
        Some(symbol) if module.is_evaluator(symbol) => Role::Evaluator,
        Some(symbol) if module.is_interpreter() => match std::str::from_utf8(symbol) {
            Ok(symbol) if !is_plumbing(without_marks(symbol)) => Role::Worker,
            _ => Role::Plumbing,
        },
        None if module.is_interpreter() => Role::Plumbing,
        _ => Role::Worker,
    };
    Function {
        name: symbol.map_or_else(|| format!("{start:#x}"), readable),
        path: module.path.clone(),
        module: module.short_name.clone(),
        role,
        is_starter: symbol == Some(b"_start") || module.is_c_library(),
    }
}

/// What code is called that is in no file that can be read.
fn without_module(mapping: &Mapping) -> Function {
    let path = mapping.path.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let module = match mapping.path.as_deref().and_then(|path| path.file_name()) {
        Some(name) => name.to_string_lossy().into_owned(),
        None => mapping.label.clone().unwrap_or_default(),
    };
    let name = if path.is_empty() { "<generated code>" } else { "<native code>" };
    Function { name: name.to_owned(), path, module, role: Role::Worker, is_starter: false }
}

/// The ranges that may be written: a stack lies in one of them.
fn writable_ranges(mappings: &[Mapping]) -> Vec<(u64, u64)> {
    let writable = mappings.iter().filter(|mapping| mapping.readable && mapping.writable);
    writable.map(|mapping| (mapping.start, mapping.end)).collect()
}
