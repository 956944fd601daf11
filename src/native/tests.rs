//! What is told from files, on this machine's own and on damaged ones.

use std::time::{Duration, Instant};

use gimli::UnwindContext;

use super::module::Module;
use crate::binary::tests::dice::Dice;
use crate::binary::{Architecture, Binary, SectionName};

/// A library that every process here has.
fn c_library() -> Vec<u8> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().find_map(|line| {
        let path = line.split_ascii_whitespace().nth(5)?;
        (path.contains("/libc.so") || path.contains("/libc-")).then_some(path)
    });
    std::fs::read(path.unwrap()).unwrap()
}

fn module(bytes: &[u8]) -> Option<Module> {
    Module::new("/usr/lib/libc.so.6".to_owned(), bytes, &[0], &|_| None).ok()
}

fn section(bytes: &[u8], name: &'static str) -> (std::ops::Range<usize>, u64) {
    let binary = Binary::parse(bytes, Architecture::HOST).unwrap();
    let section = binary.section(SectionName { elf: name, mach_o: "", pe: "" }).unwrap();
    (section.file_range.clone().unwrap(), section.address)
}

#[test]
fn a_library_tells_names_and_frames() {
    let bytes = c_library();
    let module = module(&bytes).unwrap();
    let binary = Binary::parse(&bytes, Architecture::HOST).unwrap();
    let mut context = UnwindContext::new();
    for name in ["qsort", "getenv", "strtol"] {
        let place = binary.exported(&[name])[0].unwrap();
        let symbol = module.symbol(place.address + place.size / 2).unwrap();
        assert_eq!(std::str::from_utf8(symbol).unwrap().trim_start_matches('_'), name);
        let row = module.row(place.address, &mut context).unwrap();
        assert_eq!((row.function, row.is_signal), (place.address, false), "{name}");
        // At the first instruction nothing has been put on the stack but what the call puts there.
        let distance = if cfg!(target_arch = "aarch64") { 0 } else { 8 };
        let sp = super::frame_info::Machine::STACK_POINTER;
        assert_eq!(row.cfa, super::frame_info::Cfa::Register(sp, distance), "{name}");
    }
    assert_eq!((module.short_name.as_str(), module.is_interpreter()), ("libc.so.6", false));
    assert!(module.row(u64::MAX, &mut context).is_none() && module.row(0, &mut context).is_none());
}

#[test]
fn without_its_index_a_library_tells_the_same() {
    let bytes = c_library();
    let (header, _) = section(&bytes, ".eh_frame_hdr");
    let mut without = bytes.clone();
    without[header.start] = 0;
    let (with, without) = (module(&bytes).unwrap(), module(&without).unwrap());
    let (text, address) = section(&bytes, ".text");
    let mut context = UnwindContext::new();
    let mut known = 0;
    for offset in (0..text.len() as u64).step_by(997) {
        let row = with.row(address + offset, &mut context);
        assert_eq!(row, without.row(address + offset, &mut context), "{offset:#x}");
        known += u32::from(row.is_some());
    }
    assert!(known > 100, "{known}");
}

#[test]
fn damaged_unwind_information_is_answered_soon() {
    let bytes = c_library();
    let (text, address) = section(&bytes, ".text");
    let mut dice = Dice::new();
    let mut context = UnwindContext::new();
    for name in [".eh_frame", ".eh_frame_hdr"] {
        let (place, _) = section(&bytes, name);
        for round in 0..12 {
            let mut damaged = bytes.clone();
            // From some bytes to a good part of them; the first entry, which all others refer to, always.
            for _ in 0..place.len() >> (12 - round) {
                damaged[place.start + dice.below(place.len())] = u8::try_from(dice.below(256)).unwrap();
            }
            damaged[place.start + 4 + dice.below(24)] = u8::try_from(dice.below(256)).unwrap();
            if round % 3 == 0 {
                // The index is made from the entries.
                damaged[section(&bytes, ".eh_frame_hdr").0.start] = 7;
            }
            let start = Instant::now();
            let Some(module) = module(&damaged) else { continue };
            for _ in 0..2000 {
                let at = address + dice.below(text.len()) as u64;
                let Some(row) = module.row(at, &mut context) else { continue };
                let info = module.frames().unwrap();
                let programs = row.rules.iter().filter_map(|(_, rule)| match rule {
                    super::frame_info::Rule::AtExpression(program) | super::frame_info::Rule::IsExpression(program) => {
                        Some(*program)
                    }
                    _ => None,
                });
                let of_cfa = match row.cfa {
                    super::frame_info::Cfa::Expression(program) => Some(program),
                    super::frame_info::Cfa::Register(..) => None,
                };
                for program in programs.chain(of_cfa) {
                    info.evaluate(program, Some(1), &|register| Some(register.into()), &|address| Some(!address));
                }
            }
            // Far more than it takes: it is to end, not to be fast.
            assert!(start.elapsed() < Duration::from_secs(60), "{name} {round}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn entries_that_claim_too_much_are_passed_over() {
    use super::frame_info::{Bases, FrameInfo};
    let mut context = UnwindContext::new();
    let bases = Bases { eh_frame: 0x1000, ..Bases::default() };
    let lengths = [0, 1, 3, 4, 5, 0x7fff_ffff, 0xffff_fff0, u32::MAX];
    for (first, second) in lengths.iter().flat_map(|first| lengths.map(|second| (*first, second))) {
        let mut bytes = Vec::new();
        for word in [first, 0, second, 8, 0, 0x100, 0, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let info = FrameInfo::new(bytes, &[], bases);
        assert!(info.row(0x1010, &mut context).is_none());
    }
    // An expression that jumps back for ever: DW_OP_skip -3.
    let info = FrameInfo::new(vec![0x2f, 0xfd, 0xff], &[], bases);
    assert_eq!(info.evaluate(super::frame_info::Program::new(0, 3), None, &|_| None, &|_| None), None);
}
