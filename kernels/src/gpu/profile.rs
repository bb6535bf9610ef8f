//! How long each kernel takes on the GPU, by its own clock.

use super::{Gpu, GpuError};

/// Maximum number of timed commands in a submission: a query set holds two queries for each.
const COMMANDS: u32 = 2048;

/// The time of one run of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelTime {
    /// The shader's name.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
    /// Floating-point operations of the direct algorithm.
    pub flops: u64,
    /// Bytes of the arrays that are bound: each is moved at least once.
    pub bytes: u64,
}

/// Records times while it lives in a GPU's state.
pub(super) struct Profiler {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    /// The commands since the last submission, without times.
    pending: Vec<KernelTime>,
    done: Vec<KernelTime>,
}

impl Profiler {
    /// Maximum number of timed commands in a submission.
    pub(super) const COMMANDS: usize = COMMANDS as usize;

    fn new(device: &wgpu::Device) -> Profiler {
        let buffer = |usage| {
            let size = u64::from(2 * COMMANDS) * 8;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Profiler {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2 * COMMANDS,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            pending: Vec::new(),
            done: Vec::new(),
        }
    }

    /// A timed pass.
    pub(super) fn pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        name: &'static str,
        flops: u64,
        bytes: u64,
    ) -> wgpu::ComputePass<'static> {
        let first = 2 * self.pending.len() as u32;
        self.pending.push(KernelTime { name, seconds: 0.0, flops, bytes });
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        });
        let descriptor = wgpu::ComputePassDescriptor { label: Some(name), timestamp_writes };
        encoder.begin_compute_pass(&descriptor).forget_lifetime()
    }

    /// Records a command that writes the times to memory.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.pending.len() as u32;
        if count > 0 {
            encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, u64::from(count) * 8);
        }
    }

    /// Waits for the times.
    pub(super) fn collect(&mut self, gpu: &Gpu) {
        // The next call that can fail reports the error.
        if let Ok(bytes) = gpu.map(self.readable.clone()) {
            let tick = f64::from(gpu.queue().get_timestamp_period()) * 1e-9;
            let at = |i: usize| u64::from_le_bytes(std::array::from_fn(|b| bytes[8 * i + b]));
            for (i, mut time) in self.pending.drain(..).enumerate() {
                time.seconds = at(2 * i + 1).saturating_sub(at(2 * i)) as f64 * tick;
                self.done.push(time);
            }
        }
        self.pending.clear();
        self.readable.unmap();
    }
}

impl Gpu {
    /// Runs `f` and measures every kernel that it records.
    ///
    /// # Errors
    /// An adapter without timestamps, a lost GPU.
    pub fn profile<R>(&self, f: impl FnOnce() -> R) -> Result<(R, Vec<KernelTime>), GpuError> {
        if !self.has(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(GpuError::Failed { message: "this adapter has no timestamps".into() });
        }
        self.wait()?;
        self.state().profiler = Some(Profiler::new(self.device()));
        let result = f();
        let waited = self.wait();
        let profiler = self.state().profiler.take();
        waited?;
        Ok((result, profiler.map(|profiler| profiler.done).unwrap_or_default()))
    }
}
