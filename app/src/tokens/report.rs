//! A prompt taken apart, as plain data.

use crate::prompts::left_out;
use latent_diffusion::lora::Tag;
use serde::Serialize;

/// A prompt, taken apart. It serialises as the JSON of `latent tokens --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptReport {
    /// The prompt, with its wildcards resolved.
    pub prompt: String,
    /// The text that the wildcards were in, where it is another one.
    pub template: Option<String>,
    /// Steps of the run.
    pub steps: usize,
    /// The LoRAs that the prompt names.
    pub loras: Vec<LoraTagReport>,
    /// The text encoders of the model; none without a model.
    pub text_encoders: Vec<TextEncoderReport>,
    /// The prompts that `AND` joins.
    pub subprompts: Vec<SubpromptReport>,
}

impl PromptReport {
    /// One line for each tag of a kind that is not known, which is left out.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        left_out(&self.prompt)
    }
}

/// A LoRA that a prompt names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoraTagReport {
    /// Its file's name without the extension.
    pub name: String,
    /// Its weight in the UNet.
    pub unet_weight: f32,
    /// Its weight in the text encoders.
    pub text_weight: f32,
}

impl LoraTagReport {
    pub(super) fn of(tag: &Tag) -> LoraTagReport {
        LoraTagReport { name: tag.name.clone(), unet_weight: tag.weight, text_weight: tag.text_weight }
    }
}

/// A text encoder of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TextEncoderReport {
    /// Width of its hidden states.
    pub width: usize,
    /// Number of its layers.
    pub layers: usize,
    /// The id of the token that fills chunks up.
    pub padding: u32,
}

/// One of the prompts that `AND` joins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SubpromptReport {
    /// Its weight among them.
    pub weight: f64,
    /// Its texts in the course of the steps.
    pub texts: Vec<PromptTextReport>,
}

/// A text and the steps in which it is the prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptTextReport {
    /// The text.
    pub text: String,
    /// The first and the last of the steps in a row, from 1.
    pub steps: Vec<[usize; 2]>,
    /// The tokens of each chunk, without start, end and padding.
    pub chunks: Vec<Vec<TokenReport>>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenReport {
    /// Its number in the vocabulary; those of textual inversions follow its end.
    pub id: u32,
    /// Its text in the vocabulary, or which vector of which textual inversion it is.
    pub piece: String,
    /// How much it counts.
    pub weight: f32,
}
