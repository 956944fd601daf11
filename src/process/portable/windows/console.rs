//! What a console tells of: its keys, and that it closes.

use std::io;
use std::sync::OnceLock;
use std::thread;

use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

type Listener = Box<dyn Fn(bool) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Has `listener` called, from a thread of the system's, whenever Ctrl-C (`true`) or Ctrl-Break (`false`) is pressed in
/// our console, and, with `false` too, when the console closes, the user logs off or the machine shuts down. There can
/// be only one.
///
/// In those last cases the system ends us as soon as this has been answered, or after some seconds without an answer
/// (five for a console that closes). So it is not answered: what there is to do is done meanwhile, and then we exit.
///
/// C's `signal` would do so too, but forgets its handler each time that it calls it: a second Ctrl-C right after the
/// first then ends the program.
pub(crate) fn listen_to_console(listener: impl Fn(bool) + Send + Sync + 'static) -> io::Result<()> {
    LISTENER.set(Box::new(listener)).map_err(|_| io::ErrorKind::AlreadyExists)?;
    set_handler()
}

extern "system" fn handle(event: u32) -> BOOL {
    LISTENER.get().map_or(0, |listener| {
        listener(event == CTRL_C_EVENT);
        if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
            loop {
                thread::park();
            }
        }
        1
    })
}

#[expect(unsafe_code, reason = "a call of the system")]
fn set_handler() -> io::Result<()> {
    // SAFETY: the function is there as long as the program is.
    match unsafe { SetConsoleCtrlHandler(Some(handle), 1) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
