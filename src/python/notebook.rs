//! Cells of notebooks: what IPython knows of the made-up file names that it compiles them under.
//!
//! ipykernel compiles a cell as `/tmp/ipykernel_PID/HASH.py`, a file that is never written. IPython's compiler keeps
//! which input that was in
//! `_filename_map` (IPython/core/compilerop.py, from 7.2x on), and the lines are in `linecache.cache`, as everything
//! has them that a traceback is to show. Before, and in IPython's own terminal, the number is in the name:
//! `<ipython-input-3-0123456789ab>`.

use crate::memory::Memory;
use crate::python::interpreter::InterpreterState;
use crate::python::layout::Layout;
use crate::python::object::ObjectReader;

/// Lines of a cell that are read.
const LINES_LIMIT: usize = 10_000;
/// Characters of a line that are read.
const LINE_LIMIT: usize = 1_000;
/// Characters of a cell's first line that are its name.
const NAME_LIMIT: usize = 40;
/// How the directories are called that kernels name their cells in, before their pids.
const KERNELS: [&str; 2] = ["ipykernel_", "xpython_"];

/// Whether a file name looks like that of a cell.
pub(crate) fn may_be_cell(file: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let kernel_cell = || {
        let (directory, name) = file.rsplit_once(['/', '\\'])?;
        let directory = directory.rsplit(['/', '\\']).next()?;
        let pid = KERNELS.iter().find_map(|kernel| directory.strip_prefix(kernel))?;
        Some(is_number(pid) && is_number(name.strip_suffix(".py")?))
    };
    number_in_name(file).is_some() || kernel_cell() == Some(true)
}

/// 3 of `<ipython-input-3-0123456789ab>`.
fn number_in_name(file: &str) -> Option<i128> {
    let (number, _) = file.strip_prefix("<ipython-input-")?.strip_suffix('>')?.split_once('-')?;
    number.parse().ok()
}

/// What a cell is called: `In [3]`, or `cell` and its first line where its number is not known; `None` where the kernel
/// tells neither.
pub(crate) fn cell_name(
    memory: &dyn Memory,
    layout: &Layout,
    interpreter: &InterpreterState,
    file: &str,
) -> Option<String> {
    let number = number_in_name(file).or_else(|| input_number(memory, layout, interpreter, file));
    if let Some(number) = number {
        return Some(format!("In [{number}]"));
    }
    let lines = cached_lines(memory, layout, interpreter, file)?;
    let first = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty())?;
    let shown: String = first.chars().take(NAME_LIMIT).collect();
    Some(if shown.len() < first.len() { format!("cell {shown}…") } else { format!("cell {shown}") })
}

/// `InteractiveShell._instance.compile._filename_map[file]`.
fn input_number(memory: &dyn Memory, layout: &Layout, interpreter: &InterpreterState, file: &str) -> Option<i128> {
    let objects = ObjectReader::new(memory, layout);
    let module = module(objects, interpreter, "IPython.core.interactiveshell")?;
    let class = objects.find_in_dict(module, "InteractiveShell").ok()??;
    let shell = objects.type_attribute(class, "_instance").ok()??;
    let compiler = objects.instance_attribute(shell, "compile").ok()??;
    let numbers = objects.instance_attribute(compiler, "_filename_map").ok()??;
    objects.small_int(objects.find_in_dict(numbers, file).ok()??).ok()?
}

/// The lines that `linecache` holds for a file name, as (size, time of change, lines, full name); `None` where it holds
/// none.
pub(crate) fn cached_lines(
    memory: &dyn Memory,
    layout: &Layout,
    interpreter: &InterpreterState,
    file: &str,
) -> Option<Vec<String>> {
    let objects = ObjectReader::new(memory, layout);
    let cache = objects.find_in_dict(module(objects, interpreter, "linecache")?, "cache").ok()??;
    let entry = objects.find_in_dict(cache, file).ok()??;
    let (parts, size) = objects.tuple_items(entry, 4).ok()?;
    // One that would still have to be loaded is a tuple of one.
    let lines = *parts.get(2).filter(|_| size == 4)?;
    let (lines, _) = objects.list_items(lines, LINES_LIMIT).ok()?;
    lines.into_iter().map(|line| Some(objects.text_or_none(line, LINE_LIMIT)?.trim_end().to_owned())).collect()
}

/// The dict of a module that is imported.
fn module(objects: ObjectReader<'_>, interpreter: &InterpreterState, name: &str) -> Option<u64> {
    let modules = objects.pointer(interpreter.address, objects.layout().interpreter.modules).ok()?;
    objects.module_dict(objects.find_in_dict(modules, name).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cells_are_told_from_those_of_files() {
        for file in [
            "/tmp/ipykernel_4242/1234567890.py",
            "C:\\Temp\\ipykernel_7\\99.py",
            "/tmp/xpython_4242/12.py",
            "<ipython-input-3-0123456789ab>",
        ] {
            assert!(may_be_cell(file), "{file}");
        }
        for file in [
            "/tmp/ipykernel_4242/util.py",
            "/tmp/ipykernel_x/12.py",
            "/tmp/ipykernel/12.py",
            "/srv/12.py",
            "<ipython-input-x-y>",
            "<string>",
            "12.py",
            "",
        ] {
            assert!(!may_be_cell(file), "{file}");
        }
        assert_eq!(number_in_name("<ipython-input-12-0123456789ab>"), Some(12));
    }
}
