//! Commands that wait for submission.

use super::array::Binding;
use super::profile::Profiler;
use super::shader::{BindingAccess, Shader, ShaderVariant};
use super::wait::block_on;
use super::{Gpu, GpuError, template};
use crate::parallel;
use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

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

/// A variant of a shader, compiled when commands with it are submitted.
struct VariantPipeline {
    shader: &'static Shader,
    variant: ShaderVariant,
    pipeline: Option<wgpu::ComputePipeline>,
}

/// A command that waits for submission.
struct RecordedCommand {
    name: &'static str,
    /// The index of its pipeline.
    pipeline: usize,
    bound: wgpu::BindGroup,
    /// Of its parameters.
    offset: u32,
    groups: [u32; 3],
    flops: u64,
    /// Of its arrays.
    bytes: u64,
}

/// How pipelines were compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineUse {
    /// Pipelines that were compiled.
    pub compiled: u64,
    /// How often some were, on all threads: before a submission, or by [`Gpu::prepare`].
    pub rounds: u64,
}

/// Identifies a bind group: its shader, its parameters' buffer, and the buffer, the offset and the size
/// of each array.
type BindKey = (&'static str, usize, Vec<(u64, u64, u64)>);

pub(super) struct Recorder {
    commands: Vec<RecordedCommand>,
    layouts: HashMap<&'static str, wgpu::BindGroupLayout>,
    pipelines: Vec<VariantPipeline>,
    /// The index of each variant's.
    indices: HashMap<(&'static str, ShaderVariant), usize>,
    compiled: PipelineUse,
    bindings: HashMap<BindKey, wgpu::BindGroup>,
    /// Buffers of parameters, of [`SLOTS`] slots each, and their contents for the next submission.
    params: Vec<wgpu::Buffer>,
    staged: Vec<u8>,
    flops: u64,
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder {
            commands: Vec::new(),
            layouts: HashMap::new(),
            pipelines: Vec::new(),
            indices: HashMap::new(),
            compiled: PipelineUse::default(),
            bindings: HashMap::new(),
            params: Vec::new(),
            staged: Vec::new(),
            flops: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Number of commands that wait.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// How pipelines were compiled.
    pub(super) fn compiled(&self) -> PipelineUse {
        self.compiled
    }

    /// All variants that are compiled.
    pub(super) fn variants(&self) -> impl Iterator<Item = (&'static Shader, &ShaderVariant)> {
        let compiled = self.pipelines.iter().filter(|one| one.pipeline.is_some());
        compiled.map(|one| (one.shader, &one.variant))
    }

    /// Forgets the bind groups, which keep their buffers alive.
    pub(super) fn forget_bindings(&mut self) {
        self.bindings.clear();
    }

    /// The commands so far. The pipelines that are missing are compiled for all of them at once.
    ///
    /// # Errors
    /// A pipeline that the driver refuses. Then the commands are lost.
    pub(super) fn finish(
        &mut self,
        gpu: &Gpu,
        mut profiler: Option<&mut Profiler>,
    ) -> Result<wgpu::CommandBuffer, GpuError> {
        for (buffer, bytes) in self.params.iter().zip(self.staged.chunks(SLOTS * SLOT as usize)) {
            gpu.queue().write_buffer(buffer, 0, bytes);
        }
        self.staged.clear();
        self.flops = 0;
        let commands = std::mem::take(&mut self.commands);
        self.compile(gpu, commands.iter().map(|command| command.pipeline).collect())?;
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        for command in &commands {
            if let Some(profiler) = &mut profiler {
                // A pass for each command, as only passes have times everywhere.
                drop(pass.take());
                pass = Some(profiler.pass(&mut encoder, command.name, command.flops, command.bytes));
            }
            let pass = pass.get_or_insert_with(|| {
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
            });
            pass.set_pipeline(self.pipelines[command.pipeline].pipeline.as_ref().expect("it was compiled"));
            pass.set_bind_group(0, &command.bound, &[command.offset]);
            let [x, y, z] = command.groups;
            pass.dispatch_workgroups(x, y, z);
        }
        drop(pass);
        if let Some(profiler) = profiler {
            profiler.resolve(&mut encoder);
        }
        Ok(encoder.finish())
    }

    /// Compiles those of some pipelines that are not, on all threads.
    ///
    /// # Errors
    /// The first that the driver refuses. The others are compiled.
    fn compile(&mut self, gpu: &Gpu, wanted: BTreeSet<usize>) -> Result<(), GpuError> {
        let missing: Vec<usize> =
            wanted.into_iter().filter(|index| self.pipelines[*index].pipeline.is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let done: Vec<OnceLock<Result<wgpu::ComputePipeline, GpuError>>> =
            missing.iter().map(|_| OnceLock::new()).collect();
        let (pipelines, layouts) = (&self.pipelines, &self.layouts);
        parallel::for_each(missing.len(), |i| {
            let VariantPipeline { shader, variant, .. } = &pipelines[missing[i]];
            // Each index is visited once, so nothing is there yet.
            let _ = done[i].set(compile(gpu, shader, variant, &layouts[shader.name]));
        });
        self.compiled.rounds += 1;
        let mut failed = None;
        for (index, result) in missing.into_iter().zip(done) {
            match result.into_inner().expect("each was visited") {
                Ok(pipeline) => {
                    self.compiled.compiled += 1;
                    self.pipelines[index].pipeline = Some(pipeline);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Compiles variants that commands to come will need, if they are not compiled.
    ///
    /// # Errors
    /// As [`Recorder::compile`].
    pub(super) fn prepare(
        &mut self,
        gpu: &Gpu,
        variants: Vec<(&'static Shader, ShaderVariant)>,
    ) -> Result<(), GpuError> {
        let indices =
            variants.into_iter().map(|(shader, variant)| self.index(gpu, shader, &variant)).collect();
        self.compile(gpu, indices)
    }

    /// The index of a variant's pipeline.
    fn index(&mut self, gpu: &Gpu, shader: &'static Shader, variant: &ShaderVariant) -> usize {
        self.layouts.entry(shader.name).or_insert_with(|| layout(gpu, shader));
        let key = (shader.name, variant.clone());
        *self.indices.entry(key).or_insert_with(|| {
            self.pipelines.push(VariantPipeline { shader, variant: variant.clone(), pipeline: None });
            self.pipelines.len() - 1
        })
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

    fn record<P: bytemuck::Pod>(&mut self, gpu: &Gpu, dispatch: &Dispatch<'_, P>) {
        let Dispatch { shader, variant, arrays, params, groups, flops } = dispatch;
        let name = shader.name;
        assert_eq!(arrays.len(), shader.bindings.len(), "{name}: arrays");
        assert_eq!(size_of::<P>(), shader.params, "{name}: parameters");
        assert!(shader.params as u64 <= SLOT, "{name}: parameters of {} bytes", shader.params);
        let pipeline = self.index(gpu, shader, variant);
        let (chunk, slot) = self.stage(gpu, bytemuck::bytes_of(params));
        let ids = arrays.iter().map(|a| (a.buffer.id(), a.offset, a.size)).collect();
        let bound = self.bindings.entry((name, chunk, ids));
        let bound = bound.or_insert_with(|| bind(gpu, &self.layouts[name], &self.params[chunk], arrays));
        self.commands.push(RecordedCommand {
            name,
            pipeline,
            bound: bound.clone(),
            offset: slot as u32 * SLOT as u32,
            groups: *groups,
            flops: *flops,
            bytes: arrays.iter().map(|a| a.size).sum(),
        });
        self.flops += flops;
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
        let is_full = state.profiler.is_some() && state.recorder.len() >= Profiler::COMMANDS;
        if state.recorder.flops > FLOPS || is_full {
            self.flush(state);
        }
        state.recorder.record(self, dispatch);
        Ok(())
    }
}

/// The grid for `count` workgroups. More than fit in one dimension are arranged in rows of 32768. A shader computes its
/// number as `id.x + 32768 * id.y`, and returns if that is not below `count`.
pub(crate) fn in_rows(count: usize) -> [u32; 3] {
    const ROW: usize = 32768;
    if count <= ROW { [count as u32, 1, 1] } else { [ROW as u32, count.div_ceil(ROW) as u32, 1] }
}

/// The bindings of a shader: its parameters, then its arrays.
fn layout(gpu: &Gpu, shader: &Shader) -> wgpu::BindGroupLayout {
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
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
    gpu.device().create_bind_group_layout(&descriptor)
}

/// Compiles a variant.
fn compile(
    gpu: &Gpu,
    shader: &Shader,
    variant: &ShaderVariant,
    layout: &wgpu::BindGroupLayout,
) -> Result<wgpu::ComputePipeline, GpuError> {
    let device = gpu.device();
    // Each thread has scopes of its own.
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(layout)],
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
        None => Ok(pipeline),
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
