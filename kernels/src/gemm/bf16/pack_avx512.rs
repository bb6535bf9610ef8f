//! Packing where the CPU rounds to bf16 itself, 32 values at a time (`VCVTNE2PS2BF16`, AVX512-BF16).
//!
//! It takes denormals for zero, as the products do, so that these have the same bits as with [`super::pack`].

use super::pack::{LineOrder, round, with_widened};
use super::{Bf16Line, LINE};
use crate::dtype::DType;
use crate::gemm::lhs::SumPart;
use crate::gemm::packed::TileSource;
use crate::gemm::weight::{PANEL, WeightMatrix};
use crate::simd::{Feature, Isa};
use std::arch::x86_64::*;

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`], on a CPU with AVX512-BF16.
pub(in crate::gemm) unsafe fn by_row(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller's promises.
    unsafe { rows(source, LineOrder::ByRow, out) }
}

/// # Safety
/// As [`crate::gemm::packed::TileLayout::pack_lhs`], on a CPU with AVX512-BF16.
pub(in crate::gemm) unsafe fn by_step(source: &TileSource<'_>, out: &mut [Bf16Line]) {
    // SAFETY: the caller's promises.
    unsafe { rows(source, LineOrder::ByStep, out) }
}

/// # Safety
/// As [`by_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn rows(source: &TileSource<'_>, order: LineOrder, out: &mut [Bf16Line]) {
    let &TileSource { pointers, rows, len } = source;
    let [row_stride, step_stride] = order.strides(rows, out.len() / rows);
    for row in 0..rows {
        let mut at = 0;
        for piece in pointers.iter().skip(row).step_by(rows) {
            // SAFETY: `pack_lhs` requires each pointer to be valid for as many values.
            let mut piece = unsafe { std::slice::from_raw_parts(*piece, len) };
            while !piece.is_empty() {
                let line = &mut out[row * row_stride + at / LINE * step_stride];
                let done = match piece.first_chunk() {
                    Some(values) if at.is_multiple_of(LINE) => {
                        *line = rounded(values);
                        LINE
                    }
                    _ => {
                        let line = &mut line.0[at % LINE..];
                        line.iter_mut().zip(piece).for_each(|(to, from)| *to = round(*from));
                        line.len().min(piece.len())
                    }
                };
                (at, piece) = (at + done, &piece[done..]);
            }
        }
        if !at.is_multiple_of(LINE) {
            out[row * row_stride + at / LINE * step_stride].0[at % LINE..].fill(0);
        }
    }
}

/// The nearest bf16 of the values of a line.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(values: &[f32; LINE]) -> Bf16Line {
    // SAFETY: the pointers are into 32 values.
    let [low, high] =
        unsafe { [_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(PANEL))] };
    // SAFETY: both types are 512 bits, and any bits are values of them.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// A routine of [`transposed`].
type PackTransposed = unsafe fn(&[&[u8]; PANEL], SumPart, &mut [Bf16Line]);

/// As [`super::pack::panel`], on a CPU with AVX512-BF16.
pub(in crate::gemm) fn panel(
    isa: Isa,
    weight: &WeightMatrix,
    panel: usize,
    part: SumPart,
    out: &mut [Bf16Line],
) {
    assert!(Feature::Avx512Bf16.is_available());
    if weight.taps() == 1 && part.len.is_multiple_of(LINE) && !weight.is_scaled() {
        let (rows, _) = weight.rows_of_panel(panel);
        let is_whole = rows.iter().all(|row| !row.is_empty());
        // SAFETY: the CPU has the instructions; all rows exist, each with the values of the part, in the dtype.
        let pack: Option<PackTransposed> = match weight.dtype() {
            DType::F16 => Some(transposed::<F16Values>),
            DType::BF16 => Some(transposed::<Bf16Values>),
            DType::F32 => Some(transposed::<F32Values>),
            _ => None,
        };
        if let Some(pack) = pack.filter(|_| is_whole) {
            // SAFETY: the CPU has the instructions, and the dtype is the one of the values.
            return unsafe { pack(&rows, part, out) };
        }
    }
    // SAFETY: the CPU has the instructions.
    with_widened(isa, weight, panel, part, |wide| unsafe { columns(wide, out) });
}

/// As [`super::pack::PackColumns`].
///
/// # Safety
/// - The CPU has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn columns(wide: &[f32], out: &mut [Bf16Line]) {
    let (pairs, last) = wide.as_chunks::<LINE>();
    let (lines, rest) = out.split_at_mut(pairs.len());
    // Value `i` of the first term, then that of the second.
    let order: [u16; LINE] = std::array::from_fn(|i| (i / 2 + i % 2 * PANEL) as u16);
    // SAFETY: 32 values of 16 bits.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for (line, pair) in lines.iter_mut().zip(pairs) {
        // SAFETY: both types are 512 bits, and any bits are values of them.
        *line = unsafe {
            let pair = std::mem::transmute::<Bf16Line, __m512i>(rounded(pair));
            std::mem::transmute::<__m512i, Bf16Line>(_mm512_permutexvar_epi16(order, pair))
        };
    }
    rest.fill(Bf16Line::default());
    for (output, value) in last.iter().enumerate() {
        rest[0].0[2 * output] = round(*value);
    }
}

/// Packs a panel of `[16][terms]` values, whole steps of terms.
///
/// # Safety
/// - The CPU has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn outputs(outputs: &[f32], out: &mut [Bf16Line]) {
    let len = outputs.len() / PANEL;
    assert!(len.is_multiple_of(LINE));
    let rows = std::array::from_fn(|output| bytemuck::cast_slice(&outputs[output * len..][..len]));
    // SAFETY: the CPU has the instructions, and each row has all values.
    unsafe { transposed::<F32Values>(&rows, SumPart { from: 0, len }, out) };
}

/// A dtype of weights, read 32 values at a time.
trait LineOfValues {
    const BYTES: usize;

    /// The nearest bf16 of 32 values.
    ///
    /// # Safety
    /// - They are valid for reads, and the CPU has AVX512-BF16.
    unsafe fn load(from: *const u8) -> __m512i;
}

struct F32Values;
struct F16Values;
struct Bf16Values;

impl LineOfValues for F32Values {
    const BYTES: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: the caller's; both types are 512 bits.
        unsafe {
            let [low, high] = [0, 64].map(|at| _mm512_loadu_ps(from.add(at).cast()));
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }
}

impl LineOfValues for F16Values {
    const BYTES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: the caller's; both types are 512 bits.
        unsafe {
            let low = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
            let high = _mm512_cvtph_ps(_mm256_loadu_si256(from.add(32).cast()));
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }
}

impl LineOfValues for Bf16Values {
    const BYTES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
}

/// Packs a part of a whole panel of plain values: 32 terms of 16 outputs are 16 lines of 16 pairs, transposed.
///
/// # Safety
/// - The CPU has AVX512-BF16; each row has the values of the part, in the dtype.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn transposed<V: LineOfValues>(rows: &[&[u8]; PANEL], part: SumPart, out: &mut [Bf16Line]) {
    let starts = rows.map(|row| row[part.from * V::BYTES..(part.from + part.len) * V::BYTES].as_ptr());
    for (step, lines) in out.as_chunks_mut::<PANEL>().0.iter_mut().enumerate().take(part.len / LINE) {
        // SAFETY: the step is within the part, whose bytes each row has.
        let pairs = unsafe { starts.map(|start| V::load(start.add(step * LINE * V::BYTES))) };
        for (line, pairs) in lines.iter_mut().zip(transposed_pairs(pairs)) {
            // SAFETY: both types are 512 bits, and any bits are values of them.
            *line = unsafe { std::mem::transmute::<__m512i, Bf16Line>(pairs) };
        }
    }
}

/// The transposed matrix of 16 rows of 16 values of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed_pairs(rows: [__m512i; PANEL]) -> [__m512i; PANEL] {
    let mut a = rows;
    // Within lanes of 128 bits: 2x2 values, then 2x2 pairs of them.
    for i in (0..PANEL).step_by(2) {
        let [x, y] = [rows[i], rows[i + 1]];
        (a[i], a[i + 1]) = (_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    }
    let mut b = a;
    for i in (0..PANEL).step_by(4) {
        (b[i], b[i + 1]) = (_mm512_unpacklo_epi64(a[i], a[i + 2]), _mm512_unpackhi_epi64(a[i], a[i + 2]));
        let [x, y] = [a[i + 1], a[i + 3]];
        (b[i + 2], b[i + 3]) = (_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    }
    // Then the lanes: lane `l` of `b[4 i + j]` has column `4 l + j` of rows `4 i..4 i + 4`.
    let mut columns = b;
    for j in 0..4 {
        let [rows0, rows4, rows8, rows12] = [b[j], b[4 + j], b[8 + j], b[12 + j]];
        let [even, odd] = lanes(rows0, rows4);
        let [later_even, later_odd] = lanes(rows8, rows12);
        [columns[j], columns[8 + j]] = lanes(even, later_even);
        [columns[4 + j], columns[12 + j]] = lanes(odd, later_odd);
    }
    columns
}

/// The even lanes of `a`, then those of `b`; the odd ones likewise.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(a: __m512i, b: __m512i) -> [__m512i; 2] {
    [_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b)]
}
