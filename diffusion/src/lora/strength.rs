//! How strongly a LoRA is added.

/// How strongly a LoRA is added to the UNet and to the text encoders. A number is both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// To the UNet.
    pub unet: f32,
    /// To the text encoders.
    pub text: f32,
    /// How much of the rank of plain products is used; all of it if `None`.
    pub max_rank: Option<usize>,
}

impl Strength {
    /// For a tensor of this canonical name.
    pub(super) fn of(self, tensor: &str) -> f32 {
        if tensor.starts_with("text_encoder") { self.text } else { self.unet }
    }
}

impl From<f32> for Strength {
    fn from(both: f32) -> Strength {
        Strength { unet: both, text: both, max_rank: None }
    }
}
