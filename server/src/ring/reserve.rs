//! Tables whose address space is reserved at the start, so that they are never copied as they grow.

/// A table for `most` entries that grows without being copied: address space is reserved at once,
/// and the kernel backs pages as they are written. A table that is copied as it grows leaves
/// several times its size to the allocator. Where the kernel refuses the reservation, the table
/// starts small.
pub(crate) fn room<T>(most: usize) -> Vec<T> {
    let mut entries = Vec::new();
    let _ = entries.try_reserve_exact(most);
    entries
}

/// Makes room for one more by an eighth rather than by doubling: a hundred thousand idle
/// connections should not pay for as many that never came.
pub(crate) fn grow<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact((entries.len() / 8).max(64));
    }
}
