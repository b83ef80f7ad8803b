//! Messages of Seldon's protocol over gRPC.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_seldon_grpc(data));
