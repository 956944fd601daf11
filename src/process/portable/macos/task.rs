//! A Mach task and its threads: ports, which are given back when they are dropped.

use std::ffi::{OsStr, OsString, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;

use mach2::kern_return::KERN_SUCCESS;
use mach2::mach_port::mach_port_deallocate;
use mach2::mach_types::thread_act_t;
use mach2::port::{MACH_PORT_NULL, mach_port_t};
use mach2::task::{task_resume, task_suspend, task_threads};
use mach2::thread_act::{thread_resume, thread_suspend};
use mach2::traps::{mach_task_self, task_for_pid};
use mach2::vm::{mach_vm_deallocate, mach_vm_read_overwrite, mach_vm_region};
use mach2::vm_prot::{VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};
use mach2::vm_region::{VM_REGION_BASIC_INFO_64, vm_region_basic_info_64};

use super::bytes_to_zero;

/// `THREAD_BASIC_INFO`, `THREAD_IDENTIFIER_INFO` and `THREAD_EXTENDED_INFO` of `mach/thread_info.h`.
const BASIC: u32 = 3;
const IDENTIFIER: u32 = 4;
const EXTENDED: u32 = 5;
/// More threads than a system lets a process have.
const MOST_THREADS: usize = 1 << 16;

/// A right to a port, which is given back when this is dropped.
struct Port(mach_port_t);

/// The task of a process: the right to read and to hold it.
pub(super) struct Task(Port);

/// A thread of a task.
pub(super) struct Thread(Port);

/// A task that is suspended until this is dropped.
pub(super) struct SuspendedTask(Port);

/// A thread that is suspended until this is dropped.
pub(super) struct SuspendedThread(Thread);

/// A range of memory.
pub(super) struct Range {
    /// Its first address.
    pub(super) start: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Whether it may be read.
    pub(super) readable: bool,
    /// Whether it may be written.
    pub(super) writable: bool,
    /// Whether code may run in it.
    pub(super) executable: bool,
}

impl Task {
    /// The task of a process.
    ///
    /// # Errors
    /// When the system does not hand it out: we are not root, or the program is protected.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self(task_port(pid)?))
    }

    /// Reads memory, all or nothing.
    ///
    /// # Errors
    /// When it is not all there.
    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        read(&self.0, address, buffer)
    }

    /// The first range at or above an address.
    pub(super) fn region_from(&self, address: u64) -> Option<Range> {
        region(&self.0, address)
    }

    /// Its threads.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn threads(&self) -> io::Result<Vec<Thread>> {
        threads(&self.0)
    }

    /// Suspends all of it. It holds a right of its own, which may outlive this one.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn suspend(&self) -> io::Result<SuspendedTask> {
        suspend_task(&self.0)?;
        match self.0.another_right() {
            Ok(port) => Ok(SuspendedTask(port)),
            Err(error) => {
                resume_task(&self.0);
                Err(error)
            }
        }
    }
}

impl Thread {
    /// The number that CPython knows it by, that of `pthread_threadid_np`.
    pub(super) fn id(&self) -> Option<u64> {
        let mut found = libc::thread_identifier_info { thread_id: 0, thread_handle: 0, dispatch_qaddr: 0 };
        information(&self.0, IDENTIFIER, words_of(&mut found)).then_some(found.thread_id)
    }

    /// What it is doing, and its times.
    pub(super) fn basic_information(&self) -> Option<libc::thread_basic_info> {
        let none = libc::time_value_t { seconds: 0, microseconds: 0 };
        let mut found = libc::thread_basic_info {
            user_time: none,
            system_time: none,
            cpu_usage: 0,
            policy: 0,
            run_state: 0,
            flags: 0,
            suspend_count: 0,
            sleep_time: 0,
        };
        information(&self.0, BASIC, words_of(&mut found)).then_some(found)
    }

    /// The name that the program gave it.
    pub(super) fn name(&self) -> Option<OsString> {
        let mut found = zeroed_extended_information();
        if !information(&self.0, EXTENDED, words_of(&mut found)) {
            return None;
        }
        let bytes = found.pth_name.map(|byte| byte.cast_unsigned());
        let name = bytes_to_zero(&bytes);
        (!name.is_empty()).then(|| OsStr::from_bytes(name).to_owned())
    }

    /// Suspends it.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn suspend(self) -> io::Result<SuspendedThread> {
        suspend_thread(&self.0)?;
        Ok(SuspendedThread(self))
    }
}

impl Drop for SuspendedTask {
    fn drop(&mut self) {
        resume_task(&self.0);
    }
}

impl Drop for SuspendedThread {
    fn drop(&mut self) {
        resume_thread(&self.0.0);
    }
}

impl Port {
    /// A second right to the same port.
    #[expect(unsafe_code, reason = "a call of the system")]
    fn another_right(&self) -> io::Result<Self> {
        let ourselves = own_task();
        // SAFETY: takes no pointers; the right is ours.
        let result =
            unsafe { mach2::mach_port::mach_port_mod_refs(ourselves, self.0, mach2::port::MACH_PORT_RIGHT_SEND, 1) };
        checked(result)?;
        Ok(Self(self.0))
    }
}

impl Drop for Port {
    #[expect(unsafe_code, reason = "a call of the system")]
    fn drop(&mut self) {
        let ourselves = own_task();
        // SAFETY: takes no pointers; the right is ours and is not used any more.
        unsafe { mach_port_deallocate(ourselves, self.0) };
    }
}

/// The memory of a struct of the kernel as the words that it counts it in.
fn words_of<T>(place: &mut T) -> (*mut c_int, u32) {
    let words = u32::try_from(size_of::<T>() / size_of::<c_int>()).unwrap_or(0);
    ((&raw mut *place).cast(), words)
}

fn checked(result: c_int) -> io::Result<()> {
    match result {
        KERN_SUCCESS => Ok(()),
        error => Err(io::Error::other(format!("Mach error {error}"))),
    }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn own_task() -> mach_port_t {
    // SAFETY: reads a variable that is set before main runs.
    unsafe { mach_task_self() }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn task_port(pid: i32) -> io::Result<Port> {
    let (ourselves, mut port) = (own_task(), MACH_PORT_NULL);
    // SAFETY: the port is ours to be written.
    let result = unsafe { task_for_pid(ourselves, pid, &raw mut port) };
    match result {
        KERN_SUCCESS if port != MACH_PORT_NULL => Ok(Port(port)),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn read(task: &Port, address: u64, buffer: &mut [u8]) -> io::Result<()> {
    let (length, mut read) = (buffer.len() as u64, 0);
    let place = buffer.as_mut_ptr() as u64;
    // SAFETY: the address is of the other process; the buffer is ours and of that length.
    let result = unsafe { mach_vm_read_overwrite(task.0, address, length, place, &raw mut read) };
    checked(result)?;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn region(task: &Port, from: u64) -> Option<Range> {
    let (mut start, mut size, mut object) = (from, 0, MACH_PORT_NULL);
    let mut found = vm_region_basic_info_64::default();
    let mut count = vm_region_basic_info_64::count();
    let place = (&raw mut found).cast();
    // SAFETY: all that is written is ours; `count` is the size of the struct in words.
    let result = unsafe {
        mach_vm_region(
            task.0,
            &raw mut start,
            &raw mut size,
            VM_REGION_BASIC_INFO_64,
            place,
            &raw mut count,
            &raw mut object,
        )
    };
    let has = |right| found.protection & right != 0;
    (result == KERN_SUCCESS).then(|| Range {
        start,
        size,
        readable: has(VM_PROT_READ),
        writable: has(VM_PROT_WRITE),
        executable: has(VM_PROT_EXECUTE),
    })
}

#[expect(unsafe_code, reason = "calls of the system, which hands out memory that is to be given back")]
fn threads(task: &Port) -> io::Result<Vec<Thread>> {
    let (mut list, mut count): (*mut thread_act_t, u32) = (std::ptr::null_mut(), 0);
    // SAFETY: what is written is ours.
    let result = unsafe { task_threads(task.0, &raw mut list, &raw mut count) };
    checked(result)?;
    let count = count as usize;
    if list.is_null() || count > MOST_THREADS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the system has handed out so many ports there, for us alone.
    let ports = unsafe { std::slice::from_raw_parts(list, count) };
    let threads = ports.iter().map(|port| Thread(Port(*port))).collect();
    let (ourselves, size) = (own_task(), size_of_val(ports) as u64);
    // SAFETY: the memory was handed out to be given back so, and is not used any more.
    unsafe { mach_vm_deallocate(ourselves, list as u64, size) };
    Ok(threads)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn information(thread: &Port, kind: u32, (place, words): (*mut c_int, u32)) -> bool {
    let mut count = words;
    // SAFETY: the callers hand over the place of a struct and its size in words.
    unsafe { libc::thread_info(thread.0, kind, place, &raw mut count) == KERN_SUCCESS }
}

#[expect(unsafe_code, reason = "libc's struct has no default")]
fn zeroed_extended_information() -> libc::thread_extended_info {
    // SAFETY: it has numbers and arrays of numbers only, of which zero is one.
    unsafe { std::mem::zeroed() }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn suspend_task(task: &Port) -> io::Result<()> {
    // SAFETY: takes no pointers.
    checked(unsafe { task_suspend(task.0) })
}

#[expect(unsafe_code, reason = "a call of the system")]
fn resume_task(task: &Port) {
    // SAFETY: takes no pointers.
    unsafe { task_resume(task.0) };
}

#[expect(unsafe_code, reason = "a call of the system")]
fn suspend_thread(thread: &Port) -> io::Result<()> {
    // SAFETY: takes no pointers.
    checked(unsafe { thread_suspend(thread.0) })
}

#[expect(unsafe_code, reason = "a call of the system")]
fn resume_thread(thread: &Port) {
    // SAFETY: takes no pointers.
    unsafe { thread_resume(thread.0) };
}
