//! Whatever strangers say to a document, the log holds what is legal, and a bystander works on.

#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| (fuzz::target("document").drive)(bytes));
