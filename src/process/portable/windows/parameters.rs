//! The command line and the working directory, which a process keeps in its own memory: its PEB names its parameters.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::PROCESS_BASIC_INFORMATION;

use super::read_memory;

/// `ProcessParameters` in a 64-bit `PEB`.
const PARAMETERS: usize = 0x20;
/// `CurrentDirectory.DosPath` in `RTL_USER_PROCESS_PARAMETERS`.
const CURRENT_DIRECTORY: usize = 0x38;
/// `CommandLine` in `RTL_USER_PROCESS_PARAMETERS`.
const COMMAND_LINE: usize = 0x70;

/// The arguments of a process.
///
/// # Errors
/// When it has none, or they cannot be read.
pub(super) fn command_line(process: HANDLE) -> io::Result<Vec<OsString>> {
    let text = parameter(process, COMMAND_LINE)?;
    Ok(split(&text).iter().map(|argument| OsString::from_wide(argument)).collect())
}

/// The working directory of a process.
///
/// # Errors
/// When it cannot be read.
pub(super) fn working_directory(process: HANDLE) -> io::Result<PathBuf> {
    Ok(OsString::from_wide(&parameter(process, CURRENT_DIRECTORY)?).into())
}

/// The text of a `UNICODE_STRING` at this place of the parameters.
fn parameter(process: HANDLE, place: usize) -> io::Result<Vec<u16>> {
    let parameters = pointer_at(process, peb(process)?, PARAMETERS)?;
    let header = sum(parameters, place)?;
    let mut length = [0; 2];
    read_memory(process, header, &mut length)?;
    let text = pointer_at(process, header, 8)?;
    let mut bytes = vec![0; usize::from(u16::from_le_bytes(length))];
    read_memory(process, text, &mut bytes)?;
    Ok(bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect())
}

fn pointer_at(process: HANDLE, base: usize, offset: usize) -> io::Result<usize> {
    let mut word = [0; 8];
    read_memory(process, sum(base, offset)?, &mut word)?;
    usize::try_from(u64::from_le_bytes(word)).map_err(io::Error::other)
}

fn sum(base: usize, offset: usize) -> io::Result<usize> {
    base.checked_add(offset).ok_or(io::ErrorKind::InvalidData.into())
}

#[expect(unsafe_code, reason = "a call of the system")]
fn peb(process: HANDLE) -> io::Result<usize> {
    let mut information = PROCESS_BASIC_INFORMATION::default();
    let size = u32::try_from(size_of::<PROCESS_BASIC_INFORMATION>()).unwrap_or(0);
    let (mut written, buffer) = (0, (&raw mut information).cast());
    // SAFETY: what is written is ours and of that size.
    let status = unsafe { NtQueryInformationProcess(process, ProcessBasicInformation, buffer, size, &raw mut written) };
    match information.PebBaseAddress as usize {
        _ if status < 0 => Err(io::Error::other(format!("NtQueryInformationProcess failed with {status:#x}"))),
        0 => Err(io::ErrorKind::NotFound.into()),
        peb => Ok(peb),
    }
}

/// The arguments of a command line, as the C runtime splits it: backslashes count only before a quote, two for one.
fn split(line: &[u16]) -> Vec<Vec<u16>> {
    let [blank, tab, quote, backslash] = [' ', '\t', '"', '\\'].map(|character| character as u16);
    let mut arguments = Vec::new();
    let mut current: Option<Vec<u16>> = None;
    let (mut is_quoted, mut at) = (false, 0);
    while at < line.len() {
        let backslashes = line[at..].iter().take_while(|unit| **unit == backslash).count();
        at += backslashes;
        let unit = line.get(at).copied();
        if backslashes > 0 {
            let before_quote = unit == Some(quote);
            let kept = if before_quote { backslashes / 2 } else { backslashes };
            current.get_or_insert_default().extend(std::iter::repeat_n(backslash, kept));
            if before_quote && backslashes % 2 == 1 {
                current.get_or_insert_default().push(quote);
                at += 1;
            }
            continue;
        }
        at += 1;
        match unit {
            Some(unit) if unit == quote => {
                is_quoted = !is_quoted;
                current.get_or_insert_default();
            }
            Some(unit) if !is_quoted && (unit == blank || unit == tab) => arguments.extend(current.take()),
            Some(unit) => current.get_or_insert_default().push(unit),
            None => {}
        }
    }
    arguments.extend(current);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_the_runtime_does() {
        for (line, words) in [
            (
                r#""C:\Program Files\Python\python.exe" -m app"#,
                vec![r"C:\Program Files\Python\python.exe", "-m", "app"],
            ),
            (r#"a  "b c"d "" e\f"#, vec!["a", "b cd", "", r"e\f"]),
            (r#"a\\\"b "c\\" d"#, vec![r#"a\"b"#, r"c\", "d"]),
            ("", vec![]),
            (r#"x "open"#, vec!["x", "open"]),
        ] {
            let units: Vec<u16> = line.encode_utf16().collect();
            let found: Vec<String> = split(&units).iter().map(|word| String::from_utf16_lossy(word)).collect();
            assert_eq!(found, words, "{line}");
        }
    }

    #[test]
    fn our_own_arguments_are_found() {
        let ourselves = super::super::System::open(std::process::id().cast_signed()).unwrap();
        let arguments: Vec<OsString> = std::env::args_os().collect();
        assert_eq!(ourselves.command_line().unwrap(), arguments);
        assert!(ourselves.working_directory().unwrap().is_dir());
    }
}
