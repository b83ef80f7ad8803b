//! The messages of a gRPC body, cut two ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_sidecar::fuzzing::grpc_messages(data));
