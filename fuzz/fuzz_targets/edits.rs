#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::sip::edit::fuzz_edits(data));
