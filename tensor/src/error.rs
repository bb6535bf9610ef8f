//! Errors of ops.

use crate::{DType, InvalidShape, Shape};
#[cfg(feature = "gpu")]
use latent_kernels::gpu::GpuError;
use std::fmt;
use std::ops::Range;

/// An op was given tensors that do not fit together, or the device failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorError {
    /// A shape is not what the op needs.
    Shape {
        /// The op.
        op: TensorOp,
        /// What it needs.
        expected: ShapeRequirement,
        /// What it was given.
        got: ShapeFound,
    },
    /// The op does not compute with the dtype of a tensor.
    DType {
        /// The op.
        op: TensorOp,
        /// The dtypes with which it computes.
        expected: &'static [DType],
        /// The dtype of the tensor.
        got: DType,
    },
    /// A tensor or a layer is not on the device on which the op needs it.
    Device {
        /// The op.
        op: TensorOp,
        /// The device on which it is needed.
        expected: String,
        /// The device on which it is.
        got: String,
    },
    /// A GPU failed.
    #[cfg(feature = "gpu")]
    Gpu(GpuError),
    /// There is not enough memory.
    OutOfMemory {
        /// Bytes that were requested.
        bytes: usize,
    },
}

/// An op of this crate, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorOp {
    /// [`crate::ops::add`]
    Add,
    /// [`crate::ops::add_gated`]
    AddGated,
    /// [`crate::ops::add_per_channel`]
    AddPerChannel,
    /// [`crate::ops::all_finite`]
    AllFinite,
    /// [`crate::ops::attention`]
    Attention,
    /// [`crate::ops::concat_channels`]
    ConcatChannels,
    /// [`crate::ops::conv2d`] and its variants
    Conv2d,
    /// The choice of a [`crate::Device`]
    Device,
    /// [`crate::ops::embedding`]
    Embedding,
    /// [`crate::ops::geglu`]
    Geglu,
    /// [`crate::ops::group_norm`] and its variants
    GroupNorm,
    /// [`crate::ops::guidance`]
    Guidance,
    /// [`crate::ops::index_select`]
    IndexSelect,
    /// The parameters of a layer
    Layer,
    /// [`crate::ops::layer_norm`]
    LayerNorm,
    /// [`crate::ops::layer_norm_modulated`]
    LayerNormModulated,
    /// [`crate::ops::linear`] and its variants
    Linear,
    /// [`crate::ops::linear_combination`]
    LinearCombination,
    /// [`crate::ops::modulate`]
    Modulate,
    /// [`crate::ops::multiply_activated`]
    MultiplyActivated,
    /// [`crate::ops::parameter_free_attention`]
    ParameterFreeAttention,
    /// [`crate::ops::prelu`]
    Prelu,
    /// [`crate::Tensor::reshape`]
    Reshape,
    /// [`crate::ops::rms_norm`] and its variants
    RmsNorm,
    /// [`crate::ops::rotary`] and its variants
    Rotary,
    /// [`crate::ops::select`]
    Select,
    /// [`Shape::new`]
    Shape,
    /// Freeing the end of a tensor
    Shrink,
    /// [`crate::ops::slice_channels`]
    SliceChannels,
    /// [`crate::ops::softmax`]
    Softmax,
    /// Making or reading a [`crate::Tensor`]
    Tensor,
    /// [`crate::ops::match_tokens`], [`crate::ops::merge_tokens`] and [`crate::ops::unmerge_add`]
    TokenMerging,
    /// [`crate::ops::upsample_nearest`]
    UpsampleNearest,
    /// The rows of a [`crate::Window`]
    Window,
}

impl TensorOp {
    /// The name of the function, such as `conv2d`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TensorOp::Add => "add",
            TensorOp::AddGated => "add_gated",
            TensorOp::AddPerChannel => "add_per_channel",
            TensorOp::AllFinite => "all_finite",
            TensorOp::Attention => "attention",
            TensorOp::ConcatChannels => "concat_channels",
            TensorOp::Conv2d => "conv2d",
            TensorOp::Device => "device",
            TensorOp::Embedding => "embedding",
            TensorOp::Geglu => "geglu",
            TensorOp::GroupNorm => "group_norm",
            TensorOp::Guidance => "guidance",
            TensorOp::IndexSelect => "index_select",
            TensorOp::Layer => "layer",
            TensorOp::LayerNorm => "layer_norm",
            TensorOp::LayerNormModulated => "layer_norm_modulated",
            TensorOp::Linear => "linear",
            TensorOp::LinearCombination => "linear_combination",
            TensorOp::Modulate => "modulate",
            TensorOp::MultiplyActivated => "multiply_activated",
            TensorOp::ParameterFreeAttention => "parameter_free_attention",
            TensorOp::Prelu => "prelu",
            TensorOp::Reshape => "reshape",
            TensorOp::RmsNorm => "rms_norm",
            TensorOp::Rotary => "rotary",
            TensorOp::Select => "select",
            TensorOp::Shape => "shape",
            TensorOp::Shrink => "shrink",
            TensorOp::SliceChannels => "slice_channels",
            TensorOp::Softmax => "softmax",
            TensorOp::Tensor => "tensor",
            TensorOp::TokenMerging => "token_merging",
            TensorOp::UpsampleNearest => "upsample_nearest",
            TensorOp::Window => "window",
        }
    }
}

impl fmt::Display for TensorOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an op needs of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeRequirement {
    /// This shape.
    Exactly(Shape),
    /// This number of dimensions.
    Rank(usize),
    /// This number of channels, the last dimension.
    Channels(usize),
    /// As many elements as a tensor of this shape has.
    ElementsOf(Shape),
    /// A parameter of a layer, such as its weight, of this shape.
    Parameter {
        /// Its name: "weight", "bias" or "table".
        name: &'static str,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// A vector of channels for each image: `[batch, channels]`.
    VectorPerImage([usize; 2]),
    /// Rows within these.
    RowsWithin(Range<usize>),
    /// Not more dimensions, nor more elements, than a [`Shape`] can have.
    ValidShape,
    /// Something else, in words.
    Other(String),
}

/// The shape, or the part of one, that an op was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeFound {
    /// A tensor of this shape.
    Shape(Shape),
    /// Two tensors of these shapes.
    Shapes(Box<[Shape; 2]>),
    /// A size: values, channels or an index.
    Size(usize),
    /// Rows of an image.
    Rows(Range<usize>),
    /// Dimensions that are not a [`Shape`].
    Dims(Vec<usize>),
    /// Something else, in words.
    Other(String),
}

impl fmt::Display for ShapeRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeRequirement::Exactly(shape) => shape.fmt(f),
            ShapeRequirement::Rank(rank) => write!(f, "{rank} dimensions"),
            ShapeRequirement::Channels(channels) => write!(f, "{channels} channels"),
            ShapeRequirement::ElementsOf(shape) => write!(f, "as many elements as {shape}"),
            ShapeRequirement::Parameter { name, dims } => match &dims[..] {
                [len] => write!(f, "a {name} of {len}"),
                dims => {
                    let dims: Vec<_> = dims.iter().map(usize::to_string).collect();
                    write!(f, "a {name} of {} values", dims.join(" x "))
                }
            },
            ShapeRequirement::VectorPerImage(dims) => write!(f, "a vector {dims:?}"),
            ShapeRequirement::RowsWithin(rows) => write!(f, "rows of {rows:?}"),
            ShapeRequirement::ValidShape => f.write_str("at most 4 dimensions within memory"),
            ShapeRequirement::Other(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for ShapeFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeFound::Shape(shape) => shape.fmt(f),
            ShapeFound::Shapes(shapes) => write!(f, "{} and {}", shapes[0], shapes[1]),
            ShapeFound::Size(size) => size.fmt(f),
            ShapeFound::Rows(rows) => write!(f, "{rows:?}"),
            ShapeFound::Dims(dims) => write!(f, "{dims:?}"),
            ShapeFound::Other(words) => f.write_str(words),
        }
    }
}

impl From<Shape> for ShapeRequirement {
    fn from(shape: Shape) -> ShapeRequirement {
        ShapeRequirement::Exactly(shape)
    }
}

impl From<&str> for ShapeRequirement {
    fn from(words: &str) -> ShapeRequirement {
        ShapeRequirement::Other(words.to_owned())
    }
}

impl From<fmt::Arguments<'_>> for ShapeRequirement {
    fn from(words: fmt::Arguments<'_>) -> ShapeRequirement {
        ShapeRequirement::Other(words.to_string())
    }
}

impl From<Shape> for ShapeFound {
    fn from(shape: Shape) -> ShapeFound {
        ShapeFound::Shape(shape)
    }
}

impl From<[Shape; 2]> for ShapeFound {
    fn from(shapes: [Shape; 2]) -> ShapeFound {
        ShapeFound::Shapes(Box::new(shapes))
    }
}

impl From<usize> for ShapeFound {
    fn from(size: usize) -> ShapeFound {
        ShapeFound::Size(size)
    }
}

impl From<Range<usize>> for ShapeFound {
    fn from(rows: Range<usize>) -> ShapeFound {
        ShapeFound::Rows(rows)
    }
}

impl From<&[usize]> for ShapeFound {
    fn from(dims: &[usize]) -> ShapeFound {
        ShapeFound::Dims(dims.to_vec())
    }
}

impl From<fmt::Arguments<'_>> for ShapeFound {
    fn from(words: fmt::Arguments<'_>) -> ShapeFound {
        ShapeFound::Other(words.to_string())
    }
}

impl TensorError {
    pub(crate) fn shape(
        op: TensorOp,
        expected: impl Into<ShapeRequirement>,
        got: impl Into<ShapeFound>,
    ) -> TensorError {
        TensorError::Shape { op, expected: expected.into(), got: got.into() }
    }

    /// Checks that a row of a weight consists of whole blocks of its dtype.
    pub(crate) fn expect_blocks(op: TensorOp, dtype: DType, row: usize) -> Result<(), TensorError> {
        if row.is_multiple_of(dtype.block_len()) {
            return Ok(());
        }
        let expected = format_args!("rows of whole blocks of {} values in {dtype}", dtype.block_len());
        Err(TensorError::shape(op, expected, row))
    }

    #[cfg(feature = "gpu")]
    pub(crate) fn wrong_device(op: TensorOp, expected: &str, got: &str) -> TensorError {
        TensorError::Device { op, expected: expected.to_owned(), got: got.to_owned() }
    }
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorError::Shape { op, expected, got } => write!(f, "{op}: expected {expected}, got {got}"),
            TensorError::DType { op, expected, got } => {
                let names: Vec<_> = expected.iter().map(DType::to_string).collect();
                let is_limit = *op == TensorOp::Device && expected.len() == 1;
                let reason = if is_limit { ", the only dtype of this GPU" } else { "" };
                write!(f, "{op}: expected {}{reason}, got {got}", names.join(" or "))
            }
            TensorError::Device { op, expected, got } => {
                write!(f, "{op}: expected memory of {expected}, got that of {got}")
            }
            #[cfg(feature = "gpu")]
            TensorError::Gpu(error) => error.fmt(f),
            TensorError::OutOfMemory { bytes } => {
                write!(
                    f,
                    "out of memory: {} MB more were needed; try a smaller image or batch",
                    bytes.div_ceil(1 << 20)
                )
            }
        }
    }
}

impl std::error::Error for TensorError {}

impl From<InvalidShape> for TensorError {
    fn from(InvalidShape { dims }: InvalidShape) -> TensorError {
        TensorError::shape(TensorOp::Shape, ShapeRequirement::ValidShape, &dims[..])
    }
}

#[cfg(feature = "gpu")]
impl From<GpuError> for TensorError {
    fn from(error: GpuError) -> TensorError {
        TensorError::Gpu(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Linear, Tensor, WeightBytes, ops};

    #[test]
    fn a_program_can_match_on_what_is_wrong() {
        let layer =
            Linear::new(WeightBytes::new(DType::F32, &[0; 24]), [3, 2], Some(vec![0.0; 2])).unwrap_err();
        let expected = ShapeRequirement::Parameter { name: "bias", dims: vec![3] };
        assert_eq!(layer, TensorError::Shape { op: TensorOp::Linear, expected, got: ShapeFound::Size(2) });
        let (a, b) = (Tensor::zeros(&[2, 3]).unwrap(), Tensor::zeros(&[3, 2]).unwrap());
        match ops::add(a.clone(), &b).unwrap_err() {
            TensorError::Shape {
                op: TensorOp::Add,
                expected: ShapeRequirement::Exactly(expected),
                got: ShapeFound::Shape(got),
            } => assert_eq!((expected, got), (a.shape(), b.shape())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn memory_is_rounded_up() {
        let error = TensorError::OutOfMemory { bytes: 1 };
        assert_eq!(error.to_string(), "out of memory: 1 MB more were needed; try a smaller image or batch");
    }
}
