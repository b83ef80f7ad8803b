//! What people send about alerts: acknowledgements, decisions, ticks, silences.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_collector::fuzzing::acknowledgements(data));
