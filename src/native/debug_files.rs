//! Files with what was stripped from others: found by build id, or by the name that the stripped file keeps
//! (`.gnu_debuglink`).

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::binary::{Architecture, Binary, MappedFile, SectionName};
use crate::process::Process;

/// The largest debug file that is read.
const SIZE_LIMIT: u64 = 2 << 30;
/// The largest of which a sum is made, where there is no build id to tell that it is the right one.
const SUM_LIMIT: usize = 512 << 20;
/// Where systems put them.
const FOLDER: &str = "/usr/lib/debug";
/// The longest name of one.
const LONGEST_NAME: usize = 4096;

/// The file with what was stripped from `binary`, which the target has mapped from `path`, with its bytes; `None` where
/// its system has none.
pub(super) fn stripped_part(
    process: &Process,
    binary: &Binary<'_>,
    bytes: &[u8],
    path: &Path,
) -> Option<(File, MappedFile)> {
    let by_id = binary.build_id().and_then(path_by_id).and_then(|path| open(process, &path));
    let same_build = |other: &[u8]| {
        Binary::parse(other, Architecture::HOST).is_ok_and(|other| other.build_id() == binary.build_id())
    };
    if let Some((file, other)) = by_id.filter(|(_, other)| same_build(other)) {
        return Some((file, other));
    }
    // The name without folders, a zero, more of them up to a multiple of four, and a sum of the file.
    let link = section(binary, bytes, ".gnu_debuglink")?;
    let end = memchr::memchr(0, link).filter(|end| (1..LONGEST_NAME).contains(end))?;
    let name = std::str::from_utf8(&link[..end]).ok().filter(|name| !name.contains('/'))?;
    let sum = u32::from_le_bytes(*link.get((end + 4) & !3..)?.first_chunk()?);
    let folder = path.parent()?;
    let below = Path::new(FOLDER).join(folder.strip_prefix("/").unwrap_or(folder));
    for candidate in [folder.join(name), folder.join(".debug").join(name), below.join(name)] {
        let Some((file, other)) = open(process, &candidate) else { continue };
        let is_right = if binary.build_id().is_some() { same_build(&other) } else { sum_of(&other) == Some(sum) };
        if is_right {
            return Some((file, other));
        }
    }
    None
}

/// The file that debug information shares parts with (`.gnu_debugaltlink`, as `dwz` makes it).
pub(super) fn shared_part(process: &Process, binary: &Binary<'_>, bytes: &[u8], path: &Path) -> Option<File> {
    let link = section(binary, bytes, ".gnu_debugaltlink")?;
    let end = memchr::memchr(0, link).filter(|end| (1..LONGEST_NAME).contains(end))?;
    let name = Path::new(std::str::from_utf8(&link[..end]).ok()?);
    let id = link.get(end + 1..)?;
    let candidates = [Some(path.parent()?.join(name)), path_by_id(id)];
    candidates.into_iter().flatten().find_map(|candidate| {
        let (file, other) = open(process, &candidate)?;
        let other = Binary::parse(&other, Architecture::HOST).ok()?;
        (other.build_id() == Some(id)).then_some(file)
    })
}

fn path_by_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first().filter(|_| (2..=64).contains(&id.len()))?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{FOLDER}/.build-id/{first:02x}/{rest}.debug").into())
}

fn open(process: &Process, path: &Path) -> Option<(File, MappedFile)> {
    let file = process.open_in_root(path).ok()?;
    if file.metadata().ok()?.len() > SIZE_LIMIT {
        return None;
    }
    let bytes = MappedFile::open(&file).ok()?;
    Some((file, bytes))
}

fn section<'bytes>(binary: &Binary<'_>, bytes: &'bytes [u8], elf: &'static str) -> Option<&'bytes [u8]> {
    let section = binary.section(SectionName { elf, mach_o: "", pe: "" })?;
    bytes.get(section.file_range.clone()?)
}

/// The sum that linkers keep: CRC-32.
fn sum_of(bytes: &[u8]) -> Option<u32> {
    let mut sum = flate2::Crc::new();
    sum.update(Some(bytes).filter(|bytes| bytes.len() <= SUM_LIMIT)?);
    Some(sum.sum())
}
