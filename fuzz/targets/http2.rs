//! An HTTP/2 conversation, as a script.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::http2(data));
