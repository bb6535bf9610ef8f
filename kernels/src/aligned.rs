//! Buffers that begin with a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Values from the start of a cache line on, so that no vector of a panel lies in two lines: on Intel's CPUs a load of both takes as
/// long as two.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer<T> {
    values: Vec<T>,
    len: usize,
}

impl<T: Copy + Default> AlignedBuffer<T> {
    /// An empty one.
    pub(crate) const fn new() -> AlignedBuffer<T> {
        AlignedBuffer { values: Vec::new(), len: 0 }
    }

    /// `len` values, zero.
    pub(crate) fn zeros(len: usize) -> AlignedBuffer<T> {
        let mut buffer = AlignedBuffer::new();
        buffer.grow(len);
        buffer
    }

    /// Makes room for at least `len` values. Those that are there have no meaning afterwards.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len < len {
            self.values.resize(len + LINE / size_of::<T>(), T::default());
            self.len = len;
        }
    }
}

impl<T> AlignedBuffer<T> {
    fn start(&self) -> usize {
        self.values.as_ptr().align_offset(LINE).min(self.values.len() - self.len)
    }
}

impl<T> Deref for AlignedBuffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start()..][..self.len]
    }
}

impl<T> DerefMut for AlignedBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let start = self.start();
        &mut self.values[start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_with_a_cache_line() {
        let mut buffer = AlignedBuffer::<f32>::new();
        for len in [1, 15, 16, 17, 1000, 100_000] {
            buffer.grow(len);
            assert!(buffer.len() == len && (buffer.as_ptr() as usize).is_multiple_of(LINE));
            assert!((AlignedBuffer::<u8>::zeros(len).as_ptr() as usize).is_multiple_of(LINE));
        }
    }
}
