//! Whether what was kept would notice a named fault of the core.

use std::cell::Cell;
use std::panic;

use collab_engine::mutant::{Mutant, activate};

use crate::{Kept, Target};

std::thread_local! {
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Lets the panics that [`noticed`] waits for pass without a word; all others are told as before.
pub fn quieten() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !IS_EXPECTED.get() {
            told(info);
        }
    }));
}

/// The first input, counted from 1, with which the target panics while the fault is active.
pub fn noticed(target: &Target, inputs: &[Kept], fault: Mutant) -> Option<usize> {
    IS_EXPECTED.set(true);
    activate(Some(fault));
    let fails = |input: &Kept| panic::catch_unwind(|| (target.drive)(&input.bytes)).is_err();
    let first = inputs.iter().position(fails);
    activate(None);
    IS_EXPECTED.set(false);
    first.map(|index| index + 1)
}
