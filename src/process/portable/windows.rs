//! Windows: a process by its handle, through the calls of kernel32 and ntdll.
//!
//! # Limits
//! What is suspended here is not let go by the system when we are killed: Windows ties a suspension to no handle.

mod console;
mod parameters;
mod suspension;
mod system_list;

use std::ffi::{OsString, c_void};
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::ptr;
use std::time::{Duration, SystemTime};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_LENGTH, HANDLE, INVALID_HANDLE_VALUE, LocalFree, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, MODULEENTRY32W, Module32FirstW, Module32NextW, TH32CS_SNAPMODULE,
};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEMORY_BASIC_INFORMATION, PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE,
    PAGE_EXECUTE_WRITECOPY, PAGE_GUARD, PAGE_NOACCESS, PAGE_READWRITE, PAGE_WRITECOPY, VirtualQueryEx,
};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, GetThreadDescription, OpenProcess, OpenThread, PROCESS_NAME_WIN32, PROCESS_QUERY_INFORMATION,
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_VM_READ, QueryFullProcessImageNameW,
    THREAD_QUERY_LIMITED_INFORMATION, WaitForSingleObject,
};

pub(crate) use self::console::listen_to_console;
use self::suspension::Suspended;
use self::system_list::{ListedProcess, list_processes};
use super::{Region, ThreadHold};
use crate::process::{ProcessUsage, ThreadId, ThreadReading};

/// The longest path of a program, in UTF-16 units.
const LONGEST_PATH: usize = 32 * 1024;
/// A list of modules that changes while it is made is asked for so often.
const MODULE_TRIES: usize = 16;
/// 1601, from which Windows counts, is so long before 1970.
const BEFORE_1970: Duration = Duration::from_secs(11_644_473_600);

/// A process that is held open, so that its number is given to no other.
pub(super) struct System {
    pid: u32,
    handle: OwnedHandle,
}

/// Nothing moves in these threads until this is dropped.
pub(super) struct Held {
    suspended: Vec<Suspended>,
}

impl Held {
    /// How many threads are held.
    pub(super) fn threads(&self) -> usize {
        self.suspended.len()
    }
}

impl System {
    /// Takes hold of a process; of one that may not be read, to look at it.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        let pid = pid.cast_unsigned();
        let to_read = PROCESS_QUERY_INFORMATION | PROCESS_VM_READ | PROCESS_SYNCHRONIZE;
        let handle = match open_process(pid, to_read) {
            Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {
                open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)
            }
            opened => opened,
        }?;
        Ok(Self { pid, handle })
    }

    fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    fn listed(&self) -> io::Result<ListedProcess> {
        list_processes()?.into_iter().find(|process| process.pid == self.pid).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Reads memory, all or nothing.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn read(&self, address: usize, buffer: &mut [u8]) -> io::Result<()> {
        read_memory(self.raw(), address, buffer)
    }

    /// The ranges that are there, in the order of addresses.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn regions(&self) -> io::Result<Vec<Region>> {
        let modules = modules(self.pid)?;
        let mut regions = Vec::new();
        let mut address = 0_usize;
        while let Some(information) = query(self.raw(), address) {
            let (start, size) = (information.BaseAddress as usize, information.RegionSize);
            let Some(end) = start.checked_add(size).filter(|end| *end > address) else { break };
            address = end;
            if information.State != MEM_COMMIT {
                continue;
            }
            let has = |protections: &[u32]| protections.contains(&(information.Protect & 0xFF));
            let module = modules.iter().find(|module| (module.start..module.end).contains(&(start as u64)));
            regions.push(Region {
                start: start as u64,
                end: end as u64,
                readable: information.Protect & PAGE_GUARD == 0 && !has(&[PAGE_NOACCESS, PAGE_EXECUTE, 0]),
                writable: has(&[PAGE_READWRITE, PAGE_WRITECOPY, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY]),
                executable: has(&[PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY]),
                path: module.map(|module| module.path.clone()),
            });
        }
        Ok(regions)
    }

    /// Its threads and what each is doing.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn threads(&self) -> io::Result<Vec<(ThreadId, ThreadReading)>> {
        Ok(self.listed()?.threads)
    }

    /// The name that the program gave the thread.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn thread_name(&self, thread: ThreadId) -> io::Result<OsString> {
        if !self.threads()?.iter().any(|(listed, _)| *listed == thread) {
            return Err(io::ErrorKind::NotFound.into());
        }
        thread_description(&open_thread(thread, THREAD_QUERY_LIMITED_INFORMATION)?)
    }

    /// Holds one thread.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn hold_thread(&self, thread: ThreadId) -> io::Result<ThreadHold> {
        if !self.threads()?.iter().any(|(listed, _)| *listed == thread) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Held { suspended: vec![Suspended::new(thread)?] })
    }

    /// Holds all threads, those too that are made while the first are.
    ///
    /// # Errors
    /// With the system's error, unless a thread is gone.
    pub(super) fn hold_all(&self) -> io::Result<Held> {
        let mut suspended: Vec<Suspended> = Vec::new();
        loop {
            let threads = self.threads()?;
            let is_held = |thread: ThreadId| suspended.iter().any(|held| held.thread() == thread);
            let new: Vec<ThreadId> = threads.iter().map(|(thread, _)| *thread).filter(|it| !is_held(*it)).collect();
            let before = suspended.len();
            // One that cannot be held has exited since.
            suspended.extend(new.into_iter().filter_map(|thread| Suspended::new(thread).ok()));
            if suspended.len() == before {
                return if suspended.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(Held { suspended }) };
            }
        }
    }

    /// Whether it has exited.
    pub(super) fn has_exited(&self) -> bool {
        wait_for(self.raw()) == WAIT_OBJECT_0
    }

    /// How it has exited.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        use std::os::windows::process::ExitStatusExt;
        if !self.has_exited() {
            return None;
        }
        exit_code(self.raw()).map(ExitStatus::from_raw)
    }

    /// The arguments.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn command_line(&self) -> io::Result<Vec<OsString>> {
        parameters::command_line(self.raw())
    }

    /// The path of the program.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn executable(&self) -> io::Result<PathBuf> {
        let mut text = vec![0_u16; LONGEST_PATH];
        let length = image_name(self.raw(), &mut text)?;
        Ok(OsString::from_wide(&text[..length]).into())
    }

    /// The working directory.
    ///
    /// # Errors
    /// With the system's error.
    pub(super) fn working_directory(&self) -> io::Result<PathBuf> {
        parameters::working_directory(self.raw())
    }

    /// The process that started it, which may have exited since.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn parent(&self) -> io::Result<i32> {
        Ok(self.listed()?.parent.cast_signed())
    }

    /// When it was started.
    pub(super) fn start_time(&self) -> Option<SystemTime> {
        let since_1601 = Duration::from_nanos(self.listed().ok()?.created.checked_mul(100)?);
        SystemTime::UNIX_EPOCH.checked_add(since_1601.checked_sub(BEFORE_1970)?)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has exited.
    pub(super) fn usage(&self) -> io::Result<ProcessUsage> {
        let listed = self.listed()?;
        Ok(ProcessUsage { cpu: listed.cpu, resident_bytes: listed.resident_bytes })
    }

    /// All processes below it, with the parent of each. A process counts as a child of one that was there before it.
    pub(super) fn descendants(&self) -> Vec<(i32, i32)> {
        let all = list_processes().unwrap_or_default();
        let mut found = Vec::new();
        let mut parents: Vec<&ListedProcess> = all.iter().filter(|process| process.pid == self.pid).collect();
        while let Some(parent) = parents.pop() {
            for child in all.iter().filter(|child| child.parent == parent.pid && child.pid != parent.pid) {
                // A parent that has exited may have left its number to a younger process.
                if child.created >= parent.created && !found.iter().any(|(pid, _)| *pid == child.pid) {
                    found.push((child.pid, parent.pid));
                    parents.push(child);
                }
            }
        }
        found.into_iter().map(|(pid, parent)| (pid.cast_signed(), parent.cast_signed())).collect()
    }
}

/// The numbers of all processes.
///
/// # Errors
/// With the system's error.
pub(super) fn all_processes() -> io::Result<Vec<i32>> {
    Ok(list_processes()?.into_iter().map(|process| process.pid.cast_signed()).collect())
}

/// A program or library in the target.
struct Module {
    start: u64,
    end: u64,
    path: PathBuf,
}

fn modules(pid: u32) -> io::Result<Vec<Module>> {
    let mut tries = 0;
    let snapshot = loop {
        match module_snapshot(pid) {
            Err(error) if error.raw_os_error() == Some(ERROR_BAD_LENGTH.cast_signed()) && tries < MODULE_TRIES => {
                tries += 1;
            }
            made => break made?,
        }
    };
    let mut modules = Vec::new();
    let mut entry = next_module(&snapshot, true);
    while let Some(found) = entry {
        let start = found.modBaseAddr as u64;
        let length = found.szExePath.iter().position(|unit| *unit == 0).unwrap_or(found.szExePath.len());
        let path = OsString::from_wide(&found.szExePath[..length]).into();
        modules.push(Module { start, end: start.saturating_add(u64::from(found.modBaseSize)), path });
        entry = next_module(&snapshot, false);
    }
    Ok(modules)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn open_process(pid: u32, access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: takes no pointers.
    let handle = unsafe { OpenProcess(access, 0, pid) };
    owned(handle)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn open_thread(thread: ThreadId, access: u32) -> io::Result<OwnedHandle> {
    let thread = u32::try_from(thread).map_err(|_| io::ErrorKind::NotFound)?;
    // SAFETY: takes no pointers.
    let handle = unsafe { OpenThread(access, 0, thread) };
    owned(handle)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn module_snapshot(pid: u32) -> io::Result<OwnedHandle> {
    // SAFETY: takes no pointers.
    let handle = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, pid) };
    owned(if handle == INVALID_HANDLE_VALUE { ptr::null_mut() } else { handle })
}

#[expect(unsafe_code, reason = "owning a raw handle is unsafe")]
fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle has just been made for us, and nobody else closes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

#[expect(unsafe_code, reason = "calls of the system")]
fn next_module(snapshot: &OwnedHandle, is_first: bool) -> Option<MODULEENTRY32W> {
    let size = u32::try_from(size_of::<MODULEENTRY32W>()).ok()?;
    let mut entry = MODULEENTRY32W { dwSize: size, ..MODULEENTRY32W::default() };
    let handle = snapshot.as_raw_handle();
    let next = if is_first { Module32FirstW } else { Module32NextW };
    // SAFETY: the handle is that of a snapshot, and the entry has the size that it names.
    let is_there = unsafe { next(handle, &raw mut entry) };
    (is_there != 0).then_some(entry)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn read_memory(process: HANDLE, address: usize, buffer: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    let (target, length) = (address as *const c_void, buffer.len());
    // SAFETY: the address is of the other process; the buffer is ours and has that length.
    let result = unsafe { ReadProcessMemory(process, target, buffer.as_mut_ptr().cast(), length, &raw mut read) };
    match result {
        0 => Err(io::Error::last_os_error()),
        _ if read != length => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn query(process: HANDLE, address: usize) -> Option<MEMORY_BASIC_INFORMATION> {
    let mut information = MEMORY_BASIC_INFORMATION::default();
    let size = size_of::<MEMORY_BASIC_INFORMATION>();
    // SAFETY: the address is of the other process; what is written is ours and of that size.
    let written = unsafe { VirtualQueryEx(process, address as *const c_void, &raw mut information, size) };
    (written == size).then_some(information)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn wait_for(process: HANDLE) -> u32 {
    // SAFETY: takes no pointers; the handle is open.
    unsafe { WaitForSingleObject(process, 0) }
}

#[expect(unsafe_code, reason = "a call of the system")]
fn exit_code(process: HANDLE) -> Option<u32> {
    let mut code = 0;
    // SAFETY: the handle is open, and the code is ours to be written.
    let result = unsafe { GetExitCodeProcess(process, &raw mut code) };
    (result != 0).then_some(code)
}

#[expect(unsafe_code, reason = "a call of the system")]
fn image_name(process: HANDLE, text: &mut [u16]) -> io::Result<usize> {
    let mut length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    // SAFETY: the buffer is ours and has that length, which is overwritten with that of the text.
    let result = unsafe { QueryFullProcessImageNameW(process, PROCESS_NAME_WIN32, text.as_mut_ptr(), &raw mut length) };
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok((length as usize).min(text.len())) }
}

#[expect(unsafe_code, reason = "a call of the system, which hands out memory that is to be freed")]
fn thread_description(thread: &OwnedHandle) -> io::Result<OsString> {
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: the handle is that of a thread; the pointer is ours to be written.
    let result = unsafe { GetThreadDescription(thread.as_raw_handle(), &raw mut text) };
    if result < 0 || text.is_null() {
        return Err(io::Error::other(format!("error {result:#x}")));
    }
    let mut length = 0;
    loop {
        // SAFETY: the system ends the text with a zero, which has not come yet.
        let unit = unsafe { text.add(length) };
        // SAFETY: as above, and it is aligned as the system hands it out.
        if unsafe { unit.read() } == 0 {
            break;
        }
        length += 1;
    }
    // SAFETY: so many units have just been looked at, and nobody else has this memory.
    let name = OsString::from_wide(unsafe { std::slice::from_raw_parts(text, length) });
    // SAFETY: the memory was handed out to be freed so, and is not used any more.
    unsafe { LocalFree(text.cast()) };
    if name.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(name) }
}
