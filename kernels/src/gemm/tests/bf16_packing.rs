//! Packing by the instructions of AVX512-BF16 against the portable one: the same lines, with denormals as zero.

use super::bf16::{RandomBits, Taps};
use super::*;
use crate::gemm::bf16::model::{flushed, value};
use crate::gemm::bf16::pack::{self, LineOrder};
use crate::gemm::bf16::{Bf16Line, LINE, LINES_PER_STEP, pack_avx512};
use crate::gemm::lhs::{LhsRows, SumPart};
use crate::gemm::packed::TileSource;
use crate::simd::Feature;

/// Lengths of the pieces of a sum, and how many of them: whole lines, parts of lines, both.
const PIECES: [(usize, usize); 6] = [(32, 1), (64, 9), (40, 1), (7, 1), (20, 9), (100, 3)];

/// Values of all kinds, denormals, infinities and NaN among them.
fn values(bits: &mut RandomBits, n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| f32::from_bits(u32::from(bits.bf16(i as u64 % 7)) << 16 | bits.next() as u32 & 0xFFFF))
        .collect()
}

/// The values of lines as the products see them; a NaN as none.
fn seen(lines: &[Bf16Line]) -> Vec<Option<u32>> {
    let of = |bits: &u16| Some(value(*bits)).filter(|x| !x.is_nan()).map(f32::to_bits);
    lines.iter().flat_map(|line| line.0.iter().map(of)).collect()
}

#[test]
fn rows_are_rounded_as_by_the_portable_code_in_both_orders() {
    if !Feature::Avx512Bf16.is_available() {
        println!("this CPU has no AVX512-BF16: not tested");
        return;
    }
    const ROWS: usize = 32;
    let mut bits = RandomBits(0x2545_F491_4F6C_DD1D);
    for (len, taps) in PIECES {
        let x: Vec<f32> = values(&mut bits, ROWS * taps * len).into_iter().map(flushed).collect();
        let rows = Taps { x: &x, taps, inputs: len };
        let places = (0..taps).flat_map(|tap| (0..ROWS).map(move |row| (row, tap)));
        let pointers: Vec<_> = places.map(|(row, tap)| rows.pointer(row, tap)).collect();
        let source = TileSource { pointers: &pointers, rows: ROWS, len };
        let steps = (taps * len).div_ceil(LINE);
        let packed = |pack: unsafe fn(&TileSource<'_>, &mut [Bf16Line])| {
            let mut out = vec![Bf16Line([0x7FC0; LINE]); ROWS * steps];
            // SAFETY: each pointer is that of a whole piece, and the CPU has the instructions.
            unsafe { pack(&source, &mut out) };
            out
        };
        let want = packed(pack::rows_scalar);
        assert!(seen(&packed(pack_avx512::by_row)) == seen(&want), "{taps} pieces of {len}");
        assert!(seen(&packed(pack_avx512::by_step)) == seen(&packed(pack::steps_scalar)), "{taps} of {len}");
        let by_step = packed(pack::steps_scalar);
        let [row_stride, step_stride] = LineOrder::ByStep.strides(ROWS, steps);
        for (i, line) in want.iter().enumerate() {
            assert!(*line == by_step[i / steps * row_stride + i % steps * step_stride], "line {i}");
        }
    }
}

#[test]
fn panels_of_each_dtype_are_rounded_as_by_the_portable_code() {
    if !Feature::Avx512Bf16.is_available() {
        println!("this CPU has no AVX512-BF16: not tested");
        return;
    }
    let mut bits = RandomBits(0x9E37_79B9_7F4A_7C15);
    // Whole panels of whole lines, which are transposed as they are, and others.
    for (outputs, inputs, taps) in [(32, 96, 1), (21, 64, 1), (16, 50, 1), (16, 32, 9), (5, 3, 4)] {
        let x = values(&mut bits, outputs * inputs * taps);
        let bytes: [(DType, Vec<u8>); 3] = [
            (DType::F32, x.iter().flat_map(|x| flushed(*x).to_le_bytes()).collect()),
            (DType::F16, x.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()),
            (DType::BF16, x.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()),
        ];
        for (dtype, bytes) in bytes {
            let weight = WeightMatrix::with_taps(
                Weight::new(dtype, std::sync::Arc::new(bytes)),
                outputs,
                inputs,
                taps,
            );
            for panel in 0..outputs.div_ceil(PANEL) {
                for part in [SumPart { from: 0, len: inputs }, SumPart { from: 0, len: inputs.min(32) }] {
                    let steps = (taps * part.len).div_ceil(LINE);
                    let packed = |pack: fn(Isa, &WeightMatrix, usize, SumPart, &mut [Bf16Line])| {
                        let mut out = vec![Bf16Line([0x7FC0; LINE]); steps * LINES_PER_STEP];
                        pack(Isa::best(), &weight, panel, part, &mut out);
                        seen(&out)
                    };
                    let (got, want) = (packed(pack_avx512::panel), packed(pack::panel));
                    assert!(got == want, "{dtype} [{outputs}, {inputs}, {taps}], panel {panel}, {part:?}");
                }
            }
        }
    }
}
