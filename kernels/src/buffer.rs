//! Memory on cache-line boundaries.

use bytemuck::{Pod, Zeroable};
use std::collections::TryReserveError;

/// A cache line: the unit that buffers are made of.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: zero bytes are a valid array of bytes.
unsafe impl Zeroable for Line {}
// SAFETY: an array of bytes with the size of its alignment: no padding, every bit pattern valid.
unsafe impl Pod for Line {}

/// A block of memory that starts on a cache line, viewed as values of any plain type.
pub struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// At least `bytes` bytes of zeros.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn zeroed(bytes: usize) -> Result<Buffer, TryReserveError> {
        let count = bytes.div_ceil(size_of::<Line>());
        let mut lines = Vec::new();
        lines.try_reserve_exact(count)?;
        lines.resize(count, Line::zeroed());
        Ok(Buffer { lines })
    }

    /// Bytes that it has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// The first `len` values.
    ///
    /// # Panics
    /// If there is no room for them.
    #[must_use]
    pub fn view<T: Pod>(&self, len: usize) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..len]
    }

    /// The first `len` values, to write.
    ///
    /// # Panics
    /// If there is no room for them.
    #[must_use]
    pub fn view_mut<T: Pod>(&mut self, len: usize) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_and_is_zero() {
        for bytes in [0, 1, 64, 65, 1000] {
            let mut buffer = Buffer::zeroed(bytes).unwrap();
            assert!(buffer.capacity() >= bytes && buffer.capacity() < bytes + 64);
            assert!(buffer.view::<u8>(bytes).iter().all(|b| *b == 0));
            assert_eq!(buffer.view::<f32>(bytes / 4).as_ptr() as usize % 64, 0);
            buffer.view_mut::<u8>(bytes).fill(7);
            assert!(buffer.view::<u8>(bytes).iter().all(|b| *b == 7));
        }
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(Buffer::zeroed(usize::MAX / 2).is_err());
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_view_beyond_the_end_is_refused() {
        let _ = Buffer::zeroed(64).unwrap().view::<f32>(17);
    }
}
