//! A store gives back what was durable, or says which file is damaged.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("recovery").drive)(bytes));
