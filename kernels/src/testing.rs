//! Helpers of this crate's tests.

use crate::dtype::DType;

/// `n` reproducible values in -1..1 (SplitMix64).
pub(crate) fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..n).map(|_| ((next() >> 40) as f32 - 8_388_608.0) / 8_388_608.0).collect()
}

/// Values as the little-endian bytes of a dtype.
pub(crate) fn to_bytes(values: &[f32], dtype: DType) -> Vec<u8> {
    if let Some(codec) = latent_dtype::block::codec(dtype) {
        return codec.quantize(values, dtype.block_len()).unwrap();
    }
    if let Some(f8) = latent_dtype::F8::of(dtype) {
        return values.iter().map(|value| f8.from_f32(*value)).collect();
    }
    values
        .iter()
        .flat_map(|v| match dtype {
            DType::I8 => vec![((v * 127.0) as i8).cast_unsigned()],
            DType::F32 => v.to_le_bytes().to_vec(),
            DType::F16 => half::f16::from_f32(*v).to_le_bytes().to_vec(),
            DType::BF16 => half::bf16::from_f32(*v).to_le_bytes().to_vec(),
            _ => panic!("{dtype} is not a dtype of weights"),
        })
        .collect()
}

/// Panics with the worst place if any value differs by more than `tolerance`.
pub(crate) fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let difference = |i: usize| (got[i] - want[i]).abs();
    // NaN compares as the largest.
    let worst = (0..got.len()).max_by(|a, b| difference(*a).total_cmp(&difference(*b)));
    if let Some(i) = worst {
        let (g, w) = (got[i], want[i]);
        assert!(difference(i) <= tolerance, "{what}: at {i} got {g}, want {w}, tolerance {tolerance:e}");
    }
}
