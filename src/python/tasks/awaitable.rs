//! From a coroutine to its frame, to what that awaits, to the frame of that, to the future at the end.

use super::objects::{Kind, TaskObjects};
use super::{Link, TaskFrame};
use crate::memory::ReadError;
use crate::python::code::CodeTable;
use crate::python::frame_line::{Position, read_instruction};
use crate::python::layout::Layout;
use crate::python::stack::{Entered, RawFrame};

/// More steps than any real chain has.
const MOST_LINKS: usize = 256;
/// Steps of one task, those in vain included.
const MOST_STEPS: usize = 1024;
/// More values than a frame can hold.
const MOST_VALUES: u64 = 1 << 16;

/// What a coroutine has called, and what it waits for.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Innermost first.
    pub(super) links: Vec<Link>,
    /// The future at the end.
    pub(super) future: Option<u64>,
    /// It was cut off.
    pub(super) is_truncated: bool,
    /// The outermost frame has not run.
    pub(super) is_new: bool,
    /// One of its frames runs at this moment.
    pub(super) is_running: bool,
}

/// What a coroutine, a generator or an async generator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Created,
    /// At a `yield`, or at an `await`: which of them is not told before 3.13.
    Suspended,
    SuspendedAtAwait,
    SuspendedAtYield,
    Running,
    Finished,
}

/// Follows coroutines.
pub(super) struct Follower<'read, 'codes> {
    types: TaskObjects<'read>,
    /// The code of the frames that were met.
    codes: &'codes mut CodeTable,
    /// Steps that have been gone for one task, those in vain too.
    steps: usize,
    /// Functions of mypyc's within each other that are being followed.
    depth: usize,
}

impl<'read, 'codes> Follower<'read, 'codes> {
    pub(super) fn new(types: TaskObjects<'read>, codes: &'codes mut CodeTable) -> Self {
        Self { types, codes, steps: 0, depth: 0 }
    }

    /// What `coroutine` has called. `waiter` is the future that its task waits for, 0 where it waits for none, `None`
    /// where that is not known.
    pub(super) fn follow(&mut self, coroutine: u64, waiter: Option<u64>) -> Chain {
        let mut chain = Chain::default();
        (self.steps, self.depth) = (0, 0);
        if self.follow_into(coroutine, waiter, &mut chain).is_err() {
            chain.is_truncated = true;
        }
        chain.links.reverse();
        chain
    }

    fn follow_into(&mut self, coroutine: u64, waiter: Option<u64>, chain: &mut Chain) -> Result<(), ReadError> {
        let mut next = coroutine;
        let mut seen = Vec::new();
        while next != 0 {
            self.steps += 1;
            if seen.len() >= MOST_LINKS || self.steps > MOST_STEPS || seen.contains(&next) {
                chain.is_truncated = true;
                break;
            }
            seen.push(next);
            let known = self.types.known(next)?;
            next = match known.kind {
                Kind::Coroutine | Kind::Generator => {
                    let progress = self.progress(next)?;
                    let Some(frame) = self.frame_of(next, progress)? else { break };
                    chain.is_running |= progress == Progress::Running;
                    chain.is_new |= progress == Progress::Created && chain.links.is_empty();
                    match self.resolved(frame) {
                        Some(frame) => chain.links.push(Link::Frame(frame)),
                        None => chain.is_truncated = true,
                    }
                    self.awaited_by(known.kind, progress, frame)?
                }
                Kind::Cython(layout) => {
                    let state = self.types.cython_state(next, layout)?;
                    chain.is_running |= state.is_running;
                    chain.is_new |= state.is_new && chain.links.is_empty();
                    chain.links.push(self.types.cython_link(next, layout, self.codes));
                    state.awaited
                }
                Kind::Mypyc => {
                    let name = self.types.mypyc_name(next, &known.info);
                    chain.links.push(Link::Opaque(name.unwrap_or_else(|| known.info.name.clone()), next));
                    match self.proven(next, waiter)? {
                        Some(below) => {
                            chain.links.extend(below.links);
                            chain.future = below.future;
                        }
                        None => chain.is_truncated |= waiter != Some(0),
                    }
                    0
                }
                Kind::Wrapper => self.types.first_field(next)?,
                Kind::Task | Kind::Future | Kind::PythonTask | Kind::PythonFuture => {
                    chain.future = Some(next);
                    0
                }
                Kind::Other => {
                    chain.links.push(Link::Opaque(known.info.name.clone(), next));
                    0
                }
            };
        }
        Ok(())
    }

    /// What a function of mypyc's has called: of all that it could await, what leads to the future that its task waits
    /// for; the longest, where it also has a variable with something that is on the way there. Where such a future is
    /// not known, what ends where tasks of trio do; nothing, if several do so in different places.
    fn proven(&mut self, function: u64, waiter: Option<u64>) -> Result<Option<Chain>, ReadError> {
        if waiter == Some(0) || self.depth >= MOST_LINKS {
            return Ok(None);
        }
        self.depth += 1;
        let mut proven: Option<Chain> = None;
        let mut ends = Vec::new();
        for candidate in self.types.mypyc_candidates(function)? {
            let mut chain = Chain::default();
            let is_read = self.follow_into(candidate, waiter, &mut chain).is_ok();
            let end = match waiter {
                Some(waiter) => chain.future.filter(|future| *future == waiter),
                None => self.trap_of_trio(&chain),
            };
            let Some(end) = end.filter(|_| is_read) else { continue };
            ends.push(end);
            if proven.as_ref().is_none_or(|proven| proven.links.len() < chain.links.len()) {
                proven = Some(chain);
            }
        }
        self.depth -= 1;
        ends.dedup();
        Ok(proven.filter(|_| ends.len() == 1))
    }

    /// The frame of the generator that every task of trio is put aside in, if it is the innermost of a chain
    /// (`_async_yield`, trio/_core/_traps.py).
    fn trap_of_trio(&self, chain: &Chain) -> Option<u64> {
        let frame = chain.links.last()?.frame()?;
        let code = self.codes.get(frame.place.code);
        let is_trap = code.name.ends_with("async_yield") && code.filename.ends_with("_traps.py");
        (is_trap && !chain.is_running).then_some(frame.address)
    }

    fn layout(&self) -> &Layout {
        self.types.objects.layout()
    }

    fn resolved(&mut self, frame: u64) -> Option<TaskFrame> {
        let objects = self.types.objects;
        let (layout, memory) = (objects.layout(), objects.memory());
        let code_address = objects.pointer(frame, layout.frame.code).ok()? & !layout.frame.tag_mask;
        let (position, line) = read_instruction(&mut &memory, layout, frame, false).ok()?;
        let raw =
            RawFrame { address: frame, code: code_address, position, line, entry: Entered::Within, interpreter: 0 };
        if self.codes.evidence(code_address).next().is_none() {
            self.codes.load(&memory, layout, code_address).ok()?;
        }
        let place = self.codes.resolve(&memory, layout, &raw)?;
        Some(TaskFrame { address: frame, code_address, place })
    }

    /// What a coroutine or generator does.
    fn progress(&self, object: u64) -> Result<Progress, ReadError> {
        let objects = self.types.objects;
        let layout = self.layout();
        let generator = &layout.generator;
        if let Some(running) = generator.running {
            // Up to 3.9 nothing but this byte and the last instruction tells.
            let frame = objects.pointer(object, generator.frame_object.unwrap_or(0))?;
            return Ok(match frame {
                0 => Progress::Finished,
                _ if objects.byte(object, running)? != 0 => Progress::Running,
                frame if self.has_started(frame)? => Progress::Suspended,
                _ => Progress::Created,
            });
        }
        let Some(states) = generator.states else { return Ok(Progress::Finished) };
        let state = match (generator.frame_state, generator.frame_object, layout.frame.state) {
            (Some(offset), _, _) => objects.byte(object, offset)?.cast_signed(),
            (None, Some(frame), Some(state)) => match objects.pointer(object, frame)? {
                0 => return Ok(Progress::Finished),
                frame => objects.byte(frame, state)?.cast_signed(),
            },
            _ => return Ok(Progress::Finished),
        };
        let at_await = [states.suspended_yield_from, states.suspended_yield_from_locked].contains(&Some(state));
        Ok(match state {
            _ if at_await => Progress::SuspendedAtAwait,
            state if state == states.created => Progress::Created,
            state if state == states.executing => Progress::Running,
            state if state >= states.finished => Progress::Finished,
            _ if states.suspended_yield_from.is_some() => Progress::SuspendedAtYield,
            _ => Progress::Suspended,
        })
    }

    fn has_started(&self, frame: u64) -> Result<bool, ReadError> {
        let (position, _) = read_instruction(&mut &self.types.objects.memory(), self.layout(), frame, false)?;
        Ok(!matches!(position, Position::Offset(..0)))
    }

    /// The frame of a coroutine or generator that has not ended.
    fn frame_of(&self, object: u64, progress: Progress) -> Result<Option<u64>, ReadError> {
        let generator = &self.layout().generator;
        match (generator.frame, generator.frame_object) {
            _ if progress == Progress::Finished => Ok(None),
            (Some(offset), _) => Ok(Some(object.wrapping_add(u64::from(offset)))),
            (None, Some(offset)) => Ok(Some(self.types.objects.pointer(object, offset)?).filter(|frame| *frame != 0)),
            (None, None) => Ok(None),
        }
    }

    /// What a suspended frame awaits; 0 when it does not.
    fn awaited_by(&self, kind: Kind, progress: Progress, frame: u64) -> Result<u64, ReadError> {
        let awaits = match progress {
            Progress::SuspendedAtAwait => true,
            // A coroutine can stop nowhere else.
            Progress::Suspended => kind == Kind::Coroutine || self.is_at_yield_from(frame)?,
            Progress::Created | Progress::SuspendedAtYield | Progress::Running | Progress::Finished => false,
        };
        if awaits { self.stack_top(frame) } else { Ok(0) }
    }

    /// Up to 3.12: whether the next instruction says that a generator is at a `yield from`.
    fn is_at_yield_from(&self, frame: u64) -> Result<bool, ReadError> {
        /// Up to 3.10 `YIELD_FROM` is run again until its iterator ends (opcode.h).
        const YIELD_FROM: u8 = 72;
        /// `RESUME`, in 3.11 `RESUME_QUICK`, in 3.12 `INSTRUMENTED_RESUME`; its argument says what was left.
        const RESUMES: [u8; 3] = [151, 150, 240];
        const AFTER_YIELD_FROM: u8 = 2;
        let objects = self.types.objects;
        let layout = self.layout();
        let (position, _) = read_instruction(&mut &objects.memory(), layout, frame, false)?;
        match position {
            Position::Offset(offset) => {
                let code = objects.pointer(frame, layout.frame.code)?;
                let Some(bytecode) = layout.code.bytecode_object else { return Ok(false) };
                let bytes = objects.pointer(code, bytecode)?.wrapping_add(u64::from(layout.object.bytes_data));
                Ok(objects.memory().read_u8(bytes.wrapping_add_signed(offset).wrapping_add(2))? == YIELD_FROM)
            }
            Position::Pointer(pointer) | Position::LocalCopy { pointer, .. } => {
                let mut instruction = [0; 2];
                objects.memory().read(pointer.wrapping_add(2), &mut instruction)?;
                let [opcode, argument] = instruction;
                Ok(RESUMES.contains(&opcode) && argument >= AFTER_YIELD_FROM)
            }
        }
    }

    /// The object on top of a suspended frame's stack.
    fn stack_top(&self, frame: u64) -> Result<u64, ReadError> {
        let objects = self.types.objects;
        let offsets = &self.layout().frame;
        let implausible = || ReadError::implausible(frame);
        let indexed = |first: u64, count: i32| {
            let count = u64::try_from(count).ok().filter(|count| (1..MOST_VALUES).contains(count));
            count.map(|count| first.wrapping_add(8 * (count - 1))).ok_or_else(implausible)
        };
        let place = match (offsets.stack_pointer, offsets.stack_top, offsets.stack_depth) {
            (Some(offset), _, _) => {
                let top = objects.pointer(frame, offset)?;
                // 3.15 has pushed a NULL, the other half of what it will call.
                let above = if self.layout().version.feature() >= (3, 15) { 16 } else { 8 };
                top.checked_sub(above).filter(|place| *place > frame)
            }
            (None, Some(offset), _) => {
                let locals = frame.wrapping_add(u64::from(offsets.locals));
                Some(indexed(locals, objects.int(frame, offset)?)?)
            }
            (None, None, Some(offset)) => {
                let first = objects.pointer(frame, offsets.value_stack.ok_or_else(implausible)?)?;
                Some(indexed(first, objects.int(frame, offset)?)?)
            }
            (None, None, None) => None,
        };
        let word = objects.memory().read_u64(place.ok_or_else(implausible)?)?;
        if offsets.tagged_ints && word & 3 == 3 {
            return Ok(0);
        }
        Ok(word & !offsets.tag_mask)
    }
}
