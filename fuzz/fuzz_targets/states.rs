//! Any bytes, as the state of an aggregate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unskew_fuzz::read_state(bytes));
