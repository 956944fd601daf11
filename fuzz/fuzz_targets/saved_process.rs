#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pyspy::fuzzing::saved_process(bytes));
