//! The dtypes that weights can be written in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use latent_kernels::quant;
use latent_loader::block_storage::stored_shape;
use latent_loader::{DType, F8};

/// The dtypes that a converted model can have. To add one that is not a block format: its line here, and an arm in `encode`.
///
/// A block format is only for matrices and convolutions whose rows are whole blocks; where they are not, a weight gets the
/// format of smaller blocks that is nearest, or keeps the dtype that it has. An 8-bit float is for matrices and convolutions.
pub const TARGET_DTYPES: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F8E4M3,
    DType::F8E5M2,
    DType::Q8_0,
    DType::Q6_K,
    DType::Q5_K,
    DType::Q5_1,
    DType::Q5_0,
    DType::Q4_K,
    DType::Q4_1,
    DType::Q4_0,
    DType::IQ4_NL,
    DType::IQ4_XS,
    DType::Q3_K,
    DType::Q2_K,
];

/// A value that a dtype cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooLarge(
    /// The value.
    pub f32,
);

/// The dtypes that are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetDType {
    /// That of all weights; `None` where each keeps its own.
    pub(super) dtype: Option<DType>,
    /// Whether they go to a GGUF file, where blocks are parts of the innermost dimension.
    pub(super) is_gguf: bool,
}

impl TargetDType {
    /// That a weight of this canonical name and shape, which was `old`, is written in.
    pub(super) fn of(self, name: &str, old: DType, shape: &[usize]) -> DType {
        let dtype = match self.dtype {
            Some(target) if is_table(name) && (target.is_block_format() || target.is_f8()) => old,
            Some(target) if !target.is_block_format() && (shape.len() > 1 || !target.is_f8()) => target,
            Some(target) if self.is_quantized(target, name, shape) => {
                let target = if is_word_table(name) { DType::Q8_0 } else { target };
                let mut formats = std::iter::successors(Some(target), |format| smaller_blocks(*format));
                formats.find(|format| self.has_blocks(*format, shape)).unwrap_or(old)
            }
            _ => old,
        };
        // What is in blocks and cannot stay so: a half is far finer than they are.
        if self.is_gguf && dtype.is_block_format() && !self.has_blocks(dtype, shape) {
            DType::F16
        } else if self.is_gguf && dtype.is_f8() && self.dtype != Some(dtype) {
            // GGUF has no floats of 8 bits; all of them are halves.
            DType::F16
        } else {
            dtype
        }
    }

    fn has_blocks(self, format: DType, shape: &[usize]) -> bool {
        let is_whole = |dim: &usize| dim.is_multiple_of(format.block_len());
        shape.len() > 1
            && stored_shape(format, shape).is_some()
            && (!self.is_gguf || shape.last().is_some_and(is_whole))
    }

    /// Whether a weight is quantized at all. With fewer than eight bits, and in GGUF files, as stable-diffusion.cpp writes
    /// them, those are not that are small, or whose errors all others inherit: embeddings of words, places and timesteps,
    /// the first and the last convolution, and a VAE.
    fn is_quantized(self, target: DType, name: &str, shape: &[usize]) -> bool {
        const KEPT: [&str; 4] = ["embedding", "unet.conv_in.", "unet.conv_out.", "positional"];
        let is_kept = name.starts_with("vae.")
            || KEPT.iter().any(|part| name.contains(part))
            || name.strip_prefix("transformer.").is_some_and(is_kept_of_transformer);
        shape.len() > 1 && (!is_kept || (target == DType::Q8_0 && !self.is_gguf))
    }
}

/// Whether a layer of a diffusion transformer is one whose errors all others inherit: the first, the last, and what embeds texts, time
/// and guidance, as ComfyUI-GGUF and stable-diffusion.cpp leave them.
fn is_kept_of_transformer(below: &str) -> bool {
    const KEPT: [&str; 14] = [
        "x_embedder.",
        "context_embedder.",
        "time_text_embed.",
        "time_guidance_embed.",
        "distilled_guidance_layer.",
        "pos_embed.",
        "norm_out.",
        "proj_out.",
        "t_embedder.",
        "cap_embedder.",
        "all_x_embedder.",
        "all_final_layer.",
        "noise_refiner.",
        "context_refiner.",
    ];
    KEPT.iter().any(|start| below.starts_with(start))
}

/// Whether a tensor is of places, of padding or of distances, and not a weight of a product.
fn is_table(name: &str) -> bool {
    (name.starts_with("transformer.") && !name.ends_with("weight"))
        || name.contains("relative_attention_bias")
}

/// Whether it is the table of words of a large text encoder, which has a tenth of its weights: it is not quantized to fewer than
/// eight bits.
fn is_word_table(name: &str) -> bool {
    matches!(name, "t5.shared.weight" | "qwen3.model.embed_tokens.weight")
}

/// The format of blocks of 32 that takes the place of one of 256 where rows are not whole blocks of these, as in ggml.
fn smaller_blocks(format: DType) -> Option<DType> {
    match format {
        DType::Q6_K => Some(DType::Q8_0),
        DType::Q5_K => Some(DType::Q5_1),
        DType::Q4_K => Some(DType::Q5_0),
        DType::Q2_K | DType::Q3_K | DType::IQ4_XS => Some(DType::IQ4_NL),
        _ => None,
    }
}

/// Appends rows of `columns` values each, rounded to the nearest value of the dtype, halves to even. What is too large for an
/// 8-bit float becomes its largest value.
///
/// # Errors
/// [`TooLarge`]: a finite value that would become infinite.
///
/// # Panics
/// If `dtype` is not one of weights, or rows of a block format are not whole blocks.
pub(super) fn encode(
    dtype: DType,
    values: &[f32],
    columns: usize,
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    debug_assert!(columns > 0 && values.len().is_multiple_of(columns));
    match dtype {
        DType::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        DType::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            check(values, |i| halves[i].is_finite())?;
            out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        }
        DType::BF16 => {
            let mut halves = vec![bf16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            check(values, |i| halves[i].is_finite())?;
            out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        }
        DType::F8E4M3 | DType::F8E5M2 => {
            let f8 = F8::of(dtype).expect("an 8-bit float");
            out.extend(values.iter().map(|value| f8.from_f32(*value)));
        }
        // It panics for what is not a block format.
        blocks => {
            out.extend(quant::quantize(blocks, values, columns).map_err(|error| TooLarge(error.value))?);
        }
    }
    Ok(())
}

/// Finds a finite value that has become infinite.
fn check(values: &[f32], is_finite: impl Fn(usize) -> bool) -> Result<(), TooLarge> {
    let bad = (0..values.len()).find(|i| !is_finite(*i) && values[*i].is_finite());
    bad.map_or(Ok(()), |i| Err(TooLarge(values[i])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(dtype: DType, values: &[f32]) -> Vec<u16> {
        let mut out = Vec::new();
        encode(dtype, values, values.len(), &mut out).unwrap();
        out.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn values_go_to_the_nearest_number_and_ties_to_even() {
        // Steps of f16 above 1 are 2^-10, of bf16 2^-7.
        let step = |power: i32| 2f32.powi(power);
        let f16s =
            [1.0, 1.0 + step(-11), 1.0 + 3.0 * step(-11), 1.0 + step(-11) + step(-20), 65504.0, -step(-24)];
        assert_eq!(halves(DType::F16, &f16s), [0x3c00, 0x3c00, 0x3c02, 0x3c01, 0x7bff, 0x8001]);
        // Half the smallest number is a tie with 0; a little more is not.
        assert_eq!(halves(DType::F16, &[step(-25), step(-25) * 1.01, 65519.0]), [0, 1, 0x7bff]);
        let bf16s = [1.0, 1.0 + step(-8), 1.0 + 3.0 * step(-8), 1.0 + step(-8) + step(-20), -0.0];
        assert_eq!(halves(DType::BF16, &bf16s), [0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut out = Vec::new();
        assert_eq!(encode(DType::F16, &[1.0, 65520.0], 2, &mut out), Err(TooLarge(65520.0)));
        assert_eq!(encode(DType::BF16, &[f32::MAX], 1, &mut out), Err(TooLarge(f32::MAX)));
        assert_eq!(encode(DType::F32, &[f32::MAX], 1, &mut out), Ok(()));
    }

    #[test]
    fn targets_are_weights() {
        assert!(TARGET_DTYPES.iter().all(|dtype| dtype.is_weight()));
        // Every block format can be written.
        assert!(DType::all().all(|dtype| !dtype.is_block_format() || TARGET_DTYPES.contains(&dtype)));
    }

    #[test]
    fn blocks_are_of_matrices_with_whole_rows() {
        let to = |dtype, is_gguf| TargetDType { dtype: Some(dtype), is_gguf };
        let q8_0 = |shape: &[usize]| to(DType::Q8_0, false).of("unet.a", DType::F16, shape) == DType::Q8_0;
        assert!(q8_0(&[2, 64]) && q8_0(&[4, 32, 3, 3]) && !q8_0(&[64]) && !q8_0(&[64, 4, 3, 3]));
        assert_eq!(to(DType::BF16, false).of("unet.a", DType::F16, &[64]), DType::BF16);
        let mut out = Vec::new();
        encode(DType::Q8_0, &[1.0; 64], 32, &mut out).unwrap();
        assert_eq!((out.len(), out[2], out[35]), (68, 127, out[1]));
        assert_eq!(encode(DType::Q8_0, &[9e6; 32], 32, &mut out), Err(TooLarge(9e6)));
    }

    #[test]
    fn rows_that_are_not_whole_blocks_get_smaller_ones() {
        let of = |dtype, is_gguf, name: &str, shape: &[usize]| {
            TargetDType { dtype: Some(dtype), is_gguf }.of(name, DType::F16, shape)
        };
        assert_eq!(of(DType::Q4_K, false, "unet.a.weight", &[320, 1280]), DType::Q4_K);
        assert_eq!(of(DType::Q4_K, false, "unet.a.weight", &[1280, 320]), DType::Q5_0);
        assert_eq!(of(DType::Q6_K, false, "unet.a.weight", &[320, 320, 3, 3]), DType::Q8_0);
        assert_eq!(of(DType::Q2_K, false, "unet.a.weight", &[320, 4, 3, 3]), DType::F16);
        // The kernel is the innermost dimension.
        assert_eq!(of(DType::Q4_0, true, "unet.a.weight", &[320, 320, 3, 3]), DType::F16);
        assert_eq!(of(DType::Q4_0, true, "unet.a.weight", &[320, 320]), DType::Q4_0);
    }

    #[test]
    fn what_others_depend_on_is_not_quantized() {
        let of = |dtype, name: &str| {
            TargetDType { dtype: Some(dtype), is_gguf: false }.of(name, DType::F16, &[64, 64])
        };
        for name in [
            "unet.time_embedding.linear_1.weight",
            "text_encoder.text_model.embeddings.token_embedding.weight",
        ] {
            assert_eq!((of(DType::Q4_0, name), of(DType::Q8_0, name)), (DType::F16, DType::Q8_0), "{name}");
        }
        assert_eq!(of(DType::Q4_0, "vae.decoder.conv_in.weight"), DType::F16);
        assert_eq!(of(DType::Q4_0, "unet.conv_out.weight"), DType::F16);
        assert_eq!(of(DType::Q4_0, "unet.mid_block.attentions.0.proj_in.weight"), DType::Q4_0);
        for (name, kept) in [
            ("transformer.proj_out.weight", true),
            ("transformer.single_transformer_blocks.0.proj_out.weight", false),
            ("transformer.time_text_embed.text_embedder.linear_1.weight", true),
            ("transformer.layers.0.attention.to_qkv.weight", false),
            ("transformer.noise_refiner.0.attention.to_qkv.weight", true),
            ("transformer.pos_embed.pos_embed", true),
            ("transformer.x_pad_token", true),
            ("t5.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", true),
            ("t5.encoder.block.0.layer.0.SelfAttention.q.weight", false),
        ] {
            assert_eq!(of(DType::Q4_0, name), if kept { DType::F16 } else { DType::Q4_0 }, "{name}");
        }
        assert_eq!(of(DType::Q4_0, "t5.shared.weight"), DType::Q8_0);
        assert_eq!(of(DType::F8E4M3, "transformer.pos_embed.pos_embed"), DType::F16);
    }
}
