//! Frames, threads and processes as a presentation shows them.

use std::collections::HashMap;
use std::fmt::Write;

use super::sort::sort_by_key;
use super::text::printable;
use super::{Lines, Presentation};
use crate::profile::{Frame, FrameId, FrameKind, Process, ProcessRef, Profile, StackId, TextId, Thread, ThreadRef};

/// A frame as it is shown. Frames that a presentation shows in the same way are one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The function, or the text of a thread or process marker.
    pub(super) name: String,
    /// The source file's full name; empty for markers.
    pub(super) file: String,
    /// The source file as it is shown in a label.
    pub(super) shown_file: String,
    /// The module, where it is known.
    pub(super) module: String,
    /// The line to show; `None` when lines are not wanted, 0 when there is none.
    pub(super) line: Option<u32>,
    /// The column to show, 0 when there is none.
    pub(super) column: u32,
    /// The function's first line, 0 when not known.
    pub(super) first_line: u32,
    /// Whose code it is.
    pub(super) origin: Origin,
}

/// Whose code a frame runs; viewers colour by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// The program's own.
    Application,
    /// Of an installed package.
    Package,
    /// Of Python's standard library.
    StandardLibrary,
    /// Machine code.
    Native,
    /// The kernel's.
    Kernel,
    /// The garbage collector.
    Gc,
    /// No code: what a thread waits in, or for whom.
    Wait,
    /// No code: a thread or a process.
    Marker,
}

impl Place {
    /// `name (file:line)`, as py-spy writes it.
    pub(super) fn label(&self) -> String {
        let mut label = self.name.clone();
        if !self.shown_file.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(label, " ({}", self.shown_file);
            if let Some(line) = self.line.filter(|line| *line != 0) {
                let _ = write!(label, ":{line}");
                if self.column != 0 {
                    let _ = write!(label, ":{}", self.column);
                }
            }
            label.push(')');
        }
        label
    }

    /// What is no code: a thread, a process, or what stands for several frames.
    pub(super) fn marker(name: String) -> Self {
        Self {
            name,
            file: String::new(),
            shown_file: String::new(),
            module: String::new(),
            line: Some(0),
            column: 0,
            first_line: 0,
            origin: Origin::Marker,
        }
    }

    /// `name (file:line)` with the function's first line: what a call is named that goes over many lines.
    pub(super) fn function_label(&self) -> String {
        let line = self.line.map(|_| self.first_line);
        Self { line, column: 0, ..self.clone() }.label()
    }
}

/// Where a place is in [`Places::all`].
pub(super) type PlaceId = usize;

/// All places of a profile.
pub(super) struct Places<'profile> {
    profile: &'profile Profile,
    presentation: Presentation,
    all: Vec<Place>,
    ids: HashMap<Place, PlaceId>,
    /// The place of each frame.
    frames: Vec<PlaceId>,
    /// What stands in front of the stacks of each thread.
    prefixes: Vec<Vec<PlaceId>>,
}

impl<'profile> Places<'profile> {
    pub(super) fn new(profile: &'profile Profile, presentation: &Presentation) -> Self {
        let mut places = Self {
            profile,
            presentation: *presentation,
            all: vec![],
            ids: HashMap::new(),
            frames: vec![],
            prefixes: vec![],
        };
        // Of a recording of what happens below a function, the frames above it are none of its places.
        let is_shown = if profile.metadata.filters.below.is_empty() { vec![] } else { profile.frames_in_samples() };
        for (at, frame) in profile.frames_from(0).enumerate() {
            let is_shown = is_shown.get(at).copied().unwrap_or(true);
            let place = if is_shown { places.intern_frame(frame) } else { 0 };
            places.frames.push(place);
        }
        for (_, thread) in profile.threads() {
            let prefix = places.intern_prefix(thread);
            places.prefixes.push(prefix);
        }
        places
    }

    pub(super) fn all(&self) -> &[Place] {
        &self.all
    }

    pub(super) fn get(&self, id: PlaceId) -> &Place {
        &self.all[id]
    }

    /// The place of a frame.
    pub(super) fn frame(&self, id: FrameId) -> PlaceId {
        self.frames[id.number() as usize]
    }

    /// What stands in front of the stacks of a thread: processes, outermost first, then the thread, as far as they are
    /// wanted.
    pub(super) fn prefix(&self, thread: ThreadRef) -> &[PlaceId] {
        &self.prefixes[thread.number() as usize]
    }

    /// The places of a thread's stack with its prefix, outermost first, into `places`.
    pub(super) fn stack(&self, thread: ThreadRef, stack: StackId, places: &mut Vec<PlaceId>) {
        places.clear();
        places.extend(self.profile.frames_of(stack).map(|frame| self.frame(frame)));
        places.extend(self.prefix(thread).iter().rev());
        places.reverse();
    }

    fn intern_frame(&mut self, frame: Frame) -> PlaceId {
        let text = |id: TextId| printable(self.profile.text(id)).into_owned();
        let file = known(self.profile, Some(frame.file)).unwrap_or_default();
        let (line, column) = match self.presentation.lines {
            Lines::Current => (Some(frame.line), if self.presentation.columns { frame.column } else { 0 }),
            Lines::First => (Some(frame.first_line), 0),
            Lines::None => (None, 0),
        };
        let short = frame.short_file != TextId::EMPTY && !self.presentation.full_file_names;
        let name = known(self.profile, Some(frame.name)).unwrap_or_else(|| "<unknown>".to_owned());
        self.intern(Place {
            name,
            shown_file: if short && !file.is_empty() { text(frame.short_file) } else { file.clone() },
            module: text(frame.module),
            line,
            column,
            first_line: frame.first_line,
            origin: origin(frame.kind, &file),
            file,
        })
    }

    fn intern_prefix(&mut self, thread: &Thread) -> Vec<PlaceId> {
        let profile = self.profile;
        let mut prefix = vec![];
        if self.presentation.processes {
            for process in profile.lineage(thread.process) {
                prefix.push(self.intern_marker(process_label(profile, profile.process(process))));
            }
        }
        if self.presentation.threads {
            prefix.push(self.intern_marker(thread_label(profile, thread)));
        }
        prefix
    }

    fn intern_marker(&mut self, name: String) -> PlaceId {
        self.intern(Place::marker(name))
    }

    fn intern(&mut self, place: Place) -> PlaceId {
        if let Some(id) = self.ids.get(&place) {
            return *id;
        }
        let id = self.all.len();
        self.all.push(place.clone());
        self.ids.insert(place, id);
        id
    }
}

/// Whether a file of Python code is the program's own: of no package and not of the standard library.
pub(crate) fn is_of_program(file: &str) -> bool {
    !file.is_empty() && origin(FrameKind::Python, file) == Origin::Application
}

fn origin(kind: FrameKind, file: &str) -> Origin {
    match kind {
        FrameKind::Native => Origin::Native,
        FrameKind::Kernel => Origin::Kernel,
        FrameKind::Gc => Origin::Gc,
        FrameKind::Wait => Origin::Wait,
        FrameKind::Interpreter | FrameKind::Task => Origin::Marker,
        FrameKind::Python => origin_of_file(file),
    }
}

/// Whose code a Python file is, by its full name.
pub(super) fn origin_of_file(file: &str) -> Origin {
    let mut origin = if file.starts_with("<frozen ") { Origin::StandardLibrary } else { Origin::Application };
    let mut folders = file.split(['/', '\\']).rev().skip(1);
    while let Some(folder) = folders.next() {
        if matches!(folder, "site-packages" | "dist-packages") {
            return Origin::Package;
        }
        let version = folder.strip_prefix("python").or_else(|| folder.strip_prefix("Python")).unwrap_or_default();
        let is_library = version.starts_with(|c: char| c.is_ascii_digit())
            && version.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 't'));
        if is_library && folders.clone().next().is_some_and(|parent| parent.starts_with("lib")) {
            origin = Origin::StandardLibrary;
        }
    }
    origin
}

/// A text that says something, safe to write.
fn known(profile: &Profile, text: Option<TextId>) -> Option<String> {
    let text = printable(profile.text(text?));
    Some(text.into_owned()).filter(|text| !text.trim().is_empty())
}

/// `thread (4242): NAME`, as py-spy names it.
pub(super) fn thread_label(profile: &Profile, thread: &Thread) -> String {
    let mut label = format!("thread ({})", thread_number(thread));
    if let Some(name) = known(profile, thread.name) {
        let _ = write!(label, ": {name}");
    }
    if thread.interpreter != 0 {
        let _ = write!(label, " (interpreter {})", thread.interpreter);
    }
    label
}

/// The operating system's thread id, or else CPython's own in hexadecimal, as py-spy writes it.
pub(super) fn thread_number(thread: &Thread) -> String {
    thread.os_id.map_or_else(|| format!("{:#X}", thread.python_id), |id| id.to_string())
}

/// `process 4242:"COMMAND"`, as py-spy names it, and who runs it, where that is known.
pub(super) fn process_label(profile: &Profile, process: &Process) -> String {
    let mut label = format!("process {}:\"{}\"", process.pid, printable(profile.text(process.command_line)));
    if let Some(supervisor) = known(profile, Some(process.supervisor)) {
        let _ = write!(label, " ({supervisor})");
    }
    label
}

/// A thread for formats that name it beside its frames.
pub(super) fn thread_name(profile: &Profile, thread: &Thread) -> String {
    let mut name = known(profile, thread.name).unwrap_or_else(|| format!("Thread {}", thread_number(thread)));
    if thread.interpreter != 0 {
        let _ = write!(name, " (interpreter {})", thread.interpreter);
    }
    name
}

/// Every thread that has samples, in the order of processes, then of threads.
pub(super) fn sampled_threads(profile: &Profile) -> Vec<ThreadRef> {
    let sampled = profile.threads().filter(|(id, _)| profile.sum_of(*id).is_some());
    let mut threads: Vec<(ProcessRef, ThreadRef)> = sampled.map(|(id, thread)| (thread.process, id)).collect();
    sort_by_key(&mut threads, |thread| *thread);
    threads.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_apart_by_where_it_lies() {
        let python = |file| origin(FrameKind::Python, file);
        assert_eq!(python("/home/me/app/main.py"), Origin::Application);
        assert_eq!(python("/usr/lib/python3.11/threading.py"), Origin::StandardLibrary);
        assert_eq!(python("/opt/py/lib/python3.14t/asyncio/runners.py"), Origin::StandardLibrary);
        assert_eq!(python("<frozen importlib._bootstrap>"), Origin::StandardLibrary);
        assert_eq!(python("/usr/lib/python3/dist-packages/apt.py"), Origin::Package);
        assert_eq!(python("/v/lib/python3.11/site-packages/flask/app.py"), Origin::Package);
        assert_eq!(python("/home/python3/app.py"), Origin::Application);
        assert_eq!(python("<string>"), Origin::Application);
        assert_eq!(origin(FrameKind::Native, "/usr/lib/python3.11/x.so"), Origin::Native);
    }
}
