//! `pyspy dump`: what every thread is doing right now.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::pausing;
use crate::cli::DumpArgs;
use crate::output::dump::{FrameDump, ProcessDump, ThreadDump, write_json, write_text};
use crate::process::Process;
use crate::sampler::{
    Finder, Moment, PATIENCE_RUNNING, Pausing, SampleError, ShortNames, Spy, command_line, why_not_pausable,
};

/// How often a moment that could not be read is tried again.
const TRIES: u32 = 20;

/// Runs `pyspy dump`.
///
/// # Errors
/// When the process cannot be read.
pub fn run(arguments: &DumpArgs) -> anyhow::Result<ExitCode> {
    let process = Process::open(arguments.pid)?;
    let attached = Finder::new().attach(&process, false, PATIENCE_RUNNING, &|| false)?;
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
    let dump = describe(&spy, &moment);
    let mut writer = BufWriter::new(io::stdout().lock());
    if arguments.json {
        write_json(&dump, &mut writer)?;
    } else {
        write_text(&dump, arguments.full_filenames, &mut writer)?;
    }
    writer.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a moment, trying again while it cannot be read.
pub(super) fn take(spy: &mut Spy, pausing: Pausing, moment: &mut Moment) -> Result<(), SampleError> {
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

/// A moment as it is written.
pub(super) fn describe(spy: &Spy, moment: &Moment) -> ProcessDump {
    let process = spy.process();
    let mut short_names = ShortNames::default();
    let threads = moment.threads.iter().map(|thread| ThreadDump {
        pid: process.pid(),
        thread_id: thread.stack.thread_id,
        thread_name: spy.thread_name(thread).map(str::to_owned),
        os_thread_id: thread.os_id,
        active: thread.active,
        owns_gil: thread.stack.holds_gil,
        collecting_garbage: thread.collecting,
        interpreter: thread.interpreter.id,
        frames: moment
            .frames_of(thread)
            .iter()
            .map(|frame| {
                let code = spy.codes().get(frame.code);
                let short = short_names.shorten(&code.filename, |path| process.is_file_in_root(path));
                FrameDump {
                    name: code.name.clone(),
                    filename: code.filename.clone(),
                    module: None,
                    short_filename: Some(short.to_owned()),
                    line: frame.line,
                    locals: None,
                }
            })
            .collect(),
    });
    ProcessDump {
        pid: process.pid(),
        command_line: command_line(process),
        python_version: spy.runtime().layout.version.to_string(),
        executable: process.executable().map(|path| path.display().to_string()).unwrap_or_default(),
        threads: threads.collect(),
    }
}
