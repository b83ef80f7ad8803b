//! Bytes that claim to be compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::undo_codings(data));
