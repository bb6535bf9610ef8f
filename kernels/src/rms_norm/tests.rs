//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn check(batch: usize, tokens: usize, width: usize, eps: f32, tolerance: f32) {
    let x: Vec<f32> = random(1, batch * tokens * width).iter().map(|v| v * 3.0).collect();
    let (weight, scale) = (random(2, width), random(3, batch * width));
    let want = reference::rms_norm(&x, &weight, eps);
    let modulated = reference::rms_norm_modulated(&x, &weight, &scale, batch, eps);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        rms_norm_with(isa, &x, &weight, eps, &mut out);
        assert_close(&out, &want, tolerance, &format!("{isa} {batch}x{tokens}x{width}"));
        out.fill(f32::NAN);
        rms_norm_modulated_with(isa, &x, &weight, &scale, batch, eps, &mut out);
        assert_close(
            &out,
            &modulated,
            2.0 * tolerance,
            &format!("modulated, {isa} {batch}x{tokens}x{width}"),
        );
    }
}

#[test]
fn real_shapes() {
    check(1, 512, 4096, 1e-6, 3e-6); // T5
    check(2, 77, 2560, 1e-6, 3e-6); // Qwen3
    check(1, 300, 3840, 1e-5, 3e-6); // Z-Image
    check(2, 24 * 100, 128, 1e-6, 3e-6); // heads of Flux
    check(2, 24 * 100, 64, 1e-6, 3e-6); // heads of Stable Diffusion 3.5
}

/// What T5's last layers have: values of ten thousands beside small ones.
#[test]
fn a_wide_range_keeps_its_digits() {
    let x: Vec<f32> =
        random(1, 3 * 4096).iter().enumerate().map(|(i, v)| if i % 97 == 0 { v * 6e4 } else { *v }).collect();
    let weight = random(2, 4096);
    let want = reference::rms_norm(&x, &weight, 1e-6);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; x.len()];
        rms_norm_with(isa, &x, &weight, 1e-6, &mut out);
        assert_close(&out, &want, 2e-5, &format!("{isa}"));
    }
}

#[test]
fn same_bytes_for_any_threads() {
    let (x, scale) = (random(1, 2 * 777 * 50), random(2, 2 * 50));
    let run = || -> Vec<u32> {
        let mut out = vec![0.0; x.len()];
        rms_norm_modulated(&x, &[1.5; 50], &scale, 2, 1e-5, &mut out);
        out.iter().map(|v| v.to_bits()).collect()
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

#[test]
#[should_panic(expected = "10 values are not rows of 4")]
fn rows_are_whole() {
    rms_norm(&[0.0; 10], &[1.0; 4], 1e-6, &mut [0.0; 10]);
}

proptest! {
    #[test]
    fn any_shape(batch in 1usize..4, tokens in 0usize..9, width in 1usize..200) {
        check(batch, tokens, width, 1e-2, 1e-5);
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
            // (sequences, tokens, width)
            for (batch, tokens, width) in [
                (2, 40, 128),
                (1, 20, 1536),
                (3, 7, 64),
                (2, 0, 4),
                (1, 1, 1),
                (2, 65, 3),
                (3, 19, 37),
                (1, 2, 4000),
            ] {
                let x: Vec<f32> =
                    random(1, batch * tokens * width).iter().map(|v| (v * 32.0).round() / 16.0).collect();
                let weight = random(2, width);
                let scale: Vec<f32> =
                    random(3, batch * width).iter().map(|v| (v * 16.0).round() / 16.0).collect();
                let what = format!("{name} {batch}x{tokens}x{width}");
                let weights = Array::upload(&gpu, DType::F32, &weight).unwrap();
                let want = reference::rms_norm(&x, &weight, 1e-2);
                check(&gpu, &[&x], &want, 1e-5, &what, |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), x.len())?;
                    gpu::rms_norm(&arrays[0], &weights, 1e-2, &mut out)?;
                    Ok(out)
                });
                let want = reference::rms_norm_modulated(&x, &weight, &scale, batch, 1e-2);
                check(&gpu, &[&x, &scale], &want, 2e-5, &what, |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), x.len())?;
                    gpu::rms_norm_modulated(&arrays[0], &weights, &arrays[1], batch, 1e-2, &mut out)?;
                    Ok(out)
                });
            }
        }
    }
}
