//! What cells of notebooks are called. A kernel is asked once for each cell, when its code is first seen.

use std::collections::HashMap;

use crate::memory::{Memory, PageCache};
use crate::python::interpreter::InterpreterState;
use crate::python::layout::Layout;
use crate::python::notebook::{cell_name, may_be_cell};

/// After so many cells of which nothing was told, none is asked for any more: it is no kernel that we can ask.
const MOST_FAILURES: u32 = 32;

/// The names of the cells of one process.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    names: HashMap<String, String>,
    failures: u32,
}

impl Cells {
    /// What the cell is called that was compiled under the name `file`; `None` when it is no cell or the kernel does
    /// not tell.
    pub(crate) fn name(
        &mut self,
        memory: impl Memory,
        layout: &Layout,
        interpreter: &InterpreterState,
        file: &str,
    ) -> Option<&str> {
        if !may_be_cell(file) {
            return None;
        }
        if !self.names.contains_key(file) {
            if self.failures >= MOST_FAILURES {
                return None;
            }
            match cell_name(&PageCache::new(memory), layout, interpreter, file) {
                Some(name) => drop(self.names.insert(file.to_owned(), name)),
                None => self.failures += 1,
            }
        }
        self.names.get(file).map(String::as_str)
    }
}
