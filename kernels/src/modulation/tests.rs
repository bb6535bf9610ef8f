//! Every instruction set against the specification in `f64`.

use super::*;
use crate::testing::{assert_close, random};
use proptest::prelude::*;

fn check(batch: usize, tokens: usize, width: usize) {
    let (x, y) = (random(1, batch * tokens * width), random(2, batch * tokens * width));
    let (scale, shift) = (random(3, batch * width), random(4, batch * width));
    let modulated = reference::modulate(&x, &scale, &shift, batch);
    let gated = reference::add_gated(&x, &y, &scale, batch);
    for isa in Isa::available() {
        let what = format!("{isa} {batch}x{tokens}x{width}");
        let mut got = x.clone();
        modulate_with(isa, &mut got, &scale, &shift, batch);
        assert_close(&got, &modulated, 5e-7, &what);
        let mut got = x.clone();
        add_gated_with(isa, &mut got, &y, &scale, batch);
        assert_close(&got, &gated, 3e-7, &what);
    }
}

#[test]
fn real_shapes() {
    check(2, 100, 1536); // Stable Diffusion 3.5 medium
    check(1, 100, 3072); // Flux
}

#[test]
fn same_bytes_for_any_threads() {
    let (x, y, gate) = (random(1, 2 * 500 * 50), random(2, 2 * 500 * 50), random(3, 2 * 50));
    let run = || -> Vec<u32> {
        let mut x = x.clone();
        modulate(&mut x, &gate, &gate, 2);
        add_gated(&mut x, &y, &gate, 2);
        x.iter().map(|v| v.to_bits()).collect()
    };
    let want = run();
    for threads in [1, 2, 5] {
        assert_eq!(want, parallel::with_threads(threads, run).unwrap());
    }
}

#[test]
#[should_panic(expected = "10 values are not 2 sequences of such vectors")]
fn sequences_are_whole() {
    add_gated(&mut [0.0; 10], &[0.0; 10], &[0.0; 8], 2);
}

proptest! {
    #[test]
    fn any_shape(batch in 1usize..4, tokens in 0usize..9, width in 1usize..100) {
        check(batch, tokens, width);
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn vectors_of_each_sequence() {
        for (name, gpu) in gpus() {
            for (batch, tokens, width) in
                [(2, 40, 128), (3, 7, 37), (1, 1, 1), (2, 0, 4), (1, 9, 1536), (5, 1, 500)]
            {
                let values = |seed, n| -> Vec<f32> {
                    random(seed, n).iter().map(|v| (v * 64.0).round() / 64.0).collect()
                };
                let (x, y) = (values(1, batch * tokens * width), values(2, batch * tokens * width));
                let (scale, shift) = (values(3, batch * width), values(4, batch * width));
                let what = format!("{name} {batch}x{tokens}x{width}");
                let want = reference::modulate(&x, &scale, &shift, batch);
                check(&gpu, &[&x, &scale, &shift], &want, 1e-6, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::modulate(&mut x, &arrays[1], &arrays[2], batch)?;
                    Ok(x)
                });
                let want = reference::add_gated(&x, &y, &scale, batch);
                check(&gpu, &[&x, &y, &scale], &want, 1e-6, &what, |arrays| {
                    let mut x = arrays[0].clone();
                    gpu::add_gated(&mut x, &arrays[1], &arrays[2], batch)?;
                    Ok(x)
                });
            }
        }
    }
}
