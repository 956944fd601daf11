//! Thread states at the rate of sampling: `/proc/PID/task/TID/stat`, kept open and read again.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::handle::Handle;
use super::stat::{STAT_LINE_LIMIT, StatLine};
use crate::process::{ThreadId, ThreadReading};

/// How many files are kept open at most; threads beyond that are opened for each look.
const OPEN_LIMIT: usize = 8192;

/// How many descriptors are left to everything else.
const SPARE_DESCRIPTORS: u64 = 128;

/// The states of the threads of one process. A look at a thread seen before is one system call and allocates nothing.
#[derive(Debug)]
pub struct ThreadStates {
    handle: Arc<Handle>,
    files: HashMap<ThreadId, File>,
    capacity: usize,
    raised: bool,
}

impl ThreadStates {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        let capacity = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| room(soft));
        Self { handle, files: HashMap::new(), capacity, raised: false }
    }

    /// Looks at a thread. While we hold it, its state is that of a traced thread: look first, then pause.
    ///
    /// # Errors
    /// With the system's error; the thread is gone in nearly every case.
    pub fn read(&mut self, thread: ThreadId) -> io::Result<ThreadReading> {
        if let Some(file) = self.files.get(&thread) {
            let reading = read_stat(file);
            if reading.is_err() {
                self.files.remove(&thread);
            }
            return reading;
        }
        let file = self.handle.open_file(&format!("task/{thread}/stat"))?;
        let reading = read_stat(&file)?;
        if self.files.len() >= self.capacity && !self.raised {
            self.raised = true;
            self.capacity = raise_limit().map_or(self.capacity, room);
        }
        if self.files.len() < self.capacity {
            self.files.insert(thread, file);
        }
        Ok(reading)
    }

    /// Lets go of the threads that are not to be kept: those that are gone, which nothing else would notice.
    pub fn retain(&mut self, mut keep: impl FnMut(ThreadId) -> bool) {
        self.files.retain(|thread, _| keep(*thread));
    }

    /// How many files are held open.
    pub fn open_files(&self) -> usize {
        self.files.len()
    }
}

fn read_stat(file: &File) -> io::Result<ThreadReading> {
    let mut line = [0; STAT_LINE_LIMIT];
    let length = file.read_at(&mut line, 0)?;
    let line = StatLine::parse(line.get(..length).unwrap_or_default()).ok_or(Errno::ESRCH)?;
    Ok(ThreadReading { activity: line.activity, user_ticks: line.user_ticks, system_ticks: line.system_ticks })
}

/// How many files may be kept open under a limit on descriptors.
fn room(limit: u64) -> usize {
    usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(OPEN_LIMIT).min(OPEN_LIMIT)
}

/// Raises our limit on descriptors as far as is of use and allowed; the limit then. Programs that we start later would
/// inherit it, which is why it is not done before it is needed.
fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = (OPEN_LIMIT as u64 + SPARE_DESCRIPTORS).min(hard).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).ok()?;
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ThreadActivity;
    use crate::process::linux::testing::{Target, wait_until};

    #[test]
    fn busy_and_waiting_threads_are_told_apart() {
        let mut target = Target::python(
            "
ids = []
threading.Thread(target=lambda: (ids.append(threading.get_native_id()), time.sleep(600)), daemon=True).start()
while not ids: pass
ready()
say(str(ids[0]))
while True: pass",
        );
        let waiting: ThreadId = target.line().parse().unwrap();
        let busy = ThreadId::from(target.pid().unsigned_abs());
        let mut states = target.process().thread_states();
        wait_until("the one sleeps", || states.read(waiting).unwrap().activity == ThreadActivity::Sleeping);
        let before = states.read(busy).unwrap();
        wait_until("the other uses its time", || {
            let reading = states.read(busy).unwrap();
            reading.activity.is_running() && reading.user_ticks > before.user_ticks
        });
        assert_eq!(states.open_files(), 2);
        states.retain(|thread| thread == busy);
        assert_eq!(states.open_files(), 1);
    }

    #[test]
    fn a_thread_that_is_gone_is_forgotten() {
        let mut target = Target::python("ready(); sys.stdin.readline()");
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let mut states = target.process().thread_states();
        assert!(states.read(thread).is_ok());
        target.end();
        assert!(states.read(thread).is_err());
        assert!(states.read(thread).is_err());
        assert_eq!(states.open_files(), 0);
    }

    #[test]
    fn more_threads_than_files_are_read_all_the_same() {
        let target = Target::python(
            "
for _ in range(20): threading.Thread(target=sys.stdin.readline, daemon=True).start()
ready()
time.sleep(600)",
        );
        let process = target.process();
        let threads = process.threads().unwrap();
        assert_eq!(threads.len(), 21);
        let mut states = ThreadStates { capacity: 4, raised: true, ..process.thread_states() };
        for _ in 0..3 {
            for thread in &threads {
                assert!(states.read(*thread).is_ok());
            }
        }
        assert_eq!(states.open_files(), 4);

        // Where the limit may be raised, it is.
        let mut states = ThreadStates { capacity: 4, raised: false, ..process.thread_states() };
        for thread in &threads {
            assert!(states.read(*thread).is_ok());
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, (OPEN_LIMIT as u64 + SPARE_DESCRIPTORS).min(hard).max(soft));
        assert_eq!(states.open_files(), threads.len().min(room(soft)));
    }

    #[test]
    fn the_number_of_files_leaves_room_for_others() {
        assert_eq!((room(0), room(128), room(1024), room(u64::MAX)), (0, 0, 896, OPEN_LIMIT));
    }
}
