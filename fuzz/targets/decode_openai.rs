//! Bodies of OpenAI's API, whole and as server-sent events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_protocol::fuzzing::decode_openai(data));
