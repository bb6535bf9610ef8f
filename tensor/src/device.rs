//! Where tensors are stored.

#[cfg(feature = "gpu")]
use crate::error::TensorOp;
#[cfg(feature = "gpu")]
use crate::{DType, TensorError};
#[cfg(feature = "gpu")]
use latent_kernels::gpu::Gpu;

/// Where the memory of a tensor is, and where ops on it run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// Main memory; tensors of `f32`.
    #[default]
    Cpu,
    /// A GPU.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The opened GPU.
        gpu: Gpu,
        /// The dtype of tensors there, `F32` or `F16`. Sums are `f32` in both.
        dtype: DType,
    },
}

impl Device {
    /// Returns memory that no tensor uses to the system, in main memory and on the device. Call it at the end of a
    /// stage. A GPU first finishes all recorded commands.
    pub fn trim(&self) {
        crate::Pool::global().trim();
        #[cfg(feature = "gpu")]
        if let Device::Gpu { gpu, .. } = self {
            // The next call to the GPU reports a fault.
            drop(gpu.trim());
        }
    }

    /// Compiles the pipelines that a model took here in an earlier process, on all threads; on the CPU there are none. `model` is
    /// the name of a list. What is missing in it is compiled where it is first needed.
    pub fn prepare(&self, model: &str) {
        #[cfg(feature = "gpu")]
        if let Device::Gpu { gpu, dtype } = self {
            // The next call to the GPU reports a fault.
            drop(gpu.prepare(&format!("{model}-{dtype}"), latent_kernels::shaders::ALL));
        }
        #[cfg(not(feature = "gpu"))]
        let _ = model;
    }

    /// Has weights loaded that are dropped after their next use. A GPU computes meanwhile what was recorded, and what was
    /// loaded so before the last time leaves its memory. On the CPU weights do when they are dropped.
    ///
    /// # Errors
    /// What the GPU reports.
    pub fn stream_weights<R>(&self, load: impl FnOnce() -> R) -> Result<R, crate::TensorError> {
        match self {
            Device::Cpu => Ok(load()),
            #[cfg(feature = "gpu")]
            Device::Gpu { gpu, .. } => Ok(gpu.stream_weights(load)?),
        }
    }

    /// Bytes that may be used, where that is limited.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        match self {
            Device::Cpu => None,
            #[cfg(feature = "gpu")]
            Device::Gpu { gpu, .. } => gpu.memory_limit(),
        }
    }

    /// The same GPU with tensors of `F32`, if they are now of `F16`.
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

    /// The same device with tensors of `F32`.
    #[must_use]
    pub fn in_f32(&self) -> Device {
        self.more_exact().unwrap_or_else(|| self.clone())
    }

    /// A GPU, with tensors of `F16` or `F32`.
    ///
    /// # Errors
    /// `BF16`, `Q8_0`, or `F16` on a GPU without it.
    #[cfg(feature = "gpu")]
    pub fn gpu(gpu: &Gpu, dtype: DType) -> Result<Device, TensorError> {
        if !matches!(dtype, DType::F32 | DType::F16) || (dtype == DType::F16 && !gpu.has_f16()) {
            let expected: &[DType] = if gpu.has_f16() { &[DType::F32, DType::F16] } else { &[DType::F32] };
            return Err(TensorError::DType { op: TensorOp::Device, expected, got: dtype });
        }
        Ok(Device::Gpu { gpu: gpu.clone(), dtype })
    }
}
