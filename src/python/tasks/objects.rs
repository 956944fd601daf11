//! What the objects are that a task deals with: kinds by type, remembered for one moment.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::compiled_types::{CythonLayout, is_of_mypyc};
use crate::memory::ReadError;
use crate::python::object::{ObjectReader, TypeFlags, TypeInfo};

/// Characters of a member of `__slots__` that are read.
const SLOT_NAME_LIMIT: usize = 64;

/// What an object is to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A coroutine: suspended, it awaits.
    Coroutine,
    /// A generator or async generator: suspended, it awaits or yields.
    Generator,
    /// Its first field is what is really awaited: `FutureIter`, `async_generator_asend`, `async_generator_athrow`,
    /// `coroutine_wrapper`, `anext_awaitable`.
    Wrapper,
    /// A coroutine or generator that Cython has compiled.
    Cython(CythonLayout),
    /// One of mypyc's.
    Mypyc,
    /// `_asyncio.Task` or a subclass.
    Task,
    /// `_asyncio.Future` or a subclass that is no task.
    Future,
    /// `asyncio.tasks.Task` as it is written in Python, or a subclass.
    PythonTask,
    /// `asyncio.futures.Future` as it is written in Python, or a subclass that is no task.
    PythonFuture,
    /// Anything else.
    Other,
}

/// A type with its kind.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) info: TypeInfo,
    pub(super) kind: Kind,
    /// Where in an object the members of `__slots__` are, by name; read when it is first asked for.
    slots: OnceCell<HashMap<String, u64>>,
}

impl Known {
    /// The type's name without its module.
    pub(super) fn short_name(&self) -> &str {
        self.info.name.rsplit('.').next().unwrap_or_default()
    }
}

/// The types that were met, for whoever reads objects of one moment one by one.
#[derive(Debug, Default)]
pub(crate) struct KnownTypes(RefCell<HashMap<u64, Rc<Known>>>);

impl KnownTypes {
    pub(super) fn reader<'read>(&'read self, objects: ObjectReader<'read>) -> TaskObjects<'read> {
        TaskObjects::new(objects, &self.0)
    }

    /// An attribute of an object, in its dict or in a slot.
    pub(crate) fn member(&self, objects: ObjectReader<'_>, object: u64, name: &str) -> Option<u64> {
        self.reader(objects).member(object, name)
    }

    /// A `float` or a small `int`.
    pub(crate) fn number(&self, objects: ObjectReader<'_>, object: u64) -> Option<f64> {
        self.reader(objects).number(object)
    }

    /// The name of an object's class without its module.
    pub(crate) fn class_name(&self, objects: ObjectReader<'_>, object: u64) -> Option<String> {
        Some(self.reader(objects).known(object).ok()?.short_name().to_owned())
    }
}

/// Reads objects and remembers their types, which must stay what they are as long as this is used.
#[derive(Clone, Copy)]
pub(super) struct TaskObjects<'read> {
    pub(super) objects: ObjectReader<'read>,
    known: &'read RefCell<HashMap<u64, Rc<Known>>>,
}

impl<'read> TaskObjects<'read> {
    pub(super) fn new(objects: ObjectReader<'read>, known: &'read RefCell<HashMap<u64, Rc<Known>>>) -> Self {
        Self { objects, known }
    }

    /// The type of an object.
    pub(super) fn known(&self, object: u64) -> Result<Rc<Known>, ReadError> {
        let address = self.objects.type_of(object)?;
        if let Some(known) = self.known.borrow().get(&address) {
            return Ok(Rc::clone(known));
        }
        let info = self.objects.type_info(address)?;
        let kind = self.kind_of(&info)?;
        let known = Rc::new(Known { info, kind, slots: OnceCell::new() });
        self.known.borrow_mut().insert(address, Rc::clone(&known));
        Ok(known)
    }

    fn kind_of(&self, info: &TypeInfo) -> Result<Kind, ReadError> {
        // Where the attributes of a type cannot be read, it is what its name says.
        if let Ok(Some(layout)) = CythonLayout::of(self.objects, info) {
            return Ok(Kind::Cython(layout));
        }
        if is_of_mypyc(self.objects, info).unwrap_or(false) {
            return Ok(Kind::Mypyc);
        }
        for base in self.objects.bases(info.address)? {
            let name = self.objects.name_of_type(base)?;
            let kind = match name.as_str() {
                "coroutine" => Kind::Coroutine,
                "generator" | "async_generator" => Kind::Generator,
                "_asyncio.Task" => Kind::Task,
                "_asyncio.Future" => Kind::Future,
                "Task" | "Future" => self.python_kind(base)?,
                _ if is_wrapper(&name) || is_wrapper_of_cython(&name) => Kind::Wrapper,
                _ => Kind::Other,
            };
            if kind != Kind::Other {
                return Ok(kind);
            }
        }
        Ok(Kind::Other)
    }

    /// Of a class written in Python with a name that asyncio's own have.
    fn python_kind(&self, class: u64) -> Result<Kind, ReadError> {
        let info = self.objects.type_info(class)?;
        if !info.flags.contains(TypeFlags::HEAP_TYPE) {
            return Ok(Kind::Other);
        }
        Ok(match self.objects.type_module(&info)?.as_deref() {
            Some("asyncio.tasks") => Kind::PythonTask,
            Some("asyncio.futures") => Kind::PythonFuture,
            _ => Kind::Other,
        })
    }

    /// The first field after an object's head.
    pub(super) fn first_field(&self, object: u64) -> Result<u64, ReadError> {
        self.objects.pointer(object, self.objects.layout().object.head_size)
    }

    /// The second field after an object's head.
    pub(super) fn second_field(&self, object: u64) -> Result<u64, ReadError> {
        self.objects.pointer(object, self.objects.layout().object.head_size + 8)
    }

    /// An attribute in the object's dict, `None` when it is not there.
    pub(super) fn attribute(&self, object: u64, name: &str) -> Option<u64> {
        let known = self.known(object).ok()?;
        self.objects.attribute_of(object, &known.info, name).ok()?
    }

    /// The value of a member of `__slots__`, `None` when it has none.
    pub(super) fn slot(&self, object: u64, name: &str) -> Option<u64> {
        let known = self.known(object).ok()?;
        let offset = known.slots.get_or_init(|| self.slots_of(&known.info)).get(name)?;
        let value = self.objects.memory().read_u64(object.wrapping_add(*offset)).ok()?;
        (value != 0).then_some(value)
    }

    /// An attribute wherever an object keeps it, in its dict or in a slot.
    pub(super) fn member(&self, object: u64, name: &str) -> Option<u64> {
        self.slot(object, name).or_else(|| self.attribute(object, name))
    }

    /// A `float` or a small `int`.
    pub(super) fn number(&self, object: u64) -> Option<f64> {
        match self.known(object).ok()?.info.name.as_str() {
            "float" => {
                let bits = self.objects.pointer(object, self.objects.layout().object.float_value).ok()?;
                Some(f64::from_bits(bits)).filter(|number| number.is_finite())
            }
            "int" => self.objects.small_int(object).ok()?.map(|number| number as f64),
            _ => None,
        }
    }

    /// Whether an object is `None`.
    pub(super) fn is_none(&self, object: u64) -> bool {
        self.known(object).is_ok_and(|known| known.info.name == "NoneType")
    }

    fn slots_of(&self, info: &TypeInfo) -> HashMap<String, u64> {
        let slots = self.objects.slots(info).unwrap_or_default();
        let named =
            slots.iter().filter_map(|slot| Some((self.objects.text_or_none(slot.name, SLOT_NAME_LIMIT)?, slot.offset)));
        named.collect()
    }
}

/// Cython's have the same first field as CPython's. Up to 0.29 their names are the same as well.
fn is_wrapper_of_cython(name: &str) -> bool {
    let parts = name.split_once('.').filter(|(module, _)| module.starts_with("_cython_"));
    parts.is_some_and(|(_, class)| {
        matches!(class, "async_generator_asend" | "async_generator_athrow" | "coroutine_wrapper")
    })
}

fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "_asyncio.FutureIter"
            | "async_generator_asend"
            | "async_generator_athrow"
            | "coroutine_wrapper"
            | "anext_awaitable"
    )
}
