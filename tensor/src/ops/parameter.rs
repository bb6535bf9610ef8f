//! The vectors of a layer, on the device of the layer.

#[cfg(feature = "gpu")]
use crate::error::TensorOp;
use crate::{Device, TensorError};
#[cfg(feature = "gpu")]
use latent_kernels::gpu::Array;

/// A bias or the weight of a norm, in `f32`.
#[derive(Clone, Debug)]
pub(super) enum Vector {
    Cpu(Vec<f32>),
    #[cfg(feature = "gpu")]
    Gpu(Array),
}

impl Vector {
    pub(super) fn len(&self) -> usize {
        match self {
            Vector::Cpu(values) => values.len(),
            #[cfg(feature = "gpu")]
            Vector::Gpu(array) => array.len(),
        }
    }

    /// Moves it to a device. A layer on a GPU stays there: layers are never moved back.
    pub(super) fn to(self, device: &Device) -> Result<Vector, TensorError> {
        match (self, device) {
            #[cfg(feature = "gpu")]
            (Vector::Cpu(values), Device::Gpu { gpu, .. }) => {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                let weight = crate::WeightBytes::new(crate::DType::F32, &bytes);
                Ok(Vector::Gpu(Array::weight(gpu, weight)?))
            }
            (vector, _) => Ok(vector),
        }
    }

    /// The values, of a layer on the CPU.
    pub(super) fn values(&self) -> Result<&[f32], TensorError> {
        match self {
            Vector::Cpu(values) => Ok(values),
            #[cfg(feature = "gpu")]
            Vector::Gpu(array) => {
                Err(TensorError::wrong_device(TensorOp::Layer, "the CPU", array.gpu().name()))
            }
        }
    }

    /// The values, of a layer on a GPU.
    #[cfg(feature = "gpu")]
    pub(super) fn array(&self) -> Result<&Array, TensorError> {
        match self {
            Vector::Cpu(_) => Err(TensorError::wrong_device(TensorOp::Layer, "the GPU", "the CPU")),
            Vector::Gpu(array) => Ok(array),
        }
    }
}
