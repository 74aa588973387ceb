//! A vector with little room unused. It grows by an eighth: at 10 million entries the usual
//! doubling would leave up to 40 MB unused. It shrinks when more than half of it is unused.

use std::ops::{Deref, DerefMut};

const GROWTH_DIVISOR: usize = 8;

/// A vector with less capacity does not shrink.
const SHRINK_FROM: usize = 16;

#[derive(Debug)]
pub(super) struct CompactVec<T>(Vec<T>);

impl<T> CompactVec<T> {
    pub(super) fn push(&mut self, item: T) {
        self.grow();
        self.0.push(item);
    }

    pub(super) fn insert(&mut self, at: usize, item: T) {
        self.grow();
        self.0.insert(at, item);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.0.pop();
        self.shrink();
        item
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        let item = self.0.remove(at);
        self.shrink();
        item
    }

    /// Bytes of its buffer.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.0.capacity() * size_of::<T>()
    }

    fn grow(&mut self) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact((self.0.len() / GROWTH_DIVISOR).max(1));
        }
    }

    fn shrink(&mut self) {
        if self.0.capacity() >= SHRINK_FROM && self.0.len() < self.0.capacity() / 2 {
            self.0.shrink_to(self.0.len() + self.0.len() / GROWTH_DIVISOR);
        }
    }
}

impl<T> Default for CompactVec<T> {
    fn default() -> CompactVec<T> {
        CompactVec(Vec::new())
    }
}

impl<T> From<Vec<T>> for CompactVec<T> {
    fn from(items: Vec<T>) -> CompactVec<T> {
        CompactVec(items)
    }
}

impl<T> Deref for CompactVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for CompactVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
