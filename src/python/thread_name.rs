//! What a program calls its threads: `threading._active`, which maps idents to `Thread` objects.
//!
//! Limits: only threads that the `threading` module knows have a name there. One that is starting has it a moment
//! later.

use std::collections::HashMap;

use crate::memory::ReadError;
use crate::python::object::ObjectReader;

/// How many threads are looked at.
const THREADS_LIMIT: usize = 1 << 16;

/// How many characters of a name are taken.
const NAME_LIMIT: usize = 256;

/// The dict `threading._active` of one interpreter, given its `sys.modules`; `None` where the program has not imported
/// `threading`.
///
/// # Errors
/// When `sys.modules` or the module cannot be read.
pub(crate) fn active_threads(objects: ObjectReader<'_>, modules: u64) -> Result<Option<u64>, ReadError> {
    match objects.find_in_dict(modules, "threading")? {
        Some(threading) => objects.find_in_dict(objects.module_dict(threading)?, "_active"),
        None => Ok(None),
    }
}

/// The names of threads by `PyThreadState.thread_id`, from the dict that [`active_threads`] found. A name is as the
/// program gave it: escape it before it is shown.
///
/// # Errors
/// When the dict cannot be read; a single thread that cannot be read has no name.
pub(crate) fn thread_names(objects: ObjectReader<'_>, active: u64) -> Result<HashMap<u64, String>, ReadError> {
    let mut names = HashMap::new();
    for (ident, thread) in objects.dict_items(active)?.take(THREADS_LIMIT) {
        if let Some((ident, name)) = name_of(objects, ident, thread) {
            names.insert(ident, name);
        }
    }
    Ok(names)
}

fn name_of(objects: ObjectReader<'_>, ident: u64, thread: u64) -> Option<(u64, String)> {
    // 2.7 calls it `__name`, which the compiler mangles.
    let attribute = if objects.layout().version.major == 2 { "_Thread__name" } else { "_name" };
    let ident = objects.small_int(ident).ok()??;
    let name = objects.instance_attribute(thread, attribute).ok()??;
    // 2.7's ident is a `long` that is negative for a `pthread_t` with the highest bit set.
    let ident = u64::try_from(ident).or_else(|_| i64::try_from(ident).map(i64::cast_unsigned)).ok()?;
    Some((ident, objects.text_or_none(name, NAME_LIMIT)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::python::test_support::{Interpreter, Target};

    #[test]
    fn threads_have_the_names_that_the_program_gave_them() {
        let program = r#"
import threading
event = threading.Event()
class Own(threading.Thread): pass
for index, class_ in enumerate([threading.Thread, Own] * 20):
    thread = class_(target=event.wait, name='worker %s%d' % ('' if sys.version_info < (3,) else '\xe9 ', index))
    thread.daemon = True
    thread.start()
renamed = threading.Thread(target=event.wait, name='before')
renamed.daemon = True
renamed.start()
renamed.name = 'a\nb\x1b[31m'
for thread in threading.enumerate():
    show('thread', thread, '%d %s' % (thread.ident, thread.name))
show('modules', sys.modules, '')
"#;
        for interpreter in Interpreter::all() {
            let target = Target::start(&interpreter, program);
            let objects = ObjectReader::new(target.memory(), &target.layout);
            let active = active_threads(objects, target.shown("modules").address).unwrap().unwrap();
            let expected: HashMap<u64, String> = target
                .all_shown()
                .iter()
                .filter_map(|shown| shown.text.split_once(' '))
                .map(|(ident, name)| (ident.parse().unwrap(), name.to_owned()))
                .collect();
            assert_eq!(expected.len(), 42, "{interpreter}");
            // Its threads are on their way into their waits as yet, and what moves may be read torn.
            let names = || thread_names(ObjectReader::new(target.memory(), &target.layout), active).unwrap();
            let tries = (0..500).map(|_| names()).inspect(|_| std::thread::sleep(Duration::from_millis(1)));
            let found = tries.into_iter().find(|found| *found == expected).unwrap_or_else(names);
            assert_eq!(found, expected, "{interpreter}");
        }
    }

    #[test]
    fn a_program_without_threading_has_no_names() {
        for interpreter in Interpreter::all() {
            let target = Target::start(&interpreter, "show('modules', {'sys': sys}, '')");
            let objects = ObjectReader::new(target.memory(), &target.layout);
            assert_eq!(active_threads(objects, target.shown("modules").address), Ok(None));
        }
    }
}
