//! Events of the kernel that count the CPU time of a thread and run a program each time that some of it has passed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

use crate::process::ThreadId;

/// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_CPU_CLOCK` and the size of the first version of the struct
/// (`include/uapi/linux/perf_event.h`).
const TYPE_SOFTWARE: u32 = 1;
const CPU_CLOCK: u64 = 0;
const ATTRIBUTES_SIZE: u32 = 64;
/// Bits of the flags: threads that the thread starts have the event too, other processes that it starts have not.
const INHERIT: u64 = 1 << 1;
const INHERIT_THREAD: u64 = 1 << 35;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// `PERF_EVENT_IOC_SET_BPF`.
const SET_PROGRAM: libc::Ioctl = 0x4004_2408;

/// The first version of `struct perf_event_attr`, where a period is used and no frequency.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    event_type: u32,
    size: u32,
    config: u64,
    period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config_1: u64,
}

/// An event of a thread and of all threads that it starts from now on. It ends with this.
#[derive(Debug)]
pub(crate) struct CpuClockEvent(File);

impl CpuClockEvent {
    /// Counts the CPU time of thread `id`, by the kernel's outermost number; after each `period_ns` of it a program is
    /// run that was [set](Self::set_program).
    ///
    /// # Errors
    /// Those of perf_event_open(2): above all that we may not.
    pub(crate) fn open(id: ThreadId, period_ns: u64) -> io::Result<Self> {
        let attributes = Attributes {
            event_type: TYPE_SOFTWARE,
            size: ATTRIBUTES_SIZE,
            config: CPU_CLOCK,
            period: period_ns,
            flags: INHERIT | INHERIT_THREAD,
            ..Attributes::default()
        };
        let id = libc::pid_t::try_from(id).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self(open_event(&attributes, id)?))
    }

    /// Has a BPF program run, by its descriptor.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(crate) fn set_program(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        set_program(&self.0, program)
    }

    /// The CPU time that was counted so far, of the threads that it has started too, ns.
    ///
    /// # Errors
    /// When the event is in an error state.
    pub(crate) fn count_ns(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        (&self.0).read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

#[expect(unsafe_code, reason = "perf_event_open has no wrapper")]
fn open_event(attributes: &Attributes, id: libc::pid_t) -> io::Result<File> {
    let (any_cpu, no_group) = (-1, -1);
    // SAFETY: the kernel reads as many bytes of the struct as its field `size` says, which is all of it.
    let result = unsafe {
        libc::syscall(libc::SYS_perf_event_open, std::ptr::from_ref(attributes), id, any_cpu, no_group, CLOSE_ON_EXEC)
    };
    let descriptor = libc::c_int::try_from(result).ok().filter(|descriptor| *descriptor >= 0);
    let descriptor = descriptor.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

#[expect(unsafe_code, reason = "an ioctl that nix does not have")]
fn set_program(event: &File, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: this request takes a number and touches no memory of ours.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), SET_PROGRAM, program.as_raw_fd()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
