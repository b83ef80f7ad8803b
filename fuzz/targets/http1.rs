//! An HTTP/1.1 conversation, as a script: see `seeds/http1`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::http1(data));
