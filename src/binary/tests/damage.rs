//! Damaged files: whatever the bytes are, there is an answer, soon and without a panic.

use super::dice::Dice;
use super::*;

/// Asks everything there is to ask; whether it could be parsed.
fn ask_everything(bytes: &[u8]) -> bool {
    // The Mach-O sample has this architecture only, and nothing but a universal file cares.
    let binary = Binary::parse(bytes, Architecture::Aarch64);
    if let Ok(binary) = &binary {
        let symbols = binary.symbols(&["_PyRuntime", "PyInit__speedups", "symbol_7", "main", ""]);
        for address in symbols.iter().flatten().map(|symbol| symbol.address).chain([0, binary.load_base(), u64::MAX]) {
            binary.bytes_at(address, 64);
            binary.bytes_at(address, usize::MAX);
        }
        for offset in [0, 0x1000, u64::MAX] {
            for executable in [false, true] {
                binary.bias(MappedPart { start: 0x7fff_0000_0000, file_offset: offset, executable, page_size: 4096 });
            }
        }
        if let Some(section) = binary.section(PY_RUNTIME) {
            binary.bytes_at(section.address, usize::try_from(section.size).unwrap_or(usize::MAX));
        }
        binary.data_ranges();
        binary.zero_ranges();
        binary.build_id();
        binary.version_strings();
    }
    binary.is_ok()
}

/// A small file of each format.
fn samples() -> Vec<Vec<u8>> {
    let mach = fixture("markupsafe-arm64.so");
    // A universal binary of one part; all the numbers of its header are big-endian.
    let header = [0xcafe_babe_u32, 1, 0x0100_000c, 0, 32, u32::try_from(mach.len()).unwrap(), 12];
    let mut universal: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    universal.resize(32, 0);
    universal.extend_from_slice(&mach);
    let samples = vec![mach, universal, fixture("markupsafe-x86_64.pyd")];
    #[cfg(target_os = "linux")]
    let samples = [samples, elf::small_files()].concat();
    samples
}

#[test]
fn damaged_files_never_panic() {
    let mut dice = Dice::new();
    for mut bytes in samples() {
        assert!(ask_everything(&bytes));
        for length in (0..bytes.len().min(512)).chain((512..bytes.len()).step_by(211)) {
            ask_everything(&bytes[..length]);
        }
        let length = bytes.len();
        let (mut survived, mut refused) = (0, 0);
        for round in 0..1000 {
            // Mostly headers; numbers that are extreme find more than random ones.
            let mut undo = Vec::new();
            for _ in 0..=dice.below(4) {
                let limit = if round % 3 == 0 { length } else { length.min(1024) };
                let (offset, width) = (dice.below(limit), [1, 2, 4, 8][dice.below(4)]);
                let value = [0, 1, 0x7f, 0xff, 0x80, dice.below(256)][dice.below(6)];
                let end = (offset + width).min(length);
                undo.push((offset, bytes[offset..end].to_vec()));
                bytes[offset..end].fill(u8::try_from(value).unwrap());
            }
            match ask_everything(&bytes) {
                true => survived += 1,
                false => refused += 1,
            }
            for (offset, original) in undo.into_iter().rev() {
                bytes[offset..offset + original.len()].copy_from_slice(&original);
            }
        }
        assert!(survived > 30 && refused > 30, "the damage is too small or too great: {survived} {refused}");
    }
}

#[test]
fn tables_that_claim_to_be_huge_cost_nothing() {
    // Every count and size that one byte can make large, in turn; a claimed allocation would be gigabytes, a claimed
    // loop hours.
    for mut bytes in samples() {
        for offset in 4..1024 {
            let byte = std::mem::replace(&mut bytes[offset], 0xff);
            ask_everything(&bytes);
            bytes[offset] = byte;
        }
    }
}
