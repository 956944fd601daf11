//! Thread states at the rate of sampling, from files in `/proc/PID/task/TID` that are kept open and read again.
//!
//! `stat` has the state among fifty other numbers and is the dearest of these files. `syscall` says "running" of a
//! thread that runs or wants to, at a quarter of the cost. `schedstat`, as cheap, has the time on a CPU and how often
//! the thread came onto one: as long as these numbers stand still, a thread that waited still waits, in the same place.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::handle::Handle;
use super::stat::{STAT_LINE_LIMIT, Scheduling, StatLine};
use super::syscall::futex_of;
use crate::process::{ThreadId, ThreadLook};

/// How many threads' files are kept open at most; threads beyond that are opened for each look.
const THREAD_LIMIT: usize = 8192;
/// Files a thread.
const FILES: usize = 3;
/// How many descriptors are left to everything else.
const SPARE_DESCRIPTORS: u64 = 128;
/// A thread that waited when we held it counts as running only after so much time on a CPU, in ns: to go back to its
/// wait takes some 20 µs.
const ROUSED: u64 = 200_000;
/// So much time on a CPU, in ns, each further hold grants to a thread that goes back to its wait. Not more: one that
/// runs is held again and again, too, and may be on a CPU for less than `ROUSED` from one hold to the next.
const ROUSED_AGAIN: u64 = 60_000;
/// A thread that was woken and has been on a CPU for less than this, in ns, is still busy with what it waited for: it
/// looks whether it may go on, and may go back to its wait.
const JUST_WOKEN: u64 = 100_000;
/// Three numbers of 64 bits fit.
const SCHEDULE_LIMIT: usize = 64;

/// The states of the threads of one process. A look at a thread seen before is one system call or two and allocates
/// nothing.
#[derive(Debug)]
pub struct ThreadStates {
    handle: Arc<Handle>,
    threads: HashMap<ThreadId, Watched, foldhash::fast::RandomState>,
    capacity: usize,
    raised: bool,
}

/// A thread whose files are open.
#[derive(Debug)]
struct Watched {
    state: StateFile,
    schedule: Option<File>,
    /// Its `stat`, opened when its CPU is asked for.
    stat: Option<File>,
    last: Last,
    /// Its time on a CPU (ns) when we held it while it waited. To go back to its wait it has to run for a moment, which
    /// is our doing.
    roused_at: Option<u64>,
}

/// Where the state of a thread is read.
#[derive(Debug)]
enum StateFile {
    SystemCall(File),
    /// On a kernel that has no `syscall` files or shows us none.
    Stat(File),
}

/// What the last look at a thread saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Running,
    /// Waiting, as it has been since before these numbers were read, if they could be; or just woken after that.
    Waiting {
        schedule: Option<Schedule>,
        futex: Option<u64>,
    },
}

/// What the state file of a thread says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Running,
    /// Not running; the futex that it waits in, where the file tells that.
    Waiting(Option<u64>),
}

/// The line of a `schedstat` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Schedule {
    bytes: [u8; SCHEDULE_LIMIT],
    length: usize,
}

impl ThreadStates {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        let capacity = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| room(soft));
        Self { handle, threads: HashMap::default(), capacity, raised: false }
    }

    /// Looks at a thread. While we hold it, its state is that of a traced thread: look first, then pause.
    ///
    /// # Errors
    /// With the system's error; the thread is gone in nearly every case.
    pub fn look(&mut self, thread: ThreadId) -> io::Result<ThreadLook> {
        if let Some(watched) = self.threads.get_mut(&thread) {
            let look = watched.look();
            if look.is_err() {
                self.threads.remove(&thread);
            }
            return look;
        }
        let mut watched = Watched::open(&self.handle, thread)?;
        let look = watched.look()?;
        if self.threads.len() >= self.capacity && !self.raised {
            self.raised = true;
            self.capacity = raise_limit().map_or(self.capacity, room);
        }
        if self.threads.len() < self.capacity {
            self.threads.insert(thread, watched);
        }
        Ok(look)
    }

    /// Whether a thread was running when it was last looked at.
    pub fn was_running(&self, thread: ThreadId) -> bool {
        self.threads.get(&thread).is_some_and(|watched| watched.last == Last::Running)
    }

    /// The CPU on which a thread is or was last; `None` where that cannot be told or it was never looked at.
    pub fn cpu(&mut self, thread: ThreadId) -> Option<usize> {
        let watched = self.threads.get_mut(&thread)?;
        if watched.stat.is_none() {
            watched.stat = self.handle.open_file(&format!("task/{thread}/stat")).ok();
        }
        let mut line = [0; STAT_LINE_LIMIT];
        let length = watched.stat.as_ref()?.read_at(&mut line, 0).ok()?;
        Some(Scheduling::parse(line.get(..length)?)?.cpu)
    }

    /// Tells that a thread is held that waited when it was last looked at.
    pub fn rouse(&mut self, thread: ThreadId) {
        if let Some(watched) = self.threads.get_mut(&thread) {
            watched.rouse();
        }
    }

    /// Lets go of the threads that are not to be kept: those that are gone, which nothing else would notice.
    pub fn retain(&mut self, mut keep: impl FnMut(ThreadId) -> bool) {
        self.threads.retain(|thread, _| keep(*thread));
    }

    /// Of how many threads files are held open.
    pub fn open_threads(&self) -> usize {
        self.threads.len()
    }
}

impl Watched {
    fn open(handle: &Handle, thread: ThreadId) -> io::Result<Self> {
        let open = |name: &str| handle.open_file(&format!("task/{thread}/{name}"));
        let mut buffer = [0; STAT_LINE_LIMIT];
        // The file can be opened by anybody, but read only by those who may trace.
        let call = open("syscall").ok().filter(|file| file.read_at(&mut buffer, 0).is_ok_and(|length| length > 0));
        let state = match call {
            Some(file) => StateFile::SystemCall(file),
            None => StateFile::Stat(open("stat")?),
        };
        Ok(Self { state, schedule: open("schedstat").ok(), stat: None, last: Last::Running, roused_at: None })
    }

    fn look(&mut self) -> io::Result<ThreadLook> {
        // The numbers are read before the state: what the thread does in between changes them and shows in the next
        // look.
        let now = match self.last {
            Last::Running => None,
            Last::Waiting { schedule: before, futex } => {
                let now = self.schedule.as_ref().and_then(Schedule::read);
                if now.is_some() && now == before {
                    return Ok(ThreadLook { is_running: false, is_unmoved: true, futex });
                }
                now
            }
        };
        let seen = self.state.read()?;
        let mut is_running = seen == Seen::Running;
        if is_running && self.roused_at.is_some() {
            is_running = self.has_run_since_roused();
        } else {
            self.roused_at = None;
        }
        let waited_in = match (seen, self.last) {
            (Seen::Waiting(futex), _) => futex,
            (Seen::Running, Last::Waiting { schedule, futex }) => {
                futex.filter(|_| Schedule::time_between(schedule, now).is_some_and(|time| time < JUST_WOKEN))
            }
            (Seen::Running, Last::Running) => None,
        };
        if !is_running {
            self.last = Last::Waiting { schedule: now, futex: waited_in };
        } else if waited_in.is_none() {
            self.last = Last::Running;
        }
        Ok(ThreadLook { is_running, is_unmoved: false, futex: waited_in })
    }
}

impl Watched {
    fn rouse(&mut self) {
        let now = self.time_on_cpu();
        if self.roused_at.is_some() && has_run_since(self.roused_at, now) {
            self.last = Last::Running;
            self.roused_at = None;
        } else {
            self.roused_at = roused_again(self.roused_at, now);
        }
    }

    fn has_run_since_roused(&self) -> bool {
        has_run_since(self.roused_at, self.time_on_cpu())
    }

    fn time_on_cpu(&self) -> Option<u64> {
        self.schedule.as_ref().and_then(Schedule::read)?.time_on_cpu()
    }
}

/// Whether a thread that waited when it was held, with so much time on a CPU (ns), has done more since than go back to
/// its wait.
fn has_run_since(roused_at: Option<u64>, now: Option<u64>) -> bool {
    match (roused_at, now) {
        (Some(before), Some(now)) => now.saturating_sub(before) > ROUSED,
        _ => true,
    }
}

/// From which time on a CPU it counts after it is held at `now`: what it has run since it was held before stays, but
/// for what it takes to go back.
fn roused_again(roused_at: Option<u64>, now: Option<u64>) -> Option<u64> {
    let Some(before) = roused_at else { return now };
    now.map(|now| before.saturating_add(ROUSED_AGAIN).min(now))
}

impl StateFile {
    fn read(&self) -> io::Result<Seen> {
        let mut line = [0; STAT_LINE_LIMIT];
        match self {
            Self::SystemCall(file) => {
                let length = file.read_at(&mut line, 0)?;
                // A thread that is gone has no line.
                let line = line.get(..length).filter(|line| !line.is_empty()).ok_or(Errno::ESRCH)?;
                if line.starts_with(b"r") { Ok(Seen::Running) } else { Ok(Seen::Waiting(futex_of(line))) }
            }
            Self::Stat(file) => {
                let length = file.read_at(&mut line, 0)?;
                let line = StatLine::parse(line.get(..length).unwrap_or_default()).ok_or(Errno::ESRCH)?;
                if line.activity.is_running() { Ok(Seen::Running) } else { Ok(Seen::Waiting(None)) }
            }
        }
    }
}

impl Schedule {
    /// The numbers of a thread; `None` where the kernel does not keep them.
    fn read(file: &File) -> Option<Self> {
        let mut bytes = [0; SCHEDULE_LIMIT];
        let length = file.read_at(&mut bytes, 0).ok()?;
        let is_kept = length > 0 && length < SCHEDULE_LIMIT && !bytes.starts_with(b"0 0 0");
        is_kept.then_some(Self { bytes, length })
    }

    /// The time on a CPU from one look to another, in ns.
    fn time_between(before: Option<Self>, now: Option<Self>) -> Option<u64> {
        now?.time_on_cpu()?.checked_sub(before?.time_on_cpu()?)
    }

    /// The first number: ns.
    fn time_on_cpu(&self) -> Option<u64> {
        let line = self.bytes.get(..self.length)?;
        std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()
    }
}

/// Of how many threads files may be kept open under a limit on descriptors.
fn room(limit: u64) -> usize {
    let files = usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX);
    (files / FILES).min(THREAD_LIMIT)
}

/// Raises our limit on descriptors as far as is of use and allowed, for the threads of several processes.
pub(crate) fn raise_descriptor_limit() {
    if raise_limit().is_none() {
        log::debug!("the limit on descriptors stays as it is");
    }
}

/// Raises our limit on descriptors as far as is of use and allowed; the limit then. Programs that we start later would
/// inherit it, which is why it is not done before it is needed.
fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = ((THREAD_LIMIT * FILES) as u64 + SPARE_DESCRIPTORS).min(hard).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).ok()?;
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::linux::testing::{Target, wait_until};

    /// One thread computes, and one sleeps until it is told to work for a moment; its number is the second line.
    const BUSY_AND_WAITING: &str = "
ids = []
def wait():
    ids.append(threading.get_native_id())
    for line in sys.stdin:
        say('woken')
threading.Thread(target=wait, daemon=True).start()
while not ids: pass
ready()
say(str(ids[0]))
while True: pass";

    #[test]
    fn busy_and_waiting_threads_are_told_apart() {
        let mut target = Target::python(BUSY_AND_WAITING);
        let waiting: ThreadId = target.line().parse().unwrap();
        let busy = ThreadId::from(target.pid().unsigned_abs());
        let mut states = target.process().thread_states();
        wait_until("the one waits and does not move", || states.look(waiting).unwrap().is_unmoved);
        assert_eq!(states.look(waiting).unwrap(), ThreadLook { is_running: false, is_unmoved: true, futex: None });
        assert_eq!(states.look(busy).unwrap(), ThreadLook { is_running: true, is_unmoved: false, futex: None });
        assert_eq!(states.open_threads(), 2);
        states.retain(|thread| thread == busy);
        assert_eq!(states.open_threads(), 1);
    }

    #[test]
    fn a_thread_that_ran_between_two_looks_has_moved() {
        let mut target = Target::python(BUSY_AND_WAITING);
        let waiting: ThreadId = target.line().parse().unwrap();
        let mut states = target.process().thread_states();
        for _ in 0..20 {
            wait_until("it waits and does not move", || states.look(waiting).unwrap().is_unmoved);
            target.tell("wake");
            assert_eq!(target.line(), "woken");
            assert!(!states.look(waiting).unwrap().is_unmoved);
        }
    }

    #[test]
    fn a_thread_that_goes_back_to_its_wait_after_a_stop_is_not_running() {
        let mut target = Target::python(BUSY_AND_WAITING);
        let waiting: ThreadId = target.line().parse().unwrap();
        let process = target.process();
        let mut states = process.thread_states();
        wait_until("it waits", || !states.look(waiting).unwrap().is_running);
        for _ in 0..200 {
            let held = process.pause_thread(waiting).unwrap();
            states.rouse(waiting);
            drop(held);
            // Whether it is back already or not.
            assert!(!states.look(waiting).unwrap().is_running);
        }
    }

    #[test]
    fn a_thread_that_begins_to_run_is_seen_however_often_it_is_held() {
        let mut target = Target::python(
            "
ready()
for line in sys.stdin:
    while True: pass",
        );
        let process = target.process();
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let mut states = process.thread_states();
        wait_until("it waits", || !states.look(thread).unwrap().is_running);
        target.tell("go");
        wait_until("it is seen to run", || {
            let held = process.pause_thread(thread).unwrap();
            states.rouse(thread);
            drop(held);
            states.look(thread).unwrap().is_running
        });
    }

    /// Holds as they come when a starved thread is held at a high rate.
    #[test]
    fn short_runs_between_holds_add_up() {
        let holds_until_seen = |run: u64| {
            let (mut roused_at, mut now) = (None, 1_000_000);
            (0..1000).position(|_| {
                roused_at = roused_again(roused_at, Some(now));
                now += run;
                has_run_since(roused_at, Some(now))
            })
        };
        assert_eq!(holds_until_seen(20_000), None, "it goes back to its wait each time");
        assert_eq!(holds_until_seen(100_000), Some(3));
        assert_eq!(holds_until_seen(250_000), Some(0));
    }

    #[test]
    fn states_are_known_without_the_cheaper_files() {
        let mut target = Target::python(BUSY_AND_WAITING);
        let waiting: ThreadId = target.line().parse().unwrap();
        let busy = ThreadId::from(target.pid().unsigned_abs());
        let handle = target.handle();
        let watch = |thread: ThreadId| Watched {
            state: StateFile::Stat(handle.open_file(&format!("task/{thread}/stat")).unwrap()),
            schedule: None,
            stat: None,
            last: Last::Running,
            roused_at: None,
        };
        let (mut waiting, mut busy) = (watch(waiting), watch(busy));
        wait_until("the one waits", || !waiting.look().unwrap().is_running);
        assert_eq!(waiting.look().unwrap(), ThreadLook { is_running: false, is_unmoved: false, futex: None });
        assert_eq!(busy.look().unwrap(), ThreadLook { is_running: true, is_unmoved: false, futex: None });
    }

    #[test]
    fn a_thread_that_is_gone_is_forgotten() {
        let mut target = Target::python("ready(); sys.stdin.readline()");
        let thread = ThreadId::from(target.pid().unsigned_abs());
        let mut states = target.process().thread_states();
        wait_until("it does not move", || states.look(thread).unwrap().is_unmoved);
        target.end();
        wait_until("its end shows", || states.look(thread).is_err());
        assert!(states.look(thread).is_err());
        assert_eq!(states.open_threads(), 0);
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
                assert!(states.look(*thread).is_ok());
            }
        }
        assert_eq!(states.open_threads(), 4);

        // Where the limit may be raised, it is.
        let mut states = ThreadStates { capacity: 4, raised: false, ..process.thread_states() };
        for thread in &threads {
            assert!(states.look(*thread).is_ok());
        }
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, ((THREAD_LIMIT * FILES) as u64 + SPARE_DESCRIPTORS).min(hard).max(soft));
        assert_eq!(states.open_threads(), threads.len().min(room(soft)));
    }

    #[test]
    fn the_number_of_files_leaves_room_for_others() {
        assert_eq!((room(0), room(128), room(1024), room(u64::MAX)), (0, 0, 298, THREAD_LIMIT));
    }
}
