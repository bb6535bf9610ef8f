//! Parts of panels: columns of up to sixteen rows of a weight, transposed and converted to `f32`.
//!
//! A routine for each dtype: [`PLAIN`] lists those whose values stand alone, and [`BlockPanel`] is that of all block formats.

use super::plain_value::{Byte, E4M3, E5M2, PlainValue};
use crate::dtype::{DType, WeightBytes};
use crate::quant::{self, BlockKernels, FormatVisitor};
use crate::simd::{Isa, Simd, SimdOp, TRANSPOSE_COLUMNS, TRANSPOSE_ROWS, prefetch};
use latent_dtype::block::MAX_BLOCK;
use std::marker::PhantomData;
use std::ops::Range;

/// Outputs in a panel: two AVX2 vectors, one of AVX-512, four of NEON.
pub const PANEL: usize = 16;

const _: () = assert!(PANEL == TRANSPOSE_ROWS);

/// Values of a cache line in 16 bits, and how far ahead of its own a row is prefetched.
const LINE: usize = 32;
const AHEAD: usize = 64;

/// Bytes that a row of blocks is prefetched ahead of its own: two cache lines.
const AHEAD_BYTES: usize = 128;

/// Maximum bytes of a block, and one of zeros, in place of the rows that do not exist.
const MAX_BLOCK_BYTES: usize = 2 * MAX_BLOCK;
static ZEROS: [u8; MAX_BLOCK_BYTES] = [0; MAX_BLOCK_BYTES];

/// A part of a panel.
pub(super) struct PanelPart<'a> {
    /// The rows of the weight that exist, whole. At most [`PANEL`]. A row begins with the block that has its first value.
    pub(super) rows: &'a [&'a [u8]],
    /// How many values of a row's first block belong to the row before.
    pub(super) skips: [usize; PANEL],
    /// The columns of each row: `inputs * taps` of them, the taps of an input side by side.
    pub(super) columns: Range<usize>,
    /// Number of inputs.
    pub(super) inputs: usize,
    /// Taps of each input.
    pub(super) taps: usize,
    /// `[taps][inputs][PANEL]`. Rows that do not exist become zero.
    pub(super) out: &'a mut [f32],
}

/// Where the columns of a part go, in their order: the taps to planes of their own.
struct Places {
    input: usize,
    tap: usize,
    inputs: usize,
    taps: usize,
}

impl Places {
    #[inline(always)]
    fn next(&mut self) -> usize {
        let place = (self.tap * self.inputs + self.input) * PANEL;
        self.tap += 1;
        if self.tap == self.taps {
            (self.input, self.tap) = (self.input + 1, 0);
        }
        place
    }
}

impl PanelPart<'_> {
    fn places(&self) -> Places {
        Places { input: 0, tap: 0, inputs: self.inputs, taps: self.taps }
    }

    fn check(&self, dtype: DType) {
        let PanelPart { rows, skips, columns, inputs, taps, out } = self;
        let needed = |skip: usize| (skip + columns.end).div_ceil(dtype.block_len()) * dtype.block_bytes();
        let is_whole = |(row, skip): (&&[u8], &usize)| row.len() >= needed(*skip);
        assert!(rows.len() <= PANEL && rows.iter().zip(skips).all(is_whole), "rows of {} bytes", needed(0));
        assert!(columns.len() == inputs * taps && out.len() >= columns.len() * PANEL, "a part of a panel");
    }
}

/// Converts a part of a panel of a weight, exactly.
///
/// # Panics
/// If the part is not one of a weight of this dtype.
pub(super) fn dequantize(isa: Isa, dtype: DType, part: PanelPart<'_>) {
    part.check(dtype);
    if let Some((_, routine)) = PLAIN.iter().find(|(plain, _)| *plain == dtype) {
        return routine(isa, part);
    }
    quant::with_format(dtype, BlockPanel { isa, part })
        .unwrap_or_else(|| panic!("{dtype} is not a dtype of weights"));
}

/// Fills a part of a panel with the values of one dtype.
type FillPanel = fn(Isa, PanelPart<'_>);

/// The routine of each dtype whose values stand alone.
const PLAIN: &[(DType, FillPanel)] = &[
    (DType::F32, |isa, part| isa.run(PlainPanel::<f32>(part, PhantomData))),
    (DType::F16, |isa, part| isa.run(PlainPanel::<half::f16>(part, PhantomData))),
    (DType::BF16, |isa, part| isa.run(PlainPanel::<half::bf16>(part, PhantomData))),
    (DType::F8E4M3, |isa, part| isa.run(PlainPanel::<Byte<E4M3>>(part, PhantomData))),
    (DType::F8E5M2, |isa, part| isa.run(PlainPanel::<Byte<E5M2>>(part, PhantomData))),
    (DType::I8, |isa, part| isa.run(PlainPanel::<i8>(part, PhantomData))),
];

/// The routine of a dtype whose values stand alone. The part has been checked.
struct PlainPanel<'a, V>(PanelPart<'a>, PhantomData<V>);

impl<V: PlainValue> SimdOp for PlainPanel<'_, V> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PlainPanel(part, _) = self;
        let mut places = part.places();
        let PanelPart { rows, columns, out, .. } = part;
        let row = |r: usize| &rows[r][columns.start * V::BYTES..columns.end * V::BYTES];
        let mut whole = 0;
        if rows.len() == PANEL {
            whole = columns.len() / TRANSPOSE_COLUMNS * TRANSPOSE_COLUMNS;
            let starts: [*const u8; PANEL] = std::array::from_fn(|r| row(r).as_ptr());
            let to = out.as_mut_ptr();
            for first in (0..whole).step_by(TRANSPOSE_COLUMNS) {
                if first % LINE == 0 {
                    for start in starts {
                        prefetch(start.wrapping_add((first + AHEAD) * V::BYTES).cast(), 1);
                    }
                }
                // SAFETY: eight more columns of each row, and places in `out`, which holds 16 values for each column.
                unsafe {
                    let rows = starts.map(|start| start.add(first * V::BYTES));
                    let places = std::array::from_fn(|_| to.add(places.next()));
                    V::transpose(s, &rows, &places);
                }
            }
        }
        for column in whole..columns.len() {
            let to = &mut out[places.next()..][..PANEL];
            to[rows.len()..].fill(0.0);
            for (r, to) in to[..rows.len()].iter_mut().enumerate() {
                *to = WeightBytes::new(V::DTYPE, row(r)).get(column);
            }
        }
    }
}

/// The routine of block formats. The part has been checked.
struct BlockPanel<'a> {
    isa: Isa,
    part: PanelPart<'a>,
}

impl FormatVisitor for BlockPanel<'_> {
    type Output = ();
    fn visit<F: BlockKernels>(self) {
        self.isa.run(BlockPanelOf::<F>(self.part, PhantomData));
    }
}

struct BlockPanelOf<'a, F>(PanelPart<'a>, PhantomData<F>);

impl<F: BlockKernels> SimdOp for BlockPanelOf<'_, F> {
    type Output = ();
    /// Blocks are dequantized whole. Where the columns begin or end within one, the others of it go to a place that is
    /// not read.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const { assert!(F::BYTES <= MAX_BLOCK_BYTES) };
        let BlockPanelOf(part, _) = self;
        if part.skips != [0; PANEL] {
            return shifted_blocks::<F, S>(s, part);
        }
        let mut places = part.places();
        let PanelPart { rows, columns, out, .. } = part;
        let (len, out) = (out.len(), out.as_mut_ptr());
        let mut wide = [0f32; PANEL * MAX_BLOCK];
        let mut unread = [0f32; PANEL];
        let unread = unread.as_mut_ptr();
        let mut to = [unread; MAX_BLOCK];
        let to = &mut to[..F::BLOCK];
        for block in columns.start / F::BLOCK..columns.end.div_ceil(F::BLOCK) {
            let mut from = [ZEROS.as_ptr(); PANEL];
            for (from, row) in from.iter_mut().zip(rows) {
                *from = row[block * F::BYTES..][..F::BYTES].as_ptr();
                prefetch(from.wrapping_add(AHEAD_BYTES).cast(), 1);
            }
            for (column, to) in (block * F::BLOCK..).zip(&mut *to) {
                *to = unread;
                if columns.contains(&column) {
                    let place = places.next();
                    assert!(place + PANEL <= len, "a place in the panel");
                    // SAFETY: sixteen values from there on are in `out`.
                    *to = unsafe { out.add(place) };
                }
            }
            // SAFETY: a whole block of each row; a place for each column, of sixteen values in `out` or in `unread`.
            unsafe { F::dequantize_columns(s, &from, to, &mut wide) };
        }
    }
}

/// Fills a part whose rows begin within blocks, each at another place: a part of each row is dequantized, then all of them
/// are transposed.
#[inline(always)]
fn shifted_blocks<F: BlockKernels, S: Simd>(s: S, part: PanelPart<'_>) {
    let mut places = part.places();
    let PanelPart { rows, skips, columns, out, .. } = part;
    let mut wide = [0f32; PANEL * MAX_BLOCK];
    let mut block = [0f32; MAX_BLOCK];
    let block = &mut block[..F::BLOCK];
    for from in columns.clone().step_by(MAX_BLOCK) {
        let len = MAX_BLOCK.min(columns.end - from);
        for ((row, skip), wide) in rows.iter().zip(skips).zip(wide.as_chunks_mut::<MAX_BLOCK>().0) {
            let mut done = 0;
            while done < len {
                let at = skip + from + done;
                let (index, first) = (at / F::BLOCK, at % F::BLOCK);
                let count = (F::BLOCK - first).min(len - done);
                F::dequantize_blocks(s, &row[index * F::BYTES..][..F::BYTES], block);
                wide[done..done + count].copy_from_slice(&block[first..first + count]);
                done += count;
            }
        }
        for column in 0..len {
            let to = &mut out[places.next()..][..PANEL];
            for (to, wide) in to.iter_mut().zip(wide.as_chunks::<MAX_BLOCK>().0) {
                *to = wide[column];
            }
        }
    }
}
