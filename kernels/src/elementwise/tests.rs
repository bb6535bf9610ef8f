//! Against the specifications, long enough for several threads.

use super::*;
use crate::testing::random;
use proptest::prelude::*;

#[test]
fn sums_and_multiples_of_every_value() {
    let n = 3 * parallel::GRAIN + 5;
    let (a, b) = (random(1, n), random(2, n));
    let mut sum = a.clone();
    add_assign(&mut sum, &b);
    assert!((0..n).all(|i| sum[i] == a[i] + b[i]));
    scale(&mut sum, 0.5);
    assert!((0..n).all(|i| sum[i] == (a[i] + b[i]) * 0.5));
}

#[test]
fn guidance_of_one_and_more() {
    let mut out = [0.0; 2];
    guidance(&[1.0, 2.0], &[3.0, -2.0], 1.0, &mut out);
    assert_eq!(out, [3.0, -2.0]);
    guidance(&[1.0, 2.0], &[3.0, -2.0], 7.5, &mut out);
    assert_eq!(out, [16.0, -28.0]);
}

#[test]
#[should_panic(expected = "different lengths")]
fn lengths_are_checked() {
    add_assign(&mut [0.0; 2], &[0.0; 3]);
}

proptest! {
    #[test]
    fn channels(batch in 1usize..4, positions in 1usize..200, a in 1usize..150, b in 1usize..150) {
        let (x, y, v) = (random(1, batch * positions * a), random(2, batch * positions * b), random(3, batch * a));
        let mut shifted = x.clone();
        add_per_channel(&mut shifted, &v, batch, a);
        prop_assert_eq!(shifted, reference::add_per_channel(&x, &v, batch, a));
        let mut joined = vec![f32::NAN; x.len() + y.len()];
        concat_channels(&x, a, &y, b, &mut joined);
        prop_assert_eq!(joined, reference::concat_channels(&x, a, &y, b));
    }
}
