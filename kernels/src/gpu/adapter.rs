//! The GPUs of this machine.

use super::instance::{instance, may_have_hardware};
use super::wait::block_on;

/// A GPU that can be opened.
#[derive(Clone, Debug)]
pub struct Adapter(pub(super) wgpu::Adapter);

/// All GPUs of this machine, including software adapters, in the order of the drivers.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    let backends = wgpu::Backends::PRIMARY;
    let adapters = block_on(instance().enumerate_adapters(backends));
    adapters.into_iter().map(Adapter).collect()
}

/// The GPUs of this machine without software adapters, in the order of the drivers. Where the machine clearly has none,
/// no driver is loaded.
#[must_use]
pub fn hardware_adapters() -> Vec<Adapter> {
    let all = if may_have_hardware() { adapters() } else { Vec::new() };
    all.into_iter().filter(|adapter| !adapter.is_software()).collect()
}

impl Adapter {
    /// Its name, such as "NVIDIA H100".
    #[must_use]
    pub fn name(&self) -> String {
        self.0.get_info().name
    }

    /// "vulkan", "metal", "dx12" or "webgpu".
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.0.get_info().backend.to_str()
    }

    /// Driver and version, as the driver reports them.
    #[must_use]
    pub fn driver(&self) -> String {
        let info = self.0.get_info();
        format!("{} {}", info.driver, info.driver_info).trim().to_owned()
    }

    /// "discrete GPU", "integrated GPU", "virtual GPU", "software" or "other".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.0.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        }
    }

    /// Whether it runs on the CPU: such an adapter is for tests.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.0.get_info().device_type == wgpu::DeviceType::Cpu
    }

    /// For a choice between several, the higher the better: a discrete GPU before an integrated one before the rest.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self.0.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 4,
            wgpu::DeviceType::IntegratedGpu => 3,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 1,
            wgpu::DeviceType::Cpu => 0,
        }
    }

    /// The features by which kernels are chosen, and whether it has them.
    #[must_use]
    pub fn features(&self) -> Vec<(&'static str, bool)> {
        let features = self.0.features();
        vec![
            ("f16", features.contains(wgpu::Features::SHADER_F16)),
            ("subgroups", features.contains(wgpu::Features::SUBGROUP)),
            ("cooperative matrices", self.cooperative_matrix().is_some()),
            ("timestamps", features.contains(wgpu::Features::TIMESTAMP_QUERY)),
            ("pipeline cache", features.contains(wgpu::Features::PIPELINE_CACHE)),
        ]
    }

    /// The limits that matter to this crate, in bytes except for the threads.
    #[must_use]
    pub fn limits(&self) -> Vec<(&'static str, u64)> {
        let limits = self.0.limits();
        vec![
            ("largest buffer", limits.max_buffer_size),
            ("largest binding", limits.max_storage_buffer_binding_size),
            ("workgroup memory", u64::from(limits.max_compute_workgroup_storage_size)),
            ("workgroup threads", u64::from(limits.max_compute_invocations_per_workgroup)),
        ]
    }

    /// The side of the `f16` matrices that it multiplies into `f32`, if it has cooperative matrices: 16 (NVIDIA, AMD,
    /// Intel), or else 8 (Apple, Mesa's software adapter).
    #[must_use]
    pub fn cooperative_matrix(&self) -> Option<u32> {
        let has = self.0.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        let sizes = if has { self.0.cooperative_matrix_properties() } else { Vec::new() };
        let is = |p: &wgpu::CooperativeMatrixProperties, side| {
            (p.m_size, p.n_size, p.k_size) == (side, side, side)
                && p.ab_type == wgpu::CooperativeScalarType::F16
                && p.cr_type == wgpu::CooperativeScalarType::F32
        };
        [16, 8].into_iter().find(|side| sizes.iter().any(|p| is(p, *side)))
    }
}
