//! The stacks of a moment as keys, and the frames of the profile that these stand for.

use std::path::Path;

use foldhash::{HashMap, HashMapExt};

use crate::native::{FunctionId, MixedFrame, ShownFrame};
use crate::profile::{Frame, FrameId, FrameKind, Profile, StackId};
use crate::python::code::{Code, CodeId};
use crate::sampler::async_stacks::{AsyncStacks, LogicalFrame, LogicalStack, WaitingTasks};
use crate::sampler::kernel::{KernelFunction, KernelSymbols};
use crate::sampler::moment::{
    Moment, MomentFrame, MomentThread, NativeThread, Owner, entered_interpreter, interpreter_name,
};
use crate::sampler::notebook_cells::Cells;
use crate::sampler::process_sampler::ProcessSampler;
use crate::sampler::record_options::FramesShown;
use crate::sampler::short_names::ShortNames;
use crate::sampler::wait_words::WaitWords;

/// What a frame of the profile is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FrameKey {
    /// A place in a code object: line and column (0 for none).
    Python(CodeId, u32, u32),
    /// A native function.
    Native(FunctionId),
    /// A function of the kernel.
    Kernel(KernelFunction),
    /// The garbage collector at work.
    Gc,
    /// A wait for the GIL.
    GilWait,
    /// Any other wait, by the number of its words.
    Wait(u32),
    /// The function that holds the GIL; none where it is just handed over, or its thread runs no Python code.
    GilHolder(Option<CodeId>),
    /// The border to an interpreter, by its id.
    Interpreter(i64),
    /// A frame of a task that waits, or the border to a task.
    Logical(LogicalFrame),
}

/// The frames of a thread's last stack, oldest first, each with the stack that ends in it.
type LastStack = Vec<(FrameKey, StackId)>;

/// Makes frames and stacks of the profile from those of one process.
#[derive(Debug)]
pub(super) struct StackTable {
    columns: bool,
    gc_frames: bool,
    /// Where the leaf of an idle thread is what it waits in.
    waits: Option<WaitWords>,
    /// Where stacks of event loops are shown as the program has them.
    async_stacks: Option<AsyncStacks>,
    frames: HashMap<FrameKey, Box<[FrameId]>>,
    last_stacks: HashMap<Owner, LastStack>,
    short_names: ShortNames,
    cells: Cells,
    /// Kept and refilled.
    pub(super) keys: Vec<FrameKey>,
}

impl StackTable {
    /// Knows nothing yet.
    pub(super) fn new(shown: FramesShown) -> Self {
        Self {
            columns: shown.columns,
            gc_frames: shown.gc_frames,
            waits: shown.waits.then(WaitWords::default),
            async_stacks: shown.tasks.map(|_| AsyncStacks::default()),
            frames: HashMap::new(),
            last_stacks: HashMap::new(),
            short_names: ShortNames::default(),
            cells: Cells::default(),
            keys: Vec::new(),
        }
    }

    /// The frames and stacks in the profile are others from now on.
    pub(super) fn forget_frames(&mut self) {
        self.frames.clear();
        self.last_stacks.clear();
    }

    /// The process runs another program.
    pub(super) fn begin_program(&mut self) {
        self.forget_frames();
        if let Some(waits) = &mut self.waits {
            waits.forget_threads();
        }
        self.forget_tasks();
    }

    /// What code was called by number is another by now.
    pub(super) fn forget_codes(&mut self) {
        self.forget_frames();
        self.short_names = ShortNames::default();
        self.forget_tasks();
    }

    fn forget_tasks(&mut self) {
        if let Some(stacks) = &mut self.async_stacks {
            *stacks = AsyncStacks::default();
        }
    }

    /// Forgets the frames of tasks where there are too many. No sample may wait that has such.
    pub(super) fn bound_tasks(&mut self) {
        if self.async_stacks.as_mut().is_some_and(AsyncStacks::forget_if_full) {
            self.frames.retain(|key, _| !matches!(key, FrameKey::Logical(_)));
            self.last_stacks.clear();
        }
    }

    /// A sample of the process was taken.
    pub(super) fn begin_sample(&mut self, sampler: &ProcessSampler, moment: &Moment) {
        if let Some(stacks) = &mut self.async_stacks {
            stacks.begin_sample(sampler, moment);
        }
    }

    /// Whether the keys that were [filled in](Self::fill_keys) last have frames of a task.
    pub(super) fn take_is_in_task(&mut self) -> bool {
        self.async_stacks.as_mut().is_some_and(|stacks| std::mem::take(&mut stacks.is_in_task))
    }

    /// The tasks of a moment that wait, if it is time to look at them.
    pub(super) fn waiting_tasks(&mut self, sampler: &ProcessSampler, moment: &Moment) -> Option<WaitingTasks> {
        self.async_stacks.as_mut().and_then(|stacks| stacks.waiting_tasks(sampler, moment))
    }

    /// The frame of a function, at its first line.
    pub(super) fn function(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        code: CodeId,
    ) -> Option<FrameId> {
        let key = FrameKey::Python(code, sampler.codes().get(code).first_line, 0);
        if let Some(frames) = self.frames.get(&key) {
            return frames.first().copied();
        }
        let frames = self.frames_of(profile, sampler, key);
        self.frames.entry(key).or_insert(frames).first().copied()
    }

    /// The stack of a thread that has a thread state.
    pub(super) fn stack(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        moment: &Moment,
        thread: &MomentThread,
    ) -> StackId {
        let mut keys = std::mem::take(&mut self.keys);
        self.fill_keys(sampler, moment, thread, &mut keys);
        let stack = self.push_keys(profile, sampler, Owner::State(thread.stack.address), &keys);
        self.keys = keys;
        stack
    }

    /// The stack of a thread without one.
    pub(super) fn native_stack(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        thread: &NativeThread,
        mixed: &[MixedFrame],
    ) -> StackId {
        let mut keys = Vec::with_capacity(mixed.len());
        fill_native_keys(mixed, &[], &mut keys);
        self.push_keys(profile, sampler, Owner::Thread(thread.os_id), &keys)
    }

    /// The stack of these frames, newest first.
    pub(super) fn push_keys(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        owner: Owner,
        keys: &[FrameKey],
    ) -> StackId {
        // From the oldest frame on, what is as in the thread's last sample has its stack already.
        let mut last = std::mem::take(self.last_stacks.entry(owner).or_default());
        let same = last.iter().zip(keys.iter().rev()).take_while(|((last, _), key)| last == *key).count();
        last.truncate(same);
        let mut stack = last.last().map_or(StackId::EMPTY, |(_, stack)| *stack);
        let mut is_final = true;
        for key in keys.iter().rev().skip(same) {
            if let Some(frames) = self.frames.get(key) {
                stack = frames.iter().rev().fold(stack, |stack, frame| profile.push(stack, *frame));
            } else {
                let frames = self.frames_of(profile, sampler, *key);
                stack = frames.iter().rev().fold(stack, |stack, frame| profile.push(stack, *frame));
                // Once its lines are known it is shown otherwise.
                is_final &= !awaits_lines(sampler, std::slice::from_ref(key));
                if is_final {
                    self.frames.insert(*key, frames);
                }
            }
            if is_final {
                last.push((*key, stack));
            }
        }
        self.last_stacks.insert(owner, last);
        stack
    }

    /// The frames of a thread, newest first. The garbage collector is above the newest Python frame, which it
    /// interrupts, and a wait for the GIL or the kernel above all.
    pub(super) fn fill_keys(
        &mut self,
        sampler: &ProcessSampler,
        moment: &Moment,
        thread: &MomentThread,
        keys: &mut Vec<FrameKey>,
    ) {
        let stacks = self.async_stacks.as_mut();
        let logical = stacks.and_then(|stacks| stacks.logical_stack(sampler, thread, moment.frames_of(thread)));
        let python = |frame: &MomentFrame| {
            let column = if self.columns { column(sampler, frame) } else { 0 };
            FrameKey::Python(frame.code, frame.line, column)
        };
        let frames = moment.frames_of(thread);
        let mut collecting = thread.collecting && self.gc_frames;
        keys.clear();
        keys.extend(moment.of_kernel.frames.iter().copied().map(FrameKey::Kernel));
        if thread.waits_for_gil {
            keys.push(FrameKey::GilWait);
        } else if let (Some(waits), Some(words)) = (self.waits.as_mut(), &moment.of_kernel.wait_words) {
            keys.push(FrameKey::Wait(waits.number_of_known(words)));
        } else if let Some(waits) = self.waits.as_mut().filter(|_| !thread.active && !thread.collecting) {
            keys.push(FrameKey::Wait(waits.number(sampler, moment, thread)));
        }
        let border = |index: usize| entered_interpreter(frames, index).map(FrameKey::Interpreter);
        if let Some(logical) = logical {
            keys.extend(collecting.then_some(FrameKey::Gc));
            fill_logical_keys(frames, moment.native.of(thread), &logical, &python, keys);
            return;
        }
        match moment.native.of(thread) {
            None => {
                keys.extend(collecting.then_some(FrameKey::Gc));
                if thread.stack.innermost == thread.stack.address {
                    keys.extend(frames.iter().map(python));
                } else {
                    for (index, frame) in frames.iter().enumerate() {
                        keys.push(python(frame));
                        keys.extend(border(index));
                    }
                }
            }
            Some(mixed) => {
                for frame in mixed {
                    match frame {
                        MixedFrame::Native(function) => keys.push(FrameKey::Native(*function)),
                        MixedFrame::Python(index) => {
                            keys.extend(std::mem::take(&mut collecting).then_some(FrameKey::Gc));
                            keys.extend(frames.get(*index).map(python));
                            keys.extend(border(*index));
                        }
                    }
                }
            }
        }
    }

    /// The frame of a function at a line and column.
    fn python_frame(
        &mut self,
        profile: &mut Profile,
        sampler: &ProcessSampler,
        code: &Code,
        (line, column): (u32, u32),
    ) -> Frame {
        let process = sampler.process();
        let file = &code.filename;
        let cell = sampler
            .main_interpreter()
            .and_then(|interpreter| self.cells.name(process.memory(), &sampler.runtime().layout, interpreter, file));
        let short = match cell {
            Some(cell) => cell,
            None => self.short_names.shorten(file, |path: &Path| process.is_file_in_root(path)),
        };
        Frame {
            name: profile.intern(&code.name),
            file: profile.intern(&code.filename),
            short_file: profile.intern(short),
            line,
            column,
            first_line: code.first_line,
            ..Frame::default()
        }
    }

    /// The frames of a key, newest first: more than one where the compiler has put native functions into others.
    fn frames_of(&mut self, profile: &mut Profile, sampler: &ProcessSampler, key: FrameKey) -> Box<[FrameId]> {
        let frame = match key {
            FrameKey::Python(code, line, column) => {
                self.python_frame(profile, sampler, sampler.codes().get(code), (line, column))
            }
            FrameKey::Logical(LogicalFrame::Awaiter(code, line)) => {
                let stacks = self.async_stacks.take();
                let code = stacks.as_ref().map(|stacks| stacks.codes().get(code));
                let frame = code.map(|code| self.python_frame(profile, sampler, code, (line, 0)));
                self.async_stacks = stacks;
                frame.unwrap_or_default()
            }
            FrameKey::Native(function) => {
                let shown = sampler.native().map(|native| native.shown(function)).unwrap_or_default();
                return shown.iter().map(|frame| native_frame(profile, frame)).collect();
            }
            FrameKey::Logical(LogicalFrame::Label(label)) => {
                let text = self.async_stacks.as_ref().map(|stacks| stacks.label(label)).unwrap_or_default();
                Frame { kind: FrameKind::Task, name: profile.intern(text), ..Frame::default() }
            }
            FrameKey::Kernel(function) => {
                let symbols = KernelSymbols::of_this_machine();
                let (name, module) = symbols.map_or(("<kernel code>", ""), |symbols| symbols.name(function));
                let file = profile.intern(module);
                let name = profile.intern(name);
                Frame { kind: FrameKind::Kernel, name, file, short_file: file, module: file, ..Frame::default() }
            }
            FrameKey::Gc => {
                let name = profile.intern("garbage collection");
                Frame { kind: FrameKind::Gc, name, ..Frame::default() }
            }
            FrameKey::GilWait => {
                let name = profile.intern("waiting for the GIL");
                Frame { kind: FrameKind::Wait, name, ..Frame::default() }
            }
            FrameKey::Wait(number) => {
                let name = self.waits.as_ref().map_or("", |waits| waits.words(number));
                Frame { kind: FrameKind::Wait, name: profile.intern(name), ..Frame::default() }
            }
            FrameKey::GilHolder(Some(code)) => {
                let code = sampler.codes().get(code);
                let frame = self.python_frame(profile, sampler, code, (code.first_line, 0));
                let name = profile.intern(&format!("held by {}", code.name));
                Frame { kind: FrameKind::Wait, name, ..frame }
            }
            FrameKey::GilHolder(None) => {
                let name = profile.intern("held by no Python code");
                Frame { kind: FrameKind::Wait, name, ..Frame::default() }
            }
            FrameKey::Interpreter(id) => {
                let name = profile.intern(&interpreter_name(id));
                Frame { kind: FrameKind::Interpreter, name, ..Frame::default() }
            }
        };
        [profile.frame(frame)].into()
    }
}

fn native_frame(profile: &mut Profile, shown: &ShownFrame<'_>) -> FrameId {
    let module = shown.module.rsplit('/').next().unwrap_or_default();
    let frame = Frame {
        kind: FrameKind::Native,
        name: profile.intern(shown.name),
        file: profile.intern(shown.file),
        short_file: profile.intern(shown.short_file),
        module: profile.intern(module),
        line: shown.line,
        ..Frame::default()
    };
    profile.frame(frame)
}

/// Whether the lines of one of these frames are being looked up.
pub(super) fn awaits_lines(sampler: &ProcessSampler, keys: &[FrameKey]) -> bool {
    let Some(native) = sampler.native() else { return false };
    keys.iter().any(|key| matches!(key, FrameKey::Native(function) if native.awaits_lines(*function)))
}

/// The frames of a thread that runs an event loop, newest first, with what takes the place of the loop's.
fn fill_logical_keys(
    frames: &[MomentFrame],
    mixed: Option<&[MixedFrame]>,
    logical: &LogicalStack,
    python: &dyn Fn(&MomentFrame) -> FrameKey,
    keys: &mut Vec<FrameKey>,
) {
    let inserted = logical.inserted.iter().map(|frame| FrameKey::Logical(*frame));
    let oldest = logical.oldest.iter().map(|frame| FrameKey::Logical(*frame));
    let Some(mixed) = mixed else {
        keys.extend(frames[..logical.newest].iter().map(python));
        keys.extend(inserted);
        keys.extend(frames[logical.older..].iter().map(python));
        keys.extend(oldest);
        return;
    };
    // Native frames belong to the Python frame below them: those that the loop has called are the task's as long as a
    // frame of the task is above.
    let place_of = |frame: &MixedFrame| match frame {
        MixedFrame::Python(index) => Some(*index),
        MixedFrame::Native(_) => None,
    };
    let first_of_loop = mixed.iter().position(|frame| place_of(frame).is_some_and(|index| index >= logical.newest));
    let first_older = mixed.iter().position(|frame| place_of(frame).is_some_and(|index| index >= logical.older));
    let first_of_loop = first_of_loop.unwrap_or(mixed.len());
    let key = |frame: &MixedFrame| match frame {
        MixedFrame::Native(function) => Some(FrameKey::Native(*function)),
        MixedFrame::Python(index) => frames.get(*index).map(python),
    };
    let of_task = &mixed[..first_of_loop];
    let last_of_task = of_task.iter().rposition(|frame| place_of(frame).is_some()).map_or(0, |last| last + 1);
    let newest = if logical.newest == 0 { of_task } else { &of_task[..last_of_task] };
    keys.extend(newest.iter().filter_map(key));
    keys.extend(inserted);
    keys.extend(mixed[first_older.unwrap_or(mixed.len())..].iter().filter_map(key));
    keys.extend(oldest);
}

/// The frames of a thread without Python code, newest first, with those of the kernel above.
pub(super) fn fill_native_keys(mixed: &[MixedFrame], of_kernel: &[KernelFunction], keys: &mut Vec<FrameKey>) {
    keys.clear();
    keys.extend(of_kernel.iter().copied().map(FrameKey::Kernel));
    keys.extend(mixed.iter().filter_map(|frame| match frame {
        MixedFrame::Native(function) => Some(FrameKey::Native(*function)),
        MixedFrame::Python(_) => None,
    }));
}

/// The column of a frame's instruction, from 1; 0 where it is not known.
fn column(sampler: &ProcessSampler, frame: &MomentFrame) -> u32 {
    let location = sampler.codes().location_at(frame.code, frame.offset);
    location.and_then(|location| location.column).map_or(0, |column| column + 1)
}
