//! One range of a process's address space.

use std::path::PathBuf;

/// The number of a device, as the kernel prints it in a process's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceNumber {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// A mapped range of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address, in the target.
    pub start: u64,
    /// One past the last address, in the target.
    pub end: u64,
    /// Where in the file the range begins, in bytes; 0 without a file.
    pub file_offset: u64,
    /// Whether the program may read it.
    pub readable: bool,
    /// Whether the program may write it.
    pub writable: bool,
    /// Whether the program may run code in it.
    pub executable: bool,
    /// The device of the file behind it.
    pub device: DeviceNumber,
    /// The inode of the file behind it; 0 without a file.
    pub inode: u64,
    /// The path of the file as the system printed it, which may be a path of another root or of a file that is gone;
    /// `None` for memory without a file. Chosen by the target: escape it before it is shown, and open it only by
    /// [`Process::open_mapping`].
    ///
    /// [`Process::open_mapping`]: super::Process::open_mapping
    pub path: Option<PathBuf>,
    /// Whether the file has been deleted or replaced since it was mapped.
    pub deleted: bool,
    /// The kernel's name of a range without a file, with its brackets: `[heap]`, `[stack]`, `[vdso]`, `[anon:…]`.
    pub label: Option<String>,
}

impl Mapping {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// The size of this machine's pages, at whose borders the system maps files: aarch64 has 4, 16 or 64 KiB.
#[cfg(unix)]
pub(crate) fn page_size() -> u64 {
    let told = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    told.and_then(|size| u64::try_from(size).ok()).filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

/// The size of this machine's pages.
#[cfg(windows)]
pub(crate) fn page_size() -> u64 {
    4096
}
