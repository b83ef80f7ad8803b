//! Bodies of MLflow's and SageMaker's `/invocations`: JSON, JSON lines and CSV.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_invocations(data));
