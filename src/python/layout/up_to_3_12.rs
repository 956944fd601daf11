//! 2.7 and 3.6 to 3.12: constants, learned from the headers that each table names.
//!
//! Limits: 64-bit release builds. Builds with `--with-pydebug` or `Py_TRACE_REFS` have another object header, and
//! alphas and betas other structs; neither is described. `runtime.current_thread` lies behind the GIL's locks, whose
//! size is the C library's: on Linux that of glibc (musl has the same on x86-64, but not on aarch64).

mod v2_7;
mod v3_11_to_v3_12;
mod v3_6_to_v3_10;

use super::{DictFormat, DictKeys, FrameStates, Layout, ManagedDict, Objects, TextBits, TextFormat};
use crate::python::version::Version;

/// The layout of a release or release candidate of 2.7 or 3.6 to 3.12; `None` for any other version.
pub fn layout(version: Version) -> Option<Layout> {
    let is_early = version.is_prerelease() && version.release < 0xC0;
    if is_early {
        return None;
    }
    match version.feature() {
        (2, 7) => Some(v2_7::v2_7(version)),
        (3, 6) => Some(v3_6_to_v3_10::v3_6(version)),
        (3, 7) => Some(v3_6_to_v3_10::v3_7(version)),
        (3, 8) => Some(v3_6_to_v3_10::v3_8(version)),
        (3, 9) => Some(v3_6_to_v3_10::v3_9(version)),
        (3, 10) => Some(v3_6_to_v3_10::v3_10(version)),
        (3, 11) => Some(v3_11_to_v3_12::v3_11(version)),
        (3, 12) => Some(v3_11_to_v3_12::v3_12(version)),
        _ => None,
    }
}

/// `sizeof(long)`.
const LONG: u32 = if cfg!(windows) { 4 } else { 8 };

/// `sizeof(struct _gil_runtime_state)` (internal/gil.h in 3.7, internal/pycore_gil.h from 3.8 on): interval, last
/// holder, locked, switch number, then two pairs of a condition variable and a mutex.
const GIL_SIZE: u32 = {
    // Two `long`s around a pointer and an `int`, which share a word where `long` has 4 bytes.
    let counters = if cfg!(windows) { 24 } else { 32 };
    let (condition, mutex) = if cfg!(windows) {
        // Emulated in these versions: a semaphore with a counter, and a CRITICAL_SECTION.
        (16, 40)
    } else if cfg!(target_vendor = "apple") {
        (48, 64)
    } else if cfg!(target_os = "freebsd") {
        (8, 8)
    } else if cfg!(target_arch = "aarch64") {
        (48, 48)
    } else {
        (48, 40)
    };
    counters + 2 * (condition + mutex)
};

/// Objects as 3.6 has them; the later versions say what they change. (object.h, unicodeobject.h, dictobject.h,
/// setobject.h, longintrepr.h, bytesobject.h, tupleobject.h, listobject.h, floatobject.h; Objects/dict-common.h and
/// Objects/moduleobject.c, which are not installed.)
pub(super) const OBJECTS_3_6: Objects = Objects {
    head_size: 16,
    ob_type: 8,
    ob_size: 16,
    type_name: 24,
    type_basic_size: 32,
    type_item_size: 40,
    type_flags: 168,
    type_base: 256,
    type_mro: 344,
    type_dict: 264,
    type_dict_offset: 288,
    type_cached_keys: Some(856),
    type_qualname: Some(848),
    managed_dict: ManagedDict::None,
    dict_values_offset: 0,
    dict_values_valid: None,
    text: TextFormat::Compact {
        length: 16,
        hash: 24,
        state: 32,
        bits: TEXT_BITS,
        ascii_size: 48,
        compact_size: 72,
        data: 72,
    },
    bytes_data: 32,
    bytes_hash: 24,
    tuple_items: 24,
    list_items: 24,
    dict: DictFormat::Keys {
        used: 16,
        keys: 32,
        values: 40,
        keys_format: DictKeys::Size { size: 8, entry_count: 32, indices: 40 },
    },
    set_used: 24,
    set_mask: 32,
    set_table: 40,
    set_entry_key: 0,
    plain_int_value: None,
    int_size: 16,
    int_digits: 24,
    int_tagged: false,
    float_value: 16,
    module_dict: 16,
};

/// `PyASCIIObject.state` up to 3.13: interned (2 bits), kind (3), compact, ascii.
pub(super) const TEXT_BITS: TextBits = TextBits { kind: 2, compact: 5, ascii: 6 };

/// `PyFrameState` of 3.10 to 3.12.
const FRAME_STATES: FrameStates = FrameStates {
    created: -2,
    suspended: -1,
    suspended_yield_from: None,
    suspended_yield_from_locked: None,
    executing: 0,
    finished: 1,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_old_version_has_a_valid_layout() {
        let features = [(2, 7), (3, 6), (3, 7), (3, 8), (3, 9), (3, 10), (3, 11), (3, 12)];
        for (major, minor) in features {
            for patch in [0, 3, 4, 18] {
                let version = Version::new(major, minor, patch);
                let layout = layout(version).expect("a table");
                assert_eq!(layout.version, version);
                super::super::validate::validate(&layout).expect("a valid table");
            }
        }
    }

    #[test]
    fn versions_without_a_table_have_none() {
        for text in ["2.6.9", "3.5.10", "3.13.0", "3.14.0", "4.7.1", "3.8.0a2", "3.12.0b4"] {
            let version = Version::parse(text).expect("a version");
            assert_eq!(layout(version), None, "{text}");
        }
        assert!(layout(Version::parse("3.12.0rc1").expect("a version")).is_some());
    }

    /// The offsets of `_PyRuntime.gilstate.tstate_current` that profilers have found in the field on each system.
    #[test]
    fn current_thread_is_where_systems_and_patch_releases_put_it() {
        let column = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => 0,
            ("linux", "aarch64") => 1,
            ("macos", "x86_64") => 2,
            ("windows", "x86_64") => 3,
            ("freebsd", "x86_64") => 4,
            _ => return,
        };
        let expected = [
            ("3.7.3", [1392, 1408, 1440, 1320, 1248]),
            ("3.8.0", [1368, 1384, 1416, 1296, 1224]),
            ("3.9.0", [568, 584, 616, 496, 424]),
            ("3.10.20", [568, 584, 616, 496, 424]),
            ("3.11.0", [576, 592, 624, 504, 432]),
        ];
        for (text, offsets) in expected {
            let layout = layout(Version::parse(text).expect("a version")).expect("a table");
            assert_eq!(layout.runtime.current_thread, Some(offsets[column]), "{text}");
        }
        let moved = layout(Version::new(3, 7, 4)).expect("a table").runtime.current_thread;
        assert_eq!(moved, Some([1480, 1496, 1528, 1320, 1336][column]));
    }
}
