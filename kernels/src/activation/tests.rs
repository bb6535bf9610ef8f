//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

const KINDS: [Activation; 5] =
    [Activation::Silu, Activation::Gelu, Activation::QuickGelu, Activation::Relu, Activation::LeakyRelu];

#[test]
fn the_reference_gelu_is_right() {
    // Φ(1) and Φ(-5) to ten digits.
    assert!((reference::activate(Activation::Gelu, 1.0) - 0.841_344_8).abs() < 1e-7);
    let tail = reference::activate(Activation::Gelu, -5.0) / -5.0;
    assert!((tail / 2.866_515_7e-7 - 1.0).abs() < 1e-5);
}

#[test]
fn every_activation_over_its_range() {
    let x: Vec<f32> = (-100_000..=100_000).map(|i| i as f32 * 2e-4).collect();
    for kind in KINDS {
        let want: Vec<f32> = x.iter().map(|x| reference::activate(kind, *x)).collect();
        for isa in Isa::available() {
            let mut got = x.clone();
            activate_with(isa, kind, &mut got);
            for ((x, got), want) in x.iter().zip(got).zip(&want) {
                let error = (got - want).abs();
                assert!(error <= 1e-6 + 1e-6 * want.abs(), "{isa} {kind:?}({x}) = {got}, want {want}");
            }
        }
    }
}

#[test]
fn extremes() {
    for isa in Isa::available() {
        for kind in KINDS {
            let mut x = [-1e30, -200.0, 0.0, 200.0, 1e30];
            activate_with(isa, kind, &mut x);
            if kind == Activation::LeakyRelu {
                assert_eq!(x[..3], [LEAKY_SLOPE * -1e30, LEAKY_SLOPE * -200.0, 0.0], "{isa}");
            } else {
                assert!(x[0].abs() <= 1e-6 && x[1].abs() <= 1e-6 && x[2] == 0.0, "{isa} {kind:?} {x:?}");
            }
            assert_eq!(x[3..], [200.0, 1e30], "{isa} {kind:?}");
        }
    }
}

#[test]
fn nan_stays_nan() {
    for isa in Isa::available() {
        for kind in KINDS {
            let mut x = [f32::NAN; 37];
            activate_with(isa, kind, &mut x);
            assert!(x.iter().all(|x| x.is_nan()), "{isa} {kind:?} {x:?}");
        }
    }
}

proptest! {
    #[test]
    fn geglu_of_any_shape(rows in 0usize..9, width in 1usize..300) {
        let x: Vec<f32> = random(1, rows * 2 * width).iter().map(|v| v * 4.0).collect();
        let want = reference::geglu(&x, width);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; rows * width];
            geglu_with(isa, &x, width, &mut out);
            assert_close(&out, &want, 4e-6, &format!("{isa} {rows}x{width}"));
        }
    }

    #[test]
    fn any_length(n in 0usize..100, k in 0..KINDS.len()) {
        let x = random(2, n);
        let want: Vec<f32> = x.iter().map(|x| reference::activate(KINDS[k], *x)).collect();
        for isa in Isa::available() {
            let mut got = x.clone();
            activate_with(isa, KINDS[k], &mut got);
            assert_close(&got, &want, 1e-6, &format!("{isa} {n}"));
        }
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gpu::Array;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn activations() {
        for (name, gpu) in gpus() {
            for kind in KINDS {
                for n in [1, 3, 1000, 10_007] {
                    let x: Vec<f32> = random(1, n).iter().map(|v| v * 20.0).collect();
                    let want: Vec<f32> = x.iter().map(|x| reference::activate(kind, *x)).collect();
                    check(&gpu, &[&x], &want, 3e-6, &format!("{name} {kind:?} of {n}"), |arrays| {
                        let mut x = arrays[0].clone();
                        gpu::activate(kind, &mut x)?;
                        Ok(x)
                    });
                }
            }
        }
    }

    #[test]
    fn gated() {
        for (name, gpu) in gpus() {
            for (rows, width) in [(0, 4), (1, 1), (3, 37), (200, 64), (7, 1280)] {
                let x: Vec<f32> = random(1, rows * 2 * width).iter().map(|v| v * 4.0).collect();
                let want = reference::geglu(&x, width);
                check(&gpu, &[&x], &want, 4e-6, &format!("{name} {rows}x{width}"), |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                    gpu::geglu(&arrays[0], width, &mut out)?;
                    Ok(out)
                });
            }
        }
    }
}
