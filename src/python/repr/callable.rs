//! What is named and not held: types, modules, functions and methods, descriptors, generators, code.

use super::builtin::short_name;
use super::kind::Kind;
use super::{Writer, Written};
use crate::memory::ReadError;
use crate::python::object::{TypeFlags, TypeInfo};

/// How much of a name that C code gave is shown, in bytes.
const C_NAME_LIMIT: usize = 256;

impl Writer<'_, '_> {
    /// An object of one of the kinds that are shown by name.
    pub(super) fn callable(&mut self, kind: Kind, object: u64, of: &TypeInfo) -> Written {
        match kind {
            Kind::Type => self.type_object(object),
            Kind::OldClass => self.old_class(object),
            Kind::Module => self.module(object),
            Kind::Function => {
                self.plain("<function ");
                self.function_name(object)?;
                self.plain(&format!(" at {object:#x}>"));
                Ok(())
            }
            Kind::Method => self.method(object),
            Kind::BuiltinFunction => self.builtin_function(object),
            Kind::MethodDescriptor => self.descriptor(object, "method"),
            Kind::SlotWrapper => self.descriptor(object, "slot wrapper"),
            Kind::MemberDescriptor => self.descriptor(object, "member"),
            Kind::GetSetDescriptor => self.descriptor(object, "attribute"),
            Kind::MethodWrapper => {
                let (descriptor, own) = (self.field(object, 0)?, self.field(object, 1)?);
                self.plain("<method-wrapper '");
                self.name(self.field(descriptor, 1)?);
                let owner = self.type_of(own)?;
                self.plain(&format!("' of {} object at {own:#x}>", owner.name));
                Ok(())
            }
            Kind::Partial => self.partial(object, of),
            Kind::Generator => self.generator(object, of),
            Kind::Code => self.code(object),
            Kind::Cell => {
                let held = self.field(object, 0)?;
                let held = match held {
                    0 => "empty".to_owned(),
                    held => format!("{} object at {held:#x}", self.type_of(held)?.name),
                };
                self.plain(&format!("<cell at {object:#x}: {held}>"));
                Ok(())
            }
            _ => self.weak_reference(object),
        }
    }

    /// `PyWeakReference` (weakrefobject.h): the object, `None` when it is gone.
    fn weak_reference(&mut self, object: u64) -> Written {
        let target = self.field(object, 0)?;
        let of = self.type_of(target)?;
        if of.name == "NoneType" {
            self.plain(&format!("<weakref at {object:#x}; dead>"));
            return Ok(());
        }
        self.plain(&format!("<weakref at {object:#x}; to '"));
        if self.is_since(3, 13) {
            if self.objects.type_module(&of)?.as_deref() == Some("__main__") {
                let name = self.objects.type_qualname(&of)?.text;
                self.plain(&name);
            } else {
                self.qualified_type_name(&of)?;
            }
        } else {
            self.plain(&of.name);
        }
        self.plain(&format!("' at {target:#x}"));
        if of.flags.contains(TypeFlags::TYPE) {
            let name = short_name(&*self.printer.type_info(target)?).to_owned();
            self.plain(&format!(" ({name})"));
        } else if of.name == "function" {
            self.plain(" (");
            self.name(self.field(target, self.function_name_field())?);
            self.plain(")");
        }
        self.plain(">");
        Ok(())
    }

    /// `func_name` of a `PyFunctionObject`, as [`Writer::field`] counts (funcobject.h; 3.10 moved what
    /// `PyFrameConstructor` shares to the front).
    fn function_name_field(&self) -> u32 {
        match self.objects.layout().version.feature() {
            (2, _) => 5,
            (3, ..10) => 6,
            _ => 2,
        }
    }

    /// `<class 'module.Name'>`; 2.7 says `type` for those that are not written in Python.
    fn type_object(&mut self, object: u64) -> Written {
        let info = self.printer.type_info(object)?;
        let is_class = info.flags.contains(TypeFlags::HEAP_TYPE);
        let word = if self.is_python2() && !is_class { "type" } else { "class" };
        self.plain(&format!("<{word} '"));
        self.qualified_type_name(&info)?;
        self.plain("'>");
        Ok(())
    }

    /// `module.Name`, without the module for built-in types.
    pub(super) fn qualified_type_name(&mut self, info: &TypeInfo) -> Written {
        let module = self.objects.type_module(info)?;
        if let Some(module) = module.filter(|module| module != self.objects.builtins_name()) {
            self.plain(&module);
            self.plain(".");
        }
        let name = self.objects.type_qualname(info)?.text;
        self.plain(&name);
        Ok(())
    }

    /// 2.7 `PyClassObject` (classobject.h): bases, dict, name.
    fn old_class(&mut self, object: u64) -> Written {
        self.plain("<class ");
        self.old_class_name(object)?;
        self.plain(&format!(" at {object:#x}>"));
        Ok(())
    }

    /// `module.Name` of a 2.7 `PyClassObject`.
    pub(super) fn old_class_name(&mut self, class: u64) -> Written {
        let module = self.objects.find_in_dict(self.field(class, 1)?, "__module__")?;
        if let Some(module) = module {
            self.name(module);
            self.plain(".");
        }
        self.name(self.field(class, 2)?);
        Ok(())
    }

    /// As `importlib` writes it (Lib/importlib/_bootstrap.py): by `__spec__`, else by `__file__` and `__loader__`.
    fn module(&mut self, object: u64) -> Written {
        let dict = self.objects.module_dict(object)?;
        if dict == 0 {
            self.plain("<module '?'>");
            return Ok(());
        }
        let find = |name: &str| -> Result<Option<u64>, ReadError> {
            let found = self.objects.find_in_dict(dict, name)?;
            Ok(match found {
                Some(found) if !self.is_none(found)? => Some(found),
                _ => None,
            })
        };
        let (name, file, loader, spec) = (find("__name__")?, find("__file__")?, find("__loader__")?, find("__spec__")?);
        self.plain("<module ");
        if self.is_python2() {
            self.value(name.unwrap_or(0));
            match file {
                Some(file) => {
                    self.plain(" from ");
                    self.value(file);
                }
                None => self.plain(" (built-in)"),
            }
        } else if let Some(word) = loader.map(|loader| self.word_of_loader(loader)).transpose()?.flatten() {
            self.value(name.unwrap_or(0));
            self.plain(&format!(" ({word})"));
        } else if let Some(spec) = spec {
            self.module_of_spec(spec)?;
        } else {
            if let Some(name) = name {
                self.value(name);
            } else {
                self.plain("'?'");
            }
            if let Some(file) = file {
                self.plain(" from ");
                self.value(file);
            } else if let Some(loader) = loader {
                self.plain(" (");
                self.value(loader);
                self.plain(")");
            }
        }
        self.plain(">");
        Ok(())
    }

    /// What the loaders of modules without a file say of them up to 3.11, where they are asked before the spec
    /// (`module_repr`).
    fn word_of_loader(&self, loader: u64) -> Result<Option<&'static str>, ReadError> {
        if self.is_since(3, 12) || !self.objects.is_type(loader) {
            return Ok(None);
        }
        Ok(match self.printer.type_info(loader)?.name.as_str() {
            "BuiltinImporter" => Some("built-in"),
            "FrozenImporter" => Some("frozen"),
            _ => None,
        })
    }

    fn module_of_spec(&mut self, spec: u64) -> Written {
        let of = self.type_of(spec)?;
        let attribute = |name: &str| -> Result<Option<u64>, ReadError> {
            let found = self.objects.attribute_of(spec, &of, name)?;
            Ok(match found {
                Some(found) if !self.is_none(found)? => Some(found),
                _ => None,
            })
        };
        let (name, origin, loader) = (attribute("name")?, attribute("origin")?, attribute("loader")?);
        let has_location = attribute("_set_fileattr")?.map(|set| self.objects.small_int(set)).transpose()?;
        if let Some(name) = name {
            self.value(name);
        } else {
            self.plain("'?'");
        }
        match (origin, loader) {
            (Some(origin), _) if has_location.flatten() == Some(1) => {
                self.plain(" from ");
                self.value(origin);
            }
            (Some(origin), _) => {
                self.plain(" (");
                self.name(origin);
                self.plain(")");
            }
            (None, Some(loader)) => {
                self.plain(" (");
                self.value(loader);
                self.plain(")");
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn is_none(&self, object: u64) -> Result<bool, ReadError> {
        Ok(self.type_of(object)?.name == "NoneType")
    }

    /// `func_qualname` of a `PyFunctionObject`; 2.7 has only `func_name`.
    fn function_name(&mut self, function: u64) -> Written {
        let index = match self.objects.layout().version.feature() {
            (2, _) => self.function_name_field(),
            (3, ..10) => 11,
            _ => 3,
        };
        self.name(self.field(function, index)?);
        Ok(())
    }

    /// The code object of a `PyFunctionObject`.
    pub(super) fn function_code(&self, function: u64) -> Result<u64, ReadError> {
        self.field(function, if self.is_since(3, 10) { 4 } else { 0 })
    }

    /// `PyMethodObject`: function, instance, and in 2.7 the class.
    fn method(&mut self, object: u64) -> Written {
        let (function, own) = (self.field(object, 0)?, self.field(object, 1)?);
        if self.is_python2() {
            let class = self.field(object, 2)?;
            self.plain(if own == 0 { "<unbound method " } else { "<bound method " });
            let class_info = self.type_of(class)?;
            if class_info.name == "classobj" {
                self.name(self.field(class, 2)?);
            } else {
                let name = self.printer.type_info(class)?.name.clone();
                self.plain(&name);
            }
            self.plain(".");
            self.callable_name(function)?;
            if own == 0 {
                self.plain(">");
                return Ok(());
            }
        } else {
            self.plain("<bound method ");
            self.callable_name(function)?;
        }
        self.nested(object, " of ", ">", "...", |writer| {
            writer.value(own);
            Ok(())
        })
    }

    fn callable_name(&mut self, function: u64) -> Written {
        if self.type_of(function)?.name == "function" {
            return self.function_name(function);
        }
        self.plain("?");
        Ok(())
    }

    /// `PyCFunctionObject` (methodobject.h): `m_ml`, whose first word is the name, and `m_self`.
    fn builtin_function(&mut self, object: u64) -> Written {
        let (definition, own) = (self.field(object, 0)?, self.field(object, 1)?);
        let name = self.objects.c_string(self.objects.pointer(definition, 0)?, C_NAME_LIMIT)?;
        let of_object = if own == 0 { None } else { Some(self.type_of(own)?) };
        match of_object.filter(|of| of.name != "module") {
            Some(of) => self.plain(&format!("<built-in method {name} of {} object at {own:#x}>", of.name)),
            None => self.plain(&format!("<built-in function {name}>")),
        }
        Ok(())
    }

    /// `PyDescrObject` (descrobject.h): type, name.
    fn descriptor(&mut self, object: u64, word: &str) -> Written {
        let owner = self.printer.type_info(self.field(object, 0)?)?;
        self.plain(&format!("<{word} '"));
        self.name(self.field(object, 1)?);
        if self.is_since(3, 15) && owner.name == "object" {
            self.plain("'>");
        } else {
            self.plain(&format!("' of '{}' objects>", owner.name));
        }
        Ok(())
    }

    /// `partialobject` (Modules/_functoolsmodule.c): function, arguments, keyword arguments.
    fn partial(&mut self, object: u64, of: &TypeInfo) -> Written {
        if self.is_python2() {
            self.plain(&format!("<{} object at {object:#x}>", of.name));
            return Ok(());
        }
        let (function, arguments, keywords) = (self.field(object, 0)?, self.field(object, 1)?, self.field(object, 2)?);
        let (arguments, total) = self.objects.tuple_items(arguments, self.limits.items)?;
        let is_own = of.name == "functools.partial";
        let name = if is_own { "functools.partial(".to_owned() } else { format!("{}(", short_name(of)) };
        self.nested(object, &name, ")", "...", |writer| {
            writer.value(function);
            for argument in &arguments {
                writer.plain(", ");
                writer.value(*argument);
            }
            if total > arguments.len() as u64 {
                writer.plain(", …");
            }
            if keywords != 0 {
                for (name, value) in writer.objects.dict_items(keywords)?.take(writer.limits.items) {
                    writer.plain(", ");
                    writer.name(name);
                    writer.plain("=");
                    writer.named_value(name, value);
                }
            }
            Ok(())
        })
    }

    /// `<generator object name at 0x…>`, and what it does.
    fn generator(&mut self, object: u64, of: &TypeInfo) -> Written {
        let layout = &self.objects.layout().generator;
        self.plain(&format!("<{} object ", of.name));
        let qualname =
            layout.qualname.or(layout.name).map(|offset| self.objects.pointer(object, offset)).transpose()?;
        match qualname {
            Some(qualname) if qualname != 0 => self.name(qualname),
            // 2.7 keeps only the code object, after the frame and the flag.
            _ if self.is_python2() => {
                let code = self.field(object, 2)?;
                self.name(self.objects.pointer(code, self.objects.layout().code.name)?);
            }
            _ => self.plain("?"),
        }
        let state = self.generator_state(object)?;
        self.plain(&format!(" at {object:#x}, {state}>"));
        Ok(())
    }

    fn generator_state(&self, object: u64) -> Result<&'static str, ReadError> {
        let layout = self.objects.layout();
        let state_byte = |address, offset| self.objects.byte(address, offset).map(u8::cast_signed);
        if let Some(running) = layout.generator.running {
            let frame = self.field(object, 0)?;
            if frame == 0 {
                return Ok("finished");
            }
            if state_byte(object, running)? != 0 {
                return Ok("running");
            }
            return Ok(if self.has_started(frame)? { "suspended" } else { "not started" });
        }
        let Some(states) = layout.generator.states else { return Ok("suspended") };
        let state = match (layout.generator.frame_state, layout.generator.frame_object, layout.frame.state) {
            (Some(offset), _, _) => state_byte(object, offset)?,
            (None, Some(frame), Some(state)) => match self.objects.pointer(object, frame)? {
                0 => return Ok("finished"),
                frame => state_byte(frame, state)?,
            },
            _ => return Ok("suspended"),
        };
        Ok(if state == states.created {
            "not started"
        } else if state == states.executing {
            "running"
        } else if state >= states.finished {
            "finished"
        } else {
            "suspended"
        })
    }

    /// Whether a frame of 3.9 or older has run an instruction: `f_lasti` is −1 before that.
    fn has_started(&self, frame: u64) -> Result<bool, ReadError> {
        match self.objects.layout().frame.position {
            crate::python::layout::InstructionPosition::Lasti { offset, .. } => {
                Ok(self.objects.int(frame, offset)? >= 0)
            }
            _ => Ok(true),
        }
    }

    fn code(&mut self, object: u64) -> Written {
        let layout = &self.objects.layout().code;
        let line = self.objects.int(object, layout.first_line)?;
        self.plain("<code object ");
        self.name(self.objects.pointer(object, layout.name)?);
        self.plain(&format!(" at {object:#x}, file \""));
        self.name(self.objects.pointer(object, layout.filename)?);
        self.plain(&format!("\", line {line}>"));
        Ok(())
    }
}
