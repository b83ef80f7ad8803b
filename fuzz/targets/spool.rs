//! A segment of the spool, read as after a crash.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::spool(data));
