//! The bodies of a V2 call over gRPC, with one message or many.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_v2_grpc(data));
