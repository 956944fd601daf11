//! The code of a process by address: its mappings, the files behind them, and what is known of each instruction that a
//! stack went through.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use gimli::UnwindContext;

use super::debug_files::{shared_part, stripped_part};
use super::frame_info::Row;
use super::function::{Classified, Function, FunctionId, Role};
use super::generated::{GeneratedCode, is_dump};
use super::lines::{DebugFile, Lines};
use super::module::{LinesIn, Module};
use crate::binary::{Architecture, Binary, BinaryError, MappedFile};
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
/// The longest way out of a function that is known by its bytes.
const EXIT_BYTES: usize = 5;

/// What is known of an instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) function: FunctionId,
    /// The function as such, wherever in it the instruction is.
    pub(super) group: FunctionId,
    /// What part it has in running Python.
    pub(super) role: Role,
    /// It may be what started the thread or the program, if it is among the oldest of a stack.
    pub(super) is_starter: bool,
    /// How to leave the function there, if that is known.
    pub(super) row: Option<RowId>,
    /// The same for generated code, by the instructions after a call.
    pub(super) exit: Option<Exit>,
    /// Whether it lies in memory that may be run at all.
    pub(super) is_code: bool,
}

/// How a function of generated code ends that has just called another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It takes so many bytes from the stack, and returns.
    Drop(u64),
    /// It takes the frame pointer from the stack, and returns.
    PopFramePointer,
}

impl Exit {
    /// Of the instructions at a return address (x86-64).
    fn of(code: &[u8]) -> Option<Self> {
        match *code {
            // ret
            [0xc3, ..] => Some(Self::Drop(0)),
            // add rsp, BYTES; ret
            [0x48, 0x83, 0xc4, bytes @ 0..0x80, 0xc3, ..] => Some(Self::Drop(bytes.into())),
            // pop rbp; ret
            [0x5d, 0xc3, ..] => Some(Self::PopFramePointer),
            _ => None,
        }
    }
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
    generated: GeneratedCode,
    pub(super) lines: Lines,
}

impl AddressSpace {
    pub(super) fn new(process: Process) -> Self {
        let mut space = Self {
            lines: Lines::new(process.clone()),
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
            generated: GeneratedCode::default(),
        };
        // In the order of their numbers: `FunctionId::OTHER`, `FunctionId::DEEPER`.
        for name in ["<native code>", "<deeper native frames>"] {
            space.function_id(Function::unplaced(name.to_owned(), String::new(), String::new()));
        }
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
            // It has ended: what was learned of it still holds for what was recorded before.
            Ok(mappings) if mappings.is_empty() => return false,
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
                self.lines.forget_files();
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
            return self.site_of(Classified::without_code(), None, false);
        };
        let Some((module_index, bias)) = self.module(index) else {
            let mapping = &self.regions[index].mapping;
            let name = self.generated.name_at(address);
            let classified = Classified::without_module(mapping, name);
            let exit = self.exit_after(address);
            return Site { exit, ..self.site_of(classified, None, true) };
        };
        let module = &self.modules[module_index];
        let address = address.wrapping_sub(bias);
        let row = module.row(address, &mut self.context);
        let start = row.as_ref().map_or(address, |row| row.function);
        let is_signal = row.as_ref().is_some_and(|row| row.is_signal);
        let classified = Classified::of_module(module, address, start, is_signal);
        let row = row.map(|row| RowId { row: self.row_number(row), module: module_index });
        self.site_of(classified, row, true)
    }

    fn site_of(&mut self, classified: Classified, row: Option<RowId>, is_code: bool) -> Site {
        let Classified { function, role, is_starter } = classified;
        let group = self.function_id(Function { place: None, is_wrapper: false, ..function.clone() });
        let function = self.function_id(function);
        Site { function, group, role, is_starter, row, exit: None, is_code }
    }

    /// How generated code ends that has called another function by the instruction at an address.
    fn exit_after(&self, address: u64) -> Option<Exit> {
        if cfg!(not(target_arch = "x86_64")) {
            return None;
        }
        let code = self.process.memory().read_bytes(address.wrapping_add(1), EXIT_BYTES as u64, EXIT_BYTES).ok()?;
        Exit::of(&code)
    }

    /// Reads what the program has written of its generated code, if a name was missing. Whether there are new names.
    pub(super) fn name_generated(&mut self) -> bool {
        if !self.generated.lacks_names() {
            return false;
        }
        let dumps: Vec<Mapping> =
            self.regions.iter().map(|region| &region.mapping).filter(|mapping| is_dump(mapping)).cloned().collect();
        let is_new = self.generated.read_new_names(&self.process, &dumps);
        if is_new {
            self.sites.clear();
        }
        is_new
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

    fn load(&mut self, mapping: &Mapping) -> Option<Module> {
        if mapping.label.as_deref() == Some("[vdso]") {
            let bytes = self.process.memory().read_bytes(mapping.start, mapping.size(), VDSO_LIMIT).ok()?;
            return Module::new("[vdso]".to_owned(), &bytes, &[0], &|_| None).ok();
        }
        let path = mapping.path.as_deref()?;
        let key = (mapping.device, mapping.inode);
        let parts = self.regions.iter().map(|region| &region.mapping);
        let offsets: Vec<u64> =
            parts.filter(|part| (part.device, part.inode) == key).map(|part| part.file_offset).collect();
        let module = self.process.open_mapping(mapping).map_err(Into::into).and_then(|file| {
            let bytes = MappedFile::open(&file)?;
            let find_stripped = |binary: &Binary<'_>| stripped_part(&self.process, binary, &bytes, path);
            let mut module = Module::new(path.to_string_lossy().into_owned(), &bytes, &offsets, &find_stripped)?;
            let (file, is_other) = match std::mem::replace(&mut module.lines_in, LinesIn::Nothing) {
                LinesIn::Nothing => return Ok(module),
                LinesIn::Itself => (file, false),
                LinesIn::Other(other) => (other, true),
            };
            let other = if is_other { MappedFile::open(&file).ok() } else { None };
            let bytes: &[u8] = other.as_deref().unwrap_or(&bytes);
            let parsed = Binary::parse(bytes, Architecture::HOST).ok();
            let shared = parsed.and_then(|binary| shared_part(&self.process, &binary, bytes, path));
            module.lines = self.lines.add_file(DebugFile { file, shared });
            Ok(module)
        });
        module.map_err(|error: BinaryError| log::debug!("{}: {error}", path.display())).ok()
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
            return FunctionId::OTHER;
        }
        let id = FunctionId(u32::try_from(self.functions.len()).unwrap_or(0));
        if let Some(place) = function.place {
            self.lines.ask_for(place);
        }
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

/// The ranges that may be written: a stack lies in one of them.
fn writable_ranges(mappings: &[Mapping]) -> Vec<(u64, u64)> {
    let writable = mappings.iter().filter(|mapping| mapping.readable && mapping.writable);
    writable.map(|mapping| (mapping.start, mapping.end)).collect()
}
