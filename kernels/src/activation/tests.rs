//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

const KINDS: [Activation; 6] = Activation::ALL;
const GATES: [Gate; 3] =
    [Gate::GEGLU, Gate::SWIGLU, Gate { activation: Activation::GeluTanh, gate_first: true }];

#[test]
fn the_reference_gelu_is_right() {
    // Φ(1) and Φ(-5) to ten digits.
    assert!((reference::activate(Activation::Gelu, 1.0) - 0.841_344_8).abs() < 1e-7);
    let tail = reference::activate(Activation::Gelu, -5.0) / -5.0;
    assert!((tail / 2.866_515_7e-7 - 1.0).abs() < 1e-5);
}

/// Of PyTorch 2.15: `gelu(x, approximate="tanh")` in `f64`.
#[test]
fn the_reference_tanh_gelu_is_pytorchs() {
    for (x, want) in
        [(1.0, 0.841_191_990_608_305), (-2.0, -0.045_402_305_912_221_5), (0.5, 0.345_714_009_758_439)]
    {
        assert!((f64::from(reference::activate(Activation::GeluTanh, x)) - want).abs() < 1e-7, "{x}");
    }
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
    fn gates_of_any_shape(rows in 0usize..9, width in 1usize..300, g in 0..GATES.len()) {
        let x: Vec<f32> = random(1, rows * 2 * width).iter().map(|v| v * 4.0).collect();
        let want = reference::gated(GATES[g], &x, width);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; rows * width];
            gated_with(isa, GATES[g], &x, width, &mut out);
            assert_close(&out, &want, 4e-6, &format!("{isa} {rows}x{width} {:?}", GATES[g]));
            // The halves by themselves give the same bits.
            let half = |gates| -> Vec<f32> {
                let row = |row| {
                    let (value, gate) = GATES[g].halves::<f32>(row);
                    if gates { gate.to_vec() } else { value.to_vec() }
                };
                x.chunks_exact(2 * width).flat_map(row).collect()
            };
            let mut values = half(false);
            multiply_activated_with(isa, GATES[g].activation, &mut values, &half(true));
            prop_assert!(values == out, "{isa} {rows}x{width} {:?}", GATES[g]);
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
    fn gates_of_another_array() {
        for (name, gpu) in gpus() {
            for (n, kind) in [(1, Activation::Silu), (1003, Activation::GeluTanh), (9000, Activation::Silu)] {
                let x: Vec<f32> = random(1, n).iter().map(|v| v * 4.0).collect();
                let gates: Vec<f32> = random(2, n).iter().map(|v| v * 4.0).collect();
                let mut want = x.clone();
                multiply_activated(kind, &mut want, &gates);
                check(&gpu, &[&x, &gates], &want, 1e-5, &format!("{name} {kind:?} of {n}"), |arrays| {
                    let mut values = arrays[0].clone();
                    gpu::multiply_activated(kind, &mut values, &arrays[1])?;
                    Ok(values)
                });
            }
        }
    }

    #[test]
    fn gated() {
        for (name, gpu) in gpus() {
            for ((rows, width), gate) in
                [(0, 4), (1, 1), (3, 37), (200, 64), (7, 1280)].into_iter().zip(GATES.into_iter().cycle())
            {
                let x: Vec<f32> = random(1, rows * 2 * width).iter().map(|v| v * 4.0).collect();
                let want = reference::gated(gate, &x, width);
                check(&gpu, &[&x], &want, 4e-6, &format!("{name} {rows}x{width}"), |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                    gpu::gated(gate, &arrays[0], width, &mut out)?;
                    Ok(out)
                });
            }
        }
    }
}
