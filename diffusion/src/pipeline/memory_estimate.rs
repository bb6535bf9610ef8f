//! The memory that a run will take, from sizes alone: known before anything is read.

use super::{Hires, HiresUpscaler, Pipeline, Settings, Task, VaeTiling};
use crate::Error;
use crate::families::{Model, NetworkInput};
use crate::text::TextPart;
use std::collections::BTreeMap;

/// What a stage of a run takes at most on the CPU: the weights that are in memory then, and the numbers that are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// "encoding text", "encoding images", "sampling", "enlarging" or "decoding".
    pub stage: &'static str,
    /// Bytes, estimated.
    pub bytes: u64,
}

/// Channels of TAESD, and the tensors of an image's size that its end holds at once.
const TAESD_VALUES: usize = 64 * 3;

impl Pipeline {
    /// The stages of a run in their order. Weights that a file's mapping gives count too, though the system may drop them.
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
        let mut needs = vec![MemoryEstimate { stage: "encoding text", bytes: text }];
        let mut push = |stage, bytes| needs.push(MemoryEstimate { stage, bytes });
        let (vae, in_bands) = (weights("vae"), self.vae_tiling == VaeTiling::Bands);
        let encoding = |size| vae + model.vae.encoding_bytes(size, in_bands);
        let decoding = |size| match &self.taesd {
            Some(taesd) => taesd.weights().total_bytes() + bytes(TAESD_VALUES, size),
            None => vae + model.vae.decoding_bytes(size, in_bands),
        };
        let unet = weights("unet") + self.control_bytes();
        let encodes = task.image().is_some() || model.input == NetworkInput::Inpaint;
        let mut size = settings.size(model)?;
        if encodes {
            push("encoding images", encoding(size));
        }
        push("sampling", unet.max(self.refiner_bytes()) + sampling_bytes(model, settings, size));
        if let Some(hires) = hires {
            let second = hires.settings(settings, model)?;
            // The UNet waits for its second pass.
            let waiting = if in_bands { 0 } else { unet };
            if let HiresUpscaler::Pixels(_) = hires.enlarge {
                push("decoding", waiting + decoding(size));
                push("enlarging", waiting);
            }
            size = second.size(model)?;
            if encodes || matches!(hires.enlarge, HiresUpscaler::Pixels(_)) {
                push("encoding images", waiting + encoding(size));
            }
            push("sampling", unet.max(self.refiner_bytes()) + sampling_bytes(model, &second, size));
        }
        push("decoding", decoding(size));
        Ok(needs)
    }

    fn control_bytes(&self) -> u64 {
        // One file may steer several times.
        let nets: BTreeMap<_, _> = self
            .controls
            .iter()
            .map(|control| (std::sync::Arc::as_ptr(&control.net), control.net.weights().total_bytes()))
            .collect();
        nets.values().sum()
    }

    fn refiner_bytes(&self) -> u64 {
        let of = |refiner: &super::Refiner| refiner.pipeline.model.weights.scope("unet").total_bytes();
        self.refiner.as_ref().map_or(0, of)
    }
}

/// Bytes of so many numbers for each pixel.
fn bytes(values: usize, (width, height): (usize, usize)) -> u64 {
    (values * width * height * size_of::<f32>()) as u64
}

/// What the UNet works on, for all images at once, with and without the prompt.
fn sampling_bytes(model: &Model, settings: &Settings, (width, height): (usize, usize)) -> u64 {
    let factor = model.vae.factor();
    let batch = settings.seeds.len() * if settings.guidance > 1.0 { 2 } else { 1 };
    model.unet.sampling_bytes((width / factor, height / factor), batch)
}
