//! Conditions of rules, as they are written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_collector::fuzzing::expressions(data));
