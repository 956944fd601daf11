//! Standard output, where the product may go, and standard error, where notes go.

use std::io::Write;

use super::failure::OutputError;
use crate::process::stdout_was_closed;

/// Makes sure that there is a standard output, before work is done for it.
///
/// # Errors
/// When it was closed when we were started: what is written there is lost, as the runtime puts `/dev/null` in its
/// place.
pub(in crate::command) fn check_stdout() -> Result<(), OutputError> {
    if stdout_was_closed() {
        return Err(OutputError::of_stdout(std::io::Error::other("it was closed when pyspy was started")));
    }
    Ok(())
}

/// Tells the user something beside the product.
pub(in crate::command) fn print_note(text: &str) {
    // The terminal may be gone; what is recorded is worth more than that.
    let _ = writeln!(std::io::stderr(), "pyspy: {text}");
}
