//! The bytes of a core file, decompressed if need be.
//!
//! They are read where they are needed and never mapped: a core may be larger than memory, and one that is cut short
//! while it is looked at must be an error and not the end of us.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::CoreError;

/// Past this a decompressed core is not believed, in bytes: what the machines have that such cores are of.
const LARGEST: u64 = 256 << 30;
/// So much room is left on the file system of the temporary file, in bytes.
const LEFT_FREE: u64 = 256 << 20;
/// Bytes that are decompressed at a time.
const STEP: usize = 256 * 1024;
/// Runs of zeros of this length are left out of the temporary file.
const HOLE: usize = 4096;

/// What the first bytes of a file say of how it is compressed.
const COMPRESSIONS: [(&[u8], Compression); 5] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstandard),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Unread("xz")),
    (&[0x04, 0x22, 0x4d, 0x18], Compression::Unread("lz4")),
    (b"BZh", Compression::Unread("bzip2")),
];

#[derive(Debug, Clone, Copy)]
enum Compression {
    Gzip,
    Zstandard,
    Unread(&'static str),
}

/// The bytes of a core file.
#[derive(Debug)]
pub(super) struct Content {
    file: RefCell<File>,
    size: u64,
}

impl Content {
    /// Opens a core file. A compressed one goes into a temporary file that nobody else can see and that ends with us.
    pub(super) fn open(path: &Path) -> Result<Self, CoreError> {
        let failed = |source| CoreError::Read { path: path.to_owned(), source };
        let mut file = open_regular(path).map_err(failed)?;
        let mut start = [0; 8];
        let length = read_up_to(&mut file, &mut start).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let magic = COMPRESSIONS.iter().find(|(magic, _)| start[..length].starts_with(magic));
        let unpacked = match magic.map(|(_, compression)| *compression) {
            None => None,
            Some(Compression::Unread(with)) => {
                return Err(CoreError::Compression { path: path.to_owned(), with });
            }
            Some(Compression::Gzip) => {
                Some(unpack_to_temporary(flate2::read::MultiGzDecoder::new(BufReader::new(&file))))
            }
            Some(Compression::Zstandard) => Some(
                ruzstd::decoding::StreamingDecoder::new(BufReader::new(&file))
                    .map_err(io::Error::other)
                    .and_then(unpack_to_temporary),
            ),
        };
        if let Some(unpacked) = unpacked {
            file = unpacked.map_err(|source| CoreError::Decompression { path: path.to_owned(), source })?;
        }
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self { file: RefCell::new(file), size })
    }

    /// How many there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    /// `length` bytes from `offset` on, or `None` where the file does not have them.
    pub(super) fn read_bytes(&self, offset: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.read(offset, &mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Opens a regular file without waiting for what only looks like one.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Writes everything from `reader` to a temporary file, leaving holes where there are only zeros.
fn unpack_to_temporary(mut reader: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut buffer = vec![0; STEP];
    let mut room = free_room(&file).map(|room| room.saturating_sub(LEFT_FREE));
    let mut size = 0;
    loop {
        let length = read_up_to(&mut reader, &mut buffer)?;
        if length == 0 {
            break;
        }
        size += length as u64;
        if size > LARGEST {
            return Err(io::Error::other("it becomes larger than any core"));
        }
        for piece in buffer[..length].chunks(HOLE) {
            if piece.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(piece.len().cast_signed() as i64))?;
            } else {
                room = match room.map(|room| room.checked_sub(piece.len() as u64)) {
                    Some(None) => {
                        return Err(io::Error::other("there is no room for it in the folder for temporary files"));
                    }
                    Some(left) => left,
                    None => None,
                };
                file.write_all(piece)?;
            }
        }
    }
    file.set_len(size)?;
    Ok(file)
}

/// How many bytes the file system of `file` has room for, where it tells.
#[cfg_attr(unix, allow(clippy::useless_conversion, reason = "they are smaller numbers on some systems"))]
fn free_room(file: &File) -> Option<u64> {
    #[cfg(unix)]
    return nix::sys::statvfs::fstatvfs(file).ok().map(|room| {
        let (blocks, size): (u64, u64) = (room.blocks_available().into(), room.fragment_size().into());
        blocks.saturating_mul(size)
    });
    #[cfg(not(unix))]
    return file.metadata().err().map(|_| 0);
}

/// Fills `buffer` as far as the reader goes; how far.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
