//! Commands that wait for submission.

use super::array::Binding;
use super::profile::Profiler;
use super::shader::{BindingAccess, Shader, ShaderVariant};
use super::wait::block_on;
use super::{Gpu, GpuError, template};
use std::collections::HashMap;

/// Parameters of a command begin at multiples of this, the largest alignment that an adapter may require, and take at
/// most as many bytes.
const SLOT: u64 = 256;

/// Commands whose parameters share a buffer.
const SLOTS: usize = 1024;

/// Floating-point operations after which the commands are submitted without a request. With the last command that is a second
/// and a half on a small GPU of 0.2 TFLOP/s, and drivers reset a GPU that takes longer than two; a fast GPU starts while the
/// rest is still recorded.
const FLOPS: u64 = 200_000_000_000;

/// A command: one run of a shader.
pub(crate) struct Dispatch<'a, P> {
    pub(crate) shader: &'static Shader,
    pub(crate) variant: ShaderVariant,
    /// As [`Shader::bindings`] has them.
    pub(crate) arrays: &'a [Binding],
    pub(crate) params: P,
    /// Workgroups.
    pub(crate) groups: [u32; 3],
    /// Operations of the direct algorithm, for measurements.
    pub(crate) flops: u64,
}

/// A compiled variant of a shader.
struct ComputePipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Identifies a bind group: its shader, its parameters' buffer, and the buffer, the offset and the size
/// of each array.
type BindKey = (&'static str, usize, Vec<(u64, u64, u64)>);

pub(super) struct Recorder {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    pipelines: HashMap<(&'static str, ShaderVariant), ComputePipeline>,
    bindings: HashMap<BindKey, wgpu::BindGroup>,
    /// Buffers of parameters, of [`SLOTS`] slots each, and their contents for the next submission.
    params: Vec<wgpu::Buffer>,
    staged: Vec<u8>,
    flops: u64,
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder {
            encoder: None,
            pass: None,
            pipelines: HashMap::new(),
            bindings: HashMap::new(),
            params: Vec::new(),
            staged: Vec::new(),
            flops: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.encoder.is_none()
    }

    /// Forgets the bind groups, which keep their buffers alive.
    pub(super) fn forget_bindings(&mut self) {
        self.bindings.clear();
    }

    /// The commands so far.
    pub(super) fn finish(&mut self, gpu: &Gpu, profiler: Option<&mut Profiler>) -> wgpu::CommandBuffer {
        self.pass = None;
        for (buffer, bytes) in self.params.iter().zip(self.staged.chunks(SLOTS * SLOT as usize)) {
            gpu.queue().write_buffer(buffer, 0, bytes);
        }
        self.staged.clear();
        self.flops = 0;
        let mut encoder = self.encoder.take().expect("commands to finish");
        if let Some(profiler) = profiler {
            profiler.resolve(&mut encoder);
        }
        encoder.finish()
    }

    /// Keeps the parameters of a command for the next submission. Returns the index of their buffer, and their slot in
    /// it.
    fn stage(&mut self, gpu: &Gpu, params: &[u8]) -> (usize, usize) {
        let slot = self.staged.len() / SLOT as usize;
        let (chunk, slot) = (slot / SLOTS, slot % SLOTS);
        if self.params.len() == chunk {
            self.params.push(gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: SLOTS as u64 * SLOT,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }));
        }
        self.staged.extend_from_slice(params);
        self.staged.resize(self.staged.len().next_multiple_of(SLOT as usize), 0);
        (chunk, slot)
    }

    fn record<P: bytemuck::Pod>(
        &mut self,
        gpu: &Gpu,
        dispatch: &Dispatch<'_, P>,
        profiler: Option<&mut Profiler>,
    ) -> Result<(), GpuError> {
        let Dispatch { shader, variant, arrays, params, groups, flops } = dispatch;
        let name = shader.name;
        assert_eq!(arrays.len(), shader.bindings.len(), "{name}: arrays");
        assert_eq!(size_of::<P>(), shader.params, "{name}: parameters");
        assert!(shader.params as u64 <= SLOT, "{name}: parameters of {} bytes", shader.params);
        let key = (name, variant.clone());
        if !self.pipelines.contains_key(&key) {
            self.pipelines.insert(key.clone(), compile(gpu, shader, variant)?);
        }
        let (chunk, slot) = self.stage(gpu, bytemuck::bytes_of(params));
        let pipeline = &self.pipelines[&key];
        let ids = arrays.iter().map(|a| (a.buffer.id(), a.offset, a.size)).collect();
        let bound = self.bindings.entry((name, chunk, ids));
        let bound = bound.or_insert_with(|| bind(gpu, &pipeline.layout, &self.params[chunk], arrays));

        let encoder = self.encoder.get_or_insert_with(|| {
            gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
        });
        if let Some(profiler) = profiler {
            // A pass for each command, as only passes have times everywhere.
            self.pass = None;
            let bytes = arrays.iter().map(|a| a.size).sum();
            self.pass = Some(profiler.pass(encoder, name, *flops, bytes));
        }
        let pass = self.pass.get_or_insert_with(|| {
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
        });
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &*bound, &[slot as u32 * SLOT as u32]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        self.flops += flops;
        Ok(())
    }
}

impl Gpu {
    /// Records a command.
    pub(crate) fn dispatch<P: bytemuck::Pod>(&self, dispatch: &Dispatch<'_, P>) -> Result<(), GpuError> {
        self.check()?;
        if dispatch.groups.contains(&0) {
            return Ok(());
        }
        #[cfg(test)]
        if super::race_checker::intercept(self, dispatch)? {
            return Ok(());
        }
        let mut state = self.state();
        let state = &mut *state;
        if state.recorder.flops > FLOPS || state.profiler.as_ref().is_some_and(Profiler::is_full) {
            self.flush(state);
        }
        state.recorder.record(self, dispatch, state.profiler.as_mut())
    }
}

/// The grid for `count` workgroups. More than fit in one dimension are arranged in rows of 32768. A shader computes its
/// number as `id.x + 32768 * id.y`, and returns if that is not below `count`.
pub(crate) fn in_rows(count: usize) -> [u32; 3] {
    const ROW: usize = 32768;
    if count <= ROW { [count as u32, 1, 1] } else { [ROW as u32, count.div_ceil(ROW) as u32, 1] }
}

/// Compiles a variant. Its bindings are its parameters, then its arrays.
fn compile(gpu: &Gpu, shader: &Shader, variant: &ShaderVariant) -> Result<ComputePipeline, GpuError> {
    let device = gpu.device();
    let entry = |binding: usize, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, true)];
    for (i, access) in shader.bindings.iter().enumerate() {
        let read_only = *access == BindingAccess::Read;
        entries.push(entry(i + 1, wgpu::BufferBindingType::Storage { read_only }, false));
    }
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let text = template::expand(shader, variant);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(shader.name),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let module = if gpu.is_checked() {
        device.create_shader_module(descriptor)
    } else {
        // SAFETY: the shaders of this crate stay within the arrays that their `gpu.rs` binds, and their loops end.
        // Tests run each of them with the checks too and compare with a reference.
        unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    let constants: Vec<(&str, f64)> =
        variant.overrides.iter().map(|(name, value)| (*name, f64::from(*value))).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(shader.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Shaders write workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        },
        cache: gpu.pipeline_cache(),
    });
    match block_on(scope.pop()) {
        Some(error) => Err(GpuError::Failed { message: format!("{}: {error}", shader.name) }),
        None => Ok(ComputePipeline { pipeline, layout }),
    }
}

fn bind(
    gpu: &Gpu,
    layout: &wgpu::BindGroupLayout,
    params: &wgpu::Buffer,
    arrays: &[Binding],
) -> wgpu::BindGroup {
    let entry = |binding: usize, buffer, offset, size| wgpu::BindGroupEntry {
        binding: binding as u32,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    };
    let mut entries = vec![entry(0, params, 0, SLOT)];
    for (i, array) in arrays.iter().enumerate() {
        entries.push(entry(i + 1, array.buffer.raw(), array.offset, array.size));
    }
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}
