//! The file that a command writes: tried before the work begins, written beside its place and renamed into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::failure::{ForeignNameError, OutputError};
use crate::output::Format;

/// The format that the name of a file asks for, by default a flame graph.
///
/// # Errors
/// When the name is that of another kind of file; that of a device or a pipe never is.
pub(super) fn format_by_name(path: &Path) -> Result<Format, ForeignNameError> {
    let name = path.to_string_lossy();
    if let Some(format) = Format::from_suffix(&name) {
        return Ok(format);
    }
    let is_device = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    match Format::foreign_suffix(&name) {
        Some(suffix) if !is_device => Err(ForeignNameError { suffix }),
        _ => Ok(Format::Flamegraph),
    }
}

/// Where output will go; known to be writable.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A new file in this directory, to be renamed.
    Beside(PathBuf),
    /// A device, a pipe, or a place where no new file can be made.
    InPlace(File),
    /// Standard output.
    Stdout,
}

impl OutputFile {
    /// Makes sure that `path` can be written; `-` is standard output.
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let failed = |source| OutputError { path: path.to_owned(), source };
        if path.as_os_str() == "-" {
            return Ok(Self { path: path.to_owned(), target: Target::Stdout });
        }
        // A link is followed, so that the file it names is replaced and not the link.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&real) {
            Ok(metadata) if metadata.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(&real).map_err(failed)?;
                return Ok(Self { path: real, target: Target::InPlace(file) });
            }
            // A file that may not be written is not to be replaced either.
            Ok(_) => drop(OpenOptions::new().write(true).open(&real).map_err(failed)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let directory = match real.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        // Tried and dropped, so that nothing lies around when we are killed.
        match new_file(directory) {
            Ok(_) => Ok(Self { target: Target::Beside(directory.to_owned()), path: real }),
            // The file may be writable where its directory is not.
            Err(error) if real.is_file() => {
                let file = OpenOptions::new().write(true).open(&real).map_err(|_| failed(error))?;
                Ok(Self { path: real, target: Target::InPlace(file) })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the file by `write` and puts it in its place. It may be done again, with more.
    pub(super) fn finish(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        let failed = |source| OutputError { path: self.path.clone(), source };
        match &self.target {
            Target::Stdout => {
                let mut writer = BufWriter::new(io::stdout().lock());
                write(&mut writer).and_then(|()| writer.flush()).map_err(failed)
            }
            Target::InPlace(file) => {
                truncate_file(file).map_err(failed)?;
                let mut writer = BufWriter::new(file);
                write(&mut writer).and_then(|()| writer.flush()).map_err(failed)
            }
            Target::Beside(directory) => {
                let mut file = new_file(directory).map_err(failed)?;
                let mut writer = BufWriter::new(&mut file);
                write(&mut writer).and_then(|()| writer.flush()).map_err(failed)?;
                drop(writer);
                if let Err(error) = file.persist(&self.path) {
                    // What was recorded is worth more than tidiness: it stays under the other name.
                    let source = error.error;
                    let left = error.file.keep().map(|(_, left)| left.display().to_string()).unwrap_or_default();
                    return Err(failed(io::Error::new(source.kind(), format!("{source}; the data is in {left}"))));
                }
                Ok(())
            }
        }
    }

    /// A file that grows while it is made. A new one stays beside its place until it is put there.
    pub(super) fn open_growing(&self) -> io::Result<Growing> {
        Ok(match &self.target {
            Target::Stdout => Growing { writer: Box::new(io::stdout()), place: None },
            Target::InPlace(file) => {
                truncate_file(file)?;
                Growing { writer: Box::new(file.try_clone()?), place: None }
            }
            Target::Beside(directory) => {
                let (file, temporary) = new_file(directory)?.into_parts();
                let place = Place { temporary, path: self.path.clone() };
                Growing { writer: Box::new(file), place: Some(place) }
            }
        })
    }
}

/// A file that grows.
pub(super) struct Growing {
    writer: Box<dyn Write>,
    place: Option<Place>,
}

/// Where a growing file is, and where it is to be. It is removed if it never gets there.
pub(super) struct Place {
    temporary: TempPath,
    path: PathBuf,
}

impl Growing {
    /// Where it must be put once it holds something; `None` if it is there already.
    pub(super) fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Place {
    /// Puts the file in its place.
    pub(super) fn move_into_place(self) -> io::Result<()> {
        self.temporary.persist(&self.path).map_err(|error| error.error)
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".pyspy-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The error has the name of that file, which nobody knows but us.
    builder.tempfile_in(directory).map_err(|error| {
        let inner = error.get_ref().and_then(std::error::Error::source);
        let code = inner.and_then(|inner| inner.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
        code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
    })
}

/// Makes a regular file empty; a device or a pipe stays as it is.
fn truncate_file(mut file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_path_is_known_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(OutputFile::create(&directory.path().join("no/such/place.svg")).is_err());
        assert!(OutputFile::create(directory.path()).is_err());
    }

    #[test]
    fn names_of_other_kinds_of_files_are_known() {
        let format = |name: &str| format_by_name(Path::new(name)).ok();
        assert_eq!(format("a.speedscope.json"), Some(Format::Speedscope));
        for name in ["a", "a.1", "/tmp/tmp.aBcDe", "out.tmp", "/dev/null", "-", "a.old", "png", "csv"] {
            assert_eq!(format(name), Some(Format::Flamegraph), "{name}");
        }
        for name in ["a.png", "/tmp/A.PNG", "x.svg.pdf", "a.csv"] {
            assert_eq!(format(name), None, "{name}");
        }
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe.png");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(format_by_name(&pipe).ok(), Some(Format::Flamegraph));
    }

    #[test]
    fn the_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.txt");
        fs::write(&path, "old").unwrap();
        let output = OutputFile::create(&path).unwrap();
        let error = output.finish(|writer| {
            writer.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(error.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        OutputFile::create(&path).unwrap().finish(|writer| writer.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
