//! Weights in the order in which shaders read them.

use super::super::{PANEL, WeightMatrix};
use crate::dtype::{DType, WeightBytes};
use crate::gpu::{Array, Gpu, GpuError};
use crate::parallel;
use crate::quant::gpu::{self, GpuBlocks};
use crate::simd::Isa;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

/// Outputs of a panel.
pub(crate) const COLUMNS: usize = 64;

const _: () = assert!(COLUMNS == gpu::COLUMNS);

/// The terms of a sum are padded to a multiple of this with zeros, so that shaders can read several at once.
pub(crate) const TERMS: usize = 16;

/// Inputs that are transposed at once: with nine taps, their values fit in the L1 cache.
const INPUTS: usize = 32;

/// A weight `[outputs, inputs, taps]` packed for the GPU: `[panels][taps * inputs, padded][64]`, where a panel is 64
/// outputs. Outputs and terms past the last one are zero. One of a block format is its blocks as they are, which are packed
/// for each product.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    pub(crate) data: Array,
    blocks: Option<GpuBlocks>,
    outputs: usize,
    inputs: usize,
    taps: usize,
}

impl PackedWeight {
    /// Packs and uploads a weight. With `half` it is stored as `f16`, else in its own dtype; `f8_e4m3` and `f8_e5m2` as `f16`,
    /// weights with scales as `f32`. `f16` and `bf16` take 16 bits a value even on a GPU whose shaders lack `f16`. Blocks
    /// are uploaded as they are, and become `f16` with `half`, else `f32`, for each product; those whose rows are not whole
    /// blocks, or too long for the GPU to bind, are stored so.
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub fn new(gpu: &Gpu, weight: &WeightMatrix, half: bool) -> Result<PackedWeight, GpuError> {
        if let Some(packed) = PackedWeight::of_blocks(gpu, weight, half)? {
            return Ok(packed);
        }
        let dtype = match weight.dtype() {
            _ if half => DType::F16,
            dtype if dtype.is_block_format() || dtype == DType::I8 || weight.is_scaled() => DType::F32,
            // Every 8-bit float is a half, too.
            dtype if dtype.is_f8() => DType::F16,
            dtype => dtype,
        };
        let upload = |bytes: &[u8]| Array::weight(gpu, WeightBytes::new(dtype, bytes));
        let data = match dtype {
            DType::F32 => {
                upload(bytemuck::cast_slice(&pack::<f32>(weight, |from, to| to.copy_from_slice(from))))
            }
            DType::F16 => upload(bytemuck::cast_slice(&pack::<u16>(weight, |from, to| {
                to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(from);
            }))),
            DType::BF16 => upload(bytemuck::cast_slice(&pack::<u16>(weight, |from, to| {
                to.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(from);
            }))),
            _ => unreachable!("{dtype} is not stored"),
        }?;
        let (outputs, inputs, taps) = (weight.outputs(), weight.inputs(), weight.taps());
        Ok(PackedWeight { data, blocks: None, outputs, inputs, taps })
    }

    /// The blocks of a weight, if it has some and they can be read there.
    fn of_blocks(gpu: &Gpu, weight: &WeightMatrix, half: bool) -> Result<Option<PackedWeight>, GpuError> {
        let (format, to) = (weight.dtype(), if half { DType::F16 } else { DType::F32 });
        let (outputs, inputs, taps) = (weight.outputs(), weight.inputs(), weight.taps());
        let blocks = GpuBlocks { format, to, outputs, inputs, taps };
        if !format.is_block_format()
            || !weight.has_whole_rows()
            || (half && !gpu.has_f16())
            || !blocks.fits(gpu)
        {
            return Ok(None);
        }
        let data = Array::words(gpu, weight.stored_bytes())?;
        Ok(Some(PackedWeight { data, blocks: Some(blocks), outputs, inputs, taps }))
    }

    /// The weight as a product reads it: itself, or its blocks dequantized.
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub(crate) fn ready(&self) -> Result<PackedWeight, GpuError> {
        let data = match self.blocks {
            None => self.data.clone(),
            Some(blocks) => blocks.dequantized(&self.data)?,
        };
        Ok(PackedWeight { data, blocks: None, ..*self })
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of inputs; of a convolution, channels.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of the GPU's memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.data.len() * self.data.dtype().size()) as u64
    }

    /// Terms of a sum: taps times inputs.
    pub(crate) fn terms(&self) -> usize {
        self.taps * self.inputs
    }

    /// The terms of a panel, zeros included.
    pub(crate) fn depth(&self) -> usize {
        self.terms().next_multiple_of(TERMS)
    }
}

/// A weight in panels, converted to the stored dtype by `narrow`.
fn pack<T: Copy + Default + Send>(
    weight: &WeightMatrix,
    narrow: impl Fn(&[f32], &mut [T]) + Sync + Send,
) -> Vec<T> {
    let (outputs, inputs, taps) = (weight.outputs(), weight.inputs(), weight.taps());
    let panel = (taps * inputs).next_multiple_of(TERMS) * COLUMNS;
    let mut packed = vec![T::default(); outputs.div_ceil(COLUMNS) * panel];
    let isa = Isa::best();
    parallel::chunks_mut(&mut packed, panel, |index, panel| {
        let mut wide = vec![0.0; taps * INPUTS * PANEL];
        let mut narrowed = vec![T::default(); taps * INPUTS * PANEL];
        // A panel of the GPU holds several panels of the CPU.
        let first = index * COLUMNS / PANEL;
        let count = (outputs.div_ceil(PANEL) - first).min(COLUMNS / PANEL);
        for part in 0..count {
            for from in (0..inputs).step_by(INPUTS) {
                let len = INPUTS.min(inputs - from);
                weight.widen(isa, first + part, from, len, &mut wide);
                narrow(&wide, &mut narrowed);
                for tap in 0..taps {
                    let values = narrowed[tap * len * PANEL..][..len * PANEL].chunks_exact(PANEL);
                    let rows = panel[(tap * inputs + from) * COLUMNS..].chunks_exact_mut(COLUMNS);
                    for (values, row) in values.zip(rows) {
                        row[part * PANEL..][..PANEL].copy_from_slice(values);
                    }
                }
            }
        }
    });
    packed
}
