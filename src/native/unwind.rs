//! Follows a captured stack from its newest frame to its oldest.

use super::address_space::{AddressSpace, Exit, RowId, Site};
use super::capture::Capture;
use super::frame_info::{Cfa, FrameInfo, Machine, Row, Rule};
use super::function::{FunctionId, Role};
use crate::process::{Process, Registers};

/// The most frames of one stack: more than fit into a stack of the usual size, but for recursion of the barest kind.
const MOST_FRAMES: usize = 1 << 16;

/// The registers that evaluation may keep its Python frame in, by which it is told whose evaluation it is.
const KEPT: usize = if cfg!(target_arch = "aarch64") { 11 } else { 6 };

/// A native frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct NativeFrame {
    pub(super) function: FunctionId,
    /// The function as such, wherever in it the instruction is.
    pub(super) group: FunctionId,
    pub(super) role: Role,
    /// It may be what started the thread or the program, if it is among the oldest.
    pub(super) is_starter: bool,
    /// The least address of its part of the stack.
    pub(super) low: u64,
    /// One past the highest.
    pub(super) high: u64,
    /// What it has in registers that callees preserve; only for evaluators.
    pub(super) kept: [u64; KEPT],
}

/// A native stack, newest frame first.
#[derive(Debug, Default)]
pub(super) struct NativeStack {
    pub(super) frames: Vec<NativeFrame>,
    /// It was followed to its end, as far as can be told.
    pub(super) complete: bool,
    /// It was followed to the end of what was copied of it.
    pub(super) is_cut: bool,
    /// Of an evaluator not all is known that it may have in registers.
    pub(super) lacks_registers: bool,
}

impl NativeFrame {
    /// Whether a value is in what the frame keeps: in its registers or in its part of the stack.
    pub(super) fn keeps(&self, value: u64, capture: &Capture) -> bool {
        self.kept.contains(&value) || capture.has_word(self.low, self.high, value)
    }
}

/// Follows stacks of one process.
#[derive(Debug)]
pub(super) struct Unwinder {
    pub(super) space: AddressSpace,
}

/// The registers of a frame, as far as they are known.
#[derive(Debug, Clone, Copy)]
struct State {
    pc: u64,
    values: [u64; 32],
    known: u64,
}

impl State {
    fn new(registers: &Registers) -> Self {
        let mut state = Self { pc: registers.pc, values: [0; 32], known: 0 };
        for number in 0..u16::try_from(registers.len()).unwrap_or(0) {
            if let Some(value) = registers.get(number) {
                state.set(number, value);
            }
        }
        state
    }

    fn get(&self, register: u16) -> Option<u64> {
        if cfg!(target_arch = "x86_64") && register == 16 {
            return Some(self.pc);
        }
        let is_known = register < 32 && self.known >> register & 1 == 1;
        is_known.then(|| self.values[usize::from(register)])
    }

    fn set(&mut self, register: u16, value: u64) {
        if let Some(place) = self.values.get_mut(usize::from(register)) {
            *place = value;
            self.known |= 1 << register;
        }
    }
}

impl Unwinder {
    pub(super) fn new(process: Process) -> Self {
        Self { space: AddressSpace::new(process) }
    }

    /// Follows the stack of a capture, into `stack`.
    pub(super) fn unwind(&mut self, capture: &Capture, stack: &mut NativeStack) {
        stack.frames.clear();
        (stack.complete, stack.is_cut, stack.lacks_registers) = (false, false, false);
        let mut state = State::new(&capture.registers);
        // The caller's instruction is the one before the return address: the call may be the last of its function.
        let mut after_call = false;
        while stack.frames.len() < MOST_FRAMES {
            let at = if after_call { state.pc.wrapping_sub(1) } else { state.pc };
            let site = self.space.site(at);
            if !site.is_code && !stack.frames.is_empty() {
                return;
            }
            let low = state.get(Machine::STACK_POINTER).unwrap_or(0);
            let Site { function, group, role, is_starter, .. } = site;
            let mut frame = NativeFrame { function, group, role, is_starter, low, high: low, kept: [0; KEPT] };
            if role == Role::Evaluator {
                for (kept, register) in frame.kept.iter_mut().zip(Machine::PRESERVED) {
                    let value = state.get(*register);
                    stack.lacks_registers |= value.is_none();
                    *kept = value.unwrap_or(0);
                }
            }
            let is_first = stack.frames.is_empty();
            let step = match site.row {
                Some(row) => self.step_by_row(row, &state, capture),
                None if after_call && site.exit.is_some() => step_by_exit(site.exit, &state, capture),
                None => self.step_blindly(&state, capture, is_first),
            };
            let (next, is_signal) = match step {
                Ok(caller) => caller,
                Err(stop) => {
                    stack.complete = stop == Stop::End;
                    stack.is_cut = stop == Stop::Lost && capture.is_cut();
                    if site.is_code {
                        stack.frames.push(frame);
                    }
                    return;
                }
            };
            let high = next.get(Machine::STACK_POINTER).unwrap_or(0);
            frame.high = high.max(low);
            if site.is_code {
                stack.frames.push(frame);
            }
            // Each frame lies above the one that it called, so this comes to an end. A signal may have been taken on
            // another stack; what is not in the capture cannot be followed.
            let advances = high > low || (is_first && high == low && next.pc != state.pc);
            if !(advances && capture.holds(high)) || next.pc == 0 {
                stack.complete = next.pc == 0;
                stack.is_cut = advances && !stack.complete && capture.spans(high) && !capture.holds(high);
                return;
            }
            after_call = !is_signal;
            state = next;
        }
    }

    fn step_by_row(&self, id: RowId, state: &State, capture: &Capture) -> Result<Caller, Stop> {
        let Some((row, module)) = self.space.row(id) else { return Err(Stop::Lost) };
        match (row.rule(row.return_address), module.frames()) {
            (Some(Rule::Undefined), _) | (_, None) => Err(Stop::End),
            (_, Some(info)) => match step_by_rules(row, info, state, capture) {
                Some(next) => Ok((next, row.is_signal)),
                None => Err(Stop::Lost),
            },
        }
    }

    /// Without information: by the chain of frame pointers, or else, in the newest frame, by a return address where a
    /// call leaves it. At worst that passes over one frame.
    fn step_blindly(&mut self, state: &State, capture: &Capture, is_first: bool) -> Result<Caller, Stop> {
        let Some(sp) = state.get(Machine::STACK_POINTER) else { return Err(Stop::Lost) };
        let mut candidates = Vec::with_capacity(2);
        if let Some(fp) = state.get(Machine::FRAME_POINTER).filter(|fp| *fp >= sp)
            && let (Some(caller_fp), Some(pc)) = (capture.word(fp), capture.word(fp.wrapping_add(8)))
        {
            candidates.push((pc, fp.wrapping_add(16), Some(caller_fp)));
        }
        if is_first {
            let by_call = match Machine::LINK {
                Some(link) => state.get(link).map(|pc| (pc, sp, None)),
                None => capture.word(sp).map(|pc| (pc, sp.wrapping_add(8), None)),
            };
            candidates.extend(by_call);
        }
        for (pc, caller_sp, fp) in candidates {
            let pc = pc & Machine::ADDRESS_BITS;
            let site = self.space.site(pc.wrapping_sub(1));
            if site.is_code && (fp.is_some() || site.row.is_some()) {
                let mut next = *state;
                next.pc = pc;
                next.set(Machine::STACK_POINTER, caller_sp);
                if let Some(fp) = fp {
                    next.set(Machine::FRAME_POINTER, fp);
                }
                return Ok((next, false));
            }
        }
        Err(Stop::Lost)
    }
}

/// A caller's registers, and whether it was interrupted there by a signal.
type Caller = (State, bool);

/// Why a frame has no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It is the oldest.
    End,
    /// It cannot be found.
    Lost,
}

/// Out of generated code that has no information, by what it does after the call that it is in.
fn step_by_exit(exit: Option<Exit>, state: &State, capture: &Capture) -> Result<Caller, Stop> {
    let step = || {
        let mut next = *state;
        let sp = state.get(Machine::STACK_POINTER)?;
        let return_address = match exit? {
            Exit::Drop(bytes) => sp.wrapping_add(bytes),
            Exit::PopFramePointer => {
                next.set(Machine::FRAME_POINTER, capture.word(sp)?);
                sp.wrapping_add(8)
            }
        };
        next.pc = capture.word(return_address)? & Machine::ADDRESS_BITS;
        next.set(Machine::STACK_POINTER, return_address.wrapping_add(8));
        Some((next, false))
    };
    step().ok_or(Stop::Lost)
}

fn step_by_rules(row: &Row, info: &FrameInfo, state: &State, capture: &Capture) -> Option<State> {
    let registers = |register| state.get(register);
    let memory = |address| capture.word(address);
    let cfa = match row.cfa {
        Cfa::Register(register, offset) => state.get(register)?.wrapping_add_signed(offset),
        Cfa::Expression(program) => info.evaluate(program, None, &registers, &memory)?,
    };
    let mut next = *state;
    next.known = 0;
    for register in Machine::PRESERVED {
        if let Some(value) = state.get(*register) {
            next.set(*register, value);
        }
    }
    next.set(Machine::STACK_POINTER, cfa);
    let mut pc = None;
    for (register, rule) in &row.rules {
        let value = match *rule {
            Rule::Undefined => None,
            Rule::Same => state.get(*register),
            Rule::At(offset) => capture.word(cfa.wrapping_add_signed(offset)),
            Rule::Is(offset) => Some(cfa.wrapping_add_signed(offset)),
            Rule::In(other) => state.get(other),
            Rule::AtExpression(program) => {
                info.evaluate(program, Some(cfa), &registers, &memory).and_then(|address| capture.word(address))
            }
            Rule::IsExpression(program) => info.evaluate(program, Some(cfa), &registers, &memory),
        };
        if *register == row.return_address {
            pc = value;
        }
        match value {
            Some(value) => next.set(*register, value),
            None => next.known &= !(1_u64.checked_shl(u32::from(*register)).unwrap_or(0)),
        }
    }
    if row.rule(row.return_address).is_none() {
        // It is where the call left it.
        pc = Machine::LINK.and_then(|link| state.get(link));
    }
    next.pc = pc? & Machine::ADDRESS_BITS;
    Some(next)
}

/// Follows a stack by the unwind information of one file alone, and says how many frames it has: all of a file that is
/// not to be trusted. `.eh_frame` is taken to lie at 16 MiB, its index so many bytes before it, the stack at the stack
/// pointer; the other registers hold its first words.
#[cfg(any(fuzzing, test))]
pub(crate) fn follow_by_frame_info(eh_frame: &[u8], header: (&[u8], u32), stack: &[u8], pc: u64) -> usize {
    const SECTION: u64 = 16 << 20;
    const STACK: u64 = 1 << 40;
    const FRAMES: usize = 64;
    let bases = super::frame_info::Bases {
        eh_frame: SECTION,
        header: SECTION.wrapping_sub(u64::from(header.1)),
        text: SECTION / 2,
        got: SECTION * 2,
    };
    let info = FrameInfo::new(eh_frame.to_vec(), header.0, bases);
    let mut values: Vec<u64> = stack.as_chunks::<8>().0.iter().take(32).map(|word| u64::from_le_bytes(*word)).collect();
    values.resize(32, STACK);
    values[usize::from(Machine::STACK_POINTER)] = STACK;
    let mut image = crate::memory::Image::new();
    image.map(STACK, stack.to_vec());
    let mut capture = Capture::default();
    capture.fill(&image, Registers::new(pc, &values), Some(STACK + stack.len() as u64));
    let (mut state, mut context) = (State::new(&capture.registers), gimli::UnwindContext::new());
    for number in 0..FRAMES {
        let step = info.row(state.pc, &mut context).and_then(|row| step_by_rules(&row, &info, &state, &capture));
        let Some(caller) = step else { return number };
        state = caller;
    }
    FRAMES
}
