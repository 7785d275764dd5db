#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::sip::message::fuzz_message(data));
