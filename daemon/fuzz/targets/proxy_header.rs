#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| domoflux::fuzz::proxy_header(bytes));
