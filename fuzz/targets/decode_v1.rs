//! Bodies of V1, by rows and by columns.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_v1(data));
