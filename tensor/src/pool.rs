//! Memory that tensors share: a tensor that is dropped leaves its buffer for the next.

use crate::TensorError;
use latent_kernels::buffer::Buffer;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// A larger free buffer serves a request if it is at most this many times as large; beyond that, memory would be held
/// for small tensors while large ones allocate anew.
const MOST_WASTE: usize = 2;

/// Buffers that are free, and the account of those in use.
pub struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Free buffers by capacity in bytes.
    free: BTreeMap<usize, Vec<Buffer>>,
    used: PoolUse,
}

/// How much memory a pool holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// In tensors that live.
    pub in_use: usize,
    /// In free buffers.
    pub free: usize,
    /// Most of both together since the start.
    pub peak: usize,
}

static GLOBAL: Pool = Pool::new();

impl Pool {
    /// The pool that all tensors of the process use.
    #[must_use]
    pub fn global() -> &'static Pool {
        &GLOBAL
    }

    const fn new() -> Pool {
        Pool {
            state: Mutex::new(State { free: BTreeMap::new(), used: PoolUse { in_use: 0, free: 0, peak: 0 } }),
        }
    }

    /// The state is plain numbers and free memory: a panic elsewhere cannot leave it broken.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A buffer for `bytes` bytes. Its contents are whatever was there before.
    pub(crate) fn take(&self, bytes: usize) -> Result<Buffer, TensorError> {
        let found = {
            let state = &mut *self.lock();
            let fits =
                state.free.range_mut(bytes..=bytes.saturating_mul(MOST_WASTE).saturating_add(64)).next();
            let found = fits.and_then(|(_, buffers)| buffers.pop());
            if let Some(buffer) = &found {
                state.free.retain(|_, buffers| !buffers.is_empty());
                state.used.free -= buffer.capacity();
                state.used.in_use += buffer.capacity();
            }
            found
        };
        if let Some(buffer) = found {
            return Ok(buffer);
        }
        let buffer = Buffer::zeroed(bytes).map_err(|_| TensorError::OutOfMemory { bytes })?;
        let used = &mut self.lock().used;
        used.in_use += buffer.capacity();
        used.peak = used.peak.max(used.in_use + used.free);
        Ok(buffer)
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Buffer) {
        let state = &mut *self.lock();
        state.used.in_use -= buffer.capacity();
        state.used.free += buffer.capacity();
        state.free.entry(buffer.capacity()).or_default().push(buffer);
    }

    /// Returns the free buffers to the system: at the end of a stage whose sizes the next does not use.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.free.clear();
        state.used.free = 0;
        drop(state);
        latent_kernels::memory::release_freed();
    }

    /// How much memory the pool holds.
    #[must_use]
    pub fn used(&self) -> PoolUse {
        self.lock().used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_counted() {
        let pool = Pool::new();
        let a = pool.take(1000).unwrap();
        assert_eq!(pool.used(), PoolUse { in_use: 1024, free: 0, peak: 1024 });
        let address = a.view::<u8>(0).as_ptr();
        pool.give(a);
        assert_eq!(pool.used(), PoolUse { in_use: 0, free: 1024, peak: 1024 });
        let b = pool.take(700).unwrap();
        assert_eq!(b.view::<u8>(0).as_ptr(), address, "a little larger serves");
        let c = pool.take(100).unwrap();
        pool.give(b);
        let d = pool.take(100).unwrap();
        assert_ne!(d.view::<u8>(0).as_ptr(), address, "much larger does not");
        pool.give(c);
        pool.give(d);
        pool.trim();
        assert_eq!(pool.used(), PoolUse { in_use: 0, free: 0, peak: 1280 });
    }
}
