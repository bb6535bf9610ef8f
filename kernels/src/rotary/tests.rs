//! Every instruction set against the specification in `f64`, and the tables against known angles.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

const PAIRINGS: [RotaryPairing; 2] = [RotaryPairing::Interleaved, RotaryPairing::Halves];

fn check(batch: usize, tokens: usize, heads: usize, width: usize) {
    let x = random(1, batch * tokens * heads * width);
    for pairing in PAIRINGS {
        let shape = Rotary { batch, tokens, heads, width, pairing };
        // One table for all sequences, and one for each.
        for rows in [tokens, batch * tokens] {
            let positions: Vec<[f64; 1]> = (0..rows).map(|i| [(i * 7 % 501) as f64]).collect();
            let angles = table([width], 10000.0, &positions);
            let want = reference::rotary(shape, &x, &angles);
            for isa in Isa::available() {
                let mut got = x.clone();
                rotary_with(isa, shape, &mut got, &angles);
                assert_close(&got, &want, 2e-7, &format!("{isa} {shape:?}"));
            }
        }
    }
}

#[test]
fn real_shapes() {
    check(1, 100, 24, 128); // Flux
    check(2, 50, 30, 128); // Z-Image
    check(1, 77, 8, 128); // keys of Qwen3
}

/// Flux has axes of 16, 56 and 56 channels: at (0, 3, 2) the first eight angles are 0, the next are those of row 3.
#[test]
fn tables_have_the_angles_of_each_axis() {
    let angles = table([16, 56, 56], 10000.0, &[[0.0; 3], [0.0, 3.0, 2.0]]);
    assert_eq!(angles.len(), 2 * 128);
    let (none, row) = angles.split_at(128);
    assert!(none[..64].iter().all(|cos| *cos == 1.0) && none[64..].iter().all(|sin| *sin == 0.0));
    assert_eq!((row[0], row[64]), (1.0, 0.0));
    assert_eq!((row[8], row[64 + 8]), (3f64.cos() as f32, 3f64.sin() as f32));
    let slower = 2.0 * 10000f64.powf(-2.0 / 56.0);
    assert_eq!((row[37], row[64 + 37]), (slower.cos() as f32, slower.sin() as f32));
}

/// In `f32`, the angle of a late position would be off by 1e-3.
#[test]
fn angles_of_late_positions_are_exact() {
    let at = 32_000.0;
    let angles = table([128], 1e6, &[[at]]);
    for i in 0..64 {
        let angle = at * (1e6f64).powf(-(2.0 * i as f64) / 128.0);
        assert!(
            (f64::from(angles[i]) - angle.cos()).abs() < 1e-7
                && (f64::from(angles[64 + i]) - angle.sin()).abs() < 1e-7
        );
    }
}

/// The product of a rotated query and a rotated key depends on the distance of their positions alone.
#[test]
fn products_depend_on_the_distance() {
    let (q, k) = (random(1, 64), random(2, 64));
    let product = |pairing, i: f64, j: f64| -> f32 {
        let shape = Rotary { batch: 1, tokens: 1, heads: 1, width: 64, pairing };
        let (mut q, mut k) = (q.clone(), k.clone());
        rotary(shape, &mut q, &table([64], 256.0, &[[i]]));
        rotary(shape, &mut k, &table([64], 256.0, &[[j]]));
        q.iter().zip(&k).map(|(q, k)| q * k).sum()
    };
    for pairing in PAIRINGS {
        assert!((product(pairing, 3.0, 10.0) - product(pairing, 103.0, 110.0)).abs() < 1e-5);
        assert!((product(pairing, 3.0, 10.0) - product(pairing, 3.0, 11.0)).abs() > 1e-3);
    }
}

#[test]
fn same_bytes_for_any_threads() {
    let shape = Rotary { batch: 2, tokens: 333, heads: 3, width: 26, pairing: RotaryPairing::Interleaved };
    let (x, angles) = (random(1, 2 * 333 * 3 * 26), random(2, 333 * 26));
    let run = || -> Vec<u32> {
        let mut x = x.clone();
        rotary(shape, &mut x, &angles);
        x.iter().map(|v| v.to_bits()).collect()
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

#[test]
#[should_panic(expected = "a table of 12 values")]
fn a_table_has_a_row_for_each_token() {
    let shape = Rotary { batch: 1, tokens: 2, heads: 1, width: 4, pairing: RotaryPairing::Halves };
    rotary(shape, &mut [0.0; 8], &[0.0; 12]);
}

proptest! {
    #[test]
    fn any_shape(batch in 1usize..3, tokens in 1usize..9, heads in 1usize..5, half in 1usize..70) {
        check(batch, tokens, heads, 2 * half);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::DType;
    use crate::gpu::Array;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn heads_of_any_width() {
        for (name, gpu) in gpus() {
            for (batch, tokens, heads, width) in [
                (2, 21, 3, 128),
                (1, 50, 4, 64),
                (2, 7, 1, 4),
                (3, 5, 2, 6),
                (1, 9, 5, 2),
                (2, 0, 1, 8),
                (2, 33, 1, 36),
            ] {
                let x: Vec<f32> = random(1, batch * tokens * heads * width)
                    .iter()
                    .map(|v| (v * 256.0).round() / 256.0)
                    .collect();
                for pairing in PAIRINGS {
                    for rows in [tokens, batch * tokens] {
                        let shape = Rotary { batch, tokens, heads, width, pairing };
                        let angles =
                            table([width], 100.0, &(0..rows).map(|i| [i as f64]).collect::<Vec<_>>());
                        let want = reference::rotary(shape, &x, &angles);
                        let angles = Array::upload(&gpu, DType::F32, &angles).unwrap();
                        check(&gpu, &[&x], &want, 1e-6, &format!("{name} {shape:?}"), |arrays| {
                            let mut x = arrays[0].clone();
                            gpu::rotary(shape, &mut x, &angles)?;
                            Ok(x)
                        });
                    }
                }
            }
        }
    }
}
