//! The bodies of a V2 exchange over HTTP: JSON, and what lies behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_v2(data));
