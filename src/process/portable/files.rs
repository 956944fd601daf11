//! Files of a process, by their paths: there are no other roots here.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::Process;
use crate::process::Mapping;

impl Process {
    /// Opens the file at the path of a mapping.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open_mapping(&self, mapping: &Mapping) -> io::Result<File> {
        self.open_in_root(mapping.path.as_deref().ok_or(io::ErrorKind::NotFound)?)
    }

    /// Opens the regular file at `path`, from the target's working directory if relative and if that is known.
    ///
    /// # Errors
    /// When there is none or it may not be read.
    pub fn open_in_root(&self, path: &Path) -> io::Result<File> {
        let path = self.absolute(path);
        if !path.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open(path)
    }

    /// Opens a source file.
    pub fn open_source(&self, path: &Path) -> io::Result<File> {
        self.open_in_root(path)
    }

    /// Whether there is a regular file at `path`.
    pub fn is_file_in_root(&self, path: &Path) -> bool {
        self.absolute(path).is_file()
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.working_directory().map_or_else(|_| path.to_owned(), |directory| directory.join(path))
    }
}
