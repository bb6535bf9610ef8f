//! Every instruction set against the specification, and products with quantized weights against those with the widened.

use super::*;
use crate::conv2d::{Algorithm, ConvWeight, Convolution, Padding, conv2d_fused_with};
use crate::dtype::{DType, WeightBytes};
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

/// Blocks of any scale and any bytes, -128 too.
fn any_blocks(seed: u64, count: usize) -> Vec<u8> {
    let (scales, values) = (random(seed, count), random(seed + 1, count * BLOCK));
    let block = |(scale, values): (f32, &[f32; BLOCK])| {
        Block { scale: half::f16::from_f32(scale).to_bits(), values: values.map(|v| (v * 128.0) as i8) }
            .to_bytes()
    };
    scales.into_iter().zip(values.as_chunks().0).flat_map(block).collect()
}

#[test]
fn a_block_has_the_layout_of_the_format() {
    let mut bytes = [0; BLOCK_BYTES];
    // 0.5 as an IEEE half, then 1, -1, .., -128.
    bytes[..4].copy_from_slice(&[0x00, 0x38, 1, 0xFF]);
    bytes[33] = 0x80;
    let block = Block::from_bytes(&bytes);
    assert_eq!((block.scale(), block.get(0), block.get(1), block.get(2)), (0.5, 0.5, -0.5, 0.0));
    assert_eq!((block.get(31), block.to_bytes()), (-64.0, bytes));
    let weight = WeightBytes::new(DType::Q8_0, &bytes);
    assert_eq!((weight.len(), weight.get(1), weight.get(31)), (32, -0.5, -64.0));
    assert_eq!(
        (DType::Q8_0.bytes(96), DType::Q8_0.block(), DType::Q8_0.to_string()),
        (102, 32, "q8_0".into())
    );
}

#[test]
fn the_largest_value_of_a_block_becomes_127() {
    let mut values = [0.0; BLOCK];
    values[3] = -127.0;
    values[4] = 63.4;
    values[5] = 0.5;
    values[6] = 1.5;
    let block = reference::quantize_block(&values);
    assert_eq!((block.scale(), &block.values[3..7]), (1.0, &[-127, 63, 0, 2][..]));
    assert_eq!(reference::quantize_block(&[0.0; BLOCK]), Block { scale: 0, values: [0; BLOCK] });
}

#[test]
fn what_no_block_can_hold_is_refused_with_its_place() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 8.4e6] {
        let mut values = vec![1.0; 96];
        values[40] = value;
        values[70] = f32::NAN;
        let error = quantize(&values, 96).unwrap_err();
        assert_eq!((error.index, error.value.to_bits()), (40, value.to_bits()));
        assert_eq!(reference::quantize(&values, 96).unwrap_err().index, 40);
    }
    let most = vec![LARGEST; 32];
    assert_eq!(dequantize(&quantize(&most, 32).unwrap()), most);
    let error = NotQuantizable { index: 3, value: 1e9 };
    assert_eq!(error.to_string(), "q8_0 cannot hold value 3, 1e9: the largest is 8.319008e6");
}

/// Also where the scale is a subnormal half, or nothing at all.
#[test]
fn no_value_is_off_by_more_than_half_a_scale() {
    for exponent in -40..22 {
        for seed in 0..20 {
            let size = (exponent as f32).exp2();
            let values: Vec<f32> = random(seed, 64).iter().map(|v| v * size).collect();
            let bytes = quantize(&values, 64).unwrap();
            let blocks = bytes.as_chunks().0.iter().map(Block::from_bytes);
            for (block, values) in blocks.zip(values.as_chunks::<BLOCK>().0) {
                for (i, value) in values.iter().enumerate() {
                    let error = (f64::from(block.get(i)) - f64::from(*value)).abs();
                    // The division rounds too.
                    let limit = f64::from(block.scale()) * (0.5 + 1e-5);
                    assert!(error <= limit, "{value:e} became {:e} in {:e}", block.get(i), block.scale());
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "rows of 48 values are no whole blocks")]
fn rows_are_whole_blocks() {
    drop(quantize(&[0.0; 96], 48));
}

#[test]
#[should_panic(expected = "rows of whole blocks of q8_0")]
fn a_matrix_has_rows_of_whole_blocks() {
    let bytes = any_blocks(1, 3);
    let _ = WeightMatrix::new(WeightBytes::new(DType::Q8_0, &bytes), 2, 48);
}

#[test]
fn threads_make_no_difference() {
    let values = random(5, 3 * GRAIN * BLOCK + BLOCK);
    let want = reference::quantize(&values, BLOCK).unwrap();
    for threads in [1, 2, 5] {
        let both = || {
            let bytes = quantize(&values, BLOCK).unwrap();
            let values = dequantize(&bytes);
            (bytes, values)
        };
        let (bytes, widened) = parallel::with_threads(threads, both).unwrap();
        assert!(bytes == want && widened == reference::dequantize(&want), "{threads} threads");
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
        let want = reference::quantize(&values, BLOCK).unwrap();
        for isa in Isa::available() {
            prop_assert_eq!(&quantize_with(isa, &values, BLOCK).unwrap(), &want, "{}", isa);
        }
    }

    #[test]
    fn every_set_reads_the_same_values(blocks in 1usize..40, seed in 0u64..1 << 40) {
        let bytes = any_blocks(seed, blocks);
        let want = reference::dequantize(&bytes);
        for isa in Isa::available() {
            prop_assert_eq!(bits(&dequantize_with(isa, &bytes)), bits(&want), "{}", isa);
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
        let values = reference::dequantize(&bytes);
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
        let bytes = quantize(&random(seed, n * k), k).unwrap();
        let wide = to_f32_bytes(&reference::dequantize(&bytes));
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
        let bytes = quantize(&random(seed, outputs * row), row).unwrap();
        let wide = to_f32_bytes(&reference::dequantize(&bytes));
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
        let bytes = quantize(&random(7, outputs * row), row).unwrap();
        let wide = to_f32_bytes(&reference::dequantize(&bytes));
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
