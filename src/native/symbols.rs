//! The functions of one file by address.

use super::demangle::without_marks;
use crate::binary::Binary;

/// More functions than any library has.
const MOST_FUNCTIONS: usize = 4 << 20;
/// The most bytes of names of one file.
const MOST_NAME_BYTES: usize = 256 << 20;
/// How far a function without a size is taken to reach: these are short pieces of assembly.
const UNSIZED_REACH: u64 = 4096;
/// How many earlier functions are tried when the nearest one does not reach far enough: functions seldom overlap.
const NEIGHBOURS: usize = 8;

/// The functions of a file, sorted.
#[derive(Debug, Default)]
pub(super) struct SymbolTable {
    functions: Vec<Function>,
    names: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    address: u64,
    size: u64,
    name: u32,
    length: u16,
    rank: u8,
}

impl SymbolTable {
    /// The functions of a binary.
    pub(super) fn of(binary: &Binary<'_>) -> Self {
        let mut table = Self::default();
        table.add(binary);
        table.sort();
        table
    }

    /// Puts those of another file of the same code to it: one with what was stripped.
    pub(super) fn complete(&mut self, debug_file: &Binary<'_>) {
        self.add(debug_file);
        self.sort();
    }

    fn add(&mut self, binary: &Binary<'_>) {
        let is_whole = binary.names_static_functions();
        for function in binary.functions() {
            let (Ok(name), Ok(length)) = (u32::try_from(self.names.len()), u16::try_from(function.name.len())) else {
                break;
            };
            if self.functions.len() >= MOST_FUNCTIONS || self.names.len() + function.name.len() > MOST_NAME_BYTES {
                break;
            }
            // Without a size they would name what comes next: the table of calls to other libraries, or where static
            // functions have no names those (musl's calls into the kernel, after its `memset`).
            if function.place.size == 0 && (!is_whole || matches!(function.name, b"_init" | b"_fini")) {
                continue;
            }
            self.names.extend_from_slice(function.name);
            let (address, size) = (function.place.address, function.place.size);
            self.functions.push(Function { address, size, name, length, rank: function.rank });
        }
    }

    /// By address; of several at one address only the best: one with a size, one that is linked by, one with few
    /// underscores before it.
    fn sort(&mut self) {
        let Self { functions, names } = self;
        let name = |function: &Function| &names[function.name as usize..][..usize::from(function.length)];
        let underscores = |function: &Function| name(function).iter().take_while(|byte| **byte == b'_').count();
        functions.sort_unstable_by_key(|function| {
            // Whether a name that is linked by is weak says less than whether it is meant for all.
            let class = (function.size == 0, function.rank.max(1), underscores(function));
            (function.address, class, function.rank, function.length, function.name)
        });
        functions.dedup_by_key(|function| function.address);
        functions.shrink_to_fit();
    }

    /// The name of the function that holds an address of the file.
    pub(super) fn find(&self, address: u64) -> Option<&[u8]> {
        let end = self.functions.partition_point(|function| function.address <= address);
        let near = &self.functions[end.saturating_sub(NEIGHBOURS)..end];
        let holds = |(place, function): (usize, &Function)| match (function.size, place) {
            // Without a size it ends where the next function begins.
            (0, 0) => address - function.address < UNSIZED_REACH,
            (0, _) => false,
            (size, _) => address - function.address < size,
        };
        let found = near.iter().rev().enumerate().find(|entry| holds(*entry)).map(|(_, function)| function)?;
        self.names.get(found.name as usize..)?.get(..usize::from(found.length))
    }

    /// What follows `beginning` in the first name that begins with it and goes on with no digit.
    pub(super) fn rest_of(&self, beginning: &str) -> Option<String> {
        let names = self.functions.iter().filter_map(|function| {
            let name = self.names.get(function.name as usize..)?.get(..usize::from(function.length))?;
            std::str::from_utf8(name.strip_prefix(beginning.as_bytes())?).ok()
        });
        let rests = names.map(without_marks);
        rests.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).next()
    }

    /// Whether there is a function of exactly that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|function| {
            usize::from(function.length) == name.len()
                && self.names[function.name as usize..].starts_with(name.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(functions: &[(u64, u64, &str, u8)]) -> SymbolTable {
        let mut table = SymbolTable::default();
        for (address, size, name, rank) in functions {
            let start = u32::try_from(table.names.len()).unwrap();
            table.names.extend_from_slice(name.as_bytes());
            let length = u16::try_from(name.len()).unwrap();
            table.functions.push(Function { address: *address, size: *size, name: start, length, rank: *rank });
        }
        table.sort();
        table
    }

    #[test]
    fn an_address_belongs_to_the_function_around_it() {
        let table = table(&[
            (100, 10, "a", 0),
            (120, 0, "asm", 3),
            (200, 5, "c", 2),
            (300, 100, "outer", 0),
            (310, 4, "inner", 2),
        ]);
        let find = |address| table.find(address).map(|name| std::str::from_utf8(name).unwrap());
        for (address, name) in [
            (99, None),
            (100, Some("a")),
            (109, Some("a")),
            (110, None),
            (120, Some("asm")),
            (199, Some("asm")),
            (204, Some("c")),
            (205, None),
            (312, Some("inner")),
            (350, Some("outer")),
            (400, None),
            (u64::MAX, None),
        ] {
            assert_eq!(find(address), name, "{address}");
        }
        assert!(table.has("inner") && !table.has("inne"));
    }

    #[test]
    fn of_several_names_the_best_is_kept() {
        let table =
            table(&[(8, 4, "__memcpy_impl", 2), (8, 4, "__memcpy", 0), (8, 4, "memcpy", 1), (8, 0, "label", 0)]);
        assert_eq!(table.find(9), Some(&b"memcpy"[..]));
    }

    #[test]
    fn an_unsized_function_does_not_reach_far() {
        let table = table(&[(1000, 0, "asm", 3)]);
        assert!(table.find(1000 + UNSIZED_REACH - 1).is_some());
        assert!(table.find(1000 + UNSIZED_REACH).is_none());
    }
}
