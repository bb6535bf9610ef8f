//! GPUs, through Vulkan, Metal or DirectX 12, or in a browser through WebGPU.
//!
//! [`adapters`] lists the GPUs of the machine, [`Gpu::open`] opens one. An [`Array`] is memory there. The kernels are
//! beside their twins for the CPU, a `.wgsl` and a `gpu.rs` in the folder of each op; [`crate::shaders::ALL`] lists
//! them. A kernel only records a command: the GPU starts when an array is read back, or when enough work has gathered.
//!
//! ```
//! use latent_kernels::DType;
//! use latent_kernels::activation::{Activation, gpu};
//! use latent_kernels::gpu::{Array, Gpu, GpuOptions, adapters};
//!
//! for adapter in adapters() {
//!     let gpu = Gpu::open(&adapter, &GpuOptions::default())?;
//!     let mut x = Array::upload(&gpu, DType::F32, &[-1.0, 0.0, 1.0])?;
//!     gpu::activate(Activation::Silu, &mut x)?;
//!     assert_eq!(x.read()?[1], 0.0);
//! }
//! # Ok::<(), latent_kernels::gpu::GpuError>(())
//! ```

mod adapter;
mod array;
mod cache;
mod context;
mod error;
mod instance;
mod memory;
mod options;
pub(crate) mod peak;
mod pipeline_list;
pub(crate) mod prelude;
mod profile;
#[cfg(test)]
mod race_checker;
mod read;
mod recorder;
pub mod shader;
mod staging;
mod streaming;
mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wait;

pub use adapter::{Adapter, adapters, hardware_adapters};
pub use array::Array;
pub use context::Gpu;
pub use error::GpuError;
pub use memory::MemoryUse;
pub use options::{FEATURE_LEVEL_VARIABLE, FeatureLevel, GpuOptions};
pub use peak::Peak;
pub use profile::KernelTime;
pub use recorder::PipelineUse;
pub use staging::StagingUse;
pub use streaming::StreamUse;
#[cfg(target_family = "wasm")]
pub use wait::set_pause;

/// The library through which the kernels reach GPUs, and its version, for reports.
pub const LIBRARY: (&str, &str) = ("wgpu", "30");

pub(crate) use array::Binding;
pub(crate) use read::PendingRead;
pub(crate) use recorder::{Dispatch, in_rows};
pub(crate) use shader::{BindingAccess, Shader, ShaderVariant};
pub(crate) use staging::StagingSlice;
pub(crate) use template::COOPERATIVE;
