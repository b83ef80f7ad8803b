//! The collector's configuration, and its rules for Prometheus.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| driftline_collector::fuzzing::rule_files(data));
