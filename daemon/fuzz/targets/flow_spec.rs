#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| domoflux::fuzz::flow_spec(bytes));

libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    domoflux_fuzz::by_words(bytes, size, most, seed)
});
