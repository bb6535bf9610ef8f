//! What a family of models is.

use super::latent_format::LatentFormat;
use super::probe::index::TensorIndex;
use super::probe::unet_shape::UNetShape;
use super::probe::variant::ModelVariant;
use super::published::PublishedModel;
use super::text_encoders::TextEncoderRole;
use crate::samplers::Prediction;
use crate::schedule::Training;
use crate::text::LanguageModelRole;
use crate::unet::Heads;

/// A family of models: what its checkpoints have in common, and how to recognise one. Families differ in data alone, with a
/// file for each.
///
/// ```
/// use latent_diffusion::families;
/// let labels: Vec<_> = families::ALL.iter().map(|family| family.label).collect();
/// assert!(labels.contains(&"Stable Diffusion XL"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Family {
    /// Short name, as a program writes it: "sdxl".
    pub id: &'static str,
    /// Name, as a person writes it: "Stable Diffusion XL".
    pub label: &'static str,
    /// Side in pixels of the square images that it was trained on.
    pub resolution: usize,
    /// Its denoiser network.
    pub network: DenoiserNetwork,
    /// Its latents.
    pub latent_format: LatentFormat,
    /// Whether the network and its metadata are this family's, variants included.
    pub(crate) matches: fn(&TensorIndex) -> bool,
    /// The variant of a network with the input of the family itself, by its depths.
    pub(crate) variant_by_depth: fn(&UNetShape) -> ModelVariant,
    /// Its text encoders, in the order in which their hidden states are concatenated.
    pub(crate) text_encoders: &'static [TextEncoderRole],
    /// Its large text encoder.
    pub(crate) language_model: Option<LanguageModelRole>,
    /// How it uses them.
    pub(crate) text_use: TextUse,
    /// What the network takes besides the time step and the text.
    pub(crate) added_vector: AddedVector,
    /// Whether zeros take the place of a negative prompt that is not given, and not an empty prompt.
    pub(crate) zero_negative: bool,
    /// What its networks predict where nothing else is known.
    pub(crate) prediction: Prediction,
    /// Which of its networks predict the velocity, where one small tensor shows it.
    pub(crate) velocity_by_spread: Option<SpreadRule>,
    /// How it was trained, if that was by flow matching.
    pub(crate) flow: Option<FlowTraining>,
    /// The noise schedule that it was trained with, where the checkpoint contains no other.
    pub(crate) training: fn() -> Training,
    /// Words by which other files name it.
    pub(crate) words: FamilyWords,
    /// Published models of the family whose sizes are known without a file.
    pub(crate) published: &'static [PublishedModel],
}

/// A denoiser network, with what the shapes of its tensors do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenoiserNetwork {
    /// A UNet ([`crate::unet::UNet`]).
    UNet {
        /// Heads of its attentions.
        heads: Heads,
    },
    /// A diffusion transformer ([`crate::transformer`]), whose names and shapes show all of it.
    Transformer,
}

/// How a family uses its text encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextUse {
    /// All of CLIP, and only those ([`TextLayout::SideBySide`](crate::text::TextLayout::SideBySide)).
    SideBySide,
    /// Any of CLIP and of the large one ([`TextLayout::Sequence`](crate::text::TextLayout::Sequence)).
    AnyInSequence,
    /// The large one, and all of CLIP for the pooled text ([`TextLayout::Language`](crate::text::TextLayout::Language)).
    Language,
}

/// Training by flow matching, and the settings that go with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FlowTraining {
    /// The shift of the noise levels.
    pub(crate) shift: FlowShift,
    /// Steps of a model that is not distilled.
    pub(crate) steps: usize,
    /// Its guidance scale.
    pub(crate) guidance: f64,
    /// Steps of a distilled one, which draws without guidance.
    pub(crate) few_steps: usize,
    /// Whether its models are distilled unless they are called "base".
    pub(crate) is_usually_distilled: bool,
}

/// How far the noise levels of a flow matching model are moved towards noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FlowShift {
    /// For images of any size.
    Fixed(f64),
    /// Farther for larger images: the logarithm rises with the tokens of an image as a straight line does, from `base` at 256
    /// tokens to `max` at 4096 (`calculate_shift` in diffusers' pipelines of Flux).
    ByTokens {
        /// At 256 tokens.
        base: f64,
        /// At 4096 tokens.
        max: f64,
    },
    /// Farther for larger images and for fewer steps (`compute_empirical_mu` in diffusers' pipelines of Flux.2): the logarithm
    /// rises with the tokens along one line for 10 steps and another for 200, and is between both for other numbers of steps. Where
    /// there are more than 4300 tokens, it is on the line for 200.
    ByTokensAndSteps,
}

impl FlowShift {
    /// The shift for an image of that many tokens, drawn in that many steps.
    pub(crate) fn at(self, tokens: usize, steps: usize) -> f64 {
        const TOKENS: [f64; 2] = [256.0, 4096.0];
        match self {
            FlowShift::Fixed(shift) => shift,
            FlowShift::ByTokens { base, max } => {
                let slope = (max - base) / (TOKENS[1] - TOKENS[0]);
                (base + slope * (tokens as f64 - TOKENS[0])).exp()
            }
            FlowShift::ByTokensAndSteps => {
                const MAX_TOKENS_BY_STEPS: usize = 4300;
                const STEPS: [f64; 2] = [10.0, 200.0];
                let few = 8.738_095_24e-5 * tokens as f64 + 1.898_333_33;
                let many = 0.000_169_27 * tokens as f64 + 0.456_666_66;
                if tokens > MAX_TOKENS_BY_STEPS {
                    return many.exp();
                }
                let slope = (many - few) / (STEPS[1] - STEPS[0]);
                (many + slope * (steps as f64 - STEPS[1])).exp()
            }
        }
    }
}

/// A vector that a network takes besides the time step and the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddedVector {
    /// None.
    None,
    /// The pooled text, and sizes: of the original image, its crop, and the image to draw (SDXL).
    Sizes,
    /// The pooled text, sizes, and an aesthetic score in place of the size to draw (SDXL's refiner).
    AestheticScore,
}

/// A small tensor whose values are spread more widely in models that predict the velocity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpreadRule {
    /// Its name in the network.
    pub(crate) tensor: &'static str,
    /// Largest standard deviation of models that predict the noise.
    pub(crate) max_of_epsilon: f64,
}

/// Words by which LoRAs, metadata and file names mean a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FamilyWords {
    /// Beginnings of `ss_base_model_version` in kohya's metadata.
    pub(crate) lora_versions: &'static [&'static str],
    /// Parts of `modelspec.architecture`, in lower case.
    pub(crate) architectures: &'static [&'static str],
    /// Whether a word in the name of a VAE's file, in lower case, means it.
    pub(crate) is_vae_word: fn(&str) -> bool,
}

impl FamilyWords {
    /// No words.
    pub(crate) const NONE: FamilyWords =
        FamilyWords { lora_versions: &[], architectures: &[], is_vae_word: |_| false };
}

impl Family {
    /// Heads of the attentions of its UNet, if it has one.
    pub(crate) fn heads(&self) -> Option<Heads> {
        match self.network {
            DenoiserNetwork::UNet { heads } => Some(heads),
            DenoiserNetwork::Transformer => None,
        }
    }

    /// Width of the text that its published networks read: the hidden states of all its text encoders side by side.
    pub(crate) fn context_width(&self) -> usize {
        self.text_encoders.iter().map(|role| role.published.width).sum()
    }

    /// The scope of its only text encoder, followed by a dot; `None` if it has several.
    pub(crate) fn lone_text_scope(&self) -> Option<&'static str> {
        match self.text_encoders {
            [only] => Some(only.scope_with_dot),
            _ => None,
        }
    }

    /// Whether a UNet of these shapes takes what the family's networks take.
    pub(crate) fn takes_input_of(&self, shape: &UNetShape) -> bool {
        (self.added_vector != AddedVector::None) == shape.added_dim.is_some()
    }
}

/// Families are the same if their short names are.
impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.id == other.id
    }
}

impl Eq for Family {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `calculate_shift` and `compute_empirical_mu` in diffusers.
    #[test]
    fn shifts_grow_with_the_size_and_fall_with_the_steps() {
        let near =
            |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        let flux = FlowShift::ByTokens { base: 0.5, max: 1.15 };
        near(flux.at(256, 4), 0.5_f64.exp());
        near(flux.at(4096, 50), 1.15_f64.exp());
        for (tokens, steps, shift) in [
            (24, 4, 6.999892035764498),
            (1024, 4, 7.619339666088855),
            (4096, 4, 9.886595938436898),
            (4096, 50, 7.563629420981297),
            (5000, 50, 3.6803824006413746),
        ] {
            near(FlowShift::ByTokensAndSteps.at(tokens, steps), shift);
        }
    }
}
