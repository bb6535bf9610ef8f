//! Every instruction set against the specification, and products with quantized weights against those with the dequantized.

use super::*;
use crate::conv2d::{Algorithm, ConvWeight, Convolution, Padding, conv2d_fused_with};
use crate::dtype::WeightBytes;
use crate::gemm::{PANEL, WeightMatrix, gemm_with};
use crate::parallel;
use crate::testing::random;
use proptest::prelude::*;

fn to_f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Blocks of any bytes with finite scales.
pub(crate) fn any_blocks(dtype: DType, seed: u64, count: usize) -> Vec<u8> {
    let size = dtype.block_bytes();
    let mut bytes: Vec<u8> = random(seed, count * size).iter().map(|v| ((v + 1.0) * 128.0) as u8).collect();
    for block in bytes.chunks_exact_mut(size) {
        // The upper byte of a half: of a magnitude below 2.
        while codec(dtype).find_non_finite(block).is_some() {
            block.iter_mut().for_each(|byte| *byte &= 0xBF);
        }
    }
    bytes
}

fn formats() -> impl Strategy<Value = DType> {
    prop::sample::select(block::CODECS.iter().map(BlockCodec::dtype).collect::<Vec<_>>())
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
        assert_eq!(codec.dequantize(&vec![0; size]), vec![0.0; len]);
    }
}

#[test]
#[should_panic(expected = "rows of 48 values are not whole blocks")]
fn rows_are_whole_blocks() {
    drop(quantize(DType::Q8_0, &[0.0; 96], 48));
}

#[test]
fn threads_make_no_difference() {
    let values = random(5, 3 * GRAIN + 256);
    let want = codec(DType::Q8_0).quantize(&values, 32).unwrap();
    for threads in [1, 2, 5] {
        let both = || {
            let bytes = quantize(DType::Q8_0, &values, 32).unwrap();
            let values = dequantize(DType::Q8_0, &bytes);
            (bytes, values)
        };
        let (bytes, widened) = parallel::with_threads(threads, both).unwrap();
        assert!(bytes == want && widened == codec(DType::Q8_0).dequantize(&want), "{threads} threads");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn every_set_writes_the_same_blocks(dtype in formats(), blocks in 1usize..4, seed: u64, exponent in -36i32..15) {
        let values: Vec<f32> =
            random(seed, blocks * 256).iter().map(|v| v * (exponent as f32).exp2()).collect();
        let want = codec(dtype).quantize(&values, 256).unwrap();
        for isa in Isa::available() {
            prop_assert_eq!(&quantize_with(isa, dtype, &values, 256).unwrap(), &want, "{} {}", dtype, isa);
        }
    }

    #[test]
    fn every_set_reads_the_same_values(dtype in formats(), blocks in 1usize..20, seed in 0u64..1 << 40) {
        let bytes = any_blocks(dtype, seed, blocks);
        let want = codec(dtype).dequantize(&bytes);
        for isa in Isa::available() {
            prop_assert_eq!(bits(&dequantize_with(isa, dtype, &bytes)), bits(&want), "{} {}", dtype, isa);
        }
        prop_assert_eq!(bits(&WeightBytes::new(dtype, &bytes).to_f32()), bits(&want));
    }

    /// Any part of any panel, with ends within blocks, rows that begin within them, and outputs past the last.
    #[test]
    fn panels_hold_every_value_in_its_place(
        dtype in formats(), outputs in 1usize..40, taps in prop::sample::select(&[1usize, 4, 9][..]), inputs in 1usize..70,
        whole: bool, seed in 0u64..1 << 40, panel in 0usize..3, at: [u16; 2],
    ) {
        let (inputs, outputs) = if whole {
            (inputs.next_multiple_of(dtype.block_len()), outputs)
        } else {
            // The flattened weight is whole blocks.
            (inputs.next_multiple_of(8), outputs.next_multiple_of(dtype.block_len() / 8))
        };
        let panel = panel % outputs.div_ceil(PANEL);
        let from = usize::from(at[0]) % inputs;
        let len = 1 + usize::from(at[1]) % (inputs - from);
        let bytes = any_blocks(dtype, seed, outputs * inputs * taps / dtype.block_len());
        let values = codec(dtype).dequantize(&bytes);
        let matrix = WeightMatrix::with_taps(WeightBytes::new(dtype, &bytes).into(), outputs, inputs, taps);
        prop_assert_eq!((matrix.bytes(), matrix.dtype()), (bytes.len(), dtype));
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; taps * len * PANEL + 1];
            matrix.widen(isa, panel, from, len, &mut out);
            prop_assert!(out.pop().unwrap().is_nan(), "beyond the panel");
            for (i, got) in out.iter().enumerate() {
                let (tap, input) = (i / PANEL / len, i / PANEL % len + from);
                let output = panel * PANEL + i % PANEL;
                if output < outputs {
                    let want = values[(output * inputs + input) * taps + tap];
                    prop_assert_eq!(got.to_bits(), want.to_bits(), "{} {} {} {} {}", dtype, isa, output, input, tap);
                } else {
                    prop_assert_eq!(*got, 0.0);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_product_is_that_of_the_widened_weight(
        dtype in formats(), m in 1usize..60, n in 1usize..80, blocks in 1usize..30, seed in 0u64..1 << 40,
    ) {
        let k = (blocks * 32).next_multiple_of(dtype.block_len());
        let bytes = any_blocks(dtype, seed, n * k / dtype.block_len());
        let wide = to_f32_bytes(&codec(dtype).dequantize(&bytes));
        let (x, bias) = (random(seed + 1, m * k), random(seed + 2, n));
        for isa in Isa::available() {
            let product = |dtype, bytes: &[u8]| {
                let mut out = vec![f32::NAN; m * n];
                let matrix = WeightMatrix::new(WeightBytes::new(dtype, bytes), n, k);
                gemm_with(isa, &x, &matrix, Some(&bias), None, &mut out);
                out
            };
            prop_assert_eq!(bits(&product(dtype, &bytes)), bits(&product(DType::F32, &wide)), "{} {}", dtype, isa);
        }
    }

    #[test]
    fn a_convolution_is_that_of_the_widened_weight(
        dtype in formats(), h in 3usize..14, w in 3usize..14, c in 1usize..4, outputs in 1usize..6, kernel in 1usize..4,
        stride in 1usize..3, seed in 0u64..1 << 40,
    ) {
        // Blocks of 256 go on from row to row.
        let (c, outputs) = (32 * c, 8 * outputs);
        let row = c * kernel * kernel;
        let bytes = any_blocks(dtype, seed, outputs * row / dtype.block_len());
        let wide = to_f32_bytes(&codec(dtype).dequantize(&bytes));
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
                let (quantized, widened) = (convolved(dtype, &bytes), convolved(DType::F32, &wide));
                prop_assert_eq!(bits(&quantized), bits(&widened), "{} {} {:?}", dtype, isa, algorithm);
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
