//! The global allocator of this program: the system's, counted.
//!
//! Implementing an allocator is unsafe by its contract; each function forwards to the system's
//! with the arguments as they came, which keeps that contract.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static SIZE: AtomicU64 = AtomicU64::new(0);
static ALIVE: AtomicU64 = AtomicU64::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);

/// Allocations since the start of the process, and their bytes; growing a block is one too.
pub(crate) fn so_far() -> (u64, u64) {
    (COUNT.load(Ordering::Relaxed), SIZE.load(Ordering::Relaxed))
}

/// Bytes of the blocks that are in use now.
pub(crate) fn alive() -> u64 {
    ALIVE.load(Ordering::Relaxed)
}

/// Bytes of the blocks that were given up since the start of the process; of one that grew, what it
/// was before. What a table moves when it grows is among them.
pub(crate) fn left() -> u64 {
    LEFT.load(Ordering::Relaxed)
}

fn leave(size: usize) {
    LEFT.fetch_add(size as u64, Ordering::Relaxed);
    ALIVE.fetch_sub(size as u64, Ordering::Relaxed);
}

fn count(size: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    ALIVE.fetch_add(size as u64, Ordering::Relaxed);
    SIZE.fetch_add(size as u64, Ordering::Relaxed);
}

// SAFETY: every call is passed on unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        leave(layout.size());
        // SAFETY: `block` came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        leave(layout.size());
        // SAFETY: `block` came from `System` with this layout.
        unsafe { System.realloc(block, layout, size) }
    }
}
