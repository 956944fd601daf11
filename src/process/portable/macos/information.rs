//! What `proc_info` and sysctl(3) tell of a process, without its task.

use std::ffi::{OsStr, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use crate::process::ProcessUsage;

/// `SZOMB` of `sys/proc.h`.
const ZOMBIE: u32 = 5;
/// More than any system lets there be.
const MOST_PROCESSES: usize = 1 << 20;
/// A block of arguments has at most so many bytes (`ARG_MAX` is 1 MiB).
const LARGEST_ARGUMENTS: usize = 4 << 20;

/// What is known of every process.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaseInformation {
    /// Its parent.
    pub(super) parent: i32,
    /// When it was started, in microseconds since 1970.
    pub(super) started_us: u64,
    /// It has exited and was not collected.
    pub(super) is_zombie: bool,
}

/// What everybody may know of a process.
///
/// # Errors
/// When there is none.
pub(super) fn base_information(pid: i32) -> io::Result<BaseInformation> {
    let found: libc::proc_bsdinfo = process_information(pid, libc::PROC_PIDTBSDINFO)?;
    let micros = found.pbi_start_tvsec.saturating_mul(1_000_000).saturating_add(found.pbi_start_tvusec);
    Ok(BaseInformation {
        parent: found.pbi_ppid.cast_signed(),
        started_us: micros,
        is_zombie: found.pbi_status == ZOMBIE,
    })
}

/// What a process has used.
///
/// # Errors
/// With the system's error.
pub(super) fn task_information(pid: i32) -> io::Result<ProcessUsage> {
    let found: libc::proc_taskinfo = process_information(pid, libc::PROC_PIDTASKINFO)?;
    let units = found.pti_total_user.saturating_add(found.pti_total_system);
    let (numerator, denominator) = timebase();
    let nanos = u128::from(units) * u128::from(numerator) / u128::from(denominator.max(1));
    let cpu = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    Ok(ProcessUsage { cpu, resident_bytes: found.pti_resident_size })
}

/// The working directory of a process.
///
/// # Errors
/// With the system's error.
pub(super) fn working_directory(pid: i32) -> io::Result<PathBuf> {
    let found: libc::proc_vnodepathinfo = process_information(pid, libc::PROC_PIDVNODEPATHINFO)?;
    let bytes: Vec<u8> = found.pvi_cdir.vip_path.iter().flatten().map(|byte| byte.cast_unsigned()).collect();
    Ok(OsStr::from_bytes(bytes_to_zero(&bytes)).into())
}

/// The path of the program of a process.
///
/// # Errors
/// With the system's error.
pub(super) fn executable_of(pid: i32) -> io::Result<PathBuf> {
    path_by(|buffer, size| path_of_process(pid, buffer, size)).ok_or_else(io::Error::last_os_error)
}

/// The path of the file behind a range of memory.
pub(super) fn file_of_region(pid: i32, address: u64) -> Option<PathBuf> {
    path_by(|buffer, size| path_of_region(pid, address, buffer, size))
}

/// The numbers of all processes.
///
/// # Errors
/// With the system's error.
pub(super) fn all_pids() -> io::Result<Vec<i32>> {
    let mut room = 1024;
    while room <= MOST_PROCESSES {
        let mut pids = vec![0_i32; room];
        let count = usize::try_from(list_pids(&mut pids)).map_err(|_| io::Error::last_os_error())?;
        // A list that fills its room may be cut.
        if count < room {
            pids.truncate(count);
            return Ok(pids);
        }
        room *= 4;
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// The arguments and the environment of a process, as the system keeps them.
///
/// # Errors
/// With the system's error.
pub(super) fn arguments_block(pid: i32) -> io::Result<Vec<u8>> {
    let mut block = vec![0; LARGEST_ARGUMENTS];
    let length = arguments_into(pid, &mut block)?;
    block.truncate(length);
    Ok(block)
}

/// What is before the first zero.
pub(super) fn bytes_to_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn path_by(ask: impl FnOnce(*mut c_void, u32) -> c_int) -> Option<PathBuf> {
    let size = libc::PROC_PIDPATHINFO_MAXSIZE.cast_unsigned();
    let mut bytes = vec![0_u8; size as usize];
    let length = usize::try_from(ask(bytes.as_mut_ptr().cast(), size)).ok().filter(|length| *length > 0)?;
    Some(OsStr::from_bytes(bytes_to_zero(bytes.get(..length)?)).into())
}

/// A struct of the kernel that is made of numbers only.
trait Plain: Copy {
    /// One of zeros.
    fn zeroed() -> Self;
}

macro_rules! plain {
    ($($name:ty),*) => {
        $(impl Plain for $name {
            #[expect(unsafe_code, reason = "libc's structs have no default")]
            fn zeroed() -> Self {
                // SAFETY: it has numbers and arrays of numbers only, of which zero is one.
                unsafe { std::mem::zeroed() }
            }
        })*
    };
}

plain!(libc::proc_bsdinfo, libc::proc_taskinfo, libc::proc_vnodepathinfo);

#[expect(unsafe_code, reason = "a call of the system")]
fn process_information<T: Plain>(pid: i32, kind: c_int) -> io::Result<T> {
    let mut found = T::zeroed();
    let size = c_int::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: what is written is ours and of that size; any bytes make one.
    let written = unsafe { libc::proc_pidinfo(pid, kind, 0, (&raw mut found).cast(), size) };
    if written == size { Ok(found) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn path_of_process(pid: i32, buffer: *mut c_void, size: u32) -> c_int {
    // SAFETY: the callers hand over a buffer of that size.
    unsafe { libc::proc_pidpath(pid, buffer, size) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn path_of_region(pid: i32, address: u64, buffer: *mut c_void, size: u32) -> c_int {
    // SAFETY: the callers hand over a buffer of that size; the address is of the other process.
    unsafe { libc::proc_regionfilename(pid, address, buffer, size) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn list_pids(pids: &mut [i32]) -> c_int {
    let size = c_int::try_from(size_of_val(pids)).unwrap_or(0);
    // SAFETY: the list is ours and has that size.
    unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), size) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn arguments_into(pid: i32, block: &mut [u8]) -> io::Result<usize> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid];
    let mut length = block.len();
    let (block, none) = (block.as_mut_ptr().cast(), ptr::null_mut());
    // SAFETY: the name has three parts; the block is ours and of that length, which is overwritten.
    let result = unsafe { libc::sysctl(name.as_mut_ptr(), 3, block, &raw mut length, none, 0) };
    if result == 0 { Ok(length) } else { Err(io::Error::last_os_error()) }
}

/// By what the kernel's units of time are to be multiplied and divided for nanoseconds.
#[expect(unsafe_code, reason = "a call of the system")]
fn timebase() -> (u32, u32) {
    let mut base = mach2::mach_time::mach_timebase_info { numer: 1, denom: 1 };
    // SAFETY: what is written is ours.
    unsafe { mach2::mach_time::mach_timebase_info(&raw mut base) };
    (base.numer, base.denom)
}
