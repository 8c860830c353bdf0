//! Every property holds after every action of a world, and a world that heals converges.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("world").drive)(bytes));
