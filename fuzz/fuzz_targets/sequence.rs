//! The shipped sequence is the specification's, whatever the operations and the order they come in.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("sequence").drive)(bytes));
