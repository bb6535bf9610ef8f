//! The kernel for GPUs: blocks become the panels of a product just before it runs.
//!
//! So the memory of a GPU holds the blocks, and the values of one weight at a time, in memory that the next one takes again.
//! Reading the blocks inside a product would repeat the work for each of its tiles.

use crate::DType;
use crate::gpu::{Array, BindingAccess, Dispatch, Gpu, GpuError, Shader, ShaderVariant, in_rows, prelude};
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup.
const THREADS: usize = 256;
/// Outputs of a panel.
pub(crate) const COLUMNS: usize = 64;
/// Values of a row that a thread has.
const GROUP: usize = 32;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    count: u32,
    groups: u32,
    outputs: u32,
    row_bytes: u32,
    inputs: u32,
    taps: u32,
    byte_first: u32,
    out_first: u32,
}

pub(crate) static DEQUANTIZE: Shader = Shader {
    name: "dequantize",
    sources: &[prelude::ELEMENTS, include_str!("dequantize.wgsl")],
    bindings: &[BindingAccess::Read, BindingAccess::Write],
    params: size_of::<Params>(),
    variants,
};

/// The formats, with the name of each in the shader and that of how it has its scales.
const FORMATS: &[(DType, &str, &str)] = &[
    (DType::Q8_0, "Q8_0", "PLAIN_SCALE"),
    (DType::Q4_0, "Q4_0", "PLAIN_SCALE"),
    (DType::Q4_1, "Q4_1", "PLAIN_OFFSET"),
    (DType::Q5_0, "Q5_0", "PLAIN_SCALE"),
    (DType::Q5_1, "Q5_1", "PLAIN_OFFSET"),
    (DType::Q2_K, "Q2_K", ""),
    (DType::Q3_K, "Q3_K", ""),
    (DType::Q4_K, "Q4_K", "K_PAIRS"),
    (DType::Q5_K, "Q5_K", "K_PAIRS"),
    (DType::Q6_K, "Q6_K", ""),
    (DType::IQ4_NL, "IQ4_NL", "PLAIN_SCALE"),
    (DType::IQ4_XS, "IQ4_XS", ""),
];

fn variant(format: DType, to: DType) -> Option<ShaderVariant> {
    let (_, name, scales) = FORMATS.iter().find(|(known, ..)| *known == format)?;
    let variant = ShaderVariant::new(to, 1).flag(name, true).flag(scales, !scales.is_empty());
    Some(variant.constant("BLOCK", format.block_len() as u32).constant("BYTES", format.block_bytes() as u32))
}

fn variants() -> Vec<ShaderVariant> {
    let of = |to| FORMATS.iter().filter_map(move |(format, ..)| variant(*format, to));
    of(DType::F32).chain(of(DType::F16)).collect()
}

/// A weight `[outputs, inputs, taps]` of blocks in the memory of a GPU, whose rows are whole blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuBlocks {
    /// The block format.
    pub(crate) format: DType,
    /// The dtype that its values become, `F32` or `F16`.
    pub(crate) to: DType,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) taps: usize,
}

impl GpuBlocks {
    fn row_bytes(self) -> usize {
        self.format.bytes(self.inputs * self.taps)
    }

    /// Bytes of a panel of values, and of the blocks of its outputs.
    fn panel_bytes(self) -> [usize; 2] {
        [self.inputs * self.taps * COLUMNS * self.to.size(), COLUMNS * self.row_bytes() + 4]
    }

    /// Whether a GPU can dequantize it: it reads the format, and can bind a panel and its blocks.
    pub(crate) fn fits(self, gpu: &Gpu) -> bool {
        let terms = self.inputs * self.taps;
        variant(self.format, self.to).is_some()
            && terms.is_multiple_of(self.format.block_len().max(GROUP))
            && self.panel_bytes().iter().all(|bytes| gpu.binds(*bytes))
    }

    /// The values in panels, in memory of the pool.
    ///
    /// # Errors
    /// No memory, a lost GPU.
    pub(crate) fn dequantized(self, blocks: &Array) -> Result<Array, GpuError> {
        let (gpu, terms) = (blocks.gpu(), self.inputs * self.taps);
        let panels = self.outputs.div_ceil(COLUMNS);
        let out = Array::scratch(gpu, self.to, panels * terms * COLUMNS)?;
        let at_once = self.panel_bytes().map(|bytes| gpu.rows_at_once(bytes)).into_iter().min().unwrap_or(1);
        let variant = variant(self.format, self.to).expect("a format that `fits` knows");
        for panel in (0..panels).step_by(at_once) {
            let count = at_once.min(panels - panel);
            let outputs = (self.outputs - panel * COLUMNS).min(count * COLUMNS);
            let start = panel * COLUMNS * self.row_bytes();
            let end = start + outputs * self.row_bytes();
            // Words, of which the first may begin before the first block.
            let (from, word) = blocks.window(start / 4, end.div_ceil(4) - start / 4);
            let (to, out_first) = out.window(panel * terms * COLUMNS, count * terms * COLUMNS);
            let threads = count * terms / GROUP * COLUMNS;
            gpu.dispatch(&Dispatch {
                shader: &DEQUANTIZE,
                variant: variant.clone(),
                arrays: &[from, to],
                params: Params {
                    count: threads as u32,
                    groups: (terms / GROUP) as u32,
                    outputs: outputs as u32,
                    row_bytes: self.row_bytes() as u32,
                    inputs: self.inputs as u32,
                    taps: self.taps as u32,
                    byte_first: 4 * word + (start % 4) as u32,
                    out_first,
                },
                groups: in_rows(threads.div_ceil(THREADS)),
                flops: 0,
            })?;
        }
        Ok(out)
    }
}
