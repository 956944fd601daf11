//! How programs end, in words.

use std::process::ExitStatus;

/// `status 3`, or `killed by SIGKILL`.
pub(in crate::command) fn status_text(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            let core = if status.core_dumped() { ", core dumped" } else { "" };
            return format!("killed by {}{core}", signal_name(signal));
        }
    }
    status.code().map_or_else(|| status.to_string(), |code| format!("status {code}"))
}

/// As a shell gives it: the code, or 128 and the signal.
pub(in crate::command) fn shell_status(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(255);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// `SIGSEGV`, or `signal 40` for one without a name.
pub(in crate::command) fn signal_name(number: i32) -> String {
    #[cfg(unix)]
    if let Ok(signal) = nix::sys::signal::Signal::try_from(number) {
        return signal.to_string();
    }
    format!("signal {number}")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn statuses_have_words() {
        let text = |raw| status_text(ExitStatus::from_raw(raw));
        assert_eq!(text(0), "status 0");
        assert_eq!(text(3 << 8), "status 3");
        assert_eq!(text(9), "killed by SIGKILL");
        assert_eq!(text(0x80 | 11), "killed by SIGSEGV, core dumped");
        assert_eq!(text(40), "killed by signal 40");
    }
}
