//! As `world`, in worlds so small that their states can be counted; what counts as new is a state, not a branch.

#![no_main]

use std::hint::black_box;
use std::ptr::{addr_of, addr_of_mut};

/// Counters; a state has the one that its digest says. The worlds have 20,511 states: one in thirteen shares its counter.
const COUNTERS: usize = 1 << 18;

/// libFuzzer takes every byte in this section for the counter of a branch of its own.
#[used]
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static mut VISITED: [u8; COUNTERS] = [0; COUNTERS];

unsafe extern "C" {
    /// Where libFuzzer looks for the counters. Without them the program does not link.
    #[link_name = "__start___libfuzzer_extra_counters"]
    static BEGIN: u8;
}

libfuzzer_sys::fuzz_target!(
    init: {
        // The compiler would take it for granted that two variables have two addresses.
        let [begin, counters] = black_box([addr_of!(BEGIN), addr_of!(VISITED).cast()]);
        assert_eq!(begin, counters, "the counters are not where libFuzzer looks");
        fuzz::begin()
    },
    |bytes: &[u8]| {
        collab_fuzz::states(bytes, &mut |digest| {
            let at = digest as usize % COUNTERS;
            // SAFETY: the index is below the length. libFuzzer calls this on one thread, and reads and clears the
            // counters only between two calls, so nobody else has access while the byte is written. Volatile, because
            // nobody reads them here: written plainly, they were optimised away.
            unsafe { addr_of_mut!(VISITED).cast::<u8>().add(at).write_volatile(1) };
        });
    }
);
