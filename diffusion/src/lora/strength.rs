//! How strongly a LoRA is added.

/// How strongly a LoRA is added to the UNet or transformer and to the text encoders. A number is both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// To the UNet or transformer.
    pub unet: f32,
    /// To the text encoders.
    pub text: f32,
    /// How much of the rank of plain products is used; all of it if `None`.
    pub max_rank: Option<usize>,
}

impl Strength {
    /// For a tensor of this canonical name.
    pub(super) fn of(self, tensor: &str) -> f32 {
        const TEXTS: [&str; 3] = ["text_encoder", "t5.", "qwen3."];
        if TEXTS.iter().any(|start| tensor.starts_with(start)) { self.text } else { self.unet }
    }
}

impl From<f32> for Strength {
    fn from(both: f32) -> Strength {
        Strength { unet: both, text: both, max_rank: None }
    }
}
