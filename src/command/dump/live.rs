//! A running process.

use std::time::Duration;

use super::describe::Describer;
use crate::cli::DumpArgs;
use crate::command::pausing;
use crate::output::dump::ProcessDump;
use crate::process::Process;
use crate::sampler::{Finder, Moment, PATIENCE_RUNNING, Pausing, SampleError, Spy, command_line, why_not_pausable};

/// How often a moment that could not be read is tried again.
const TRIES: u32 = 20;

/// What a process is doing.
pub(super) fn dump(arguments: &DumpArgs, pid: i32) -> anyhow::Result<ProcessDump> {
    let process = Process::open(pid)?;
    let attached = Finder::new().attach(&process, PATIENCE_RUNNING, &|| false)?;
    if attached.runtime.layout.tentative {
        let version = attached.runtime.layout.version;
        log::warn!("Python {version} is newer than what this pyspy knows; trusting the interpreter's own offsets");
    }
    let mut pausing = pausing(arguments.pause, Pausing::Blocking);
    if pausing != Pausing::Never
        && let Some(reason) = why_not_pausable(&process)
    {
        log::warn!("{reason}");
        pausing = Pausing::Never;
    }
    let mut spy = Spy::new(process, attached);
    let mut moment = Moment::default();
    take(&mut spy, pausing, &mut moment)?;
    if moment.lost > 0 {
        log::warn!("{} threads could not be read", moment.lost);
    }
    let process = spy.process();
    let describer = Describer {
        pid: process.pid(),
        moment: &moment,
        codes: spy.codes(),
        is_file: &|path| process.is_file_in_root(path),
        name_of: &|thread| spy.thread_name(thread).map(str::to_owned),
    };
    Ok(ProcessDump {
        pid: process.pid(),
        command_line: command_line(process),
        python_version: spy.runtime().layout.version.to_string(),
        executable: process.executable().map(|path| path.display().to_string()).unwrap_or_default(),
        ended_by: None,
        threads: describer.threads(),
    })
}

fn take(spy: &mut Spy, pausing: Pausing, moment: &mut Moment) -> Result<(), SampleError> {
    let mut tries = 0;
    loop {
        let taken = match pausing {
            Pausing::Never => spy.sample(Pausing::Never, moment),
            _ => spy.sample_stopped(moment),
        };
        tries += 1;
        match taken {
            Err(SampleError::Unreadable(_)) if tries < TRIES => std::thread::sleep(Duration::from_millis(10)),
            // Without stops a stack in motion may need some looks.
            Ok(()) if moment.lost > 0 && tries < TRIES => {}
            other => return other,
        }
    }
}
