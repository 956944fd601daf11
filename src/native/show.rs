//! The frames that are shown for one native function at one place.

use super::cython::is_cython_plumbing;
use super::dwarf::SourcePlace;
use super::function::Function;
use super::plumbing::is_plumbing;

/// A native frame as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShownFrame<'native> {
    /// The function.
    pub name: &'native str,
    /// The source file, as the compiler found it; where that is not known the file that holds the code, as the target
    /// names it.
    pub file: &'native str,
    /// That file without its folders.
    pub short_file: &'native str,
    /// The file that holds the code; empty for code that is in none.
    pub module: &'native str,
    /// The line, from 1; 0 where it is not known.
    pub line: u32,
}

/// The frames of a function at a place of which `places` is known, innermost first.
pub(super) fn frames<'native>(function: &'native Function, places: &'native [SourcePlace]) -> Vec<ShownFrame<'native>> {
    let own = ShownFrame {
        name: &function.name,
        file: &function.path,
        short_file: &function.module,
        module: &function.path,
        line: 0,
    };
    let Some((outermost, inlined)) = places.split_last() else { return vec![own] };
    let mut frames: Vec<ShownFrame<'native>> = Vec::with_capacity(places.len());
    for place in inlined {
        let name = place.name.as_deref().unwrap_or("<inlined>");
        // As where the compiler has left it a function of its own.
        let passes_call_on = function.is_interpreter && is_plumbing(name) || is_cython_plumbing(name);
        if !passes_call_on && !is_wrapper_of(place, name, &frames) {
            frames.push(at(place, ShownFrame { name, ..own }));
        }
    }
    let name = match &outermost.name {
        Some(name) if !function.is_named => name,
        _ => &function.name,
    };
    if !function.is_wrapper || !frames.last().is_some_and(|newer| is_same(newer.name, name)) {
        frames.push(at(outermost, ShownFrame { name, ..own }));
    }
    frames
}

/// Whether a place is in the wrapper that a compiler of Python makes around a function, of the same name, which was put
/// into it.
fn is_wrapper_of(place: &SourcePlace, name: &str, frames: &[ShownFrame<'_>]) -> bool {
    place.is_wrapper && frames.last().is_some_and(|newer| is_same(newer.name, name))
}

/// Whether a function has the name of its wrapper, which may tell more of where it is.
fn is_same(name: &str, wrapper: &str) -> bool {
    wrapper.strip_suffix(name).is_some_and(|scope| scope.is_empty() || scope.ends_with('.'))
}

fn at<'native>(place: &'native SourcePlace, frame: ShownFrame<'native>) -> ShownFrame<'native> {
    if place.file.is_empty() {
        return frame;
    }
    let short_file = place.file.rsplit(['/', '\\']).next().unwrap_or_default();
    ShownFrame { file: &place.file, short_file, line: place.line, ..frame }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: Option<&str>, file: &str, line: u32) -> SourcePlace {
        SourcePlace { name: name.map(str::to_owned), is_wrapper: false, file: file.to_owned(), line }
    }

    fn shown(function: &Function, places: &[SourcePlace]) -> Vec<String> {
        let text = |frame: &ShownFrame<'_>| format!("{} {} {}", frame.name, frame.short_file, frame.line);
        frames(function, places).iter().map(text).collect()
    }

    #[test]
    fn inlined_functions_come_before_the_one_that_holds_them() {
        let function = Function::unplaced("outer".to_owned(), "/lib/l.so".to_owned(), "l.so".to_owned());
        assert_eq!(shown(&function, &[]), ["outer l.so 0"]);
        let places = [place(Some("inner"), "/src/a.h", 3), place(None, "", 0), place(Some("outer_1"), "/src/b.c", 9)];
        assert_eq!(shown(&function, &places), ["inner a.h 3", "<inlined> l.so 0", "outer b.c 9"]);
        // A static function of a stripped file is named by its debug information.
        let unnamed = Function { name: "0x5d80".to_owned(), is_named: false, ..function.clone() };
        assert_eq!(shown(&unnamed, &places[2..]), ["outer_1 b.c 9"]);
    }

    #[test]
    fn what_only_passes_calls_on_is_left_out_where_it_is_inlined_too() {
        let function = Function::unplaced("list_sort".to_owned(), "/lib/p.so".to_owned(), "p.so".to_owned());
        let places = [place(Some("_PyObject_VectorcallTstate"), "/src/call.h", 3), place(None, "/src/list.c", 9)];
        assert_eq!(shown(&function, &places), ["_PyObject_VectorcallTstate call.h 3", "list_sort list.c 9"]);
        let function = Function { is_interpreter: true, ..function };
        assert_eq!(shown(&function, &places), ["list_sort list.c 9"]);
    }

    #[test]
    fn a_wrapper_around_what_it_holds_is_one_frame() {
        let function = Function::unplaced("cmod.f".to_owned(), "/lib/c.so".to_owned(), "c.so".to_owned());
        let places = [place(Some("cmod.f"), "/src/c.c", 30), place(None, "/src/c.c", 20)];
        // One that calls itself.
        assert_eq!(shown(&function, &places), ["cmod.f c.c 30", "cmod.f c.c 20"]);
        let function = Function { is_wrapper: true, ..function };
        assert_eq!(shown(&function, &places), ["cmod.f c.c 30"]);
        let between = SourcePlace { is_wrapper: true, ..place(Some("cmod.f"), "/src/c.c", 25) };
        let call = place(Some("__Pyx_PyObject_Call"), "/src/c.c", 99);
        let places = [place(Some("cmod.f"), "/src/c.c", 30), between.clone(), call, place(None, "/src/c.c", 20)];
        assert_eq!(shown(&function, &places), ["cmod.f c.c 30"]);
        assert_eq!(shown(&function, &[between, place(None, "/src/c.c", 20)]), ["cmod.f c.c 25"]);
        let places = [place(Some("f"), "/src/c.c", 30), place(None, "/src/c.c", 20)];
        assert_eq!(shown(&function, &places), ["f c.c 30"]);
    }
}
