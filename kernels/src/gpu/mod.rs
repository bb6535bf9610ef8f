//! GPUs, through Vulkan, Metal or DirectX 12.
//!
//! [`adapters`] lists what there is, [`Gpu::open`] opens one. An [`Array`] is memory there. The kernels are beside their
//! twins for the CPU, a `.wgsl` and a `gpu.rs` in each op's folder; [`shaders::ALL`] lists them. A kernel only records a
//! command: the GPU begins when an array is read back, or when much work has gathered.
//!
//! ```
//! use latent_kernels::DType;
//! use latent_kernels::activation::{Activation, gpu};
//! use latent_kernels::gpu::{Array, Gpu, Options, adapters};
//!
//! for adapter in adapters() {
//!     let gpu = Gpu::open(&adapter, &Options::default())?;
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
mod memory;
mod peak;
mod profile;
mod recorder;
pub mod shader;
pub mod shaders;
mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use adapter::{Adapter, adapters};
pub use array::Array;
pub use context::{Gpu, Options};
pub use error::GpuError;
pub use memory::MemoryUse;
pub use peak::Peak;
pub use profile::KernelTime;

pub(crate) use array::Binding;
pub(crate) use recorder::{Dispatch, in_rows};
pub(crate) use shader::{Access, Shader, Variant};
pub(crate) use template::COOPERATIVE;
