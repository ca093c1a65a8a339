//! The allocator of this package's unit tests, which notes the largest piece that a thread asks for at once.
#![expect(
    unsafe_code,
    reason = "an allocator is one, and leaves all to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Meter;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(size: usize) {
    // A thread that ends allocates, too.
    LARGEST
        .try_with(|largest| largest.set(largest.get().max(size)))
        .ok();
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static METER: Meter = Meter;

/// The largest piece of memory, in bytes, that this thread asks for meanwhile.
pub(super) fn largest(meanwhile: impl FnOnce()) -> usize {
    LARGEST.set(0);
    meanwhile();
    LARGEST.get()
}
