//! Weights that are uploaded while the commands before them run.
//!
//! A network that there is no room for is computed block by block. While a GPU computes a block, the weights of the next one are
//! read, checked and copied to staging memory; two blocks are in memory then. Nobody waits for a block before the next one but one
//! is read:
//!
//! | host | GPU |
//! |---|---|
//! | submits block 1 | computes block 1 |
//! | waits for block 0, whose memory is free then | |
//! | reads block 2, writes it to staging memory | |
//! | records block 2 | |
//! | submits block 2 | copies block 2 from staging memory, computes it |
//! | waits for block 1, … | |

use super::{Gpu, GpuError};

/// Bytes of a block's weights that may wait in staging memory. Of a larger block, the first ones are waited for, and for the block
/// before it with them.
pub(super) const STREAMED: u64 = 1 << 30;

/// How the blocks of networks were uploaded whose weights are dropped after each evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamUse {
    /// Blocks that were uploaded.
    pub blocks: u64,
    /// Those among them that were ready for the GPU before anything waited for the block before them.
    pub overlapped: u64,
}

/// The part of a GPU's state that is about such weights.
#[derive(Default)]
pub(super) struct WeightStream {
    /// Whether the weights of a block are being uploaded.
    pub(super) is_open: bool,
    /// Bytes of weights that were dropped, and that commands use which may not have been submitted yet.
    pub(super) dropped: u64,
    /// The submission of the block that computes, and the bytes of its weights that were dropped.
    computing: Option<(wgpu::SubmissionIndex, u64)>,
    used: StreamUse,
}

impl WeightStream {
    /// Bytes of dropped weights that are free, as all commands have run.
    pub(super) fn take_dropped(&mut self) -> u64 {
        let computing = self.computing.take().map_or(0, |(_, bytes)| bytes);
        computing + std::mem::take(&mut self.dropped)
    }
}

impl Gpu {
    /// Has the weights of a block uploaded, which are dropped after its commands are recorded. The commands recorded so far, those
    /// of the block before it, run meanwhile; the one before that is waited for, so that its weights leave memory.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn stream_weights<R>(&self, upload: impl FnOnce() -> R) -> Result<R, GpuError> {
        self.check()?;
        let mut state = self.state();
        let submission = self.start(&mut state);
        // Bind groups keep their buffers.
        state.recorder.forget_bindings();
        let dropped = std::mem::take(&mut state.stream.dropped);
        let before = state.stream.computing.replace((submission, dropped));
        drop(state);
        if let Some((submission, dropped)) = before {
            self.poll_until(submission);
            self.state().pool.usage.now -= dropped;
        }
        self.check()?;
        let waits = self.waits();
        self.state().stream.is_open = true;
        self.ring().begin_block();
        let uploaded = upload();
        self.ring().end_block();
        let mut state = self.state();
        state.stream.is_open = false;
        state.stream.used.blocks += 1;
        state.stream.used.overlapped += u64::from(self.waits() == waits);
        Ok(uploaded)
    }

    /// How blocks were uploaded since the GPU was opened.
    #[must_use]
    pub fn stream_use(&self) -> StreamUse {
        self.state().stream.used
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::gpus;
    use super::super::{Adapter, Array, Gpu, GpuOptions, MemoryUse, adapters};
    use super::StreamUse;
    use crate::DType;
    use crate::dtype::WeightBytes;
    use crate::elementwise::gpu::add_assign;

    /// Values of a block.
    const LEN: usize = 100_000;
    const BYTES: u64 = 4 * LEN as u64;
    const BLOCKS: u64 = 5;

    /// Adds the weights of some blocks, 1, 2, … in each value; the sums, and the memory that was in use during each block.
    fn sums(gpu: &Gpu) -> (Vec<f32>, Vec<MemoryUse>) {
        let mut sum = Array::upload(gpu, DType::F32, &[0.0; LEN]).unwrap();
        let mut used = Vec::new();
        for block in 1..=BLOCKS {
            let values = [block as f32; LEN];
            let weight = WeightBytes::new(DType::F32, bytemuck::cast_slice(&values));
            let weight = gpu.stream_weights(|| Array::weight(gpu, weight)).unwrap().unwrap();
            used.push(gpu.memory());
            add_assign(&mut sum, &weight).unwrap();
        }
        (sum.read().unwrap(), used)
    }

    #[test]
    fn a_block_is_uploaded_before_the_one_before_it_is_waited_for() {
        for (name, gpu) in gpus() {
            let (sums, used) = sums(&gpu);
            assert!(sums.iter().all(|sum| *sum == 15.0), "{name}: {}", sums[0]);
            assert_eq!(gpu.stream_use(), StreamUse { blocks: BLOCKS, overlapped: BLOCKS }, "{name}");
            // From the second block on there are two, and never three.
            assert_eq!(used[1].now - used[0].now, BYTES, "{name}: {used:?}");
            assert!(used[1..].iter().all(|later| later.now == used[1].now), "{name}: {used:?}");
            // What was read has waited for all of them.
            assert!(gpu.memory().now < used[0].now, "{name}");
        }
    }

    /// Where there is no room for two blocks, one is waited for before the next is uploaded.
    #[test]
    fn one_block_at_a_time_fits_where_two_do_not() {
        let Some(adapter) = adapters().into_iter().max_by_key(Adapter::rank) else { return };
        // The sum's array, which the pool rounds up, and one block and a half.
        let options = GpuOptions { memory_limit: Some(BYTES * 11 / 4), ..GpuOptions::default() };
        let gpu = Gpu::open(&adapter, &options).unwrap();
        let (sums, used) = sums(&gpu);
        assert!(sums.iter().all(|sum| *sum == 15.0), "{}", sums[0]);
        assert_eq!(gpu.stream_use(), StreamUse { blocks: BLOCKS, overlapped: 1 });
        assert!(used.iter().all(|used| used.peak <= BYTES * 11 / 4), "{used:?}");
    }
}
