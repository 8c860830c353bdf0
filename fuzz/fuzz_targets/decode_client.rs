//! What a client says is refused, or read as JSON means it, and written back to the same message.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("decode_client").drive)(bytes));
