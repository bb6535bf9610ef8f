//! Random weights under any name and of any shape: a model without a file.

use latent_kernels::parallel;
use latent_loader::{DType, RawTensor};
use std::fmt::Display;

/// Sign and fraction of an `f16`; the exponent is between them.
const SIGN_AND_FRACTION: u16 = 0x83FF;
/// The fraction's bits.
const FRACTION_BITS: u32 = 10;
/// The exponent's bits of a value in 1..2.
const BIAS: i32 = 15;
/// The smallest exponent of a normal `f16`.
const MIN_EXPONENT: i32 = -14;
/// Bits of 1.0, the smallest scale of a norm.
const ONE: u16 = 0x3C00;
/// Bits of the fraction in which scales of norms differ: they are in 1..1.0625.
const SCALE_FRACTION: u16 = 0x3F;
/// Biases are in ±2^-7..2^-6.
const BIAS_EXPONENT: i32 = -7;
/// The increment of SplitMix64: 2^64 over the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
/// Random numbers that a thread draws at a time; each gives four values.
const PIECE: usize = parallel::GRAIN;

/// Tensors below a common prefix that follow from a seed and their names.
#[derive(Clone, Debug)]
pub(crate) struct Synthetic {
    seed: u64,
    /// Empty, or the scope followed by a dot.
    prefix: String,
}

impl Synthetic {
    pub(crate) fn new(seed: u64) -> Synthetic {
        Synthetic { seed, prefix: String::new() }
    }

    pub(crate) fn scope(&self, name: impl Display) -> Synthetic {
        Synthetic { seed: self.seed, prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether a Stable Diffusion model has a tensor of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        !is_left_out(&format!("{}{name}", self.prefix))
    }

    /// The tensor of that name: scales of norms about 1, biases about 0, and weights of a standard deviation near
    /// `0.6 / sqrt(inputs)`.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> RawTensor {
        let (random_bits, fixed_bits) = match shape {
            [_] if name == "weight" => (SCALE_FRACTION, ONE),
            [_] => (SIGN_AND_FRACTION, exponent_bits(BIAS_EXPONENT)),
            _ => {
                let inputs: usize = shape.iter().skip(1).product();
                // Values in ±2^e..2^(e+1) have a deviation of 1.53 times 2^e.
                let exponent = (-0.5 * (inputs.max(1) as f32).log2()).floor() as i32 - 1;
                (SIGN_AND_FRACTION, exponent_bits(exponent))
            }
        };
        let elements: usize = shape.iter().product();
        let start = self.hash(name);
        let (random_bits, fixed_bits) = (each_half(random_bits), each_half(fixed_bits));
        let mut data = vec![0; 2 * elements.next_multiple_of(4)];
        parallel::chunks_mut(&mut data, size_of::<u64>() * PIECE, |piece, data| {
            let mut state = start.wrapping_add(GAMMA.wrapping_mul((piece * PIECE) as u64));
            for values in data.as_chunks_mut().0 {
                state = state.wrapping_add(GAMMA);
                *values = (mix(state) & random_bits | fixed_bits).to_le_bytes();
            }
        });
        data.truncate(2 * elements);
        RawTensor { dtype: DType::F16, shape: shape.to_vec(), data: data.into() }
    }

    /// FNV-1a of the whole name, with the seed.
    fn hash(&self, name: &str) -> u64 {
        let bytes = self.prefix.bytes().chain(name.bytes());
        bytes.fold(mix(self.seed), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
    }
}

/// Whether a name is that of a bias which Stable Diffusion leaves out: of the layers for queries, keys and values in the
/// transformers of a UNet, and of the embedding of the guidance scale (LCM). All other layers have one.
pub(crate) fn is_left_out(name: &str) -> bool {
    let parts: Vec<&str> = name.rsplit('.').take(3).collect();
    matches!(parts[..], ["bias", "to_q" | "to_k" | "to_v", "attn1" | "attn2"] | ["bias", "cond_proj", _])
}

/// The bits of the exponent of values of magnitude `2^exponent` to twice that.
fn exponent_bits(exponent: i32) -> u16 {
    let exponent = exponent.clamp(MIN_EXPONENT, BIAS);
    ((exponent + BIAS) as u16) << FRACTION_BITS
}

/// Four times the same bits.
fn each_half(bits: u16) -> u64 {
    u64::from(bits) * 0x0001_0001_0001_0001
}

/// The output function of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, shape: &[usize]) -> Vec<f32> {
        Synthetic::new(1).scope("layer").tensor(name, shape).to_f32().unwrap()
    }

    #[test]
    fn values_are_small_and_centred() {
        for shape in [&[320, 768][..], &[64, 32, 3, 3]] {
            let values = values("weight", shape);
            assert_eq!(values.len(), shape.iter().product::<usize>());
            let inputs = (values.len() / shape[0]) as f32;
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let deviation = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
            let size = deviation * inputs.sqrt();
            assert!(mean.abs() < 0.1 * deviation && (0.38..0.77).contains(&size), "{mean} {size}");
        }
        assert!(values("weight", &[999]).iter().all(|v| (1.0..1.0625).contains(v)));
        let bias = values("bias", &[999]);
        assert!(bias.iter().all(|v| (0.0078..0.0157).contains(&v.abs())));
        assert!(bias.iter().any(|v| *v > 0.0) && bias.iter().any(|v| *v < 0.0));
    }

    #[test]
    fn values_follow_from_seed_and_whole_name() {
        let tensor = |seed, scope: &str| Synthetic::new(seed).scope(scope).tensor("weight", &[9, 5]).data;
        assert_eq!(tensor(1, "a"), tensor(1, "a"));
        assert_ne!(tensor(1, "a"), tensor(1, "b"));
        assert_ne!(tensor(1, "a"), tensor(2, "a"));
    }

    #[test]
    fn values_do_not_depend_on_the_number_of_threads() {
        let tensor = || Synthetic::new(1).tensor("weight", &[3, 4 * PIECE + 1]).data;
        let one = parallel::with_threads(1, tensor).unwrap();
        assert_eq!(one, parallel::with_threads(3, tensor).unwrap());
        // A piece goes on where the one before it ended.
        let first = 2 * PIECE;
        let counter = Synthetic::new(1).hash("weight").wrapping_add(GAMMA.wrapping_mul(first as u64 + 1));
        let bits = u16::from_le_bytes([one[8 * first], one[8 * first + 1]]);
        assert_eq!(bits & SIGN_AND_FRACTION, mix(counter) as u16 & SIGN_AND_FRACTION);
    }

    #[test]
    fn queries_keys_and_values_of_transformers_have_no_bias() {
        let bias = |layer: &str| Synthetic::new(1).scope(layer).contains("bias");
        assert!(!bias("mid_block.attentions.0.transformer_blocks.0.attn1.to_q"));
        assert!(!bias("attn2.to_v"));
        assert!(!bias("down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k"));
        // SDXL's linear projections and the layers of its added vector have them.
        assert!(bias("down_blocks.2.attentions.1.proj_in") && bias("add_embedding.linear_2"));
        // The projection after them, the VAE's attention and the text encoder have them.
        assert!(bias("attn1.to_out.0") && bias("decoder.mid_block.attentions.0.to_q"));
        assert!(bias("self_attn.q_proj") && bias("conv_in"));
    }
}
