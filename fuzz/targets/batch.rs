//! A frame and the batch in it, as a collector reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::batch(data));
