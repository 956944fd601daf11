//! From addresses and ids to what is written: the same for a living process and for a core file.

use std::path::Path;

use crate::output::dump::{FrameDump, ThreadDump};
use crate::python::code::CodeTable;
use crate::sampler::{Moment, MomentThread, ShortNames};

/// What the threads of a moment are described with.
pub(super) struct Describer<'look> {
    pub(super) pid: i32,
    pub(super) moment: &'look Moment,
    pub(super) codes: &'look CodeTable,
    /// Whether the process finds a regular file at a path.
    pub(super) is_file: &'look dyn Fn(&Path) -> bool,
    /// What a thread is called.
    pub(super) name_of: &'look dyn Fn(&MomentThread) -> Option<String>,
}

impl Describer<'_> {
    /// All threads, as they come.
    pub(super) fn threads(&self) -> Vec<ThreadDump> {
        let mut short_names = ShortNames::default();
        self.moment.threads.iter().map(|thread| self.thread(thread, &mut short_names)).collect()
    }

    fn thread(&self, thread: &MomentThread, short_names: &mut ShortNames) -> ThreadDump {
        let frames = self.moment.frames_of(thread).iter().map(|frame| {
            let code = self.codes.get(frame.code);
            let short = short_names.shorten(&code.filename, self.is_file);
            FrameDump {
                name: code.name.clone(),
                filename: code.filename.clone(),
                module: None,
                short_filename: Some(short.to_owned()),
                line: frame.line,
                locals: None,
            }
        });
        ThreadDump {
            pid: self.pid,
            thread_id: thread.stack.thread_id,
            thread_name: (self.name_of)(thread),
            os_thread_id: thread.os_id,
            active: thread.active,
            owns_gil: thread.stack.holds_gil,
            collecting_garbage: thread.collecting,
            interpreter: thread.interpreter.id,
            frames: frames.collect(),
        }
    }
}
