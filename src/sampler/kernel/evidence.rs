//! By what a code object is recognized.

use super::layout::file_name_places;
use crate::memory::{Memory, Request};
use crate::python::layout::{Layout, TextFormat};

/// Of a code object: where its name is, the hash of that, where its file's name and its line table are, how the first
/// ends and what the other begins with, the line that it begins in, and its version. Where it has a version of its own
/// (3.12+), hash, lines and the end of the name are left out. The program in the kernel computes the same.
pub(in crate::sampler) type Identity = [u64; 4];

/// So many bytes at the end of a file's name are looked at (`MOST_NAME`).
const MOST_NAME: usize = 64;

/// What the code objects at these addresses are recognized by now; `None` for what cannot be read, is of another type
/// than `code_type`, where that is known, or is dead. A dead one keeps its fields until its memory is used again, but
/// not the strings that they refer to.
pub(in crate::sampler) fn read_identities(
    memory: &impl Memory,
    layout: &Layout,
    code_type: Option<u64>,
    addresses: &[u64],
) -> Vec<Option<Identity>> {
    let code = &layout.code;
    let name_at = code.qualname.unwrap_or(code.name);
    let fields = [name_at, code.filename, code.line_table, code.first_line, code.unique_version.unwrap_or(0)];
    let length = fields.iter().max().map_or(0, |last| *last as usize + 8);
    let type_at = layout.object.ob_type as usize;
    let is_code =
        |head: &[u8]| is_alive(head, layout) && code_type.is_none_or(|expected| word_at(head, type_at) == expected);
    let mut heads = read_all(memory, addresses, length);
    for head in &mut heads {
        *head = head.take().filter(|head| is_code(head));
    }
    let hash_at = match layout.object.text {
        TextFormat::Compact { hash, .. } => hash,
        TextFormat::Python2 { .. } => layout.object.bytes_hash,
    };
    let word = |head: &[u8], at: u32| word_at(head, at as usize);
    let half = |head: &[u8], at: u32| word(head, at) & 0xFFFF_FFFF;
    let version = |head: &[u8]| code.unique_version.map_or(0, |at| half(head, at));
    // Where there is no version, what they refer to.
    let unversioned = || heads.iter().flatten().filter(|head| version(head) == 0);
    let [length_at, data_at] = file_name_places(layout).map(u64::from);
    let referred: Vec<u64> = unversioned()
        .flat_map(|head| {
            let [name, table, file] = [name_at, code.line_table, code.filename].map(|at| word(head, at));
            let hash = name.wrapping_add(u64::from(hash_at));
            [hash, table.wrapping_add(u64::from(layout.object.bytes_data)), file.wrapping_add(length_at)]
        })
        .collect();
    let referred = read_all(memory, &referred, 8).into_iter().map(|bytes| bytes.map_or(0, |bytes| word(&bytes, 0)));
    let referred: Vec<u64> = referred.collect();
    let names = unversioned().zip(referred.as_chunks::<3>().0);
    let names = names.map(|(head, [.., length])| (word(head, code.filename).wrapping_add(data_at), *length));
    let numbers = file_numbers(memory, &names.collect::<Vec<_>>());
    let mut details =
        referred.as_chunks::<3>().0.iter().zip(numbers).map(|([hash, lines, _], file)| [*hash, *lines, file]);
    let mut identity = |head: Vec<u8>| {
        let version = version(&head);
        let [hash, lines, of_file] = if version == 0 { details.next().unwrap_or_default() } else { [0; 3] };
        let [name, file, table] = [name_at, code.filename, code.line_table].map(|at| word(&head, at));
        let sum = [(table, 1), (file, 3), (lines, 5), (of_file, 7)];
        let places = sum.iter().fold(0_u64, |sum, (part, factor)| sum.wrapping_add(part.wrapping_mul(*factor)));
        [name, hash, places, half(&head, code.first_line) | version << 32]
    };
    heads.into_iter().map(|head| head.map(&mut identity)).collect()
}

/// The numbers for names of files, whose characters begin there and are so many. What cannot be read counts as zeros.
fn file_numbers(memory: &impl Memory, names: &[(u64, u64)]) -> Vec<u64> {
    let mut ends = vec![[0; MOST_NAME]; names.len()];
    let mut requests: Vec<Request<'_>> = Vec::new();
    for ((start, length), end) in names.iter().zip(&mut ends) {
        let size = (*length).min(MOST_NAME as u64);
        requests.push(Request::new(start.wrapping_add(*length).wrapping_sub(size), &mut end[..size as usize]));
    }
    memory.read_many(&mut requests);
    let complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
    let number = |((length, end), is_complete): ((u64, [u8; MOST_NAME]), bool)| {
        let words = end.as_chunks::<8>().0.iter().map(|word| if is_complete { u64::from_ne_bytes(*word) } else { 0 });
        words.fold(length, |number, word| number.wrapping_mul(31).wrapping_add(word))
    };
    let lengths = names.iter().map(|(_, length)| *length);
    lengths.zip(ends).zip(complete).map(number).collect()
}

/// Whether an object whose first bytes these are has references. When the last one goes, the count is 0, and once the
/// memory is free, allocators keep the address of another free piece in the object's first word. (`struct _object` in
/// object.h: `ob_refcnt`, of which 3.12+ uses 32 bits and 3.14+ the upper 16 of the word for flags; free-threaded
/// `ob_ref_local` and `ob_ref_shared`, the latter with two bits of flags.)
fn is_alive(head: &[u8], layout: &Layout) -> bool {
    if layout.free_threaded {
        let [local, shared] = [word_at(head, 8) >> 32, word_at(head, 16)];
        return local != 0 || shared.cast_signed() >> 2 > 0;
    }
    let count = word_at(head, 0);
    count & 0xFFFF_FFFF != 0 && count >> 32 & 0xFFFF == 0
}

/// The word of the target at this place in its bytes; 0 beyond them.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// So many bytes at each of these addresses, in as few calls as can be.
fn read_all(memory: &impl Memory, addresses: &[u64], length: usize) -> Vec<Option<Vec<u8>>> {
    let mut buffers = vec![vec![0; length]; addresses.len()];
    let places = addresses.iter().zip(&mut buffers);
    let mut requests: Vec<Request<'_>> = places.map(|(address, buffer)| Request::new(*address, buffer)).collect();
    memory.read_many(&mut requests);
    let complete: Vec<bool> = requests.iter().map(|request| request.complete).collect();
    buffers.into_iter().zip(complete).map(|(buffer, is_complete)| is_complete.then_some(buffer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::test_support::{Interpreter, Target};

    #[test]
    fn dead_code_is_not_recognized() {
        let program = "import gc\n\
            def made():\n\x20   \
                return [compile('x = %d' % number, 'file_%d.py' % number, 'exec') for number in range(50)]\n\
            for code in made():\n\x20   \
                show('living', code)\n\
            codes = made()\n\
            places = [id(code) for code in codes]\n\
            kept = codes[0]\n\
            del code, codes\n\
            gc.collect()\n\
            for place in places[1:]:\n\x20   \
                print('show dead %d -' % place)\n";
        for interpreter in Interpreter::all_builds() {
            let target = Target::start(&interpreter, program);
            let identities = |name: &str| {
                let shown = target.all_shown().iter().filter(|shown| shown.name == name);
                let addresses: Vec<u64> = shown.map(|shown| shown.address).collect();
                assert!(addresses.len() >= 49, "{interpreter}: {addresses:x?}");
                read_identities(&target.memory(), &target.layout, None, &addresses)
            };
            let [living, dead] = ["living", "dead"].map(identities);
            assert!(living.iter().all(Option::is_some), "{interpreter}: {living:x?}");
            assert!(dead.iter().all(Option::is_none), "{interpreter}: {dead:x?}");
            // What is alive and no code is none either.
            let code = target.shown("living").address;
            let of_type = target.memory().read_u64(code + u64::from(target.layout.object.ob_type)).unwrap();
            let read = |expected| read_identities(&target.memory(), &target.layout, Some(expected), &[code]);
            assert!(read(of_type)[0].is_some() && read(of_type + 8)[0].is_none(), "{interpreter}");
        }
    }
}
