#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dialcore::modules::rpc::binrpc::fuzz_binrpc(data));
