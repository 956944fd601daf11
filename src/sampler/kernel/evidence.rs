//! By what a code object is recognized.

use crate::memory::{Memory, Request};
use crate::python::layout::{Layout, TextFormat};

/// Of a code object: where its name is, the hash of that, where its file's name and its line table are and what that
/// begins with, the line that it begins in, and its version. Where it has a version of its own (3.12+), hash and lines
/// are left out. The program in the kernel computes the same.
pub(in crate::sampler) type Identity = [u64; 4];

/// What the code objects at these addresses are recognized by now; `None` for what cannot be read.
pub(in crate::sampler) fn read_identities(
    memory: &impl Memory,
    layout: &Layout,
    addresses: &[u64],
) -> Vec<Option<Identity>> {
    let code = &layout.code;
    let name_at = code.qualname.unwrap_or(code.name);
    let fields = [name_at, code.filename, code.line_table, code.first_line, code.unique_version.unwrap_or(0)];
    let length = fields.iter().max().map_or(0, |last| *last as usize + 8);
    let heads = read_all(memory, addresses, length);
    let hash_at = match layout.object.text {
        TextFormat::Compact { hash, .. } => hash,
        TextFormat::Python2 { .. } => layout.object.bytes_hash,
    };
    let word = |head: &[u8], at: u32| {
        let at = at as usize;
        head.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_ne_bytes)
    };
    let half = |head: &[u8], at: u32| word(head, at) & 0xFFFF_FFFF;
    let version = |head: &[u8]| code.unique_version.map_or(0, |at| half(head, at));
    // Where there is no version, what they refer to.
    let referred: Vec<u64> = heads
        .iter()
        .flatten()
        .filter(|head| version(head) == 0)
        .flat_map(|head| {
            let [name, table] = [word(head, name_at), word(head, code.line_table)];
            [name.wrapping_add(u64::from(hash_at)), table.wrapping_add(u64::from(layout.object.bytes_data))]
        })
        .collect();
    let mut referred = read_all(memory, &referred, 8).into_iter().map(|bytes| bytes.map_or(0, |bytes| word(&bytes, 0)));
    let mut identity = |head: Vec<u8>| {
        let version = version(&head);
        let [hash, lines] = if version == 0 { [referred.next(), referred.next()] } else { [None; 2] };
        let [name, file, table] = [name_at, code.filename, code.line_table].map(|at| word(&head, at));
        let places = table.wrapping_add(file.wrapping_mul(3)).wrapping_add(lines.unwrap_or(0).wrapping_mul(5));
        [name, hash.unwrap_or(0), places, half(&head, code.first_line) | version << 32]
    };
    heads.into_iter().map(|head| head.map(&mut identity)).collect()
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
