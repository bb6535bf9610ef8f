//! Arrays in the memory of a GPU.

use super::memory::GpuBuffer;
use super::staging::FillStaging;
use super::{Gpu, GpuError, PendingRead};
use crate::DType;
use crate::dtype::WeightBytes;
use half::f16;
use std::fmt;
use std::sync::Arc;

/// Bindings begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 256;

/// An array in the memory of a GPU. A clone shares the memory.
#[derive(Clone)]
pub struct Array {
    gpu: Gpu,
    buffer: Arc<GpuBuffer>,
    dtype: DType,
    len: usize,
}

/// A part of an array as a shader sees it.
pub(crate) struct Binding {
    pub(super) buffer: Arc<GpuBuffer>,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Array {
    /// An array whose contents are unspecified, from the pool.
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub fn scratch(gpu: &Gpu, dtype: DType, len: usize) -> Result<Array, GpuError> {
        let buffer = gpu.pooled(bytes_of(dtype, len))?;
        Ok(Array { gpu: gpu.clone(), buffer, dtype, len })
    }

    /// A copy of `values`, rounded to `dtype`, from the pool.
    ///
    /// # Errors
    /// As [`Array::scratch`].
    ///
    /// # Panics
    /// If `dtype` is neither `F32` nor `F16`.
    pub fn upload(gpu: &Gpu, dtype: DType, values: &[f32]) -> Result<Array, GpuError> {
        let array = Array::scratch(gpu, dtype, values.len())?;
        gpu.write(&array.buffer, &encode(dtype, values))?;
        Ok(array)
    }

    /// A copy of the bytes of a weight, in memory that does not return to the pool: weights stay for long.
    ///
    /// # Errors
    /// As [`Array::scratch`].
    ///
    /// # Panics
    /// If it is of a block format.
    pub fn weight(gpu: &Gpu, weight: WeightBytes<'_>) -> Result<Array, GpuError> {
        let (dtype, len) = (weight.dtype(), weight.len());
        let buffer = gpu.allocate(bytes_of(dtype, len))?;
        gpu.upload_bytes(&buffer, weight.bytes())?;
        Ok(Array { gpu: gpu.clone(), buffer, dtype, len })
    }

    /// A copy of bytes that shaders read as words of 32 bits, in memory that does not return to the pool.
    ///
    /// # Errors
    /// As [`Array::scratch`].
    pub(crate) fn words(gpu: &Gpu, bytes: &[u8]) -> Result<Array, GpuError> {
        let (dtype, len) = (DType::U32, bytes.len().div_ceil(4));
        let buffer = gpu.allocate(bytes_of(dtype, len))?;
        gpu.upload_bytes(&buffer, bytes)?;
        Ok(Array { gpu: gpu.clone(), buffer, dtype, len })
    }

    /// `len` values in memory that does not return to the pool. `fill` writes them in parts of whole `unit` values, each from a
    /// given byte on.
    ///
    /// # Errors
    /// As [`Array::scratch`].
    pub(crate) fn filled(
        gpu: &Gpu,
        dtype: DType,
        [len, unit]: [usize; 2],
        fill: FillStaging<'_>,
    ) -> Result<Array, GpuError> {
        let buffer = gpu.allocate(bytes_of(dtype, len))?;
        gpu.upload(&buffer, len * dtype.size(), unit * dtype.size(), fill)?;
        Ok(Array { gpu: gpu.clone(), buffer, dtype, len })
    }

    /// The values, after all recorded commands.
    ///
    /// # Errors
    /// A lost GPU, a command that it refused.
    pub fn read(&self) -> Result<Vec<f32>, GpuError> {
        let bytes = self.gpu.read(&self.buffer, bytes_of(self.dtype, self.len))?;
        let mut values = WeightBytes::new(self.dtype, &bytes[..self.len * self.dtype.size()]).to_f32();
        values.truncate(self.len);
        Ok(values)
    }

    /// Begins to read the bytes, after all recorded commands, which start.
    ///
    /// # Errors
    /// As [`Array::read`].
    pub(crate) fn begin_read(&self) -> Result<PendingRead, GpuError> {
        self.gpu.begin_read(&self.buffer, bytes_of(self.dtype, self.len))
    }

    /// The bytes of the values, after all recorded commands.
    #[cfg(test)]
    pub(crate) fn read_bytes(&self) -> Result<Vec<u8>, GpuError> {
        let mut bytes = self.gpu.read(&self.buffer, bytes_of(self.dtype, self.len))?;
        bytes.truncate(self.len * self.dtype.size());
        Ok(bytes)
    }

    /// The GPU.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The dtype of the values.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no other array shares the memory.
    pub fn is_unique(&mut self) -> bool {
        Arc::get_mut(&mut self.buffer).is_some()
    }

    /// All of it, for a shader.
    pub(crate) fn whole(&self) -> Binding {
        self.window(0, self.len).0
    }

    /// `len` values from `start` on, for a shader, and the index of the first in the binding.
    ///
    /// # Panics
    /// If the array does not have these values.
    pub(crate) fn window(&self, start: usize, len: usize) -> (Binding, u32) {
        assert!(start + len <= self.len, "values {start}..{} of {}", start + len, self.len);
        let size = self.dtype.size() as u64;
        let first = start as u64 * size;
        let offset = first / ALIGNMENT * ALIGNMENT;
        // Shaders read whole vectors; the memory is long enough.
        let end = (first + len as u64 * size).next_multiple_of(16).max(offset + 16);
        let binding = Binding { buffer: Arc::clone(&self.buffer), offset, size: end - offset };
        (binding, ((first - offset) / size) as u32)
    }
}

/// Bytes of memory for `len` values: whole vectors of four `f32`, at least one.
fn bytes_of(dtype: DType, len: usize) -> u64 {
    ((len * dtype.size()) as u64).next_multiple_of(16).max(16)
}

fn encode(dtype: DType, values: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F32 => bytemuck::cast_slice(values).to_vec(),
        DType::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_ne_bytes()).collect(),
        _ => panic!("activations cannot be {dtype}"),
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} {} on {})", self.len, self.dtype, self.gpu.name())
    }
}
