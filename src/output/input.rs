//! Reading a profile that was written before: a recording, or collapsed stacks of any program.

use std::io::{self, BufRead, Read};

use thiserror::Error;

use super::formats::collapsed::{self, CollapsedError};
use super::recording::{self, MAGIC, Recording, RecordingError};

/// Why a file is no profile that we can read.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    /// It is a recording that cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// It is no recording, and no list of collapsed stacks either.
    #[error("neither a pyspy recording nor collapsed stacks: {0}")]
    Collapsed(#[from] CollapsedError),
    /// It cannot be read at all.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a profile in whichever of the two forms it is.
///
/// # Errors
/// When `reader` fails or holds neither.
pub(crate) fn read(mut reader: impl BufRead) -> Result<Recording, InputError> {
    let mut head = vec![];
    reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head)?;
    let is_recording = head == MAGIC;
    let reader = head.chain(reader);
    if is_recording {
        return Ok(recording::read(reader)?);
    }
    Ok(Recording { profile: collapsed::read(reader)?, is_complete: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, Presentation, no_source, test_profiles};
    use crate::profile::Keep;

    #[test]
    fn recordings_and_collapsed_stacks_are_told_apart() {
        let profile = test_profiles::usual(Keep { timeline: true, journal: false });
        for (format, has_timeline) in [(Format::Pyspy, true), (Format::Raw, false)] {
            let mut bytes = vec![];
            format.write(&profile, &Presentation::default(), &no_source, "", &mut bytes).unwrap();
            let read = read(bytes.as_slice()).unwrap();
            assert!(read.is_complete);
            assert_eq!(read.profile.has_timeline(), has_timeline);
            assert_eq!(read.profile.sum().samples, 2_500);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let error = read(b"\x7fELF\0\0\0\n".as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("neither a pyspy recording nor collapsed stacks: line 1 "), "{error}");
        assert!(!error.contains('\0'), "nothing unprintable in {error:?}");
        assert_eq!(
            read(b"".as_slice()).unwrap_err().to_string(),
            "neither a pyspy recording nor collapsed stacks: no stacks in it"
        );
    }
}
