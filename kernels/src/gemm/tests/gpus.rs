//! The kernel for GPUs against the specification.

use super::*;
use crate::gpu::testing::{check, gpus};
use crate::gpu::{Array, Gpu};
use gpu::PackedWeight;
use gpu::run::Addends;
use gpu::tile::Method;

fn weight(gpu: &Gpu, dtype: DType, n: usize, k: usize, half: bool) -> (PackedWeight, Vec<f32>) {
    let bytes = to_bytes(&random(2, n * k), dtype);
    let values = WeightBytes::new(dtype, &bytes);
    let packed = PackedWeight::new(gpu, &WeightMatrix::new(values, n, k), half).unwrap();
    let (panels, depth) = (n.div_ceil(64) as u64, k.next_multiple_of(16) as u64);
    let size = match dtype {
        _ if half => 2,
        dtype if dtype.is_block_format() => 4,
        dtype => dtype.size() as u64,
    };
    let in_panels = panels * 64 * depth * size;
    // Blocks stay blocks, where the GPU can bind a panel of them.
    let in_blocks = bytes.len().next_multiple_of(4) as u64;
    let is_known = packed.bytes() == in_panels || (dtype.is_block_format() && packed.bytes() == in_blocks);
    assert!(is_known && (packed.outputs(), packed.inputs()) == (n, k), "{packed:?}");
    (packed, values.to_f32())
}

/// Checks a product with any of the addends.
fn check_product(name: &str, gpu: &Gpu, dtype: DType, half: bool, [m, n, k]: [usize; 3], added: [bool; 3]) {
    check_by(None, name, gpu, dtype, half, [m, n, k], added);
}

/// As [`check_product`], by a given method or the best.
fn check_by(
    method: Option<Method>,
    name: &str,
    gpu: &Gpu,
    dtype: DType,
    half: bool,
    [m, n, k]: [usize; 3],
    added: [bool; 3],
) {
    let [has_bias, has_residual, accumulate] = added;
    let (packed, values) = weight(gpu, dtype, n, k, half);
    let (x, b, r, before) = (random(1, m * k), random(3, n), random(4, m * n), random(5, m * n));
    let bias = Array::upload(gpu, DType::F32, &b).unwrap();
    let mut want = reference::gemm(&x, &values, m, n, k);
    for (i, v) in want.iter_mut().enumerate() {
        *v += if has_bias { b[i % n] } else { 0.0 };
        *v += if has_residual { r[i] } else { 0.0 } + if accumulate { before[i] } else { 0.0 };
    }
    let mut tolerance = 3e-6 * (k as f32).sqrt();
    if half && dtype != DType::F16 {
        tolerance += 3e-4 * (k as f32).sqrt();
    }
    let what = format!("{name} {m}x{n}x{k} {dtype} half {half} added {added:?} by {method:?}");
    check(gpu, &[&x, &r, &before], &want, tolerance, &what, |arrays| {
        let mut out = arrays[2].clone();
        let residual = has_residual.then_some(&arrays[1]);
        let bias = has_bias.then_some(&bias);
        if let Some(method) = method {
            let addends = Addends { bias, vector: None, residual, accumulate };
            gpu::matrices(method, &arrays[0], &packed, &addends, usize::MAX, &mut out)?;
        } else {
            let product = gpu::GpuProduct { x: &arrays[0], weight: &packed, bias, residual, accumulate };
            gpu::gemm(&product, &mut out)?;
        }
        Ok(out)
    });
}

/// Text projection, time embedding, feed-forward and attention at small height, one row.
#[test]
fn real_products() {
    for (name, gpu) in gpus() {
        for (shape, dtype) in [
            ([77, 768, 768], DType::F32),
            ([2, 1280, 320], DType::F16),
            ([64, 640, 1280], DType::F16),
            ([154, 320, 768], DType::BF16),
            ([100, 2560, 320], DType::F16),
            ([300, 640, 640], DType::F16),
            ([1, 4, 4], DType::F32),
            ([50, 70, 320], DType::Q8_0),
        ] {
            check_product(name, &gpu, dtype, dtype == DType::BF16, shape, [true, false, false]);
            if dtype == DType::Q8_0 {
                check_product(name, &gpu, dtype, true, shape, [true, false, false]);
            }
        }
    }
}

/// Every block format: panels that are whole and not, in one binding and in several.
#[test]
fn products_of_blocks() {
    for (name, gpu) in gpus() {
        for codec in latent_dtype::block::CODECS {
            for (shape, half) in [([50, 70, 512], false), ([9, 200, 256], true), ([3, 130, 32], false)] {
                let [m, n, k] = shape;
                if k % codec.dtype().block_len() == 0 {
                    check_product(name, &gpu, codec.dtype(), half, [m, n, k], [true, false, false]);
                }
            }
        }
    }
}

#[test]
fn blocks_stay_blocks_in_the_memory_of_a_gpu() {
    for (name, gpu) in gpus().into_iter().filter(|(name, _)| *name == "full") {
        for codec in latent_dtype::block::CODECS {
            let (packed, _) = weight(&gpu, codec.dtype(), 96, 256, false);
            assert_eq!(packed.bytes(), codec.dtype().bytes(96 * 256) as u64, "{name} {}", codec.dtype());
        }
    }
}

/// Odd sizes of each, every dtype, every addend: each variant and each way to split.
#[test]
fn products_of_any_shape() {
    let sizes = [1, 3, 4, 16, 17, 36, 64, 65, 100, 128, 130, 200];
    for (name, gpu) in gpus() {
        for (i, m) in sizes.into_iter().enumerate() {
            for j in 0..3 {
                let n = sizes[(5 * i + 4 * j + 1) % sizes.len()];
                let k = sizes[(7 * i + 3 * j + 2) % sizes.len()];
                let dtype = [DType::F32, DType::F16, DType::BF16][(i + j) % 3];
                let added = [(i + j) % 2 == 0, i % 2 == 0, j == 1];
                check_product(name, &gpu, dtype, i % 4 == 1, [m, n, k], added);
            }
        }
    }
}

/// Tall and wide enough for the large tiles, with remainders; sums long enough to be split.
#[test]
fn products_in_every_tile() {
    for (name, gpu) in gpus() {
        for shape in [
            [16 * 128 + 1, 16 * 128 - 4, 20],
            [64 * 128 - 3, 320, 8],
            [32 * 64 + 7, 8 * 64 + 4, 12],
            [70, 60, 1100],
            [33, 66, 1001],
            [130, 3, 700],
            [20, 12, 4100],
        ] {
            check_product(name, &gpu, DType::F16, false, shape, [true, true, true]);
        }
    }
}

#[test]
fn no_rows_are_no_work() {
    for (_, gpu) in gpus() {
        let (packed, _) = weight(&gpu, DType::F32, 8, 4, false);
        let (x, mut out) = (Array::upload(&gpu, DType::F32, &[]), Array::upload(&gpu, DType::F32, &[]));
        let x = x.as_ref().unwrap();
        let product = gpu::GpuProduct { x, weight: &packed, bias: None, residual: None, accumulate: false };
        gpu::gemm(&product, out.as_mut().unwrap()).unwrap();
    }
}

/// Every place in the tiles of matrices, each size, with remainders and split sums, without cooperative matrices: on
/// adapters that lack them, only their loads, products and stores remain untested.
#[test]
fn products_by_emulated_matrices() {
    for (name, gpu) in gpus() {
        for (side, subgroup) in [(16, 32), (8, 32), (8, 8)] {
            let method = Some(Method::Matrices { side, subgroup, cooperative: false });
            for shape in [[128, 128, 64], [70, 66, 160], [65, 7, 32], [13, 64, 1536]] {
                check_by(method, name, &gpu, DType::F16, false, shape, [true, true, true]);
            }
        }
        // Enough rows and columns for the large tile.
        let method = Some(Method::Matrices { side: 8, subgroup: 32, cooperative: false });
        check_by(method, name, &gpu, DType::F16, false, [14 * 64 + 5, 9 * 64 - 4, 32], [true, false, false]);
    }
}
