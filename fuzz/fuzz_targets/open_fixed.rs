//! Any bytes, with the checksums made to hold: a file by somebody who means harm.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    unskew_fuzz::fix(&mut file);
    unskew_fuzz::open_and_read(file);
});
