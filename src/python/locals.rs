//! The variables of a frame: arguments, locals, and the cells that it shares with functions inside and around it.
//!
//! Limits: functions only. The names of a module or of a class body lie in a dict, and the values of the evaluation
//! stack have no names.

use crate::memory::ReadError;
use crate::python::layout::{Code, Frame};
use crate::python::object::{ObjectReader, at_most};

/// How many variables of one frame are read.
const VARIABLES_LIMIT: usize = 4096;

/// How many characters of a name are taken.
const NAME_LIMIT: usize = 256;

/// `CO_VARARGS`, `CO_VARKEYWORDS` (code.h).
const VARARGS: i32 = 4;
const VARKEYWORDS: i32 = 8;

/// `CO_FAST_CELL`, `CO_FAST_FREE` (internal/pycore_code.h, 3.11+).
const FAST_CELL: u8 = 0x40;
const FAST_FREE: u8 = 0x80;

/// What a variable is to its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VariableKind {
    /// A parameter, `*args` and `**kwargs` included, whether or not a function inside shares it.
    Argument,
    /// Of this function alone.
    Local,
    /// A local that functions inside share.
    Cell,
    /// Of a function around this one.
    Free,
}

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// An object.
    Object(u64),
    /// A small int that is not an object at the moment (3.14+).
    Int(i64),
}

/// A variable that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// As the program has it: escape it before it is shown.
    pub name: String,
    /// What it is to the function.
    pub kind: VariableKind,
    /// What it holds, for a shared variable what its cell holds.
    pub value: Value,
}

/// The variables of the frame at `frame` (`PyFrameObject` or `_PyInterpreterFrame`) which runs the code object at
/// `code`, in the order of the code object: arguments first. Those without a value, not assigned yet or deleted, are
/// left out.
///
/// # Errors
/// When frame or code cannot be read. A cell that cannot be read has no value.
pub(crate) fn variables(objects: ObjectReader<'_>, frame: u64, code: u64) -> Result<Vec<Variable>, ReadError> {
    let layout = objects.layout();
    let slots = slots(objects, code)?;
    let count = slots.iter().map(|slot| slot.index + 1).max().unwrap_or(0);
    let words = objects.pointers(frame.wrapping_add(u64::from(layout.frame.locals)), count)?;
    let mut variables: Vec<Variable> = Vec::new();
    for slot in slots {
        let value = match words.get(slot.index).and_then(|word| value_of(*word, &layout.frame)) {
            Some(Value::Object(object)) if slot.is_cell => cell_contents(objects, object),
            value => value,
        };
        let Some(value) = value else { continue };
        let Ok(name) = objects.text(slot.name, NAME_LIMIT) else { continue };
        variables.push(Variable { name: name.text, kind: slot.kind, value });
    }
    Ok(variables)
}

/// Where in a frame of the code object at `code` the variable is that is called `name`, in bytes from the frame's
/// beginning. `None` where it has none, or shares it with other functions.
///
/// # Errors
/// When the code cannot be read.
pub(crate) fn variable_offset(objects: ObjectReader<'_>, code: u64, name: &str) -> Result<Option<u64>, ReadError> {
    let is_called_so = |slot: &Slot| objects.text(slot.name, NAME_LIMIT).is_ok_and(|found| found.text == name);
    let slot = slots(objects, code)?.into_iter().find(|slot| !slot.is_cell && is_called_so(slot));
    Ok(slot.map(|slot| u64::from(objects.layout().frame.locals) + 8 * slot.index as u64))
}

/// A variable of a code object.
struct Slot {
    /// A `str`.
    name: u64,
    kind: VariableKind,
    /// Whether its value is in a cell.
    is_cell: bool,
    /// Which of the frame's fast locals it is.
    index: usize,
}

fn slots(objects: ObjectReader<'_>, code: u64) -> Result<Vec<Slot>, ReadError> {
    let layout = &objects.layout().code;
    let arguments = argument_count(objects, code, layout)?;
    if let Some([names, kinds]) = layout.locals_plus {
        let (names, _) = objects.tuple_items(objects.pointer(code, names)?, VARIABLES_LIMIT)?;
        let (kinds, _) = objects.bytes(objects.pointer(code, kinds)?, VARIABLES_LIMIT)?;
        let slots = names.into_iter().zip(kinds).enumerate().map(|(index, (name, kind))| {
            let is_cell = kind & (FAST_CELL | FAST_FREE) != 0;
            let kind = match kind {
                _ if index < arguments => VariableKind::Argument,
                kind if kind & FAST_FREE != 0 => VariableKind::Free,
                kind if kind & FAST_CELL != 0 => VariableKind::Cell,
                _ => VariableKind::Local,
            };
            Slot { name, kind, is_cell, index }
        });
        return Ok(slots.collect());
    }
    let Some(tuples) = layout.variable_names else { return Ok(Vec::new()) };
    let mut slots: Vec<Slot> = Vec::new();
    let mut index = 0;
    for (offset, kind) in tuples.into_iter().zip([VariableKind::Local, VariableKind::Cell, VariableKind::Free]) {
        let (names, _) = objects.tuple_items(objects.pointer(code, offset)?, VARIABLES_LIMIT - index)?;
        for name in names {
            let is_cell = kind != VariableKind::Local;
            let kind = if index < arguments && !is_cell { VariableKind::Argument } else { kind };
            // An argument that is shared lives in a cell with its name, the same object; what its own slot holds is
            // nothing or old.
            let shared = slots.iter_mut().take(arguments).find(|slot| kind == VariableKind::Cell && slot.name == name);
            match shared {
                Some(argument) => (argument.is_cell, argument.index) = (true, index),
                None => slots.push(Slot { name, kind, is_cell, index }),
            }
            index += 1;
        }
    }
    Ok(slots)
}

fn argument_count(objects: ObjectReader<'_>, code: u64, layout: &Code) -> Result<usize, ReadError> {
    let mut count = i64::from(objects.int(code, layout.argument_count)?);
    if let Some(offset) = layout.keyword_only_count {
        count += i64::from(objects.int(code, offset)?);
    }
    let flags = objects.int(code, layout.flags)?;
    count += i64::from(flags & VARARGS != 0) + i64::from(flags & VARKEYWORDS != 0);
    Ok(at_most(u64::try_from(count).unwrap_or(0), VARIABLES_LIMIT))
}

/// What a word of a frame holds; nothing where it is NULL, whatever the tags.
fn value_of(word: u64, layout: &Frame) -> Option<Value> {
    if layout.tagged_ints && word & 3 == 3 {
        return Some(Value::Int(word.cast_signed() >> 2));
    }
    match word & !layout.tag_mask {
        0 => None,
        object => Some(Value::Object(object)),
    }
}

/// What is in a cell (`PyCellObject.ob_ref`). Until the function has made its cells (3.11+), their slots hold the
/// values themselves.
fn cell_contents(objects: ObjectReader<'_>, object: u64) -> Option<Value> {
    let name = objects.type_name(object).ok()?;
    if name != "cell" {
        return Some(Value::Object(object));
    }
    match objects.pointer(object, objects.layout().object.head_size).ok()? {
        0 => None,
        held => Some(Value::Object(held)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::repr::{Limits, repr};
    use crate::python::test_support::{Interpreter, Target};

    /// The frame to look at, its code, and the names and values that the interpreter itself sees in it.
    const SHOW_FRAME: &str = r#"
def show_frame(frame):
    show('frame', frame, str(id(frame.f_code)))
    for name, value in sorted(frame.f_locals.items()):
        show(name, value)
"#;

    fn compare(program: &str, expected_names: &[&str]) {
        for interpreter in Interpreter::all() {
            let program = if interpreter.version.0 == 2 { program.replace("*, ", "") } else { program.to_owned() };
            let target = Target::start(&interpreter, &format!("{SHOW_FRAME}{program}"));
            let objects = ObjectReader::new(target.memory(), &target.layout);
            let shown = target.shown("frame");
            // From 3.11 on the frame object holds a pointer to the frame in its second field.
            let is_indirect = target.layout.version.feature() >= (3, 11);
            let head = target.layout.object.head_size;
            let frame = if is_indirect { objects.pointer(shown.address, head + 8).unwrap() } else { shown.address };
            let mut found: Vec<(String, String)> = Vec::new();
            for variable in variables(objects, frame, shown.text.parse().unwrap()).unwrap() {
                let kind = variable.name.split('_').next().unwrap();
                let expected = match kind {
                    "arg" => VariableKind::Argument,
                    "cell" => VariableKind::Cell,
                    "free" => VariableKind::Free,
                    _ => VariableKind::Local,
                };
                assert_eq!(variable.kind, expected, "{interpreter} {}", variable.name);
                let Value::Object(value) = variable.value else { panic!("{variable:?}") };
                found.push((variable.name, repr(objects, value, &Limits::of_level(2))));
            }
            found.sort();
            let expected: Vec<(String, String)> =
                target.all_shown()[1..].iter().map(|shown| (shown.name.clone(), shown.text.clone())).collect();
            assert_eq!(found, expected, "{interpreter}");
            for name in expected_names {
                assert!(found.iter().any(|(found, _)| found == name), "{interpreter}: no {name}");
            }
        }
    }

    #[test]
    fn every_kind_of_variable_is_found() {
        let program = r#"
def outer(free_outer):
    free_list = [1, 2]
    def function(arg_a, arg_shared, arg_default=5, *arg_rest, **arg_named):
        local_text = 'text'
        local_deleted = 1
        del local_deleted
        cell_value = {'a': free_outer}
        def inner(): return cell_value, arg_shared, free_list, cell_late
        local_int = 10 ** 20
        del inner
        show_frame(sys._getframe())
        wait()
        local_late = 1
        cell_late = 1
    function(1, 'shared', 2.5, 'rest', 3, key='word')
outer(None)
"#;
        let names =
            ["arg_a", "arg_shared", "arg_rest", "arg_named", "local_text", "cell_value", "free_outer", "free_list"];
        compare(program, &names);
    }

    #[test]
    fn keyword_only_arguments_are_arguments() {
        let program = r#"
def function(arg_a, *, arg_b, arg_c=3):
    local_d = 4
    show_frame(sys._getframe())
    wait()
function(1, arg_b=2)
"#;
        compare(program, &["arg_a", "arg_b", "arg_c", "local_d"]);
    }

    #[test]
    fn a_suspended_generator_keeps_its_variables() {
        let program = r#"
def generator(arg_a, arg_b):
    local_c = (arg_a,)
    cell_d = 'd'
    function = lambda: (cell_d, arg_b)
    del function
    for local_i in range(3):
        yield local_c
g = generator(1, 2)
next(g)
show_frame(g.gi_frame)
"#;
        compare(program, &["arg_a", "arg_b", "local_c", "local_i", "cell_d"]);
    }

    #[test]
    fn tags_are_no_part_of_a_value() {
        let interpreters = Interpreter::all();
        for interpreter in interpreters.iter().filter(|interpreter| interpreter.version >= (3, 14)) {
            let target = Target::start(interpreter, "");
            let layout = &target.layout.frame;
            assert_eq!(value_of(0, layout), None);
            assert_eq!(value_of(1, layout), None);
            assert_eq!(value_of(0x7000_0001, layout), Some(Value::Object(0x7000_0000)));
            assert_eq!(value_of(5 << 2 | 3, layout), Some(Value::Int(5)));
            assert_eq!(value_of((-5_i64 << 2 | 3).cast_unsigned(), layout), Some(Value::Int(-5)));
        }
    }
}
