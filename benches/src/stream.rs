//! The random numbers of one tensor: SplitMix64, read at any position.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, section 5) adds a
//! constant to its state and hashes the sum, so output number `i + 1` needs no output before it: tensors can be filled
//! in any order, in parallel, or only in part. The state of a tensor starts at
//! `fnv1a(name) ^ mix(seed + GAMMA)`, which makes the streams of two names, or of two seeds, unrelated.

/// The increment of SplitMix64: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Half of the 24-bit range: the top 24 bits of an output, less this, over this, are in [-1, 1).
const HALF_RANGE: i32 = 1 << 23;

/// The SplitMix64 stream that belongs to a tensor name and a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomStream {
    state: u64,
}

impl RandomStream {
    /// The stream of the tensor called `name` in the checkpoint of `seed`.
    pub fn new(name: &str, seed: u64) -> Self {
        Self { state: fnv1a(name.as_bytes()) ^ mix(seed.wrapping_add(GAMMA)) }
    }

    /// The state before the first output.
    pub fn state(self) -> u64 {
        self.state
    }

    /// Output number `index + 1` of the generator: 64 random bits for the element at row-major `index`.
    #[inline]
    pub fn bits(self, index: u64) -> u64 {
        mix(self.state.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// A uniform number in [-1, 1) with 24 random bits, exact in `f64`.
    #[inline]
    pub fn unit(self, index: u64) -> f64 {
        let k = (self.bits(index) >> 40) as i32; // 24 bits, always fits
        f64::from(k - HALF_RANGE) * (1.0 / f64::from(HALF_RANGE))
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

/// The output function of SplitMix64.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_has_the_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn seed_zero_gives_the_published_splitmix64_sequence() {
        let stream = RandomStream { state: 0 };
        assert_eq!(stream.bits(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(stream.bits(1), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(stream.bits(2), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn units_stay_in_range_and_are_centred() {
        let stream = RandomStream::new("a tensor", 7);
        let units: Vec<f64> = (0..100_000).map(|i| stream.unit(i)).collect();
        assert!(units.iter().all(|u| (-1.0..1.0).contains(u)));
        assert!((units.iter().sum::<f64>() / 1e5).abs() < 0.01);
    }
}
