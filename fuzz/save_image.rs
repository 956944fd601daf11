//! Makes a saved image of a core file: `save_image CORE images/NAME`.

use std::path::Path;

// What the coverage counters of the targets call is in there.
use libfuzzer_sys as _;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, name] = arguments.as_slice() else { panic!("give a core file and the image's name") };
    pyspy::fuzzing::save_image(Path::new(core), Path::new(name)).expect("the core file can be read");
}
