//! Every instruction set against the specification, and products with quantized weights against those with the dequantized.

use super::*;
use crate::conv2d::{Algorithm, ConvWeight, Convolution, Padding, conv2d_fused_with};
use crate::dtype::WeightBytes;
use crate::gemm::{PANEL, WeightMatrix, gemm_with};
use crate::parallel;
use crate::testing::random;
use proptest::prelude::*;

const BLOCK: usize = Q8_0::BLOCK;

fn to_f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Blocks of any scale and any bytes, -128 too.
fn any_blocks(seed: u64, count: usize) -> Vec<u8> {
    let (scales, values) = (random(seed, count), random(seed + 1, count * BLOCK));
    let block = |(scale, values): (f32, &[f32; BLOCK])| {
        let scale = half::f16::from_f32(scale).to_le_bytes();
        scale.into_iter().chain(values.map(|v| ((v * 128.0) as i8).cast_unsigned()))
    };
    scales.into_iter().zip(values.as_chunks().0).flat_map(block).collect()
}

#[test]
fn every_block_format_has_kernels() {
    struct DTypeOf;
    impl FormatVisitor for DTypeOf {
        type Output = DType;
        fn visit<F: BlockKernels>(self) -> DType {
            F::DTYPE
        }
    }
    for dtype in DType::all() {
        assert_eq!(with_format(dtype, DTypeOf), dtype.is_block_format().then_some(dtype));
    }
}

#[test]
fn what_no_block_can_hold_is_refused_with_its_index() {
    for value in [f32::NAN, f32::INFINITY, 8.4e6] {
        let mut values = vec![1.0; 96];
        values[40] = value;
        assert_eq!(quantize(DType::Q8_0, &values, 96).unwrap_err().index, 40);
    }
    let most = vec![Q8_0::MAX; 32];
    assert_eq!(dequantize(DType::Q8_0, &quantize(DType::Q8_0, &most, 32).unwrap()), most);
}

/// Rows that do not exist are blocks of zero bytes in a panel.
#[test]
fn a_block_of_zero_bytes_is_one_of_zeros() {
    for codec in block::CODECS {
        let (len, size) = (codec.dtype().block_len(), codec.dtype().block_bytes());
        assert_eq!(bits(&codec.dequantize(&vec![0; size])), vec![0; len]);
    }
}

#[test]
#[should_panic(expected = "rows of 48 values are not whole blocks")]
fn rows_are_whole_blocks() {
    drop(quantize(DType::Q8_0, &[0.0; 96], 48));
}

#[test]
#[should_panic(expected = "rows of whole blocks of q8_0")]
fn a_matrix_has_rows_of_whole_blocks() {
    let bytes = any_blocks(1, 3);
    let _ = WeightMatrix::new(WeightBytes::new(DType::Q8_0, &bytes), 2, 48);
}

#[test]
fn threads_make_no_difference() {
    let values = random(5, 3 * GRAIN + BLOCK);
    let want = codec(DType::Q8_0).quantize(&values, BLOCK).unwrap();
    for threads in [1, 2, 5] {
        let both = || {
            let bytes = quantize(DType::Q8_0, &values, BLOCK).unwrap();
            let values = dequantize(DType::Q8_0, &bytes);
            (bytes, values)
        };
        let (bytes, widened) = parallel::with_threads(threads, both).unwrap();
        assert!(bytes == want && widened == codec(DType::Q8_0).dequantize(&want), "{threads} threads");
    }
}

/// Taps and inputs whose product is a number of whole blocks.
fn rows() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        (Just(1), (1usize..8).prop_map(|blocks| 32 * blocks)),
        (Just(9), (1usize..4).prop_map(|blocks| 32 * blocks)),
        (Just(4), (1usize..12).prop_map(|blocks| 8 * blocks)),
        (Just(16), (1usize..12).prop_map(|blocks| 2 * blocks)),
    ]
}

proptest! {
    #[test]
    fn every_set_writes_the_same_blocks(blocks in 1usize..40, seed: u64, exponent in -36i32..22) {
        let values: Vec<f32> =
            random(seed, blocks * BLOCK).iter().map(|v| v * (exponent as f32).exp2()).collect();
        let want = codec(DType::Q8_0).quantize(&values, BLOCK).unwrap();
        for isa in Isa::available() {
            prop_assert_eq!(&quantize_with(isa, DType::Q8_0, &values, BLOCK).unwrap(), &want, "{}", isa);
        }
    }

    #[test]
    fn every_set_reads_the_same_values(blocks in 1usize..40, seed in 0u64..1 << 40) {
        let bytes = any_blocks(seed, blocks);
        let want = codec(DType::Q8_0).dequantize(&bytes);
        for isa in Isa::available() {
            prop_assert_eq!(bits(&dequantize_with(isa, DType::Q8_0, &bytes)), bits(&want), "{}", isa);
        }
        let weight = WeightBytes::new(DType::Q8_0, &bytes);
        prop_assert_eq!(bits(&weight.to_f32()), bits(&want));
    }

    /// Any part of any panel, with ends within blocks and outputs past the last.
    #[test]
    fn panels_hold_every_value_in_its_place(
        outputs in 1usize..40, (taps, inputs) in rows(), seed in 0u64..1 << 40, panel in 0usize..3, at: [u16; 2],
    ) {
        let panel = panel % outputs.div_ceil(PANEL);
        let from = usize::from(at[0]) % inputs;
        let len = 1 + usize::from(at[1]) % (inputs - from);
        let bytes = any_blocks(seed, outputs * inputs * taps / BLOCK);
        let values = codec(DType::Q8_0).dequantize(&bytes);
        let matrix = WeightMatrix::with_taps(WeightBytes::new(DType::Q8_0, &bytes).into(), outputs, inputs, taps);
        prop_assert_eq!((matrix.bytes(), matrix.dtype()), (bytes.len(), DType::Q8_0));
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; taps * len * PANEL + 1];
            matrix.widen(isa, panel, from, len, &mut out);
            prop_assert!(out.pop().unwrap().is_nan(), "beyond the panel");
            for (i, got) in out.iter().enumerate() {
                let (tap, input) = (i / PANEL / len, i / PANEL % len + from);
                let output = panel * PANEL + i % PANEL;
                let want = if output < outputs { values[(output * inputs + input) * taps + tap] } else { 0.0 };
                prop_assert_eq!(got.to_bits(), want.to_bits(), "{} {} {} {}", isa, output, input, tap);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_product_is_that_of_the_widened_weight(m in 1usize..60, n in 1usize..80, blocks in 1usize..30, seed in 0u64..1 << 40) {
        let k = blocks * BLOCK;
        let bytes = quantize(DType::Q8_0, &random(seed, n * k), k).unwrap();
        let wide = to_f32_bytes(&codec(DType::Q8_0).dequantize(&bytes));
        let (x, bias) = (random(seed + 1, m * k), random(seed + 2, n));
        for isa in Isa::available() {
            let product = |dtype, bytes: &[u8]| {
                let mut out = vec![f32::NAN; m * n];
                let matrix = WeightMatrix::new(WeightBytes::new(dtype, bytes), n, k);
                gemm_with(isa, &x, &matrix, Some(&bias), None, &mut out);
                out
            };
            prop_assert_eq!(bits(&product(DType::Q8_0, &bytes)), bits(&product(DType::F32, &wide)), "{}", isa);
        }
    }

    #[test]
    fn a_convolution_is_that_of_the_widened_weight(
        h in 3usize..14, w in 3usize..14, c in 1usize..4, outputs in 1usize..40, kernel in 1usize..4,
        stride in 1usize..3, seed in 0u64..1 << 40,
    ) {
        let c = 32 * c;
        let row = c * kernel * kernel;
        let bytes = quantize(DType::Q8_0, &random(seed, outputs * row), row).unwrap();
        let wide = to_f32_bytes(&codec(DType::Q8_0).dequantize(&bytes));
        let x = random(seed + 1, h * w * c);
        let winograd = (kernel == 3 && stride == 1).then_some(Algorithm::Winograd);
        for isa in Isa::available() {
            for algorithm in [Some(Algorithm::ImplicitGemm), winograd].into_iter().flatten() {
                let convolved = |dtype, bytes: &[u8]| {
                    let weight = WeightBytes::new(dtype, bytes);
                    let filter = ConvWeight::new(weight, outputs, c, kernel, stride, Padding::all(1));
                    let (h_out, w_out) = filter.output_size(h, w).unwrap();
                    let mut out = vec![f32::NAN; h_out * w_out * outputs];
                    conv2d_fused_with(isa, algorithm, &Convolution::plain(&x, [1, h, w]), &filter, &mut out);
                    out
                };
                let (quantized, widened) = (convolved(DType::Q8_0, &bytes), convolved(DType::F32, &wide));
                prop_assert_eq!(bits(&quantized), bits(&widened), "{} {:?}", isa, algorithm);
            }
        }
    }
}

/// A convolution whose channels are no whole blocks, and whose rows are; and layers of real models, whose sums have parts
/// that end within blocks.
#[test]
fn real_layers() {
    let isa = Isa::best();
    for (h, c, outputs, kernel) in [(5, 8, 12, 2), (6, 640, 96, 3), (4, 1920, 32, 3)] {
        let row = c * kernel * kernel;
        let bytes = quantize(DType::Q8_0, &random(7, outputs * row), row).unwrap();
        let wide = to_f32_bytes(&codec(DType::Q8_0).dequantize(&bytes));
        let x = random(8, h * h * c);
        let convolved = |algorithm, dtype, bytes: &[u8]| {
            let weight = WeightBytes::new(dtype, bytes);
            let filter = ConvWeight::new(weight, outputs, c, kernel, 1, Padding::all(1));
            let (h_out, w_out) = filter.output_size(h, h).unwrap();
            let mut out = vec![f32::NAN; h_out * w_out * outputs];
            conv2d_fused_with(isa, algorithm, &Convolution::plain(&x, [1, h, h]), &filter, &mut out);
            bits(&out)
        };
        let winograd = (kernel == 3).then_some(Algorithm::Winograd);
        for algorithm in [Some(Algorithm::ImplicitGemm), winograd].into_iter().flatten() {
            let same = convolved(algorithm, DType::Q8_0, &bytes) == convolved(algorithm, DType::F32, &wide);
            assert!(same, "{c} to {outputs}, {algorithm:?}");
        }
    }
}
