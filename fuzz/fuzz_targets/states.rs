//! As `world`, in worlds so small that their states can be counted; what counts as new is a state, not a branch.

#![no_main]

use std::ptr::addr_of_mut;

/// Counters; a state has the one that its digest says. The four worlds have fewer states than this.
const COUNTERS: usize = 1 << 17;

/// libFuzzer takes every byte in this section for the counter of a branch of its own.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static mut VISITED: [u8; COUNTERS] = [0; COUNTERS];

libfuzzer_sys::fuzz_target!(init: fuzz::begin(), |bytes: &[u8]| {
    collab_fuzz::states(bytes, &mut |digest| {
        let at = digest as usize % COUNTERS;
        // SAFETY: the index is below the length. libFuzzer calls this on one thread, and reads and clears the
        // counters only between two calls, so nobody else has access while the byte is written.
        unsafe { addr_of_mut!(VISITED).cast::<u8>().add(at).write(1) };
    });
});
