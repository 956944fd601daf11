//! What the program in the kernel knows of code objects, as it looks it up.

use std::ops::Range;

use super::CodeNews;

/// How many code objects it can know (`KNOWN_CODES`).
const KNOWN_CODES: usize = 8192;
/// So many that lie side by side can have one hash (`CODES_A_HASH`). With one, a few of the codes of many processes
/// would never be known, and each record with one of them would wake us.
const CODES_A_HASH: usize = 4;
/// Set in a key: the code object is [on probation](CodeNews::OnProbation).
const ON_PROBATION: u64 = 1;

/// Words of `struct known_codes`: the keys, and a number that is another one when one of these is not known any more.
pub(super) type KnownWords = [u64; KNOWN_CODES + 1];

/// What it is told.
#[derive(Debug)]
pub(super) struct KnownCodes(Box<KnownWords>);

impl Default for KnownCodes {
    fn default() -> Self {
        Self(Box::new([0; KNOWN_CODES + 1]))
    }
}

impl KnownCodes {
    /// Takes note of what is known of a code object of a process.
    pub(super) fn note(&mut self, pid: u32, news: CodeNews) {
        let address = match news {
            CodeNews::OnProbation(address) | CodeNews::Known(address) | CodeNews::Unknown(address) => address,
        };
        let key = address.wrapping_add(salt(pid));
        if matches!(news, CodeNews::Unknown(_)) {
            // Stacks that the program keeps may have it, also where another one has its place.
            self.0[KNOWN_CODES] += 1;
        }
        let places = &mut self.0[places_of(key)];
        let place = places.iter().position(|known| known & !ON_PROBATION == key);
        match news {
            CodeNews::Unknown(_) => place.into_iter().for_each(|place| places[place] = 0),
            CodeNews::OnProbation(_) | CodeNews::Known(_) => {
                let free = || places.iter().position(|known| *known == 0);
                // Where there is none, another one loses its place, and has evidence in its records again.
                let place = place.or_else(free).unwrap_or((key >> 24) as usize % CODES_A_HASH);
                places[place] = if matches!(news, CodeNews::Known(_)) { key } else { key | ON_PROBATION };
            }
        }
    }

    /// As the program has them.
    pub(super) fn words(&self) -> &KnownWords {
        &self.0
    }
}

/// So that the code of different processes is told apart. The lowest bits stay free.
fn salt(pid: u32) -> u64 {
    u64::from(pid).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !7
}

/// Where a code object may be noted (`find_code`).
fn places_of(key: u64) -> Range<usize> {
    let first = ((key >> 4 ^ key >> 17) as usize) & (KNOWN_CODES - CODES_A_HASH);
    first..first + CODES_A_HASH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the program looks it up.
    fn find(codes: &KnownCodes, pid: u32, address: u64) -> Option<u64> {
        let key = address.wrapping_add(salt(pid));
        codes.words()[places_of(key)].iter().find(|known| **known & !ON_PROBATION == key).map(|known| known - key)
    }

    #[test]
    fn code_objects_with_one_hash_are_known_beside_each_other() {
        // Of four that are neighbours the lower bits of the hash do not count; the fifth and the sixth are elsewhere.
        let first = 0x7f00_0000_0000 + (salt(7).wrapping_neg() & 0xf_ffff);
        let addresses: Vec<u64> = (0..6).map(|number| first + 16 * number).collect();
        let key = |address: &u64| places_of(address.wrapping_add(salt(7)));
        let same: Vec<u64> = addresses.iter().copied().filter(|address| key(address) == key(&first)).collect();
        assert!(same.len() > 1, "{same:x?}");
        let mut codes = KnownCodes::default();
        for address in &addresses {
            codes.note(7, CodeNews::OnProbation(*address));
        }
        codes.note(7, CodeNews::Known(addresses[0]));
        for address in &addresses[1..] {
            assert_eq!(find(&codes, 7, *address), Some(ON_PROBATION));
        }
        assert_eq!(find(&codes, 7, first), Some(0));
        assert_eq!(find(&codes, 8, first), None, "of another process");
        let generation = codes.words()[KNOWN_CODES];
        codes.note(7, CodeNews::Unknown(first));
        assert_eq!(find(&codes, 7, first), None);
        assert_eq!(find(&codes, 7, addresses[1]), Some(ON_PROBATION));
        codes.note(7, CodeNews::Unknown(0x1000));
        assert_eq!(codes.words()[KNOWN_CODES], generation + 2, "each time");
    }

    #[test]
    fn where_there_is_no_room_one_loses_its_place() {
        let mut codes = KnownCodes::default();
        let in_one_place = (0..1_u64 << 20).map(|number| 16 * number);
        let in_one_place = in_one_place.filter(|address| places_of(address + salt(0)).start == 0);
        let addresses: Vec<u64> = in_one_place.take(CODES_A_HASH + 1).skip(1).collect();
        addresses.iter().chain([&(1 << 62)]).for_each(|address| codes.note(0, CodeNews::Known(*address)));
        let known = addresses.iter().filter(|address| find(&codes, 0, **address).is_some()).count();
        assert_eq!((known, find(&codes, 0, 1 << 62)), (CODES_A_HASH - 1, Some(0)), "{addresses:x?}");
    }

    #[test]
    fn the_program_looks_where_they_are_noted() {
        let source = include_str!("program.bpf.c");
        for (name, value) in [("KNOWN_CODES", KNOWN_CODES), ("CODES_A_HASH", CODES_A_HASH)] {
            assert!(source.contains(&format!("#define {name} {value}\n")), "{name}");
        }
    }
}
