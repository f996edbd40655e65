//! Any bytes, as they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unskew_fuzz::open_and_read(bytes.to_vec()));
