//! The tensor.

use crate::error::{ShapeRequirement, TensorOp};
use crate::{DType, Device, Pool, Shape, TensorError, WeightBytes};
use latent_kernels::arena::Buffer;
#[cfg(feature = "gpu")]
use latent_kernels::gpu::Array;
use std::fmt;
use std::sync::Arc;

/// A contiguous, row-major array. A clone shares its memory; an op that writes into a shared tensor writes into a copy.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    dtype: DType,
    storage: Storage,
}

/// The memory of a tensor.
#[derive(Clone)]
enum Storage {
    Cpu(Arc<Buffer>),
    #[cfg(feature = "gpu")]
    Gpu(Array),
}

impl Tensor {
    /// A tensor of `f32` whose contents are unspecified, for an op to write.
    ///
    /// # Errors
    /// A shape that [`Shape::new`] refuses, or no memory for it.
    pub(crate) fn scratch(dims: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::allocate(dims, DType::F32)
    }

    /// As [`Tensor::scratch`], on the device of another tensor and in its dtype.
    pub(crate) fn scratch_like(x: &Tensor, dims: &[usize]) -> Result<Tensor, TensorError> {
        match &x.storage {
            Storage::Cpu(_) => Tensor::scratch(dims),
            #[cfg(feature = "gpu")]
            Storage::Gpu(array) => {
                let shape = Shape::new(dims)?;
                let array = Array::scratch(array.gpu(), array.dtype(), shape.elements())?;
                Ok(Tensor { shape, dtype: x.dtype, storage: Storage::Gpu(array) })
            }
        }
    }

    fn allocate(dims: &[usize], dtype: DType) -> Result<Tensor, TensorError> {
        let shape = Shape::new(dims)?;
        let buffer = Pool::global().take(dtype.bytes(shape.elements()))?;
        Ok(Tensor { shape, dtype, storage: Storage::Cpu(Arc::new(buffer)) })
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

    /// A copy of a weight, in its own dtype.
    ///
    /// # Errors
    /// A shape of another number of elements, or whose rows (the values of all dimensions after the first) are not
    /// whole blocks of the dtype.
    pub fn from_weight(dims: &[usize], weight: WeightBytes<'_>) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::allocate(dims, weight.dtype())?;
        tensor.expect_elements(weight.len())?;
        let row = match dims {
            [rows, _, ..] => weight.len() / (*rows).max(1),
            _ => weight.len(),
        };
        TensorError::expect_blocks(TensorOp::Tensor, weight.dtype(), row)?;
        tensor.buffer_mut()?.view_mut::<u8>(weight.bytes().len()).copy_from_slice(weight.bytes());
        Ok(tensor)
    }

    fn expect_elements(&self, got: usize) -> Result<(), TensorError> {
        if self.shape.elements() == got {
            return Ok(());
        }
        Err(TensorError::shape(
            TensorOp::Tensor,
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

    /// The dtype.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the memory is.
    #[must_use]
    pub fn device(&self) -> Device {
        match &self.storage {
            Storage::Cpu(_) => Device::Cpu,
            #[cfg(feature = "gpu")]
            Storage::Gpu(array) => Device::Gpu { gpu: array.gpu().clone(), dtype: self.dtype },
        }
    }

    /// The same values on a device, rounded to its dtype; a clone if they are already there. From a GPU to the CPU, waits
    /// for all recorded commands.
    ///
    /// # Errors
    /// No memory there, a lost GPU, a tensor on the CPU that is not `f32`.
    pub fn to(&self, device: &Device) -> Result<Tensor, TensorError> {
        if *device == self.device() {
            return Ok(self.clone());
        }
        match (&self.storage, device) {
            (Storage::Cpu(_), Device::Cpu) => Ok(self.clone()),
            #[cfg(feature = "gpu")]
            (Storage::Cpu(_), Device::Gpu { gpu, dtype }) => {
                let array = Array::upload(gpu, *dtype, self.f32s()?)?;
                Ok(Tensor { shape: self.shape, dtype: *dtype, storage: Storage::Gpu(array) })
            }
            #[cfg(feature = "gpu")]
            (Storage::Gpu(array), Device::Gpu { gpu, dtype }) if array.gpu() == gpu => {
                let mut out = Array::scratch(gpu, *dtype, array.len())?;
                latent_kernels::elementwise::gpu::convert(array, &mut out)?;
                Ok(Tensor { shape: self.shape, dtype: *dtype, storage: Storage::Gpu(out) })
            }
            #[cfg(feature = "gpu")]
            (Storage::Gpu(array), _) => Tensor::from_f32(self.dims(), &array.read()?)?.to(device),
        }
    }

    /// The array of a tensor on a GPU.
    #[cfg(feature = "gpu")]
    pub(crate) fn array(&self) -> Option<&Array> {
        match &self.storage {
            Storage::Cpu(_) => None,
            Storage::Gpu(array) => Some(array),
        }
    }

    /// The array of a tensor on a GPU, to write.
    ///
    /// # Errors
    /// No memory for a copy of a shared array.
    #[cfg(feature = "gpu")]
    pub(crate) fn array_mut(&mut self) -> Result<Option<&mut Array>, TensorError> {
        match &mut self.storage {
            Storage::Cpu(_) => Ok(None),
            Storage::Gpu(array) => {
                if !array.is_unique() {
                    let mut copy = Array::scratch(array.gpu(), array.dtype(), array.len())?;
                    latent_kernels::elementwise::gpu::convert(array, &mut copy)?;
                    *array = copy;
                }
                Ok(Some(array))
            }
        }
    }

    /// The values.
    ///
    /// # Errors
    /// A tensor that is not `f32`, or not in main memory.
    pub fn f32s(&self) -> Result<&[f32], TensorError> {
        let buffer = self.buffer()?;
        self.expect_f32()?;
        Ok(buffer.view(self.shape.elements()))
    }

    /// The values, to write.
    ///
    /// # Errors
    /// As [`Tensor::f32s`], or no memory for a copy of a shared tensor.
    pub fn f32s_mut(&mut self) -> Result<&mut [f32], TensorError> {
        self.buffer()?;
        self.expect_f32()?;
        let elements = self.shape.elements();
        Ok(self.buffer_mut()?.view_mut(elements))
    }

    /// The bytes of the values, in the byte order of the machine.
    ///
    /// # Errors
    /// A tensor that is not in main memory.
    pub fn bytes(&self) -> Result<&[u8], TensorError> {
        Ok(self.buffer()?.view(self.dtype.bytes(self.shape.elements())))
    }

    fn expect_f32(&self) -> Result<(), TensorError> {
        if self.dtype == DType::F32 {
            return Ok(());
        }
        Err(TensorError::DType { op: TensorOp::Tensor, expected: &[DType::F32], got: self.dtype })
    }

    /// The memory of a tensor on the CPU.
    fn buffer(&self) -> Result<&Buffer, TensorError> {
        match &self.storage {
            Storage::Cpu(buffer) => Ok(buffer),
            #[cfg(feature = "gpu")]
            Storage::Gpu(array) => {
                Err(TensorError::wrong_device(TensorOp::Tensor, "the CPU", array.gpu().name()))
            }
        }
    }

    /// A copy, converted or dequantized to `f32`.
    ///
    /// # Errors
    /// No memory.
    pub fn to_f32(&self) -> Result<Tensor, TensorError> {
        Tensor::from_f32(self.dims(), &WeightBytes::new(self.dtype, self.bytes()?).to_f32())
    }

    /// The same values in another shape with the same number of elements.
    ///
    /// # Errors
    /// A shape of another number of elements.
    pub fn reshape(mut self, dims: &[usize]) -> Result<Tensor, TensorError> {
        let shape = Shape::new(dims)?;
        if shape.elements() != self.shape.elements() {
            let expected = ShapeRequirement::ElementsOf(self.shape);
            return Err(TensorError::shape(TensorOp::Reshape, expected, shape));
        }
        self.shape = shape;
        Ok(self)
    }

    /// The first values in a shape of fewer elements. The rest of the memory is freed unless it is shared.
    pub(crate) fn shrink(mut self, dims: &[usize]) -> Result<Tensor, TensorError> {
        let shape = Shape::new(dims)?;
        if shape.elements() > self.shape.elements() {
            return Err(TensorError::shape(
                TensorOp::Shrink,
                format_args!("at most the elements of {}", self.shape),
                shape,
            ));
        }
        self.shape = shape;
        let bytes = self.dtype.bytes(shape.elements());
        if let Some(buffer) = self.unique_buffer() {
            buffer.shrink(bytes);
        }
        Ok(self)
    }

    /// The dimensions of an argument of an op, if there are `N`.
    pub(crate) fn rank<const N: usize>(&self, op: TensorOp) -> Result<[usize; N], TensorError> {
        <[usize; N]>::try_from(self.dims())
            .map_err(|_| TensorError::shape(op, ShapeRequirement::Rank(N), self.shape))
    }

    /// Whether no other tensor shares the memory.
    pub(crate) fn is_unique(&mut self) -> bool {
        match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer).is_some(),
            #[cfg(feature = "gpu")]
            Storage::Gpu(array) => array.is_unique(),
        }
    }

    /// The memory of a tensor on the CPU, if no other tensor shares it.
    fn unique_buffer(&mut self) -> Option<&mut Buffer> {
        match &mut self.storage {
            Storage::Cpu(buffer) => Arc::get_mut(buffer),
            #[cfg(feature = "gpu")]
            Storage::Gpu(_) => None,
        }
    }

    fn buffer_mut(&mut self) -> Result<&mut Buffer, TensorError> {
        self.buffer()?;
        if !self.is_unique() {
            let mut copy = Tensor::allocate(self.dims(), self.dtype)?;
            let bytes = self.bytes()?;
            copy.buffer_mut()?.view_mut::<u8>(bytes.len()).copy_from_slice(bytes);
            *self = copy;
        }
        Ok(self.unique_buffer().expect("just made"))
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
    fn sixteen_bit_storage_widens_and_is_not_an_activation() {
        let values = [1.0f32, -2.5, 0.125, 65504.0];
        let bytes: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let tensor = Tensor::from_weight(&[2, 2], WeightBytes::new(DType::F16, &bytes)).unwrap();
        assert_eq!(tensor.to_f32().unwrap().f32s().unwrap(), values);
        assert_eq!(tensor.f32s().unwrap_err().to_string(), "tensor: expected f32, got f16");
        assert_eq!(format!("{tensor:?}"), "Tensor(f16 [2, 2])");
    }

    #[test]
    fn blocks_are_stored_as_they_are() {
        let block = |scale: f32, value: i8| {
            [&half::f16::from_f32(scale).to_le_bytes(), &[value.cast_unsigned(); 32][..]].concat()
        };
        let bytes = [block(0.5, 3), block(2.0, -128)].concat();
        let weight = WeightBytes::new(DType::Q8_0, &bytes);
        let mut tensor = Tensor::from_weight(&[2, 8, 2, 2], weight).unwrap();
        assert_eq!((tensor.bytes().unwrap(), tensor.dtype()), (&bytes[..], DType::Q8_0));
        assert_eq!(format!("{tensor:?}"), "Tensor(q8_0 [2, 8, 2, 2])");
        let values = [[1.5f32; 32], [-256.0; 32]].concat();
        assert_eq!(tensor.to_f32().unwrap().f32s().unwrap(), values);
        assert_eq!(tensor.f32s_mut().unwrap_err().to_string(), "tensor: expected f32, got q8_0");
        assert!(Tensor::from_weight(&[64], weight).is_ok(), "one row");
        let error = Tensor::from_weight(&[4, 16], weight).unwrap_err();
        assert_eq!(error.to_string(), "tensor: expected rows of whole blocks of 32 values in q8_0, got 16");
        assert!(Tensor::from_weight(&[2, 16], weight).is_err());
        assert!(
            Tensor::from_weight(&[0, usize::MAX, usize::MAX], WeightBytes::new(DType::Q8_0, &[])).is_ok()
        );
    }

    #[test]
    fn a_clone_shares_memory_until_one_is_written() {
        let x = Tensor::from_f32(&[2], &[1.0, 2.0]).unwrap();
        let mut y = x.clone();
        assert_eq!(x.f32s().unwrap().as_ptr(), y.f32s().unwrap().as_ptr());
        y.f32s_mut().unwrap()[0] = 5.0;
        assert_eq!((x.f32s().unwrap(), y.f32s().unwrap()), (&[1.0, 2.0][..], &[5.0, 2.0][..]));
        let place = y.f32s().unwrap().as_ptr();
        assert_eq!(y.f32s_mut().unwrap().as_ptr(), place, "its own memory is written in place");
    }

    #[test]
    fn shapes_are_checked() {
        assert!(Tensor::from_f32(&[2, 3], &[0.0; 5]).is_err());
        assert!(Tensor::zeros(&[1, 1, 1, 1, 1]).is_err());
        assert!(Tensor::zeros(&[usize::MAX, 2]).is_err());
        assert!(Tensor::zeros(&[usize::MAX / 8]).is_err());
        let x = Tensor::from_f32(&[2, 3], &[1., 2., 3., 4., 5., 6.]).unwrap();
        assert!(x.clone().reshape(&[7]).is_err());
        let y = x.clone().reshape(&[3, 2]).unwrap();
        assert_eq!((y.dims(), y.f32s().unwrap()), (&[3, 2][..], x.f32s().unwrap()));
        assert_eq!(y.device(), Device::Cpu);
    }
}
