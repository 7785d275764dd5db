#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::sip::http::fuzz_http(data));
