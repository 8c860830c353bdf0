//! Whatever a server says to a replica, no edit is lost, and an honest server brings it to rest again.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("replica").drive)(bytes));
