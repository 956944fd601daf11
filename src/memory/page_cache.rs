//! Memory in whole pages, each read once: for chasing many pointers through a target that stands still, or whose
//! bytes are compared again afterwards.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt};

use super::{Memory, ReadError, ReadFailure, Request};

/// The least page size of the systems that we run on.
const PAGE: u64 = 4096;
/// Reads longer than this go past the cache.
const LONGEST: usize = 64 * 1024;
/// Pages kept, unless it is said otherwise; when there are more, the cache begins anew.
const MOST_PAGES: usize = 10 * 1024;

/// A cache of pages over `memory`. It never notices that the target changed: make a new one for each look.
#[derive(Debug)]
pub(crate) struct PageCache<M> {
    memory: M,
    pages: RefCell<HashMap<u64, Page>>,
    /// Pages that were read because somebody asked for them.
    pages_read: Cell<u64>,
    most_pages: usize,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    /// Somebody has read from it.
    is_used: bool,
}

#[cfg(any(fuzzing, test))]
thread_local! {
    static READS: RefCell<Option<Vec<(u64, usize)>>> = const { RefCell::new(None) };
}

/// The address and length of each read through caches of this thread during `work`, as opposed to the pages that they
/// fetch for it: what of a process a saved image has to have.
#[cfg(any(fuzzing, test))]
pub(crate) fn reads_through_caches(work: impl FnOnce()) -> Vec<(u64, usize)> {
    READS.with_borrow_mut(|reads| *reads = Some(vec![]));
    work();
    READS.take().unwrap_or_default()
}

impl<M: Memory> PageCache<M> {
    /// An empty cache.
    pub(crate) fn new(memory: M) -> Self {
        Self::with_room(memory, MOST_PAGES)
    }

    /// One that keeps so many pages at most: for what is read beside another cache.
    pub(crate) fn with_room(memory: M, most_pages: usize) -> Self {
        Self { memory, pages: RefCell::new(HashMap::new()), pages_read: Cell::new(0), most_pages }
    }

    /// How many pages were read because they were asked for and not here; a refresh does not count.
    pub(crate) fn pages_read(&self) -> u64 {
        self.pages_read.get()
    }

    /// The addresses of the pages that somebody has read from.
    pub(crate) fn addresses_used(&self) -> Vec<u64> {
        self.pages.borrow().iter().filter(|(_, page)| page.is_used).map(|(address, _)| *address).collect()
    }

    /// Reads all pages that it holds anew, together; those that cannot be read any more are dropped. So what was read
    /// once can be read again as it is at one moment, in as few system calls as can be.
    pub(crate) fn refresh(&self) {
        let mut pages = self.pages.borrow_mut();
        let mut requests: Vec<Request<'_>> =
            pages.iter_mut().map(|(address, page)| Request::new(*address, &mut page.bytes)).collect();
        self.memory.read_many(&mut requests);
        let failed: Vec<u64> =
            requests.iter().filter(|request| !request.complete).map(|request| request.address).collect();
        drop(requests);
        for page in failed {
            pages.remove(&page);
        }
    }
}

impl<M: Memory> PageCache<M> {
    /// Fetches those of the pages that are not here yet, together.
    pub(crate) fn fetch(&self, wanted: impl Iterator<Item = u64>) {
        let mut pages = self.pages.borrow_mut();
        let mut missing: Vec<u64> = wanted.filter(|page| !pages.contains_key(page)).collect();
        missing.sort_unstable();
        missing.dedup();
        if pages.len() + missing.len() > self.most_pages {
            pages.clear();
            return;
        }
        let mut bytes: Vec<_> = missing.iter().map(|_| vec![0; PAGE as usize].into_boxed_slice()).collect();
        let mut requests: Vec<Request<'_>> =
            missing.iter().zip(&mut bytes).map(|(page, bytes)| Request::new(*page, bytes)).collect();
        self.memory.read_many(&mut requests);
        let are_complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
        for ((page, bytes), complete) in missing.into_iter().zip(bytes).zip(are_complete) {
            if complete {
                self.pages_read.update(|count| count + 1);
                pages.insert(page, Page { bytes, is_used: false });
            }
        }
    }
}

impl<M: Memory> Memory for PageCache<M> {
    fn read_many(&self, requests: &mut [Request<'_>]) {
        let first_and_last = requests.iter().filter(|request| request.buffer.len() <= LONGEST).flat_map(|request| {
            let last = request.address.saturating_add(request.buffer.len().max(1) as u64 - 1);
            [request.address, last].map(|address| address & !(PAGE - 1))
        });
        self.fetch(first_and_last.filter(|page| *page <= u64::MAX - PAGE));
        for request in requests {
            request.complete = self.read(request.address, request.buffer).is_ok();
        }
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len();
        let failed = |failure| ReadError::new(address, length, failure);
        let end = address.checked_add(buffer.len() as u64).filter(|end| *end <= u64::MAX - PAGE);
        let end = end.ok_or_else(|| failed(ReadFailure::Unmapped))?;
        if buffer.len() > LONGEST {
            return self.memory.read(address, buffer);
        }
        #[cfg(any(fuzzing, test))]
        READS.with_borrow_mut(|reads| reads.iter_mut().for_each(|reads| reads.push((address, length))));
        let mut pages = self.pages.borrow_mut();
        if pages.len() >= self.most_pages {
            pages.clear();
        }
        let (first, last) = (address & !(PAGE - 1), end.saturating_sub(1).max(address) & !(PAGE - 1));
        let mut page = first;
        while page <= last {
            let entry = match pages.entry(page) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut bytes = vec![0; PAGE as usize];
                    self.memory.read(page, &mut bytes).map_err(|error| failed(error.failure))?;
                    self.pages_read.update(|count| count + 1);
                    entry.insert(Page { bytes: bytes.into_boxed_slice(), is_used: true })
                }
            };
            entry.is_used = true;
            let from = address.max(page);
            let to = end.min(page + PAGE);
            let source = &entry.bytes[(from - page) as usize..(to - page) as usize];
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
    fn a_refresh_shows_what_is_there_now() {
        let image = RefCell::new(Image::new());
        image.borrow_mut().map(0x1000, vec![1; 0x2000]);
        struct Shared<'image>(&'image RefCell<Image>);
        impl Memory for Shared<'_> {
            fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
                self.0.borrow().read(address, buffer)
            }
        }
        let cached = PageCache::new(Shared(&image));
        assert_eq!(cached.read_u8(0x1234), Ok(1));
        image.borrow_mut().patch(0x1234, &[2]);
        assert_eq!(cached.read_u8(0x1234), Ok(1));
        cached.refresh();
        assert_eq!(cached.read_u8(0x1234), Ok(2));
        *image.borrow_mut() = Image::new();
        cached.refresh();
        assert!(cached.read_u8(0x1234).is_err());
    }

    #[test]
    fn a_page_is_read_once() {
        let mut image = Image::new();
        image.map(0x1000, (0..0x3000u32).map(|index| (index % 251) as u8).collect());
        let recording = Recording::new(&image);
        let cached = PageCache::new(&recording);
        for address in (0x1000..0x3ff0).step_by(7) {
            assert_eq!(cached.read_array::<16>(address), image.read_array::<16>(address));
        }
        assert!(cached.read_u64(0x3ffc).is_err());
        assert!(cached.read_u64(u64::MAX - 4).is_err());
        assert_eq!(recording.into_reads().len(), 3);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut image = Image::new();
        image.map(0x1000, vec![1; 0x40000]);
        let cached = PageCache::with_room(&image, 20);
        for address in (0x1000..0x41000).step_by(0x800) {
            assert_eq!(cached.read_u8(address), Ok(1));
            cached.fetch([address & !0xfff, 0x1000].into_iter());
            assert!(cached.pages.borrow().len() <= 20, "{address:#x}");
        }
        assert!(cached.pages_read() >= 0x40);
    }

    #[test]
    fn pages_that_are_wanted_together_are_read_together() {
        let mut image = Image::new();
        image.map(0x1000, (0..0x3000u32).map(|index| (index % 251) as u8).collect());
        let counting = Counting { image, calls: Cell::new(0) };
        let cached = PageCache::new(&counting);
        let mut buffers = [[0; 16]; 4];
        // One across two pages, one that is not there.
        let addresses = [0x1ff8, 0x3000, 0x3010, 0x9000];
        let mut requests: Vec<_> =
            addresses.iter().zip(&mut buffers).map(|(address, buffer)| Request::new(*address, buffer)).collect();
        cached.read_many(&mut requests);
        assert_eq!(requests.iter().map(|request| request.complete).collect::<Vec<_>>(), [true, true, true, false]);
        for (address, buffer) in addresses.iter().zip(&buffers).take(3) {
            assert_eq!(counting.image.read_array(*address), Ok(*buffer));
        }
        // All pages at once, and once more the one that is not there.
        assert_eq!(counting.calls.get(), 2);
    }

    struct Counting {
        image: Image,
        calls: Cell<u32>,
    }

    impl Memory for Counting {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
            self.calls.set(self.calls.get() + 1);
            self.image.read(address, buffer)
        }

        fn read_many(&self, requests: &mut [Request<'_>]) {
            self.calls.set(self.calls.get() + 1);
            self.image.read_many(requests);
        }
    }
}
