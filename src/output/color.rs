//! Colours of frames in pictures.

use super::place::Origin;

/// What is no code.
pub(super) const NEUTRAL: [u8; 3] = [215, 218, 222];

/// Red, green and blue for a frame: warm for the program's own code, cooler the further away from it, grey for what is
/// no code; shades by name, always the same.
pub(super) fn color(name: &str, origin: Origin) -> [u8; 3] {
    // FNV-1a, for its short text and its stable result.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (from, to) = ends(origin);
    mixed(from, to, (hash >> 40) as f32 / (1u64 << 24) as f32)
}

/// Each colour's middle and what it means.
pub(super) const MEANINGS: [(Origin, &str); 8] = [
    (Origin::Application, "own code"),
    (Origin::Package, "packages"),
    (Origin::StandardLibrary, "standard library"),
    (Origin::Native, "native code"),
    (Origin::Kernel, "the kernel"),
    (Origin::Gc, "garbage collection"),
    (Origin::Wait, "waiting"),
    (Origin::Marker, "no code: threads, processes, …"),
];

/// The colour that stands for all of an origin.
pub(super) fn middle(origin: Origin) -> [u8; 3] {
    let (from, to) = ends(origin);
    mixed(from, to, 0.5)
}

/// The two shades between which those of an origin lie.
pub(super) fn ends(origin: Origin) -> ([u8; 3], [u8; 3]) {
    match origin {
        Origin::Application => ([255, 130, 70], [240, 190, 90]),
        Origin::Package => ([110, 185, 240], [150, 205, 220]),
        Origin::StandardLibrary => ([190, 215, 110], [225, 220, 120]),
        Origin::Native => ([200, 160, 220], [220, 185, 215]),
        Origin::Kernel => ([120, 195, 185], [150, 210, 200]),
        Origin::Gc => ([225, 95, 105], [235, 110, 115]),
        Origin::Wait => ([150, 160, 185], [165, 172, 195]),
        Origin::Marker => ([195, 200, 205], [215, 218, 222]),
    }
}

/// What lies between two colours; a `share` of 0 is the first, 1 the other.
pub(super) fn mixed(from: [u8; 3], to: [u8; 3], share: f32) -> [u8; 3] {
    [0, 1, 2].map(|at| (f32::from(from[at]) + share * (f32::from(to[at]) - f32::from(from[at]))) as u8)
}
