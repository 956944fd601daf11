//! Which pages of a process's memory there are, as `/proc/PID/pagemap` tells it.
//!
//! An allocator may have reserved a gigabyte and used a megabyte of it. To read the rest takes as long, and gives
//! zeros.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::handle::Handle;
use crate::process::page_size;

/// Of so many pages together it is asked; ranges beyond count as touched.
const MOST_PAGES: u64 = 16 << 20;
/// Entries that are read together.
const AT_ONCE: usize = 8192;
/// The bits of an entry that say that the page is in memory, or swapped out (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;

/// The parts of these ranges whose pages were touched ever. What could not be asked counts as touched.
pub(crate) fn touched(handle: &Handle, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let (page_size, Ok(file)) = (page_size(), handle.open_file("pagemap")) else { return ranges.to_vec() };
    let mut left = MOST_PAGES;
    let mut found = Vec::new();
    for range in ranges {
        let pages = range.start / page_size..range.end.div_ceil(page_size);
        let count = pages.end - pages.start;
        let asked = if count > left { Err(io::ErrorKind::FileTooLarge.into()) } else { ask(&file, &pages) };
        left = left.saturating_sub(count);
        match asked {
            Ok(touched) => found.extend(
                touched
                    .into_iter()
                    .map(|pages| (pages.start * page_size).max(range.start)..(pages.end * page_size).min(range.end)),
            ),
            Err(_) => found.push(range.clone()),
        }
    }
    found
}

/// Which of these pages were touched, neighbours as one range.
fn ask(file: &std::fs::File, pages: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut bytes = vec![0; AT_ONCE * 8];
    let mut next = pages.start;
    while next < pages.end {
        let count = (pages.end - next).min(AT_ONCE as u64);
        let buffer = &mut bytes[..count as usize * 8];
        file.read_exact_at(buffer, next * 8)?;
        for (page, entry) in (next..).zip(buffer.as_chunks::<8>().0) {
            if u64::from_ne_bytes(*entry) & (PRESENT | SWAPPED) == 0 {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.end == page => last.end = page + 1,
                _ => found.push(page..page + 1),
            }
        }
        next += count;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use nix::unistd::{SysconfVar, sysconf};

    use super::*;

    #[test]
    fn only_pages_that_were_touched_are_told_of() {
        let page = sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap() as usize;
        // So much that it has a mapping of its own, which is empty.
        let mut memory: Vec<u8> = Vec::with_capacity(64 << 20);
        let first = (memory.as_ptr() as usize).next_multiple_of(page);
        let offset = first - memory.as_ptr() as usize + 10 * page;
        memory.spare_capacity_mut()[offset].write(1);
        let handle = Handle::open(std::process::id().cast_signed()).unwrap();
        let range = first as u64..(first + 32 * page) as u64;
        let touched = touched(&handle, std::slice::from_ref(&range));
        let expected = (first + 10 * page) as u64..(first + 11 * page) as u64;
        // Where pages come in larger ones, its neighbours are there too.
        let holds = touched.iter().any(|found| found.start <= expected.start && expected.end <= found.end);
        assert!(holds, "{touched:x?} without {expected:x?}");
        assert!(touched.iter().all(|found| range.start <= found.start && found.end <= range.end), "{touched:x?}");
    }
}
