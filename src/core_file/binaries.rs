//! The executable and the libraries of a core's process, as they are on this machine.
//!
//! Limits: a file is taken by its path. Where the core has the first page of one, its build id tells whether it is the
//! same; where not, the path is believed.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::CoreFile;
use super::content::open_regular;
use super::kept::KeptMemory;
use crate::binary::{Architecture, Binary, MappedFile};
use crate::memory::Memory;
use crate::process::Mapping;

/// How much of a file's beginning is looked at for its build id, in bytes.
const BEGINNING: u64 = 4096;

/// One file that the process had mapped.
#[derive(Debug)]
pub(crate) struct CoreBinary {
    /// Where it is here.
    pub path: PathBuf,
    /// Its bytes, or why they cannot be had.
    pub file: Result<MappedFile, io::Error>,
    /// Its build id is not the one that the core has.
    pub is_another: bool,
}

/// Where the files of a core's process are looked for; each is opened when it is first needed.
#[derive(Debug)]
pub(crate) struct BinarySources {
    executable: Option<PathBuf>,
    root: Option<PathBuf>,
    /// By the path that the core has.
    files: HashMap<PathBuf, OnceCell<CoreBinary>>,
}

impl BinarySources {
    /// The executable is the file `executable` if given; other files, and it too if not, are looked for below `root`,
    /// by their path there or by their name alone. Without `root` they are where they were.
    pub(crate) fn new(core: &CoreFile, executable: Option<&Path>, root: Option<&Path>) -> Self {
        let paths = core.mappings().iter().filter_map(|mapping| mapping.path.clone());
        Self {
            executable: executable.map(Path::to_path_buf),
            root: root.map(Path::to_path_buf),
            files: paths.map(|path| (path, OnceCell::new())).collect(),
        }
    }

    /// The file behind a mapping of the core.
    pub(crate) fn binary(&self, core: &CoreFile, mapping: &Mapping) -> Option<&CoreBinary> {
        let path = mapping.path.as_deref()?;
        Some(self.files.get(path)?.get_or_init(|| self.open(core, mapping, path)))
    }

    /// The bytes of that file, if it could be opened.
    pub(super) fn bytes_of(&self, core: &CoreFile, mapping: &Mapping) -> Option<&[u8]> {
        self.binary(core, mapping)?.file.as_deref().ok()
    }

    /// Opens a regular file that the process found at `path`, such as a source file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open_file(&self, path: &Path) -> io::Result<File> {
        match &self.root {
            None => open_regular(path),
            Some(root) => open_below(root, path),
        }
    }

    fn open(&self, core: &CoreFile, mapping: &Mapping, path: &Path) -> CoreBinary {
        let is_executable = core.executable_mapping().is_some_and(|own| own.path == mapping.path);
        let (found, file) = match (&self.executable, &self.root) {
            (Some(executable), _) if is_executable => (executable.clone(), open_regular(executable)),
            (_, Some(root)) => {
                let inside = open_below(root, path);
                let name = path.file_name().map(Path::new);
                match (inside, name) {
                    (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                        (root.join(name), open_below(root, name).map_err(|_| error))
                    }
                    (inside, _) => (root.join(path.strip_prefix("/").unwrap_or(path)), inside),
                }
            }
            (_, None) => (path.to_path_buf(), open_regular(path)),
        };
        let file = file.and_then(|file| MappedFile::open(&file).map_err(io::Error::other));
        let is_another = file.as_deref().is_ok_and(|bytes| is_another_build(core, path, bytes));
        CoreBinary { path: found, file, is_another }
    }
}

/// Opens a regular file below a directory that is somebody's root: links in it lead to where they would there.
fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    return crate::process::open_below(root, path);
    #[cfg(not(target_os = "linux"))]
    open_regular(&root.join(path.strip_prefix("/").unwrap_or(path)))
}

/// Whether the core shows a build id for the file mapped from `path`, and `bytes` has another.
fn is_another_build(core: &CoreFile, path: &Path, bytes: &[u8]) -> bool {
    let first =
        core.mappings().iter().find(|mapping| mapping.path.as_deref() == Some(path) && mapping.file_offset == 0);
    let Some(first) = first else { return false };
    let beginning = KeptMemory(core).read_bytes(first.start, BEGINNING, BEGINNING as usize);
    let Ok(beginning) = beginning else { return false };
    let Ok(then) = Binary::parse(&beginning, Architecture::HOST) else { return false };
    match (then.build_id(), Binary::parse(bytes, Architecture::HOST)) {
        (Some(then), Ok(now)) => now.build_id() != Some(then),
        (Some(_), Err(_)) => true,
        (None, _) => false,
    }
}
