//! The memory that a run will take, from sizes alone: known before anything is loaded.

use super::{Hires, HiresUpscaler, Pipeline, Settings, Task, VaeTiling};
use crate::Error;
use crate::controlnet::ControlKind;
use crate::families::{Model, NetworkInput};
use crate::latents::LatentShape;
use crate::stage::Stage;
use crate::text::TextPart;
use std::collections::BTreeMap;

/// What a stage of a run takes at most on the CPU: the weights that are in memory at that time, and the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The stage.
    pub stage: Stage,
    /// Bytes, estimated.
    pub bytes: u64,
}

/// Channels of TAESD times the tensors of an image's size that its last level holds at once.
const TAESD_VALUES: usize = 64 * 3;

impl Pipeline {
    /// The stages of a run in their order. Weights in a file's mapping count too, though the system may drop them.
    ///
    /// # Errors
    /// A size that the model cannot draw.
    pub fn memory_estimates(
        &self,
        task: &Task<'_>,
        settings: &Settings,
        hires: Option<&Hires<'_>>,
    ) -> Result<Vec<MemoryEstimate>, Error> {
        let model = &self.model;
        let weights = |scope: &str| model.weights.scope(scope).total_bytes();
        let text: u64 = model.text.iter().map(|part: &TextPart| weights(part.scope)).sum();
        let language = model.language.as_ref().map_or(0, |model| weights(model.role.scope()));
        let mut estimates = vec![MemoryEstimate { stage: Stage::TextEncoding, bytes: text + language }];
        let mut push = |stage, bytes| estimates.push(MemoryEstimate { stage, bytes });
        let (vae, in_bands) = (weights("vae"), self.vae_tiling() == VaeTiling::Bands);
        let encoding = |size| vae + model.vae.encoding_bytes(size, in_bands);
        let decoding = |size| match &self.taesd {
            Some(taesd) => taesd.weights().total_bytes() + taesd_bytes(size),
            None => vae + model.vae.decoding_bytes(size, in_bands),
        };
        let network =
            model.network_weights().1.total_bytes() + self.control_bytes() + self.image_prompts.bytes();
        // An image that is referred to has as many tokens as the drawn one.
        let refers = matches!(task, Task::Edit { .. }) && model.refers_to_images();
        let with_references = |(width, height)| (width, if refers { 2 * height } else { height });
        let sampling = |settings, size| {
            network.max(self.refiner_bytes())
                + sampling_bytes(model, settings, with_references(size))
                + self.embedded_control_bytes(settings, size)
        };
        let encodes = task.image().is_some() || model.input == NetworkInput::Inpaint;
        let mut size = settings.size(model)?;
        if encodes {
            push(Stage::ImageEncoding, encoding(size));
        }
        push(Stage::Sampling, sampling(settings, size));
        if let Some(hires) = hires {
            let second = hires.settings(settings, model)?;
            // The network waits for its second pass.
            let waiting = if in_bands { 0 } else { network };
            if let HiresUpscaler::Pixels(_) = hires.enlarge {
                push(Stage::Decoding, waiting + decoding(size));
                push(Stage::Upscaling, waiting);
            }
            size = second.size(model)?;
            if encodes || matches!(hires.enlarge, HiresUpscaler::Pixels(_)) {
                push(Stage::ImageEncoding, waiting + encoding(size));
            }
            push(Stage::Sampling, sampling(&second, size));
        }
        push(Stage::Decoding, decoding(size));
        Ok(estimates)
    }

    fn control_bytes(&self) -> u64 {
        // One file may be used several times.
        let nets: BTreeMap<_, _> = self
            .controls
            .iter()
            .map(|control| (std::sync::Arc::as_ptr(&control.net), control.net.bytes(&self.model)))
            .collect();
        nets.values().sum()
    }

    /// The images of ControlNet-LLLites, as each of their modules sees them.
    fn embedded_control_bytes(&self, settings: &Settings, (width, height): (usize, usize)) -> u64 {
        let factor = self.model.vae.factor();
        let (latents, batch) = ((width / factor, height / factor), evaluated(settings));
        let bytes = |control: &super::Control| match control.net.kind() {
            ControlKind::Lllite(config) => {
                self.model.network.unet().map_or(0, |unet| config.embedding_bytes(unet, latents, batch))
            }
            _ => 0,
        };
        self.controls.iter().map(bytes).sum()
    }

    fn refiner_bytes(&self) -> u64 {
        let of = |refiner: &super::Refiner| refiner.pipeline.model.network_weights().1.total_bytes();
        self.refiner.as_ref().map_or(0, of)
    }
}

/// Bytes that TAESD works on for an image of this width and height.
fn taesd_bytes((width, height): (usize, usize)) -> u64 {
    (TAESD_VALUES * width * height * size_of::<f32>()) as u64
}

/// Latents that are predicted at once: with and without the prompt.
fn evaluated(settings: &Settings) -> usize {
    settings.seeds.len() * if settings.guidance > 1.0 { 2 } else { 1 }
}

/// What the network works on for an image of this width and height, for all images at once, with and without the prompt.
fn sampling_bytes(model: &Model, settings: &Settings, (width, height): (usize, usize)) -> u64 {
    let (factor, channels) = (model.vae.factor(), model.vae.latent_channels);
    let images = evaluated(settings);
    model.activation_bytes(LatentShape { images, channels, height: height / factor, width: width / factor })
}
