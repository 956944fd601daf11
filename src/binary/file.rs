//! The one place that maps files into our memory.
//!
//! A mapping is only as safe as the file: when somebody cuts a mapped file short, touching the lost pages kills us
//! (SIGBUS), and when somebody writes to it, bytes change under a shared reference. The target is hostile, and a
//! profiler run by root maps files that the target's user owns. So a file is mapped only if nobody but root and our own
//! user may write to it and it is not served by a process (FUSE, which can claim any owner), and copied into memory
//! otherwise (some milliseconds for a libpython). What root or we ourselves do to a file in the milliseconds that we
//! look at it is accepted: package managers replace files by renaming, which leaves a mapped one whole.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;

use memmap2::Mmap;

use super::BinaryError;

/// The most that is copied of a file that cannot be mapped: larger than any interpreter, small enough to hold.
const COPY_LIMIT: u64 = 512 << 20;

/// The bytes of a file, mapped or copied; dereferences to them.
///
/// Keep it only as long as the facts take to read. Later changes of a copied file are not seen.
#[derive(Debug)]
pub(crate) struct MappedFile {
    content: Content,
}

#[derive(Debug)]
enum Content {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl MappedFile {
    /// Maps the file if that is safe (see the module), else reads it whole. The file may be closed afterwards.
    ///
    /// # Errors
    /// When it is no regular file, cannot be read, or would have to be copied and is larger than 512 MiB.
    pub(crate) fn open(file: &File) -> Result<Self, BinaryError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(BinaryError::NotRegular);
        }
        let content = match only_trusted_may_write(&metadata) && !is_served_by_a_process(file) {
            true => Content::Mapped(map(file)?),
            false => Content::Copied(copy(file, metadata.len(), COPY_LIMIT)?),
        };
        Ok(Self { content })
    }

    /// Whether the bytes are the file's own pages.
    #[cfg(test)]
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.content, Content::Mapped(_))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.content {
            Content::Mapped(map) => map,
            Content::Copied(bytes) => bytes,
        }
    }
}

/// Whether nobody but root and our own user may change the file. An access control list that lets others write shows in
/// the group's bits (it is the list's mask), so it is covered.
#[cfg(unix)]
fn only_trusted_may_write(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = metadata.uid();
    (owner == 0 || owner == nix::unistd::geteuid().as_raw()) && metadata.mode() & 0o022 == 0
}

/// Whether the file system is FUSE; what we cannot ask about counts as such.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_served_by_a_process(file: &File) -> bool {
    use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};
    fstatfs(file).map_or(true, |system| system.filesystem_type() == FUSE_SUPER_MAGIC)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_served_by_a_process(_file: &File) -> bool {
    false
}

/// Windows refuses to cut or replace a file while it is mapped.
#[cfg(not(unix))]
fn only_trusted_may_write(_metadata: &Metadata) -> bool {
    true
}

#[expect(
    unsafe_code,
    reason = "a mapping is memory that others can change; the callers make sure that only trusted ones can"
)]
fn map(file: &File) -> Result<Mmap, BinaryError> {
    // SAFETY: the mapping is read-only and `open` made sure that nobody but root and our own user, who can do worse to
    // us than this, is able to change or truncate the file while it is mapped.
    let map = unsafe { Mmap::map(file) };
    Ok(map?)
}

/// Reads the whole file, wherever it was left, but at most `limit` bytes even if it grows meanwhile.
fn copy(mut file: &File, size: u64, limit: u64) -> Result<Vec<u8>, BinaryError> {
    if size > limit {
        return Err(BinaryError::TooLarge { size, limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.seek(SeekFrom::Start(0))?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_with(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn the_file_is_read_from_its_beginning_wherever_it_was_left() {
        let file = file_with(b"hello");
        assert_eq!(&*MappedFile::open(&file).unwrap(), b"hello");
        assert_eq!(copy(&file, 5, 100).unwrap(), b"hello");
    }

    #[test]
    fn an_empty_file_is_no_error() {
        assert_eq!(&*MappedFile::open(&file_with(b"")).unwrap(), b"");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_write_survives_being_cut() {
        use std::os::unix::fs::PermissionsExt;
        let file = file_with(&[7; 100_000]);
        for (mode, mapped) in [(0o644, true), (0o755, true), (0o664, false), (0o646, false), (0o777, false)] {
            file.set_permissions(PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(MappedFile::open(&file).unwrap().is_mapped(), mapped, "{mode:o}");
        }
        let bytes = MappedFile::open(&file).unwrap();
        file.set_len(0).unwrap();
        assert!(bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == 7));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_user_is_copied() {
        let file = file_with(b"hello");
        if let Err(error) = std::os::unix::fs::fchown(&file, Some(12345), None) {
            writeln!(std::io::stderr(), "skipped: cannot give a file to another user: {error}").unwrap();
            return;
        }
        let bytes = MappedFile::open(&file).unwrap();
        assert!(!bytes.is_mapped());
        assert_eq!(&*bytes, b"hello");
    }

    #[test]
    fn what_is_no_regular_file_or_too_large_to_copy_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let directory = File::open(directory.path()).unwrap();
        assert!(matches!(MappedFile::open(&directory), Err(BinaryError::NotRegular)));
        assert!(matches!(copy(&file_with(b"hello"), 5, 4), Err(BinaryError::TooLarge { size: 5, limit: 4 })));
        // One that grows after its size was looked at.
        assert_eq!(copy(&file_with(b"hello"), 3, 4).unwrap(), b"hell");
    }
}
