//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn check(rows: usize, width: usize, mean: f32, eps: f32, tolerance: f32) {
    let x: Vec<f32> = random(1, rows * width).iter().map(|v| v + mean).collect();
    let (weight, bias) = (random(2, width), random(3, width));
    let want = reference::layer_norm(&x, &weight, &bias, eps);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        layer_norm_with(isa, &x, &weight, &bias, eps, &mut out);
        assert_close(&out, &want, tolerance, &format!("{isa} {rows}x{width} mean {mean}"));
    }
}

#[test]
fn real_shapes() {
    for (rows, width) in [(77, 768), (4096, 320), (256, 1280), (154, 1024)] {
        check(rows, width, 0.0, 1e-5, 3e-6);
    }
    check(100, 640, 100.0, 1e-5, 1e-4);
}

fn check_modulated(batch: usize, tokens: usize, width: usize, eps: f32, tolerance: f32) {
    let x = random(1, batch * tokens * width);
    let (scale, shift) = (random(2, batch * width), random(3, batch * width));
    let want = reference::layer_norm_modulated(&x, &scale, &shift, batch, eps);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        layer_norm_modulated_with(isa, &x, &scale, &shift, batch, eps, &mut out);
        assert_close(&out, &want, tolerance, &format!("{isa} {batch}x{tokens}x{width}"));
    }
}

#[test]
fn modulated_real_shapes() {
    // Values up to 3.5; a scalar adds all squares of a row one after the other.
    check_modulated(2, 100, 1536, 1e-6, 2e-5); // Stable Diffusion 3.5 medium
    check_modulated(1, 100, 3072, 1e-6, 2e-5); // Flux
}

#[test]
fn same_bytes_for_any_threads() {
    let x = random(1, 777 * 50);
    let run = || -> Vec<u32> {
        let mut out = vec![0.0; x.len()];
        layer_norm(&x, &[1.5; 50], &[0.5; 50], 1e-5, &mut out);
        out.iter().map(|v| v.to_bits()).collect()
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

proptest! {
    #[test]
    fn any_shape(rows in 0usize..20, width in 1usize..200) {
        check(rows, width, 0.5, 1e-2, 1e-5);
    }

    #[test]
    fn any_modulated_shape(batch in 1usize..4, tokens in 0usize..9, width in 1usize..100) {
        check_modulated(batch, tokens, width, 1e-2, 1e-5);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::DType;
    use crate::gpu::Array;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn rows() {
        for (name, gpu) in gpus() {
            for (rows, width, mean) in [
                (77, 768, 0.0), // text encoder
                (70, 320, 0.0), // UNet
                (16, 1280, 0.0),
                (20, 640, 30.0),
                (3, 4000, 0.0),
                (0, 4, 0.0),
                (1, 1, 0.5),
                (130, 3, 0.5),
                (19, 37, 0.5),
                (9, 130, 0.5),
                (5, 24, 0.5),
            ] {
                // Sixteenths, which `f16` holds.
                let x: Vec<f32> =
                    random(1, rows * width).iter().map(|v| (v * 32.0).round() / 16.0 + mean).collect();
                let (weight, bias) = (random(2, width), random(3, width));
                let want = reference::layer_norm(&x, &weight, &bias, 1e-2);
                let what = format!("{name} {rows}x{width} mean {mean}");
                let weight = Array::upload(&gpu, DType::F32, &weight).unwrap();
                let bias = Array::upload(&gpu, DType::F32, &bias).unwrap();
                check(&gpu, &[&x], &want, 1e-5 + mean.abs() * 1e-6, &what, |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), x.len())?;
                    gpu::layer_norm(&arrays[0], &weight, &bias, 1e-2, &mut out)?;
                    Ok(out)
                });
            }
        }
    }

    #[test]
    fn modulated_rows() {
        for (name, gpu) in gpus() {
            for (batch, tokens, width) in
                [(2, 40, 128), (1, 20, 1536), (3, 7, 37), (2, 0, 4), (1, 1, 1), (5, 1, 500)]
            {
                let values = |seed, n| -> Vec<f32> {
                    random(seed, n).iter().map(|v| (v * 32.0).round() / 16.0).collect()
                };
                let x = values(1, batch * tokens * width);
                let (scale, shift) = (values(2, batch * width), values(3, batch * width));
                let want = reference::layer_norm_modulated(&x, &scale, &shift, batch, 1e-2);
                let what = format!("{name} {batch}x{tokens}x{width}");
                check(&gpu, &[&x, &scale, &shift], &want, 2e-5, &what, |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), x.len())?;
                    gpu::layer_norm_modulated(&arrays[0], &arrays[1], &arrays[2], batch, 1e-2, &mut out)?;
                    Ok(out)
                });
            }
        }
    }
}
