//! The file that a command writes: tried before the work begins, written beside its place and renamed into it.
//!
//! A file that is there already keeps its owner and its mode. A new one belongs to us; or, where it holds what a
//! program did that runs as who called us through sudo, to that user.

mod existing;
mod growing;

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use self::existing::{Existing, Ownership, open_existing};
pub(in crate::command) use self::growing::{Growing, Place};
use super::failure::{ForeignNameError, OutputError};
use super::standard_streams::check_stdout;
use crate::output::Format;
use crate::process::SpawnedProgram;

/// The format that the name of a file asks for; `default` where it asks for none.
///
/// # Errors
/// When the name is that of another kind of file; that of a device or a pipe never is.
pub(in crate::command) fn format_by_name(path: &Path, default: Format) -> Result<Format, ForeignNameError> {
    let name = path.to_string_lossy();
    if let Some(format) = Format::from_suffix(&name) {
        return Ok(format);
    }
    let is_device = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    match Format::foreign_suffix(&name) {
        Some(suffix) if !is_device => Err(ForeignNameError { suffix }),
        _ => Ok(default),
    }
}

/// Where output will go; known to be writable.
#[derive(Debug)]
pub(in crate::command) struct OutputFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A new file, to be renamed.
    Beside(NewFile),
    /// A device, a pipe, or a place where no new file can be made.
    InPlace(File),
    /// Standard output.
    Stdout,
}

/// How a new file is made beside the place of the output.
#[derive(Debug, Clone)]
struct NewFile {
    directory: PathBuf,
    /// What it has of the file that it will replace.
    ownership: Option<Ownership>,
    /// It is to belong to who called us through sudo.
    for_caller: bool,
}

impl OutputFile {
    /// Makes sure that `path` can be written; `-` is standard output.
    pub(in crate::command) fn create(path: &Path) -> Result<Self, OutputError> {
        Self::create_for(path, false)
    }

    /// As [`Self::create`], but a new file belongs to who called us through sudo, if somebody did, where he may make
    /// one.
    pub(in crate::command) fn create_for_caller(path: &Path) -> Result<Self, OutputError> {
        Self::create_for(path, true)
    }

    fn create_for(path: &Path, for_caller: bool) -> Result<Self, OutputError> {
        let failed = |source| OutputError { path: path.to_owned(), source };
        if path.as_os_str() == "-" {
            check_stdout()?;
            return Ok(Self { path: path.to_owned(), target: Target::Stdout });
        }
        let existing = open_existing(path).map_err(failed)?;
        // A link is followed, so that the file it names is replaced and not the link.
        let place = existing.as_ref().map_or_else(|| path.to_owned(), |existing| existing.path.clone());
        if let Some(Existing { file, .. }) = &existing
            && !file.metadata().map_err(failed)?.is_file()
        {
            return Ok(Self { path: place, target: Target::InPlace(file.try_clone().map_err(failed)?) });
        }
        let directory = match place.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
            _ => PathBuf::from("."),
        };
        let ownership = existing.as_ref().map(|existing| Ownership::of(&existing.file)).transpose().map_err(failed)?;
        let new_file = NewFile { directory, ownership, for_caller };
        // Tried and dropped, so that nothing lies around when we are killed.
        match (new_file.make(), existing) {
            (Ok(_), _) => Ok(Self { target: Target::Beside(new_file), path: place }),
            // The file may be writable where its directory is not, or where nobody may be given a file.
            (Err(_), Some(existing)) => Ok(Self { path: place, target: Target::InPlace(existing.file) }),
            (Err(error), None) => Err(failed(error)),
        }
    }

    /// Writes the file by `write` and puts it in its place. It may be done again, with more.
    pub(in crate::command) fn finish(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let failed = |source| OutputError { path: self.path.clone(), source };
        match &self.target {
            Target::Stdout => {
                let mut writer = BufWriter::new(io::stdout().lock());
                write(&mut writer).and_then(|()| writer.flush()).map_err(failed)
            }
            Target::InPlace(file) => {
                let growing = Growing::in_place(file, &self.path).map_err(failed)?;
                let mut writer = BufWriter::new(growing);
                write(&mut writer).and_then(|()| writer.flush()).map_err(failed)?;
                writer.get_ref().make_sure().map_err(failed)
            }
            Target::Beside(new_file) => {
                let mut file = new_file.make().map_err(failed)?;
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
    pub(in crate::command) fn open_growing(&self) -> io::Result<Growing> {
        match &self.target {
            Target::Stdout => Ok(Growing::on_stdout()),
            Target::InPlace(file) => Growing::in_place(file, &self.path),
            Target::Beside(new_file) => Growing::beside(new_file, &self.path),
        }
    }
}

impl NewFile {
    /// Makes one under another name, which is removed when it is dropped.
    fn make(&self) -> io::Result<NamedTempFile> {
        let file = match self.for_caller.then(|| SpawnedProgram::with_rights_of_user(|| self.make_any())) {
            // Where he may make none it is ours, as without a caller.
            Some(Some(Ok(file))) => file,
            _ => self.make_any()?,
        };
        self.ownership.map_or(Ok(()), |ownership| ownership.give_to(file.as_file()))?;
        Ok(file)
    }

    fn make_any(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".pyspy-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // The error has the name of that file, which nobody knows but us.
        builder.tempfile_in(&self.directory).map_err(|error| {
            let inner = error.get_ref().and_then(std::error::Error::source);
            let code = inner.and_then(|inner| inner.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
            let of_directory = || self.directory.metadata().err().unwrap_or_else(|| error.kind().into());
            code.map_or_else(of_directory, io::Error::from_raw_os_error)
        })
    }
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
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_path_is_known_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(OutputFile::create(&directory.path().join("no/such/place.svg")).is_err());
        assert!(OutputFile::create(directory.path()).is_err());
    }

    #[test]
    fn names_of_other_kinds_of_files_are_known() {
        let format = |name: &str| format_by_name(Path::new(name), Format::Flamegraph).ok();
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
        assert_eq!(format_by_name(&pipe, Format::Flamegraph).ok(), Some(Format::Flamegraph));
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
