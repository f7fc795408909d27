//! Counts the heap. A benchmark that wants it says
//! `#[global_allocator] static HEAP: Heap = Heap::new();`.
#![expect(unsafe_code, reason = "an allocator can't be written without; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a count of the bytes that are in use.
#[derive(Debug)]
pub struct Heap {
    used: AtomicUsize,
}

impl Heap {
    /// An allocator that has given out nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { used: AtomicUsize::new(0) }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Makes something and says how many bytes it keeps.
    pub fn of<T>(&self, make: impl FnOnce() -> T) -> (T, usize) {
        let before = self.used();
        let made = make();
        let kept = self.used().saturating_sub(before);
        (made, kept)
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.used.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.used.fetch_add(size, Ordering::Relaxed);
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
