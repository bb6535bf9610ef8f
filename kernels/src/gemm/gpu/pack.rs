//! Weights in the order in which shaders read them.

#[cfg(test)]
mod tests;

use super::super::{PANEL, WeightMatrix};
use super::strip::{COLUMNS, StripPart, WeightStrip, inputs_at_once};
use crate::dtype::DType;
use crate::gpu::{Array, Gpu, GpuError, StagingSlice};
use crate::parallel;
use crate::quant::gpu::{self, GpuBlocks};
use crate::simd::Isa;
use bytemuck::Pod;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use std::ops::Range;

const _: () = assert!(COLUMNS == gpu::COLUMNS);

/// The terms of a sum are padded to a multiple of this with zeros, so that shaders can read several at once.
pub(crate) const TERMS: usize = 16;

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
        let is_moved = dtype == weight.dtype() && !weight.is_scaled();
        let data = match dtype {
            DType::F32 => upload::<f32>(gpu, weight, dtype, |isa, weight, at, strip| {
                strip.convert(isa, weight, at, |from, to| to.copy_from_slice(from));
            }),
            DType::F16 | DType::BF16 if is_moved => upload(gpu, weight, dtype, |isa, weight, at, strip| {
                strip.transpose(isa, weight, at);
            }),
            DType::F16 => upload::<u16>(gpu, weight, dtype, |isa, weight, at, strip| {
                strip.convert(isa, weight, at, |from, to| {
                    to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(from);
                });
            }),
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

    /// The bytes in the GPU's memory.
    #[cfg(test)]
    fn read(&self) -> Vec<u8> {
        self.data.read_bytes().expect("the GPU answers")
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

/// How the values of a part come into a strip.
type FillStrip<T> = fn(Isa, &WeightMatrix, StripPart, &mut WeightStrip<T>);

/// Inputs of a panel that a thread packs, a few strips of them.
struct StripRun<'a> {
    panel: usize,
    inputs: Range<usize>,
    /// Where those of each tap go.
    to: Vec<StagingSlice<'a>>,
}

/// Packs a weight in memory that the GPU reads.
fn upload<T: Pod + Send>(
    gpu: &Gpu,
    weight: &WeightMatrix,
    dtype: DType,
    fill: FillStrip<T>,
) -> Result<Array, GpuError> {
    let panel = (weight.taps() * weight.inputs()).next_multiple_of(TERMS) * COLUMNS;
    let len = weight.outputs().div_ceil(COLUMNS) * panel;
    Array::filled(gpu, dtype, [len, panel], &|from, to| {
        let runs = runs(weight, from / (panel * size_of::<T>()), size_of::<T>(), to);
        parallel::each(runs, |run| run.pack(weight, fill));
    })
}

/// Cuts the memory of the panels from `panel` on into runs. What pads the panels becomes zero.
fn runs<'a>(
    weight: &WeightMatrix,
    mut panel: usize,
    size: usize,
    mut to: StagingSlice<'a>,
) -> Vec<StripRun<'a>> {
    let (inputs, taps, row) = (weight.inputs(), weight.taps(), COLUMNS * size);
    let padding = (taps * inputs).next_multiple_of(TERMS) - taps * inputs;
    let at_once = parallel::grain(taps * inputs_at_once(taps) * COLUMNS) / (taps * COLUMNS);
    let mut take = |rows: usize| to.take(rows * row);
    let mut runs: Vec<StripRun<'a>> = Vec::new();
    loop {
        let first = runs.len();
        for tap in 0..taps {
            for (index, from) in (0..inputs).step_by(at_once).enumerate() {
                let inputs = from..inputs.min(from + at_once);
                // Whole panels, so there is none if there is no first row.
                let Some(part) = take(inputs.len()) else { return runs };
                if tap == 0 {
                    runs.push(StripRun { panel, inputs, to: Vec::with_capacity(taps) });
                }
                runs[first + index].to.push(part);
            }
        }
        if let Some(zeros) = take(padding) {
            zeros.clear();
        }
        panel += 1;
    }
}

impl StripRun<'_> {
    fn pack<T: Pod>(self, weight: &WeightMatrix, fill: FillStrip<T>) {
        let StripRun { panel, inputs, mut to } = self;
        let (isa, taps) = (Isa::best(), to.len());
        let mut strip = WeightStrip::new(taps);
        // A panel of the GPU holds several panels of the CPU. Those that do not exist stay zero.
        let first = panel * COLUMNS / PANEL;
        let count = (weight.outputs().div_ceil(PANEL) - first).min(COLUMNS / PANEL);
        let at_once = inputs_at_once(taps);
        for from in inputs.clone().step_by(at_once) {
            let len = at_once.min(inputs.end - from);
            for part in 0..count {
                fill(isa, weight, StripPart { panel: first + part, part, from, len }, &mut strip);
            }
            for (to, values) in to.iter_mut().zip(strip.values.chunks(len * COLUMNS)) {
                to.write(bytemuck::cast_slice(values));
            }
        }
    }
}
