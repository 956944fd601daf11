//! A file that grows while it is made.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::existing::is_at;
use super::{NewFile, truncate_file};

/// A file that grows.
pub(in crate::command) struct Growing {
    writer: Box<dyn Write>,
    place: Option<Place>,
    check: Option<Check>,
}

/// Where a growing file is, and where it is to be. It is removed if it never gets there.
pub(in crate::command) struct Place {
    temporary: TempPath,
    path: PathBuf,
}

/// What is needed to tell at the end whether the file is where it was put.
struct Check {
    file: File,
    path: PathBuf,
    /// How it is made anew, where that can be done.
    new_file: Option<NewFile>,
}

impl Growing {
    /// Standard output, of which nobody can say whether it arrives.
    pub(super) fn on_stdout() -> Self {
        Self { writer: Box::new(io::stdout()), place: None, check: None }
    }

    /// A file that is written where it is.
    pub(super) fn in_place(file: &File, path: &Path) -> io::Result<Self> {
        truncate_file(file)?;
        let check = Check { file: file.try_clone()?, path: path.to_owned(), new_file: None };
        Ok(Self { writer: Box::new(file.try_clone()?), place: None, check: Some(check) })
    }

    /// A new file, which stays beside its place until it is put there.
    pub(super) fn beside(new_file: &NewFile, path: &Path) -> io::Result<Self> {
        let (file, temporary) = new_file.make()?.into_parts();
        let place = Place { temporary, path: path.to_owned() };
        let check = Check { file: file.try_clone()?, path: path.to_owned(), new_file: Some(new_file.clone()) };
        Ok(Self { writer: Box::new(file), place: Some(place), check: Some(check) })
    }

    /// Where it must be put once it holds something; `None` if it is there already.
    pub(in crate::command) fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Makes sure at the end that it is where it was put. One that was removed meanwhile is put there once more.
    ///
    /// # Errors
    /// When it is not, and cannot be: something else is there, or its directory is gone.
    pub(in crate::command) fn make_sure(&self) -> io::Result<()> {
        let Some(check) = self.check.as_ref().filter(|check| check.is_of_a_file()) else { return Ok(()) };
        match is_at(&check.file, &check.path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other("another file is there now")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => check.put_back(error),
            Err(error) => Err(error),
        }
    }

    /// Copies what was written.
    ///
    /// # Errors
    /// When it cannot be read, as that of a pipe.
    pub(in crate::command) fn copy_to(&self, writer: &mut File) -> io::Result<()> {
        let check = self.check.as_ref().ok_or(io::ErrorKind::NotFound)?;
        check.copy_to(writer)
    }
}

impl Check {
    fn is_of_a_file(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    fn put_back(&self, missing: io::Error) -> io::Result<()> {
        let Some(new_file) = &self.new_file else { return Err(missing) };
        let mut file = new_file.make()?;
        self.copy_to(file.as_file_mut())?;
        file.persist_noclobber(&self.path).map(drop).map_err(|error| error.error)
    }

    fn copy_to(&self, writer: &mut File) -> io::Result<()> {
        let mut file = &self.file;
        let end = file.stream_position()?;
        file.rewind()?;
        let copied = io::copy(&mut file, writer);
        file.seek(io::SeekFrom::Start(end))?;
        copied.map(drop)
    }
}

impl Place {
    /// Puts the file in its place.
    pub(in crate::command) fn move_into_place(self) -> io::Result<()> {
        let path = self.path;
        self.temporary.persist(&path).map_err(|error| error.error)?;
        fs::symlink_metadata(&path).map(drop)
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
