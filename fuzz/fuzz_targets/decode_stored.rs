//! Records and snapshots on disk likewise; a snapshot that is read is sound.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("decode_stored").drive)(bytes));
