//! Scripts and styles of pages and pictures, which `build.rs` has packed: as text they are four times as large.

use std::io::Read;

use flate2::read::DeflateDecoder;

/// The text of a file of this folder, or of one in it, by its name.
macro_rules! packed_text {
    ($name:literal) => {
        $crate::output::formats::packed_text::unpacked(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".deflate")))
    };
}
pub(super) use packed_text;

/// What was packed.
pub(super) fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    if let Err(error) = DeflateDecoder::new(packed).read_to_string(&mut text) {
        log::error!("a text of our own cannot be unpacked: {error}");
    }
    text
}
