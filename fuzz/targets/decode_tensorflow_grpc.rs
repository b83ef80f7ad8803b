//! Messages of TensorFlow Serving over gRPC.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_tensorflow_grpc(data));
