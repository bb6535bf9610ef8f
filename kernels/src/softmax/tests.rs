//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn check(rows: usize, width: usize, sharpness: f32) {
    let x: Vec<f32> = random(1, rows * width).iter().map(|v| v * sharpness).collect();
    let want = reference::softmax(&x, width);
    for isa in Isa::available() {
        let mut got = x.clone();
        softmax_with(isa, &mut got, width);
        assert_close(&got, &want, 1e-6, &format!("{isa} {rows}x{width} x{sharpness}"));
    }
}

#[test]
fn real_shapes() {
    check(64, 77, 5.0);
    check(16, 4096, 20.0);
}

#[test]
fn a_masked_entry_gets_nothing() {
    for isa in Isa::available() {
        let mut x = [1.0, f32::NEG_INFINITY, 1.0];
        softmax_with(isa, &mut x, 3);
        assert_close(&x, &[0.5, 0.0, 0.5], 1e-7, "masked");
    }
}

proptest! {
    #[test]
    fn any_shape(rows in 0usize..20, width in 1usize..200, sharpness in 0.1f32..100.0) {
        check(rows, width, sharpness);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn rows() {
        for (name, gpu) in gpus() {
            for (rows, width, sharpness) in [
                (64, 77, 5.0),
                (5, 4096, 20.0),
                (40, 256, 90.0),
                (0, 4, 1.0),
                (1, 1, 1.0),
                (130, 3, 1.0),
                (19, 37, 100.0),
                (5, 3001, 8.0),
                (9, 24, 1.0),
            ] {
                // Sixteenths, which `f16` holds.
                let x: Vec<f32> =
                    random(1, rows * width).iter().map(|v| (v * sharpness * 16.0).round() / 16.0).collect();
                let want = reference::softmax(&x, width);
                let what = format!("{name} {rows}x{width} x{sharpness}");
                check(&gpu, &[&x], &want, 2e-6, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::softmax(&mut x, width)?;
                    Ok(x)
                });
            }
        }
    }

    #[test]
    fn a_masked_entry_gets_nothing() {
        for (name, gpu) in gpus() {
            check(&gpu, &[&[1.0, f32::NEG_INFINITY, 1.0]], &[0.5, 0.0, 0.5], 1e-7, name, |arrays| {
                let mut x = arrays[0].clone();
                gpu::softmax(&mut x, 3)?;
                Ok(x)
            });
        }
    }
}
