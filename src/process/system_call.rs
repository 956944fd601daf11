//! What a thread waits in, in words: a system call with the arguments that tell what for.
//!
//! Limits: the numbers of x86-64 and aarch64 Linux. Pointers in the arguments are followed in the target's memory,
//! where they may have changed since the call was made.

use crate::memory::Memory;

/// Descriptors of one call that are named.
const MOST_NAMED: usize = 4;
/// `pollfd`s that are read.
const MOST_POLLED: u64 = 256;
/// Descriptors that fit into a set of `select` (FD_SETSIZE).
const MOST_SELECTED: u64 = 1024;

/// Whose numbers system calls have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallNumbers {
    /// Those of x86-64.
    X86_64,
    /// Those of aarch64, which newer architectures share.
    Aarch64,
}

impl CallNumbers {
    /// Those of the machine that this program was built for.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };
}

/// A system call of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemCall {
    /// Which one.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Whose number that is.
    pub numbers: CallNumbers,
}

/// Where a thread sleeps. As long as it is the same and the thread does not run, the thread has not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestingPlace {
    /// The system call.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// The stack pointer.
    pub stack_pointer: u64,
    /// The instruction after the call.
    pub instruction: u64,
}

/// What of the arguments says what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Plain,
    /// The first is a descriptor.
    Descriptor,
    /// The first is the descriptor of an epoll.
    Epoll,
    /// {array of `pollfd`, how many}.
    Poll,
    /// {highest descriptor + 1, sets of descriptors to read, to write, of exceptions}.
    Select,
    /// The first is a pointer to the time.
    Sleep,
    /// {clock, flags, pointer to the time}.
    ClockSleep,
    /// The first is the process.
    Child,
    /// {kind of number, process}.
    ChildByKind,
    /// {descriptor, command}.
    FileControl,
}

/// Names and forms by number: x86-64, aarch64 (asm/unistd_64.h, asm-generic/unistd.h); −1 where there is no such call.
const CALLS: [(i16, i16, &str, Form); 64] = [
    (0, 63, "read", Form::Descriptor),
    (1, 64, "write", Form::Descriptor),
    (2, -1, "open", Form::Plain),
    (3, 57, "close", Form::Descriptor),
    (7, -1, "poll", Form::Poll),
    (17, 67, "pread64", Form::Descriptor),
    (18, 68, "pwrite64", Form::Descriptor),
    (19, 65, "readv", Form::Descriptor),
    (20, 66, "writev", Form::Descriptor),
    (23, -1, "select", Form::Select),
    (26, 227, "msync", Form::Plain),
    (34, -1, "pause", Form::Plain),
    (35, 101, "nanosleep", Form::Sleep),
    (40, 71, "sendfile", Form::Descriptor),
    (42, 203, "connect", Form::Descriptor),
    (43, 202, "accept", Form::Descriptor),
    (44, 206, "sendto", Form::Descriptor),
    (45, 207, "recvfrom", Form::Descriptor),
    (46, 211, "sendmsg", Form::Descriptor),
    (47, 212, "recvmsg", Form::Descriptor),
    (56, 220, "clone", Form::Plain),
    (58, -1, "vfork", Form::Plain),
    (59, 221, "execve", Form::Plain),
    (61, 260, "wait4", Form::Child),
    (65, 193, "semop", Form::Plain),
    (70, 188, "msgrcv", Form::Plain),
    (72, 25, "fcntl", Form::FileControl),
    (73, 32, "flock", Form::Descriptor),
    (74, 82, "fsync", Form::Descriptor),
    (75, 83, "fdatasync", Form::Descriptor),
    (76, 45, "truncate", Form::Plain),
    (82, -1, "rename", Form::Plain),
    (87, -1, "unlink", Form::Plain),
    (128, 137, "rt_sigtimedwait", Form::Plain),
    (130, 133, "rt_sigsuspend", Form::Plain),
    (162, 81, "sync", Form::Plain),
    (202, 98, "futex", Form::Plain),
    (208, 4, "io_getevents", Form::Plain),
    (217, 61, "getdents64", Form::Descriptor),
    (219, 128, "restart_syscall", Form::Plain),
    (220, 192, "semtimedop", Form::Plain),
    (230, 115, "clock_nanosleep", Form::ClockSleep),
    (231, 94, "exit_group", Form::Plain),
    (232, -1, "epoll_wait", Form::Epoll),
    (243, 183, "mq_timedreceive", Form::Descriptor),
    (247, 95, "waitid", Form::ChildByKind),
    (257, 56, "openat", Form::Plain),
    (262, 79, "newfstatat", Form::Plain),
    (270, 72, "pselect6", Form::Select),
    (271, 73, "ppoll", Form::Poll),
    (275, 76, "splice", Form::Descriptor),
    (281, 22, "epoll_pwait", Form::Epoll),
    (285, 47, "fallocate", Form::Descriptor),
    (288, 242, "accept4", Form::Descriptor),
    (295, 69, "preadv", Form::Descriptor),
    (296, 70, "pwritev", Form::Descriptor),
    (299, 243, "recvmmsg", Form::Descriptor),
    (307, 269, "sendmmsg", Form::Descriptor),
    (318, 278, "getrandom", Form::Plain),
    (332, 291, "statx", Form::Plain),
    (426, 426, "io_uring_enter", Form::Descriptor),
    (435, 435, "clone3", Form::Plain),
    (441, 441, "epoll_pwait2", Form::Epoll),
    (449, 449, "futex_waitv", Form::Plain),
];

/// `FUTEX_WAIT` and `FUTEX_WAIT_BITSET` without the flags of `futex`'s operation (linux/futex.h).
const FUTEX_WAITS: [u64; 2] = [0, 9];
const FUTEX_COMMAND: u64 = 0x7f;
/// `fcntl` that wait for a lock (asm-generic/fcntl.h).
const F_SETLKW: u64 = 7;
const F_OFD_SETLKW: u64 = 38;

/// What descriptors mean.
pub trait DescriptorNames {
    /// What a descriptor is open on, in words.
    fn name(&self, descriptor: i32) -> Option<String>;

    /// The descriptors that the epoll behind `descriptor` watches.
    fn watched(&self, descriptor: i32) -> Vec<i32>;
}

impl SystemCall {
    /// Its name, where we have it.
    pub fn name(&self) -> Option<&'static str> {
        self.entry().map(|(name, _)| name)
    }

    /// The call that `restart_syscall` goes on with after a stop: the kernel has forgotten its number, but its
    /// arguments are still there, and `wait_channel`, the kernel's function that the thread sleeps in, tells which it
    /// is. Every other call is itself.
    pub fn resumed(self, wait_channel: &str) -> Self {
        if self.name() != Some("restart_syscall") {
            return self;
        }
        let name = match wait_channel {
            channel if channel.contains("futex") => "futex",
            channel if channel.contains("poll") => "poll",
            // The first argument of one is a clock, that of the other an address.
            channel if channel.contains("nanosleep") && self.arguments[0] < 0x1000 => "clock_nanosleep",
            channel if channel.contains("nanosleep") => "nanosleep",
            _ => return self,
        };
        let entry = CALLS.iter().find(|(_, _, known, _)| *known == name);
        let number = entry.and_then(|(x86_64, aarch64, _, _)| {
            u64::try_from(if self.numbers == CallNumbers::X86_64 { *x86_64 } else { *aarch64 }).ok()
        });
        Self { number: number.unwrap_or(self.number), ..self }
    }

    /// The address of the word that the thread waits on, if it waits in a futex.
    pub fn futex(&self) -> Option<u64> {
        let waits = self.name() == Some("futex") && FUTEX_WAITS.contains(&(self.arguments[1] & FUTEX_COMMAND));
        waits.then_some(self.arguments[0])
    }

    /// The call in words: `recvfrom fd 7 (tcp 127.0.0.1:5000 → 127.0.0.1:43210)`. What comes from the target is not
    /// escaped.
    pub fn describe(&self, memory: &dyn Memory, descriptors: &dyn DescriptorNames) -> String {
        let Some((name, form)) = self.entry() else { return format!("system call {}", self.number) };
        let [first, second, third, ..] = self.arguments;
        let named = |descriptor: i32| match descriptors.name(descriptor) {
            Some(name) => format!("fd {descriptor} ({name})"),
            None => format!("fd {descriptor}"),
        };
        let list = |found: Vec<i32>| {
            let mut names: Vec<String> = found.iter().take(MOST_NAMED).map(|descriptor| named(*descriptor)).collect();
            if found.len() > MOST_NAMED {
                names.push(format!("… {} in all", found.len()));
            }
            if names.is_empty() { name.to_owned() } else { format!("{name} {}", names.join(", ")) }
        };
        match form {
            Form::Plain => name.to_owned(),
            Form::Descriptor => format!("{name} {}", named(int(first))),
            Form::FileControl if second == F_SETLKW || second == F_OFD_SETLKW => {
                format!("{name} lock of {}", named(int(first)))
            }
            Form::FileControl => format!("{name} {}", named(int(first))),
            Form::Epoll => {
                let watched = descriptors.watched(int(first));
                if watched.is_empty() { format!("{name} {}", named(int(first))) } else { list(watched) }
            }
            Form::Poll => list(polled(memory, first, second)),
            Form::Select => list(selected(memory, &self.arguments)),
            Form::Sleep => with_time(name, memory, first),
            // An absolute time says little without a clock.
            Form::ClockSleep if second == 0 => with_time(name, memory, third),
            Form::ClockSleep => name.to_owned(),
            Form::Child => match int(first) {
                -1 => format!("{name} any child"),
                child if child > 0 => format!("{name} pid {child}"),
                group => format!("{name} process group {}", group.unsigned_abs()),
            },
            Form::ChildByKind => match (first, int(second)) {
                (0, _) => format!("{name} any child"),
                (1, child) => format!("{name} pid {child}"),
                _ => name.to_owned(),
            },
        }
    }

    fn entry(&self) -> Option<(&'static str, Form)> {
        let number = i16::try_from(self.number).ok()?;
        let found = CALLS.iter().find(|(x86_64, aarch64, _, _)| match self.numbers {
            CallNumbers::X86_64 => *x86_64 == number,
            CallNumbers::Aarch64 => *aarch64 == number,
        });
        found.map(|(_, _, name, form)| (*name, *form))
    }
}

/// The `int` that a register holds.
fn int(register: u64) -> i32 {
    (register as u32).cast_signed()
}

/// The descriptors of an array of `pollfd` {int fd, short events, short revents}.
fn polled(memory: &dyn Memory, array: u64, count: u64) -> Vec<i32> {
    let Ok(bytes) = memory.read_bytes(array, count.min(MOST_POLLED) * 8, MOST_POLLED as usize * 8) else {
        return vec![];
    };
    let (entries, _) = bytes.as_chunks::<8>();
    let descriptor = |entry: &[u8; 8]| i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
    entries.iter().map(descriptor).filter(|descriptor| *descriptor >= 0).collect()
}

/// The descriptors of the sets of `select`.
fn selected(memory: &dyn Memory, arguments: &[u64; 6]) -> Vec<i32> {
    let count = arguments[0].min(MOST_SELECTED);
    let mut found = Vec::new();
    for set in arguments[1..4].iter().filter(|set| **set != 0) {
        let Ok(bytes) = memory.read_bytes(*set, count.div_ceil(64) * 8, MOST_SELECTED as usize / 8) else { continue };
        let is_in =
            |descriptor: &usize| bytes.get(descriptor / 8).is_some_and(|byte| byte >> (descriptor % 8) & 1 == 1);
        found.extend((0..count as usize).filter(is_in).filter_map(|descriptor| i32::try_from(descriptor).ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn with_time(name: &str, memory: &dyn Memory, time: u64) -> String {
    match (memory.read_u64(time), memory.read_u64(time.wrapping_add(8))) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < 1_000_000_000 => {
            format!("{name} {} s", seconds as f64 + nanoseconds as f64 / 1e9)
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    struct Names;

    impl DescriptorNames for Names {
        fn name(&self, descriptor: i32) -> Option<String> {
            (descriptor < 100).then(|| format!("file {descriptor}"))
        }

        fn watched(&self, descriptor: i32) -> Vec<i32> {
            if descriptor == 3 { vec![5, 6, 7, 8, 9, 10] } else { vec![] }
        }
    }

    fn words(number: u64, arguments: [u64; 6], memory: &Image) -> String {
        SystemCall { number, arguments, numbers: CallNumbers::X86_64 }.describe(memory, &Names)
    }

    #[test]
    fn no_number_stands_for_two_calls() {
        for (index, call) in CALLS.iter().enumerate() {
            for other in &CALLS[..index] {
                assert!(call.0 != other.0 || call.0 < 0, "{call:?} {other:?}");
                assert!(call.1 != other.1 || call.1 < 0, "{call:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_call_that_goes_on_after_a_stop_is_the_one_that_it_was() {
        let call =
            |first: u64| SystemCall { number: 219, arguments: [first, 0, 0, 0, 0, 0], numbers: CallNumbers::X86_64 };
        for (channel, first, name) in [
            ("futex_wait_queue", 0x7f00_0000, "futex"),
            ("poll_schedule_timeout.constprop.0", 0x7f00_0000, "poll"),
            ("hrtimer_nanosleep", 0x7f00_0000, "nanosleep"),
            ("hrtimer_nanosleep", 1, "clock_nanosleep"),
            ("something_else", 1, "restart_syscall"),
        ] {
            assert_eq!(call(first).resumed(channel).name(), Some(name), "{channel}");
        }
        let other = SystemCall { number: 0, ..call(3) };
        assert_eq!(other.resumed("futex_wait"), other);
    }

    #[test]
    fn arguments_are_shown_where_they_tell_something() {
        let mut memory = Image::new();
        let polled = [5_i32, 1, -1, 1, 120, 1].map(i32::to_ne_bytes).concat();
        memory.map(0x1000, polled);
        memory.map(0x2000, [1_u64 << 4 | 1 << 63, 1].map(u64::to_ne_bytes).concat());
        memory.map(0x3000, [2_u64, 500_000_000].map(u64::to_ne_bytes).concat());
        assert_eq!(words(0, [7, 0, 0, 0, 0, 0], &memory), "read fd 7 (file 7)");
        assert_eq!(words(45, [120, 0, 0, 0, 0, 0], &memory), "recvfrom fd 120");
        assert_eq!(words(7, [0x1000, 3, 0, 0, 0, 0], &memory), "poll fd 5 (file 5), fd 120");
        assert_eq!(words(7, [0x9999, u64::MAX, 0, 0, 0, 0], &memory), "poll");
        assert_eq!(
            words(23, [65, 0x2000, 0, 0, 0, 0], &memory),
            "select fd 4 (file 4), fd 63 (file 63), fd 64 (file 64)"
        );
        assert_eq!(words(23, [0; 6], &memory), "select");
        assert_eq!(words(35, [0x3000, 0, 0, 0, 0, 0], &memory), "nanosleep 2.5 s");
        assert_eq!(words(61, [u64::MAX, 0, 0, 0, 0, 0], &memory), "wait4 any child");
        assert_eq!(words(61, [123, 0, 0, 0, 0, 0], &memory), "wait4 pid 123");
        assert_eq!(words(9999, [0; 6], &memory), "system call 9999");
        let epoll = words(232, [3, 0, 0, 0, 0, 0], &memory);
        assert_eq!(epoll, "epoll_wait fd 5 (file 5), fd 6 (file 6), fd 7 (file 7), fd 8 (file 8), … 6 in all");
        let arm = SystemCall { number: 98, arguments: [0x10, 0x189, 0, 0, 0, 0], numbers: CallNumbers::Aarch64 };
        assert_eq!((arm.describe(&memory, &Names).as_str(), arm.futex()), ("futex", Some(0x10)));
    }
}
