//! Arrow streams of rows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_collector::fuzzing::arrow_rows(data));
