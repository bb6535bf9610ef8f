//! Buffers, and the pool that they return to.
//!
//! A dropped buffer is free at once, even while commands that use it wait: its next owner records later commands, and the
//! queue keeps their order. So buffers are aliased by liveness without a plan.

use super::wait::block_on;
use super::{Gpu, GpuError};
use std::sync::Arc;

/// A free buffer serves a request for at least one `MIN_USE`th of its size.
const MIN_USE: u64 = 2;

/// Sizes are rounded up to an eighth of their power of two, so that similar ones share buffers.
const STEPS: u64 = 8;

/// A buffer of a GPU.
pub(super) struct GpuBuffer {
    gpu: Gpu,
    buffer: wgpu::Buffer,
    id: u64,
    pooled: bool,
    /// Whether its weights are dropped after each evaluation ([`Gpu::stream_weights`]).
    streamed: bool,
}

/// How much of a GPU's memory is allocated. Staging memory is the host's and does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes of all buffers, free ones of the pool included.
    pub now: u64,
    /// The maximum since the GPU was opened.
    pub peak: u64,
}

/// The free buffers, and the account of all buffers.
#[derive(Default)]
pub(super) struct BufferPool {
    free: Vec<(wgpu::Buffer, u64)>,
    next_id: u64,
    pub(super) usage: MemoryUse,
}

impl BufferPool {
    /// The smallest suitable free buffer.
    fn take(&mut self, size: u64) -> Option<(wgpu::Buffer, u64)> {
        let fits = |buffer: &wgpu::Buffer| buffer.size() >= size && buffer.size() <= size * MIN_USE;
        let suitable = self.free.iter().enumerate().filter(|(_, (buffer, _))| fits(buffer));
        let (best, _) = suitable.min_by_key(|(_, (buffer, _))| buffer.size())?;
        Some(self.free.swap_remove(best))
    }

    /// Gives the free buffers back to the driver.
    pub(super) fn trim(&mut self) {
        self.usage.now -= self.free.drain(..).map(|(buffer, _)| buffer.size()).sum::<u64>();
    }
}

/// The size of a pooled buffer for `bytes` bytes.
fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of((bytes.next_power_of_two() / (2 * STEPS)).max(256))
}

impl Gpu {
    /// A buffer that returns to the pool.
    pub(super) fn pooled(&self, bytes: u64) -> Result<Arc<GpuBuffer>, GpuError> {
        self.check()?;
        let size = rounded(bytes);
        let free = self.state().pool.take(size);
        let (buffer, id) = match free {
            Some(found) => found,
            None => self.create(size)?,
        };
        Ok(Arc::new(GpuBuffer { gpu: self.clone(), buffer, id, pooled: true, streamed: false }))
    }

    /// A buffer that does not return to the pool.
    pub(super) fn allocate(&self, bytes: u64) -> Result<Arc<GpuBuffer>, GpuError> {
        self.check()?;
        let (buffer, id) = self.create(bytes)?;
        let streamed = self.state().stream.is_open;
        Ok(Arc::new(GpuBuffer { gpu: self.clone(), buffer, id, pooled: false, streamed }))
    }

    fn create(&self, size: u64) -> Result<(wgpu::Buffer, u64), GpuError> {
        let buffer = match self.try_create(size) {
            // The free buffers may be just what is missing; commands that wait may still use them.
            Err(GpuError::OutOfMemory { .. }) => {
                self.trim()?;
                self.try_create(size)?
            }
            other => other?,
        };
        let mut state = self.state();
        let pool = &mut state.pool;
        pool.next_id += 1;
        pool.usage.now += size;
        pool.usage.peak = pool.usage.peak.max(pool.usage.now);
        Ok((buffer, pool.next_id))
    }

    fn try_create(&self, size: u64) -> Result<wgpu::Buffer, GpuError> {
        let used = self.memory().now;
        let full = GpuError::OutOfMemory { bytes: Some(size), used: Some(used) };
        let is_over = self.memory_limit().is_some_and(|limit| used + size > limit);
        if is_over || size > self.device().limits().max_buffer_size {
            return Err(full);
        }
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        match block_on(scope.pop()) {
            Some(_) => Err(full),
            None => Ok(buffer),
        }
    }
}

impl GpuBuffer {
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// A number that identifies the buffer: no other of the GPU ever has it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        let mut state = self.gpu.state();
        if self.pooled {
            state.pool.free.push((self.buffer.clone(), self.id));
        } else if self.streamed {
            // Its commands run while the next block is uploaded: it is in memory until they are done.
            state.stream.dropped += self.buffer.size();
        } else {
            state.pool.usage.now -= self.buffer.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_by_an_eighth_at_most() {
        for bytes in [1, 16, 256, 257, 4096, 5000, 1 << 20, (1 << 20) + 1, 3_000_000_000] {
            let size = rounded(bytes);
            assert!(size >= bytes && size.is_multiple_of(256), "{bytes} {size}");
            assert!(size <= bytes + (bytes / STEPS).max(256), "{bytes} {size}");
        }
    }
}
