//! What rules say of their alerts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_collector::fuzzing::templates(data));
