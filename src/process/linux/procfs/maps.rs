//! `/proc/PID/maps`, taken apart byte by byte.
//!
//! The crate `proc-maps` does this too, but fails for the whole process when one path is not UTF-8, joins the parts of
//! a path that has two spaces in a row, and keeps the device as text; paths are the target's choice, so we read the
//! lines ourselves and use the crate where there is no such file. The form of a line (proc(5)): `start-end perms offset
//! major:minor inode   path`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::process::{DeviceNumber, Mapping};

/// How many mappings we take; the kernel's own limit (`vm.max_map_count`) is 65530 unless raised.
const MAPPING_LIMIT: usize = 1 << 20;

/// The mappings in the text of a maps file, in the order of addresses. A line that is not of the known form is left
/// out.
pub(crate) fn parse(text: &[u8]) -> Vec<Mapping> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).take(MAPPING_LIMIT).collect()
}

fn parse_line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let range = next_field(&mut rest)?;
    let (start, end) = range.split_at(range.iter().position(|byte| *byte == b'-')?);
    let permissions = next_field(&mut rest)?;
    let file_offset = hexadecimal(next_field(&mut rest)?)?;
    let device = next_field(&mut rest)?;
    let (major, minor) = device.split_at(device.iter().position(|byte| *byte == b':')?);
    let inode = str::from_utf8(next_field(&mut rest)?).ok()?.parse().ok()?;

    let name = rest.trim_ascii_start();
    let (path, deleted, label) = match name.first() {
        Some(b'/') => {
            let deleted = name.strip_suffix(b" (deleted)");
            (Some(unescape(deleted.unwrap_or(name))), deleted.is_some(), None)
        }
        Some(_) => (None, false, Some(String::from_utf8_lossy(name).into_owned())),
        None => (None, false, None),
    };
    let has = |place: usize, letter| permissions.get(place) == Some(&letter);
    let (start, end) = (hexadecimal(start)?, hexadecimal(end.get(1..)?)?);
    (start < end).then_some(Mapping {
        start,
        end,
        file_offset,
        readable: has(0, b'r'),
        writable: has(1, b'w'),
        executable: has(2, b'x'),
        device: DeviceNumber {
            major: hexadecimal(major)?.try_into().ok()?,
            minor: hexadecimal(minor.get(1..)?)?.try_into().ok()?,
        },
        inode,
        path,
        deleted,
        label,
    })
}

/// Takes the bytes up to the next space off `rest`.
fn next_field<'line>(rest: &mut &'line [u8]) -> Option<&'line [u8]> {
    let line = rest.trim_ascii_start();
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (field, after) = line.split_at(end);
    *rest = after;
    (!field.is_empty()).then_some(field)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// A path as it is on disk: the kernel writes a newline in it as `\012` and nothing else in any other way.
fn unescape(path: &[u8]) -> PathBuf {
    const NEWLINE: &[u8] = b"\\012";
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(NEWLINE) {
            bytes.push(b'\n');
            rest = after;
        } else {
            bytes.push(*byte);
            rest = &rest[1..];
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn one(line: &[u8]) -> Mapping {
        let mut mappings = parse(line);
        assert_eq!(mappings.len(), 1, "{mappings:?}");
        mappings.remove(0)
    }

    #[test]
    fn all_fields_of_a_file_mapping_are_read() {
        let mapping = one(
            b"7f0000001000-7f0000003000 r-xp 0001a000 fe:1b 4242                    /usr/lib/libpython3.13.so.1.0\n",
        );
        let expected = Mapping {
            start: 0x7f00_0000_1000,
            end: 0x7f00_0000_3000,
            file_offset: 0x1a000,
            readable: true,
            writable: false,
            executable: true,
            device: DeviceNumber { major: 0xfe, minor: 0x1b },
            inode: 4242,
            path: Some("/usr/lib/libpython3.13.so.1.0".into()),
            deleted: false,
            label: None,
        };
        assert_eq!(mapping, expected);
    }

    #[test]
    fn hostile_paths_keep_their_bytes() {
        let mapping = one(b"1000-2000 rw-p 00000000 08:01 7    /a  b\xff\xfe\\012c (deleted)");
        assert_eq!(mapping.path.as_deref().map(|path| path.as_os_str().as_bytes()), Some(&b"/a  b\xff\xfe\nc"[..]));
        assert!(mapping.deleted);
    }

    #[test]
    fn special_ranges_have_a_label_and_no_path() {
        let heap = one(b"1000-2000 rw-p 00000000 00:00 0   [heap]");
        assert_eq!((heap.path, heap.label.as_deref()), (None, Some("[heap]")));
        let nameless = one(b"1000-2000 ---p 00000000 00:00 0 ");
        assert_eq!((nameless.path, nameless.label, nameless.readable), (None, None, false));
    }

    #[test]
    fn damaged_lines_are_left_out() {
        assert_eq!(parse(b"2000-1000 r--p 0 0:0 0\n\nxyz\n1000-2000\n1000-2000 r--p 0 00 0\n"), []);
    }

    #[test]
    fn our_own_maps_are_as_the_crate_reads_them() {
        let theirs = proc_maps::get_process_maps(std::process::id().cast_signed()).unwrap();
        let ours = parse(&std::fs::read("/proc/self/maps").unwrap());
        // The allocator and other tests' threads map memory all the while; the program's own files stay.
        let own_program = std::env::current_exe().unwrap();
        let theirs: Vec<_> = theirs.iter().filter(|map| map.filename() == Some(own_program.as_path())).collect();
        let ours: Vec<_> = ours.iter().filter(|map| map.path.as_deref() == Some(Path::new(&own_program))).collect();
        assert!(!ours.is_empty());
        assert_eq!(theirs.len(), ours.len());
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!((theirs.start() as u64, theirs.size() as u64), (ours.start, ours.size()));
            assert_eq!(
                (theirs.is_read(), theirs.is_write(), theirs.is_exec()),
                (ours.readable, ours.writable, ours.executable)
            );
            assert_eq!((theirs.offset as u64, theirs.inode as u64), (ours.file_offset, ours.inode));
        }
    }
}
