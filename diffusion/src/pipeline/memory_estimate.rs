//! The memory that a run will take, from sizes alone: known before anything is loaded.

use super::{Hires, HiresUpscaler, Pipeline, Settings, Task, VaeTiling};
use crate::Error;
use crate::controlnet::ControlKind;
use crate::families::{Model, NetworkInput};
use crate::latents::LatentShape;
use crate::stage::Stage;
use crate::text::TextPart;
use latent_loader::Weights;
use latent_tensor::Device;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What a stage of a run takes at most on the CPU: the weights that are in memory at that time, and the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The stage.
    pub stage: Stage,
    /// Bytes, estimated.
    pub bytes: u64,
    /// Those of large networks' weights among them, as they are in the file: of the denoiser and of text encoders.
    pub weights: u64,
    /// The number of values of these weights.
    pub values: u64,
}

impl MemoryEstimate {
    /// Bytes of the stage if these weights had so many bits each.
    #[must_use]
    pub fn bytes_at(&self, bits: f64) -> u64 {
        self.bytes.saturating_sub(self.weights) + (self.values as f64 * bits / 8.0) as u64
    }
}

/// Texts that are encoded at once: a prompt and a negative one.
const TEXTS: usize = 2;

/// Weights of large networks.
#[derive(Clone, Copy, Default)]
struct LargeWeights {
    bytes: u64,
    values: u64,
}

impl LargeWeights {
    /// All weights of a network; or of one that is read block by block the rest and so many blocks, the largest ones.
    fn of(weights: &Weights, streamed: Option<usize>) -> LargeWeights {
        let mut blocks: BTreeMap<&str, LargeWeights> = BTreeMap::new();
        for (name, info) in weights.names().filter_map(|name| Some((name, weights.info(name)?))) {
            let block = if streamed.is_some() { block_of(name) } else { "" };
            let one = LargeWeights { bytes: info.bytes() as u64, values: info.elements() as u64 };
            let sum = blocks.entry(block).or_default();
            *sum = sum.and(one);
        }
        let rest = blocks.remove("").unwrap_or_default();
        let mut blocks: Vec<LargeWeights> = blocks.into_values().collect();
        blocks.sort_by_key(|block| Reverse(block.bytes));
        blocks.into_iter().take(streamed.unwrap_or(0)).fold(rest, LargeWeights::and)
    }

    fn and(self, other: LargeWeights) -> LargeWeights {
        LargeWeights { bytes: self.bytes + other.bytes, values: self.values + other.values }
    }

    fn in_stage(self, stage: Stage, bytes: u64) -> MemoryEstimate {
        MemoryEstimate { stage, bytes, weights: self.bytes, values: self.values }
    }
}

/// Blocks that are in memory at once of a network that is read block by block: on a GPU the next one is uploaded while one computes.
fn blocks_in_memory(device: &Device, streams: bool) -> Option<usize> {
    streams.then_some(if *device == Device::Cpu { 1 } else { 2 })
}

/// The block that a tensor belongs to: its name up to the first number, or nothing.
fn block_of(name: &str) -> &str {
    let mut end = 0;
    for part in name.split('.') {
        end += part.len();
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            return &name[..end];
        }
        end += 1;
    }
    ""
}

/// Channels of TAESD times the tensors of an image's size that its last level holds at once.
const TAESD_VALUES: usize = 64 * 3;

impl Pipeline {
    /// The stages of a run in their order. Weights in a file's mapping count too, though the system may drop them; of networks that
    /// are read block by block ([`Pipeline::with_streamed_weights`]) the largest block does, and on a GPU the two largest.
    ///
    /// # Errors
    /// A size that the model cannot draw.
    pub fn memory_estimates(
        &self,
        task: &Task<'_>,
        settings: &Settings,
        hires: Option<&Hires<'_>>,
    ) -> Result<Vec<MemoryEstimate>, Error> {
        self.memory_estimates_with(task, settings, hires, self.streams_weights)
    }

    /// The same for this pipeline with networks that are read block by block, or not.
    ///
    /// # Errors
    /// As [`Pipeline::memory_estimates`].
    pub fn memory_estimates_with(
        &self,
        task: &Task<'_>,
        settings: &Settings,
        hires: Option<&Hires<'_>>,
        streams_weights: bool,
    ) -> Result<Vec<MemoryEstimate>, Error> {
        let model = &self.model;
        let weights = |scope: &str| model.weights.scope(scope).total_bytes();
        let text = self.text_weights(streams_weights);
        let network_weights = self.denoiser_weights(streams_weights);
        let bytes = text.bytes + model.language.as_ref().map_or(0, |model| model.encoding_bytes(TEXTS));
        let mut estimates = vec![text.in_stage(Stage::TextEncoding, bytes)];
        let mut push = |stage, bytes| {
            let large = if stage == Stage::Sampling { network_weights } else { LargeWeights::default() };
            estimates.push(large.in_stage(stage, bytes));
        };
        let (vae, in_bands) = (weights("vae"), self.vae_tiling() == VaeTiling::Bands);
        let encoding = |size| vae + model.vae.encoding_bytes(size, in_bands);
        let decoding = |size| match &self.taesd {
            Some(taesd) => taesd.weights().total_bytes() + taesd_bytes(size),
            None => vae + model.vae.decoding_bytes(size, in_bands),
        };
        let network = network_weights.bytes + self.control_bytes() + self.image_prompts.bytes();
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

    /// Bytes of weights that a device holds while this pipeline samples there: those of the network, or of one that is read block by
    /// block two blocks, as the next one is uploaded while one computes; and those of what steers it.
    #[must_use]
    pub fn sampling_weights(&self, device: &Device) -> u64 {
        let weights = self.model.network_weights().1;
        let streamed = blocks_in_memory(device, self.streams(&weights, device));
        let network = LargeWeights::of(&weights, streamed);
        network.bytes.max(self.refiner_bytes()) + self.control_bytes() + self.image_prompts.bytes()
    }

    /// The text encoders' weights.
    fn text_weights(&self, streams: bool) -> LargeWeights {
        let of = |scope: &str| LargeWeights::of(&self.model.weights.scope(scope), None);
        let clip = self.model.text.iter().map(|part: &TextPart| of(part.scope));
        let language = self.model.language.iter();
        let streamed = blocks_in_memory(&self.device, streams);
        let language =
            language.map(|model| LargeWeights::of(&self.model.weights.scope(model.role.scope()), streamed));
        clip.chain(language).fold(LargeWeights::default(), LargeWeights::and)
    }

    /// The denoiser's. On the CPU, those of a UNet are not read block by block.
    fn denoiser_weights(&self, streams: bool) -> LargeWeights {
        let streams = streams && (self.model.network.unet().is_none() || self.device != Device::Cpu);
        LargeWeights::of(&self.model.network_weights().1, blocks_in_memory(&self.device, streams))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_belongs_to_the_first_number_in_its_name() {
        for (name, block) in [
            ("transformer_blocks.3.attn.to_out.0.weight", "transformer_blocks.3"),
            ("encoder.block.12.layer.0.SelfAttention.q.weight", "encoder.block.12"),
            ("model.layers.0.mlp.up_proj.weight", "model.layers.0"),
            ("time_text_embed.timestep_embedder.linear_1.weight", ""),
            ("shared.weight", ""),
        ] {
            assert_eq!(block_of(name), block, "{name}");
        }
    }

    #[test]
    fn quantised_weights_take_less() {
        let estimate = MemoryEstimate { stage: Stage::Sampling, bytes: 250, weights: 200, values: 100 };
        assert_eq!((estimate.bytes_at(16.0), estimate.bytes_at(4.0)), (250, 100));
    }
}
