//! Which threads of a moment are samples.

use wildmatch::WildMatch;

use super::moment::{MomentThread, NativeThread};
use super::process_sampler::ProcessSampler;
use crate::process::ThreadId;
use crate::profile::{Below, Profile, StackId, module_name, without_archive};

/// What counts as a sample. Without any condition: threads that are active.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only threads that hold the GIL.
    pub gil_only: bool,
    /// Only threads that wait for the GIL, each below the function that holds it; then the two beside this say nothing.
    pub gil_wait: bool,
    /// Idle threads too.
    pub idle: bool,
    /// Only the main thread of each process.
    pub main_thread: bool,
    /// Only threads whose name matches one of these (`*` and `?`); all if there are none.
    pub threads: Vec<WildMatch>,
    /// Only what happens below this function.
    pub below: Option<Below>,
    /// Only stacks with a frame whose file matches one of these, of what is below that function; all if there are none.
    pub include: Vec<WildMatch>,
    /// No stacks with a frame whose file matches one of these, likewise.
    pub exclude: Vec<WildMatch>,
}

impl Filter {
    /// Whether the thread as such counts.
    pub(super) fn wants_thread(&self, sampler: &ProcessSampler, thread: &MomentThread) -> bool {
        let is_wanted = if self.gil_wait {
            thread.waits_for_gil
        } else {
            (self.idle || thread.active) && (!self.gil_only || thread.stack.holds_gil)
        };
        if !is_wanted {
            return false;
        }
        self.wants_thread_by(sampler, thread.os_id, || sampler.thread_name(thread))
    }

    /// The same for a thread without a thread state.
    pub(super) fn wants_native_thread(&self, sampler: &ProcessSampler, thread: &NativeThread) -> bool {
        (self.idle || thread.active)
            && !self.gil_only
            && !self.gil_wait
            && self.wants_thread_by(sampler, Some(thread.os_id), || sampler.native_thread_name(thread))
    }

    fn wants_thread_by<'sampler>(
        &self,
        sampler: &ProcessSampler,
        os_id: Option<ThreadId>,
        name: impl FnOnce() -> Option<&'sampler str>,
    ) -> bool {
        if self.main_thread && os_id != Some(u64::from(sampler.process().pid().unsigned_abs())) {
            return false;
        }
        if self.threads.is_empty() {
            return true;
        }
        let name = name().unwrap_or_default();
        self.threads.iter().any(|glob| glob.matches(name))
    }

    /// Whether there is any condition on stacks.
    pub(super) fn looks_at_stacks(&self) -> bool {
        !(self.include.is_empty() && self.exclude.is_empty()) || self.below.is_some()
    }

    /// What of a stack counts: what is below the function asked for, if its files let it.
    pub(super) fn choose(&self, profile: &mut Profile, stack: StackId) -> Choice {
        let stack = match &self.below {
            None => stack,
            Some(below) => match below.cut(profile, stack) {
                Some(stack) => stack,
                None => return Choice::Outside,
            },
        };
        if self.wants_stack(profile, stack) { Choice::Taken(stack) } else { Choice::Unwanted }
    }

    /// Whether the files of the stack's frames let it count.
    fn wants_stack(&self, profile: &Profile, stack: StackId) -> bool {
        let matches = |globs: &[WildMatch]| {
            profile.frames_of(stack).any(|frame| {
                let frame = profile.frame_of(frame);
                let (file, short) = (profile.text(frame.file), profile.text(frame.short_file));
                let module = module_name(short);
                let names = [file, short, without_archive(short), &module];
                globs.iter().any(|glob| names.iter().any(|name| glob.matches(name)))
            })
        };
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

/// What becomes of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// This of it is a sample.
    Taken(StackId),
    /// It is not below the function asked for.
    Outside,
    /// Its files are not wanted.
    Unwanted,
}
