//! The provided buffer ring: where the kernel puts what sockets receive.
//!
//! One group per worker serves every connection, so an idle connection owns no receive memory. A
//! buffer is borrowed for one turn and then recycled (rule 2 of ARCHITECTURE.md). Behind each
//! buffer stand [`PAD`] readable bytes, so that no codec needs code for tails.
//! The interface is io_uring_register_buf_ring(3).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use ringway_codec::scan::PAD;

const PAGE: usize = 4096;

/// A ring of equal buffers lent to the kernel.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    size: u32,
    tail: u16,
}

impl Buffers {
    /// Makes and registers `count` (a power of two, at most 32,768) buffers of `size` bytes each.
    pub(super) fn new(
        submitter: &Submitter<'_>,
        group: u16,
        count: u16,
        size: u32,
    ) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15);
        let mut ring = Self {
            entries: allocate(Self::entries_layout(count)).cast(),
            memory: allocate(Self::memory_layout(count, size)),
            count,
            size,
            tail: 0,
        };
        // SAFETY: the entries are page-aligned, hold `count` entries, and live until `Drop`, which
        // the owning ring runs only after the io_uring itself is gone.
        unsafe {
            submitter.register_buf_ring_with_flags(
                ring.entries.as_ptr() as u64,
                count,
                group,
                0,
            )?;
        }
        for buffer in 0..count {
            ring.recycle(buffer);
        }
        Ok(ring)
    }

    /// The first `len` bytes of a buffer that a completion named, and the pad behind them.
    pub(super) fn slice_mut(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        assert!(buffer < self.count && len <= self.size as usize);
        let at = usize::from(buffer) * self.stride();
        #[cfg(ringway_asan)]
        super::asan::show(self.memory.as_ptr().wrapping_add(at), len + PAD);
        // SAFETY: the range lies inside the allocation, which is initialised (zeroed at first), and
        // the kernel does not write to a buffer between its completion and its recycling.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(at), len + PAD) }
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn recycle(&mut self, buffer: u16) {
        assert!(buffer < self.count);
        let address = self.memory.as_ptr() as u64 + (usize::from(buffer) * self.stride()) as u64;
        #[cfg(ringway_asan)]
        super::asan::hide(address as *const u8, self.stride());
        // SAFETY: the index is masked to the ring; the entry at `tail` belongs to us until the
        // release store below publishes it. The tail shares the first entry's last two bytes, which
        // the three setters leave alone.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(address);
            entry.set_len(self.size);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn stride(&self) -> usize {
        self.size as usize + PAD
    }

    fn entries_layout(count: u16) -> Layout {
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        Layout::from_size_align(bytes, PAGE).unwrap_or(Layout::new::<[u8; PAGE]>())
    }

    fn memory_layout(count: u16, size: u32) -> Layout {
        let bytes = usize::from(count) * (size as usize + PAD);
        Layout::from_size_align(bytes, PAGE).unwrap_or(Layout::new::<[u8; PAGE]>())
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts; the owner closed the io_uring first.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), Self::entries_layout(self.count));
            dealloc(self.memory.as_ptr(), Self::memory_layout(self.count, self.size));
        }
    }
}

/// Zeroed memory: the pads are read before anything was ever written to them.
fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: every layout made here has a non-zero size.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
