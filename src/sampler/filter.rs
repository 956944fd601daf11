//! Which threads of a moment are samples.

use wildmatch::WildMatch;

use super::moment::{MomentThread, NativeThread};
use super::spy::Spy;
use crate::process::ThreadId;
use crate::profile::{Profile, StackId};

/// What counts as a sample. Without any condition: threads that are active.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only threads that hold the GIL.
    pub gil_only: bool,
    /// Idle threads too.
    pub idle: bool,
    /// Only the main thread of each process.
    pub main_thread: bool,
    /// Only threads whose name matches one of these (`*` and `?`); all if there are none.
    pub threads: Vec<WildMatch>,
    /// Only stacks with a frame whose file matches one of these; all if there are none.
    pub include: Vec<WildMatch>,
    /// No stacks with a frame whose file matches one of these.
    pub exclude: Vec<WildMatch>,
}

impl Filter {
    /// Whether the thread as such counts.
    pub(super) fn wants_thread(&self, spy: &Spy, thread: &MomentThread) -> bool {
        if !(self.idle || thread.active) || (self.gil_only && !thread.stack.holds_gil) {
            return false;
        }
        self.wants_thread_by(spy, thread.os_id, || spy.thread_name(thread))
    }

    /// The same for a thread without a thread state.
    pub(super) fn wants_native_thread(&self, spy: &Spy, thread: &NativeThread) -> bool {
        (self.idle || thread.active)
            && !self.gil_only
            && self.wants_thread_by(spy, Some(thread.os_id), || spy.native_thread_name(thread))
    }

    fn wants_thread_by<'spy>(
        &self,
        spy: &Spy,
        os_id: Option<ThreadId>,
        name: impl FnOnce() -> Option<&'spy str>,
    ) -> bool {
        if self.main_thread && os_id != Some(u64::from(spy.process().pid().unsigned_abs())) {
            return false;
        }
        if self.threads.is_empty() {
            return true;
        }
        let name = name().unwrap_or_default();
        self.threads.iter().any(|glob| glob.matches(name))
    }

    /// Whether there is any condition on files.
    pub(super) fn looks_at_files(&self) -> bool {
        !(self.include.is_empty() && self.exclude.is_empty())
    }

    /// Whether the files of the stack's frames let it count.
    pub(super) fn wants_stack(&self, profile: &Profile, stack: StackId) -> bool {
        let matches = |globs: &[WildMatch]| {
            profile.frames_of(stack).any(|frame| {
                let frame = profile.frame_of(frame);
                let (file, short) = (profile.text(frame.file), profile.text(frame.short_file));
                globs.iter().any(|glob| glob.matches(file) || glob.matches(short) || glob.matches(&module_name(short)))
            })
        };
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

/// `json/decoder.py` is `json.decoder`, `json/__init__.py` is `json`.
fn module_name(short: &str) -> String {
    let stem = short.strip_suffix(".py").unwrap_or(short);
    stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_from_short_files() {
        assert_eq!(module_name("json/decoder.py"), "json.decoder");
        assert_eq!(module_name("json/__init__.py"), "json");
        assert_eq!(module_name("app.py"), "app");
    }
}
