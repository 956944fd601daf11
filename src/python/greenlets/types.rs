//! The type of greenlets and its subclasses.

use std::collections::HashSet;

use super::shape::ObjectShape;
use super::{GreenletError, GreenletVersion};
use crate::memory::ReadError;
use crate::python::object::{ObjectReader, TypeInfo};

/// As many types of greenlets are known at most.
const MOST_TYPES: usize = 4096;
/// As many entries of one `tp_subclasses` are looked at.
const MOST_SUBCLASSES: usize = 1 << 16;
/// How long a version is.
const VERSION_LIMIT: usize = 32;
/// `tp_subclasses` stands two words behind `tp_mro`, after `tp_cache` (object.h, 3.6 to 3.15).
const SUBCLASSES_AFTER_MRO: u32 = 16;

/// One type of greenlets.
#[derive(Debug, Clone)]
pub(super) struct GreenletType {
    /// The `PyTypeObject`.
    pub(super) address: u64,
    /// With its module.
    pub(super) name: String,
    /// Whether its greenlets are hubs of gevent.
    pub(super) is_hub: bool,
}

/// The types of greenlets of one process, and what is known of their objects.
#[derive(Debug, Clone)]
pub(crate) struct GreenletTypes {
    /// By address.
    pub(super) types: Vec<GreenletType>,
    /// The version of greenlet.
    pub(super) version: GreenletVersion,
    /// Where the objects themselves have what.
    pub(super) shape: ObjectShape,
}

impl GreenletTypes {
    /// The types of greenlets of a process; `None` if it has not imported greenlet. `modules` is the dict `sys.modules`
    /// of an interpreter: the type is the same in all of them.
    ///
    /// # Errors
    /// When greenlet is imported, but of an unknown version or size, or unreadable.
    pub(crate) fn find(objects: ObjectReader<'_>, modules: u64) -> Result<Option<Self>, GreenletError> {
        let Some(module) = objects.find_in_dict(modules, "greenlet")? else { return Ok(None) };
        if objects.type_name(module)? != "module" {
            return Ok(None);
        }
        let dict = objects.module_dict(module)?;
        // While it is being imported it has no such attribute yet.
        let Some(root) = objects.find_in_dict(dict, "greenlet")? else { return Ok(None) };
        let Some(root) = find_root(objects, root)? else { return Ok(None) };
        let text = objects.find_in_dict(dict, "__version__")?;
        let text = text.and_then(|text| objects.text_or_none(text, VERSION_LIMIT));
        let version = text.and_then(|text| GreenletVersion::parse(&text)).ok_or(GreenletError::NoVersion)?;
        let python = objects.layout().version;
        let size = root.basic_size;
        let shape = ObjectShape::of(objects.layout(), size);
        let shape = shape.ok_or(GreenletError::UnknownSize { greenlet: version, python, size })?;
        let mut types = find_subclasses(objects, &root);
        types.sort_by_key(|found| found.address);
        Ok(Some(Self { types, version, shape }))
    }

    /// The type at an address, if it is one of greenlets.
    pub(super) fn get(&self, address: u64) -> Option<&GreenletType> {
        let at = self.types.binary_search_by_key(&address, |found| found.address).ok()?;
        self.types.get(at)
    }
}

/// The type that greenlet itself defines: what the module has may have been replaced by a subclass.
fn find_root(objects: ObjectReader<'_>, type_object: u64) -> Result<Option<TypeInfo>, ReadError> {
    for base in objects.bases(type_object)? {
        let info = objects.type_info(base)?;
        if info.name == "greenlet.greenlet" {
            return Ok(Some(info));
        }
    }
    Ok(None)
}

/// The type and all that are derived from it, as far as they can be read.
fn find_subclasses(objects: ObjectReader<'_>, root: &TypeInfo) -> Vec<GreenletType> {
    let mut seen = HashSet::from([root.address]);
    let mut waiting = vec![root.address];
    let mut types = Vec::new();
    while let Some(address) = waiting.pop() {
        let Ok(found) = read_type(objects, address, root) else { continue };
        types.push(found);
        for subclass in subclasses_of(objects, address).unwrap_or_default() {
            if seen.len() < MOST_TYPES && seen.insert(subclass) {
                waiting.push(subclass);
            }
        }
    }
    types
}

fn read_type(objects: ObjectReader<'_>, address: u64, root: &TypeInfo) -> Result<GreenletType, ReadError> {
    let info = objects.type_info(address)?;
    let bases = objects.bases(address)?;
    if info.basic_size < root.basic_size || !bases.contains(&root.address) {
        return Err(ReadError::implausible(address));
    }
    let is_hub = bases.iter().any(|base| *base != root.address && is_base_of_hubs(objects, *base));
    Ok(GreenletType { address, name: full_name(objects, &info)?, is_hub })
}

/// Whether it is what gevent derives its hubs from, in its compiled form or in Python.
fn is_base_of_hubs(objects: ObjectReader<'_>, type_object: u64) -> bool {
    let Ok(info) = objects.type_info(type_object) else { return false };
    let name = objects.type_qualname(&info).is_ok_and(|name| name.text == "WaitOperationsGreenlet");
    name && objects.type_module(&info).ok().flatten().is_some_and(|module| module.starts_with("gevent."))
}

/// The name of a type with its module.
pub(super) fn full_name(objects: ObjectReader<'_>, info: &TypeInfo) -> Result<String, ReadError> {
    let name = objects.type_qualname(info)?.text;
    Ok(match objects.type_module(info)? {
        Some(module) if module != objects.builtins_name() => format!("{module}.{name}"),
        _ => name,
    })
}

/// What is derived from a type directly: `tp_subclasses`, a dict of weak references.
fn subclasses_of(objects: ObjectReader<'_>, type_object: u64) -> Result<Vec<u64>, ReadError> {
    let layout = &objects.layout().object;
    let dict = objects.pointer(type_object, layout.type_mro + SUBCLASSES_AFTER_MRO)?;
    if dict == 0 || objects.type_name(dict)? != "dict" {
        return Ok(Vec::new());
    }
    let references = objects.dict_items(dict)?.take(MOST_SUBCLASSES).map(|(_, reference)| reference);
    // `wr_object` follows the head (weakrefobject.h).
    let subclasses = references.filter_map(|reference| objects.pointer(reference, layout.head_size).ok());
    Ok(subclasses.filter(|subclass| objects.is_type(*subclass)).collect())
}
