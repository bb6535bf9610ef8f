//! Where tensors are.

#[cfg(feature = "gpu")]
use crate::{DType, TensorError};
#[cfg(feature = "gpu")]
use latent_kernels::gpu::Gpu;

/// Where a tensor's memory is, and where ops on it run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// Main memory; tensors of `f32`.
    #[default]
    Cpu,
    /// A GPU.
    #[cfg(feature = "gpu")]
    Gpu {
        /// Which.
        gpu: Gpu,
        /// The number format of tensors there, `F32` or `F16`. Sums are `f32` in both.
        dtype: DType,
    },
}

impl Device {
    /// Returns memory that no tensor lies in to the system, here and on the device: at the end of a stage. A GPU first
    /// finishes what was recorded.
    pub fn trim(&self) {
        crate::Pool::global().trim();
        #[cfg(feature = "gpu")]
        if let Device::Gpu { gpu, .. } = self {
            // A fault is told by whatever is asked of the GPU next.
            drop(gpu.trim());
        }
    }

    /// The same GPU with tensors of `F32`, if these are of `F16`.
    #[must_use]
    pub fn more_exact(&self) -> Option<Device> {
        match self {
            #[cfg(feature = "gpu")]
            Device::Gpu { gpu, dtype: DType::F16 } => {
                Some(Device::Gpu { gpu: gpu.clone(), dtype: DType::F32 })
            }
            _ => None,
        }
    }

    /// A GPU, with tensors of `F16` or `F32`.
    ///
    /// # Errors
    /// `BF16`, `Q8_0`, or `F16` where the GPU has none.
    #[cfg(feature = "gpu")]
    pub fn gpu(gpu: &Gpu, dtype: DType) -> Result<Device, TensorError> {
        if !matches!(dtype, DType::F32 | DType::F16) || (dtype == DType::F16 && !gpu.has_f16()) {
            let expected = if gpu.has_f16() { "f32 or f16" } else { "f32, all that this GPU computes with" };
            return Err(TensorError::DType {
                op: "device",
                expected: expected.into(),
                got: dtype.to_string(),
            });
        }
        Ok(Device::Gpu { gpu: gpu.clone(), dtype })
    }
}
