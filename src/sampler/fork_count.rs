//! Whether processes have been started at all since the last look, which is cheaper to learn than which.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The number that the kernel gave last to a process or a thread, the fifth field of `/proc/loadavg`: while it stands
/// still, there are no new processes. `/proc/stat` counts them too, but adds up the interrupts of all CPUs to tell it.
#[derive(Debug)]
pub(super) struct ForkCount {
    file: Option<File>,
    last: Option<u64>,
}

impl ForkCount {
    pub(super) fn open() -> Self {
        Self { file: File::open("/proc/loadavg").ok(), last: None }
    }

    /// Whether it has moved since the last time, or cannot be told.
    pub(super) fn moved(&mut self) -> bool {
        let Ok(last) = self.read() else { return true };
        self.last.replace(last) != Some(last)
    }

    fn read(&mut self) -> io::Result<u64> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = [0; 256];
        let length = file.read(&mut bytes)?;
        let text = str::from_utf8(bytes.get(..length).unwrap_or_default()).map_err(io::Error::other)?;
        let number = text.split_ascii_whitespace().nth(4).and_then(|number| number.parse().ok());
        number.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_new_process_moves_it() {
        let mut count = ForkCount::open();
        assert!(count.moved(), "nothing is known at first");
        for _ in 0..3 {
            assert!(std::process::Command::new("true").status().unwrap().success());
            assert!(count.moved());
        }
    }
}
