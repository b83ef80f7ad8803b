//! JSON of any form, with a mapping and without.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_generic(data));
