//! An opened GPU.

use super::cache::PipelineCache;
use super::memory::{BufferPool, GpuBuffer, MemoryUse};
use super::options::{FeatureLevel, GpuOptions};
use super::pipeline_list::PipelineLists;
use super::profile::Profiler;
use super::recorder::Recorder;
use super::staging::StagingRing;
use super::streaming::{STREAMED, WeightStream};
use super::wait::{self, block_on};
use super::{Adapter, GpuError};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes that may wait in the staging memory of the queue.
const STAGED: u64 = 64 << 20;

/// The binding limit of [`FeatureLevel::Minimal`]. No adapter has less than 128 MiB; this is small enough that arrays are
/// split.
const MINIMAL_BINDING: u64 = 8 << 20;

/// Maximum bytes of a binding: shaders count bytes and values in 32 bits. Metal binds whole buffers, which may be larger.
const MAX_BINDING: u64 = (1 << 32) - 256;

/// An opened GPU. A clone is the same GPU.
///
/// Kernels record commands, which run in their order when an array is read or [`Gpu::submit`] is called. Every call may
/// report an error of an earlier command. After [`GpuError::Lost`] or [`GpuError::Failed`] all further calls fail: open
/// it anew.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    name: String,
    features: wgpu::Features,
    cooperative_matrix: Option<u32>,
    subgroups: [u32; 2],
    memory_limit: u64,
    binding_limit: u64,
    checked: bool,
    cache: Option<PipelineCache>,
    lists: Option<PipelineLists>,
    /// The first error, if there was one.
    fault: Arc<Mutex<Option<GpuError>>>,
    /// How often all commands were waited for, or those of a block that computes.
    waits: AtomicU64,
    state: Mutex<GpuState>,
    /// Locked after the state, where both are.
    staging: Mutex<StagingRing>,
}

/// The part of a GPU that changes while it is used.
pub(super) struct GpuState {
    pub(super) pool: BufferPool,
    pub(super) recorder: Recorder,
    pub(super) profiler: Option<Profiler>,
    pub(super) stream: WeightStream,
    /// The name of the model whose pipelines were prepared last.
    pub(super) model: Option<String>,
    /// Bytes written since the last submission.
    staged: u64,
}

impl GpuState {
    /// Counts dropped weights no longer, where all commands that use them have run.
    pub(super) fn free_dropped(&mut self) {
        if self.recorder.is_empty() {
            self.pool.usage.now -= self.stream.take_dropped();
        }
    }
}

impl Gpu {
    /// Opens an adapter.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn open(adapter: &Adapter, options: &GpuOptions) -> Result<Gpu, GpuError> {
        let is_minimal = options.features == FeatureLevel::Minimal;
        let cooperative_matrix = adapter.cooperative_matrix().filter(|_| !is_minimal);
        let descriptor = device_descriptor(adapter, is_minimal, cooperative_matrix.is_some());
        let (device, queue) = block_on(adapter.0.request_device(&descriptor))
            .map_err(|error| GpuError::Failed { message: error.to_string() })?;
        let fault = Arc::new(Mutex::new(None));
        report_to(&device, &fault);
        let info = adapter.0.get_info();
        let cache = options.cache.as_ref().and_then(|folder| PipelineCache::open(&device, &info, folder));
        let lists = options.cache.as_ref().map(|folder| PipelineLists::of(&info, is_minimal, folder));
        let max_binding = descriptor.required_limits.max_storage_buffer_binding_size.min(MAX_BINDING);
        let default_binding = if is_minimal { MINIMAL_BINDING } else { max_binding };
        Ok(Gpu(Arc::new(Inner {
            name: adapter.name(),
            features: descriptor.required_features,
            cooperative_matrix,
            subgroups: [info.subgroup_min_size, info.subgroup_max_size],
            memory_limit: options.memory_limit.unwrap_or(u64::MAX),
            binding_limit: options.binding_limit.unwrap_or(default_binding).min(max_binding),
            checked: is_minimal,
            cache,
            lists,
            fault,
            waits: AtomicU64::new(0),
            state: Mutex::new(GpuState {
                pool: BufferPool::default(),
                recorder: Recorder::new(),
                profiler: None,
                stream: WeightStream::default(),
                model: None,
                staged: 0,
            }),
            staging: Mutex::default(),
            device,
            queue,
        })))
    }

    /// The adapter's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether shaders may store and compute with `f16`.
    #[must_use]
    pub fn has_f16(&self) -> bool {
        self.0.features.contains(wgpu::Features::SHADER_F16)
    }

    /// The size of its subgroups, if shaders may use them and all have the same size.
    #[must_use]
    pub fn subgroup_size(&self) -> Option<u32> {
        let [min, max] = self.0.subgroups;
        (self.0.features.contains(wgpu::Features::SUBGROUP) && min == max).then_some(min)
    }

    /// The side of the `f16` matrices that shaders may multiply into `f32`: 16 or 8.
    #[must_use]
    pub fn cooperative_matrix(&self) -> Option<u32> {
        self.0.cooperative_matrix
    }

    /// Bytes of an array that a shader can see at once.
    #[must_use]
    pub fn binding_limit(&self) -> u64 {
        self.0.binding_limit
    }

    /// Bytes of memory that a workgroup can share.
    #[must_use]
    pub fn workgroup_memory(&self) -> u32 {
        self.0.device.limits().max_compute_workgroup_storage_size
    }

    /// Writes the compiled pipelines and the list of what was compiled ([`Gpu::prepare`]) to the folder of [`GpuOptions::cache`].
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub fn save_pipelines(&self) -> Result<(), GpuError> {
        self.save_list()?;
        self.0.cache.as_ref().map_or(Ok(()), PipelineCache::save)
    }

    pub(super) fn pipeline_lists(&self) -> Option<&PipelineLists> {
        self.0.lists.as_ref()
    }

    pub(super) fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.0.cache.as_ref().map(PipelineCache::get)
    }

    /// The memory that is allocated.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.state().pool.usage
    }

    /// Bytes that may be used, where that was limited.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        Some(self.0.memory_limit).filter(|limit| *limit < u64::MAX)
    }

    /// How many rows can be bound at once, if a row of the widest array takes `row_bytes`.
    pub(crate) fn rows_at_once(&self, row_bytes: usize) -> usize {
        let room = self.0.binding_limit.saturating_sub(2 * super::array::ALIGNMENT) as usize;
        (room / row_bytes.max(1)).max(1)
    }

    /// Whether so many bytes of an array can be bound at once, wherever they begin.
    pub(crate) fn binds(&self, bytes: usize) -> bool {
        bytes as u64 + 2 * super::array::ALIGNMENT <= self.0.binding_limit
    }

    /// Starts all recorded commands.
    ///
    /// # Errors
    /// A lost GPU, a command that it refused.
    pub fn submit(&self) -> Result<(), GpuError> {
        let mut state = self.state();
        if !state.recorder.is_empty() || self.ring().has_copies() {
            self.start(&mut state);
        }
        drop(state);
        self.check()
    }

    /// Starts all recorded commands and waits for them.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn wait(&self) -> Result<(), GpuError> {
        self.submit()?;
        self.poll();
        self.state().free_dropped();
        self.check()
    }

    /// Waits for all recorded commands and gives all free memory back to the driver.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn trim(&self) -> Result<(), GpuError> {
        let waited = self.wait();
        let mut state = self.state();
        state.recorder.forget_bindings();
        state.pool.trim();
        drop(state);
        self.ring().trim();
        self.poll();
        waited
    }

    /// Takes the GPU away, as a reset of the driver does, for tests of what happens then.
    #[cfg(any(test, feature = "testing"))]
    pub fn lose(&self) {
        self.0.device.destroy();
        self.poll();
    }

    /// The first error of an earlier command.
    pub(super) fn check(&self) -> Result<(), GpuError> {
        match &*self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn fail(&self, error: GpuError) {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, GpuState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn staging(&self) -> &Mutex<StagingRing> {
        &self.0.staging
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Whether shaders are compiled with checks of each access.
    pub(super) fn is_checked(&self) -> bool {
        self.0.checked
    }

    pub(super) fn has(&self, features: wgpu::Features) -> bool {
        self.0.features.contains(features)
    }

    /// Submits all recorded commands.
    pub(super) fn flush(&self, state: &mut GpuState) {
        if state.recorder.is_empty() {
            return;
        }
        self.start(state);
    }

    /// Submits what was recorded and written, be it nothing: weights first.
    pub(super) fn start(&self, state: &mut GpuState) -> wgpu::SubmissionIndex {
        state.staged = 0;
        let is_empty = state.recorder.is_empty();
        let mut commands = None;
        if !is_empty {
            match state.recorder.finish(self, state.profiler.as_mut()) {
                Ok(finished) => commands = Some(finished),
                Err(error) => self.fail(error),
            }
        }
        let mut ring = self.ring();
        let (copies, staging) = ring.close(self).unzip();
        let submission = self.0.queue.submit(copies.into_iter().chain(commands));
        if let Some(staging) = staging {
            ring.sent(staging, submission.clone());
        }
        drop(ring);
        if let Some(profiler) = state.profiler.as_mut().filter(|_| !is_empty) {
            profiler.collect(self);
        }
        submission
    }

    /// Waits for all submissions.
    pub(super) fn poll(&self) {
        self.count_wait();
        self.keep(wait::for_commands(&self.0.device, &self.0.queue));
    }

    pub(super) fn count_wait(&self) {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// How often all that was submitted was waited for since the GPU was opened, so that it had nothing to do then, or a block whose
    /// successor was being uploaded.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// Waits for a submission and those before it.
    pub(super) fn poll_until(&self, submission: wgpu::SubmissionIndex) {
        self.keep(wait::for_submission(&self.0.device, &self.0.queue, submission));
    }

    /// Waits until a read that was submitted so has its answer.
    pub(super) fn poll_read<T>(&self, submission: wgpu::SubmissionIndex, answer: &OnceLock<T>) {
        self.keep(wait::for_read(&self.0.device, submission, answer));
    }

    /// Keeps the reason of a wait that failed.
    fn keep(&self, waited: Result<(), String>) {
        if let Err(reason) = waited {
            self.fail(GpuError::Lost { reason });
        }
    }

    /// Writes bytes to the start of a buffer, after all recorded commands.
    pub(super) fn write(&self, buffer: &GpuBuffer, bytes: &[u8]) -> Result<(), GpuError> {
        let mut state = self.state();
        // The queue writes before it runs what is submitted later.
        self.flush(&mut state);
        let whole = bytes.len() / 4 * 4;
        let queue = self.queue();
        queue.write_buffer(buffer.raw(), 0, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            queue.write_buffer(buffer.raw(), whole as u64, &last);
        }
        state.staged += bytes.len() as u64;
        let staged = if state.stream.is_open { STREAMED } else { STAGED };
        if state.staged > staged {
            state.staged = 0;
            queue.submit([]);
            drop(state);
            self.poll();
        }
        self.check()
    }
}

/// The features and limits that are asked of a driver.
fn device_descriptor(
    adapter: &Adapter,
    is_minimal: bool,
    has_matrices: bool,
) -> wgpu::DeviceDescriptor<'static> {
    let (has, limits) = (adapter.0.features(), adapter.0.limits());
    let mut features = has & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE);
    let mut required = limits.clone();
    if is_minimal {
        required = wgpu::Limits::downlevel_defaults().using_alignment(limits.clone());
        required.max_buffer_size = limits.max_buffer_size;
        // WebGPU guarantees 8 everywhere; adapters that have fewer belong to backends that are not used here.
        required.max_storage_buffers_per_shader_stage = 8.min(limits.max_storage_buffers_per_shader_stage);
    } else {
        features |= has & (wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP);
    }
    let mut experimental = wgpu::ExperimentalFeatures::disabled();
    if has_matrices {
        features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: the flag acknowledges that wgpu may have defects in experimental features; the shaders that use
        // cooperative matrices are validated by naga and compared with a reference in this crate's tests.
        experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    wgpu::DeviceDescriptor {
        label: None,
        required_features: features,
        required_limits: required,
        experimental_features: experimental,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    }
}

/// Keeps the errors that the driver reports, instead of the panic that is wgpu's default.
fn report_to(device: &wgpu::Device, fault: &Arc<Mutex<Option<GpuError>>>) {
    let keep = |fault: &Mutex<Option<GpuError>>, error| {
        fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let to = Arc::clone(fault);
    device.on_uncaptured_error(Arc::new(move |error| {
        let error = match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { bytes: None, used: None },
            error => GpuError::Failed { message: error.to_string() },
        };
        keep(&to, error);
    }));
    let to = Arc::clone(fault);
    device.set_device_lost_callback(move |_, reason| keep(&to, GpuError::Lost { reason }));
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.name())
    }
}
