//! Room in a `Vec`, reserved once per message: adding an element is one comparison and a store.

use alloc::vec::Vec;

/// A cleared `Vec` that takes a bounded number of elements. Added elements appear at
/// [`Slots::keep`]; before, and after an error, the `Vec` is empty.
pub(crate) struct Slots<'a, T: Copy> {
    vec: &'a mut Vec<T>,
    next: *mut T,
    end: *mut T,
}

impl<'a, T: Copy> Slots<'a, T> {
    /// Empties `vec` and makes room for `room` elements.
    #[inline(always)]
    pub(crate) fn new(vec: &'a mut Vec<T>, room: usize) -> Self {
        vec.clear();
        vec.reserve(room);
        let next = vec.as_mut_ptr();
        // SAFETY: `reserve` made at least `room` elements' worth of the allocation ours.
        let end = unsafe { next.add(room) };
        Self { vec, next, end }
    }

    /// Adds an element; returns whether there was room for it.
    #[inline(always)]
    #[must_use]
    pub(crate) fn push(&mut self, element: T) -> bool {
        if self.next == self.end {
            return false;
        }
        // SAFETY: `next` lies before `end`, so within the allocation, which `vec` keeps borrowed.
        unsafe {
            self.next.write(element);
            self.next = self.next.add(1);
        }
        true
    }

    /// Makes the `Vec` contain the added elements.
    #[inline(always)]
    pub(crate) fn keep(self) {
        let begin = self.vec.as_mut_ptr();
        // SAFETY: everything from `begin` to `next`, which `push` never moves past the reserved
        // room, was written.
        unsafe {
            let count = self.next.offset_from(begin) as usize;
            self.vec.set_len(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn keeps_what_was_pushed_up_to_the_bound() {
        let mut vec = vec![9u32; 5];
        let mut slots = Slots::new(&mut vec, 3);
        assert!(slots.push(1) && slots.push(2) && slots.push(3) && !slots.push(4));
        slots.keep();
        assert_eq!(vec, [1, 2, 3]);
        let mut slots = Slots::new(&mut vec, 100);
        assert!(slots.push(7));
        assert!(vec.is_empty() && vec.capacity() >= 100);
        Slots::new(&mut Vec::<u8>::new(), 0).keep();
    }
}
