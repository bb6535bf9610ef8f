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
