//! What a server says likewise; a state in it is sound, and a resync in parts is the same state.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("decode_server").drive)(bytes));
