//! Source files of the target, also those inside a zip archive, as zipapps, eggs, pex and PySpark's `--py-files` have
//! them: Python names such a file by the archive's path with the member's behind it.
//!
//! Archives come from the target and can be anything: what is read of one is bounded, whatever it says of itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

/// Directories above a file that may be an archive instead.
const DEEPEST: usize = 32;
/// Members of an archive that are looked at.
const MOST_MEMBERS: usize = 1 << 20;
/// The longest list of members that is gone through, in bytes.
const LONGEST_LIST: u64 = 256 << 20;

/// The first `limit` bytes of a source file; `None` when there is none. `open` opens a regular file where the target
/// finds it.
pub(crate) fn read(open: &dyn Fn(&Path) -> io::Result<File>, path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Ok(file) = open(path) {
        file.take(limit).read_to_end(&mut bytes).ok()?;
        return Some(bytes);
    }
    for above in path.ancestors().skip(1).take(DEEPEST) {
        if above.as_os_str().is_empty() {
            break;
        }
        let Ok(archive) = open(above) else { continue };
        let member = path.strip_prefix(above).ok()?;
        return read_member(archive, member.as_os_str().as_encoded_bytes(), limit)
            .inspect_err(|error| log::debug!("no source in archive {above:?}: {error}"))
            .ok()?;
    }
    None
}

/// The first `limit` bytes of a member of a zip archive; `None` when it has none of that name that can be read.
fn read_member(file: File, name: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(io::Error::other)?;
    if archive.eocd_offset().saturating_sub(archive.directory_offset()) > LONGEST_LIST {
        return Err(io::Error::other("its list of members is too long"));
    }
    let mut found = None;
    let mut entries = archive.entries(&mut buffer);
    for _ in 0..MOST_MEMBERS {
        let Some(entry) = entries.next_entry().map_err(io::Error::other)? else { break };
        // Of members of one name Python takes the last.
        if entry.file_path().as_bytes() == name && !entry.flags().is_encrypted() {
            found = Some((entry.wayfinder(), entry.compression_method()));
        }
    }
    let Some((place, method)) = found else { return Ok(None) };
    let content = archive.get_entry(place).map_err(io::Error::other)?.reader();
    let mut bytes = Vec::new();
    match method {
        CompressionMethod::STORE => content.take(limit).read_to_end(&mut bytes)?,
        CompressionMethod::DEFLATE => DeflateDecoder::new(content).take(limit).read_to_end(&mut bytes)?,
        _ => return Ok(None),
    };
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use rawzip::ZipArchiveWriter;

    use super::*;

    /// An archive in a directory of its own, with members of these names and contents.
    fn archive(members: &[(&str, &[u8], CompressionMethod)]) -> (tempfile::TempDir, PathBuf) {
        let mut bytes = b"#!/usr/bin/env python3\n".to_vec();
        let mut writer = ZipArchiveWriter::new(&mut bytes);
        for (name, content, method) in members {
            let (mut entry, config) = writer.new_file(*name).compression_method(*method).start().unwrap();
            let descriptor = if *method == CompressionMethod::DEFLATE {
                let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default());
                let mut data = config.wrap(encoder);
                data.write_all(content).unwrap();
                let (encoder, descriptor) = data.finish().unwrap();
                encoder.finish().unwrap();
                descriptor
            } else {
                let mut data = config.wrap(&mut entry);
                data.write_all(content).unwrap();
                data.finish().unwrap().1
            };
            entry.finish(descriptor).unwrap();
        }
        writer.finish().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.pyz");
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    fn open(path: &Path) -> io::Result<File> {
        let file = File::open(path)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    #[test]
    fn members_are_read_stored_or_compressed() {
        let (_directory, path) = archive(&[
            ("pa/util.py", b"a = 1\n", CompressionMethod::DEFLATE),
            ("pb/util.py", b"b = 2\n", CompressionMethod::STORE),
        ]);
        let text = |name: &str| read(&open, &path.join(name), 100);
        assert_eq!(text("pa/util.py").as_deref(), Some(b"a = 1\n".as_slice()));
        assert_eq!(text("pb/util.py").as_deref(), Some(b"b = 2\n".as_slice()));
        assert_eq!(text("pc/util.py"), None);
        assert_eq!(text("pa"), None);
        assert_eq!(read(&open, Path::new("relative/util.py"), 100), None);
    }

    #[test]
    fn a_bomb_is_cut() {
        let zeros = vec![b' '; 64 << 20];
        let (_directory, path) = archive(&[("bomb.py", &zeros, CompressionMethod::DEFLATE)]);
        assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
        assert_eq!(read(&open, &path.join("bomb.py"), 1 << 20).unwrap().len(), 1 << 20);
    }

    #[test]
    fn damaged_archives_are_no_source_and_no_harm() {
        let content = b"x = 1\n".repeat(50);
        let (_directory, path) =
            archive(&[("a.py", &content, CompressionMethod::DEFLATE), ("b.py", b"y\n", CompressionMethod::STORE)]);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for value in [0, 0xff, whole[at] ^ 0x80] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                std::fs::write(&path, &damaged).unwrap();
                for name in ["a.py", "b.py"] {
                    let bytes = read(&open, &path.join(name), 1000);
                    assert!(bytes.is_none_or(|bytes| bytes.len() <= 1000));
                }
            }
        }
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            read(&open, &path.join("a.py"), 1000);
        }
    }
}
