//! How much is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is asked for, not what the allocator makes of it.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated now.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// Blocks that were ever allocated or grown.
pub fn blocks() -> usize {
    BLOCKS.load(Relaxed)
}

/// Adds without a locked instruction: nothing here has a second thread, and no contestant shall pay for the count.
fn add(counter: &AtomicUsize, amount: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(&HELD, layout.size());
        add(&BLOCKS, 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(&HELD, layout.size().wrapping_neg());
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(&HELD, size.wrapping_sub(layout.size()));
        add(&BLOCKS, 1);
        unsafe { System.realloc(block, layout, size) }
    }
}
