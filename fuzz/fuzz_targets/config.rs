#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::script::sample::fuzz_config(data));
