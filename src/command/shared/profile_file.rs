//! Profiles that were written before, as input.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;

use super::standard_streams::print_note;
use crate::process::quoted_path;
use crate::profile::Profile;

/// Reads a recording, or collapsed stacks.
pub(in crate::command) fn read_profile(path: &Path) -> anyhow::Result<Profile> {
    let context = || format!("cannot read {}", quoted_path(path));
    let open = || File::open(path).map(BufReader::new).with_context(context);
    let recording = crate::output::read(open()?).with_context(context)?;
    if !recording.is_complete {
        print_note(&format!("{} was cut off; it is shown as far as it goes", quoted_path(path)));
    }
    Ok(recording.profile)
}
