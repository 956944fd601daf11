use super::*;
use crate::python::layout::{FrameEntry, Gil};

/// The words after the cookie in the binaries of 3.13.0, 3.14.10 and 3.15.2 for x86-64 Linux.
#[rustfmt::skip]
const WORDS_3_13: [u64; 72] = [
    0x030d_00f0, 0, 283320, 608, 632, 194968, 7272, 7264, 7344, 7400, 7656, 7640, 7648, 16, 7752, 0, 7768, 7760, 304, 0,
    8, 16, 72, 152, 160, 232, 32, 80, 8, 0, 56, 72, 70, 208, 112, 120, 128, 136, 68, 52, 96, 104, 200, 16, 8, 416, 24,
    88, 168, 32, 24, 16, 40, 24, 16, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32, 64, 32, 16, 40, 240, 200,
];
#[rustfmt::skip]
const WORDS_3_14: [u64; 94] = [
    0x030e_0af0, 0, 316616, 784, 808, 225864, 7280, 7272, 7344, 7360, 7408, 7688, 7672, 7680, 16, 7784, 0, 7800, 7792,
    7992, 0, 832, 0, 8, 16, 72, 152, 160, 232, 32, 88, 8, 0, 56, 80, 74, 64, 0, 216, 112, 120, 128, 136, 68, 52, 96,
    104, 208, 0, 16, 8, 416, 24, 88, 168, 40, 32, 16, 40, 24, 16, 200, 24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24, 40,
    16, 32, 64, 32, 16, 40, 264, 192, 160, 24, 72, 67, 0, 8, 24, 304, 8076, 0, 4, 512,
];
#[rustfmt::skip]
const WORDS_3_15: [u64; 110] = [
    0x030f_02f0, 0, 346568, 912, 936, 226240, 7272, 7264, 7336, 7352, 7400, 7592, 7576, 7584, 16, 7736, 0, 7752, 7744,
    7944, 0, 888, 0, 8, 16, 72, 80, 88, 96, 176, 184, 256, 32, 36, 40, 136, 288, 0, 88, 8, 0, 56, 80, 74, 64, 0, 216,
    112, 120, 128, 136, 68, 52, 96, 104, 208, 0, 16, 8, 424, 24, 88, 168, 32, 288, 944, 888, 40, 32, 16, 40, 24, 16,
    200, 24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32, 64, 32, 16, 40, 56, 176, 112, 120, 1120, 104, 160, 24,
    72, 67, 0, 8, 24, 344, 8028, 0, 4, 512,
];

fn bytes(words: &[u64]) -> Vec<u8> {
    let mut bytes = COOKIE.to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    bytes
}

fn with_version(words: &[u64], hex: u64) -> Vec<u8> {
    let mut bytes = bytes(words);
    bytes[8..16].copy_from_slice(&hex.to_ne_bytes());
    bytes
}

#[test]
fn the_header_tells_how_much_to_read() {
    for words in [&WORDS_3_13[..], &WORDS_3_14, &WORDS_3_15] {
        let bytes = bytes(words);
        assert_eq!(size(&bytes[..HEADER_SIZE]), Ok(bytes.len()));
    }
    assert_eq!(size(b"xdebugpy"), Err(DebugOffsetsError::Short { available: 8, needed: HEADER_SIZE }));
    assert_eq!(size(&[0; 24]), Err(DebugOffsetsError::NoCookie));
}

#[test]
fn each_version_is_read_by_its_own_list() {
    let layout = parse(&bytes(&WORDS_3_13)).expect("3.13");
    assert_eq!(layout.version, Version::new(3, 13, 0));
    assert_eq!((layout.interpreter.modules, layout.interpreter.gc_collecting), (7656, Some(7600)));
    assert_eq!(layout.thread.frame, FrameEntry::Direct(72));
    assert_eq!((layout.frame.stack_top, layout.frame.stack_pointer, layout.frame.tag_mask), (Some(64), None, 0));
    assert_eq!(layout.gil, Gil::InInterpreter { enabled: None, locked: 7768, last_holder: 7760, base: 7752 });
    assert!(!layout.tentative);

    let layout = parse(&bytes(&WORDS_3_14)).expect("3.14");
    assert_eq!(layout.version, Version::new(3, 14, 10));
    assert_eq!((layout.interpreter.threads_main, layout.interpreter.code_object_generation), (Some(7360), Some(7992)));
    assert_eq!((layout.frame.stack_top, layout.frame.stack_pointer, layout.frame.tag_mask), (None, Some(64), 3));
    assert_eq!((layout.code.tlbc, layout.frame.tlbc_index), (None, None));
    assert_eq!(layout.object.tuple_items, 32);

    let layout = parse(&bytes(&WORDS_3_15)).expect("3.15");
    assert_eq!(layout.version, Version::new(3, 15, 2));
    assert_eq!((layout.thread.holds_gil, layout.thread.base_frame), (Some(36), Some(80)));
    assert_eq!(layout.thread.current_exception, Some(136));
    assert_eq!(layout.object.type_cached_keys, Some(888));
    assert_eq!(layout.generator.states.map(|states| states.executing), Some(4));
}

#[test]
fn bytes_that_end_early_are_refused() {
    let bytes = bytes(&WORDS_3_14);
    for length in 0..bytes.len() {
        assert!(matches!(parse(&bytes[..length]), Err(DebugOffsetsError::Short { .. })), "{length} bytes");
    }
}

#[test]
fn a_newer_version_with_the_known_list_is_tentative() {
    for (hex, tentative) in [(0x0310_00f0, true), (0x030f_00b4, true), (0x030f_00c1, false), (0x030f_09f0, false)] {
        let layout = parse(&with_version(&WORDS_3_15, hex)).expect("the list is the same");
        assert_eq!(layout.tentative, tentative, "{hex:#x}");
    }
}

#[test]
fn a_prerelease_with_another_list_is_refused() {
    // As 3.15 before beta 4: without `last_profiled_frame_seq`.
    let mut words = WORDS_3_15.to_vec();
    words.remove(28);
    words.push(0);
    let refusal = parse(&with_version(&words, 0x030f_00b3)).expect_err("shifted by a word");
    assert!(matches!(refusal, DebugOffsetsError::OtherList { list: 15, .. }), "{refusal}");
    assert!(
        refusal.to_string().starts_with("the debug offsets of 3.15.0b3 are not laid out as those of 3.15: "),
        "{refusal}"
    );
    // The list of one version under the number of another.
    assert!(parse(&with_version(&WORDS_3_15, 0x030e_00f0)).is_err());
    assert!(parse(&with_version(&[&WORDS_3_14[..], &[0; 16]].concat(), 0x030f_00f0)).is_err());
}

#[test]
fn versions_without_debug_offsets_are_refused() {
    for hex in [0, 0x030c_01f0, 0x0400_00f0, 0x02_030d_00f0] {
        let refusal = parse(&with_version(&WORDS_3_13, hex)).expect_err("no such version");
        assert!(matches!(refusal, DebugOffsetsError::Version(_)), "{hex:#x}: {refusal}");
    }
}

/// Any word may hold anything: the answer is a valid layout or a refusal, never a panic, and no offset passes that is
/// out of bounds.
#[test]
fn hostile_words_never_pass_unchecked() {
    for original in [&WORDS_3_13[..], &WORDS_3_14, &WORDS_3_15] {
        for index in 1..original.len() {
            for value in
                [0, 1, 7, 4095, u64::from(OFFSET_LIMIT) - 1, u64::from(OFFSET_LIMIT), u64::from(u32::MAX), u64::MAX]
            {
                let mut words = original.to_vec();
                words[index] = value;
                if let Ok(layout) = parse(&bytes(&words)) {
                    assert_eq!(validate(&layout), Ok(()));
                }
            }
        }
        for value in [u64::from(OFFSET_LIMIT) - 1, u64::MAX, 0] {
            let mut words = vec![value; original.len()];
            words[0] = original[0];
            assert!(parse(&bytes(&words)).is_err(), "all words {value}");
        }
    }
}
