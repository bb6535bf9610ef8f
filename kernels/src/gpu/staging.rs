//! Weights on their way to a GPU: a few buffers that the host writes and the GPU reads, used again in turn.
//!
//! A weight is written to mapped memory by all threads, at once in the order in which shaders read it, and the GPU copies it from there.
//! Several weights share a buffer, and their copies a submission. A weight that is larger goes piece by piece, so that the GPU copies one
//! while the host writes the next:
//!
//! | buffer | |
//! |---|---|
//! | open | mapped; threads write it |
//! | in flight | unmapped; the GPU copies from it, and it is to be mapped again after that |
//! | free | mapped again, and empty |
//!
//! The host waits only where as many buffers as there may be are in flight.
//!
//! Only buffers that no recorded command uses are written so: the copies run before all commands that are submitted after them, recorded
//! before or not.

#[cfg(test)]
mod tests;

use super::memory::GpuBuffer;
use super::streaming::STREAMED;
use super::wait::{self, block_on};
use super::{Gpu, GpuError};
use crate::parallel;
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};

/// Bytes of a buffer. Over PCIe 4.0 x16 the GPU copies it in two thirds of a millisecond, many times what a submission costs; and the
/// panels of a weight, in `f16` at most 3 MB each in common models, leave little of it unused.
const SIZE: usize = 16 << 20;

/// How many buffers there may be: one is written, one is copied, and two are between, for a thread or a copy that is late.
const BUFFERS: usize = 4;

/// Bytes of the least weight for which a buffer is opened. Smaller ones, mostly vectors, use one that is open.
const MIN_OPENING: usize = 64 << 10;

/// Weights begin at multiples of this: those of copies (4), of mapped ranges (8), and whole lines of caches.
const ALIGNMENT: usize = 256;

/// Bytes that a thread copies at once.
const PIECE: usize = 256 << 10;

/// A part of mapped memory. It can only be written, and is from front to back: a processor may combine the writes, and not cache them.
pub(crate) struct StagingSlice<'a>(wgpu::WriteOnly<'a, [u8]>);

// SAFETY: as `&mut [u8]`, which it is but for reading. wgpu 30 says so of sized types alone.
unsafe impl Send for StagingSlice<'_> {}

impl<'a> StagingSlice<'a> {
    fn new(bytes: &'a mut [u8]) -> StagingSlice<'a> {
        StagingSlice(wgpu::WriteOnly::from_mut(bytes))
    }

    /// Cuts off the first `bytes` bytes, if there are as many.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<StagingSlice<'a>> {
        self.0.split_off(..bytes).map(StagingSlice)
    }

    /// Writes the first bytes and cuts them off.
    ///
    /// # Panics
    /// If there are fewer.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.take(bytes.len()).expect("room for all bytes").0.copy_from_slice(bytes);
    }

    /// Writes zeros to all of it.
    pub(crate) fn clear(mut self) {
        self.0.fill(0);
    }
}

/// Writes a part of a weight, from the given byte on.
pub(crate) type FillStaging<'a> = &'a (dyn Fn(usize, StagingSlice<'_>) + Sync);

/// How weights were uploaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StagingUse {
    /// Bytes that the host wrote and the GPU copied.
    pub bytes: u64,
    /// Submissions with copies.
    pub submissions: u64,
    /// How often the host waited for a copy, as all buffers were in flight.
    pub waits: u64,
    /// The maximum number of buffers.
    pub buffers: usize,
}

/// The buffers of a GPU.
pub(super) struct StagingRing {
    size: usize,
    /// How many there may be, and how many while the weights of a block are uploaded.
    buffers: usize,
    block_buffers: usize,
    open: Option<OpenBuffer>,
    /// The oldest first.
    in_flight: VecDeque<InFlight>,
    free: Vec<wgpu::Buffer>,
    /// The number of submissions before the block whose weights are uploaded, if they are of one ([`Gpu::stream_weights`]).
    block: Option<u64>,
    used: StagingUse,
}

struct OpenBuffer {
    buffer: wgpu::Buffer,
    used: usize,
    copies: Vec<StagedCopy>,
}

struct StagedCopy {
    from: usize,
    bytes: usize,
    to: wgpu::Buffer,
    offset: usize,
}

struct InFlight {
    buffer: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    /// The number of the submission.
    number: u64,
    mapped: Arc<OnceLock<Result<(), wgpu::BufferAsyncError>>>,
}

impl Default for StagingRing {
    fn default() -> StagingRing {
        StagingRing::new(SIZE, BUFFERS)
    }
}

impl StagingRing {
    fn new(size: usize, buffers: usize) -> StagingRing {
        StagingRing {
            size,
            buffers,
            block_buffers: buffers.max(STREAMED as usize / size),
            open: None,
            in_flight: VecDeque::new(),
            free: Vec::new(),
            block: None,
            used: StagingUse::default(),
        }
    }

    /// The weights from here on are those of a block. They may take as many buffers as the block is large, because the GPU copies none
    /// before it has computed the block before.
    pub(super) fn begin_block(&mut self) {
        self.block = Some(self.used.submissions);
    }

    pub(super) fn end_block(&mut self) {
        self.block = None;
    }

    fn most(&self) -> usize {
        if self.block.is_some() { self.block_buffers } else { self.buffers }
    }

    /// Bytes that are left in the open buffer.
    fn room(&self) -> usize {
        self.open.as_ref().map_or(0, |open| self.size.saturating_sub(open.used))
    }

    /// Whether the queue should write a weight of `bytes` bytes: it is too small to open a buffer for it, and the open one has no room.
    /// In a browser it writes all, because there mapped memory is a copy, which is copied once more.
    fn leaves(&self, bytes: usize) -> bool {
        cfg!(target_family = "wasm") || (bytes < MIN_OPENING.min(self.size) && self.room() < bytes)
    }

    pub(super) fn has_copies(&self) -> bool {
        self.open.is_some()
    }

    /// Ends the writing of the open buffer, if there is one. Returns the commands that copy from it, to be submitted, and then
    /// [`sent`](StagingRing::sent).
    pub(super) fn close(&mut self, gpu: &Gpu) -> Option<(wgpu::CommandBuffer, wgpu::Buffer)> {
        let OpenBuffer { buffer, copies, .. } = self.open.take()?;
        buffer.unmap();
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for StagedCopy { from, bytes, to, offset } in copies {
            encoder.copy_buffer_to_buffer(&buffer, from as u64, &to, offset as u64, bytes as u64);
        }
        Some((encoder.finish(), buffer))
    }

    /// Has a closed buffer mapped again once the GPU has copied from it.
    pub(super) fn sent(&mut self, buffer: wgpu::Buffer, submission: wgpu::SubmissionIndex) {
        let mapped = Arc::new(OnceLock::new());
        let answer = Arc::clone(&mapped);
        buffer.map_async(wgpu::MapMode::Write, .., move |result| {
            let _ = answer.set(result);
        });
        let number = self.used.submissions;
        self.used.submissions += 1;
        self.in_flight.push_back(InFlight { buffer, submission, number, mapped });
    }

    /// Opens a buffer with room for `bytes`, if the open one has less. Returns the room.
    fn open(&mut self, gpu: &Gpu, bytes: usize) -> Result<usize, GpuError> {
        if self.room() < bytes {
            if let Some((commands, buffer)) = self.close(gpu) {
                let submission = gpu.queue().submit([commands]);
                self.sent(buffer, submission);
            }
            self.collect(gpu)?;
            let buffer = self.take(gpu)?;
            self.open = Some(OpenBuffer { buffer, used: 0, copies: Vec::new() });
        }
        Ok(self.room())
    }

    /// Finds the buffers that the GPU has read by now.
    fn collect(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        if self.free.is_empty() {
            // Callbacks are called in here. A lost GPU is found later.
            let _ = gpu.device().poll(wgpu::PollType::Poll);
        }
        while self.in_flight.front().is_some_and(|oldest| oldest.mapped.get().is_some()) {
            self.free.extend(self.in_flight.pop_front().map(InFlight::mapped_again).transpose()?);
        }
        // Those that a large block has left.
        let spare = (self.in_flight.len() + self.free.len()).saturating_sub(self.most());
        self.free.truncate(self.free.len().saturating_sub(spare).max(1));
        Ok(())
    }

    /// A mapped buffer: a free one, a new one, or the one that will be free next.
    fn take(&mut self, gpu: &Gpu) -> Result<wgpu::Buffer, GpuError> {
        if let Some(free) = self.free.pop() {
            return Ok(free);
        }
        if self.in_flight.len() < self.most() {
            match self.create(gpu) {
                Err(GpuError::OutOfMemory { .. }) if !self.in_flight.is_empty() => {}
                created => return created,
            }
        }
        let oldest = self.in_flight.pop_front().expect("at least one buffer may be there");
        self.used.waits += 1;
        // A copy for this very block waits for the block before it. Older ones are about to end, if they have not.
        if self.block.is_some_and(|first| oldest.number >= first) {
            gpu.count_wait();
        }
        gpu.poll_until(oldest.submission.clone());
        wait::for_answer(&oldest.mapped);
        gpu.check()?;
        oldest.mapped_again()
    }

    fn create(&mut self, gpu: &Gpu) -> Result<wgpu::Buffer, GpuError> {
        let size = self.size as u64;
        let scope = gpu.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        if block_on(scope.pop()).is_some() {
            return Err(GpuError::OutOfMemory { bytes: Some(size), used: None });
        }
        self.used.buffers = self.used.buffers.max(self.in_flight.len() + 1);
        Ok(buffer)
    }

    /// Gives the buffers back to the driver that nothing reads.
    pub(super) fn trim(&mut self) {
        self.free.clear();
        self.in_flight.retain(|one| one.mapped.get().is_none());
    }
}

impl InFlight {
    fn mapped_again(self) -> Result<wgpu::Buffer, GpuError> {
        match self.mapped.get() {
            Some(Ok(())) => Ok(self.buffer),
            Some(Err(error)) => Err(GpuError::Lost { reason: error.to_string() }),
            None => Err(GpuError::Lost { reason: "it does not answer".to_owned() }),
        }
    }
}

impl Gpu {
    /// How weights were uploaded since the GPU was opened.
    #[must_use]
    pub fn staging_use(&self) -> StagingUse {
        self.ring().used
    }

    /// Buffers of another size and number, so that a test need not upload gigabytes.
    #[cfg(test)]
    pub(crate) fn stage_in(&self, size: usize, buffers: usize) {
        *self.ring() = StagingRing::new(size, buffers);
    }

    /// Fills the first `bytes` bytes of a buffer that no command uses, rounded up to whole words. `fill` is called with parts that are
    /// whole multiples of `unit` bytes, but for the last. It must neither upload nor record anything.
    pub(super) fn upload(
        &self,
        buffer: &GpuBuffer,
        bytes: usize,
        unit: usize,
        fill: FillStaging<'_>,
    ) -> Result<(), GpuError> {
        self.check()?;
        let bytes = bytes.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT as usize);
        if self.ring().leaves(bytes) {
            let mut whole = vec![0; bytes];
            fill(0, StagingSlice::new(&mut whole));
            return self.write(buffer, &whole);
        }
        if unit <= self.ring().size {
            return self.upload_from(buffer, 0, bytes, unit, fill);
        }
        for first in (0..bytes).step_by(unit) {
            // No buffer holds a unit.
            let mut whole = vec![0; unit.min(bytes - first)];
            fill(first, StagingSlice::new(&mut whole));
            self.upload_from(buffer, first, whole.len(), ALIGNMENT, &|from, to| copy(&whole[from..], to))?;
        }
        Ok(())
    }

    /// As [`Gpu::upload`], to `offset` in the buffer, in units that fit into a buffer of the ring.
    fn upload_from(
        &self,
        buffer: &GpuBuffer,
        offset: usize,
        bytes: usize,
        unit: usize,
        fill: FillStaging<'_>,
    ) -> Result<(), GpuError> {
        let mut done = 0;
        while done < bytes {
            let left = bytes - done;
            let part = self.upload_part(buffer, offset + done, left, unit, &|to| fill(done, to));
            done += match part {
                // The pool's free buffers may be just what is missing.
                Err(GpuError::OutOfMemory { .. }) => {
                    self.trim()?;
                    self.upload_part(buffer, offset + done, left, unit, &|to| fill(done, to))?
                }
                part => part?,
            };
        }
        self.check()
    }

    /// Fills what fits into one buffer of the ring. Returns the number of bytes.
    fn upload_part(
        &self,
        buffer: &GpuBuffer,
        offset: usize,
        left: usize,
        unit: usize,
        fill: &dyn Fn(StagingSlice<'_>),
    ) -> Result<usize, GpuError> {
        let mut ring = self.ring();
        let room = ring.open(self, unit.min(left))?;
        let bytes = if left <= room { left } else { room / unit * unit };
        let open = ring.open.as_mut().expect("it was opened");
        let from = open.used;
        let mapped = open.buffer.slice(from as u64..(from + bytes) as u64).get_mapped_range_mut();
        let mut mapped = mapped.map_err(|error| GpuError::Lost { reason: error.to_string() })?;
        fill(StagingSlice(mapped.slice(..)));
        drop(mapped);
        open.used += bytes.next_multiple_of(ALIGNMENT);
        open.copies.push(StagedCopy { from, bytes, to: buffer.raw().clone(), offset });
        ring.used.bytes += bytes as u64;
        Ok(bytes)
    }

    /// As [`Gpu::upload`], of bytes as they are.
    pub(super) fn upload_bytes(&self, buffer: &GpuBuffer, bytes: &[u8]) -> Result<(), GpuError> {
        if self.ring().leaves(bytes.len()) {
            return self.write(buffer, bytes);
        }
        self.upload(buffer, bytes.len(), ALIGNMENT, &|from, to| copy(&bytes[from..], to))
    }

    /// The buffers for uploads. Whoever holds them must not ask for the state.
    pub(super) fn ring(&self) -> MutexGuard<'_, StagingRing> {
        self.staging().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies on all threads. Where there are too few bytes, by less than a word, zeros follow.
fn copy(bytes: &[u8], mut to: StagingSlice<'_>) {
    let real = &bytes[..bytes.len().min(to.0.len())];
    let pieces = real.chunks(PIECE).map_while(|from| Some((from, to.take(from.len())?))).collect();
    parallel::each(pieces, |(from, mut to): (&[u8], StagingSlice<'_>)| to.write(from));
    to.clear();
}
