#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::modules::rpc::json::fuzz_json(data));
