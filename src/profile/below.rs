//! Only what happens below a function: stacks that begin with it.

use std::collections::HashMap;

use wildmatch::WildMatch;

use super::{Frame, FrameId, Profile, Run, StackId, TextId, Thread};

/// A function below which something is to happen, by a glob (`*` and `?`).
#[derive(Debug, Clone)]
pub struct Below {
    glob: WildMatch,
    text: String,
}

impl Below {
    /// The functions that `glob` matches: by their name, qualified or not, or by that behind their module.
    pub fn new(glob: &str) -> Self {
        Self { glob: WildMatch::new(glob), text: glob.to_owned() }
    }

    /// The glob as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a frame runs such a function.
    pub fn matches(&self, profile: &Profile, frame: FrameId) -> bool {
        let Frame { name, short_file, .. } = profile.frame_of(frame);
        self.matches_function(profile.text(name), profile.text(short_file))
    }

    /// The same of a function by its name, qualified or not, and the short form of its file.
    pub fn matches_function(&self, name: &str, short_file: &str) -> bool {
        let own_name = name.rsplit_once('.').map_or(name, |(_, own_name)| own_name);
        self.glob.matches(name)
            || self.glob.matches(own_name)
            || self.glob.matches(&format!("{}.{name}", module_name(short_file)))
    }

    /// The stack from the outermost such function on; `None` when there is none in it.
    pub fn cut(&self, profile: &mut Profile, stack: StackId) -> Option<StackId> {
        let frames: Vec<FrameId> = profile.frames_of(stack).collect();
        let root = frames.iter().rposition(|frame| self.matches(profile, *frame))?;
        let below = frames[..=root].iter().rev();
        Some(below.fold(StackId::EMPTY, |stack, frame| profile.push(stack, *frame)))
    }
}

impl Profile {
    /// Whether each frame is in a stack of some sample, by the frames' numbers. Those above the function that was asked
    /// for are not.
    pub fn frames_in_samples(&self) -> Vec<bool> {
        let mut is_used = vec![false; self.frames.len()];
        let mut is_seen = vec![false; self.stacks.len()];
        for total in self.totals() {
            let mut at = total.stack;
            while let Some((caller, frame)) = self.pop(at)
                && !std::mem::replace(&mut is_seen[at.0 as usize], true)
            {
                is_used[frame.0 as usize] = true;
                at = caller;
            }
        }
        is_used
    }

    /// A copy with only what happens below a function, rooted there. What the samples counted before that were not
    /// below it is in its metadata.
    #[must_use]
    pub fn below(&self, below: &Below) -> Profile {
        let keep = super::Keep { timeline: self.has_timeline(), ..super::Keep::default() };
        let mut copy =
            Copy { from: self, to: Profile::new(keep), frames: HashMap::new(), stacks: HashMap::new(), below };
        copy.to.metadata = self.metadata.clone();
        copy.take_processes_and_threads();
        let (mut taken, mut outside) = (0u64, 0u64);
        let mut take = |run: Run| match copy.stack(run.stack) {
            Some(stack) => {
                taken = taken.saturating_add(run.samples);
                copy.to.add_run(Run { stack, ..run });
            }
            None => outside = outside.saturating_add(run.samples),
        };
        if self.has_timeline() {
            for (thread, _) in self.threads() {
                self.timeline(thread).for_each(&mut take);
            }
        } else {
            for total in self.totals() {
                let super::Total { thread, stack, flags, samples, weight_us } = *total;
                take(Run { thread, stack, flags, start_us: 0, weight_us, samples });
            }
        }
        let metadata = &mut copy.to.metadata;
        let counts = &mut metadata.counts;
        counts.taken = taken;
        counts.outside = counts.outside.saturating_add(outside);
        counts.stopped = counts.stopped.min(taken);
        counts.unproven = counts.unproven.min(taken);
        metadata.filters.below = below.text().to_owned();
        copy.to
    }
}

/// A profile on its way into another.
struct Copy<'from> {
    from: &'from Profile,
    to: Profile,
    frames: HashMap<FrameId, FrameId>,
    stacks: HashMap<StackId, Option<StackId>>,
    below: &'from Below,
}

impl Copy<'_> {
    fn text(&mut self, text: TextId) -> TextId {
        self.to.intern(self.from.text(text))
    }

    /// References to processes and threads stay what they are.
    fn take_processes_and_threads(&mut self) {
        for (_, process) in self.from.processes() {
            let process = process.with_texts(|text| self.text(text));
            self.to.add_process(process);
        }
        for (_, thread) in self.from.threads() {
            let name = thread.name.map(|name| self.text(name));
            self.to.add_thread(Thread { name, ..*thread });
        }
    }

    fn stack(&mut self, stack: StackId) -> Option<StackId> {
        if let Some(known) = self.stacks.get(&stack) {
            return *known;
        }
        let frames: Vec<FrameId> = self.from.frames_of(stack).collect();
        let root = frames.iter().rposition(|frame| self.below.matches(self.from, *frame));
        let cut = root.map(|root| {
            frames[..=root].iter().rev().fold(StackId::EMPTY, |stack, frame| {
                let frame = self.frame(*frame);
                self.to.push(stack, frame)
            })
        });
        self.stacks.insert(stack, cut);
        cut
    }

    fn frame(&mut self, frame: FrameId) -> FrameId {
        if let Some(known) = self.frames.get(&frame) {
            return *known;
        }
        let Frame { name, file, short_file, module, .. } = self.from.frame_of(frame);
        let [name, file, short_file, module] = [name, file, short_file, module].map(|text| self.text(text));
        let here = self.to.frame(Frame { name, file, short_file, module, ..self.from.frame_of(frame) });
        self.frames.insert(frame, here);
        here
    }
}

/// A module's name from its short file: `json/decoder.py` is `json.decoder`, `json/__init__.py` is `json`,
/// `deps.zip/util.py` is `util`.
pub(crate) fn module_name(short_file: &str) -> String {
    let inside = without_archive(short_file);
    let stem = inside.strip_suffix(".py").unwrap_or(inside);
    stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".")
}

/// `util.py` of `deps.zip/util.py`: a directory that holds modules and is no package has no name that could be
/// imported.
pub(crate) fn without_archive(short_file: &str) -> &str {
    match short_file.split_once('/') {
        Some((directory, file)) if directory.contains('.') => file,
        _ => short_file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Flags, FrameKind, Keep};

    #[test]
    fn modules_are_named_from_short_files() {
        for (short_file, name) in [
            ("json/decoder.py", "json.decoder"),
            ("json/__init__.py", "json"),
            ("app.py", "app"),
            ("app.pyz/__main__.py", "__main__"),
        ] {
            assert_eq!(module_name(short_file), name);
        }
    }

    fn frame(profile: &mut Profile, name: &str, file: &str) -> FrameId {
        let (name, short_file) = (profile.intern(name), profile.intern(file));
        profile.frame(Frame { name, file: short_file, short_file, line: 1, ..Frame::default() })
    }

    #[test]
    fn functions_are_named_alone_with_their_class_or_with_their_module() {
        let mut profile = Profile::default();
        let method = frame(&mut profile, "Server.handle", "app/views.py");
        let inner = frame(&mut profile, "main.<locals>.step", "app/__main__.py");
        for (glob, is_method, is_inner) in [
            ("handle", true, false),
            ("Server.handle", true, false),
            ("app.views.Server.handle", true, false),
            ("app.views.*", true, false),
            ("app.*", true, true),
            ("step", false, true),
            ("hand", false, false),
            ("Server", false, false),
        ] {
            let below = Below::new(glob);
            let found = (below.matches(&profile, method), below.matches(&profile, inner));
            assert_eq!(found, (is_method, is_inner), "{glob}");
        }
    }

    #[test]
    fn of_a_recursion_the_outermost_call_is_the_root_and_time_stays() {
        let mut profile = Profile::new(Keep { timeline: true, ..Keep::default() });
        let process = profile.add_process(crate::profile::Process::default());
        let thread = profile.add_thread(Thread { process, os_id: None, python_id: 0, interpreter: 0, name: None });
        let [main, walk, other] = ["main", "walk", "other"].map(|name| frame(&mut profile, name, "a.py"));
        let native = profile.intern("deflate");
        let native = profile.frame(Frame { kind: FrameKind::Native, name: native, ..Frame::default() });
        let stacks = [vec![main, walk, other, walk, native], vec![main, other], vec![main, walk]];
        for (at, frames) in stacks.into_iter().enumerate() {
            let stack = frames.into_iter().fold(StackId::EMPTY, |stack, frame| profile.push(stack, frame));
            profile.add_sample(thread, stack, (at as u64 + 1) * 1_000, 1_000, Flags::ACTIVE);
        }
        let below = profile.below(&Below::new("walk"));
        let runs: Vec<(Vec<String>, u64)> = below
            .timeline(thread)
            .map(|run| {
                let names = below.frames_of(run.stack).map(|id| below.text(below.frame_of(id).name).to_owned());
                (names.collect(), run.start_us)
            })
            .collect();
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(runs, [(named(&["deflate", "walk", "other", "walk"]), 0), (named(&["walk"]), 2_000)]);
        assert_eq!((below.sum().samples, below.sum().weight_us, below.metadata.counts.outside), (2, 2_000, 1));
        assert_eq!(below.metadata.filters.below, "walk");
        assert_eq!(below.frames_in_samples(), [true; 3]);
        frame(&mut profile, "unused", "a.py");
        assert_eq!(profile.frames_in_samples(), [true, true, true, true, false]);
        assert!(profile.below(&Below::new("nothing")).totals().is_empty());
    }
}
