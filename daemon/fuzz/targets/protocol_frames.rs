#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| domoflux::fuzz::protocol_frames(bytes));
