//! Classifier-free guidance: the network sees each image more than once, and its predictions are combined.

use super::Settings;
use crate::Error;
use latent_tensor::{Device, Tensor, ops};

/// A copy of an image in the batch of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GuidanceCopy {
    /// The subprompt that it is conditioned on; the negative prompt where there is none.
    pub(super) sub: Option<usize>,
    /// Whether it sees the extra channels.
    pub(super) sees_image: bool,
    /// Whether the network is perturbed: the self-attentions of its mid block, or it lacks some blocks.
    pub(super) is_perturbed: bool,
}

impl GuidanceCopy {
    const NEGATIVE: GuidanceCopy = GuidanceCopy { sub: None, sees_image: true, is_perturbed: false };

    fn of_prompt(sub: usize) -> GuidanceCopy {
        GuidanceCopy { sub: Some(sub), ..GuidanceCopy::NEGATIVE }
    }

    /// The copies of a prompt whose network is perturbed.
    pub(super) fn perturbed(subs: usize) -> impl Iterator<Item = GuidanceCopy> {
        (0..subs).map(|sub| GuidanceCopy { is_perturbed: true, ..GuidanceCopy::of_prompt(sub) })
    }
}

/// How many copies of a batch the network sees, what each is conditioned on, and how its predictions are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Guidance {
    /// The prompt alone.
    None,
    /// The negative prompt, the prompt: away from the first (Ho and Salimans 2022).
    Prompt {
        scale: f32,
        /// As [`Settings::guidance_rescale`].
        rescale: f64,
    },
    /// The negative prompt without the image, with it, and both: away from either (Brooks et al. 2023, equation 3).
    PromptAndImage { prompt: f32, image: f32 },
}

impl Guidance {
    /// `takes_guidance`: the guidance scale is an input of the network, unless the settings have another one for that. `image` is how
    /// closely to keep to the image in the extra channels, for a model that follows instructions.
    pub(super) fn new(takes_guidance: bool, settings: &Settings, image: Option<f64>) -> Guidance {
        let takes_scale = takes_guidance && settings.distilled_guidance.is_none();
        let prompt = settings.guidance;
        match image {
            Some(image) if prompt != 1.0 || image != 1.0 => {
                Guidance::PromptAndImage { prompt: prompt as f32, image: image as f32 }
            }
            None if (prompt > 1.0 || settings.sampler.needs_negative()) && !takes_scale => {
                Guidance::Prompt { scale: prompt as f32, rescale: settings.guidance_rescale }
            }
            _ => Guidance::None,
        }
    }

    /// What each copy is conditioned on, in order: the prompt has `subs` copies. A prompt that is `composed` needs the
    /// negative one, to know what its parts change.
    pub(super) fn copies(self, subs: usize, composed: bool) -> Vec<GuidanceCopy> {
        let negative = match self {
            Guidance::None if !composed => &[][..],
            Guidance::None | Guidance::Prompt { .. } => &[GuidanceCopy::NEGATIVE],
            Guidance::PromptAndImage { .. } => {
                &[GuidanceCopy { sees_image: false, ..GuidanceCopy::NEGATIVE }, GuidanceCopy::NEGATIVE]
            }
        };
        let positive = (0..subs).map(GuidanceCopy::of_prompt);
        negative.iter().copied().chain(positive).collect()
    }

    /// Maximum copies of an image that are evaluated at once: as many as a plain prompt has, or two.
    pub(super) fn at_once(self) -> usize {
        self.copies(1, false).len().max(2)
    }

    /// The predictions of a composed prompt's copies, `[copies, ...]` of one image, as those of a plain one: those of the
    /// subprompts are replaced by the negative prompt's plus what each subprompt changes times its weight (Liu et al.,
    /// Composable Diffusion, 2022, equation 11).
    pub(super) fn composed(self, predictions: &[Vec<f32>], weights: &[f64]) -> Vec<Vec<f32>> {
        let (others, parts) = predictions.split_at(predictions.len() - weights.len());
        let Some(negative) = others.last() else { return predictions.to_vec() };
        let mut joined = negative.clone();
        for (part, weight) in parts.iter().zip(weights) {
            for ((joined, part), negative) in joined.iter_mut().zip(part).zip(negative) {
                *joined += *weight as f32 * (part - negative);
            }
        }
        let others = if matches!(self, Guidance::None) { &[] } else { others };
        others.iter().cloned().chain([joined]).collect()
    }

    /// The predictions of all copies combined to one: where they are, or, where each image's deviation or three copies count, in main
    /// memory.
    pub(super) fn join(self, output: &Tensor) -> Result<Tensor, Error> {
        match self {
            Guidance::None => Ok(output.clone()),
            Guidance::Prompt { scale, rescale } if rescale > 0.0 => rescaled(output, scale, rescale),
            Guidance::Prompt { scale, .. } => Ok(ops::guidance(output, scale)?),
            Guidance::PromptAndImage { prompt, image } => {
                let output = output.to(&Device::Cpu)?;
                let third = output.f32s()?.len() / 3;
                let (neither, rest) = output.f32s()?.split_at(third);
                let joined = neither.iter().zip(rest).zip(&rest[third..]).map(|((neither, seen), both)| {
                    neither + prompt * (both - seen) + image * (seen - neither)
                });
                let mut dims = output.dims().to_vec();
                dims[0] /= 3;
                Ok(Tensor::from_f32(&dims, &joined.collect::<Vec<_>>())?)
            }
        }
    }
}

/// Predictions under guidance, each image's with its standard deviation brought back towards that of its prediction with
/// the prompt alone: all the way for a `rescale` of 1, not at all for 0 (Lin et al., Common Diffusion Noise Schedules
/// and Sample Steps are Flawed, 2023, equations 15 and 16). Strong guidance makes images too bright and too contrasted
/// otherwise.
///
/// `output` holds those without the prompt before those with it, `[2 n, ...]`; the result `[n, ...]` is in main memory.
fn rescaled(output: &Tensor, scale: f32, rescale: f64) -> Result<Tensor, Error> {
    let output = output.to(&Device::Cpu)?;
    let mut guided = ops::guidance(&output, scale)?;
    let values = output.f32s()?;
    let images = (output.dims()[0] / 2).max(1);
    let each = (values.len() / 2 / images).max(1);
    let positive = values[values.len() / 2..].chunks_exact(each);
    for (guided, positive) in guided.f32s_mut()?.chunks_exact_mut(each).zip(positive) {
        let ratio = deviation(positive) / deviation(guided).max(f64::MIN_POSITIVE);
        let factor = rescale * ratio + (1.0 - rescale);
        guided.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
    Ok(guided)
}

/// Standard deviation; whether it divides by n or n - 1 does not matter to a ratio.
fn deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_comes_back() {
        // Two images of two values; without the prompt all are 0.
        let output = Tensor::from_f32(&[4, 1, 1, 2], &[0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 2.0, 4.0]).unwrap();
        let at = |rescale: f64| rescaled(&output, 3.0, rescale).unwrap().f32s().unwrap().to_vec();
        assert_eq!(at(0.0), [3.0, -3.0, 6.0, 12.0]);
        // The guided ones are three times those with the prompt, whose deviation is a third.
        assert_eq!(at(1.0), [1.0, -1.0, 2.0, 4.0]);
        assert_eq!(at(0.75), [1.5, -1.5, 3.0, 6.0]);
    }
}
