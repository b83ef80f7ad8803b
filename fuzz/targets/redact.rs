//! A body under the owner's rules: its first byte says by which rules and as what it is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::redact(data));
