//! Where a profile goes: a file that is written at the end, or a recording that grows while it is made.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::command::shared::failure::{OutputError, UnfinishedError};
use crate::command::shared::output_file::{Growing, OutputFile, Place};
use crate::command::shared::source_finder::SourceFinder;
use crate::command::shared::standard_streams::print_note;
use crate::output::recording::{self, RecordingWriter};
use crate::output::{Format, Presentation, printable};
use crate::profile::{Keep, Profile};

/// Where a profile goes.
pub(super) struct Sink {
    path: PathBuf,
    format: Format,
    presentation: Presentation,
    sources: SourceFinder,
    file: OutputFile,
    /// Of a recording that has begun to grow.
    stream: Option<RecordingWriter<BufWriter<Growing>>>,
}

impl Sink {
    /// Makes sure that the profile can be written to `path`. Whatever is there stays as it is until there is something
    /// to write. A new file belongs to who called us through sudo if `for_caller` says so.
    pub(super) fn open(
        path: &Path,
        format: Format,
        presentation: Presentation,
        for_caller: bool,
    ) -> Result<Self, OutputError> {
        let file = if for_caller { OutputFile::create_for_caller(path)? } else { OutputFile::create(path)? };
        let sources = SourceFinder::default();
        Ok(Self { path: path.to_owned(), format, presentation, sources, file, stream: None })
    }

    /// Says where the source files of what is recorded are, for formats that show them.
    pub(super) fn find_sources(&mut self, sources: SourceFinder) {
        self.sources = sources;
    }

    /// What a profile must keep to be written here. `waiting_tasks`: it has the tasks that wait, too.
    pub(super) fn keep(&self, waiting_tasks: bool) -> Keep {
        match self.format {
            // Many tasks wait at once, which a line of time shows as parts of it; here each counts for all its time.
            Format::Html if waiting_tasks => Keep::default(),
            Format::Pyspy => Keep { timeline: false, journal: true },
            other => Keep { timeline: other.needs_timeline(), journal: false },
        }
    }

    /// Adds what is new, if this is a recording that grows.
    pub(super) fn stream(&mut self, profile: &mut Profile) -> Result<(), UnfinishedError> {
        if self.format != Format::Pyspy {
            return Ok(());
        }
        self.append(profile).map_err(|source| {
            // What has not begun to grow is lost with its first chunk.
            let is_gone = self.stream.is_none() && source.kind() != io::ErrorKind::BrokenPipe;
            let kept = if is_gone { self.rescue(profile) } else { None };
            self.unfinished(source, kept)
        })
    }

    fn append(&mut self, profile: &mut Profile) -> io::Result<()> {
        let (mut growing, is_first) = (None, self.stream.is_none());
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let mut file = self.file.open_growing()?;
                growing = file.take_place();
                let writer = RecordingWriter::new(BufWriter::new(file))?;
                empty.insert(writer)
            }
        };
        // It takes its place with its first chunk, and grows there: a kill must leave what there is.
        let written = stream.append(profile).and_then(|()| growing.map_or(Ok(()), Place::move_into_place));
        if written.is_err() && is_first {
            self.stream = None;
        }
        written
    }

    /// Writes a file with what there is so far. Where that fails, the end of the recording may do better.
    pub(super) fn write_so_far(&mut self, profile: &mut Profile) -> Result<(), UnfinishedError> {
        if self.format == Format::Pyspy {
            return self.stream(profile);
        }
        if let Err(error) = self.write_whole(profile) {
            let path = printable(&self.path.display().to_string()).into_owned();
            print_note(&format!("cannot write {path} so far: {error}; the recording goes on"));
        }
        Ok(())
    }

    fn write_whole(&self, profile: &Profile) -> io::Result<()> {
        let name = self.path.to_string_lossy();
        let source = |file: &str| self.sources.text(file);
        let write = |writer: &mut dyn Write| self.format.write(profile, &self.presentation, &source, &name, writer);
        let written = self.file.finish(write);
        written.map_err(|error| error.source)
    }

    /// Writes what there is at the end.
    pub(super) fn finish(mut self, profile: &mut Profile) -> Result<(), UnfinishedError> {
        if self.format != Format::Pyspy {
            return self.write_whole(profile).map_err(|source| {
                let kept = if source.kind() == io::ErrorKind::BrokenPipe { None } else { self.rescue(profile) };
                self.unfinished(source, kept)
            });
        }
        if self.stream.is_none() {
            self.stream(profile)?;
        }
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let file = stream.finish(profile).and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        let file = file.map_err(|source| self.unfinished(source, Some(self.path.clone())))?;
        file.make_sure().map_err(|source| {
            let kept = self.keep_elsewhere(&mut |kept| file.copy_to(kept));
            self.unfinished(source, kept.or_else(|| self.rescue(profile)))
        })
    }

    /// Keeps a profile that cannot be written where it should go, somewhere else and in as little room as can be.
    fn rescue(&self, profile: &Profile) -> Option<PathBuf> {
        self.keep_elsewhere(&mut |file| {
            let mut writer = BufWriter::new(file);
            recording::write(profile, &mut writer).and_then(|()| writer.flush())
        })
    }

    /// A file with what `write` writes in the first folder where that can be done.
    fn keep_elsewhere(&self, write: &mut dyn FnMut(&mut File) -> io::Result<()>) -> Option<PathBuf> {
        let beside = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned);
        let folders = [Some(std::env::temp_dir()), beside, std::env::current_dir().ok()];
        folders.into_iter().flatten().find_map(|folder| {
            let mut file = tempfile::Builder::new().prefix("pyspy-").suffix(".pyspy").tempfile_in(folder).ok()?;
            write(file.as_file_mut()).ok()?;
            file.keep().ok().map(|(_, path)| path)
        })
    }

    fn unfinished(&self, source: io::Error, kept: Option<PathBuf>) -> UnfinishedError {
        let kept = kept.or_else(|| self.stream.as_ref().map(|_| self.path.clone()));
        let kept = kept.filter(|kept| kept.as_os_str() != "-");
        UnfinishedError { path: self.path.clone(), kept, source }
    }
}
