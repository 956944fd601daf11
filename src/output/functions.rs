//! The functions of a profile, for the formats that count by function and not by line.

use std::collections::HashMap;

use super::place::{Place, PlaceId, Places};

/// Where a function is in [`Functions::all`].
pub(super) type FunctionId = usize;

/// All functions of a profile.
pub(super) struct Functions<'places> {
    pub(super) all: Vec<Function<'places>>,
    of_place: Vec<FunctionId>,
}

/// A function: places that differ in their line only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Function<'places> {
    pub(super) name: &'places str,
    /// The source file, empty for what has none.
    pub(super) file: &'places str,
    /// The function's first line, 0 when not known.
    pub(super) first_line: u32,
}

impl<'places> Functions<'places> {
    pub(super) fn new(places: &'places Places<'_>) -> Self {
        Self::by(places, |place| Function { name: &place.name, file: &place.file, first_line: place.first_line })
    }

    /// Functions that are compared with those of another profile: by name and file as it is shown, for the other may
    /// have been recorded in another folder, and by their first lines where `with_lines`.
    pub(super) fn to_compare(places: &'places Places<'_>, with_lines: bool) -> Self {
        Self::by(places, |place| {
            let first_line = if with_lines { place.first_line } else { 0 };
            Function { name: &place.name, file: &place.shown_file, first_line }
        })
    }

    fn by(places: &'places Places<'_>, function_of: impl Fn(&'places Place) -> Function<'places>) -> Self {
        let mut functions = Self { all: vec![], of_place: vec![] };
        let mut ids = HashMap::new();
        for place in places.all() {
            let function = function_of(place);
            let id = *ids.entry(function).or_insert_with(|| {
                functions.all.push(function);
                functions.all.len() - 1
            });
            functions.of_place.push(id);
        }
        functions
    }

    pub(super) fn function_of(&self, place: PlaceId) -> FunctionId {
        self.of_place[place]
    }
}
