//! Bodies of Seldon's protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_seldon(data));
