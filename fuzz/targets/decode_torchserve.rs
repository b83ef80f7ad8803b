//! Bodies of TorchServe, by their content types.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_torchserve(data));
