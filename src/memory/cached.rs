//! Memory in whole pages, each read once: for chasing many pointers through a target that stands still, or whose
//! bytes are compared again afterwards.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Memory, ReadError, ReadFailure};

/// The least page size of the systems that we run on.
const PAGE: u64 = 4096;
/// Reads longer than this go past the cache.
const LONGEST: usize = 64 * 1024;
/// Pages kept; when there are more, the cache begins anew.
const MOST_PAGES: usize = 16 * 1024;

/// A cache of pages over `memory`. It never notices that the target changed: make a new one for each look.
#[derive(Debug)]
pub struct Cached<M> {
    memory: M,
    pages: RefCell<HashMap<u64, Box<[u8]>>>,
}

impl<M: Memory> Cached<M> {
    /// An empty cache.
    pub fn new(memory: M) -> Self {
        Self { memory, pages: RefCell::new(HashMap::new()) }
    }
}

impl<M: Memory> Memory for Cached<M> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len();
        let failed = |failure| ReadError::new(address, length, failure);
        let end = address.checked_add(buffer.len() as u64).filter(|end| *end <= u64::MAX - PAGE);
        let end = end.ok_or_else(|| failed(ReadFailure::Unmapped))?;
        if buffer.len() > LONGEST {
            return self.memory.read(address, buffer);
        }
        let mut pages = self.pages.borrow_mut();
        if pages.len() >= MOST_PAGES {
            pages.clear();
        }
        let (first, last) = (address & !(PAGE - 1), end.saturating_sub(1).max(address) & !(PAGE - 1));
        let mut page = first;
        while page <= last {
            let bytes = match pages.entry(page) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut bytes = vec![0; PAGE as usize];
                    self.memory.read(page, &mut bytes).map_err(|error| failed(error.failure))?;
                    entry.insert(bytes.into_boxed_slice())
                }
            };
            let from = address.max(page);
            let to = end.min(page + PAGE);
            let source = &bytes[(from - page) as usize..(to - page) as usize];
            buffer[(from - address) as usize..(to - address) as usize].copy_from_slice(source);
            page += PAGE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Image, Recording};

    #[test]
    fn a_page_is_read_once() {
        let mut image = Image::new();
        image.map(0x1000, (0..0x3000u32).map(|index| (index % 251) as u8).collect());
        let recording = Recording::new(&image);
        let cached = Cached::new(&recording);
        for address in (0x1000..0x3ff0).step_by(7) {
            assert_eq!(cached.read_array::<16>(address), image.read_array::<16>(address));
        }
        assert!(cached.read_u64(0x3ffc).is_err());
        assert!(cached.read_u64(u64::MAX - 4).is_err());
        assert_eq!(recording.into_reads().len(), 3);
    }
}
