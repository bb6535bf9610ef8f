//! Reading of arrays, at once or later.

use super::memory::GpuBuffer;
use super::wait;
use super::{Gpu, GpuError};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A buffer that is about to be mapped.
struct Mapping {
    staging: wgpu::Buffer,
    answer: Arc<OnceLock<Result<(), wgpu::BufferAsyncError>>>,
}

impl Mapping {
    fn begin(staging: wgpu::Buffer) -> Mapping {
        let answer = Arc::new(OnceLock::new());
        let given = Arc::clone(&answer);
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = given.set(result);
        });
        Mapping { staging, answer }
    }

    /// The contents; the GPU was waited for.
    fn contents(&self, gpu: &Gpu) -> Result<Vec<u8>, GpuError> {
        gpu.check()?;
        let lost = |reason: String| GpuError::Lost { reason };
        match self.answer.get() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(lost(error.to_string())),
            None => return Err(lost("it does not answer".to_owned())),
        }
        let view = self.staging.get_mapped_range(..).map_err(|error| lost(error.to_string()))?;
        Ok(view.to_vec())
    }
}

/// What an array holds after the commands that were recorded when the read began.
pub(crate) struct PendingRead {
    gpu: Gpu,
    mapping: Mapping,
    submission: wgpu::SubmissionIndex,
}

impl PendingRead {
    /// The bytes. Waits for the commands recorded before the read, and not for those that followed.
    ///
    /// # Errors
    /// A lost GPU, a command that it refused.
    pub(crate) fn finish(self) -> Result<Vec<u8>, GpuError> {
        self.gpu.poll_read(self.submission, &self.mapping.answer);
        self.mapping.contents(&self.gpu)
    }
}

impl fmt::Debug for PendingRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingRead({} bytes on {})", self.mapping.staging.size(), self.gpu.name())
    }
}

impl Gpu {
    /// Begins to read the first bytes of a buffer, after all recorded commands, which start.
    pub(super) fn begin_read(&self, buffer: &GpuBuffer, bytes: u64) -> Result<PendingRead, GpuError> {
        self.submit()?;
        let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer.raw(), 0, &staging, 0, bytes);
        let submission = self.queue().submit([encoder.finish()]);
        Ok(PendingRead { gpu: self.clone(), mapping: Mapping::begin(staging), submission })
    }

    /// The first bytes of a buffer, after all recorded commands.
    pub(super) fn read(&self, buffer: &GpuBuffer, bytes: u64) -> Result<Vec<u8>, GpuError> {
        let PendingRead { mapping, .. } = self.begin_read(buffer, bytes)?;
        let values = self.wait_for(&mapping);
        self.state().free_dropped();
        values
    }

    /// The contents of a buffer that can be mapped.
    pub(super) fn map(&self, staging: wgpu::Buffer) -> Result<Vec<u8>, GpuError> {
        self.wait_for(&Mapping::begin(staging))
    }

    fn wait_for(&self, mapping: &Mapping) -> Result<Vec<u8>, GpuError> {
        self.poll();
        wait::for_answer(&mapping.answer);
        mapping.contents(self)
    }
}
