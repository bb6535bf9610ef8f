//! From the name and shape of a tensor to the uniform distribution its elements are drawn from.
//!
//! Norm scales are around one, biases around zero, and weights of a layer with `fan_in` inputs get the standard
//! deviation `gain / sqrt(fan_in)` (a uniform distribution of half width `w` has the deviation `w / sqrt(3)`), so that
//! signals keep their size from layer to layer. The gains are chosen so that attention is neither flat nor one-hot and
//! that images and noise predictions come out about as large as those of a trained model.

/// The uniform distribution `centre + half_width * [-1, 1)` of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FillRule {
    /// The middle of the range.
    pub centre: f64,
    /// Half the width of the range.
    pub half_width: f64,
    /// Elements from here on are lower by `LOG_VARIANCE_SHIFT`; the number of elements where there are none.
    pub shifted_from: usize,
}

/// Subtracted from the biases of the log-variances that a VAE encoder predicts: the posterior becomes narrow, as that
/// of a trained one is.
const LOG_VARIANCE_SHIFT: f64 = 6.0;

/// `(substring, gain)`: that of the first that occurs in the name; 1 where there is none.
const GAINS: [(&str, f64); 16] = [
    ("model.diffusion_model.out.2.", 1.7),
    (".to_q.", 1.5),
    (".to_k.", 1.5),
    (".q_proj.", 1.5),
    (".k_proj.", 1.5),
    (".in_proj_weight", 1.5),
    (".mid.attn_1.q.", 1.5),
    (".mid.attn_1.k.", 1.5),
    ("decoder.conv_out.", 0.75),
    ("first_stage_model.quant_conv.", 4.0),
    ("input_hint_block.", 1.6),
    ("zero_convs.", 0.5),
    ("middle_block_out.", 0.5),
    (".lora_up.", 0.5),
    ("encoder.layers.14.", 3.0),
    ("decoder.layers.18.", 1.2),
];

impl FillRule {
    /// The distribution of the tensor `name` (in the naming of the original single file) of `shape`.
    pub fn of(name: &str, shape: &[usize]) -> Self {
        let (centre, half_width) = range(name, shape);
        let elements: usize = shape.iter().product();
        let log_variances = name == "first_stage_model.quant_conv.bias";
        Self { centre, half_width, shifted_from: if log_variances { elements / 2 } else { elements } }
    }

    /// The value at element `index` for a `unit` in [-1, 1). The product is rounded before the sum.
    #[inline]
    pub fn value(&self, unit: f64, index: usize) -> f64 {
        let value = unit * self.half_width + self.centre;
        if index >= self.shifted_from { value - LOG_VARIANCE_SHIFT } else { value }
    }
}

/// `(centre, half_width)`; the first case that fits.
fn range(name: &str, shape: &[usize]) -> (f64, f64) {
    if name.ends_with("token_embedding.weight") {
        return (0.0, 0.8);
    }
    if name.ends_with("position_embedding.weight") || name.ends_with("positional_embedding") {
        return (0.0, 0.4);
    }
    if matches!(name, "emb_params" | "clip_l" | "clip_g") || name.starts_with('<') {
        return (0.0, 0.8); // textual inversion: as large as the token embeddings next to them
    }
    if shape.len() <= 1 {
        return match name {
            _ if name.ends_with(".weight") => (1.0, 0.1),
            "decoder.layers.18.bias" => (0.5, 0.05), // TAESD paints in [0, 1]
            _ => (0.0, 0.05),
        };
    }
    let fan_in: usize =
        if name.ends_with("text_projection") { shape[0] } else { shape[1..].iter().product() };
    let gain = GAINS.iter().find(|(part, _)| name.contains(part)).map_or(1.0, |&(_, gain)| gain);
    (0.0, gain * (3.0 / fan_in as f64).sqrt())
}
