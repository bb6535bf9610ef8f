//! The tensor.

use crate::{DType, Pool, Shape, TensorError, WeightBytes};
use latent_kernels::buffer::Buffer;
use std::fmt;

/// Where a tensor's memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// Main memory.
    #[default]
    Cpu,
}

/// A contiguous, row-major array of numbers.
pub struct Tensor {
    shape: Shape,
    dtype: DType,
    /// Always present; taken out only when the tensor is dropped.
    storage: Option<Buffer>,
}

impl Tensor {
    /// A tensor of `f32` whose contents are unspecified, for an op to write.
    ///
    /// # Errors
    /// A shape that [`Shape::new`] refuses, or no memory for it.
    pub(crate) fn scratch(dims: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::allocate(dims, DType::F32)
    }

    fn allocate(dims: &[usize], dtype: DType) -> Result<Tensor, TensorError> {
        let shape = Shape::new(dims)?;
        Ok(Tensor { shape, dtype, storage: Some(Pool::global().take(shape.elements() * dtype.size())?) })
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// A shape that [`Shape::new`] refuses, or no memory for it.
    pub fn zeros(dims: &[usize]) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::scratch(dims)?;
        tensor.f32s_mut()?.fill(0.0);
        Ok(tensor)
    }

    /// A copy of `values`.
    ///
    /// # Errors
    /// A shape of another number of elements.
    pub fn from_f32(dims: &[usize], values: &[f32]) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::scratch(dims)?;
        tensor.expect_elements(values.len())?;
        tensor.f32s_mut()?.copy_from_slice(values);
        Ok(tensor)
    }

    /// A copy of a weight, in its own number format.
    ///
    /// # Errors
    /// A shape of another number of elements.
    pub fn from_weight(dims: &[usize], weight: WeightBytes<'_>) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::allocate(dims, weight.dtype())?;
        tensor.expect_elements(weight.len())?;
        tensor.buffer_mut().view_mut::<u8>(weight.bytes().len()).copy_from_slice(weight.bytes());
        Ok(tensor)
    }

    fn expect_elements(&self, got: usize) -> Result<(), TensorError> {
        if self.shape.elements() == got {
            return Ok(());
        }
        Err(TensorError::shape(
            "tensor",
            format_args!("{} values for {}", self.shape.elements(), self.shape),
            got,
        ))
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number format.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the memory is.
    #[must_use]
    pub fn device(&self) -> Device {
        Device::Cpu
    }

    /// The values.
    ///
    /// # Errors
    /// A tensor that is not `f32`.
    pub fn f32s(&self) -> Result<&[f32], TensorError> {
        self.expect_f32()?;
        Ok(self.buffer().view(self.shape.elements()))
    }

    /// The values, to write.
    ///
    /// # Errors
    /// A tensor that is not `f32`.
    pub fn f32s_mut(&mut self) -> Result<&mut [f32], TensorError> {
        self.expect_f32()?;
        let elements = self.shape.elements();
        Ok(self.buffer_mut().view_mut(elements))
    }

    /// The values' bytes, in the machine's order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer().view(self.shape.elements() * self.dtype.size())
    }

    fn expect_f32(&self) -> Result<(), TensorError> {
        if self.dtype == DType::F32 {
            return Ok(());
        }
        Err(TensorError::DType { op: "tensor", expected: "f32".into(), got: self.dtype.to_string() })
    }

    /// A copy, in memory of its own.
    ///
    /// # Errors
    /// No memory.
    pub fn copy(&self) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::allocate(self.dims(), self.dtype)?;
        let bytes = self.bytes();
        tensor.buffer_mut().view_mut::<u8>(bytes.len()).copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A copy widened to `f32`.
    ///
    /// # Errors
    /// No memory.
    pub fn to_f32(&self) -> Result<Tensor, TensorError> {
        Tensor::from_f32(self.dims(), &WeightBytes::new(self.dtype, self.bytes()).to_f32())
    }

    /// The same values in another shape of as many elements.
    ///
    /// # Errors
    /// A shape of another number of elements.
    pub fn reshape(mut self, dims: &[usize]) -> Result<Tensor, TensorError> {
        let shape = Shape::new(dims)?;
        if shape.elements() != self.shape.elements() {
            return Err(TensorError::shape(
                "reshape",
                format_args!("as many elements as {}", self.shape),
                shape,
            ));
        }
        self.shape = shape;
        Ok(self)
    }

    /// `N` dimensions of an op's argument.
    pub(crate) fn rank<const N: usize>(&self, op: &'static str) -> Result<[usize; N], TensorError> {
        <[usize; N]>::try_from(self.dims())
            .map_err(|_| TensorError::shape(op, format_args!("{N} dimensions"), self.shape))
    }

    fn buffer(&self) -> &Buffer {
        self.storage.as_ref().expect("a tensor that lives has its storage")
    }

    fn buffer_mut(&mut self) -> &mut Buffer {
        self.storage.as_mut().expect("a tensor that lives has its storage")
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if let Some(buffer) = self.storage.take() {
            Pool::global().give(buffer);
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {})", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bit_storage_widens_and_is_no_activation() {
        let values = [1.0f32, -2.5, 0.125, 65504.0];
        let bytes: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let tensor = Tensor::from_weight(&[2, 2], WeightBytes::new(DType::F16, &bytes)).unwrap();
        assert_eq!(tensor.to_f32().unwrap().f32s().unwrap(), values);
        assert_eq!(tensor.f32s().unwrap_err().to_string(), "tensor: expected f32, got f16");
        assert_eq!(format!("{tensor:?}"), "Tensor(f16 [2, 2])");
    }

    #[test]
    fn shapes_are_checked() {
        assert!(Tensor::from_f32(&[2, 3], &[0.0; 5]).is_err());
        assert!(Tensor::zeros(&[1, 1, 1, 1, 1]).is_err());
        assert!(Tensor::zeros(&[usize::MAX, 2]).is_err());
        assert!(Tensor::zeros(&[usize::MAX / 8]).is_err());
        let x = Tensor::from_f32(&[2, 3], &[1., 2., 3., 4., 5., 6.]).unwrap();
        assert!(x.copy().unwrap().reshape(&[7]).is_err());
        let y = x.copy().unwrap().reshape(&[3, 2]).unwrap();
        assert_eq!((y.dims(), y.f32s().unwrap()), (&[3, 2][..], x.f32s().unwrap()));
        assert_eq!(y.device(), Device::Cpu);
    }
}
