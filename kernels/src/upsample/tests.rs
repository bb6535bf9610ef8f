//! Against the specification.

use super::*;
use crate::testing::random;
use proptest::prelude::*;

#[test]
fn twice_the_size() {
    let mut out = [0.0; 16];
    nearest(&[1., 2., 3., 4.], [1, 2, 2, 1], [4, 4], &mut out);
    assert_eq!(out, [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.]);
}

proptest! {
    #[test]
    fn any_shape(
        n in 1usize..3, h in 1usize..9, w in 1usize..9, c in 1usize..40, oh in 1usize..20, ow in 1usize..20,
    ) {
        let x = random(1, n * h * w * c);
        let mut out = vec![f32::NAN; n * oh * ow * c];
        nearest(&x, [n, h, w, c], [oh, ow], &mut out);
        prop_assert_eq!(out, reference::nearest(&x, [n, h, w, c], [oh, ow]));
    }
}

#[cfg(feature = "gpu")]
mod gpus {
    use super::*;
    use crate::gpu::Array;
    use crate::gpu::testing::{check, gpus};

    #[test]
    fn pictures_on_a_gpu() {
        let cases = [
            ([2, 8, 8, 64], [16, 16]),
            ([1, 32, 32, 64], [64, 64]),
            ([1, 4, 5, 1280], [8, 10]),
            ([3, 5, 7, 3], [13, 9]),
            ([1, 9, 11, 5], [4, 2]),
            // Lines that do not fit into the smallest binding, of the output and of the input.
            ([2, 2, 3, 640], [3, 70]),
            ([1, 3, 90, 64], [2, 4]),
            ([2, 1, 1, 1], [1, 1]),
            ([1, 2, 2, 4], [0, 3]),
            ([0, 2, 2, 4], [3, 3]),
        ];
        for (name, gpu) in gpus() {
            for (shape, to) in cases {
                let x = random(1, shape.iter().product());
                let want = reference::nearest(&x, shape, to);
                check(&gpu, &[&x], &want, 0.0, &format!("{name} {shape:?} to {to:?}"), |arrays| {
                    let mut out = Array::scratch(&gpu, arrays[0].dtype(), want.len())?;
                    gpu::nearest(&arrays[0], shape, to, &mut out)?;
                    Ok(out)
                });
            }
        }
    }
}
