//! Instructions at which the evaluation loop gives the GIL to others who ask for it, and at which it runs no C code
//! that could have released it: a thread without the GIL that is at one of them is on its way to take it.
//!
//! Which these are says Include/opcode.h (Include/opcode_ids.h from 3.13 on): RESUME and the jumps backward, their
//! specialized and instrumented forms, and up to 3.10 JUMP_ABSOLUTE and the conditional jumps.
//!
//! Limits: the loop gives it away at others too, after calls and up to 3.10 after operators, where C code may as well
//! run without it; of these nothing is said.

use foldhash::{HashMap, HashMapExt};

use super::code::CodeId;
use super::layout::Layout;
use crate::memory::{Memory, ReadError};

/// Places in code that are kept; beyond that all are forgotten.
const MOST_PLACES: usize = 1 << 16;

/// What was found of places in code.
#[derive(Debug, Default)]
pub(crate) struct HandOvers(HashMap<(CodeId, i32), bool>);

impl HandOvers {
    /// Whether the instruction at a byte offset of a code object, which is at `code_address`, is one of these. It is
    /// read once for each place: an instruction is rewritten into other forms of itself only. What cannot be read is
    /// none of these.
    pub(crate) fn is_at(
        &mut self,
        memory: &impl Memory,
        layout: &Layout,
        code: CodeId,
        code_address: u64,
        offset: i32,
    ) -> bool {
        if let Some(known) = self.0.get(&(code, offset)) {
            return *known;
        }
        let is_one =
            read_opcode(memory, layout, code_address, offset).is_ok_and(|opcode| opcodes(layout).contains(&opcode));
        if self.0.len() >= MOST_PLACES {
            self.0 = HashMap::new();
        }
        self.0.insert((code, offset), is_one);
        is_one
    }

    /// The numbers of code objects mean others from now on.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The first byte of an instruction.
fn read_opcode(memory: &impl Memory, layout: &Layout, code: u64, offset: i32) -> Result<u8, ReadError> {
    let code_layout = &layout.code;
    let first = match (code_layout.bytecode, code_layout.bytecode_object) {
        (Some(bytecode), _) => code.wrapping_add(u64::from(bytecode)),
        (None, Some(object)) => {
            let bytes = memory.read_u64(code.wrapping_add(u64::from(object)))?;
            bytes.wrapping_add(u64::from(layout.object.bytes_data))
        }
        (None, None) => return Err(ReadError::implausible(code)),
    };
    let offset = u64::try_from(offset).map_err(|_| ReadError::implausible(code))?;
    memory.read_u8(first.wrapping_add(offset))
}

fn opcodes(layout: &Layout) -> &'static [u8] {
    match layout.version.feature() {
        // JUMP_ABSOLUTE, POP_JUMP_IF_FALSE, POP_JUMP_IF_TRUE.
        (2, _) | (3, ..=10) => &[113, 114, 115],
        // JUMP_BACKWARD, its quick form, POP_JUMP_BACKWARD_IF_…, RESUME, its quick form.
        (3, 11) => &[140, 38, 173, 174, 175, 176, 151, 150],
        // JUMP_BACKWARD, RESUME, and these instrumented.
        (3, 12) => &[140, 151, 246, 240],
        // From here on RESUME_CHECK too.
        (3, 13) => &[77, 149, 207, 249, 236],
        // And JUMP_BACKWARD_JIT, JUMP_BACKWARD_NO_JIT.
        (3, 14) => &[75, 175, 176, 128, 196, 253, 245],
        // And RESUME_CHECK_JIT.
        (3, 15) => &[74, 181, 182, 128, 200, 201, 252, 244],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::test_support::Interpreter;
    use crate::python::version::Version;

    /// Prints the names of the instructions that have the numbers given, each after its number.
    const NAMES: &str = "
import opcode, sys
names = dict((number, name) for name, number in opcode.opmap.items())
names.update((number, name) for name, number in getattr(opcode, '_specialized_opmap', {}).items())
names.update((number, name) for number, name in enumerate(opcode.opname) if not name.startswith('<'))
print(' '.join('%s:%s' % (number, names.get(number, '')) for number in NUMBERS))";

    #[test]
    fn the_numbers_are_those_of_resume_and_jumps() {
        for interpreter in Interpreter::all() {
            let (major, minor) = interpreter.version;
            let mut layout = crate::python::test_support::some_layouts().remove(0);
            layout.version = Version::new(major, minor, 0);
            let numbers = opcodes(&layout);
            assert!(!numbers.is_empty(), "{interpreter}");
            let said = interpreter.output_of(&NAMES.replace("NUMBERS", &format!("{numbers:?}")));
            for word in said.split_whitespace() {
                let (number, name) = word.split_once(':').unwrap();
                // 3.11 and 3.12 name no quick and no instrumented ones.
                let is_unnamed = name.is_empty() && matches!(interpreter.version, (3, 11 | 12));
                let is_known = name.contains("RESUME") || name.contains("JUMP");
                assert!(is_unnamed || is_known, "{interpreter}: {number} is {name:?}");
                assert!(!name.contains("NO_INTERRUPT") && !name.contains("FORWARD"), "{interpreter}: {name}");
            }
        }
    }
}
