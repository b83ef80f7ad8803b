//! The events of a server-sent stream, cut two ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::sse(data));
