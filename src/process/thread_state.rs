//! What a thread is doing, as the operating system tells it.

/// What the scheduler says of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadActivity {
    /// On a CPU or waiting for one.
    Running,
    /// Waiting for something, interruptibly.
    Sleeping,
    /// Waiting for something and deaf to signals: a disk, a network file system, a `vfork` child.
    DiskWait,
    /// Stopped by a signal (SIGSTOP, Ctrl-Z).
    Stopped,
    /// Held by a tracer; also by ourselves while we hold it.
    Traced,
    /// Exited, not yet collected.
    Zombie,
    /// Another state; the letter that the kernel prints for it.
    Other(u8),
}

impl ThreadActivity {
    /// The state for the letter in `/proc/PID/stat` (kernel: `fs/proc/array.c`, `task_state_array`).
    pub fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' | b'I' => Self::Sleeping,
            b'D' => Self::DiskWait,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' | b'X' | b'x' => Self::Zombie,
            other => Self::Other(other),
        }
    }

    /// Whether the thread is on a CPU or wants to be.
    pub fn is_running(self) -> bool {
        self == Self::Running
    }
}

/// One look at a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadReading {
    /// What it is doing.
    pub activity: ThreadActivity,
    /// CPU time spent in the program, in clock ticks (`sysconf(_SC_CLK_TCK)`, nearly always 100 a second).
    pub user_ticks: u64,
    /// CPU time spent in the kernel, in clock ticks.
    pub system_ticks: u64,
}

/// One look at a thread, compared with the look before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThreadLook {
    /// It is on a CPU or wants to be. A thread that was woken and has not yet come onto a CPU may still count as
    /// waiting.
    pub is_running: bool,
    /// It waits and has not been on a CPU since before the last look: its stack is as it was then.
    pub is_unmoved: bool,
    /// The futex that it waits in (an address in the target), where the system tells; of a thread that was just woken
    /// and has hardly been on a CPU since, the one that it was woken from.
    pub futex: Option<u64>,
}
