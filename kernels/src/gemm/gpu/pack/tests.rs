//! Packed weights against the definition of their layout, byte by byte.

use super::*;
use crate::dtype::WeightBytes;
use crate::gemm::Weight;
use crate::gpu::testing::gpus;
use crate::testing::{random, to_bytes};

/// A weight `[outputs, inputs, taps]` in panels, value by value.
fn packed(weight: &WeightMatrix, value: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let (outputs, inputs, taps) = (weight.outputs(), weight.inputs(), weight.taps());
    let (depth, zero) = ((taps * inputs).next_multiple_of(TERMS), vec![0; value(0).len()]);
    let at = |output: usize, term: usize| {
        let is_real = output < outputs && term < taps * inputs;
        let (tap, input) = (term / inputs, term % inputs);
        if is_real { value((output * inputs + input) * taps + tap) } else { zero.clone() }
    };
    (0..outputs.next_multiple_of(COLUMNS) * depth)
        .flat_map(|i| at(i / (depth * COLUMNS) * COLUMNS + i % COLUMNS, i / COLUMNS % depth))
        .collect()
}

/// `[outputs, inputs, taps]`: one value, whole panels, and tails of outputs, inputs, pairs and padding.
const SHAPES: [[usize; 3]; 8] =
    [[1, 1, 1], [64, 48, 1], [100, 37, 1], [17, 1, 9], [70, 3, 9], [130, 40, 9], [65, 600, 1], [33, 20, 4]];

fn check(gpu: &Gpu, matrix: &WeightMatrix, half: bool, want: &[u8], what: &str) {
    // As bytes are written by the queue, in parts of a panel, in panels, and at once.
    for (size, buffers) in [(16 << 20, 4), (4096, 2), (1 << 16, 2), (1 << 20, 1)] {
        gpu.stage_in(size, buffers);
        let got = PackedWeight::new(gpu, matrix, half).unwrap().read();
        let shape = [matrix.outputs(), matrix.inputs(), matrix.taps()];
        assert!(got == want, "{what} {shape:?}, half {half}, {buffers} buffers of {size}");
    }
}

#[test]
fn values_of_a_stored_dtype_are_moved_bit_by_bit() {
    for (name, gpu) in gpus() {
        for [outputs, inputs, taps] in SHAPES {
            let count = outputs * inputs * taps;
            for (dtype, half) in
                [(DType::F16, true), (DType::F16, false), (DType::BF16, false), (DType::F32, false)]
            {
                let size = dtype.size();
                // All bits there are, those of NaN among them but for `f32`.
                let bytes: Vec<u8> = match dtype {
                    DType::F32 => to_bytes(&random(7, count), dtype),
                    _ => (0..count as u32)
                        .flat_map(|i| (i.wrapping_mul(40_503) as u16).to_le_bytes())
                        .collect(),
                };
                let weight = Weight::from(WeightBytes::new(dtype, &bytes));
                let matrix = WeightMatrix::with_taps(weight, outputs, inputs, taps);
                let want = packed(&matrix, |i| bytes[size * i..][..size].to_vec());
                check(&gpu, &matrix, half, &want, &format!("{name} {dtype}"));
            }
        }
    }
}

#[test]
fn other_values_are_rounded_once() {
    for (name, gpu) in gpus() {
        for [outputs, inputs, taps] in SHAPES {
            for (dtype, half) in [
                (DType::F32, true),
                (DType::BF16, true),
                (DType::F8E4M3, false),
                (DType::F8E5M2, true),
                (DType::I8, false),
                (DType::I8, true),
            ] {
                let bytes = to_bytes(&random(5, outputs * inputs * taps), dtype);
                let stored = WeightBytes::new(dtype, &bytes);
                let matrix = WeightMatrix::with_taps(stored.into(), outputs, inputs, taps);
                let want = packed(&matrix, |i| match stored.get(i) {
                    value if half || dtype.is_f8() => f16::from_f32(value).to_le_bytes().to_vec(),
                    value => value.to_le_bytes().to_vec(),
                });
                check(&gpu, &matrix, half, &want, &format!("{name} {dtype}"));
            }
        }
    }
}

#[test]
fn scales_are_multiplied_in() {
    let [outputs, inputs] = [70, 33];
    for (name, gpu) in gpus() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F8E4M3, DType::I8] {
            let bytes = to_bytes(&random(3, outputs * inputs), dtype);
            let stored = WeightBytes::new(dtype, &bytes);
            let scales = random(4, outputs);
            let matrix = WeightMatrix::new(Weight::from(stored).scaled(scales.clone()), outputs, inputs);
            let scaled = |i: usize| stored.get(i) * scales[i / inputs];
            let want = packed(&matrix, |i| scaled(i).to_le_bytes().to_vec());
            check(&gpu, &matrix, false, &want, &format!("{name} {dtype} with scales"));
            let want = packed(&matrix, |i| f16::from_f32(scaled(i)).to_le_bytes().to_vec());
            check(&gpu, &matrix, true, &want, &format!("{name} {dtype} with scales"));
        }
    }
}

#[test]
fn blocks_are_uploaded_as_they_are() {
    for (name, gpu) in gpus() {
        let bytes = to_bytes(&random(6, 70 * 32), DType::Q8_0);
        let matrix = WeightMatrix::new(WeightBytes::new(DType::Q8_0, &bytes), 70, 32);
        check(&gpu, &matrix, false, &bytes, name);
        // Rows that are not whole blocks become values.
        let bytes = to_bytes(&random(6, 64 * 31), DType::Q8_0);
        let stored = WeightBytes::new(DType::Q8_0, &bytes);
        let matrix = WeightMatrix::new(stored, 64, 31);
        let want = packed(&matrix, |i| stored.get(i).to_le_bytes().to_vec());
        check(&gpu, &matrix, false, &want, name);
    }
}

#[test]
fn every_instruction_set_transposes_alike() {
    for [outputs, inputs, taps] in SHAPES {
        let bytes: Vec<u8> = (0..outputs * inputs * taps).flat_map(|i| (i as u16).to_le_bytes()).collect();
        let weight = Weight::from(WeightBytes::new(DType::F16, &bytes));
        let matrix = WeightMatrix::with_taps(weight, outputs, inputs, taps);
        for isa in Isa::available() {
            for panel in 0..outputs.div_ceil(PANEL) {
                let (part, from) = (panel % 4, inputs / 3 * 2);
                let len = inputs_at_once(taps).min(inputs - from);
                let mut strip = WeightStrip::<u16>::new(taps);
                strip.values.fill(7);
                strip.transpose(isa, &matrix, StripPart { panel, part, from, len });
                for (i, got) in strip.values[..taps * len * COLUMNS].iter().enumerate() {
                    let (tap, input, column) = (i / COLUMNS / len, i / COLUMNS % len, i % COLUMNS);
                    let output = panel * PANEL + column % PANEL;
                    let want = match () {
                        () if column / PANEL != part => 7,
                        () if output >= outputs => 0,
                        () => ((output * inputs + from + input) * taps + tap) as u16,
                    };
                    assert_eq!(*got, want, "{isa} [{outputs}, {inputs}, {taps}] panel {panel} at {i}");
                }
            }
        }
    }
}
